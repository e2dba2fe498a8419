"""Parametrizations: what is trained, what is computed from it, and the way back."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.nn.utils import parametrizations, parametrize
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_module


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, a):
        return a.triu()


class Exp(nn.Module):
    def forward(self, x):
        return x.exp()

    def right_inverse(self, y):
        return y.log()


class Scaled(nn.Module):
    """A module with a parameter of its own, and no right inverse."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tg.tensor(2.0))

    def forward(self, x):
        return x * self.scale


class LowRank(nn.Module):
    """Several originals."""

    def forward(self, a, b):
        return a @ b

    def right_inverse(self, w):
        u, s, v = np.linalg.svd(w.numpy(), full_matrices=False)
        return tg.tensor((u * s)[:, :1]), tg.tensor(v[:1])


def square() -> nn.Linear:
    return nn.Linear(3, 3)


@pytest.mark.parametrize("parametrization", [Symmetric, Exp, Scaled, LowRank])
def test_derivatives(parametrization):
    def make() -> nn.Module:
        layer = square()
        with tg.no_grad():
            layer.weight.copy_(0.5 + tg.rand(3, 3))  # what Exp can be
        return parametrize.register_parametrization(layer, "weight", parametrization())

    check_module(make, ts.tensors((4, 3)), max_examples=3)()


def test_the_tensor_is_computed_from_what_is_trained():
    layer, w = square(), None
    w, bias = layer.weight, layer.bias
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert isinstance(layer, nn.Linear) and type(layer).__name__ == "ParametrizedLinear"
    assert tg.equal(layer.weight, layer.weight.T) and layer.bias is bias
    original = layer.parametrizations.weight.original
    assert original is w and tg.equal(layer.weight.triu(), original)  # an optimizer that holds it goes on
    assert [k for k, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    with tg.no_grad():
        original[0, 1] = 7.0
    assert layer.weight[1, 0].item() == 7
    layer(tg.ones(1, 3)).sum().backward()
    assert original.grad is not None and not original.grad.tril(-1).any()


def test_assigning_goes_the_way_back():
    layer = square()
    nn.init.ones_(layer.weight)
    parametrize.register_parametrization(layer, "weight", Exp())
    assert not layer.parametrizations.weight.original.any()
    value = 0.5 + tg.rand(3, 3)
    layer.weight = value
    np.testing.assert_allclose(layer.weight.detach().numpy(), value.numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"shapes \[\(2, 2\)\], and \[\(3, 3\)\] are needed"):
        layer.weight = tg.ones(2, 2)


def test_several_one_after_the_other():
    """The second is called with what the first returns; the value stays what it was where the way back is known."""
    layer = square()
    with tg.no_grad():
        layer.weight.copy_((0.5 + tg.rand(3, 3)).triu())
        layer.weight.copy_(layer.weight + layer.weight.T)
    before = layer.weight.detach().clone()
    for p in (Symmetric(), Exp()):
        parametrize.register_parametrization(layer, "weight", p)
    np.testing.assert_allclose(layer.weight.detach().numpy(), before.numpy(), rtol=1e-6)
    original = layer.parametrizations.weight.original
    np.testing.assert_allclose(
        layer.weight.detach().numpy(), np.exp(np.triu(original.detach()) + np.triu(original.detach(), 1).T), rtol=1e-6
    )
    assert len(layer.parametrizations.weight) == 2


def test_is_parametrized_and_the_type_before():
    layer = square()
    assert not parametrize.is_parametrized(layer) and parametrize.type_before_parametrizations(layer) is nn.Linear
    parametrize.register_parametrization(layer, "bias", Exp())
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "bias")
    assert not parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(nn.Sequential(layer))
    assert parametrize.type_before_parametrizations(layer) is nn.Linear


@pytest.mark.parametrize("leave", [True, False])
def test_removing(leave):
    layer = square()
    parameters = list(layer.parameters())
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "bias", Scaled())
    value, original = layer.weight.detach().clone(), layer.parametrizations.weight.original.detach().clone()
    parametrize.remove_parametrizations(layer, "weight", leave)
    assert parametrize.is_parametrized(layer, "bias") and tg.equal(layer.weight, value if leave else original)
    parametrize.remove_parametrizations(layer, "bias", leave)
    assert type(layer) is nn.Linear and not hasattr(layer, "parametrizations")
    assert layer.weight is parameters[0] and layer.bias is parameters[1]
    layer.weight = None  # an ordinary attribute again


def test_several_originals_become_one_value():
    layer = parametrize.register_parametrization(square(), "weight", LowRank())
    assert list(layer.state_dict()) == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    value = layer.weight.detach()
    assert np.linalg.matrix_rank(value.numpy(), tol=1e-5) == 1
    with pytest.raises(ValueError, match="several originals, so leave_parametrized must be True"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert tg.equal(parametrize.remove_parametrizations(layer, "weight").weight, value)


def test_buffers_may_be_parametrized():
    norm = nn.BatchNorm1d(3)
    parametrize.register_parametrization(norm, "running_var", Exp())
    assert "parametrizations.running_var.original" in norm.state_dict() and not any(
        "running_var" in k for k, _ in norm.named_parameters()
    )
    parametrize.remove_parametrizations(norm, "running_var")
    assert norm.running_var.tolist() == [1, 1, 1] and dict(norm.named_buffers())["running_var"] is norm.running_var


def test_cached_computes_once():
    calls = []

    class Counting(Symmetric):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    layer = parametrize.register_parametrization(square(), "weight", Counting())
    calls.clear()
    assert layer.weight is not layer.weight and len(calls) == 2
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
        assert layer.weight is first and len(calls) == 3
        (layer(tg.ones(1, 3)) + layer(tg.ones(1, 3))).sum().backward()
        assert len(calls) == 3 and layer.parametrizations.weight.original.grad is not None
    assert layer.weight is not first and len(calls) == 4


def test_copies_and_pickles():
    layer = parametrize.register_parametrization(square(), "weight", Symmetric())
    net = nn.Sequential(layer, nn.Tanh())
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert tg.equal(other[0].weight, layer.weight) and type(other[0]) is type(layer)
        with tg.no_grad():
            other[0].parametrizations.weight.original.zero_()
        assert not other[0].weight.any() and layer.weight.any()
    state = {k: v + 1 for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    assert tg.equal(layer.weight.triu(), state["0.parametrizations.weight.original"].triu())


def test_errors_change_nothing():
    layer = square()
    keys = list(layer.state_dict())

    class Wrong(nn.Module):
        def __init__(self, f):
            super().__init__()
            self.f = f

        def forward(self, x):
            return self.f(x)

    for parametrization, error, message in (
        (lambda x: x, TypeError, "an nn.Module is expected, got function"),
        (Wrong(lambda x: x[0]), ValueError, r"'weight' is float32 of shape \(3, 3\), .* float32 of shape \(3,\)"),
        (Wrong(lambda x: x.double()), ValueError, r"returns float64 of shape \(3, 3\); unsafe=True"),
        (Wrong(lambda x: None), ValueError, "returns NoneType"),
    ):
        with pytest.raises(error, match=message):
            parametrize.register_parametrization(layer, "weight", parametrization)
        assert type(layer) is nn.Linear and list(layer.state_dict()) == keys
    with pytest.raises(
        AttributeError, match="Linear has no parameter or buffer 'kernel' of its own; it has 'weight', 'bias'"
    ):
        parametrize.register_parametrization(layer, "kernel", Symmetric())
    with pytest.raises(ValueError, match="'weight' of this Linear is not parametrized"):
        parametrize.remove_parametrizations(layer, "weight")
    parametrize.register_parametrization(layer, "weight", Wrong(lambda x: x.double()), unsafe=True)
    assert layer.weight.dtype == np.float64


# Weight normalisation


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    layer = nn.Linear(3, 4).double()
    w = layer.weight.detach().clone()
    parametrizations.weight_norm(layer, dim=dim)
    np.testing.assert_allclose(layer.weight.detach().numpy(), w.numpy(), rtol=1e-14)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    np.testing.assert_allclose(
        g.detach().numpy(), np.linalg.norm(w.numpy(), axis=None if dim is None else 1 - dim, keepdims=dim is not None)
    )
    with tg.no_grad():
        g.mul_(2.0)
        v.mul_(5.0)  # the length of v does not matter
    np.testing.assert_allclose(layer.weight.detach().numpy(), 2 * w.numpy(), rtol=1e-14)
    check_module(lambda: parametrizations.weight_norm(nn.Linear(3, 4), dim=dim), ts.tensors((5, 3)), max_examples=3)()


def test_weight_norm_refuses_zeros_and_other_dims():
    layer = nn.Linear(3, 4)
    with pytest.raises(ValueError, match="dim must be None or 0 to 1"):
        parametrizations.weight_norm(layer, dim=2)
    nn.init.zeros_(layer.weight)
    with pytest.raises(ValueError, match="are zero and have no direction"):
        parametrizations.weight_norm(layer)
    with pytest.raises(AttributeError, match="has no parameter 'kernel'"):
        parametrizations.weight_norm(layer, "kernel")


def test_agrees_with_pytorch():
    """Names, order, shapes, values and gradients, in both directions."""
    torch = pytest.importorskip("torch")

    class TorchExp(torch.nn.Module):
        def forward(self, x):
            return x.exp()

        def right_inverse(self, y):
            return y.log()

    pairs = [
        (
            parametrizations.weight_norm(nn.Conv2d(2, 3, 3).double()),
            torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(2, 3, 3).double()),
            (2, 2, 4, 4),
        ),
        (
            parametrize.register_parametrization(nn.BatchNorm1d(3).double(), "weight", Exp()),
            torch.nn.utils.parametrize.register_parametrization(torch.nn.BatchNorm1d(3).double(), "weight", TorchExp()),
            (4, 3),
        ),
    ]
    for ours, theirs, shape in pairs:
        state = {k: v.numpy() for k, v in theirs.state_dict().items()}
        assert [(k, v.shape) for k, v in ours.state_dict().items()] == [(k, v.shape) for k, v in state.items()]
        assert [k for k, _ in ours.named_modules()] == [k for k, _ in theirs.named_modules()]
        ours.load_state_dict(state)
        x = np.random.default_rng(0).normal(size=shape)
        y, z = ours(tg.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-11, atol=1e-13)
        y.square().sum().backward()
        z.square().sum().backward()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-11)
