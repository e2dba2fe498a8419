"""Linear maps: of one argument, of two (bilinear), and of a class number (embedding)."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.backend import array_module
from tinygen.engine import Node, no_grad
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole
from tinygen.ops import linear, one_hot
from tinygen.tensor import Tensor

__all__ = ["bilinear", "embedding", "linear", "one_hot"]


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """y_k = x₁ᵀ W_k x₂ + b_k.

    input1: (*, in1), input2: (*, in2) with equal leading sizes, weight: (out, in1, in2), bias: (out,) or None.
    Returns (*, out).  Raises ShapeError when the sizes do not fit.
    """
    if (
        weight.ndim != 3
        or input1.shape[:-1] != input2.shape[:-1]
        or input1.shape[-1:] + input2.shape[-1:] != weight.shape[1:]
        or (bias is not None and bias.shape != weight.shape[:1])
    ):
        raise ShapeError(
            "bilinear: inputs (*, in1) and (*, in2), a weight (out, in1, in2) and a bias (out,) are expected, got\n"
            f"    input1 {tuple(input1.shape)}\n    input2 {tuple(input2.shape)}\n    weight {tuple(weight.shape)}"
            + ("" if bias is None else f"\n    bias   {tuple(bias.shape)}")
        )
    out = ops.einsum("...i,kij,...j->...k", input1, weight, input2)
    return out if bias is None else out + bias


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Row number `input` of the weight: a linear map applied to one-hot vectors, without the zeros.

    input: integers of any shape, weight: (num_embeddings, dim).  Returns (*input.shape, dim).
    padding_idx: the row that gets no gradient.
    max_norm: rows that are asked for and longer are shortened to it, in place and outside of any graph, before they are read.
    norm_type: p of the p-norm in which they are measured.
    Not built: scale_grad_by_freq and sparse must be False.
    Raises IndexError for a number without a row, TypeError when the input does not hold integers, ValueError for a padding_idx
    that is not a row, NotImplementedError for what is not built.
    """
    dense("embedding", scale_grad_by_freq, sparse)
    index = input.array if isinstance(input, Node) else input
    if index.dtype.kind not in "iu":
        raise TypeError(f"embedding: the input must hold integers, got {index.dtype}; use input.long()")
    rows = weight.shape[0]
    if index.size and not (0 <= int(index.min()) and int(index.max()) < rows):
        raise IndexError(
            f"embedding: row numbers from {int(index.min())} to {int(index.max())} were asked for, and the weight of shape "
            f"{tuple(weight.shape)} has rows 0 to {rows - 1}"
        )
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx {padding_idx} is out of range for {rows} rows")
    if max_norm is not None:
        _shorten(weight, index, max_norm, norm_type)
    out = ops.index(weight, index)
    if padding_idx is None:
        return out
    return ops.where((index == padding_idx % rows)[..., None], out.detach(), out)


@as_a_whole
def _shorten(weight: Any, index: Any, max_norm: float, norm_type: float) -> None:
    """Rows of that index that are longer than max_norm get that length (but for PyTorch's 1e-7)."""
    with no_grad():
        lengths = ops.norm(weight.detach(), norm_type, 1, keepdim=True)
        used = array_module(index).zeros(weight.shape[0], bool)
        used[index.reshape(-1)] = True
        too_long = (lengths > max_norm) & used[:, None]
        if bool(too_long.any()):
            weight.mul_(ops.where(too_long, max_norm / (lengths + 1e-7), 1.0))


def dense(name: str, scale_grad_by_freq: bool, sparse: bool) -> None:
    """Refuse what is not built."""
    if sparse:
        raise NotImplementedError(
            f"{name}: sparse gradients are not built; leave out sparse=True, the numbers are the same"
        )
    if scale_grad_by_freq:
        raise NotImplementedError(
            f"{name}: scale_grad_by_freq is not built; divide the gradient by the counts yourself"
        )
