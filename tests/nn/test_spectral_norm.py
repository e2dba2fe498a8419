"""Spectral normalisation, by hooks and as a parametrization: w / σ(w), the largest singular value."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.nn.utils import parametrizations, parametrize, remove_spectral_norm, spectral_norm
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_module

# the layer, the dimension of its outputs, and the shape of an input
LAYERS = {
    "linear": (lambda n: n.Linear(3, 4), 0, (5, 3)),
    "conv": (lambda n: n.Conv2d(2, 4, 3, padding=1), 0, (2, 2, 4, 3)),
    "transposed": (lambda n: n.ConvTranspose2d(2, 3, 3, stride=2), 1, (2, 2, 2, 3)),
}
STYLES = {"hooks": lambda u: u.spectral_norm, "parametrization": lambda u: u.parametrizations.spectral_norm}
every = pytest.mark.parametrize("name", LAYERS)
styles = pytest.mark.parametrize("style", STYLES)


def normalised(name: str, style: str, steps: int = 1, converged: bool = True) -> tuple[nn.Module, tg.Tensor]:
    """The layer in float64 and an input; after so many iterations that the vectors no longer move."""
    tg.manual_seed(0)
    make, _, shape = LAYERS[name]
    layer = STYLES[style](nn.utils)(make(nn).double(), n_power_iterations=steps)
    x = tg.randn(shape, dtype=tg.float64)
    for _ in range(400 if converged else 0):
        layer(x)
    return layer, x


def matrix(layer: nn.Module, name: str) -> np.ndarray:
    w = layer.weight.detach().numpy()
    return np.moveaxis(w, LAYERS[name][1], 0).reshape(w.shape[LAYERS[name][1]], -1)


def original(layer: nn.Module) -> tg.Tensor:
    return layer.parametrizations.weight.original if parametrize.is_parametrized(layer) else layer.weight_orig


@every
@styles
def test_the_largest_singular_value_is_one(name, style):
    layer, _ = normalised(name, style)
    assert np.linalg.svd(matrix(layer, name))[1][0] == pytest.approx(1, abs=1e-12)
    w = np.moveaxis(original(layer).detach().numpy(), LAYERS[name][1], 0)
    w = w.reshape(len(w), -1)
    np.testing.assert_allclose(matrix(layer, name), w / np.linalg.svd(w)[1][0], rtol=1e-12, atol=1e-14)


@styles
def test_a_linear_layer_never_stretches(style):
    """|layer(x) - layer(y)| <= |x - y|: it is 1-Lipschitz."""
    layer, _ = normalised("linear", style)
    x, y = (100 * tg.randn(2, 1000, 3, dtype=tg.float64)).unbind(0)
    stretched = (layer(x) - layer(y)).norm(dim=1) / (x - y).norm(dim=1)
    assert float(stretched.max()) <= 1 + 1e-12 and float(stretched.max()) > 0.9


@every
@styles
def test_more_iterations_come_nearer(name, style):
    """|σ(w / uᵀWv) - 1| falls with the steps, also when they are taken in one forward pass."""
    errors = []
    for steps in (1, 30):
        layer, x = normalised(name, style, steps, converged=False)
        layer(x)
        errors.append(abs(np.linalg.svd(matrix(layer.eval(), name))[1][0] - 1))
    assert errors[1] < errors[0] / 2 or errors[0] < 1e-9


@every
@styles
def test_derivatives_with_the_vectors_held(name, style):
    """Finite differences to second order: in evaluation u and v stay."""
    make, _, shape = LAYERS[name]
    wrap = STYLES[style](nn.utils)
    check_module(lambda: wrap(make(nn)), ts.tensors(shape), modes=("eval",), max_examples=3)()


@every
@styles
def test_once_converged_the_gradient_is_that_of_the_singular_value(name, style):
    """d/dW (W / σ(W)) with σ and its vectors from NumPy's svd, which moves with W: dσ = uᵀ dW v."""
    layer, x = normalised(name, style)
    layer(x).square().sum().backward()
    w = original(layer)
    plain = LAYERS[name][0](nn).double()
    plain.load_state_dict({"weight": w.detach(), "bias": layer.bias.detach()})
    rows = np.moveaxis(w.detach().numpy(), LAYERS[name][1], 0)
    u, s, v = np.linalg.svd(rows.reshape(len(rows), -1), full_matrices=False)
    slope = np.moveaxis(np.outer(u[:, 0], v[0]).reshape(rows.shape), 0, LAYERS[name][1])
    with tg.no_grad():
        plain.weight /= s[0]
    plain(x).square().sum().backward()
    g = plain.weight.grad.numpy()
    expected = g / s[0] - slope * (g * w.detach().numpy()).sum() / s[0] ** 2
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-7, atol=1e-9)


@styles
def test_evaluation_does_not_iterate(style):
    layer, x = normalised("linear", style, converged=False)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    layer.eval()
    assert tg.equal(layer(x), layer(x))
    assert all(tg.equal(v, before[k]) for k, v in layer.state_dict().items())
    with tg.no_grad():
        original(layer).copy_(tg.randn(4, 3))
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    layer.train()(x)
    moved = [k for k, v in layer.state_dict().items() if not tg.equal(v, before[k])]
    assert len(moved) == 2 and moved[0][-1] == "u" and moved[1][-1] == "v"


@styles
def test_two_forward_passes_before_one_backward(style):
    """The second iteration leaves what the first graph remembers alone: a discriminator sees real and fake."""
    layer, x = normalised("linear", style, converged=False)
    first = layer(x).sum()
    (alone,) = tg.grad(first, [original(layer)], retain_graph=True)
    layer(x + 1)
    (after,) = tg.grad(first, [original(layer)])
    assert tg.equal(alone, after)


@every
@styles
def test_agrees_with_pytorch(name, style):
    torch = pytest.importorskip("torch")
    make, _, shape = LAYERS[name]
    ours = STYLES[style](nn.utils)(make(nn).double(), n_power_iterations=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has a newer way to say the one by hooks
        theirs = STYLES[style](torch.nn.utils)(make(torch.nn).double(), n_power_iterations=2)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=shape)
    for mode in (True, True, False):
        y, z = ours.train(mode)(tg.tensor(x)), theirs.train(mode)(torch.tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
        ours.zero_grad()
        theirs.zero_grad()
        y.square().sum().backward()
        z.square().sum().backward()
        for (k, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=k)


@styles
def test_copies_pickles_and_devices(style, device):
    layer, x = normalised("linear", style)
    layer.eval()
    y = layer(x).detach()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert tg.equal(other(x), y) and type(other) is type(layer)
        with tg.no_grad():
            original(other).zero_()
            original(other)[0, 0] = 3.0
        assert not tg.equal(other(x), y) and tg.equal(layer(x), y)
    moved = copy.deepcopy(layer).train().to(device, tg.float32)
    out = moved(x.to(device).float())
    assert out.dtype == np.float32 and out.device.type == device
    np.testing.assert_allclose(out.detach().cpu().numpy(), y.numpy(), rtol=1e-4, atol=1e-5)  # float32's rounding


def test_removing_leaves_the_weight(device):
    for remove, style in (
        (remove_spectral_norm, "hooks"),
        (lambda m: parametrize.remove_parametrizations(m, "weight"), "parametrization"),
    ):
        layer, x = normalised("linear", style)
        y = layer.eval()(x).detach()
        plain = remove(layer)
        assert plain is layer and sorted(plain.state_dict()) == ["bias", "weight"] and type(plain) is nn.Linear
        np.testing.assert_allclose(plain(x).detach().numpy(), y.numpy(), rtol=1e-14)
        plain(x).sum().backward()
        assert plain.weight.grad is not None and plain.weight.is_leaf


def test_a_compiled_step_iterates_too():
    """The vectors move at every replay as at every plain step."""
    runs = []
    for compiled in (False, True):
        tg.manual_seed(0)
        layer = spectral_norm(nn.Linear(3, 4))
        optimizer = tg.optim.SGD(layer.parameters(), 0.1)

        def step(x, layer=layer, optimizer=optimizer):
            optimizer.zero_grad()
            loss = layer(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        step = tg.compile(step) if compiled else step
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a refusal is right too
            runs.append([*(step(tg.ones(2, 3)).item() for _ in range(6)), *layer.weight_u.tolist()])
    assert runs[0] == runs[1]


def test_half_precision_iterates_in_single():
    layer = parametrizations.spectral_norm(nn.Linear(64, 64)).half()
    with tg.no_grad():
        layer.parametrizations.weight.original.fill_(100.0)  # σ = 6400; squares of 6400 are beyond float16
    layer(tg.ones(1, 64, dtype=tg.float16))
    assert layer.weight.dtype == np.float16
    np.testing.assert_allclose(layer.weight.detach().numpy(), 1 / 64, rtol=5e-3)


@styles
def test_errors(style):
    wrap = STYLES[style](nn.utils)
    with pytest.raises(ValueError, match="spectral_norm: n_power_iterations must be at least 1, got 0"):
        wrap(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(AttributeError, match="Linear has no parameter 'kernel' of its own; it has 'weight', 'bias'"):
        wrap(nn.Linear(3, 4), "kernel")
    with pytest.raises(tg.ShapeError, match=r"at least two dimensions is expected, got shape \(4,\)"):
        wrap(nn.Linear(3, 4), "bias")
    with pytest.raises(ValueError, match=r"dim must be 0 to 1 for a weight of shape \(4, 3\), got 2"):
        wrap(nn.Linear(3, 4), dim=2)
    if style == "hooks":
        with pytest.raises(RuntimeError, match="normalised already"):
            wrap(wrap(nn.Linear(2, 2)))
        with pytest.raises(ValueError, match="'weight' of this Linear is not normalised"):
            remove_spectral_norm(nn.Linear(2, 2))
