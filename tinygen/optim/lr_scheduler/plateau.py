"""A rate that falls when nothing gets better any more."""

from __future__ import annotations

from math import inf
from typing import Any

from tinygen.memory import as_a_whole
from tinygen.optim.lr_scheduler.base import LRScheduler
from tinygen.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """lr · factor when a value, such as the loss on held-out data, has not improved for more than `patience` epochs.

        scheduler.step(validation_loss)        # once per epoch

    optimizer: see LRScheduler.
    mode: "min" if smaller is better, "max" if larger.
    factor: what the rate is multiplied by, below 1.
    patience: how many epochs without improvement are forgiven.
    threshold, threshold_mode: what counts as an improvement: by the share `threshold` of the best value ("rel"), or by
        `threshold` itself ("abs").
    cooldown: epochs after a reduction in which nothing is counted.
    min_lr: the rate never falls below; one number or a list of one for every group.
    eps: a reduction by less than this is left out.

    A value that is nan is no improvement, and never the best.  Raises ValueError for arguments out of range.
    """

    factor: float
    patience: int
    eps: float
    threshold: float
    cooldown: int
    best: float
    num_bad_epochs: int
    cooldown_counter: int

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ):
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        self._begin(optimizer, -1)
        self.mode, self.factor, self.patience, self.eps = mode, factor, patience, eps
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lrs: list[float] = self._per_group("min_lr", min_lr)
        self.last_epoch: Any = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self._reset()

    def _reset(self) -> None:
        self.best = inf if self.mode == "min" else -inf
        self.num_bad_epochs = self.cooldown_counter = 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether a is an improvement on the best value."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "abs":
            return sign * a < sign * best - self.threshold
        return sign * a < sign * best * (1 - sign * self.threshold)

    @as_a_whole
    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """End an epoch.

        metrics: the value to watch, a number or a tensor of one.  epoch: its number, one more than the last unless told.
        """
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(value, self.best):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=False):
            lr = max(group["lr"] * self.factor, low)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
