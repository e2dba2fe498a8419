"""What a convolution takes beside its results: memory, and time for a kernel as large as the image; and whom a large value touches."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tests.ops.domains.conv import shapes_of
from tinygen.engine import OPERATORS
from tinygen.nn import functional as F
from tinygen.ops.conv import Geometry, choose
from tinygen.ops.conv.evenness import LARGEST, Watch, is_even
from tinygen.testing import strategies as ts

ARGUMENTS = {"conv": "xw", "conv_transpose": "yw", "conv_weight": "xy"}


def peak(f: Callable[[], Any]) -> int:
    """The most bytes that f has allocated at a time."""
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@st.composite
def large_geometries(draw: st.DrawFn) -> tuple[Geometry, int, int, int]:
    """(geometry, batch, channels in, out): sizes for which a wrong way takes gigabytes; at most some 10⁹ multiplications."""
    ndim = draw(st.sampled_from([2, 1, 3]))
    axes = []
    for _ in range(ndim):
        size = draw(st.integers(1, {1: 3000, 2: 60, 3: 14}[ndim]))
        kernel = draw(st.one_of(st.integers(1, 5), st.integers(1, size), st.just(size)))
        stride, dilation = draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 1, 2]))
        reach = dilation * (kernel - 1) + 1
        padding = draw(st.sampled_from([0, reach // 2, kernel - 1]))
        padding = max(padding, -(-(reach - size) // 2))
        axes.append((size, kernel, stride, (padding, padding), dilation))
    geo = Geometry(*(tuple(x) for x in zip(*axes, strict=True)))
    batch, n_in, n_out = (draw(st.sampled_from([1, 2, 1, 4, 16])) for _ in range(3))
    while (operations := batch * n_in * n_out * np.prod(geo.kernel) * np.prod(geo.out)) > 1e9 and operations:
        batch, n_in, n_out = max(batch // 2, 1), max(n_in // 2, 1), max(n_out // 2, 1)
        if batch == n_in == n_out == 1:
            break
    return geo, batch, n_in, n_out


@settings(max_examples=15)
@given(drawn=large_geometries(), seed=ts.seeds())
def test_memory_is_bounded_by_what_comes_in_and_goes_out(drawn: tuple[Geometry, int, int, int], seed: int) -> None:
    """As the estimate promises: MOST_MEMORY times, and a little.

    Besides: copies of the two arguments and of the result in another order, padded (a padded input is no larger than the result and
    the kernel's reach make it, so it counts as itself), and about 1 kB of Python objects per tap.
    """
    geo, shapes, rng = drawn[0], shapes_of(*drawn), np.random.default_rng(seed)
    arrays = {a: rng.standard_normal(shapes[a], dtype=np.float32) for a in "xwy"}
    padded = 4 * drawn[1] * drawn[2] * int(np.prod(geo.padded))
    most = (choose.MOST_MEMORY + 3) * (sum(a.nbytes for a in arrays.values()) + padded) + 2 * choose.LITTLE
    for name, (a, b) in ARGUMENTS.items():
        taken = peak(lambda name=name, a=a, b=b: OPERATORS[name](arrays[a], arrays[b], geo=geo))
        assert taken <= most + 1000 * np.prod(geo.kernel), (
            f"{name}: {taken / 2**20:.0f} MB of {most / 2**20:.0f} MB, {drawn}"
        )


@pytest.mark.parametrize("transposed", [False, True])
def test_a_kernel_as_large_as_the_image(transposed: bool) -> None:
    """10⁴ multiplications per order of derivative: no matrices of 10⁸ numbers."""
    x, w = (tg.randn(1, 1, 100, 100, requires_grad=True) for _ in range(2))
    f = F.conv_transpose2d if transposed else F.conv2d
    start = time.perf_counter()

    def both_orders() -> None:
        g = tg.grad((f(x, w) ** 2).sum(), [x, w], create_graph=True)
        tg.grad(sum((a * a).sum() for a in g), [x, w])

    assert peak(both_orders) < 50e6
    assert time.perf_counter() - start < 3  # 0.1 s on an idle core


# A value must not be felt where it is not used.

SPREADING = [way for way in vars(choose).values() if isinstance(way, choose.Way) and way.spreads]
GEOMETRIES = {
    "winograd": (Geometry((14, 14), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), 20, 64, 64),
    "winograd, stride": (Geometry((16, 17), (4, 4), (2, 2), ((1, 1), (1, 1)), (1, 1)), 20, 64, 64),
    "fourier": (Geometry((14, 15), (5, 5), (1, 1), ((0, 0), (1, 2)), (1, 1)), 16, 32, 32),
    "fft": (Geometry((3000,), (2000,), (1,), ((900, 1100),), (1,)), 1, 2, 2),
    "fft, stride": (Geometry((60, 60), (31, 31), (2, 2), ((20, 20), (20, 20)), (1, 1)), 1, 2, 2),
}


def test_the_geometries_are_those_of_ways_that_spread():
    found = {choose.way(np, *drawn, np.dtype("float32")) for drawn in GEOMETRIES.values()}
    assert found == set(SPREADING)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("operator", ["conv", "conv_transpose"])
@settings(max_examples=6)
@given(value=st.sampled_from([1e6, -1e6, 1e9, 1e30, np.inf, -np.inf, np.nan]), seed=ts.seeds(), data=st.data())
def test_results_do_not_feel_values_that_they_do_not_use(
    name: str, operator: str, value: float, seed: int, data: Any
) -> None:
    """One pixel is made large: what does not use it stays what it was, but for the rounding error of the sum that it is."""
    drawn = GEOMETRIES[name]
    shapes, rng = shapes_of(*drawn), np.random.default_rng(seed)
    image, w = (rng.standard_normal(shapes[a]).astype(np.float32) for a in ARGUMENTS[operator])
    f = lambda a, b: np.asarray(OPERATORS[operator](a, b, geo=drawn[0]))
    at = (rng.integers(len(image)), rng.integers(image.shape[1]), *(rng.integers(n) for n in image.shape[2:]))
    where = np.zeros_like(image)
    where[at] = 1
    untouched = f(where, np.ones_like(w)) < 0.5  # the results that do not have the pixel in their sum
    before = f(image.astype(np.float64), w.astype(np.float64))
    image[at] = value
    with np.errstate(all="ignore"):
        after = f(image, w)
    size = f(np.abs(np.nan_to_num(image, nan=0, posinf=0, neginf=0)) * (1 - where), np.abs(w))
    terms = w[0].size if operator == "conv" else w[:, 0].size
    assert untouched.any() and not untouched.all()
    room = terms * 2.0**-23 * size
    assert (np.abs(after - before)[untouched] <= room[untouched]).all()


@given(ts.seeds(), st.sampled_from([1, 100, 10_000]), st.sampled_from(["even", "large", "nan", "inf"]))
def test_is_even(seed: int, scale: int, kind: str) -> None:
    """Its definition: every pixel is at most LARGEST times the middle one of its image; images may differ as they like."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 1, (3, 40, 12, 13)).astype(np.float32) * np.array([1, scale, 0], np.float32).reshape(
        3, 1, 1, 1
    )
    x[:, :, :5] *= rng.integers(0, 2)  # background
    at = tuple(rng.integers(n) for n in (2, *x.shape[1:]))
    x[at] = {"even": x[at], "large": 1.5 * LARGEST * max(1, scale * at[0]), "nan": np.nan, "inf": -np.inf}[kind]
    assert is_even(x) == (kind == "even")


@given(ts.seeds(), st.integers(1, 400), st.floats(1, 30), st.sampled_from([1.1 * LARGEST, 1e30, np.nan, np.inf]))
def test_a_watch_misses_nothing(seed: int, length: int, sigma: float, value: float) -> None:
    """A value beyond LARGEST times the root mean square of the pieces is seen, wherever it is; without it all is even."""
    x = np.random.default_rng(seed).normal(size=(4, 30, length)).astype(np.float32)
    x *= sigma / np.sqrt(np.square(x).mean(-1, keepdims=True))
    x[2, :10] = 0  # nothing there
    for kind in ("even", "not"):
        watch = Watch()
        if kind == "not":
            x[seed % 4, 29, seed % length] = value * sigma
        with np.errstate(all="ignore"):
            for part in x:
                watch.see(part)
            assert watch.saw_even() == (kind == "even")
