"""RMSprop: the gradient divided by a running average of its size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def rmsprop(
    xp,
    theta,
    g,
    s,
    r,
    *,
    t,
    square_avg,
    grad_avg=None,
    momentum_buffer=None,
    lr,
    alpha,
    eps,
    weight_decay,
    momentum,
    centered,
    maximize,
):
    """v ← ρ v + (1-ρ) g²,   θ ← θ - α g / (√v + ε)

    centered: a ← ρ a + (1-ρ) g, and the variance v - a² in place of v;
    momentum: b ← μ b + g / (√v + ε),   θ ← θ - α b.
    lr α, alpha ρ, eps ε, momentum μ, weight_decay λ: g is the gradient of the loss plus λθ.
    Source: Hinton, *Neural Networks for Machine Learning* 2012, lecture 6e; centered: Graves 2013, eq. 38-45.
    """
    averages = square_avg, grad_avg, momentum_buffer
    _rmsprop(
        xp, theta, g, s, r, *averages, lr, alpha, 1 - alpha, eps, weight_decay or None, momentum, maximize=maximize
    )


@fuse
def _rmsprop(xp, theta, g, s, r, v, a, b, lr, alpha, new, eps, weight_decay, momentum, *, maximize):
    g = descent(xp, theta, g, r, weight_decay, maximize)
    v *= alpha
    v += xp.multiply(xp.multiply(g, g, out=s), new, out=s)
    if a is None:
        s = xp.sqrt(v, out=s)
    else:
        a *= alpha
        a += xp.multiply(g, new, out=s)
        s = xp.subtract(v, xp.multiply(a, a, out=s), out=s)
        s = xp.sqrt(xp.maximum(s, 0, out=s), out=s)  # rounding can make the variance of a constant gradient negative
    s += eps
    s = xp.divide(g, s, out=s)
    if b is not None:
        b *= momentum
        b += s
        s = xp.multiply(b, lr, out=s)
    else:
        s *= lr
    theta -= s


class RMSprop(Optimizer):
    """The gradient divided by its root mean square: the formula is in `rmsprop`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: learning rate.  alpha: memory of the average, state "square_avg".  eps: keeps the division finite.
    weight_decay: factor of the penalty λ/2 |θ|².  momentum: as in SGD, state "momentum_buffer".
    centered: divide by the standard deviation instead, state "grad_avg".  maximize: climb instead of descend.
    """

    rule: ClassVar[Rule | None] = rmsprop

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                alpha=alpha,
                eps=eps,
                weight_decay=weight_decay,
                momentum=momentum,
                centered=centered,
                maximize=maximize,
            ),
            **ignored,
        )

    def initial_state(self, group: Group) -> dict[str, float]:
        names = {"square_avg": True, "grad_avg": group["centered"], "momentum_buffer": group["momentum"]}
        return {name: 0.0 for name, is_kept in names.items() if is_kept}
