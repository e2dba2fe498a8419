"""Evaluation in the middle of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tinygen.nn.module import Module

__all__ = ["evaluating"]


@contextmanager
def evaluating(*modules: Module) -> Iterator[None]:
    """Inside a `with`, the modules and all that is in them are in evaluation mode; afterwards each is as it was.

        with nn.utils.evaluating(model), tg.no_grad():
            loss = model.loss(x_test).item()

    model.eval() before and model.train() after would put a part that was frozen in evaluation mode, as a batch normalisation
    that keeps its statistics, into training mode.  Each module has its own mode back, also after an exception.
    PyTorch has no such function.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
