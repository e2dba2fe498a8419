"""Adamax: Adam with the largest gradient in the place of the root mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.adam import check_betas
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def adamax(xp, theta, g, s, r, *, t, exp_avg, exp_inf, lr, betas, eps, weight_decay, maximize):
    """m ← β₁ m + (1-β₁) g,   u ← max(β₂ u, |g| + ε),   θ ← θ - α/(1-β₁ᵗ) · m/u

    lr α, betas (β₁, β₂), eps ε, weight_decay λ: g is the gradient of the loss plus λθ.
    Source: Kingma, Ba 2014, algorithm 2; with ε as in torch.optim.Adamax.
    """
    beta1, beta2 = betas
    numbers = beta1, 1 - beta1, beta2, eps, lr / (1 - beta1**t)
    _adamax(xp, theta, g, s, r, exp_avg, exp_inf, *numbers, weight_decay or None, maximize=maximize)


@fuse
def _adamax(xp, theta, g, s, r, m, u, beta1, new1, beta2, eps, size, weight_decay, *, maximize):
    g = descent(xp, theta, g, r, weight_decay, maximize)
    m *= beta1
    m += xp.multiply(g, new1, out=s)
    u *= beta2
    s = xp.absolute(g, out=s)
    s += eps
    u = xp.maximum(u, s, out=u)
    s = xp.divide(m, u, out=s)
    s *= size
    theta -= s


class Adamax(Optimizer):
    """Adam with the infinity norm of the past gradients: the formula is in `adamax`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: learning rate, the bound of a step.  betas: memory of the average of gradients, state "exp_avg", and of their largest
    size, state "exp_inf".  eps: keeps the division finite.  weight_decay: factor of the penalty λ/2 |θ|².
    maximize: climb instead of descend.
    """

    rule: ClassVar[Rule | None] = adamax

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)
        super().__init__(params, defaults, **ignored)

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_inf": 0.0}

    def check(self, group: Group) -> None:
        super().check(group)
        check_betas(self._name, group["betas"])
