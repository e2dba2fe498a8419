"""Between grey levels and real numbers: dequantisation and the logit."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import tinygen as tg
from tinygen.nn import flows
from tinygen.nn.flows import images
from tinygen.testing import strategies as ts

# Dequantisation


def pixels(levels, dtype, each=1):
    """Every grey level, `each` times: (levels, each)."""
    x = (np.arange(levels) / (levels - 1)).astype(dtype)
    return tg.tensor(np.repeat(x[:, None], each, 1))


@pytest.fixture(params=["zero", "the largest below 1", "a half"])
def extreme(request, monkeypatch) -> Iterator[None]:
    """All uniform draws are as close to a wall as a generator's can be."""
    u = {"zero": lambda t: 0.0, "the largest below 1": lambda t: np.nextafter(t(1), t(0)), "a half": lambda t: 0.5}

    def rand(shape, dtype=None, device=None, generator=None):
        return tg.full(shape, float(u[request.param](np.dtype(dtype).type)), dtype=dtype, device=device)

    monkeypatch.setattr(images, "rand", rand)
    yield


@pytest.mark.parametrize("levels", [2, 3, 10, 16, 49, 100, 256, 1000, 65536])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_draw_leaves_its_cell(extreme, levels, dtype):
    """However close to a wall it is, whatever is rounded: v in [0, 1), in its cell, and inverse(forward(x)) == x."""
    d, x = flows.Dequantize(levels), pixels(levels, dtype)
    v = d(x)
    assert v.dtype == dtype and (v >= 0).all() and (v < 1).all()
    exact, k = v.numpy().astype(np.float64) * levels, np.arange(levels)[:, None]
    assert (exact >= k).all() and (exact < k + 1).all()
    assert (d.inverse(v) == x).all()


def test_eight_bits_are_restored_whatever_is_drawn(device):
    d = flows.Dequantize(generator=tg.Generator(device).manual_seed(0))
    for dtype in (tg.float32, tg.float64):
        x = pixels(256, dtype, 100).to(device)
        v = d(x)
        assert (d.inverse(v) == x).all() and v.dtype == dtype and v.device.type == device
        assert not (v == d(x)).all()  # each time another draw


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [0, 1, 127, 200, 255])
def test_uniform_in_its_cell(k, dtype):
    """Kolmogorov and Smirnov; 20000 draws would show a distribution function that is off by 1.4%."""
    d = flows.Dequantize(generator=tg.Generator().manual_seed(k))
    v = d(tg.full((20000,), k / 255, dtype=dtype)).double().numpy()
    assert stats.kstest(v * 256 - k, "uniform").pvalue > 1e-3


def test_samples_outside_become_black_or_white():
    v = tg.tensor([-3.0, -1e-9, 0.0, 0.999999, 1.0, 7.0])
    assert flows.Dequantize().inverse(v).tolist() == [0, 0, 0, 1, 1, 1]


def test_the_density_of_the_cells_bounds_the_probability_of_the_levels():
    """E_u log p(v) <= log P(k) + log 256, with equality for a density that is flat in the cell; in nats, by many draws."""
    d, x = flows.Dequantize(generator=tg.Generator().manual_seed(0)), tg.full((20000,), 40 / 255, dtype=tg.float64)
    for a, b in ((1.0, 1.0), (2.0, 3.0), (40.0, 200.0)):
        p = stats.beta(a, b)
        mean = p.logpdf(d(x).numpy()).mean()
        bound = np.log(p.cdf(41 / 256) - p.cdf(40 / 256)) + np.log(256)
        # no gap for a flat density; else the mean's error is below that of log p over the cell, and small
        assert mean <= bound + 1e-4 and bound - mean < 0.02


@pytest.mark.parametrize("wrong", [0.5, 3 / 256, -1 / 255, 256 / 255, math.nan])
def test_what_is_no_grey_level_is_refused(wrong):
    x = tg.zeros(2, 3)
    x[1, 2] = wrong
    with pytest.raises(ValueError, match=r"Dequantize: .* multiples of 1/255 .*; they are dequantised once"):
        flows.Dequantize()(x)
    assert flows.Dequantize()(tg.zeros(0, 3)).shape == (0, 3)


def test_half_precision_is_not_exact_but_right():
    """float16 has 11 bits: the middle of each cell, and no error about pixels that are rounded."""
    x = pixels(256, np.float16)
    assert (flows.Dequantize().inverse(flows.Dequantize()(x)) == x).all()


def test_it_has_a_gradient_of_none():
    x = tg.ones(3, requires_grad=True)
    assert not flows.Dequantize()(x).requires_grad


# The logit

margins = st.sampled_from([0.05, 1e-6, 0.3])


@given(x=ts.tensors((3, 4), low=0.0, high=1.0), margin=margins)
def test_logit_is_scipys(x, margin):
    y, logdet = flows.Logit(margin)(x)
    p = margin + (1 - 2 * margin) * x.numpy()
    np.testing.assert_allclose(y.numpy(), special.logit(p), rtol=1e-9, atol=1e-12)  # 1 − p cancels near 1
    # d logit(p)/dx = (1 − 2a) / (p (1 − p))
    np.testing.assert_allclose(logdet.numpy(), np.log((1 - 2 * margin) / (p * (1 - p))).sum(1), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("margin", [0.05, 1e-6])
def test_black_and_white_are_finite(dtype, margin):
    y, logdet = flows.Logit(margin)(tg.tensor([[0.0, 1.0]], dtype=dtype))
    expected = special.logit(margin)
    # 1 − margin is rounded to eps: relative to what is left of it, eps / margin
    precision = 4 * np.finfo(dtype).eps / margin
    np.testing.assert_allclose(y.numpy(), [[expected, -expected]], atol=precision)
    again, back = flows.Logit(margin).inverse(y)
    np.testing.assert_allclose(again.numpy(), [[0, 1]], atol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(back.numpy(), -logdet.numpy(), atol=2 * precision)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inverse_takes_every_real_number(dtype):
    """Where the sigmoid is 0 or 1 to rounding its logarithm is still right: log σ(−500) = −500."""
    y = tg.tensor([[-500.0], [-30.0], [0.0], [30.0], [500.0]], dtype=dtype)
    x, logdet = flows.Logit(0.05).inverse(y)
    low = -0.05 / 0.9
    np.testing.assert_allclose(x.numpy()[:, 0], [low, low, 0.5, 1 - low, 1 - low], atol=1e-6)
    expected = -np.abs(y.numpy()[:, 0]) - np.where(y.numpy()[:, 0] == 0, 2 * np.log(2), 0) - np.log(0.9)
    np.testing.assert_allclose(logdet.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("margin, bad", [(0.05, -0.06), (0.05, 1.06), (0.0, 0.0), (0.0, 1.0), (0.05, math.nan)])
def test_values_outside_are_refused(margin, bad):
    with pytest.raises(ValueError, match=r"Logit: data in \[0, 1\] are expected, got values from .* with margin"):
        flows.Logit(margin)(tg.tensor([[0.5, bad]]))
