"""What all schedulers share: the count of epochs, the first rates, and saving and loading."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tinygen.memory import as_a_whole
from tinygen.optim.optimizer import Optimizer


class LRScheduler:
    """Base class: a scheduler defines get_lr(), and where there is one the same as a closed_form().

    optimizer: its groups' "lr" is what the scheduler sets.  A group's first rate is kept in it as "initial_lr"; a second
        scheduler on the same optimizer finds it there and leaves it.
    last_epoch: -1 to begin, or the last epoch of an earlier run, whose optimizer was loaded with load_state_dict.

    Raises TypeError if the optimizer is none, KeyError if it should come from an earlier run and does not.
    """

    _functions: tuple[str, ...] = ()
    """Attributes that are functions: they are not part of the state."""
    base_lrs: list[Any]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self._begin(optimizer, last_epoch)
        self.step()

    def _begin(self, optimizer: Optimizer, last_epoch: int) -> None:
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
        self.last_epoch: Any = last_epoch
        self._step_count = 0

    @property
    def _name(self) -> str:
        return type(self).__name__

    def get_lr(self) -> list[float]:
        """The learning rate of every group in epoch `last_epoch`, when the groups hold the rates of the epoch before."""
        raise NotImplementedError(f"{self._name}: a scheduler must define get_lr()")

    def closed_form(self) -> list[float]:
        """The learning rate of every group in epoch `last_epoch`, from the first rates `base_lrs` alone.

        Where a scheduler has none, it is get_lr(), which starts from the rates that the groups have.
        """
        return self.get_lr()

    @as_a_whole
    def step(self, epoch: int | None = None) -> None:
        """Begin the next epoch.

        epoch: begin this one instead, wherever the schedule is: the rates are those of its closed form.
        Warns at its first call if the optimizer has made no step yet: then the first rate of the schedule was never used.
        """
        self._warn_if_early()
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set(self.get_lr() if epoch is None else self.closed_form())

    def _rewind(self) -> None:
        """To before the first epoch: the next step() begins it, from the rates that the groups have."""
        self.last_epoch = -1

    def _warn_if_early(self) -> None:
        counts = getattr(type(self.optimizer).step, "counts_calls", False)
        if self._step_count == 1 and counts and not self.optimizer.calls:
            warnings.warn(
                f"{self._name}.step() was called before optimizer.step(): the first learning rate of the schedule was never "
                "used.  Call optimizer.step() first, and the scheduler's step() after it",
                stacklevel=4,  # past the wrapper of step()
            )
        self._step_count += 1

    def _set(self, lrs: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=False):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The rates that the last step() set, one per group."""
        return self._last_lr

    def _times(self, factor: float) -> list[float]:
        """The rates of the epoch before times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _of_base(self, factor: float) -> list[float]:
        """The first rates times a factor."""
        return [base * factor for base in self.base_lrs]

    def _per_group(self, name: str, value: Any) -> list[float]:
        """A number for every group, from one for all or a list of them."""
        groups = len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, list | tuple) else [value] * groups
        if len(values) != groups:
            raise ValueError(f"{self._name}: got {len(values)} values of {name} for {groups} groups of parameters")
        return [float(v) for v in values]

    def state_dict(self) -> dict[str, Any]:
        """All numbers; not the optimizer, which has a state of its own, and no functions."""
        return {key: value for key, value in vars(self).items() if key not in ("optimizer", *self._functions)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict; the optimizer's is to be loaded as well."""
        vars(self).update(state_dict)


def positive_integer(name: str, what: str, value: Any) -> int:
    """The value; raises ValueError unless it is a whole number above 0."""
    if not (isinstance(value, int) and value > 0):
        raise ValueError(f"{name}: {what} must be a positive integer, got {value!r}")
    return value
