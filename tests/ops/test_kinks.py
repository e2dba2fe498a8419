"""Where a derivative does not exist the rules take PyTorch's value; and nothing overflows on the way.

The expected numbers here are conventions, so they are written out; test_against_torch.py compares them with PyTorch itself.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygen as tg


def gradient(f, *values: list, dtype=tg.float64) -> list:
    xs = [tg.tensor(v, dtype=dtype, requires_grad=True) for v in values]
    return [g.tolist() for g in tg.grad(f(*xs).sum(), xs)]


@pytest.mark.parametrize(
    ("function", "points", "expected"),
    [
        (tg.relu, [-1.0, 0.0, 1.0], [0, 0, 1]),
        (tg.abs, [-1.0, 0.0, 1.0], [-1, 0, 1]),
        (tg.sign, [-1.0, 0.0, 1.0], [0, 0, 0]),
        (lambda x: x.clamp(-1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0], [0, 1, 1, 1, 0]),
        (lambda x: x.clamp(min=0), [-1.0, 0.0, 1.0], [0, 1, 1]),
        (lambda x: x.clamp(max=0), [-1.0, 0.0, 1.0], [1, 1, 0]),
        (lambda x: tg.amax(x), [1.0, 2.0, 2.0], [0, 0.5, 0.5]),
        (lambda x: tg.amin(x), [1.0, 1.0, 2.0], [0.5, 0.5, 0]),
        (lambda x: tg.max(x), [2.0, 2.0, 2.0, 2.0], [0.25] * 4),
        (lambda x: tg.max(x, 0).values, [1.0, 2.0, 2.0], [0, 1, 0]),
        (lambda x: tg.min(x, 0).values, [1.0, 1.0, 2.0], [1, 0, 0]),
        (lambda x: tg.norm(x), [0.0, 0.0], [0, 0]),
        (lambda x: tg.norm(x), [3.0, 4.0], [0.6, 0.8]),
        (lambda x: tg.norm(x, 1), [0.0, -2.0], [0, -1]),
        (lambda x: tg.norm(x, math.inf), [1.0, -2.0], [0, -1]),
        (lambda x: tg.norm(x, 3), [0.0, 0.0], [0, 0]),
        (lambda x: tg.norm(x, 1.5), [0.0, -1.0], [0, -1]),
        (lambda x: tg.norm(x, 0.5), [0.0, -1.0], [0, -1]),
        (lambda x: x**0, [0.0, 1.0], [0, 0]),
        (lambda x: x**1, [0.0, 1.0], [1, 1]),
        (lambda x: x**2, [0.0, 1.0], [0, 2]),
        (lambda x: 0**x, [1.0, 2.0], [0, 0]),
        (tg.prod, [0.0, 2.0, 3.0], [6, 0, 0]),
        (tg.prod, [0.0, 0.0, 3.0], [0, 0, 0]),
    ],
)
def test_the_gradient_at_a_kink(function, points, expected):
    (found,) = gradient(function, points)
    assert found == expected


def test_ties_of_two_tensors_share_the_gradient():
    for f in (tg.maximum, tg.minimum):
        left, right = gradient(f, [1.0, 2.0], [1.0, 3.0])
        assert left[0] == right[0] == 0.5
        assert sorted([left[1], right[1]]) == [0, 1]


INF = math.inf


@pytest.mark.parametrize(
    ("function", "points", "expected"),
    [
        (tg.std, [3.0, 3.0, 3.0], [0, 0, 0]),
        (lambda x: x.std(unbiased=False), [3.0], [0]),
        (lambda x: x.reshape(2, 2).std(1), [3.0, 3.0, 1.0, 3.0], [0, 0, -(0.5**0.5), 0.5**0.5]),
        (tg.var, [3.0, 3.0, 3.0], [0, 0, 0]),
        (lambda x: tg.norm(x.reshape(2, 2), dim=1), [0.0, 0.0, 3.0, 4.0], [0, 0, 0.6, 0.8]),
        (lambda x: tg.norm(x, 3), [0.0, 2.0], [0, 1]),
        (lambda x: tg.norm(x, 1.5), [0.0, 2.0], [0, 1]),
        (lambda x: tg.norm(x, 0.5), [0.0, 2.0], [0, 1]),
        (lambda x: tg.norm(x, 1), [0.0, 0.0], [0, 0]),
        (lambda x: tg.norm(x, INF), [0.0, 0.0], [0, 0]),
        (lambda x: tg.norm(x).sqrt(), [0.0, 0.0], [0, 0]),  # 0 even where what follows has an infinite slope
        (lambda x: x.std().sqrt(), [3.0, 3.0], [0, 0]),
        (lambda x: x.abs().sqrt(), [0.0, 4.0], [0, 0.25]),
        (lambda x: x.relu().sqrt(), [0.0, -1.0], [0, 0]),
        (lambda x: tg.logsumexp(x.reshape(2, 2), 1), [-INF, -INF, -INF, 1.0], [0, 0, 0, 1]),
        (lambda x: tg.logsumexp(x, 0), [INF, 1.0], [1, 0]),
        (lambda x: tg.logaddexp(x[0], x[1]), [-INF, -INF], [0, 0]),
        (lambda x: tg.logaddexp(x[0], x[1]), [-INF, 1.0], [0, 1]),
        (lambda x: tg.softmax(x, 0)[1], [-INF, 0.0, 0.0], [0, 0.25, -0.25]),
        (lambda x: tg.log_softmax(x, 0)[1], [-INF, 0.0, 0.0], [0, 0.5, -0.5]),
        (lambda x: tg.prod(x), [0.0, 2.0, 3.0], [6, 0, 0]),
        (lambda x: x**x, [0.0], [0]),
        (lambda x: tg.softplus(x)[1:], [INF, -INF, 0.0], [0, 0, 0.5]),
        (tg.sigmoid, [INF, -INF], [0, 0]),
    ],
)
def test_the_gradient_at_a_singular_point(function, points, expected):
    """Finite, and so is its own gradient.  PyTorch has the same where it has a number: some of these are nan there."""
    x = tg.tensor(points, dtype=tg.float64, requires_grad=True)
    (g,) = tg.grad(function(x).sum(), [x], create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), expected, rtol=1e-12)  # rounding
    weights = tg.arange(1.0, len(points) + 1, dtype=tg.float64)
    (h,) = tg.grad((g * weights).sum(), [x]) if g.requires_grad else (tg.zeros(1),)
    assert np.isfinite(h.numpy()).all(), h


def test_zero_to_a_tensor_power():
    """d(x^y)/dy = x^y log x is 0 for x = 0: not 0 · (-inf)."""
    base, exponent = gradient(tg.pow, [0.0, 0.0, 2.0], [2.0, 0.0, 3.0])
    assert base == [0, 0, 12]
    assert exponent == [0, 0, pytest.approx(8 * math.log(2))]


def test_where_hides_nothing_but_passes_nothing():
    """A branch that was not taken gets the gradient 0, even where its own derivative is infinite."""
    (g,) = gradient(lambda x: tg.where(x > 0, tg.sqrt(tg.where(x > 0, x, 1.0)), 0.0), [0.0, 4.0])
    assert g == [0, 0.25]


@pytest.mark.parametrize("x", [-1000.0, 1000.0])
@pytest.mark.parametrize(
    ("function", "limits", "slopes"),
    [  # the values and slopes at -1000 and 1000
        (tg.sigmoid, (0, 1), (0, 0)),
        (tg.tanh, (-1, 1), (0, 0)),
        (tg.softplus, (0, 1000), (0, 1)),
        (lambda x: tg.logaddexp(x, tg.zeros(1)), (0, 1000), (0, 1)),
        (lambda x: tg.logsumexp(tg.cat([x, x]), 0), (-1000 + math.log(2), 1000 + math.log(2)), (1, 1)),
        (lambda x: tg.log_softmax(tg.cat([x, tg.zeros(1)]), 0)[0], (-1000, 0), (1, 0)),
        (lambda x: tg.softmax(tg.cat([x, tg.zeros(1)]), 0)[0], (0, 1), (0, 0)),
    ],
)
def test_nothing_overflows_in_float32(function, limits, slopes, x):
    t = tg.tensor([x], requires_grad=True)
    with np.errstate(over="raise", invalid="raise"):
        y = function(t).sum()
        (g,) = tg.grad(y, t)
    side = int(x > 0)
    assert y.dtype == g.dtype == tg.float32
    assert y.item() == pytest.approx(limits[side], rel=1e-6, abs=1e-30)  # float32 has 7 digits
    # the slope of logsumexp is exp(x - out), where out is 1000 with 7 digits
    assert g.item() == pytest.approx(slopes[side], rel=1000 * 1.2e-7, abs=1e-30)


def test_logsumexp_and_softmax_of_infinities():
    x = tg.tensor([-math.inf, -math.inf])
    assert tg.logsumexp(x, 0).item() == -math.inf
    y = tg.tensor([-math.inf, 0.0, 0.0], requires_grad=True)
    assert tg.softmax(y, 0).tolist() == [0, 0.5, 0.5]
    (g,) = tg.grad(tg.log_softmax(y, 0)[1], y)
    np.testing.assert_allclose(g.numpy(), [0, 0.5, -0.5])


def test_reductions_over_nothing():
    empty = tg.zeros(0, 3)
    assert empty.sum().item() == 0 and empty.prod().item() == 1 and math.isnan(empty.mean().item())
    assert tg.logsumexp(empty, 0).tolist() == [-math.inf] * 3
    assert empty.sum(0).tolist() == [0, 0, 0] and empty.sum(1).shape == (0,)
    for f in (tg.amax, tg.amin, tg.argmax, tg.max):
        with pytest.raises(IndexError, match="no elements"):
            f(empty)
