"""How near two vectors are, and the losses that pull some together and push others apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole
from tinygen.nn.functional.loss import reduce, same_shape
from tinygen.ops.reduce import in_single
from tinygen.tensor import Tensor

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "pairwise_distance",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


@in_single
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ x₁ x₂ / (max(|x₁|, eps) · max(|x₂|, eps)) along `dim`: the cosine of the angle between two vectors, 0 for a vector of zeros.

    x1, x2: of shapes that broadcast together.  Returns that shape without dim.
    """
    return ops.sum(_of_length_one(x1, dim, eps) * _of_length_one(x2, dim, eps), dim)


def _of_length_one(x: Any, dim: int, eps: float) -> Any:
    return x / ops.clamp(ops.norm(x, 2, dim, keepdim=True), min=eps)


@in_single
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """|x₁ - x₂ + eps|_p along the last dimension: the distance of every pair of vectors, never exactly 0.

    x1, x2: (*, D), of shapes that broadcast together.  Returns (*), or (*, 1) with keepdim.
    p: of the norm.  eps: is added to every difference, so that equal vectors have a gradient.
    """
    return ops.norm(x1 - x2 + eps, p, -1, keepdim)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """max(0, -y (x₁ - x₂) + margin): x₁ is to be larger than x₂ by the margin where y = 1, smaller where y = -1.

    input1, input2, target: x₁, x₂ and y, of one shape.  reduction: "mean", "sum" or "none".
    Raises ShapeError for other shapes, ValueError for another reduction.
    """
    same_shape("margin_ranking_loss", input1, input2)
    same_shape("margin_ranking_loss", input1, target)
    return reduce("margin_ranking_loss", ops.clamp(margin - target * (input1 - input2), min=0.0), reduction)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1, for distances x: similar pairs are pulled together.

    input, target: x and y, of one shape.  margin: dissimilar pairs are pushed up to there.
    reduction: "mean", "sum" or "none".
    Raises ShapeError for other shapes, ValueError for other targets (not checked on a GPU) or another reduction.
    Source: Hadsell, Chopra, LeCun 2006, for the idea.
    """
    same_shape("hinge_embedding_loss", input, target)
    _check_signs("hinge_embedding_loss", target)
    values = ops.where(target == 1, input, ops.clamp(margin - input, min=0.0))
    return reduce("hinge_embedding_loss", values, reduction)


@in_single
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """1 - cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) - margin) where y = -1.

    input1, input2: x₁ and x₂, (N, D), or (D,) for one pair.  target: y, (N,) or ().
    margin: from -1 to 1; angles of dissimilar pairs whose cosine is less cost nothing.  reduction: "mean", "sum" or "none".
    Raises ShapeError for other shapes, ValueError for other targets (not checked on a GPU) or another reduction.
    """
    same_shape("cosine_embedding_loss", input1, input2)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ShapeError(
            "cosine_embedding_loss: vectors (N, D) and targets (N,), or (D,) and (), are expected, got\n"
            f"    input1 {tuple(input1.shape)}\n    target {tuple(target.shape)}"
        )
    _check_signs("cosine_embedding_loss", target)
    squares = [ops.sum(ops.square(x), -1) + 1e-12 for x in (input1, input2)]  # PyTorch's way to treat zeros
    cosine = ops.sum(input1 * input2, -1) * ops.rsqrt(squares[0] * squares[1])
    return reduce(
        "cosine_embedding_loss",
        ops.where(target == 1, 1 - cosine, ops.clamp(cosine - margin, min=0.0)),
        reduction,
    )


@as_a_whole
def _check_signs(name: str, target: Any) -> None:
    y = target.array
    if isinstance(y, np.ndarray) and not (np.abs(y) == 1).all():
        other = y[np.abs(y) != 1][0]
        raise ValueError(f"{name}: the target must consist of 1 and -1, got {other}; labels 0 and 1 become 2 * y - 1")


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin), d the pairwise_distance: an anchor is to be nearer to the positive than to the negative.

    anchor, positive, negative: (N, D) or (D,).  margin: by how much nearer.  p, eps: those of pairwise_distance.
    swap: take the smaller one of d(a, n) and d(p, n).  reduction: "mean", "sum" or "none".
    Raises ShapeError for different numbers of dimensions, ValueError for another reduction.
    Source: Balntas et al. 2016, "Learning local feature descriptors with triplets", eq. 3 and 5.
    """

    def distance(x: Any, y: Any) -> Any:
        return pairwise_distance(x, y, p, eps)

    return _triplet("triplet_margin_loss", anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with any distance: max(0, d(a, p) - d(a, n) + margin).

    anchor, positive, negative: of one number of dimensions, as the distance takes them.
    distance_function: of two batches of vectors, one number for each pair; None for pairwise_distance.
    margin, swap, reduction, what is raised: as in triplet_margin_loss.
    """
    distance = pairwise_distance if distance_function is None else distance_function
    name = "triplet_margin_with_distance_loss"
    return _triplet(name, anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(
    name: str,
    anchor: Any,
    positive: Any,
    negative: Any,
    d: Callable[..., Any],
    margin: float,
    swap: bool,
    reduction: str,
) -> Any:
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            f"{name}: anchor, positive and negative must have the same number of dimensions, got shapes "
            f"{tuple(anchor.shape)}, {tuple(positive.shape)} and {tuple(negative.shape)}"
        )
    near, far = d(anchor, positive), d(anchor, negative)
    if swap:
        far = ops.minimum(far, d(positive, negative))
    return reduce(name, ops.clamp(near - far + margin, min=0.0), reduction)
