"""Dropout: the mean stays, the seed decides, the gradient goes where the value went."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import backend, nn
from tinygen.nn import functional as F
from tinygen.testing import assert_gradients

N = 100_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_of_zeros_and_mean(p, device):
    out = F.dropout(tg.ones(N, device=device), p, generator=tg.Generator(device).manual_seed(1))
    kept = backend.to_numpy(out.array) != 0
    spread = math.sqrt(p * (1 - p) / N)
    assert abs(kept.mean() - (1 - p)) < 4 * spread  # 4 standard deviations, and a fixed seed
    assert np.unique(backend.to_numpy(out.array)[kept]).tolist() == [np.float32(1 / (1 - p))]
    assert abs(out.mean().item() - 1) < 4 * spread / (1 - p)


def test_no_two_neighbours_are_tied(device):
    """Dropped elements are independent: the share of pairs that are both dropped is p²."""
    out = F.dropout(tg.ones(N, device=device), 0.3, generator=tg.Generator(device).manual_seed(2))
    dropped = backend.to_numpy(out.array) == 0
    assert abs((dropped[1:] & dropped[:-1]).mean() - 0.09) < 4 * math.sqrt(0.09 * 0.91 / N) * 1.5  # overlapping pairs


def test_the_seed_decides(device):
    x = tg.randn(50, device=device)
    draw = lambda seed: F.dropout(x, 0.5, generator=tg.Generator(device).manual_seed(seed))
    assert tg.equal(draw(1), draw(1)) and not tg.equal(draw(1), draw(2))
    tg.manual_seed(7)
    first = F.dropout(x, 0.5)
    second = F.dropout(x, 0.5)
    tg.manual_seed(7)
    assert tg.equal(F.dropout(x, 0.5), first) and not tg.equal(first, second)


def test_evaluation_and_the_ends(device):
    x = tg.randn(50, device=device)
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    assert not F.dropout(x, 1.0).any()


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_gradients(p):
    x = tg.randn(4, 5, dtype=tg.float64)
    assert_gradients(lambda x: F.dropout(x * x, p), x)  # the checker calls it with one seed


def test_the_gradient_is_the_mask(device):
    x = tg.randn(1000, device=device, requires_grad=True)
    out = F.dropout(x, 0.3)
    (g,) = tg.grad(out.sum(), x)
    assert out.dtype == g.dtype == tg.float32
    np.testing.assert_array_equal(backend.to_numpy((g * x).array), backend.to_numpy(out.array))


def test_layer():
    layer = nn.Dropout(0.4, generator=tg.Generator().manual_seed(3))
    x = tg.ones(1000)
    assert 0.3 < float((layer(x) == 0).float().mean()) < 0.5
    assert layer.eval()(x) is x
    assert list(layer.state_dict()) == [] and repr(layer) == "Dropout(p=0.4)"


def test_float64_stays():
    assert F.dropout(tg.ones(3, dtype=tg.float64)).dtype == tg.float64
