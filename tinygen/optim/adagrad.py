"""Adagrad: the gradient divided by the size of all that came before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def adagrad(xp, theta, g, s, r, *, t, sum, lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize):
    """v ← v + g²,   θ ← θ - α / (1 + (t-1) η) · g / (√v + ε)

    lr α, lr_decay η, eps ε, weight_decay λ: g is the gradient of the loss plus λθ.
    Source: Duchi, Hazan, Singer 2011, the diagonal form.
    """
    _adagrad(xp, theta, g, s, r, sum, lr / (1 + (t - 1) * lr_decay), eps, weight_decay or None, maximize=maximize)


@fuse
def _adagrad(xp, theta, g, s, r, v, lr, eps, weight_decay, *, maximize):
    g = descent(xp, theta, g, r, weight_decay, maximize)
    v += xp.multiply(g, g, out=s)
    s = xp.sqrt(v, out=s)
    s += eps
    s = xp.divide(g, s, out=s)
    s *= lr
    theta -= s


class Adagrad(Optimizer):
    """Large steps for parameters that rarely have a gradient: the formula is in `adagrad`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: learning rate.  lr_decay: how fast it falls with the number of steps.  weight_decay: factor of the penalty λ/2 |θ|².
    initial_accumulator_value: what the sum of squares starts from, state "sum".  eps: keeps the division finite.
    maximize: climb instead of descend.
    """

    rule: ClassVar[Rule | None] = adagrad

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                lr_decay=lr_decay,
                weight_decay=weight_decay,
                initial_accumulator_value=initial_accumulator_value,
                eps=eps,
                maximize=maximize,
            ),
            **ignored,
        )

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"sum": group["initial_accumulator_value"]}
