"""Every way to compute the three sums of the convolution family, against the loop over pixels and taps, within what rounding allows.

A sum of n products, computed in any order, with or without fused multiply-adds, is off by at most

    γ(n) Σ |x| |w|,    γ(n) = n u / (1 - n u),    u = 2⁻²⁴ in float32, 2⁻⁵³ in float64

(Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1), and Σ |x| |w| is the same convolution of the
absolute values.  So every element has a bound of its own, with no tolerance to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import tinygen as tg
from tests.ops.domains.conv import (
    geometries,
    meetings,
    naive_conv,
    naive_conv_transpose,
    naive_conv_weight,
    shapes_of,
    ungrouped,
)
from tinygen import backend
from tinygen.backend import threads
from tinygen.engine import OPERATORS
from tinygen.ops.conv import Geometry, choose, columns, depthwise, family, fft, fourier, rows, winograd
from tinygen.ops.conv.choose import Way
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts
from tinygen.testing.layouts import LAYOUTS

ARGUMENTS = {"conv": "xw", "conv_transpose": "yw", "conv_weight": "xy"}
NAIVE = {"conv": naive_conv, "conv_transpose": naive_conv_transpose, "conv_weight": naive_conv_weight}
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def gamma(n: float, u: float) -> float:
    return n * u / (1 - n * u)


@dataclass(frozen=True)
class Case:
    """One of the three sums: its name, the geometry, two arrays."""

    name: str
    geo: Geometry
    arrays: tuple[np.ndarray, np.ndarray]

    @cached_property
    def expected(self) -> np.ndarray:
        return self._naive(*(a.astype(np.float64) for a in self.arrays))

    @cached_property
    def absolute(self) -> np.ndarray:
        """The same sum of the absolute values."""
        return self._naive(*(np.abs(a.astype(np.float64)) for a in self.arrays))

    @property
    def _naive(self) -> Callable[..., np.ndarray]:
        return lambda a, b: NAIVE[self.name](a, b, self.geo)


def bound_of_a_sum(case: Case, u: float) -> np.ndarray:
    """How far each element of the result may be off, if it is computed as the sum that it is."""
    a, geo = case.arrays[0], case.geo
    is_weight = case.name == "conv_weight"
    terms = a.shape[0] * np.prod(geo.out) if is_weight else a.shape[1] // geo.groups * np.prod(geo.kernel)
    return gamma(terms, u) * case.absolute


def bound_of_fourier(case: Case, u: float) -> np.ndarray:
    """The same for A [(B x) · (G w)], which is a chain of sums, and has more to cancel.

    A chain of matrix products, with inner lengths n₁, n₂, ..., is off by at most γ(n₁ + n₂ + ...) times the chain of the
    absolute values (Higham, section 3.5); rounding an entry of a matrix counts as one more.  So the bound is the algorithm
    itself, run on absolute values.  Besides, cosines come out of float64 with an error of their own: of the argument, at
    most 4π n with three roundings, and of the function, one more; an entry is the sum of at most two (and divided by n or so).
    That is relative to 1, not to the entry, so there the algorithm runs on matrices of ones.
    """
    geo, (a, b) = case.geo, case.arrays
    exact = fourier._matrices(np, geo, np.dtype("float64"))
    (height, width), (out_height, out_width) = geo.size, geo.out
    taps = geo.kernel[1] + 2 * geo.kernel[0]  # G
    n, r = len(exact.rows) // 3, len(exact.columns) // 2
    ahead, back = width + 2 * height, 3 * n + 2 * r  # B and A; and the transposed ones:
    ahead_transposed, back_transposed = 3 * n + 2 * r, out_width + 2 * out_height
    inner = {
        "conv": ahead + taps + a.shape[1] + back,
        "conv_transpose": back_transposed + taps + a.shape[1] + ahead_transposed,
        "conv_weight": ahead + back_transposed + a.shape[0] + 3 * n + 2 * r,
    }[case.name]

    def run(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        changed = fourier.Matrices(*map(change, exact))
        with mock.patch.object(fourier, "_matrices", lambda *_: changed):
            return getattr(fourier, case.name)(np, *(np.abs(x.astype(np.float64)) for x in (a, b)), geo)

    of_cosines = 6 * 2 * (3 * 4 * np.pi * max(n, 2 * r) + 1) * UNIT["float64"]
    return gamma(inner + 5, u) * run(np.abs) + of_cosines * run(lambda m: np.full_like(m, np.abs(m).max()))


def bound_of_winograd(case: Case, u: float) -> np.ndarray:
    """The same for A Σ (B x) · (G w): the algorithm itself, run on absolute values.

    The entries of A and G are exact, those of B are divided once (and rounded once more in float32).
    """
    geo, (a, b) = case.geo, case.arrays
    m, t, tiles = winograd.tiles_of(geo)
    rows, r = geo.kernel[0], winograd.taps_of(geo)
    inner = {
        "conv": t + r + rows * geo.stride[-1] * a.shape[1] + t,
        "conv_transpose": m + r + rows * a.shape[1] + t + 1,
        "conv_weight": t + m + geo.out[0] * tiles * a.shape[0] + t,
    }[case.name]
    absolute = winograd.Matrices(*map(np.abs, winograd.matrices(m, r)))
    with mock.patch.object(winograd, "matrices", lambda *_: absolute):
        return gamma(inner + 5, u) * getattr(winograd, case.name)(
            np, *(np.abs(x.astype(np.float64)) for x in (a, b)), geo
        )


def bound_of_fft(case: Case, u: float) -> np.ndarray:
    """The same for fast transforms, whose errors are bounded as a whole: for all pixels of a channel together.

    A transform of N numbers is off by at most ε = c u log₂ N of its norm (Higham, theorem 24.2; c is 8 for powers of two, and
    here 16 for whatever lengths and for transforms of several dimensions).  There are three, and the products between them;
    a product of transforms is no longer than the norm of one array times the sum of the other's absolute values.
    """
    geo, (a, b) = case.geo, (np.abs(x.astype(np.float64)) for x in case.arrays)
    ends = tuple(range(2, a.ndim))
    long = np.sqrt(np.square(a).sum(ends))  # (batch, channels)
    other = b.sum(ends)
    g = geo.groups
    if case.name == "conv_weight":
        n_out, n_in = other.shape[1] // g, long.shape[1] // g
        size = np.stack([other[:, o] @ long[:, o // n_out * n_in :][:, :n_in] for o in range(other.shape[1])])
    else:
        w = ungrouped(other, g)
        size = long @ (w.T if case.name == "conv" else w)
    terms = max(*a.shape[:2], *b.shape[:2])
    rounded = 3 * 16 * (np.log2(np.prod(fft.lengths(geo))) + 1) * u + gamma(4 * terms, u)
    return rounded * size.reshape(*size.shape, *(1,) * len(ends))


@dataclass(frozen=True)
class Algorithm:
    """One way to compute conv, conv_transpose, conv_weight(xp, a, b, geo).

    takes: whether it knows the geometry, given the number of input channels.  sizes: where to look for those that it knows
    (options of `conv_geometries`).  bound: how far its results may be off.  empty: whether it takes a batch of nothing.
    devices: where it runs.
    """

    way: Way
    takes: Callable[[Geometry, int], bool] = lambda geo, n_in: True
    sizes: tuple[tuple[str, Any], ...] = ()
    bound: Callable[[Case, float], np.ndarray] = bound_of_a_sum
    empty: bool = False
    devices: tuple[str, ...] = ("cpu", "strict")


ALGORITHMS = [
    Algorithm(choose.TAPS, empty=True),
    Algorithm(choose.ROWS),
    Algorithm(choose.COLUMNS, lambda geo, n_in: columns.takes(geo), (("max_groups", 1),)),
    Algorithm(
        choose.MIRRORED,
        lambda geo, n_in: columns.takes_mirrored(geo),
        (("max_groups", 1), ("max_stride", 1), ("max_padding", 1)),
    ),
    Algorithm(choose.WINDOWS),
    Algorithm(choose.DEPTHWISE, depthwise.takes, (("max_channels", 2),)),
    Algorithm(
        choose.FOURIER,
        lambda geo, n_in: fourier.takes(geo),
        (("ndim", 2), ("max_groups", 1), ("max_stride", 1)),
        bound_of_fourier,
    ),
    Algorithm(
        choose.WINOGRAD,
        lambda geo, n_in: winograd.takes(geo),
        (("ndim", 2), ("max_groups", 1), ("max_dilation", 1)),
        bound_of_winograd,
    ),
    Algorithm(choose.FFT, bound=bound_of_fft, devices=("cpu",)),
]

each = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=[a.way.name for a in ALGORITHMS])
which = pytest.mark.parametrize("name", ARGUMENTS)


def test_every_way_is_here():
    """Those that the cost model chooses from."""
    assert {a.way for a in ALGORITHMS} == {way for way in vars(choose).values() if isinstance(way, Way)}


def pixel_major(x: Any) -> Any:
    """(batch, channels, *size), as the family leaves it in memory."""
    return tg.permute(tg.clone(tg.permute(x, (*range(2, x.ndim), 0, 1))), (x.ndim - 2, x.ndim - 1, *range(x.ndim - 2)))


def drawn_for(algorithm: Algorithm, **sizes: Any) -> st.SearchStrategy[tuple[Geometry, int, int, int]]:
    """(geometry, batch, channels in, channels out) that the algorithm takes."""
    drawn = geometries(**{**dict(algorithm.sizes), **sizes})
    return drawn.filter(lambda d: algorithm.takes(d[0], d[2]) and (d[1] > 0 or algorithm.empty))


def draw_case(name: str, drawn: tuple[Geometry, int, int, int], dtype: str, seed: int) -> Case:
    """Values that float32 holds exactly, so that the case is the same in both precisions."""
    rng, shapes = np.random.default_rng(seed), shapes_of(*drawn)
    a, b = (rng.standard_normal(shapes[x], dtype=np.float32).astype(dtype) for x in ARGUMENTS[name])
    return Case(name, drawn[0], (a, b))


def hold(algorithm: Algorithm, case: Case, arrays: list | None = None) -> Any:
    """The result, after it was compared.  arrays: those of the case on another device, or in another order of memory."""
    arrays = list(case.arrays) if arrays is None else arrays
    result = getattr(algorithm.way, case.name)(backend.array_module(arrays[0]), *arrays, case.geo)
    for x, kept in zip(arrays, case.arrays, strict=True):
        assert np.array_equal(backend.to_numpy(x), kept), "an input was modified"
    compare(algorithm, case, result)
    return result


def compare(algorithm: Algorithm, case: Case, result: Any) -> np.ndarray:
    """The errors against the naive loop, which must be within the bound."""
    found = backend.to_numpy(result)
    assert found.shape == case.expected.shape and found.dtype == np.result_type(*case.arrays)
    room = algorithm.bound(case, UNIT[found.dtype.name]) + bound_of_a_sum(case, UNIT["float64"])
    error = np.abs(found - case.expected)
    wrong = ~(error <= room)
    assert not wrong.any(), (
        f"{algorithm.way.name}, {case.name}: {wrong.sum()} of {wrong.size} elements are off by more than rounding allows: "
        f"by {error[wrong].max():.3g} where {room[wrong].min():.3g} is the bound\n    {case.geo}"
    )
    return error


@each
@which
@given(data=st.data())
def test_small(algorithm: Algorithm, name: str, data: st.DataObject) -> None:
    """All geometries that the algorithm takes, both precisions, any order of memory, on the CPU and on CuPy's strict double."""
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    device = data.draw(st.sampled_from(algorithm.devices))
    layout = data.draw(st.sampled_from([*LAYOUTS.values(), pixel_major]))
    case = draw_case(name, data.draw(drawn_for(algorithm)), dtype, data.draw(ts.seeds()))
    there = (tg.Tensor(backend.to_device(x.copy(), tg.device(device))) for x in case.arrays)
    with blocks_of(data.draw(st.sampled_from([None, 1, 100]))), shared_by(data.draw(st.integers(1, 4))):
        hold(algorithm, case, [layout(x).array for x in there])


@contextmanager
def shared_by(n: int) -> Iterator[None]:
    """However small, among n threads; afterwards everything is as it was."""
    with threadpool_limits(1), ExitStack() as stack:
        for module, name in ((threads, "ENOUGH"), (threads, "_number"), (threads, "_pool")):
            stack.enter_context(mock.patch.object(module, name, 0 if name == "ENOUGH" else None))
        threads.set_num_threads(n)
        yield
        pool = threads._pool
        if pool is not None:
            pool.shutdown()


@contextmanager
def blocks_of(size: int | None) -> Iterator[None]:
    """What is done in blocks that stay in the cache is done in blocks of so many bytes; None: as always."""
    constants = [(m, name) for m in (rows, columns, fourier) for name in vars(m) if name.endswith("_BYTES")]
    assert len(constants) == 3
    with ExitStack() as stack:
        for module, name in constants if size else []:
            stack.enter_context(mock.patch.object(module, name, size))
        yield


@each
@pytest.mark.parametrize("operator", ["conv", "conv_transpose", "conv_weight", "conv_bias", "conv_transpose_bias"])
@settings(max_examples=4)
@given(data=st.data())
def test_derivatives(algorithm: Algorithm, operator: str, data: st.DataObject) -> None:
    """The operators' derivatives, if all that the family computes is computed in this way: also both gradients at once."""
    drawn = data.draw(drawn_for(algorithm, max_output=2, max_channels=2))
    assume(any(True for _ in meetings(drawn[0])))  # else all is 0, and what the fast ways round has no derivative
    names = {
        "conv": "x w",
        "conv_transpose": "y w",
        "conv_weight": "x y",
        "conv_bias": "x w out",
        "conv_transpose_bias": "y w in",
    }
    arrays = [data.draw(ts.values(shapes_of(*drawn)[a])) for a in names[operator].split()]
    with mock.patch.object(family, "way", lambda *_, **__: algorithm.way):
        assert_gradients(lambda *xs: OPERATORS[operator](*xs, geo=drawn[0]) ** 2, *map(tg.tensor, arrays))


def geometry(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any = None, groups: int = 1) -> Geometry:
    around = tuple(p if isinstance(p, tuple) else (p, p) for p in padding)
    return Geometry(size, kernel, stride, around, dilation or (1,) * len(size), groups)


# Sizes of real layers: large enough for whatever an algorithm does in blocks.  (geometry, batch, channels in, channels out)
LAYERS = {
    "5x5":               (geometry((16, 16), (5, 5), (1, 1), (0, 0)), 9, 20, 24),
    "4x4, stride 2":     (geometry((12, 13), (4, 4), (2, 2), (1, 1)), 9, 16, 24),
    "to one pixel":      (geometry((4, 4), (4, 4), (1, 1), (0, 0)), 16, 32, 8),
    "1x1":               (geometry((9, 9), (1, 1), (1, 1), (0, 0)), 9, 24, 40),
    "7x7 on one channel": (geometry((14, 14), (7, 7), (1, 1), (3, 3)), 9, 1, 16),
    "wide":              (geometry((300,), (3,), (1,), (1,)), 24, 24, 24),
    "wide, stride 3":    (geometry((905,), (4,), (3,), ((2, 0),), (2,)), 24, 24, 24),
    "depthwise":         (geometry((14, 14), (3, 3), (1, 1), (1, 1), groups=40), 9, 40, 40),
    "grouped":           (geometry((10, 11), (3, 3), (2, 1), (1, 1), groups=4), 9, 32, 48),
    "volume":            (geometry((6, 6, 6), (3, 3, 3), (1, 1, 1), (1, 1, 1)), 4, 8, 12),
}  # fmt: skip


@lru_cache(None)
def case_of(layer: str, name: str) -> Case:
    return draw_case(name, LAYERS[layer], "float32", 0)


def knows(algorithm: Algorithm, layer: str) -> bool:
    geo, _, n_in, _ = LAYERS[layer]
    return algorithm.takes(geo, n_in)


BIG = [(a, layer) for layer in LAYERS for a in ALGORITHMS if knows(a, layer)]


@which
@pytest.mark.parametrize(("algorithm", "layer"), BIG, ids=[f"{a.way.name}, {layer}" for a, layer in BIG])
def test_layers(algorithm: Algorithm, name: str, layer: str) -> None:
    """Sizes of real layers, in both precisions; and the same bits when it is done again."""
    case = case_of(layer, name)
    first = hold(algorithm, case)
    again = getattr(algorithm.way, name)(np, *case.arrays, case.geo)
    assert np.array_equal(first, again) and not np.shares_memory(first, again)
    compare(algorithm, case64 := in_double(case), getattr(algorithm.way, name)(np, *case64.arrays, case.geo))
    with shared_by(3):
        many = hold(algorithm, case)
        assert np.array_equal(many, hold(algorithm, case)), "the same threads give the same bits"


def in_double(case: Case) -> Case:
    a, b = case.arrays
    double = Case(case.name, case.geo, (a.astype(np.float64), b.astype(np.float64)))
    vars(double).update(expected=case.expected, absolute=case.absolute)
    return double


@which
@pytest.mark.parametrize("layer", [layer for a, layer in BIG if a.way is choose.FOURIER])
def test_fourier_loses_at_most_two_bits(name: str, layer: str) -> None:
    """The bound above is for the worst case.  Errors that come as they like add up to about as much as in the other ways."""
    case = case_of(layer, name)

    def size_of_error(algorithm: Algorithm) -> float:
        return float(
            np.sqrt(
                np.mean(np.square(compare(algorithm, case, getattr(algorithm.way, name)(np, *case.arrays, case.geo))))
            )
        )

    errors = {a.way.name: size_of_error(a) for a in ALGORITHMS if knows(a, layer)}
    assert errors["fourier"] <= 4 * max(e for way, e in errors.items() if way != "fourier")


@each
@which
def test_mixed_precision(algorithm: Algorithm, name: str) -> None:
    """float32 and float64 together give float64, as everywhere."""
    groups = 2 if algorithm.way is choose.DEPTHWISE else 1
    geo = geometry((7, 7), (3, 3), (1, 1), (0, 0), groups=groups)
    a, b = draw_case(name, (geo, 2, 2, 2), "float32", 0).arrays
    hold(algorithm, Case(name, geo, (a.astype(np.float64), b)))
    hold(algorithm, Case(name, geo, (a, b.astype(np.float64))))


@pytest.mark.parametrize(
    ("algorithm", "layer"),
    [(a, layer) for a, layer in BIG if a.way.transpose_and_weight],
    ids=lambda x: getattr(x, "way", x),
)
def test_two_at_once(algorithm: Algorithm, layer: str) -> None:
    """The two gradients of an operator, computed together: each within its bound, in double precision."""
    rng, shapes = np.random.default_rng(0), shapes_of(*LAYERS[layer])
    geo, (x, w, y) = LAYERS[layer][0], (rng.standard_normal(shapes[a]) for a in "xwy")
    weight = Case("conv_weight", geo, (x, y))
    with blocks_of(10_000):
        first, second = algorithm.way.transpose_and_weight(np, x, w, y, geo)
    compare(algorithm, Case("conv_transpose", geo, (y, w)), first)
    compare(algorithm, weight, second)
    with blocks_of(10_000):
        first, second = algorithm.way.conv_and_weight(np, x, w, y, geo)
    compare(algorithm, Case("conv", geo, (x, w)), first)
    compare(algorithm, weight, second)


def test_the_loop_is_the_definition():
    """The naive loop itself, on the slide: (0 0 1 0 0 0 0) ⊛ (1 2 3) = 3 2 1 0 0, and back: 0 0 1 2 3 0 0 (deck D4)."""
    geo = geometry((7,), (3,), (1,), (0,))
    x, w = np.eye(7)[2].reshape(1, 1, 7), np.array([1.0, 2, 3]).reshape(1, 1, 3)
    assert naive_conv(x, w, geo).ravel().tolist() == [3, 2, 1, 0, 0]
    assert naive_conv_transpose(np.eye(5)[2].reshape(1, 1, 5), w, geo).ravel().tolist() == [0, 0, 1, 2, 3, 0, 0]
    assert naive_conv_weight(x, np.arange(1.0, 6).reshape(1, 1, 5), geo).ravel().tolist() == [3, 2, 1]


@settings(max_examples=10)
@given(drawn=geometries(ndim=2, max_groups=1), seed=ts.seeds())
def test_the_loop_is_scipys(drawn, seed):
    """... and where the geometry is scipy's (stride and dilation 1, no padding), channel by channel."""
    from scipy.signal import correlate

    geo, batch, n_in, n_out = drawn
    size = tuple(max(n, k) for n, k in zip(geo.size, geo.kernel, strict=True))
    geo = Geometry(size, geo.kernel, (1, 1), ((0, 0),) * 2, (1, 1))
    case = draw_case("conv", (geo, batch, n_in, n_out), "float64", seed)
    x, w = case.arrays
    for n, o in np.ndindex(batch, n_out):
        expected = sum(correlate(x[n, c], w[o, c], "valid", "direct") for c in range(n_in))
        assert (np.abs(case.expected[n, o] - expected) <= 2 * bound_of_a_sum(case, 2.0**-53)[n, o]).all()
