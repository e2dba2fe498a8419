"""Dropout: the mean stays, the seed decides, the gradient goes where the value went."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import backend, nn
from tinygen.layout import memory_order
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


# Whole channels

CHANNELS = [(F.dropout1d, nn.Dropout1d, (50, 40, 3)), (F.dropout2d, nn.Dropout2d, (50, 40, 2, 2)),
            (F.dropout3d, nn.Dropout3d, (50, 40, 2, 1, 2)), (F.dropout1d, nn.Dropout1d, (2000, 3)),
            (F.dropout3d, nn.Dropout3d, (2000, 2, 1, 2))]  # fmt: skip


@pytest.mark.parametrize(("function", "layer", "shape"), CHANNELS)
def test_channels_are_dropped_whole_and_independently(function, layer, shape, device):
    p, leading = 0.3, 2 if shape[0] == 50 else 1
    draw = lambda make: make(tg.ones(shape, device=device))
    out = draw(lambda x: function(x, p, generator=tg.Generator(device).manual_seed(1)))
    channels = backend.to_numpy(out.array).reshape(2000, -1)
    assert channels.shape[1] == math.prod(shape[leading:]) and (channels == channels[:, :1]).all()
    kept = channels[:, 0] != 0
    assert np.unique(channels[kept]).tolist() == [np.float32(1 / (1 - p))]
    assert abs(kept.mean() - (1 - p)) < 4 * math.sqrt(p * (1 - p) / 2000)  # 4 standard deviations, and a fixed seed
    assert abs((kept[1:] & kept[:-1]).mean() - (1 - p) ** 2) < 4 * math.sqrt(0.49 * 0.51 / 2000) * 1.5
    again = draw(layer(p, generator=tg.Generator(device).manual_seed(1)))
    assert tg.equal(out, again)
    x = tg.ones(shape, device=device)
    assert layer(p).eval()(x) is x and repr(layer(p)) == f"{layer.__name__}(p=0.3)"


def test_the_draws_do_not_depend_on_the_memory_order():
    pixels = tg.randn(5, 4, 2, 3).permute(2, 3, 0, 1)
    draw = lambda x: F.dropout(x, 0.5, generator=tg.Generator().manual_seed(1))
    out = draw(pixels)
    assert tg.equal(out, draw(pixels.contiguous()))
    assert memory_order(out.array) == memory_order(pixels.array) == [2, 3, 0, 1]
