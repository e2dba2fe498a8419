"""Which way a convolution is computed.  Both gradients in one go: tests/ops/test_operators.py, test_gradients_together."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import backend
from tinygen.backend.base import Limits
from tinygen.nn import functional as F
from tinygen.ops.conv import Geometry, choose, on_gpu
from tinygen.testing.strict import StrictBackend, counted

STRICT = StrictBackend()
F32 = np.dtype(np.float32)


def square(size: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> Geometry:
    return Geometry((size,) * 2, (kernel,) * 2, (stride,) * 2, ((padding,) * 2,) * 2, (1, 1), groups)


@pytest.mark.parametrize(
    ("geo", "channels", "name"),
    [
        (square(24, 5), (32, 32), "fourier"),
        (square(28, 5), (1, 32), "columns"),
        (square(28, 5, padding=2), (32, 1), "mirrored"),
        (square(16, 4, stride=2, padding=1), (64, 128), "winograd"),
        (square(28, 3, padding=1), (32, 32), "winograd"),
        (square(14, 1), (64, 64), "rows"),
        (square(16, 3, groups=8), (8, 16), "depthwise"),
        (square(9, 2, stride=2), (32, 32), "taps"),
        (square(28, 15, padding=7, groups=16), (16, 16), "fft"),
    ],
)
def test_each_way_has_its_place(geo, channels, name):
    assert choose.way(np, geo, 100, *channels, F32).name == name


# On a GPU, for which the strict double stands

LAYERS = [  # (geometry, channels in and out, the way)
    (square(28, 5), (1, 32), "windows"),
    (square(24, 5), (32, 32), "fourier"),
    (square(20, 4, stride=2), (32, 32), "windows"),
    (square(14, 4, stride=2, padding=1), (64, 128), "windows"),
    (square(28, 3, padding=1), (32, 32), "windows"),
    (square(28, 3, padding=1), (32, 2), "mirrored"),
    (square(7, 1), (8, 8), "windows"),
    (square(16, 3, padding=1, groups=4), (32, 32), "windows"),
    (square(16, 3, groups=8), (8, 16), "depthwise"),
    (square(512, 5), (64, 32), "taps"),  # the windows would be 168 GB
]


@pytest.mark.parametrize(("geo", "channels", "name"), LAYERS)
def test_each_way_has_its_place_on_a_gpu(geo, channels, name):
    assert choose.way(STRICT.xp, geo, 100, *channels, F32).name == name


def kernels_of(way: choose.Way, geo: Geometry, n_in: int, n_out: int) -> list[int]:
    """How many each of the three operators starts, and all of them are what they are tap by tap."""
    rng, counted_kernels = np.random.default_rng(0), []
    x = rng.standard_normal((2, n_in, *geo.size))
    w = rng.standard_normal((n_out, n_in // geo.groups, *geo.kernel))
    y = rng.standard_normal((2, n_out, *geo.out))
    for name, args in (("conv", (x, w)), ("conv_transpose", (y, w)), ("conv_weight", (x, y))):
        there = [backend.to_device(a, STRICT.default_device()) for a in args]
        getattr(way, name)(STRICT.xp, *there, geo)  # matrices that depend on sizes only are made
        with counted() as counts:
            result = getattr(way, name)(STRICT.xp, *there, geo)
        assert not counts.to_host and not counts.to_device
        counted_kernels.append(len(counts.kernels))
        expected = getattr(choose.TAPS, name)(np, *args, geo)
        np.testing.assert_allclose(result.get(), expected, rtol=1e-9, atol=1e-9)  # float64; sums of up to 3000 terms
    return counted_kernels


small = pytest.mark.parametrize(
    ("geo", "channels", "name"), [x for x in LAYERS if x[0].size[0] < 100 and x[2] != "depthwise"]
)


@small
def test_products_are_few_on_a_gpu(geo, channels, name):
    """Ten kernels, and where the transpose has to be added up tap by tap, or the columns be written so, one or two for each tap."""
    taps = math.prod(geo.kernel)
    by_tap = name == "mirrored" or max(geo.stride) > 1
    started = kernels_of(choose.way(STRICT.xp, geo, 100, *channels, F32), geo, *channels)
    assert max(started) <= 10 + 2 * taps * by_tap
    if taps > 1:
        assert sum(started) < sum(kernels_of(choose.TAPS, geo, *channels)) * 0.7


@small
def test_the_model_knows_how_many_kernels_there_are(geo, channels, name):
    """On average over the three, to within three.  (Tap by tap CuPy starts some that the double does not know of.)"""
    for way, work in on_gpu.work(geo, 100, *channels).items():
        if way not in ("taps", "fourier"):
            assert abs(work.launches - np.mean(kernels_of(choose.ON_GPU[way], geo, *channels))) <= 3


@pytest.mark.parametrize(("geo", "channels", "name"), LAYERS)
@pytest.mark.parametrize("costly", ["launches", "operations", "numbers"])
def test_what_is_costly_is_spared(geo, channels, name, costly):
    """A device on which only launches, only multiplications or only its memory take time."""
    free = {"launch": 0.0, "operations": 1e30, "bytes": 1e30, "memory": 1 << 60}
    one = {"launches": {"launch": 1.0}, "operations": {"operations": 1.0}, "numbers": {"bytes": 1.0}}[costly]
    costs = on_gpu.estimates(Limits(**{**free, **one}), geo, 100, *channels)
    works = on_gpu.work(geo, 100, *channels)
    assert getattr(works[min(costs, key=costs.__getitem__)], costly) == min(getattr(w, costly) for w in works.values())


def test_what_the_fast_ways_cannot_do_goes_tap_by_tap():
    geo = square(24, 5)
    assert choose.way(np, geo, 0, 32, 32, F32).name == "taps"
    assert choose.way(np, geo, 100, 32, 32, np.dtype(np.int64)).name == "taps"
    for xp in (np, STRICT.xp):  # half precision has too few digits for sums of waves
        assert choose.way(xp, geo, 100, 32, 32, np.dtype(np.float16)).name != "fourier"


def test_a_large_layer_is_the_same_by_every_way():
    """The sizes for which the fast ways were made: many rows, several parts of the batch."""
    rng = np.random.default_rng(0)
    for geo, n_in, n_out in ((square(24, 5), 8, 16), (square(20, 4, 2, 1), 8, 8)):
        x = rng.standard_normal((30, n_in, *geo.size))
        w = rng.standard_normal((n_out, n_in, *geo.kernel))
        y = rng.standard_normal((30, n_out, *geo.out))
        for name, args in (("conv", (x, w)), ("conv_transpose", (y, w)), ("conv_weight", (x, y))):
            expected = getattr(choose.TAPS, name)(np, *args, geo)
            for way in choose.estimates(geo, 30, n_in, n_out):
                np.testing.assert_allclose(
                    getattr(way, name)(np, *args, geo), expected, rtol=1e-9, atol=1e-9, err_msg=way.name
                )


def test_a_nan_stays_a_nan_and_where_it_is():
    x = tg.zeros(100, 32, 24, 24)
    x[3, 5, 7, 7] = float("nan")
    nan = np.isnan(F.conv2d(x, tg.ones(32, 32, 5, 5)).numpy())
    expected = np.zeros((100, 32, 20, 20), bool)
    expected[3, :, 3:8, 3:8] = True
    np.testing.assert_array_equal(nan, expected)
