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
