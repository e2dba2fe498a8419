"""Which way computes a convolution fastest: the estimated time of each, in one place.

All ways give the same sums (tests hold each of them against a naive loop); they differ in how many matrix products of which
shape they make, what they copy, and how many calls it takes.  The constants were measured with NumPy and OpenBLAS on
one core of a recent x86 server, and are rough: a neighbouring way that is 20 % slower does no harm, a wrong kind of way
can be ten times slower.  For a GPU on_gpu.py estimates.

What a way needs on its way counts too: it may take MOST_MEMORY times what comes in and goes out, and a little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from tinygen.backend.base import Limits
from tinygen.backend.registry import LIMITS
from tinygen.backend.threads import ENOUGH, get_num_threads
from tinygen.ops.conv import columns, depthwise, fft, fourier, on_gpu, rows, taps, windows, winograd
from tinygen.ops.conv.geometry import Geometry

_MULTIPLY = 0.009
"""Nanoseconds per multiplication and addition within a large matrix product."""
_ADD = 0.1
"""To add an element to another one in the cache of a core."""
_COLUMN = 0.45
"""To write an element of the columns, or to add it back to where it came from."""
_FAR = 0.4
"""To add or copy an element when the arrays are larger than the cache."""
_CALL = 2000.0
"""A line of Python with a matrix product."""
_PRODUCT = 150.0
"""Every further product of a stack of matrices."""
_WAVE = 0.4
"""To transform an element by a fast Fourier transform, per doubling of its length."""
_MANY = 100
"""Taps of a kernel for which a fast Fourier transform may be faster than one multiplication after the other."""
_ENTRY = 2.0
"""A sine or a cosine: 20, but they are kept, and most convolutions are done ten times and more."""

MOST_MEMORY = 8
"""Memory on the way, over that of input, kernel and output together ..."""
LITTLE = 16 * 1024 * 1024
"""... and bytes that do not matter."""


class Way(NamedTuple):
    """The three functions (xp, array, array, geo), and where they exist, the two for both gradients at once.

    spreads: whether errors of a result are relative to values that it does not use, see evenness.py.
    """

    name: str
    conv: Callable[..., Any]
    conv_transpose: Callable[..., Any]
    conv_weight: Callable[..., Any]
    transpose_and_weight: Callable[..., tuple[Any, Any]] | None = None
    conv_and_weight: Callable[..., tuple[Any, Any]] | None = None
    spreads: bool = False


TAPS = Way("taps", taps.conv, taps.conv_transpose, taps.conv_weight)
ROWS = Way("rows", rows.conv, rows.conv_transpose, rows.conv_weight)
COLUMNS = Way("columns", columns.conv, columns.conv_transpose, columns.conv_weight)
MIRRORED = Way("mirrored", columns.mirrored_conv, columns.mirrored_conv_transpose, columns.mirrored_conv_weight)
WINDOWS = Way("windows", windows.conv, windows.conv_transpose, windows.conv_weight)
DEPTHWISE = Way("depthwise", depthwise.conv, depthwise.conv_transpose, depthwise.conv_weight)
WINOGRAD = Way("winograd", winograd.conv, winograd.conv_transpose, winograd.conv_weight, spreads=True)
FFT = Way("fft", fft.conv, fft.conv_transpose, fft.conv_weight, spreads=True)
FOURIER = Way(
    "fourier",
    fourier.conv,
    fourier.conv_transpose,
    fourier.conv_weight,
    fourier.transpose_and_weight,
    fourier.conv_and_weight,
    spreads=True,
)

ON_GPU = {way.name: way for way in (TAPS, WINDOWS, MIRRORED, FOURIER)}


def way(xp: Any, geo: Geometry, batch: int, n_in: int, n_out: int, dtype: Any, spreading: bool = True) -> Way:
    """The way that is likely to be fastest; without `spreading`, of those whose errors do not spread."""
    if not batch or dtype.kind != "f":
        return TAPS
    limits = LIMITS[xp]
    return _way(limits, 0 if limits else get_num_threads(), geo, batch, n_in, n_out, dtype.itemsize, spreading)


@lru_cache(4096)
def _way(
    limits: Limits | None,
    threads: int,
    geo: Geometry,
    batch: int,
    n_in: int,
    n_out: int,
    itemsize: int,
    spreading: bool,
) -> Way:
    if depthwise.takes(geo, n_in) and geo.groups > 1 and (limits or math.prod(geo.kernel) < _MANY or not spreading):
        return DEPTHWISE
    if limits:
        named = on_gpu.estimates(limits, geo, batch, n_in, n_out, itemsize)
        return min(
            (way for way in map(ON_GPU.__getitem__, named) if spreading or not way.spreads), key=lambda w: named[w.name]
        )
    costs = estimates(geo, batch, n_in, n_out, itemsize, threads)
    if depthwise.takes(geo, n_in) and geo.groups > 1:
        return FFT if FFT in costs else DEPTHWISE
    return min((way for way in costs if spreading or not way.spreads), key=costs.__getitem__)


def estimates(
    geo: Geometry, batch: int, n_in: int, n_out: int, itemsize: int = 4, threads: int = 1
) -> dict[Way, float]:
    """Nanoseconds for one of the three operators, by each way that knows the geometry; a mean of the three.

    Ways that would take too much memory are left out.
    """
    numbers = batch * (math.prod(geo.size) * n_in + math.prod(geo.out) * n_out)
    numbers += math.prod(geo.kernel) * n_in * n_out // geo.groups
    most = MOST_MEMORY * numbers + LITTLE // itemsize
    is_shared = threads > 1 and math.prod(geo.out) * batch * n_out * n_in // geo.groups >= ENOUGH
    share = 1 / threads if is_shared else 1.0
    a, b = n_in // geo.groups, n_out // geo.groups
    n_taps, pixels = math.prod(geo.kernel), math.prod(geo.out) * batch
    n_rows, lines = math.prod(geo.out[:-1]), geo.out[-1] * batch
    stretched = 0 if geo.stride[-1] == 1 and geo.padded == geo.size else math.prod(geo.padded) * batch * n_in
    ends = (a + b) * geo.groups / 2  # what is added per pixel and tap: the output, or in the transpose the input

    def near(size: float) -> float:
        return _ADD if size * itemsize < 1 << 20 else 2 * _FAR  # the product is written first, and far away too

    costs = {
        TAPS: n_taps * (_CALL + math.prod(geo.out) * geo.groups * _PRODUCT)
        + n_taps * geo.groups * _product(pixels, batch, a, b)
        + n_taps * pixels * ends * near(pixels * ends)
        + stretched * _FAR / 2,
        ROWS: (
            0.8 * _CALL * n_taps * n_rows * geo.groups
            + n_taps * geo.groups * _product(pixels, lines, a, b)
            + n_taps * pixels * ends * _ADD
        )
        * share
        + stretched * _FAR / 2,
    }
    if columns.takes(geo):
        costs[COLUMNS] = share * _columns(n_taps, pixels, n_in, n_out, n_rows) + stretched * _FAR / 2
    if columns.takes_mirrored(geo):
        costs[MIRRORED] = share * _columns(n_taps, math.prod(geo.size) * batch, n_out, n_in, geo.size[0])
    if winograd.takes(geo) and itemsize >= 4:
        m, t, tiles = winograd.tiles_of(geo)
        s, lines_in, lines_out = geo.stride[-1], geo.padded[0] * tiles * batch, n_rows * tiles * batch
        products = n_rows * geo.kernel[0]
        costs[WINOGRAD] = (
            products * (_CALL + t * _PRODUCT)
            + _product(products * t * tiles * batch, tiles * batch, s * n_in, n_out)
            + products * t * tiles * batch * (s * n_in + n_out) / 2 * _ADD
            + t * (t * lines_in * s * n_in + m * lines_out * n_out) * 2 * _MULTIPLY  # A and B: thin products
            + (geo.padded[0] + n_rows) * tiles * _CALL
        ) * share + geo.kernel[0] * s * winograd.taps_of(geo) * n_in * n_out * t * _FAR
    if fourier.takes(geo) and itemsize >= 4:
        n, last = fourier.lengths(geo)
        r = last // 2 + 1
        frequencies, matrices = 3.0 * n * r, fourier.numbers(geo)
        if matrices + frequencies * (n_in * n_out + 2 * (n_in + n_out)) <= most:
            once = geo.size[0] * geo.size[1] * 2 * r * n_in + geo.out[0] * geo.out[1] * 2 * r * n_out
            twice = 6 * n * r * (geo.size[0] * n_in + geo.out[0] * n_out)
            middle = _product(frequencies * batch, min(batch, 25), n_in, n_out)
            kernel = frequencies * n_in * n_out
            kernel *= 8 * geo.kernel[0] * _MULTIPLY + (4 * _FAR if kernel * itemsize > 1 << 26 else _FAR)
            written = 8 * n * r * batch * (n_in + n_out) * _ADD  # and read
            costs[FOURIER] = share * (1.25 * (batch * (once + twice) * _MULTIPLY + middle) + written)
            costs[FOURIER] += kernel + matrices * _ENTRY + 10 * _CALL
    if itemsize >= 4 and fft.memory(geo, batch, n_in, n_out) <= most:
        n = math.prod(fft.lengths(geo))
        channels = batch * (n_in + n_out) + n_in * b
        middle = 4 * _product(n / 2 * geo.groups * batch, batch, a, b)
        costs[FFT] = (
            n * channels * _WAVE * math.log2(n + 1) + middle + 300 * _CALL
        )  # and SciPy's transforms are imported once
    return costs


def _product(total: float, m: int, k: int, n: int) -> float:
    """A product (m, k) (k, n), so often that there are `total` rows: thin matrices are slower."""
    thin = 20 if min(k, n) == 1 else 1
    return total * (k + 3) * (n + 3) * (1 + 4 / m) * _MULTIPLY * thin


def _columns(n_taps: int, pixels: int, few: int, many: int, n_rows: int) -> float:
    blocks = max(1, min(n_rows, n_taps * few * pixels * 4 // columns.BLOCK_BYTES))
    product = _product(pixels, 1000, n_taps * few, many)
    return n_taps * few * pixels * _COLUMN + product + blocks * n_taps * _CALL
