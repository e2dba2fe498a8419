"""Adadelta: steps in the unit of the parameters, with no learning rate to choose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def adadelta(xp, theta, g, s, r, *, t, square_avg, acc_delta, lr, rho, eps, weight_decay, maximize):
    """v ← ρ v + (1-ρ) g²,   Δ = √(u+ε)/√(v+ε) · g,   u ← ρ u + (1-ρ) Δ²,   θ ← θ - α Δ

    lr α, rho ρ, eps ε, weight_decay λ: g is the gradient of the loss plus λθ.
    Source: Zeiler 2012, algorithm 1, where α = 1.
    """
    numbers = rho, 1 - rho, eps, lr, weight_decay or None
    _adadelta(xp, theta, g, s, r, square_avg, acc_delta, *numbers, maximize=maximize)


@fuse
def _adadelta(xp, theta, g, s, r, v, u, rho, new, eps, lr, weight_decay, *, maximize):
    g = descent(xp, theta, g, r, weight_decay, maximize)
    v *= rho
    v += xp.multiply(xp.multiply(g, g, out=s), new, out=s)
    s = xp.add(v, eps, out=s)
    s = xp.divide(g, xp.sqrt(s, out=s), out=s)
    r = xp.add(u, eps, out=r)
    s *= xp.sqrt(r, out=r)
    u *= rho
    u += xp.multiply(xp.multiply(s, s, out=r), new, out=r)
    s *= lr
    theta -= s


class Adadelta(Optimizer):
    """Steps that are as large as the steps before them: the formula is in `adadelta`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: factor of the steps.  rho: memory of the averages of squared gradients, state "square_avg", and of squared steps,
    state "acc_delta".  eps: keeps the division finite, and is what the first steps grow from.
    weight_decay: factor of the penalty λ/2 |θ|².  maximize: climb instead of descend.
    """

    rule: ClassVar[Rule | None] = adadelta

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        defaults = dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)
        super().__init__(params, defaults, **ignored)

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def check(self, group: Group) -> None:
        super().check(group)
        if not group["rho"] <= 1:
            raise ValueError(f"Adadelta: rho must be from 0 to 1, got {group['rho']}")
