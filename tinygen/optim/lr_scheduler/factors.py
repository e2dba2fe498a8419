"""Schedules that multiply the rate of the epoch before by a factor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

from tinygen.optim.lr_scheduler.base import LRScheduler
from tinygen.optim.optimizer import Optimizer

PerGroup = Callable[[int], float] | Sequence[Callable[[int], float]]


class _Functions(LRScheduler):
    """The base of both schedulers that are given functions of the epoch, one for all groups or one for every group."""

    _functions = ("lr_lambdas",)

    def __init__(self, optimizer: Optimizer, lr_lambda: PerGroup, last_epoch: int = -1):
        groups = len(getattr(optimizer, "param_groups", ()))
        self.lr_lambdas: list[Callable[[int], float]] = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"{self._name}: got {len(self.lr_lambdas)} functions for {groups} groups of parameters")
        super().__init__(optimizer, last_epoch)


class LambdaLR(_Functions):
    """lr = initial lr · lr_lambda(epoch).

    optimizer, last_epoch: see LRScheduler.
    lr_lambda: function of the number of the epoch, 0, 1, 2, ...; one, or a list of one for every group.
    The functions are not part of the state: make the scheduler with the same ones before loading it.
    """

    def get_lr(self) -> list[float]:
        return [base * rate(self.last_epoch) for base, rate in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_Functions):
    """lr · lr_lambda(epoch) in every epoch but the first: lr = initial lr · Π over k = 1, ..., epoch of lr_lambda(k).

    For the arguments see LambdaLR.
    """

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(1)
        groups = zip(self.optimizer.param_groups, self.lr_lambdas, strict=False)
        return [group["lr"] * rate(self.last_epoch) for group, rate in groups]

    def closed_form(self) -> list[float]:
        epochs = range(1, self.last_epoch + 1)
        return [base * prod(map(rate, epochs)) for base, rate in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """lr · gamma every `step_size` epochs: lr = initial lr · gamma^⌊epoch/step_size⌋.

    optimizer, last_epoch: see LRScheduler.  step_size: epochs, at least 1.  gamma: factor.
    """

    step_size: int
    gamma: float

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        is_due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return self._times(self.gamma if is_due else 1)

    def closed_form(self) -> list[float]:
        return self._of_base(self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """lr · gamma at every epoch in `milestones`: lr = initial lr · gamma^(number of milestones reached).

    optimizer, last_epoch: see LRScheduler.  milestones: epochs; one that stands there twice counts twice.  gamma: factor.
    """

    milestones: list[int]
    gamma: float

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._times(self.gamma ** self.milestones.count(self.last_epoch))

    def closed_form(self) -> list[float]:
        return self._of_base(self.gamma ** sum(m <= self.last_epoch for m in self.milestones))


class ConstantLR(LRScheduler):
    """lr = initial lr · factor for the first `total_iters` epochs, and then the initial lr.

    optimizer, last_epoch: see LRScheduler.  factor: from 0 to 1.  total_iters: epochs.
    Raises ValueError for a factor out of range.
    """

    factor: float
    total_iters: int

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor must be from 0 to 1, got {factor}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(self.factor)
        if self.last_epoch != self.total_iters:
            return self._times(1)
        return self._times(1 / self.factor) if self.factor else self.closed_form()

    def closed_form(self) -> list[float]:
        return self._of_base(self.factor if self.last_epoch < self.total_iters else 1)


class LinearLR(LRScheduler):
    """A straight line from initial lr · start_factor to initial lr · end_factor in `total_iters` epochs: the usual warm-up.

    optimizer, last_epoch: see LRScheduler.  start_factor: above 0, up to 1.  end_factor: from 0 to 1.  total_iters: epochs.
    Raises ValueError for factors out of range.
    """

    start_factor: float
    end_factor: float
    total_iters: int

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be from 0 to 1, got {end_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        share = min(epoch, self.total_iters) / self.total_iters if self.total_iters else 1
        return self.start_factor + (self.end_factor - self.start_factor) * share

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(self._factor(0))
        if self.last_epoch > self.total_iters:
            return self._times(1)
        return self._times(self._factor(self.last_epoch) / self._factor(self.last_epoch - 1))

    def closed_form(self) -> list[float]:
        return self._of_base(self._factor(self.last_epoch))


class ExponentialLR(LRScheduler):
    """lr · gamma in every epoch: lr = initial lr · gamma^epoch.

    optimizer, last_epoch: see LRScheduler.  gamma: factor.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._times(self.gamma if self.last_epoch > 0 else 1)

    def closed_form(self) -> list[float]:
        return self._of_base(self.gamma**self.last_epoch)


class PolynomialLR(LRScheduler):
    """lr = initial lr · (1 - epoch/total_iters)^power, and 0 from epoch `total_iters` on.

    optimizer, last_epoch: see LRScheduler.  total_iters: epochs, at least 1.  power: 1 for a straight line.
    """

    total_iters: int
    power: float

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        if total_iters < 1:
            raise ValueError(f"PolynomialLR: total_iters must be at least 1, got {total_iters}")
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch > self.total_iters:
            return self._times(1)
        return self._times(self._factor(self.last_epoch) / self._factor(self.last_epoch - 1))

    def closed_form(self) -> list[float]:
        return self._of_base(self._factor(self.last_epoch))
