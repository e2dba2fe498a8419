"""Half a cosine, once or again and again."""

from __future__ import annotations

from math import cos, floor, isclose, pi

from tinygen.memory import as_a_whole
from tinygen.optim.lr_scheduler.base import LRScheduler, positive_integer
from tinygen.optim.optimizer import Optimizer


def height(share: float) -> float:
    """From 1 down to 0 along half a cosine, while the share goes from 0 to 1."""
    return (1 + cos(pi * share)) / 2


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial lr down to eta_min in T_max epochs: lr = η + (initial lr - η) (1 + cos(π epoch/T_max)) / 2.

    optimizer, last_epoch: see LRScheduler.  T_max: epochs, above 0.  eta_min: the lowest rate η.
    Source: Loshchilov, Hutter 2016, eq. 5, without the restarts: after T_max epochs the rate rises again.
    """

    T_max: int
    eta_min: float

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        if not T_max > 0:
            raise ValueError(f"CosineAnnealingLR: T_max must be positive, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(1)
        eta, now, before = (
            self.eta_min,
            height(self.last_epoch / self.T_max),
            height((self.last_epoch - 1) / self.T_max),
        )
        groups = zip(self.optimizer.param_groups, self.base_lrs, strict=False)
        if isclose(before, 0, abs_tol=1e-15):  # the lowest point: nothing is left to take a fraction of
            return [group["lr"] + (base - eta) * now for group, base in groups]
        return [eta + (group["lr"] - eta) * now / before for group, _ in groups]

    def closed_form(self) -> list[float]:
        eta = self.eta_min
        return [eta + (base - eta) * height(self.last_epoch / self.T_max) for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial lr to eta_min, and then from the initial lr again; the k-th time in T_0 · T_mult^k epochs.

    optimizer, last_epoch: see LRScheduler.
    T_0: epochs of the first descent, an integer.  T_mult: how many times as long every next one is, an integer.
    eta_min: the lowest rate.

    After a step T_cur is the number of epochs since the last restart, and T_i the length of this descent.  To follow the
    curve within an epoch call step(epoch + i / batches) after batch i; a plain step() goes on by one epoch.
    Source: Loshchilov, Hutter 2016, eq. 5.
    """

    T_i: int
    T_cur: float

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_0 = positive_integer(self._name, "T_0", T_0)
        self.T_mult: int = positive_integer(self._name, "T_mult", T_mult)
        self.eta_min = eta_min
        self._locate(max(last_epoch, 0))
        if last_epoch == -1:
            self._rewind()
        super().__init__(optimizer, last_epoch)

    def _rewind(self) -> None:
        super()._rewind()
        self.T_i, self.T_cur = self.T_0, -1.0

    def _locate(self, epoch: float) -> None:
        self.T_i, self.T_cur = self.T_0, epoch
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult

    @as_a_whole
    def step(self, epoch: float | None = None) -> None:
        """Begin the next epoch, or the point in time `epoch`, which may be a fraction, as in 2.5."""
        if epoch is not None and epoch < 0:
            raise ValueError(f"{self._name}.step: epoch must not be negative, got {epoch}")
        self._warn_if_early()
        if epoch is None:
            self.last_epoch += 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        else:
            self.last_epoch = floor(epoch)
            self._locate(epoch)
        self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        eta = self.eta_min
        return [eta + (base - eta) * height(self.T_cur / self.T_i) for base in self.base_lrs]
