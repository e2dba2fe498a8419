"""Rates that go up and down, and the momentum the other way round.  Call step() after every batch, not every epoch."""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import Any

from tinygen.optim.lr_scheduler.base import LRScheduler
from tinygen.optim.lr_scheduler.cosine import height
from tinygen.optim.optimizer import Group, Optimizer


class _Cycle(LRScheduler):
    """The base of both: what they do with the momentum, which is `momentum` of SGD and RMSprop and `betas[0]` of Adam."""

    cycle_momentum: bool

    def _check_momentum(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self._name}: an optimizer is expected, got {type(optimizer).__name__}")
        if self.cycle_momentum and not optimizer.defaults.keys() & {"momentum", "betas"}:
            raise ValueError(
                f"{self._name}: cycle_momentum=True, but {type(optimizer).__name__} has neither momentum nor betas; pass "
                "cycle_momentum=False"
            )

    def _set_momentum(self, group: Group, value: float) -> None:
        if "momentum" in group:
            group["momentum"] = value
        else:
            group["betas"] = (value, *group["betas"][1:])


class CyclicLR(_Cycle):
    """Straight up from base_lr to max_lr in step_size_up steps, straight down again in step_size_down, and so on.

    optimizer, last_epoch: see LRScheduler.
    base_lr, max_lr: the ends, one number or a list of one for every group; the rates that the optimizer has are replaced.
    step_size_up, step_size_down: batches; as long down as up unless said.
    mode: "triangular"; "triangular2", every next peak half as high above base_lr; "exp_range", the height above base_lr
        times gamma^batch.
    gamma: of "exp_range".
    scale_fn, scale_mode: instead of a mode, what the height is multiplied by: a function of the number of the cycle, 1, 2,
        ..., for "cycle", or of the batch for "iterations".  The function is not part of the state.
    cycle_momentum: the momentum goes from max_momentum down to base_momentum while the rate goes up, and back.
    base_momentum, max_momentum: its ends, one or for every group.

    Raises ValueError for another mode, for step sizes that are not positive, and if there is no momentum to cycle.
    Source: Smith 2017, section 3.
    """

    _functions = ("_scale",)
    mode: str
    gamma: float
    cycle_momentum: bool

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ):
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        down = step_size_up if step_size_down is None else step_size_down
        if not (step_size_up > 0 and down > 0):
            raise ValueError(f"CyclicLR: step sizes must be positive, got {step_size_up} up and {down} down")
        self.mode, self.gamma, self.cycle_momentum = mode, gamma, cycle_momentum
        self._scale = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.total_size: float = float(step_size_up + down)
        self.step_ratio: float = step_size_up / self.total_size
        self._check_momentum(optimizer)
        self.optimizer = optimizer
        lows = self._per_group("base_lr", base_lr)
        self.max_lrs: list[float] = self._per_group("max_lr", max_lr)
        self.base_momentums: list[float] = self._per_group("base_momentum", base_momentum)
        self.max_momentums: list[float] = self._per_group("max_momentum", max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, lows, strict=True):
                group["lr"] = lr
        self._begin(optimizer, last_epoch)
        self.base_lrs = lows
        self.step()

    def scale_fn(self, x: float) -> float:
        """What the height above base_lr is multiplied by, in cycle or batch x."""
        if self._scale is not None:
            return self._scale(x)
        return {"triangular": 1.0, "triangular2": 0.5 ** (x - 1), "exp_range": self.gamma**x}[self.mode]

    def get_lr(self) -> list[float]:
        """The rates; and the momenta are set, as in PyTorch."""
        cycle = floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        up = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        share = up * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            ends = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=False)
            for group, low, high in ends:
                self._set_momentum(group, high - (high - low) * share)
        return [low + (high - low) * share for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]


class OneCycleLR(_Cycle):
    """One warm-up to max_lr and one long descent to almost nothing, over the whole training.

    optimizer, last_epoch: see LRScheduler.
    max_lr: the highest rate, one number or a list of one for every group; the rates that the optimizer has are replaced.
    total_steps: batches of the whole training; or give epochs and steps_per_epoch, of which it is the product.
    pct_start: share of the warm-up, from 0 to 1.
    anneal_strategy: "cos" for half cosines, "linear" for straight lines.
    cycle_momentum: the momentum goes from max_momentum down to base_momentum while the rate goes up, and back.
    base_momentum, max_momentum: its ends, one or for every group.
    div_factor, final_div_factor: the first rate is max_lr / div_factor, and the last one that / final_div_factor.
    three_phase: down as fast as up to the first rate, and then to the last one.

    Raises ValueError for arguments out of range, if there is no momentum to cycle, and for a step after the last one.
    Source: Smith, Topin 2017.
    """

    total_steps: int
    cycle_momentum: bool

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: pass total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if not total_steps > 0:
            raise ValueError(f"OneCycleLR: the number of steps must be positive, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be from 0 to 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        self._check_momentum(optimizer)
        self.optimizer = optimizer
        self.max_lrs: list[float] = self._per_group("max_lr", max_lr)
        firsts = [lr / div_factor for lr in self.max_lrs]
        self.min_lrs: list[float] = [lr / final_div_factor for lr in firsts]
        self.base_momentums: list[float] = self._per_group("base_momentum", base_momentum)
        self.max_momentums: list[float] = self._per_group("max_momentum", max_momentum)
        # (last step, rates at its begin and end, momenta at its begin and end), by name
        peak = pct_start * total_steps - 1
        self._phases: list[list[Any]]
        up = [peak, "base_lrs", "max_lrs", "max_momentums", "base_momentums"]
        if three_phase:
            down = [2 * peak, "max_lrs", "base_lrs", "base_momentums", "max_momentums"]
            self._phases = [up, down, [total_steps - 1, "base_lrs", "min_lrs", "max_momentums", "max_momentums"]]
        else:
            self._phases = [up, [total_steps - 1, "max_lrs", "min_lrs", "base_momentums", "max_momentums"]]
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, firsts, strict=True):
                group["lr"] = lr
        self._begin(optimizer, last_epoch)
        self.base_lrs = firsts
        self.step()

    def _between(self, starts: list[float], ends: list[float], share: float) -> list[float]:
        left = height(share) if self.anneal_strategy == "cos" else 1 - share
        return [end + (start - end) * left for start, end in zip(starts, ends, strict=True)]

    def get_lr(self) -> list[float]:
        """The rates; and the momenta are set, as in PyTorch."""
        if self.last_epoch > self.total_steps:
            raise ValueError(f"OneCycleLR: step {self.last_epoch} of {self.total_steps}; it was made for fewer steps")
        start, phase = 0.0, self._phases[0]
        for phase in self._phases:
            if self.last_epoch <= phase[0] or phase is self._phases[-1]:
                break
            start = phase[0]
        last, *names = phase
        share = (self.last_epoch - start) / (last - start) if last != start else 1.0
        lr_from, lr_to, momentum_from, momentum_to = (getattr(self, name) for name in names)
        if self.cycle_momentum:
            momenta = self._between(momentum_from, momentum_to, share)
            for group, value in zip(self.optimizer.param_groups, momenta, strict=False):
                self._set_momentum(group, value)
        return self._between(lr_from, lr_to, share)
