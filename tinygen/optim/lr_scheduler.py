"""Learning rates that change over time: call `scheduler.step()` once per epoch, after the optimizer's steps.

As in PyTorch a scheduler computes the next rate of a group from the rate that it has now.  So two schedulers on one
optimizer multiply (a warm-up and a decay), and a rate that was written into `optimizer.param_groups` is continued from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import cos, isclose, pi
from typing import Any

from tinygen.optim.optimizer import Optimizer


class LRScheduler:
    """Base class: a scheduler defines get_lr().

    last_epoch: -1 to begin, or the last epoch of an earlier run, whose optimizer was loaded with load_state_dict.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self._name}: an optimizer is expected, got {type(optimizer).__name__}")
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{self._name}: last_epoch={last_epoch} goes on from an earlier run, but group {i} of the optimizer has no "
                    "'initial_lr'; load the optimizer's state first"
                )
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    @property
    def _name(self) -> str:
        return type(self).__name__

    def get_lr(self) -> list[float]:
        """The learning rate of every group in epoch `last_epoch`, when the groups hold the rates of the epoch before."""
        raise NotImplementedError(f"{self._name}: a scheduler must define get_lr()")

    def step(self) -> None:
        """Begin the next epoch."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=False):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The rates that the last step() set, one per group."""
        return self._last_lr

    def _times(self, factor: float) -> list[float]:
        """The rates of the epoch before times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All numbers; not the optimizer, which has a state of its own, and no functions."""
        return {key: value for key, value in vars(self).items() if key not in ("optimizer", "lr_lambdas")}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict; the optimizer's is to be loaded as well."""
        vars(self).update(state_dict)


class LambdaLR(LRScheduler):
    """lr = initial lr · lr_lambda(epoch); one function, or one for every group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR: got {len(self.lr_lambdas)} functions for {groups} groups of parameters")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * rate(self.last_epoch) for base, rate in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """lr · gamma every `step_size` epochs: lr = initial lr · gamma^⌊epoch/step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        is_due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return self._times(self.gamma if is_due else 1)


class MultiStepLR(LRScheduler):
    """lr · gamma at every epoch in `milestones`: lr = initial lr · gamma^(number of milestones reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._times(self.gamma ** self.milestones.count(self.last_epoch))


class ExponentialLR(LRScheduler):
    """lr · gamma in every epoch: lr = initial lr · gamma^epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._times(self.gamma if self.last_epoch > 0 else 1)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial lr down to eta_min in T_max epochs: lr = η + (initial lr - η) (1 + cos(π epoch/T_max)) / 2.

    Source: Loshchilov, Hutter 2016, eq. 5, without the restarts: after T_max epochs the rate rises again.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        if not T_max > 0:
            raise ValueError(f"CosineAnnealingLR: T_max must be positive, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return (1 + cos(pi * epoch / self.T_max)) / 2

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(1)
        eta, now, before = self.eta_min, self._height(self.last_epoch), self._height(self.last_epoch - 1)
        groups = zip(self.optimizer.param_groups, self.base_lrs, strict=False)
        if isclose(before, 0, abs_tol=1e-15):  # the lowest point: nothing is left to take a fraction of
            return [group["lr"] + (base - eta) * now for group, base in groups]
        return [eta + (group["lr"] - eta) * now / before for group, _ in groups]
