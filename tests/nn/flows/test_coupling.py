"""Coupling layers: the inverse undoes, the log-determinant is that of the Jacobian, one half passes through."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import backend, nn
from tinygen.nn.flows import half_mask
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts


class Net(nn.Module):
    """Any smooth function that mixes all coordinates and keeps the shape."""

    def __init__(self, shape: tuple[int, ...], seed: int, bounded: bool = False):
        super().__init__()
        n, g = int(np.prod(shape)), tg.Generator().manual_seed(seed)
        self.inner, self.bounded = nn.Linear(n, n, dtype=tg.float64), bounded
        for p in self.parameters():
            nn.init.normal_(p, generator=g)

    def forward(self, x: Any) -> Any:
        out = self.inner(x.flatten(1)).reshape(x.shape)
        return out.tanh() if self.bounded else out.sin()


def values(x: Any) -> np.ndarray:
    return backend.to_numpy(x.array)


@st.composite
def couplings(draw: st.DrawFn) -> tuple[nn.Module, tg.Tensor]:
    """An affine or additive layer on vectors or images with any mask, in float64; and a batch."""
    shape = draw(st.sampled_from([(1,), (2,), (5,), (2, 3), (1, 2, 2)]))
    mask = draw(ts.values(shape, np.bool_))
    nets = [Net(shape, draw(ts.seeds()) % 1000, bounded) for bounded in (True, False)]
    layer = nn.AffineCoupling(mask, *nets) if draw(st.booleans()) else nn.AdditiveCoupling(mask, nets[1])
    return layer.double(), draw(ts.tensors((draw(st.integers(1, 3)), *shape)))


@given(case=couplings())
def test_inverse_undoes_forward_and_forward_undoes_inverse(device, case):
    layer, x = case[0].to(device), tg.tensor(case[1], device=device)
    for there, back in ((layer.forward, layer.inverse), (layer.inverse, layer.forward)):
        y, logdet = there(x)
        again, logdet_back = back(y)
        assert y.shape == x.shape and logdet.shape == logdet_back.shape == x.shape[:1] and y.device.type == device
        # numbers of size at most e² + 1, and factors e^±1 of their rounding
        np.testing.assert_allclose(values(again), values(x), atol=1e-14 * 50)
        np.testing.assert_allclose(values(logdet), -values(logdet_back), atol=1e-13)


@given(case=couplings())
def test_logdet_is_that_of_the_jacobian(case):
    """In both directions, against NumPy's slogdet of the matrix of derivatives from autograd."""
    layer, x = case
    n = int(np.prod(x.shape[1:]))
    for f in (layer.forward, layer.inverse):
        _, logdet = f(x)
        for i in range(len(x)):
            jacobian = tg.autograd.jacobian(lambda v, f=f: f(v.unsqueeze(0))[0], x[i]).numpy().reshape(n, n)
            sign, expected = np.linalg.slogdet(jacobian)
            assert sign == 1
            np.testing.assert_allclose(logdet[i].item(), expected, atol=1e-12)


@given(case=couplings())
def test_the_masked_part_passes_and_rules_the_rest(case):
    layer, x = case
    mask = values(layer.mask).astype(bool)
    y, _ = layer(x)
    assert np.array_equal(values(y)[:, mask], values(x)[:, mask])
    moved = tg.tensor(np.where(mask, values(x), values(x) + 1))
    expected = values(y) + np.where(
        mask, 0, np.exp(values(layer.scale_net(x * layer.mask))) if hasattr(layer, "scale_net") else 1
    )
    np.testing.assert_allclose(values(layer(moved)[0]), expected, atol=1e-13)  # y is affine in the part that moves


@given(case=couplings(), seed=ts.seeds())
def test_gradients(case, seed):
    """Of y and log-determinant, both directions, in the input and all parameters, to second order."""
    layer, x = case
    assert_gradients(layer, x, seed=seed)

    class Inverse(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, y):
            return self.layer.inverse(y)

    assert_gradients(Inverse(layer), x, seed=seed)


def test_additive_coupling_keeps_the_volume(device):
    layer = nn.AdditiveCoupling([1, 0, 1], nn.Linear(3, 3)).to(device)
    _, logdet = layer(tg.randn(4, 3, device=device))
    assert logdet.tolist() == [0] * 4 and logdet.dtype == tg.float32 and logdet.device.type == device


def test_a_stack_moves_every_coordinate_and_is_the_formula():
    """Two layers with complementary masks, written out in NumPy."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 2))
    nets = [Net((2,), i, i % 2 == 0) for i in range(4)]
    layers = [nn.AffineCoupling([1, 0], *nets[:2]), nn.AffineCoupling([0, 1], *nets[2:])]
    z, total = tg.tensor(x), 0
    for layer in layers:
        z, logdet = layer(z)
        total = total + logdet
    y, log = x, np.zeros(6)
    for b, s, t in ((np.array([1.0, 0.0]), *nets[:2]), (np.array([0.0, 1.0]), *nets[2:])):
        passing = tg.tensor(b * y)
        s, t = s(passing).detach().numpy(), t(passing).detach().numpy()
        log = log + ((1 - b) * s).sum(1)
        y = b * y + (1 - b) * (y * np.exp(s) + t)
    np.testing.assert_allclose(values(z), y, atol=1e-14 * 50)
    np.testing.assert_allclose(values(total), log, atol=1e-14 * 50)
    assert (y != x).all()


def test_what_the_networks_say_about_the_masked_part_is_ignored():
    """Even where its exponential would overflow."""

    class Huge(nn.Module):
        def forward(self, x):
            return tg.tensor([1000.0, 0.5]).expand(x.shape)

    layer = nn.AffineCoupling([1, 0], Huge(), Huge())
    with np.errstate(all="raise"):
        y, logdet = layer(tg.ones(3, 2))
    np.testing.assert_allclose(values(y), [[1, np.exp(0.5) + 0.5]] * 3, rtol=1e-6)
    np.testing.assert_allclose(values(logdet), 0.5)


def test_state_dict_and_dtype():
    layer = nn.AffineCoupling(half_mask(4), nn.Linear(4, 4), nn.Linear(4, 4))
    assert list(layer.state_dict()) == [
        "mask",
        *(f"{n}_net.{p}" for n in ("scale", "translate") for p in ("weight", "bias")),
    ]
    y, logdet = layer(tg.randn(2, 4))
    assert y.dtype == logdet.dtype == tg.float32
    y, logdet = layer.double()(tg.randn(2, 4, dtype=tg.float64))
    assert y.dtype == logdet.dtype == tg.float64
    assert repr(layer).startswith("AffineCoupling(\n  mask=[1, 1, 0, 0]\n  (scale_net): Linear")
