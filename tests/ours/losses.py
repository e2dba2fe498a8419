"""The losses, as functions and as layers: the same arguments for both."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import tinygen as tg
from tests.ours.table import FULL, SHAPE, function, labels, module, rows, tensor
from tinygen import nn
from tinygen.testing import strategies as ts

REAL: dict[str, Any] = {}
NONZERO = {"avoid": (0.0,), "gap": 0.2}
NEAR_ZERO = {"low": -0.1, "high": 0.1}
PROBABILITY = {"low": 0.25, "high": 0.75}  # differences step a little aside, and must not leave [0, 1]
POSITIVE = {"low": 0.5, "high": 2.0}  # differences step aside, and must not reach 0
COUNTS = {"low": 0.5, "high": 3.0, "avoid": (1.0,), "gap": 0.2}  # Stirling's formula begins at 1
KNEES = {"avoid": (-0.5, 0.5), "gap": 0.25}  # |x - y| stays away from 0.5, where the line begins

# fmt: off
# function, layer, domains of the arguments, options
ELEMENTWISE: list[tuple[str, Any, tuple[dict, ...], dict[str, Any]]] = [
    ("mse_loss",                         nn.MSELoss,           (REAL, REAL),               {}),
    ("l1_loss",                          nn.L1Loss,            (NONZERO, NEAR_ZERO),       {}),
    ("huber_loss",                       nn.HuberLoss,         (KNEES, NEAR_ZERO),         {"delta": 0.5}),
    ("smooth_l1_loss",                   nn.SmoothL1Loss,      (KNEES, NEAR_ZERO),         {"beta": 0.5}),
    ("binary_cross_entropy",             nn.BCELoss,           (PROBABILITY, PROBABILITY), {}),
    ("binary_cross_entropy_with_logits", nn.BCEWithLogitsLoss, (REAL, PROBABILITY),        {}),
    ("gaussian_nll_loss",                nn.GaussianNLLLoss,   (REAL, REAL, POSITIVE),     {"full": True}),
    ("poisson_nll_loss",                 nn.PoissonNLLLoss,    (REAL, POSITIVE),           {}),
    ("poisson_nll_loss full",            nn.PoissonNLLLoss,    (POSITIVE, COUNTS),         {"log_input": False, "full": True}),
    ("soft_margin_loss",                 nn.SoftMarginLoss,    (REAL, REAL),               {}),
    ("kl_div",                           nn.KLDivLoss,         (REAL, PROBABILITY),        {}),
    ("kl_div log_target",                nn.KLDivLoss,         (REAL, REAL),               {"log_target": True}),
]
# fmt: on
for name, layer, domains, options in ELEMENTWISE:
    some, full = ([ts.tensors(shape, **d) for d in domains] for shape in (SHAPE, FULL))
    layer_name = " ".join([layer.__name__, *name.split()[1:]])
    function(name, *full, **options)
    for reduction in ("sum", "none"):
        function(f"{name} {reduction}", *some, reduction=reduction, **options)
        module(
            f"{layer_name} {reduction}",
            lambda layer=layer, reduction=reduction, options=options: layer(reduction=reduction, **options),
            *(rows(3, **d) for d in domains),
            kinks="raise",
        )
    module(
        layer_name,
        lambda layer=layer, options=options: layer(**options),
        *(rows(3, **d) for d in domains),
        kinks="raise",
        empty=False,
    )


def positive(*shape: int) -> tg.Tensor:
    return 0.2 + 2 * tg.rand(*shape)


def functions_of(name: str, x: SearchStrategy[Any], *others: SearchStrategy[Any], **options: Any) -> None:
    for reduction in ("mean", "sum", "none"):
        function(f"{name} {reduction}", x, *others, reduction=reduction, **options)


# Weights: of the size of the last dimension, broadcast.
functions_of("binary_cross_entropy weight", *(rows(3, **PROBABILITY),) * 2, tensor(3, **POSITIVE))
functions_of("binary_cross_entropy_with_logits weight", rows(3), rows(3, **PROBABILITY), tensor(3, **POSITIVE))
module("BCELoss weight", lambda: nn.BCELoss(positive(3)), *(rows(3, **PROBABILITY),) * 2, empty=False, buffers=True)
module(
    "BCEWithLogitsLoss weight",
    lambda: nn.BCEWithLogitsLoss(positive(3), pos_weight=positive(3), reduction="sum"),
    rows(3),
    rows(3, **PROBABILITY),
    buffers=True,
)
function("gaussian_nll_loss shared", rows(3), rows(3), rows(**POSITIVE))
function("kl_div batchmean", rows(3), rows(3, **PROBABILITY), reduction="batchmean")
function("smooth_l1_loss 0", rows(3, **NONZERO), rows(3, **NEAR_ZERO), beta=0.0)

# Classes: three of them; (C,), (N, C), (N, C, d); the target's smallest class number is one to leave out in some.
for name, layer in (("nll_loss", nn.NLLLoss), ("cross_entropy", nn.CrossEntropyLoss)):
    functions_of(name, rows(3), labels(3))
    functions_of(f"{name} weight", rows(3, 2), labels(3, 2), tensor(3, **POSITIVE))
    function(f"{name} single", tensor(3), tensor(dtype="int64", low=0, high=2))
    for reduction in ("sum", "none"):
        function(f"{name} empty {reduction}", tensor(0, 3), tensor(0, dtype="int64"), reduction=reduction)
        function(
            f"{name} ignore {reduction}", rows(3), labels(3), tensor(3, **POSITIVE), ignore_index=0, reduction=reduction
        )
    module(layer.__name__, layer, rows(3), labels(3), kinks="raise", empty=False)
    module(
        f"{layer.__name__} weight",
        lambda layer=layer: layer(positive(3), ignore_index=0, reduction="sum"),
        rows(3, 2),
        labels(3, 2),
        buffers=True,
    )
functions_of("cross_entropy smooth", rows(3), labels(3), st.none() | tensor(3, **POSITIVE), label_smoothing=0.2)
functions_of("cross_entropy probabilities", rows(3, 2), rows(3, 2, **POSITIVE), tensor(3, **POSITIVE))
module(
    "CrossEntropyLoss probabilities",
    lambda: nn.CrossEntropyLoss(positive(3), label_smoothing=0.1, reduction="none"),
    rows(3),
    rows(3, **POSITIVE),
    buffers=True,
)

# Distances and margins: away from where a hinge begins.
FAR, NEAR = {"low": 1.0, "high": 2.0}, {"low": -0.5, "high": 0.2}  # coordinates: no distance is near 0
SIGNS = st.lists(st.sampled_from([1, -1]), min_size=4, max_size=4).map(tg.tensor)
function("cosine_similarity", rows(3, **FAR), rows(3, **NONZERO))
function("cosine_similarity dim", rows(3, 2, **FAR), tensor(3, 2, **NONZERO), dim=-2)
function("pairwise_distance", rows(3, **FAR), tensor(3, **NEAR))
function("pairwise_distance p", rows(3, **FAR), rows(3, **NEAR), p=3.0, keepdim=True)
module("CosineSimilarity", nn.CosineSimilarity, rows(3, **FAR), rows(3, **NONZERO))
module("PairwiseDistance", nn.PairwiseDistance, rows(3, **FAR), rows(3, **NEAR))
APART = {"low": 2.0, "high": 3.0}
for reduction in ("mean", "none"):
    how = {"reduction": reduction}
    empty = reduction != "mean"
    vectors = (rows(3, **FAR), rows(3, **NEAR), rows(3, **APART))
    # no two distances differ by 6: a margin of 6 always costs, one of -6 never
    function(f"triplet_margin_loss {reduction}", *vectors, margin=6.0, **how)
    function(f"triplet_margin_loss swap {reduction}", *vectors, margin=-6.0, swap=True, **how)
    function(f"triplet_margin_with_distance_loss {reduction}", *vectors, margin=6.0, **how)
    for name in ("TripletMarginLoss", "TripletMarginWithDistanceLoss"):
        make = lambda name=name, how=how: getattr(nn, name)(margin=6.0, **how)
        module(f"{name} {reduction}", make, *vectors, empty=empty)
    numbers = (rows(3, **FAR), rows(3, **NEAR), rows(3, **FAR))
    function(
        f"margin_ranking_loss {reduction}", *numbers, margin=0.1, **how
    )  # they differ by 0.8 at least: it never costs
    function(f"margin_ranking_loss all {reduction}", *numbers, margin=6.0, **how)
    module(f"MarginRankingLoss {reduction}", lambda how=how: nn.MarginRankingLoss(6.0, **how), *numbers, empty=empty)
    function(f"hinge_embedding_loss {reduction}", tensor(4, **POSITIVE), SIGNS, margin=3.0, **how)
    function(
        f"cosine_embedding_loss {reduction}", tensor(4, 3, **FAR), tensor(4, 3, **APART), SIGNS, margin=-0.5, **how
    )
    function(f"multi_margin_loss {reduction}", rows(3), labels(3), st.just(1), st.just(5.0), **how)
    function(
        f"multi_margin_loss weight {reduction}",
        rows(3),
        labels(3),
        st.just(2),
        st.just(5.0),
        tensor(3, **POSITIVE),
        **how,
    )
    make = lambda how=how: nn.MultiMarginLoss(2, 5.0, positive(3), **how)
    module(f"MultiMarginLoss {reduction}", make, rows(3), labels(3), empty=empty, buffers=True)
    function(f"multilabel_soft_margin_loss {reduction}", rows(3), rows(3, **PROBABILITY), tensor(3, **POSITIVE), **how)
    make = lambda how=how: nn.MultiLabelSoftMarginLoss(positive(3), **how)
    module(f"MultiLabelSoftMarginLoss {reduction}", make, rows(3), rows(3, **PROBABILITY), empty=empty, buffers=True)
module("HingeEmbeddingLoss", lambda: nn.HingeEmbeddingLoss(3.0), tensor(4, **POSITIVE), SIGNS, empty=False)
module(
    "CosineEmbeddingLoss",
    lambda: nn.CosineEmbeddingLoss(-0.5),
    tensor(4, 3, **FAR),
    tensor(4, 3, **APART),
    SIGNS,
    empty=False,
)
function("gaussian_nll_loss stretched", rows(3), tensor(1, 3), tensor(1, 1, **POSITIVE))
