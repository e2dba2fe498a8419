"""Schedulers of schedulers: one after another, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinygen.memory import as_a_whole
from tinygen.optim.lr_scheduler.base import LRScheduler
from tinygen.optim.lr_scheduler.plateau import ReduceLROnPlateau
from tinygen.optim.optimizer import Optimizer


class _Composed(LRScheduler):
    """The base of both: schedulers of one optimizer, whose states are saved together."""

    _functions = ("_schedulers",)
    _schedulers: list[LRScheduler]
    base_lrs: list[Any]

    def _check(self, schedulers: Iterable[LRScheduler], optimizer: Optimizer | None) -> Optimizer:
        self._schedulers = list(schedulers)
        if not self._schedulers:
            raise ValueError(f"{self._name}: got no schedulers")
        optimizer = self._schedulers[0].optimizer if optimizer is None else optimizer
        for i, scheduler in enumerate(self._schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{self._name}: scheduler {i} is a ReduceLROnPlateau, whose step() needs a value; step it by itself"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"{self._name}: scheduler {i} belongs to another optimizer; all must have the same")
            scheduler._step_count += 1  # whether the optimizer came first is looked at once, here
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._step_count = 1
        return optimizer

    @as_a_whole
    def step(self, epoch: int | None = None) -> None:
        """Begin the next epoch; or begin from the initial rates again, and go on to this one."""
        self._warn_if_early()
        if epoch is None:
            self._next()
        else:
            self._begin_anew()
            for _ in range(epoch):
                self._next()

    def _begin_anew(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._rewind()
        self._next()

    def _rewind(self) -> None:
        super()._rewind()
        for scheduler in self._schedulers:
            scheduler._rewind()

    def _next(self) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """All numbers, and under "_schedulers" the state of every scheduler."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict of the same composition; the optimizer's is to be loaded as well."""
        states = state_dict["_schedulers"]
        if len(states) != len(self._schedulers):
            raise ValueError(
                f"{self._name}.load_state_dict: the state has {len(states)} schedulers, this one {len(self._schedulers)}"
            )
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "_schedulers"})
        for scheduler, state in zip(self._schedulers, states, strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Composed):
    """One scheduler after another: the next takes over at every milestone, and begins with its epoch 0.

        warm_up = LinearLR(optimizer, 0.1, total_iters=5)
        scheduler = SequentialLR(optimizer, [warm_up, CosineAnnealingLR(optimizer, T_max=95)], milestones=[5])

    optimizer: that of all schedulers.  schedulers: made with it before, in order.
    milestones: the epochs at which the second, third, ... begins, rising; one fewer than there are schedulers.
    last_epoch: -1 to begin; to go on from an earlier run use load_state_dict.

    A scheduler begins from the initial rates, not from where the one before it ended; only schedulers without a closed form
    go on from there.  Raises ValueError for another number of milestones, for none that rise, and for schedulers of another
    optimizer or a ReduceLROnPlateau.
    """

    last_epoch: Any

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ):
        self._check(schedulers, optimizer)
        self._milestones = list(milestones)
        if len(self._milestones) != len(self._schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(self._schedulers)} schedulers need {len(self._schedulers) - 1} milestones, got "
                f"{len(self._milestones)}"
            )
        if any(a >= b for a, b in zip(self._milestones, self._milestones[1:], strict=False)):
            raise ValueError(f"SequentialLR: milestones must rise, got {self._milestones}")
        if last_epoch == -1:
            self._begin_anew()  # each scheduler has begun when it was made: that is undone
        else:
            self.last_epoch, self._last_lr = last_epoch, [group["lr"] for group in optimizer.param_groups]
            self._next()

    def _next(self) -> None:
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[i]
        scheduler.step(*([0] if i > 0 and self._milestones[i - 1] == self.last_epoch else []))
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Composed):
    """All schedulers step together, so that their factors multiply.

    schedulers: of one optimizer, in the order in which they step.
    optimizer: that of all; that of the first unless told.
    Raises ValueError for no schedulers, for those of another optimizer and for a ReduceLROnPlateau.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        self._check(schedulers, optimizer)
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _next(self) -> None:
        self.last_epoch += 1
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
