"""The theorems of the convolution family: adjoints, closure under derivatives, what stride, padding, dilation and groups mean."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tests.ops.domains.conv import geometries, naive_conv, shapes_of
from tinygen.nn import functional as F
from tinygen.ops.conv import Geometry, conv, conv_bias, conv_transpose, conv_transpose_bias, conv_weight
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def draw(shapes: dict[str, ts.Shape], names: str, seed: int) -> list[tg.Tensor]:
    rng = np.random.default_rng(seed)
    return [tg.tensor(rng.standard_normal(shapes[name])) for name in names.split()]


def inner(x: tg.Tensor, y: tg.Tensor) -> float:
    return float((x * y).sum())


def same(x: Any, y: Any) -> None:
    """Two ways to add up at most a few hundred products of size 1, in float64."""
    np.testing.assert_allclose(np.asarray(x.tolist()), np.asarray(y.tolist()), rtol=1e-12, atol=1e-12)


def each_way(n: int, *values: int) -> list[tuple[int, ...]]:
    return list(product(values, repeat=n))


# One trilinear form.


@given(drawn=geometries(), seed=ts.seeds())
def test_adjoints(drawn, seed):
    """<conv(x, w), y> = <x, conv_transpose(y, w)> = <w, conv_weight(x, y)>."""
    geo, shapes = drawn[0], shapes_of(*drawn)
    x, w, y = draw(shapes, "x w y", seed)
    values = (
        inner(conv(x, w, geo=geo), y),
        inner(x, conv_transpose(y, w, geo=geo)),
        inner(w, conv_weight(x, y, geo=geo)),
    )
    # all three add up the same products, each made with two roundings; n u Σ|products| bounds a sum of n in any order
    terms = drawn[1] * geo.groups * np.prod(geo.out) * np.prod(geo.kernel) * np.prod(shapes["w"][:2]) + 2
    room = 2 * terms * 2.0**-53 * inner(conv(x.abs(), w.abs(), geo=geo), y.abs())
    assert abs(values[0] - values[1]) <= room and abs(values[0] - values[2]) <= room


@settings(max_examples=6)
@pytest.mark.parametrize("name", ["conv", "conv_transpose", "conv_weight", "conv_bias", "conv_transpose_bias"])
@given(drawn=geometries(max_output=2, max_kernel=2, max_groups=2), seed=ts.seeds())
def test_derivatives_to_third_order(name, drawn, seed):
    """A trilinear form has third derivatives, and no others: the family is closed."""
    op, names = {
        "conv": (conv, "x w"),
        "conv_transpose": (conv_transpose, "y w"),
        "conv_weight": (conv_weight, "x y"),
        "conv_bias": (conv_bias, "x w out"),
        "conv_transpose_bias": (conv_transpose_bias, "y w in"),
    }[name]
    arrays = draw(shapes_of(*drawn), names, seed)
    # cubed, so that the cotangent depends on the arguments and no derivative is 0
    assert_gradients(lambda *xs: op(*xs, geo=drawn[0]) ** 3, *arrays, order=3, seed=seed, name=name)


@given(drawn=geometries(), seed=ts.seeds())
def test_what_the_stride_leaves_out(drawn, seed):
    """Pixels that the kernel never meets change nothing, and nothing reaches them on the way back."""
    geo = drawn[0]
    x, w, y = draw(shapes_of(*drawn), "x w y", seed)
    met = conv_transpose(tg.ones_like(y), tg.ones_like(w), geo=geo)[:1, :1].ne(0)
    same(conv(tg.where(met, x, 0.0), w, geo=geo), conv(tg.where(met, x, 7.0), w, geo=geo))
    assert not tg.where(met, 0.0, conv_transpose(y, w, geo=geo)).any()


# What the words mean.


@given(drawn=geometries(max_dilation=1), stride=st.integers(2, 3), seed=ts.seeds())
def test_stride_leaves_out_outputs(drawn, stride, seed):
    """conv: every stride-th output of stride 1.  conv_transpose: stride - 1 zeros between the inputs of stride 1 (deck D4)."""
    g = drawn[0]
    dense = Geometry(g.size, g.kernel, (1,) * len(g.size), g.padding, g.dilation, g.groups)
    coarse = Geometry(g.size, g.kernel, (stride,) * len(g.size), g.padding, g.dilation, g.groups)
    x, w, y = draw(shapes_of(coarse, *drawn[1:]), "x w y", seed)
    steps = (..., *(slice(None, None, stride),) * len(g.size))
    same(conv(x, w, geo=coarse), conv(x, w, geo=dense)[steps])
    spread = np.zeros((*y.shape[:2], *dense.out))
    spread[steps] = y.numpy()
    same(conv_transpose(y, w, geo=coarse), conv_transpose(tg.tensor(spread), w, geo=dense))


@given(drawn=geometries(), seed=ts.seeds())
def test_dilation_is_a_sparse_kernel(drawn, seed):
    """A kernel with zeros between its weights: wider without more parameters, in both directions (deck D4)."""
    g = drawn[0]
    x, w, y = draw(shapes_of(*drawn), "x w y", seed)
    sparse = np.zeros((*w.shape[:2], *g.reach))
    sparse[(..., *(slice(None, None, d) for d in g.dilation))] = w.numpy()
    wide = Geometry(g.size, g.reach, g.stride, g.padding, (1,) * len(g.size), g.groups)
    same(conv(x, w, geo=g), conv(x, tg.tensor(sparse), geo=wide))
    same(conv_transpose(y, w, geo=g), conv_transpose(y, tg.tensor(sparse), geo=wide))


@given(drawn=geometries(), seed=ts.seeds())
def test_padding_is_in_the_input_of_one_and_cut_from_the_output_of_the_other(drawn, seed):
    g = drawn[0]
    x, w, y = draw(shapes_of(*drawn), "x w y", seed)
    bare = Geometry(g.padded, g.kernel, g.stride, ((0, 0),) * len(g.size), g.dilation, g.groups)
    padded = np.zeros((*x.shape[:2], *g.padded))
    padded[(..., *g.inside)] = x.numpy()
    same(conv(x, w, geo=g), conv(tg.tensor(padded), w, geo=bare))
    same(conv_transpose(y, w, geo=g), conv_transpose(y, w, geo=bare)[(..., *g.inside)])


@given(drawn=geometries(), seed=ts.seeds())
def test_groups_are_convolutions_side_by_side(drawn, seed):
    g = drawn[0]
    x, w, y = draw(shapes_of(*drawn), "x w y", seed)
    one = Geometry(g.size, g.kernel, g.stride, g.padding, g.dilation)
    for op, ins in ((conv, x), (conv_transpose, y)):
        parts = [op(a, b, geo=one) for a, b in zip(ins.chunk(g.groups, 1), w.chunk(g.groups, 0), strict=True)]
        same(op(ins, w, geo=g), tg.cat(parts, 1))


@given(
    x=ts.tensors(st.integers(1, 9).map(lambda n: (n,)), layout="contiguous"), w=ts.tensors((3,), layout="contiguous")
)
def test_the_transpose_is_the_true_convolution(x, w):
    """(x ∗ κ)_i = Σ_a x_a κ_{i-a+1}, with the kernel turned around (deck D4, "∗"): what NumPy means by convolve."""
    same(F.conv_transpose1d(x.reshape(1, 1, -1), w.reshape(1, 1, -1)).flatten(), np.convolve(x.numpy(), w.numpy()))
    if len(x) >= 3:
        found = F.conv1d(x.reshape(1, 1, -1), w.reshape(1, 1, -1)).flatten()
        same(found, np.correlate(x.numpy(), w.numpy(), "valid"))


@given(drawn=geometries(max_stride=1), seed=ts.seeds())
def test_the_transpose_is_a_convolution_with_the_kernel_turned_around(drawn, seed):
    """Stride 1: Dumoulin and Visin's relation 8, with padding reach - 1 - p."""
    g = drawn[0]
    w, y = draw(shapes_of(*drawn), "w y", seed)
    n_out, n_in = w.shape[0] // g.groups, w.shape[1]
    turned = w.unflatten(0, (g.groups, n_out)).transpose(1, 2).reshape(g.groups * n_in, n_out, *g.kernel)
    around = tuple((r - 1 - a, r - 1 - b) for r, (a, b) in zip(g.reach, g.padding, strict=True))
    if min(p for pair in around for p in pair) >= 0:
        back = Geometry(g.out, g.kernel, g.stride, around, g.dilation, g.groups)
        same(conv_transpose(y, w, geo=g), conv(y, turned.flip(tuple(range(2, w.ndim))), geo=back))


def test_a_kernel_as_large_as_the_input_is_a_dense_layer():
    x, w, b, y = draw({"x": (3, 2, 4, 5), "w": (6, 2, 4, 5), "b": (6,), "y": (3, 6)}, "x w b y", 0)
    dense = F.linear(x.flatten(1), w.flatten(1), b)
    same(F.conv2d(x, w, b)[:, :, 0, 0], dense)
    same(F.conv_transpose2d(y[:, :, None, None], w), (y @ w.flatten(1)).reshape(x.shape))


def test_a_kernel_of_one_pixel_is_a_dense_layer_at_every_pixel():
    x, w, y = draw({"x": (3, 2, 4, 5), "w": (6, 2, 1, 1), "y": (3, 6, 4, 5)}, "x w y", 0)
    same(F.conv2d(x, w), F.linear(x.movedim(1, -1), w[:, :, 0, 0]).movedim(-1, 1))
    same(F.conv_transpose2d(y, w), (y.movedim(1, -1) @ w[:, :, 0, 0]).movedim(-1, 1))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_pixel(n):
    x, w = draw({"x": (1, 1, *(1,) * n), "w": (1, 1, *(1,) * n)}, "x w", 0)
    assert float(CONV[n](x, w)) == float(CONV_TRANSPOSE[n](x, w)) == float(x) * float(w)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_batch_of_nothing(n):
    """The shapes are right, and nothing is learnt from nothing."""
    x, y = tg.zeros(0, 2, *(5,) * n), tg.zeros(0, 3, *(5,) * n)
    w, b = tg.randn(3, 2, *(2,) * n, requires_grad=True), tg.randn(3, requires_grad=True)
    assert CONV[n](x, w, b, stride=2).shape == (0, 3, *(2,) * n)
    assert CONV_TRANSPOSE[n](y, w).shape == (0, 2, *(6,) * n)
    (CONV[n](x, w, b).sum() + CONV_TRANSPOSE[n](y, w).sum()).backward()
    assert not w.grad.any() and not b.grad.any()


# Sizes.


def test_when_the_composition_keeps_the_size():
    """((W - w) ÷ s) s + w = W exactly when W = w + s q for a natural q (deck D4); output_padding gives back the rest."""
    for W, w, s in product(range(1, 13), range(1, 6), range(1, 5)):
        if w > W:
            continue
        x, kernel = tg.randn(1, 1, W), tg.randn(1, 1, w)
        y = F.conv1d(x, kernel, stride=s)
        assert y.shape[2] == (W - w) // s + 1
        there_and_back = F.conv_transpose1d(y, kernel, stride=s)
        assert there_and_back.shape[2] == (y.shape[2] - 1) * s + w
        assert (there_and_back.shape == x.shape) == any(W == w + s * q for q in range(W))
        assert F.conv_transpose1d(y, kernel, stride=s, output_padding=(W - w) % s).shape == x.shape


@given(g=ts.conv_geometries(), seed=ts.seeds())
def test_functions_have_the_sizes_of_the_formulas(g, seed):
    """conv takes input to output, conv_transpose with the same weight takes it back, and they are each other's transposes."""
    x, w, y = g.draw(seed)
    forward = CONV[g.ndim](x, w, **g.options)
    back = CONV_TRANSPOSE[g.ndim](y, w, **g.options, output_padding=g.output_padding)
    assert forward.shape == g.output_shape and back.shape == g.input_shape
    # float64; the products have size 1 and there are a few thousand of them
    assert abs(inner(forward, y) - inner(x, back)) <= 1e-10
    geo = Geometry(g.input, g.kernel, g.stride, tuple((p, p) for p in g.padding), g.dilation, g.groups)
    same(forward, naive_conv(x.numpy(), w.numpy(), geo))


@pytest.mark.parametrize("n", [1, 2])
def test_same_and_valid(n):
    """ "same" keeps the size, and an odd zero goes to the end; "valid" is no padding."""
    for kernel, dilation in product(each_way(n, 1, 2, 3, 4), each_way(n, 1, 2)):
        x, w = draw({"x": (2, 2, *(5,) * n), "w": (3, 2, *kernel)}, "x w", 0)
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        geo = Geometry(x.shape[2:], kernel, (1,) * n, tuple((t // 2, -(-t // 2)) for t in total), dilation)
        found = CONV[n](x, w, padding="same", dilation=dilation)
        assert found.shape == (2, 3, *(5,) * n)
        same(found, naive_conv(x.numpy(), w.numpy(), geo))
        if max(total) < 5:
            same(CONV[n](x, w, padding="valid", dilation=dilation), CONV[n](x, w, dilation=dilation))


@given(g=ts.conv_geometries(min_batch=1, max_batch=1), seed=ts.seeds())
def test_without_a_batch(g, seed):
    """(C, *size) is a batch of one, and comes back without it."""
    x, w, y = g.draw(seed)
    assert CONV[g.ndim](x[0], w, **g.options).equal(CONV[g.ndim](x, w, **g.options)[0])
    back = {**g.options, "output_padding": g.output_padding}
    assert CONV_TRANSPOSE[g.ndim](y[0], w, **back).equal(CONV_TRANSPOSE[g.ndim](y, w, **back)[0])


def test_output_padding_beyond_the_stride():
    """As much as the dilation allows; it adds pixels that only the kernel's far taps reach, and zeros."""
    y, w = draw({"y": (2, 3, 4), "w": (3, 2, 3)}, "y w", 0)
    whole = F.conv_transpose1d(y, w, dilation=4)
    for more in range(4):
        longer = F.conv_transpose1d(y, w, dilation=4, output_padding=more)
        same(longer[:, :, : whole.shape[2]], whole)
        assert longer.shape[2] == whole.shape[2] + more and not longer[:, :, whole.shape[2] :].any()
    # with padding what comes in is what would have been cut off
    cut = F.conv_transpose1d(y, w, dilation=4, padding=3, output_padding=3)
    same(cut, whole[:, :, 3:])
    assert_gradients(lambda y, w: F.conv_transpose1d(y, w, dilation=4, padding=1, output_padding=3), y, w)


def test_output_padding_does_not_spread_infinities():
    """No 0 · ∞: only the outputs that the kernel reaches from an infinite input are infinite or nan."""
    y = tg.tensor([[[float("inf"), 1.0, 1.0]]])
    x = F.conv_transpose1d(y, tg.ones(1, 1, 2), dilation=4, output_padding=2)
    assert x.isfinite().tolist() == [[[False, True, True, True, False, True, True, True, True]]]


@settings(max_examples=4)
@given(data=st.data())
def test_a_chain_in_the_family_keeps_its_order_of_memory(data):
    """Results lie pixel-major, elementwise operators keep that, and values do not depend on it."""
    x, w, v = draw({"x": (4, 3, 6, 5), "w": (5, 3, 3, 3), "v": (5, 3, 3, 3)}, "x w v", data.draw(ts.seeds()))
    h = F.conv2d(x, w)
    assert h.array.transpose(2, 3, 0, 1).flags.c_contiguous
    assert h.tanh().array.transpose(2, 3, 0, 1).flags.c_contiguous
    same(F.conv_transpose2d(h.tanh(), v), F.conv_transpose2d(tg.tensor(h.tanh().tolist(), dtype=tg.float64), v))


def test_sizes_may_come_as_an_array():
    x, w = tg.ones(1, 1, 6, 6), tg.ones(1, 1, 2, 2)
    for stride in (np.array([2, 1]), [2, 1], range(2, 0, -1)):
        assert F.conv2d(x, w, stride=stride).shape == F.conv2d(x, w, stride=(2, 1)).shape == (1, 1, 3, 5)
    assert F.conv2d(x, w, stride=np.array(2)).shape == F.conv2d(x, w, stride=np.int64(2)).shape == (1, 1, 3, 3)
