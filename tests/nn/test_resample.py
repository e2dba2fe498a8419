"""Interpolation, pixel shuffle, padding, unfold and fold: linear maps, against their definitions and their transposes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import backend, nn
from tinygen.nn import functional as F
from tinygen.nn.functional import resample
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_linear_map

ROUNDING = 1e-13  # of sums of a few products of numbers of size 1


def as_matrix(f: Callable[[tg.Tensor], tg.Tensor], shape: tuple[int, ...]) -> tuple[Callable, Callable]:
    """(f, its transpose), where the transpose is that of the explicit matrix: column j of it is f of the unit vector j."""
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    columns = [f(tg.tensor(unit)).numpy() for unit in units]
    matrix = np.stack([c.ravel() for c in columns], 1)

    def transpose(y: tg.Tensor) -> tg.Tensor:
        m = tg.Tensor(backend.to_device(matrix, y.device))
        return (m.T @ y.reshape(-1)).reshape(shape)

    return f, transpose


def linear_map(f: Callable, shape: tuple[int, ...]) -> Callable:
    """f is linear, and its backward pass is the transposed matrix."""
    return check_linear_map(*as_matrix(f, shape), ts.tensors(shape), max_examples=4)


def bent(x: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """The broken line through the values of x at 0, 1, ..., constant beyond its ends, at the given places."""
    return np.apply_along_axis(lambda line: np.interp(places, np.arange(len(line)), line), axis, x)


def places(new: int, old: int, align_corners: bool) -> np.ndarray:
    """Where the new pixels stand among the old ones: pixels are squares, or points."""
    if align_corners:
        return np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
    edges = np.linspace(0, old, new + 1)
    return (edges[:-1] + edges[1:]) / 2 - 0.5


@given(ts.shapes(4, 4, min_side=1), st.tuples(st.integers(1, 7), st.integers(1, 7)), st.booleans(), ts.seeds())
def test_bilinear_is_a_broken_line_in_both_directions(shape, size, align_corners, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    expected = x
    for axis, new in zip((2, 3), size, strict=True):
        expected = bent(expected, places(new, shape[axis], align_corners), axis)
    y = F.interpolate(tg.tensor(x), size, mode="bilinear", align_corners=align_corners)
    np.testing.assert_allclose(y.numpy(), expected, atol=ROUNDING)


@given(ts.shapes(3, 5, min_side=1), st.data())
def test_nearest_takes_the_old_pixel_under_the_new_ones_first_corner(shape, data):
    size = tuple(data.draw(st.integers(1, 7)) for _ in shape[2:])
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    expected = x
    for axis, (new, old) in enumerate(zip(size, shape[2:], strict=True), 2):
        expected = np.take(expected, [i * old // new for i in range(new)], axis)
    np.testing.assert_array_equal(F.interpolate(tg.tensor(x), size).numpy(), expected)


def test_nearest_repeats_pixels_and_keeps_whole_numbers():
    x = tg.arange(4).reshape(1, 1, 2, 2)
    assert F.interpolate(x, scale_factor=2)[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_a_constant_stays_constant_and_a_ramp_a_ramp():
    ramp = tg.arange(4, dtype=tg.float64).reshape(1, 1, 4)
    for mode, corners in (("nearest", None), ("linear", False), ("linear", True)):
        np.testing.assert_allclose(
            F.interpolate(ramp * 0 + 3, 9, mode=mode, align_corners=corners).numpy(), 3, rtol=1e-15
        )
    np.testing.assert_allclose(
        F.interpolate(ramp, 7, mode="linear", align_corners=True).numpy().ravel(), np.linspace(0, 3, 7), atol=ROUNDING
    )


OF_IMAGES = [{"mode": m} for m in ("nearest", "nearest-exact", "area")] + [
    {"mode": m, "align_corners": c, "antialias": a}
    for m in ("bilinear", "bicubic") for c in (False, True) for a in (False, True)
]  # fmt: skip


@given(st.sampled_from(OF_IMAGES), st.lists(st.integers(1, 90), min_size=4, max_size=4), st.booleans())
def test_weights_add_up_to_one(options, numbers, large):
    """Whatever the sizes: a constant stays one.  The weights are at most 4 × 4, or divided by their sum."""
    height, width, *size = numbers
    with mock.patch.object(resample, "_DENSE", 0 if large else resample._DENSE):
        y = F.interpolate(tg.ones(1, 1, height, width, dtype=tg.float64), size, **options)
    np.testing.assert_allclose(y.numpy(), np.ones((1, 1, *size)), rtol=1e-13)


@given(st.integers(2, 40), st.integers(2, 90), st.sampled_from(["bilinear", "bicubic"]), st.booleans(), st.booleans())
def test_a_ramp_stays_a_ramp_inside(old, new, mode, corners, antialias):
    """The value of a new pixel is its place.  Near the ends copies of the last pixel have a part in it."""
    if antialias and (new < old or corners or mode == "bicubic" and new == old):
        new, corners = max(new, old + 1), False
    ramp = tg.arange(old, dtype=tg.float64).reshape(1, 1, 1, old)
    y = F.interpolate(ramp, (1, new), mode=mode, align_corners=corners, antialias=antialias).numpy().ravel()
    at = places(new, old, corners)
    inside = (at >= 1) & (at <= old - 2) if mode == "bicubic" else (at >= 0) & (at <= old - 1)
    if mode == "bicubic" and not antialias:  # a = -¾ overshoots a straight line, by (2a + 1) t (1 - t) (2t - 1)
        t = at - np.floor(at)
        at = at + (2 * -0.75 + 1) * t * (1 - t) * (2 * t - 1)
    np.testing.assert_allclose(y[inside], at[inside], atol=1e-12)  # sums of 4 numbers up to 40 with weights up to 1


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "area"])
def test_a_long_line_takes_no_dense_matrix(mode):
    x = tg.randn(1, 1, 9000, requires_grad=True)
    tracemalloc.start()
    try:
        y = F.interpolate(x, 7001, mode=mode)
        tg.grad((y * y).sum(), x)
        F.adaptive_avg_pool1d(x, 4001).sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6  # a matrix would have 63 million elements


@given(st.integers(1, 3), ts.seeds())
def test_pixel_shuffle_is_shi_et_al_equation_4(r, seed):
    x = np.random.default_rng(seed).normal(size=(2, 2 * r * r, 2, 3))
    y = F.pixel_shuffle(tg.tensor(x), r).numpy()
    assert y.shape == (2, 2, 2 * r, 3 * r)
    for n, c, h, w in np.ndindex(*y.shape):
        assert y[n, c, h, w] == x[n, c * r * r + h % r * r + w % r, h // r, w // r]
    np.testing.assert_array_equal(F.pixel_unshuffle(tg.tensor(y), r).numpy(), x)


# fmt: off
CASES: dict[str, tuple[Callable, Callable | None, tuple[int, ...]]] = {  # f, its transpose if it has a name, the input's shape
    "pixel_shuffle":    (lambda x: F.pixel_shuffle(x, 2), lambda y: F.pixel_unshuffle(y, 2), (2, 8, 2, 3)),
    "unfold":           (lambda x: F.unfold(x, (2, 3), (2, 1), (0, 2), (1, 3)),
                         lambda y: F.fold(y, (4, 5), (2, 3), (2, 1), (0, 2), (1, 3)), (2, 2, 4, 5)),
    "zeros around":     (lambda x: F.pad(x, (1, 2, 0, 3)), lambda y: F.pad(y, (-1, -2, 0, -3)), (2, 3, 4)),
    "nearest, factors": (lambda x: F.interpolate(x, scale_factor=(2, 3)), lambda y: 6 * F.avg_pool2d(y, (2, 3)), (2, 1, 2, 3)),
    "nearest":          (lambda x: F.interpolate(x, (5, 2)), None, (1, 2, 3, 4)),
    "bilinear":         (lambda x: F.interpolate(x, (5, 2), mode="bilinear"), None, (1, 2, 3, 4)),
    "bilinear, corners": (lambda x: F.interpolate(x, (2, 7), mode="bilinear", align_corners=True), None, (1, 2, 3, 4)),
    "nearest-exact":    (lambda x: F.interpolate(x, (5, 2), mode="nearest-exact"), None, (1, 2, 3, 4)),
    "bicubic":          (lambda x: F.interpolate(x, (5, 2), mode="bicubic"), None, (1, 2, 3, 4)),
    "bicubic, corners": (lambda x: F.interpolate(x, (2, 7), mode="bicubic", align_corners=True), None, (1, 2, 3, 4)),
    "area":             (lambda x: F.interpolate(x, (2, 7), mode="area"), None, (1, 2, 3, 4)),
    "antialias":        (lambda x: F.interpolate(x, (2, 7), mode="bilinear", antialias=True), None, (1, 2, 5, 4)),
    "bicubic, antialias": (lambda x: F.interpolate(x, (2, 7), mode="bicubic", antialias=True), None, (1, 2, 5, 4)),
    "channel_shuffle":  (lambda x: F.channel_shuffle(x, 2), lambda y: F.channel_shuffle(y, 3), (2, 6, 2)),
    "trilinear":        (lambda x: F.interpolate(x, (3, 1, 4), mode="trilinear"), None, (1, 1, 2, 3, 2)),
    "reflect":          (lambda x: F.pad(x, (2, 1, 0, 2), "reflect"), None, (2, 3, 4)),
    "replicate":        (lambda x: F.pad(x, (2, 5, 1, 0), "replicate"), None, (2, 3, 4)),
    "circular":         (lambda x: F.pad(x, (4, 1, -1, 2), "circular"), None, (2, 3, 4)),
}
# fmt: on


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_linear_map_and_its_transpose(name, dense, monkeypatch):
    """Also where matrices would be too large: there as sums of a few elements."""
    if not dense:
        monkeypatch.setattr(resample, "_DENSE", 0)
    f, transpose, shape = CASES[name]
    if transpose is not None:
        check_linear_map(f, transpose, ts.tensors(shape), max_examples=4)()
    else:
        linear_map(f, shape)()


@given(ts.seeds())
def test_a_convolution_is_one_matrix_product_with_unfold(seed):
    rng = np.random.default_rng(seed)
    x, w = tg.tensor(rng.normal(size=(2, 3, 5, 6))), tg.tensor(rng.normal(size=(4, 3, 2, 3)))
    y = w.reshape(4, -1) @ nn.Unfold((2, 3), padding=1, stride=2)(x)
    expected = F.conv2d(x, w, stride=2, padding=1)
    np.testing.assert_allclose(y.numpy(), expected.numpy().reshape(2, 4, -1), atol=18 * ROUNDING)


def test_fold_of_unfold_counts_the_windows():
    x = tg.randn(2, 3, 4, 4, dtype=tg.float64)
    unfold, fold = nn.Unfold(2, padding=1), nn.Fold(4, 2, padding=1)
    np.testing.assert_allclose(fold(unfold(x)).numpy(), 4 * x.numpy(), atol=ROUNDING)  # every pixel is in 2 × 2 windows


NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@given(st.sampled_from(list(NUMPY_MODES)), st.lists(st.integers(0, 3), min_size=4, max_size=4), ts.tensors((2, 4, 5)))
def test_pad_is_numpys(mode, widths, x):
    left, right, top, bottom = widths
    expected = np.pad(x.numpy(), ((0, 0), (top, bottom), (left, right)), NUMPY_MODES[mode])
    np.testing.assert_array_equal(F.pad(x, widths, mode).numpy(), expected)


def test_pad_with_a_value_and_with_negative_numbers():
    x = tg.tensor([[1.0, 2.0, 3.0]])
    assert F.pad(x, (1, -1), value=7).tolist() == [[7, 1, 2]]
    assert F.pad(x, (-1, 1, 1, 0), value=-1).tolist() == [[-1, -1, -1], [2, 3, -1]]
    assert F.pad(x, (-2, 0)).tolist() == [[3]]
    assert nn.ConstantPad2d((1, 0, 0, 1), 5.0)(x).tolist() == [[5, 1, 2, 3], [5, 5, 5, 5]]
    assert F.pad(tg.tensor([1, 2]), (0, 2)).dtype == np.int64


@given(st.data(), ts.seeds())
def test_against_torch(data, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    call = data.draw(st.sampled_from(TORCH))
    x = rng.normal(size=call[1])
    theirs = torch.tensor(x, requires_grad=True)
    ours = tg.tensor(x, requires_grad=True)
    y, z = call[0](F, ours), call[0](torch.nn.functional, theirs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=ROUNDING)
    g = rng.normal(size=z.shape)
    (gx,), (hx,) = tg.grad(y, ours, tg.tensor(g)), torch.autograd.grad(z, theirs, torch.tensor(g))
    np.testing.assert_allclose(gx.numpy(), hx.numpy(), atol=100 * ROUNDING)  # an old pixel may stand in many new ones


def torch_channel_shuffle(x: Any, groups: int) -> Any:
    return pytest.importorskip("torch").channel_shuffle(x, groups)


def _interpolations() -> list[tuple[Any, tuple[int, ...]]]:
    calls: list[tuple[Any, tuple[int, ...]]] = []
    for shape, mode in (((2, 2, 5), "linear"), ((1, 2, 4, 3), "bilinear"), ((1, 1, 3, 2, 4), "trilinear")):
        for size in ({"size": 7}, {"size": 2}, {"scale_factor": 1.7}, {"scale_factor": 0.5}, {"scale_factor": 3}):
            calls.append((lambda f, x, s=size: f.interpolate(x, **s), shape))
            for corners in (False, True):
                calls.append(
                    (lambda f, x, s=size, m=mode, c=corners: f.interpolate(x, **s, mode=m, align_corners=c), shape)
                )
    for size in ({"size": (7, 2)}, {"size": (2, 5)}, {"scale_factor": 1.7}, {"scale_factor": 0.6}):
        for mode in ("bilinear", "bicubic"):
            for corners, antialias in ((False, False), (True, False), (False, True)):
                if antialias and "scale_factor" in size:
                    continue
                calls.append(
                    (lambda f, x, s=size, m=mode, c=corners, a=antialias:
                     f.interpolate(x, **s, mode=m, align_corners=c, antialias=a), (1, 2, 4, 3))
                )  # fmt: skip
        for mode in ("nearest-exact", "area"):
            calls.append((lambda f, x, s=size, m=mode: f.interpolate(x, **s, mode=m), (1, 2, 4, 3)))
    for factor in (1.7, 0.6, 2.3):
        calls.append(
            (
                lambda f, x, s=factor: f.interpolate(x, scale_factor=s, mode="linear", recompute_scale_factor=True),
                (1, 2, 4),
            )
        )
    return calls


TORCH: list[tuple[Any, tuple[int, ...]]] = [
    *_interpolations(),
    (lambda f, x: f.pixel_shuffle(x, 3), (9, 2, 2)),
    (lambda f, x: getattr(f, "channel_shuffle", torch_channel_shuffle)(x, 3), (2, 6, 2, 2)),
    (lambda f, x: f.pixel_unshuffle(x, 2), (2, 3, 4, 2)),
    (lambda f, x: f.unfold(x, (2, 3), dilation=(2, 1), padding=(1, 2), stride=(1, 2)), (2, 2, 4, 5)),
    (lambda f, x: f.fold(x, (4, 5), (2, 3), padding=(1, 2), stride=(3, 2)), (2, 6, 8)),
    *((lambda f, x, m=m: f.pad(x, (1, 3, 0, 2), mode=m), (2, 3, 4)) for m in NUMPY_MODES),
    (lambda f, x: f.pad(x, (1, -2, -1, 2), value=1.5), (3, 4)),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [7, 400])
def test_a_compiled_step_knows_the_weights(size):
    """With a matrix, and without one: they are the same in every call."""
    step = tg.compile(lambda x: F.adaptive_avg_pool1d(F.interpolate(x, size, mode="linear"), 5))
    for _ in range(4):
        x = tg.randn(1, 2, 300)
        expected = F.adaptive_avg_pool1d(F.interpolate(x, size, mode="linear"), 5)
        np.testing.assert_array_equal(step(x).numpy(), expected.numpy())
