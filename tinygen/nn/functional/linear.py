"""Linear maps: of one argument, of two (bilinear), and of a class number (embedding)."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.engine import Node
from tinygen.errors import ShapeError
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


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """Row number `input` of the weight: a linear map applied to one-hot vectors, without the zeros.

    input: integers of any shape, weight: (num_embeddings, dim).  Returns (*input.shape, dim).
    padding_idx: the row that gets no gradient.
    Raises IndexError for a number without a row, TypeError when the input does not hold integers.
    """
    index = input.array if isinstance(input, Node) else input
    if index.dtype.kind not in "iu":
        raise TypeError(f"embedding: the input must hold integers, got {index.dtype}")
    rows = weight.shape[0]
    if index.size and not (0 <= int(index.min()) and int(index.max()) < rows):
        raise IndexError(
            f"embedding: row numbers from {int(index.min())} to {int(index.max())} were asked for, and the weight of shape "
            f"{tuple(weight.shape)} has rows 0 to {rows - 1}"
        )
    out = ops.index(weight, index)
    if padding_idx is None:
        return out
    if not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx {padding_idx} is out of range for {rows} rows")
    return ops.where((index == padding_idx % rows)[..., None], out.detach(), out)
