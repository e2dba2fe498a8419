"""Optimizers: how parameters follow their gradients.

Every optimizer is one update rule, a function on arrays written as in its paper (`sgd`, `adam`, ...), and a class with
PyTorch's arguments.  `optimizer.py` holds what they share, `flat.py` makes it fast, `lr_scheduler.py` changes learning rates
over time, `averaging.py` averages weights.
"""

from tinygen.optim import lr_scheduler
from tinygen.optim.adagrad import Adagrad
from tinygen.optim.adam import Adam, AdamW
from tinygen.optim.averaging import EMA, ExponentialMovingAverage
from tinygen.optim.optimizer import Optimizer
from tinygen.optim.rmsprop import RMSprop
from tinygen.optim.sgd import SGD

__all__ = [
    "EMA",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "ExponentialMovingAverage",
    "Optimizer",
    "RMSprop",
    "lr_scheduler",
]
