"""Losses as modules: the functions of `nn.functional` with their options fixed.

Their shapes, and what they raise, are those of the functions.  `reduction` is "mean", "sum", or "none" for a loss per element,
and has to be named: nn.MSELoss(reduction="sum").  PyTorch's size_average and reduce, long deprecated, are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygen.nn import functional as F
from tinygen.nn.module import Module
from tinygen.tensor import Tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class _Loss(Module):
    weight: Tensor | None
    pos_weight: Tensor | None
    reduction: str

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction


class MSELoss(_Loss):
    """(x - y)², for x and y of one shape.

    reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|x - y|, for x and y of one shape.

    reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d²/(2 beta) where |d| < beta, |d| - beta/2 elsewhere, with d = x - y, for x and y of one shape.

    reduction: "mean", "sum" or "none".  Source: Girshick 2015, eq. 3.
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction=reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d²/2 where |d| <= delta, delta (|d| - delta/2) elsewhere, with d = x - y, for x and y of one shape.

    reduction: "mean", "sum" or "none".  Source: Huber 1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_Loss):
    """-y log p - (1 - y) log(1 - p), for probabilities p and targets y of one shape.

    weight: multiplies the elements, broadcast; a buffer.  reduction: "mean", "sum" or "none".
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """-y log p - (1 - y) log(1 - p), for logits x and targets y of one shape: p = sigmoid(x).

    weight: multiplies the elements, broadcast.  pos_weight: multiplies the term of y = 1, broadcast.  Both are buffers.
    reduction: "mean", "sum" or "none".
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class CrossEntropyLoss(_Loss):
    """-log softmax(x)[y], for logits x, (N, C, d1, ...), and class numbers y, (N, d1, ...), or class probabilities like x.

    weight: (C,), one factor per class; a buffer.  ignore_index: the class number of elements to leave out.
    label_smoothing: the share of the target that is spread evenly over all classes.  reduction: "mean", "sum" or "none".
    """

    ignore_index: int
    label_smoothing: float

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """-log p[y], for log-probabilities, (N, C, d1, ...), and class numbers y, (N, d1, ...).

    weight: (C,), one factor per class; a buffer.  ignore_index: the class number of elements to leave out.
    reduction: "mean", "sum" or "none".
    """

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """½ (log var + (x - y)² / var), for a mean x, a target y and a variance; shapes: nn.functional.gaussian_nll_loss.

    full: add ½ log 2π.  eps: the smallest variance.  reduction: "mean", "sum" or "none".
    """

    full: bool
    eps: float

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, reduction=self.reduction)


class PoissonNLLLoss(_Loss):
    """λ - y log λ, for x = log λ and counts y of one shape.

    log_input: False if x is λ itself.  full: add Stirling's formula for log y!.  eps: is added to λ in its logarithm.
    reduction: "mean", "sum" or "none".
    """

    log_input: bool
    full: bool
    eps: float

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.poisson_nll_loss(input, target, self.log_input, self.full, self.eps, reduction=self.reduction)


class KLDivLoss(_Loss):
    """t (log t - x), for log-probabilities x and probabilities t of one shape.

    reduction: "mean", "sum", "none", or "batchmean" for the mean divergence of a batch.  log_target: log t is given for t.
    """

    def __init__(self, *, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-y x)), for x and targets y of 1 and -1 of one shape.

    reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_Loss):
    """The mean binary cross-entropy of C classes of which any may apply, for logits and targets of 0 and 1, both (N, C).

    weight: (C,), multiplies the classes; a buffer.  reduction: of the (N,) means: "mean", "sum" or "none".
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(_Loss):
    """Σ_c max(0, margin - x[y] + x[c])^p / C over the classes c other than y, for scores x, (N, C), and class numbers y, (N,).

    p: 1 or 2.  weight: (C,), multiplies the elements of each class; a buffer.  reduction: "mean", "sum" or "none".
    """

    p: int
    margin: float

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.p, self.margin = p, margin
        self.register_buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MarginRankingLoss(_Loss):
    """max(0, -y (x₁ - x₂) + margin), for x₁, x₂ and y (1 or -1) of one shape.

    reduction: "mean", "sum" or "none".
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    """x where y = 1, max(0, margin - x) where y = -1, for distances x and targets y of one shape.

    reduction: "mean", "sum" or "none".
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """1 - cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) - margin) where y = -1, for x₁, x₂ of (N, D) and y of (N,).

    reduction: "mean", "sum" or "none".
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """max(0, d(a, p) - d(a, n) + margin), for anchors, positives and negatives of (N, D).  Source: Balntas et al. 2016.

    p, eps: those of nn.functional.pairwise_distance, which is d.  swap: take the smaller one of d(a, n) and d(p, n).
    reduction: "mean", "sum" or "none".
    """

    margin: float
    p: float
    eps: float
    swap: bool

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
    ):
        super().__init__(reduction=reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(_Loss):
    """max(0, d(a, p) - d(a, n) + margin), for anchors, positives and negatives of one shape.

    distance_function: d; None for nn.functional.pairwise_distance.  If it is a Module, its parameters are this one's.
    swap: take the smaller one of d(a, n) and d(p, n).  reduction: "mean", "sum" or "none".
    """

    margin: float
    swap: bool

    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ):
        super().__init__(reduction=reduction)
        self.distance_function = F.pairwise_distance if distance_function is None else distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
