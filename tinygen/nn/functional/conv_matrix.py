"""The convolution as what it is: a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import backend
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.nn.functional.conv import Sizes, geometry
from tinygen.ops.conv import Geometry

__all__ = ["conv_matrix"]


def conv_matrix(
    weight: Any,
    input_shape: Sequence[int],
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """The matrix M of x -> conv(x, weight) on flattened inputs: conv(x) = M x, and conv_transpose(y) = Mᵀ y.

    With one channel, a kernel κ of length 3 and an input of 7 numbers it is deck D4's banded matrix, 5 × 7:

        κ₁ κ₂ κ₃ 0  0  0  0
        0  κ₁ κ₂ κ₃ 0  0  0
        0  0  κ₁ κ₂ κ₃ 0  0
        0  0  0  κ₁ κ₂ κ₃ 0
        0  0  0  0  κ₁ κ₂ κ₃

    Its diagonals are constant (Toeplitz): the same weights at every position, and zeros where the kernel does not reach.
    In two dimensions the blocks, a row of pixels each, repeat in the same way.  A stride leaves rows out.

    weight: (out channels, C / groups, *kernel), a Tensor or array, in 1, 2, 3 or more spatial dimensions.
    input_shape: (C, *size), without the batch.  The other arguments as for conv1d, conv2d and conv3d.
    Returns a scipy.sparse.csr_array of shape (out channels · Π output size, C · Π size) and of the weight's dtype, which holds
    an element for every weight that meets the input, not those that meet the padding.  Rows and columns are numbered as
    x.flatten() numbers the elements of an output or input without batch.  It is built on the CPU, and no gradients flow through.
    Raises ShapeError when the sizes do not fit, ValueError for a stride, padding, dilation or groups that make no sense.
    """
    from scipy import sparse

    w = weight.array if isinstance(weight, Node) else weight
    w = backend.to_numpy(w) if backend.is_array(w) else np.asarray(w)
    shape = tuple(int(n) for n in input_shape)
    if w.ndim < 3 or len(shape) != w.ndim - 1 or math.prod(w.shape) == 0:
        raise ShapeError(
            "conv_matrix: a weight (out, in / groups, *kernel) and an input_shape (channels, *size), without the batch, are "
            f"expected, got\n    weight {w.shape}\n    input_shape {shape}"
        )
    geo = geometry("conv_matrix", (1, *shape), w.shape, stride, padding, dilation, groups)
    tap, out_pixel, in_pixel = _meetings(geo)
    out_channel, per_group = np.indices(w.shape[:2]).reshape(2, -1, 1)
    in_channel = out_channel // (w.shape[0] // groups) * w.shape[1] + per_group
    values = w.reshape(*w.shape[:2], -1)[out_channel, per_group, tap]
    rows = out_channel * math.prod(geo.out) + out_pixel
    columns = in_channel * math.prod(geo.size) + in_pixel
    size = (w.shape[0] * math.prod(geo.out), math.prod(shape))
    return sparse.csr_array((values.ravel(), (rows.ravel(), columns.ravel())), size)


def _meetings(geo: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tap, output pixel, input pixel) wherever the kernel meets the input, as numbers of flattened elements."""
    k = np.indices(geo.kernel).reshape(len(geo.size), -1, 1)
    i = np.indices(geo.out).reshape(len(geo.size), 1, -1)
    stride, dilation, before, size = (
        np.reshape(values, (-1, 1, 1)) for values in (geo.stride, geo.dilation, [p for p, _ in geo.padding], geo.size)
    )
    j = i * stride + k * dilation - before
    tap, out_pixel = np.nonzero(((j >= 0) & (j < size)).all(axis=0))
    return tap, out_pixel, np.ravel_multi_index(tuple(j[:, tap, out_pixel]), geo.size)
