"""nn.init: distributions by their moments and bounds, seeds, leaves outside of any graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import tinygen as tg
from tinygen import backend
from tinygen.nn import Parameter, init
from tinygen.nn import functional as F

SHAPE = (200, 150)
FAN_IN, FAN_OUT = 150, 200
KERNEL = (20, 10, 5, 3)  # fan_in 150, fan_out 300


def values(x: tg.Tensor) -> np.ndarray:
    return backend.to_numpy(x.array)


def drawn(function, shape=SHAPE, device="cpu", **options) -> np.ndarray:
    p = Parameter(tg.zeros(shape, device=device))
    before = p.array
    assert function(p, generator=tg.Generator(device).manual_seed(0), **options) is p
    assert p.array is before and p.is_leaf and p.requires_grad
    return values(p).astype(np.float64).ravel()


def assert_distributed(x: np.ndarray, distribution) -> None:
    """Kolmogorov and Smirnov do not object: with a fixed seed, at a level of one in a thousand."""
    assert stats.kstest(x, distribution.cdf).pvalue > 1e-3


def uniform(bound: float):
    return stats.uniform(-bound, 2 * bound)


# fmt: off
DISTRIBUTIONS = [
    (init.uniform_,         {"a": -1.0, "b": 3.0},             stats.uniform(-1, 4)),
    (init.normal_,          {"mean": 2.0, "std": 0.5},         stats.norm(2, 0.5)),
    (init.xavier_uniform_,  {},                                uniform(math.sqrt(6 / (FAN_IN + FAN_OUT)))),
    (init.xavier_normal_,   {"gain": 2.0},                     stats.norm(0, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT)))),
    (init.kaiming_uniform_, {},                                uniform(math.sqrt(6 / FAN_IN))),
    (init.kaiming_uniform_, {"a": math.sqrt(5)},               uniform(1 / math.sqrt(FAN_IN))),
    (init.kaiming_uniform_, {"mode": "fan_out", "nonlinearity": "tanh"},  uniform(5 / 3 * math.sqrt(3 / FAN_OUT))),
    (init.kaiming_normal_,  {"nonlinearity": "relu"},          stats.norm(0, math.sqrt(2 / FAN_IN))),
    (init.trunc_normal_,    {"std": 0.5, "a": -0.3, "b": 1.0}, stats.truncnorm(-0.6, 2, 0, 0.5)),
    (init.trunc_normal_,    {"a": 6.0, "b": 7.0},              stats.truncnorm(6, 7)),
    (init.trunc_normal_,    {"a": -9.0, "b": -6.0},            stats.truncnorm(-9, -6)),
]
# fmt: on


@pytest.mark.parametrize(("function", "options", "expected"), DISTRIBUTIONS)
def test_distributions(function, options, expected, device):
    x = drawn(function, device=device, **options)
    assert_distributed(x, expected)
    low, high = expected.support()
    assert low - 1e-6 <= x.min() and x.max() <= high + 1e-6  # float32 rounds the bounds


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 150), ("fan_out", 300)])
def test_fans_of_a_convolution(mode, fan):
    x = drawn(init.kaiming_uniform_, KERNEL, mode=mode)
    assert_distributed(x, uniform(math.sqrt(6 / fan)))


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (3, 2, 4), (8, 2, 2)])
def test_orthogonal(shape, device):
    """Rows or columns, whichever are fewer, are orthonormal times the gain."""
    w = drawn(init.orthogonal_, shape, device, gain=2.0).reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 4 * np.eye(min(w.shape)), atol=1e-5)  # float32 entries of size 1


def test_orthogonal_is_uniform():
    """The first entry of a rotation of the plane is the cosine of a uniform angle (QR alone gives it one sign)."""
    generator = tg.Generator().manual_seed(0)
    entries = np.array([init.orthogonal_(tg.zeros(2, 2), generator=generator)[0, 0].item() for _ in range(500)])
    assert stats.kstest(np.arccos(np.clip(entries, -1, 1)), stats.uniform(0, np.pi).cdf).pvalue > 1e-3


def test_constants(device):
    p = Parameter(tg.randn(2, 3, device=device))
    assert init.zeros_(p).tolist() == [[0] * 3] * 2
    assert init.ones_(p).tolist() == [[1] * 3] * 2
    assert init.constant_(p, 0.5).tolist() == [[0.5] * 3] * 2
    assert init.eye_(p).tolist() == np.eye(2, 3).tolist()
    assert p.is_leaf and p.requires_grad and p.device.type == device


def test_the_default_generator_decides_without_one():
    tg.manual_seed(3)
    a = init.normal_(tg.zeros(4)).tolist()
    tg.manual_seed(3)
    assert init.normal_(tg.zeros(4)).tolist() == a != init.normal_(tg.zeros(4)).tolist()


def test_calculate_gain():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert {init.calculate_gain(n) for n in ("linear", "sigmoid", "conv2d", "conv_transpose1d")} == {1.0}
    assert init.calculate_gain("selu") == 0.75


def test_relu_networks_keep_their_scale():
    """What He et al. derived: after 20 layers with ReLU the second moment is still that of the input."""
    generator = tg.Generator().manual_seed(0)
    x = tg.randn(200, 256, generator=generator)
    start = float(x.square().mean())
    for _ in range(20):
        w = init.kaiming_normal_(tg.zeros(256, 256), generator=generator)
        x = (x @ w.T).relu()
    # E x² = E y²/2 of a layer with 256 units varies by some √(5/256) per layer: e^(±√20 · 0.14) is a factor of 1.9
    assert 1 / 1.9 < float(x.square().mean()) / start < 1.9


def test_empty_and_float64():
    assert init.kaiming_uniform_(tg.zeros(3, 0)).shape == (3, 0)
    assert init.trunc_normal_(tg.zeros(3, dtype=tg.float64)).dtype == tg.float64


@pytest.mark.parametrize(("shape", "groups"), [((4, 4, 3), 1), ((6, 3, 5, 3), 2), ((2, 5, 1, 3, 3), 1), ((5, 2, 3), 1)])
def test_dirac_hands_the_input_on(shape, groups, device):
    """As the kernel of a convolution of the same size: output i of each group is input i of the group, or 0 beyond them."""
    w = init.dirac_(tg.empty(*shape, device=device), groups)
    x = tg.randn(2, shape[1] * groups, *(5,) * (len(shape) - 2))
    conv = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[len(shape)]
    y = conv(x, w.cpu(), padding=tuple(k // 2 for k in shape[2:]), groups=groups)
    each = shape[0] // groups
    for o in range(shape[0]):
        channel = o % each
        expected = x[:, o // each * shape[1] + channel] if channel < shape[1] else x[:, 0] * 0
        np.testing.assert_allclose(y[:, o].numpy(), expected.numpy(), atol=1e-5)  # some ways of convolving round


def test_sparse_leaves_out_the_same_share_of_every_column(device):
    w = init.sparse_(tg.empty(50, 400, device=device), 0.1, std=2.0, generator=tg.Generator(device).manual_seed(0))
    w = w.cpu().numpy()
    assert ((w == 0).sum(0) == 5).all()
    assert abs((w == 0).sum(1).mean() - 40) < 1e-9 and (w == 0).sum(1).max() < 80  # not the same rows in every column
    assert abs(w[w != 0].std() / 2 - 1) < 4 / np.sqrt(2 * 45 * 400)  # four standard deviations
    assert (init.sparse_(tg.empty(3, 2), 0.5) == 0).sum(0).tolist() == [2, 2]  # rounded up
    for share, zeros in ((0.0, 0), (1.0, 6)):
        assert int((init.sparse_(tg.empty(3, 2), share) == 0).sum()) == zeros
