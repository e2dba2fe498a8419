"""Every way to compute the three sums of the convolution family, against the loop over pixels and taps, within what rounding allows.

A sum of n products, computed in any order, with or without fused multiply-adds, is off by at most

    γ(n) Σ |x| |w|,    γ(n) = n u / (1 - n u),    u = 2⁻²⁴ in float32, 2⁻⁵³ in float64

(Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1), and Σ |x| |w| is the same convolution of the
absolute values.  So every element has a bound of its own, with no tolerance to choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tests.ops.domains.conv import geometries, naive_conv, naive_conv_transpose, naive_conv_weight, shapes_of
from tinygen import backend
from tinygen.ops.conv import Geometry, taps
from tinygen.testing import strategies as ts
from tinygen.testing.layouts import LAYOUTS

Bound = Callable[[str, np.ndarray, np.ndarray, Geometry, float], np.ndarray]


def gamma(n: int, u: float) -> float:
    return n * u / (1 - n * u)


def bound_of_a_sum(name: str, a: np.ndarray, b: np.ndarray, geo: Geometry, u: float) -> np.ndarray:
    """How far each element of the result of (a, b) may be off, if it is computed as the sum that it is."""
    terms = {
        "conv": lambda: a.shape[1] // geo.groups * np.prod(geo.kernel),
        "conv_transpose": lambda: a.shape[1] // geo.groups * np.prod(geo.kernel),
        "conv_weight": lambda: a.shape[0] * np.prod(geo.out),
    }
    return gamma(int(terms[name]()), u) * NAIVE[name](np.abs(a), np.abs(b), geo)


@dataclass(frozen=True)
class Algorithm:
    """A module with conv, conv_transpose, conv_weight(xp, a, b, geo).

    takes: the geometries that it is for.  sizes: where to look for them (options of `conv_geometries`).
    bound: how far its results may be off.
    """

    module: ModuleType
    takes: Callable[[Geometry], bool] = lambda geo: True
    sizes: tuple[tuple[str, Any], ...] = ()
    bound: Bound = bound_of_a_sum

    @property
    def name(self) -> str:
        return self.module.__name__.rpartition(".")[2]


ALGORITHMS = [
    Algorithm(taps),
]

ARGUMENTS = {"conv": "xw", "conv_transpose": "yw", "conv_weight": "xy"}
NAIVE = {"conv": naive_conv, "conv_transpose": naive_conv_transpose, "conv_weight": naive_conv_weight}
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}

each = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=[a.name for a in ALGORITHMS])
which = pytest.mark.parametrize("name", ARGUMENTS)


def pixel_major(x: Any) -> Any:
    """(batch, channels, *size), as the family leaves it in memory."""
    return tg.permute(tg.clone(tg.permute(x, (*range(2, x.ndim), 0, 1))), (x.ndim - 2, x.ndim - 1, *range(x.ndim - 2)))


def draw_arrays(name: str, shapes: dict[str, ts.Shape], dtype: Any, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shapes[a]).astype(dtype) for a in ARGUMENTS[name]]


def hold(algorithm: Algorithm, name: str, geo: Geometry, arrays: list, device: str = "cpu") -> Any:
    """The result, after it was held against the naive loop."""
    a, b = (backend.to_numpy(x) for x in arrays)
    before = a.copy(), b.copy()
    xp = backend.array_module(arrays[0])
    result = getattr(algorithm.module, name)(xp, *arrays, geo)
    found, expected = backend.to_numpy(result), NAIVE[name](a.astype(float), b.astype(float), geo)
    assert found.shape == expected.shape and found.dtype == np.result_type(a, b)
    wide = a.astype(float), b.astype(float)
    room = algorithm.bound(name, *wide, geo, UNIT[found.dtype.name]) + bound_of_a_sum(name, *wide, geo, UNIT["float64"])
    wrong = ~(np.abs(found - expected) <= room)
    assert not wrong.any(), (
        f"{algorithm.name}.{name}: {wrong.sum()} of {wrong.size} elements are off by more than rounding allows; "
        f"the worst by {np.max((np.abs(found - expected) - room)[wrong])}\n    {geo}"
    )
    for x, kept in zip(arrays, before, strict=True):
        assert np.array_equal(backend.to_numpy(x), kept), "an input was modified"
    return result


@each
@which
@given(data=st.data())
def test_small(algorithm: Algorithm, name: str, data: st.DataObject) -> None:
    """All geometries that the algorithm takes, both precisions, any order of memory, on the CPU and on CuPy's strict double."""
    drawn = data.draw(geometries(**dict(algorithm.sizes)).filter(lambda drawn: algorithm.takes(drawn[0])))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    device = data.draw(st.sampled_from(["cpu", "strict"]))
    layout = data.draw(st.sampled_from([*LAYOUTS.values(), pixel_major]))
    arrays = [
        layout(tg.Tensor(backend.to_device(x, tg.device(device)))).array
        for x in draw_arrays(name, shapes_of(*drawn), dtype, data.draw(ts.seeds()))
    ]
    hold(algorithm, name, drawn[0], arrays, device)


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


@each
@which
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(algorithm: Algorithm, name: str, layer: str) -> None:
    """Sizes of real layers, in float32; and the same bits when it is done again."""
    drawn = LAYERS[layer]
    if not algorithm.takes(drawn[0]):
        pytest.skip(f"{algorithm.name} does not take it")
    arrays = draw_arrays(name, shapes_of(*drawn), "float32", 0)
    first = hold(algorithm, name, drawn[0], arrays)
    again = getattr(algorithm.module, name)(np, *arrays, drawn[0])
    assert np.array_equal(first, again) and not np.shares_memory(first, again)


@each
@which
def test_mixed_precision(algorithm: Algorithm, name: str) -> None:
    """float32 and float64 together give float64, as everywhere."""
    drawn = (geometry((7, 7), (5, 5), (1, 1), (0, 0)), 2, 2, 2)
    for dtypes in (("float32", "float64"), ("float64", "float32")):
        arrays = draw_arrays(name, shapes_of(*drawn), "float32", 0)
        hold(algorithm, name, drawn[0], [a.astype(d) for a, d in zip(arrays, dtypes, strict=True)])


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
    """... and where the geometry is scipy's (stride, dilation and padding 1, 1 and 0), channel by channel."""
    from scipy.signal import correlate

    geo, batch, n_in, n_out = drawn
    geo = Geometry(
        tuple(max(n, k) for n, k in zip(geo.size, geo.kernel, strict=True)), geo.kernel, (1, 1), ((0, 0),) * 2, (1, 1)
    )
    x, w = draw_arrays("conv", shapes_of(geo, batch, n_in, n_out), "float64", seed)
    y = naive_conv(x, w, geo)
    for n, o in np.ndindex(batch, n_out):
        expected = sum(correlate(x[n, c], w[o, c], "valid", "direct") for c in range(n_in))
        np.testing.assert_allclose(
            y[n, o], expected, rtol=0, atol=2 * bound_of_a_sum("conv", x, w, geo, 2.0**-53)[n, o].max()
        )
