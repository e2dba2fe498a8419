"""The explicit matrix is the convolution, its transpose is the transposed convolution, and it looks as on the slide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import tinygen as tg
from tests.ops.domains.conv import meetings, naive_conv, naive_conv_transpose
from tinygen.autograd import jacobian
from tinygen.nn import functional as F
from tinygen.ops.conv import Geometry
from tinygen.testing import strategies as ts


def flat(x) -> np.ndarray:
    """(batch, ...) -> (numbers, batch): an example per column."""
    return x.reshape(x.shape[0], -1).T


@given(g=ts.conv_geometries(max_output=3), seed=ts.seeds())
def test_it_is_the_convolution_and_its_transpose_the_transposed_one(g, seed):
    """conv(x) = M x and conv_transpose(y) = Mᵀ y, by tinygen and by the loop over pixels and taps."""
    x, w, y = g.draw(seed)
    geo = Geometry(g.input, g.kernel, g.stride, tuple((p, p) for p in g.padding), g.dilation, g.groups)
    M = F.conv_matrix(w, g.input_shape[1:], **g.options)
    conv, transpose = (getattr(F, f"{name}{g.ndim}d") for name in ("conv", "conv_transpose"))
    by_functions = (
        conv(x, w, **g.options).numpy(),
        transpose(y, w, **g.options, output_padding=g.output_padding).numpy(),
    )
    by_loop = naive_conv(x.numpy(), w.numpy(), geo), naive_conv_transpose(y.numpy(), w.numpy(), geo)
    for forward, back in (by_functions, by_loop):
        # a few hundred products of size 1 in float64
        np.testing.assert_allclose(M @ flat(x.numpy()), flat(forward), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(M.T @ flat(y.numpy()), flat(back), rtol=1e-12, atol=1e-12)


@given(g=ts.conv_geometries(max_output=3), seed=ts.seeds())
def test_it_holds_one_number_for_every_weight_that_meets_a_pixel(g, seed):
    _, w, _ = g.draw(seed)
    geo = Geometry(g.input, g.kernel, g.stride, tuple((p, p) for p in g.padding), g.dilation, g.groups)
    M = F.conv_matrix(w, g.input_shape[1:], **g.options)
    assert isinstance(M, sparse.csr_array) and M.dtype == np.float64
    assert M.shape == (math.prod(g.output_shape[1:]), math.prod(g.input_shape[1:]))
    assert M.nnz == len(list(meetings(geo))) * g.out_channels * g.channels_per_group[0]
    assert M.has_canonical_format or M.sorted_indices().has_canonical_format, "no number is there twice"


def test_it_is_the_jacobian():
    x, w = tg.randn(2, 4, 3), tg.randn(3, 2, 2, 2)
    J = jacobian(lambda x: F.conv2d(x, w, stride=(2, 1), padding=1), x)
    M = F.conv_matrix(w, x.shape, stride=(2, 1), padding=1)
    np.testing.assert_array_equal(J.numpy().reshape(M.shape), M.toarray())


def test_the_banded_matrix_of_the_slide():
    """A kernel of length 3 on 7 numbers: 5 × 7 (deck D4)."""
    M = F.conv_matrix(tg.tensor([[[1.0, 2.0, 3.0]]]), (1, 7))
    assert M.toarray().tolist() == [
        [1, 2, 3, 0, 0, 0, 0],
        [0, 1, 2, 3, 0, 0, 0],
        [0, 0, 1, 2, 3, 0, 0],
        [0, 0, 0, 1, 2, 3, 0],
        [0, 0, 0, 0, 1, 2, 3],
    ]
    assert M.T.shape == (7, 5) and M.nnz == 15


@given(length=st.integers(3, 9), kernel=st.integers(1, 3), padding=st.integers(0, 2), dilation=st.integers(1, 2))
def test_in_one_dimension_diagonals_are_constant(length, kernel, padding, dilation):
    """Toeplitz; a stride leaves rows out."""
    if length + 2 * padding < dilation * (kernel - 1) + 1:
        return
    w = tg.randn(1, 1, kernel)
    M = F.conv_matrix(w, (1, length), padding=padding, dilation=dilation).toarray()
    for offset in range(-M.shape[0] + 1, M.shape[1]):
        diagonal = np.diagonal(M, offset)
        tap, rest = divmod(offset + padding, dilation)
        expected = w[0, 0, tap].item() if rest == 0 and 0 <= tap < kernel else 0
        assert (diagonal == np.float32(expected)).all()
    strided = F.conv_matrix(w, (1, length), stride=2, padding=padding, dilation=dilation).toarray()
    np.testing.assert_array_equal(strided, M[::2])


def test_in_two_dimensions_blocks_repeat():
    """A block per pair of pixel rows, which depends on their distance only; and a block per pair of channels."""
    w = tg.randn(2, 3, 2, 3)
    M = F.conv_matrix(w, (3, 4, 5)).toarray().reshape(2, 3, 3, 3, 4, 5)  # (out, rows, columns, in, rows, columns)
    for o, c, i, j in np.ndindex(2, 3, 3, 4):
        block = M[o, i, :, c, j, :]
        k = j - i
        expected = F.conv_matrix(w[o : o + 1, c : c + 1, k], (1, 5)).toarray() if 0 <= k < 2 else np.zeros((3, 5))
        np.testing.assert_array_equal(block, expected)


def test_groups_do_not_see_each_other():
    w = tg.randn(4, 1, 2)
    M = F.conv_matrix(w, (2, 5), groups=2).toarray().reshape(4, 4, 2, 5)
    assert not M[:2, :, 1].any() and not M[2:, :, 0].any() and (np.abs(M[:2, :, 0]).sum(-1) > 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_it_takes(dtype):
    """A Tensor, also on another device or part of a graph, or an array; the dtype is the weight's."""
    w = np.arange(6, dtype=dtype).reshape(1, 2, 3)
    expected = F.conv_matrix(w, (2, 4), padding="same").toarray()
    assert expected.dtype == dtype and expected.shape == (4, 8)
    for weight in (tg.tensor(w), tg.tensor(w, requires_grad=True), tg.tensor(w, device="strict"), w.tolist()):
        np.testing.assert_array_equal(F.conv_matrix(weight, [2, 4], padding="same").toarray(), expected)
