"""Learning rates that change over time: call `scheduler.step()` once per epoch, after the optimizer's steps.

As in PyTorch a scheduler computes the next rate of a group from the rate that it has now.  So two schedulers on one
optimizer multiply (a warm-up and a decay), and a rate that was written into `optimizer.param_groups` is continued from.
LambdaLR, CyclicLR, OneCycleLR and CosineAnnealingWarmRestarts are exceptions, there as here: they compute the rate anew.

Every scheduler can be copied and pickled with its optimizer, and has state_dict and load_state_dict.
"""

import typing as _typing

from tinygen import missing as _missing
from tinygen.optim.lr_scheduler.base import LRScheduler
from tinygen.optim.lr_scheduler.composed import ChainedScheduler, SequentialLR
from tinygen.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from tinygen.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from tinygen.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from tinygen.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

_LRScheduler = LRScheduler
"""Its old name in PyTorch, which schedulers of one's own are often derived from."""

if not _typing.TYPE_CHECKING:
    __getattr__ = _missing.attribute_of(__name__)
