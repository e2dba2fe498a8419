"""Gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

from tinygen.backend import Array, fuse
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule


def descent(xp: Any, theta: Array, g: Array, out: Array | None, weight_decay: float | None, maximize: bool) -> Array:
    """The gradient of loss + λ/2 |θ|², which is g + λθ; with -g in place of g when the loss is to grow.

    Written to `out`, unless it is g itself.  weight_decay: None for none, as everywhere inside of a kernel.
    """
    if weight_decay is not None:
        out = xp.multiply(theta, weight_decay, out=out)
        return xp.subtract(out, g, out=out) if maximize else xp.add(out, g, out=out)
    return xp.negative(g, out=out) if maximize else g


def sgd(xp, theta, g, s, r, *, t, momentum_buffer=None, lr, momentum, dampening, weight_decay, nesterov, maximize):
    """b ← μ b + (1-τ) g  (b = g in the first step),   θ ← θ - α b,   or with Nesterov's momentum  θ ← θ - α (g + μ b)

    lr α, momentum μ, dampening τ, weight_decay λ: g is the gradient of the loss plus λθ.
    Source: Polyak 1964 (heavy ball); Sutskever, Martens, Dahl, Hinton 2013, in the form of torch.optim.SGD, where α stands
    outside of b.
    """
    new = 1.0 if t == 1 else 1.0 - dampening
    _sgd(
        xp,
        theta,
        g,
        s,
        r,
        momentum_buffer,
        lr,
        momentum,
        new,
        weight_decay or None,
        nesterov=nesterov,
        maximize=maximize,
    )


@fuse
def _sgd(xp, theta, g, s, r, b, lr, momentum, new, weight_decay, *, nesterov, maximize):
    g = descent(xp, theta, g, r, weight_decay, maximize)
    if b is not None:
        b *= momentum
        b += xp.multiply(g, new, out=s)
        g = xp.add(g, xp.multiply(b, momentum, out=s), out=s) if nesterov else b
    theta -= xp.multiply(g, lr, out=s)


class SGD(Optimizer):
    """Gradient descent on mini-batches, plain or with momentum: the formula is in `sgd`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: learning rate.  momentum: how much of the last direction is kept, 0 for none; state "momentum_buffer".
    dampening: how much of a new gradient is held back.  weight_decay: factor of the penalty λ/2 |θ|².
    nesterov: look ahead along the momentum.  maximize: climb instead of descend.
    """

    rule: ClassVar[Rule | None] = sgd
    counts_steps = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                momentum=momentum,
                dampening=dampening,
                weight_decay=weight_decay,
                nesterov=nesterov,
                maximize=maximize,
            ),
            **ignored,
        )

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"momentum_buffer": 0.0} if group["momentum"] else {}

    def check(self, group: Group) -> None:
        super().check(group)
        if group["nesterov"] and (not group["momentum"] or group["dampening"]):
            raise ValueError(
                f"SGD: Nesterov's momentum needs momentum > 0 and dampening = 0, "
                f"got momentum={group['momentum']}, dampening={group['dampening']}"
            )
