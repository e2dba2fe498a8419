"""Averages of whole models, with the names of torch.optim.swa_utils.

    averaged = AveragedModel(model)                       # the mean of all weights since; or, exponentially:
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    scheduler = SWALR(optimizer, swa_lr=0.05)             # the rate goes to a constant and stays there
    for epoch in range(epochs):
        ...
        averaged.update_parameters(model)
        scheduler.step()
    update_bn(loader, averaged)                           # batch norm has statistics of its own
    averaged(x)

`averaging.EMA` keeps averages beside the parameters of one model and swaps them in; here they are a second model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from math import cos, pi
from typing import Any

from tinygen.creation import zeros
from tinygen.engine import no_grad
from tinygen.memory import as_a_whole
from tinygen.nn.layers.normalization import BatchNorm
from tinygen.nn.module import Module
from tinygen.optim.averaging import move_towards
from tinygen.optim.lr_scheduler import LRScheduler
from tinygen.optim.optimizer import Optimizer
from tinygen.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """avg ← d avg + (1-d) θ for lists of tensors, in place.

    decay: d, from 0 to 1: the average looks back about 1/(1-d) updates.  Raises ValueError if it is not.
    Returns a function of (averages, current values, number of updates before).
    """
    _check_decay(decay)

    def ema(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Any) -> None:
        for average, value in zip(averaged, current, strict=True):
            move_towards(average, value, 1 - decay)

    return ema


def get_swa_multi_avg_fn() -> MultiAverage:
    """avg ← avg + (θ - avg)/(n+1), the mean of all values, for lists of tensors, in place.

    Returns a function of (averages, current values, number n of updates before).
    """

    def swa(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Any) -> None:
        for average, value in zip(averaged, current, strict=True):
            move_towards(average, value, 1 / (int(num_averaged) + 1))

    return swa


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The function of (average, current value, number of updates before) whose value is d average + (1-d) current.

    decay: d, from 0 to 1.  Raises ValueError if it is not.
    """
    _check_decay(decay)
    return lambda average, value, num_averaged: decay * average + (1 - decay) * value


def get_swa_avg_fn() -> Average:
    """The function of (average, current value, number n of updates before) whose value is the mean of all n+1 values."""
    return lambda average, value, num_averaged: average + (value - average) / (int(num_averaged) + 1)


def _check_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ValueError(f"get_ema_avg_fn: decay must be from 0 to 1, got {decay}")


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's over time; call it as the model itself.

    model: any module.  The copy is made now; its values count as nothing once update_parameters was called.
    device: where the copy is to be; that of the model unless told.
    avg_fn: function of (average, current value, number of updates before) that returns the new average.
    multi_avg_fn: the same for lists of all of them, in place; not both.  The mean of all values if neither is given.
    use_buffers: average the floating-point buffers too; else the copy's buffers are the model's last ones.

    module: the copy.  n_averaged: a buffer, how many updates there were.  Raises ValueError for both functions.
    Source: Izmailov, Podoprikhin, Garipov, Vetrov, Wilson 2018, algorithm 1.
    """

    n_averaged: Tensor
    avg_fn: Average | None
    multi_avg_fn: MultiAverage | None
    use_buffers: bool

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: pass avg_fn or multi_avg_fn, not both")
        self.module: Module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", zeros((), dtype="int64", device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged copy of the model returns."""
        return self.module(*args, **kwargs)

    @as_a_whole
    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's current values into the averages: after every step, or every epoch.

        model: one like that of the constructor.
        Raises ValueError if its parameters have other shapes.
        """
        own, current = _values(self.module, self.use_buffers), _values(model, self.use_buffers)
        if [a.shape for a in own] != [b.shape for b in current]:
            raise ValueError(
                f"AveragedModel.update_parameters: the averages have shapes {[tuple(a.shape) for a in own]}, the model has "
                f"{[tuple(b.shape) for b in current]}; pass a model like the one that was copied"
            )
        current = [b.detach().to(dtype=a.dtype, device=a.device) for a, b in zip(own, current, strict=True)]
        n = self.n_averaged.item()
        if n == 0:
            for a, b in zip(own, current, strict=True):
                a.copy_(b)
        elif self.avg_fn is not None:
            for a, b in zip(own, current, strict=True):
                a.copy_(self.avg_fn(a.detach(), b, n))
        else:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(own, current, n)
        averaged = {id(a) for a in own}
        for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
            if id(a) not in averaged:
                a.copy_(b.detach().to(device=a.device))
        self.n_averaged.copy_(self.n_averaged + 1)


def _values(model: Module, with_buffers: bool) -> list[Any]:
    buffers = [b for b in model.buffers() if b.dtype.kind == "f"] if with_buffers else []
    return [*model.parameters(), *buffers]


class SWALR(LRScheduler):
    """From the rate that the optimizer has to swa_lr in anneal_epochs epochs, and constant from there on.

    optimizer, last_epoch: see LRScheduler.
    swa_lr: the rate at the end, one number or a list of one for every group.
    anneal_epochs: epochs, 0 for at once.  anneal_strategy: "cos" for half a cosine, "linear" for a straight line.
    Raises ValueError for a negative number of epochs and for another strategy.

    As in PyTorch another schedule may move the rates at the same time: what this one changes is its own share of them.
    """

    anneal_epochs: int

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        if not (isinstance(anneal_epochs, int) and anneal_epochs >= 0):
            raise ValueError(f"SWALR: anneal_epochs must be a whole number from 0, got {anneal_epochs!r}")
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        self._begin(optimizer, last_epoch)
        self.swa_lrs: list[float] = self._per_group("swa_lr", swa_lr)
        self.step()

    def _share(self, epoch: int) -> float:
        """How much of swa_lr there is in the rate, from 0 to 1."""
        x = min(max(epoch / max(1, self.anneal_epochs), 0.0), 1.0)
        return (1 - cos(pi * x)) / 2 if self.anneal_strategy == "cos" else x

    def get_lr(self) -> list[float]:
        epoch = max(1, self.last_epoch) if self.anneal_epochs == 0 else self.last_epoch
        before, now = self._share(epoch - 1), self._share(epoch)
        if before == 1:
            return list(self.swa_lrs)
        lrs = zip(self.optimizer.param_groups, self.swa_lrs, strict=False)
        return [swa * now + (group["lr"] - before * swa) / (1 - before) * (1 - now) for group, swa in lrs]

    def closed_form(self) -> list[float]:
        now = self._share(max(1, self.last_epoch) if self.anneal_epochs == 0 else self.last_epoch)
        return [swa * now + base * (1 - now) for base, swa in zip(self.base_lrs, self.swa_lrs, strict=True)]


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch normalisations of the model anew, as means over the batches of a loader.

    loader: batches for the model; of a tuple or list the first element counts.
    model: it runs in training mode; every module is left in the mode that it had.
    device: where the batches are moved to, if given.
    """
    norms = [m for m in model.modules() if isinstance(m, BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    modes = [(m, m.training) for m in model.modules()]
    momenta = [m.momentum for m in norms]
    try:
        model.train()
        for m in norms:
            assert m.running_mean is not None and m.running_var is not None and m.num_batches_tracked is not None
            m.running_mean.zero_()
            m.running_var.fill_(1)
            m.num_batches_tracked.zero_()
            m.momentum = None
        for batch in loader:
            x = batch[0] if isinstance(batch, list | tuple) else batch
            model(x if device is None else x.to(device))
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        for module, mode in modes:
            module.training = mode
