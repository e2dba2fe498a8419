"""Weight normalisation: w = g v/‖v‖."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.nn.utils import remove_weight_norm, weight_norm
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_module

# the layer, the dimension of its lengths, and the shape of an input
LAYERS = {
    "linear": (lambda n: n.Linear(3, 4), 0, (5, 3)),
    "linear, along inputs": (lambda n: n.Linear(3, 4, bias=False), 1, (5, 3)),
    "linear, one length": (lambda n: n.Linear(3, 4), None, (5, 3)),
    "conv": (lambda n: n.Conv2d(2, 4, 3, padding=1, groups=2), 0, (2, 2, 4, 3)),
    "conv, along the last": (lambda n: n.Conv1d(2, 3, 2), 2, (2, 2, 4)),
    "transposed": (lambda n: n.ConvTranspose2d(2, 3, 3, stride=2), 1, (2, 2, 2, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_derivatives(name):
    make, dim, shape = LAYERS[name]
    check_module(lambda: weight_norm(make(nn), dim=dim), ts.tensors(shape), max_examples=3)()


@pytest.mark.parametrize("name", LAYERS)
def test_the_layer_computes_what_it_did_before_and_after(name):
    make, dim, shape = LAYERS[name]
    layer = make(nn).double()
    x, names = tg.randn(shape, dtype=tg.float64), sorted(layer.state_dict())
    y = layer(x)
    normalised = weight_norm(copy.deepcopy(layer), dim=dim)
    np.testing.assert_allclose(normalised(x).detach().numpy(), y.detach().numpy(), rtol=1e-13, atol=1e-14)
    with tg.no_grad():
        normalised.weight_g *= 2.0
        normalised.weight_v *= 3.0  # the length of v does not matter
    plain = remove_weight_norm(copy.deepcopy(normalised))
    np.testing.assert_allclose(plain.weight.detach().numpy(), 2 * layer.weight.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(plain(x).detach().numpy(), normalised(x).detach().numpy(), rtol=1e-13, atol=1e-14)
    assert sorted(plain.state_dict()) == names and plain.weight.requires_grad
    remove_weight_norm(weight_norm(plain, dim=dim))


@pytest.mark.parametrize("name", LAYERS)
def test_a_step_along_v_turns_and_does_not_stretch(name):
    """<∂L/∂v, v> = 0 for every part that has a length of its own."""
    make, dim, shape = LAYERS[name]
    layer = weight_norm(make(nn).double(), dim=dim)
    layer(tg.randn(shape, dtype=tg.float64)).square().sum().backward()
    v, gradient = layer.weight_v.detach().numpy(), layer.weight_v.grad.numpy()
    axes = None if dim is None else tuple(d for d in range(v.ndim) if d != dim)
    assert np.abs((v * gradient).sum(axes)).max() < 1e-12 * np.abs(v * gradient).sum()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", LAYERS)
def test_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    make, dim, shape = LAYERS[name]
    ours = weight_norm(make(nn), dim=dim).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has a newer way to say it
        theirs = torch.nn.utils.weight_norm(make(torch.nn), dim=dim).double()
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    with torch.no_grad():
        for p in theirs.parameters():
            p.mul_(1.5)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=shape)
    y, z = ours(tg.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-14)
    y.square().sum().backward()
    z.square().sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_copies_and_devices(device):
    """After a forward pass the layer can be copied, pickled and moved; a copy has parameters of its own."""
    layer = weight_norm(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))[0])
    x = tg.randn(5, 3)
    y = layer(x).detach()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (other(x) == y).all()
        with tg.no_grad():
            other.weight_g.zero_()
        assert (other(x) == other.bias).all() and (layer(x) == y).all()
    moved = copy.deepcopy(layer).to(device, tg.float64)
    out = moved(x.to(device).double())
    assert out.dtype == np.float64 and out.device == moved.weight_g.device
    np.testing.assert_allclose(out.detach().cpu().numpy(), y.numpy(), rtol=1e-5, atol=1e-6)  # float32's rounding


def test_a_frozen_weight_stays_frozen():
    layer = weight_norm(nn.Linear(2, 2).requires_grad_(False))
    assert not any(p.requires_grad for p in layer.parameters())
    assert not remove_weight_norm(layer).weight.requires_grad


def test_errors():
    layer = weight_norm(nn.Linear(3, 4))
    with pytest.raises(RuntimeError, match="'weight' of this Linear is normalised already"):
        weight_norm(layer)
    with pytest.raises(AttributeError, match="Linear has no parameter 'kernel' of its own; it has 'weight', 'bias'"):
        weight_norm(nn.Linear(3, 4), "kernel")
    with pytest.raises(ValueError, match=r"dim must be None or 0 to 1 for 'weight' of shape \(4, 3\), got 2"):
        weight_norm(nn.Linear(3, 4), dim=2)
    with pytest.raises(ValueError, match=r"are zero and have no direction .* set weight_g to 0"):
        zero = nn.Linear(3, 4)
        nn.init.zeros_(zero.weight)
        weight_norm(zero)
    with pytest.raises(ValueError, match="'weight' of this Linear is not normalised"):
        remove_weight_norm(nn.Linear(3, 4))
