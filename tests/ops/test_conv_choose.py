"""Which way a convolution is computed.  Both gradients in one go: tests/ops/test_operators.py, test_gradients_together."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen.nn import functional as F
from tinygen.ops.conv import Geometry, choose

F32 = np.dtype(np.float32)


def square(size: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> Geometry:
    return Geometry((size,) * 2, (kernel,) * 2, (stride,) * 2, ((padding,) * 2,) * 2, (1, 1), groups)


@pytest.mark.parametrize(
    ("geo", "channels", "name"),
    [
        (square(24, 5), (32, 32), "fourier"),
        (square(28, 5), (1, 32), "columns"),
        (square(28, 5, padding=2), (32, 1), "mirrored"),
        (square(16, 4, stride=2, padding=1), (64, 128), "rows"),
        (square(16, 3, groups=8), (8, 16), "depthwise"),
        (square(9, 3, stride=2), (32, 32), "taps"),
    ],
)
def test_each_way_has_its_place(geo, channels, name):
    assert choose.way(np, geo, 100, *channels, F32).name == name


def test_on_another_library_than_numpy_products_are_few_and_large():
    assert choose.way(object(), square(24, 3), 100, 32, 32, F32).name == "columns"
    assert choose.way(object(), square(512, 5), 100, 64, 32, F32).name == "taps"  # columns of 168 GB


def test_what_the_fast_ways_cannot_do_goes_tap_by_tap():
    geo = square(24, 5)
    assert choose.way(np, geo, 0, 32, 32, F32).name == "taps"
    assert choose.way(np, geo, 100, 32, 32, np.dtype(np.int64)).name == "taps"
    assert (
        choose.way(np, geo, 100, 32, 32, np.dtype(np.float16)).name != "fourier"
    )  # half precision has too few digits for sums of waves


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


def test_a_nan_stays_a_nan():
    x = tg.zeros(100, 32, 24, 24)
    x[3, 5, 7, 7] = float("nan")
    y = F.conv2d(x, tg.ones(32, 32, 5, 5))
    assert np.isnan(y.numpy()[3]).any()
    assert not np.isnan(np.delete(y.numpy(), 3, 0)).any()
