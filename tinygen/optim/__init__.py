"""Optimizers: how parameters follow their gradients.

Every optimizer is one update rule, a function on arrays written as in its paper (`sgd`, `adam`, ...), and a class with
PyTorch's arguments.  `optimizer.py` holds what they share, `flat.py` makes it fast, `lr_scheduler.py` changes learning rates
over time, `averaging.py` and `swa_utils.py` average weights.  `LBFGS` is no rule for every element by itself: it has a step of its own.
"""

import typing as _typing

from tinygen import missing as _missing
from tinygen.optim import lr_scheduler, swa_utils
from tinygen.optim.adadelta import Adadelta
from tinygen.optim.adagrad import Adagrad
from tinygen.optim.adam import Adam, AdamW
from tinygen.optim.adamax import Adamax
from tinygen.optim.asgd import ASGD
from tinygen.optim.averaging import EMA, ExponentialMovingAverage
from tinygen.optim.lbfgs import LBFGS
from tinygen.optim.nadam import NAdam
from tinygen.optim.optimizer import Optimizer
from tinygen.optim.radam import RAdam
from tinygen.optim.rmsprop import RMSprop
from tinygen.optim.rprop import Rprop
from tinygen.optim.sgd import SGD

__all__ = [
    "ASGD",
    "EMA",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ExponentialMovingAverage",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]

if not _typing.TYPE_CHECKING:
    __getattr__ = _missing.attribute_of(__name__)
