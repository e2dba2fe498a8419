"""Clipping of gradients."""

from math import inf

import numpy as np
import pytest

import tinygen as tg
from tests.optim.test_rules import draws, give, leaves
from tinygen.backend import to_numpy
from tinygen.nn import utils
from tinygen.testing.strict import counted

SHAPES = [(3, 4), (4,), (), (2, 0)]


def with_gradients(gradients, device="cpu", dtype=np.float64):
    params = leaves([np.zeros_like(g) for g in gradients], device, dtype)
    give(params, gradients)
    return params


def gradients_of(params):
    return [to_numpy(p.grad.array) for p in params]


@pytest.mark.parametrize("order", [1, 2, 3.5, inf])
@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_clip_grad_norm(order, max_norm, device):
    gradients = draws(np.random.default_rng(0), SHAPES)
    params = [*with_gradients(gradients, device), tg.ones(3, device=device, requires_grad=True)]  # the last has none
    total = utils.clip_grad_norm_(params, max_norm, order)
    flat = np.concatenate([g.ravel() for g in gradients])
    norm = np.linalg.norm(flat, order)
    assert total.shape == () and total.item() == pytest.approx(norm, rel=1e-13)
    clipped = np.concatenate([g.ravel() for g in gradients_of(params[:-1])])
    np.testing.assert_allclose(clipped, flat * min(1, max_norm / (norm + 1e-6)), rtol=1e-13)
    if norm > max_norm:  # up to the 1e-6 in the denominator, as in PyTorch
        assert np.linalg.norm(clipped, order) == pytest.approx(max_norm, rel=1e-5)


@pytest.mark.parametrize("order", [2, 3.5, inf])
def test_agrees_with_pytorch(order):
    torch = pytest.importorskip("torch")
    gradients = [g.astype(np.float32) for g in draws(np.random.default_rng(1), SHAPES[:-1])]
    theirs = [torch.zeros(g.shape, requires_grad=True) for g in gradients]
    for p, g in zip(theirs, gradients, strict=True):
        p.grad = torch.tensor(g)
    params = with_gradients(gradients, dtype=np.float32)
    total, expected = utils.clip_grad_norm_(params, 0.7, order), torch.nn.utils.clip_grad_norm_(theirs, 0.7, order)
    # sums of 17 terms in float32
    assert total.dtype == np.float32 and total.item() == pytest.approx(expected.item(), rel=1e-6)
    for a, p in zip(gradients_of(params), theirs, strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), rtol=2e-6)


def test_gradients_that_are_not_finite():
    params = with_gradients([np.array([1.0, np.inf])])
    with pytest.raises(RuntimeError, match="the norm of the gradients is inf"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert gradients_of(params)[0].tolist() == [1.0, np.inf]


def test_one_parameter_and_none_at_all():
    (p,) = with_gradients([np.array([3.0, 4.0])])
    assert utils.clip_grad_norm_(p, 1.0).item() == 5.0
    assert utils.clip_grad_norm_([tg.ones(2, requires_grad=True)], 1.0).item() == 0.0


def test_clip_grad_value(device):
    params = with_gradients([np.array([-3.0, 0.5, 2.0]), np.array(7.0)], device)
    utils.clip_grad_value_(params, 1.5)
    assert [g.tolist() for g in gradients_of(params)] == [[-1.5, 0.5, 1.5], 1.5]


CLIPPED = {
    "norm": (
        lambda params: utils.clip_grad_norm_(params, 0.5),
        ["concatenate", "dot", "sqrt", "tinygen_factor", "imul"],
    ),
    "value": (lambda params: utils.clip_grad_value_(params, 0.1), ["concatenate", "clip"]),
}


@pytest.mark.parametrize("kind", CLIPPED)
@pytest.mark.parametrize("count", [2, 30])
def test_a_few_kernels_for_all_gradients(kind, count):
    """However many they are, of whatever shapes, and in whatever order in memory; what is clipped is what p.grad is."""
    clip, kernels = CLIPPED[kind]
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal((2, 1 + i % 3, 3)).astype(np.float32).transpose(2, 0, 1) for i in range(count)]
    here, there = with_gradients(gradients, "cpu", np.float32), with_gradients(gradients, "strict", np.float32)
    held = [p.grad for p in there]
    clip(here)
    with counted() as counts:
        clip(there)
    assert counts.kernels == kernels and not counts.to_host and not counts.to_device
    for a, b, node, p in zip(gradients_of(here), gradients_of(there), held, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)  # the norm is summed in another order
        assert a.shape == b.shape and node is p.grad


def test_gradients_of_several_dtypes():
    for device in ("cpu", "strict"):
        params = [
            *with_gradients([np.array([3.0]), np.array([0.0, 0.0])], device),
            *with_gradients([np.array([4.0]), np.zeros(2)], device, np.float32),
        ]
        assert utils.clip_grad_norm_(params, 1.0).item() == pytest.approx(5.0, rel=1e-7)
        clipped = gradients_of(params)
        assert [g.dtype for g in clipped] == ["float64"] * 2 + ["float32"] * 2
        assert [g.sum() for g in clipped] == pytest.approx([0.6, 0.0, 0.8, 0.0], rel=1e-6)  # 1e-6 in the denominator


def test_errors():
    params = with_gradients([np.ones(2)])
    with pytest.raises(ValueError, match="norm_type must be positive, got 0"):
        utils.clip_grad_norm_(params, 1.0, 0)
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=f"clip_grad_norm_: max_norm must be >= 0, got {bad}"):
            utils.clip_grad_norm_(params, bad)
    with pytest.raises(ValueError, match="clip_value must be >= 0, got -1"):
        utils.clip_grad_value_(params, -1)


@pytest.mark.parametrize("order", [1, 2, inf])
def test_the_norm_and_the_clipping_apart(order, device):
    """get_total_norm and then clip_grads_with_norm_ do what clip_grad_norm_ does."""
    gradients = draws(np.random.default_rng(0), SHAPES)
    one, two = with_gradients(gradients, device), with_gradients(gradients, device)
    total = utils.get_total_norm([p.grad for p in one], order)
    assert total.item() == pytest.approx(
        np.linalg.norm(np.concatenate([g.ravel() for g in gradients]), order), rel=1e-13
    )
    for a, b in zip(gradients_of(one), gradients, strict=True):
        np.testing.assert_array_equal(a, b)  # only measured
    utils.clip_grads_with_norm_(one, 0.5, total)
    utils.clip_grad_norm_(two, 0.5, order)
    for a, b in zip(gradients_of(one), gradients_of(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    assert utils.get_total_norm([]).item() == 0
    with pytest.raises(RuntimeError, match="get_total_norm: the norm of the gradients is inf"):
        utils.get_total_norm(tg.tensor([inf]), error_if_nonfinite=True)
    with pytest.raises(ValueError, match="get_total_norm: norm_type must be positive, got 0"):
        utils.get_total_norm([], 0)


# All parameters as one vector


def test_a_vector_and_back():
    """vector_to_parameters is the inverse of parameters_to_vector, and gradients flow through the latter."""
    net = tg.nn.Sequential(tg.nn.Linear(3, 2), tg.nn.Conv1d(1, 2, 3))
    vector = utils.parameters_to_vector(net.parameters())
    assert vector.tolist() == [x for p in net.parameters() for x in p.detach().reshape(-1).tolist()]
    vector.square().sum().backward()
    for p in net.parameters():
        np.testing.assert_array_equal(p.grad.numpy(), 2 * p.detach().numpy())
    held = list(net.parameters())
    new = tg.arange(vector.numel()).float()
    utils.vector_to_parameters(new, net.parameters())
    assert tg.equal(utils.parameters_to_vector(net.parameters()), new)
    assert all(p is q and p.requires_grad for p, q in zip(net.parameters(), held, strict=True))
    new.zero_()
    assert utils.parameters_to_vector(net.parameters())[-1].item() == new.numel() - 1  # a copy
    with pytest.raises(
        tg.ShapeError, match=r"a vector of 16 elements is expected for these 4 parameters, got shape \(3,\)"
    ):
        utils.vector_to_parameters(tg.zeros(3), net.parameters())
    with pytest.raises(ValueError, match="at least one parameter"):
        utils.parameters_to_vector([])
