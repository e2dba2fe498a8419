"""NAdam: Adam whose momentum looks ahead, as Nesterov's does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import sqrt
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.adam import check_betas
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def nadam(
    xp,
    theta,
    g,
    s,
    r,
    *,
    t,
    exp_avg,
    exp_avg_sq,
    lr,
    betas,
    eps,
    weight_decay,
    momentum_decay,
    decoupled_weight_decay,
    maximize,
):
    """m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   θ ← θ - α m̂ / (√v̂ + ε)

    where v̂ = v/(1-β₂ᵗ), and m̂ = (1-μₜ)/(1 - Π μ) · g + μₜ₊₁/(1 - μₜ₊₁ Π μ) · m with the product over μ₁, ..., μₜ of
    μₜ = β₁ (1 - ½ 0.96^(tψ)): the momentum that warms up, and its value of the next step in the place of this one's.

    lr α, betas (β₁, β₂), eps ε, momentum_decay ψ, weight_decay λ: g is the gradient of the loss plus λθ, unless decoupled
    as in AdamW.
    Source: Dozat 2016, algorithm 8 (without decay of μ: algorithm 2).
    """
    beta1, beta2 = betas
    product, after = momentum_product(beta1, momentum_decay, t), momentum(beta1, momentum_decay, t + 1)
    correction = sqrt(1 - beta2**t)
    now = lr * correction * (1 - momentum(beta1, momentum_decay, t)) / (1 - product)
    ahead = lr * correction * after / (1 - product * after)
    decay = (None, 1 - lr * weight_decay) if decoupled_weight_decay else (weight_decay or None, None)
    averages = exp_avg, exp_avg_sq, beta1, 1 - beta1, beta2, 1 - beta2
    _nadam(xp, theta, g, s, r, *averages, eps * correction, now, ahead, *decay, maximize=maximize)


@fuse
def _nadam(xp, theta, g, s, r, m, v, beta1, new1, beta2, new2, eps, now, ahead, weight_decay, keep, *, maximize):
    """new: 1 - β.  now and ahead: the weights of g and m, with the learning rate and the corrections in them."""
    if keep is not None:
        theta *= keep
    g = descent(xp, theta, g, r, weight_decay, maximize)
    m *= beta1
    m += xp.multiply(g, new1, out=s)
    v *= beta2
    v += xp.multiply(xp.multiply(g, g, out=s), new2, out=s)
    r = xp.multiply(g, now, out=r)
    r += xp.multiply(m, ahead, out=s)
    s = xp.sqrt(v, out=s)
    s += eps
    r /= s
    theta -= r


def momentum(beta1: float, decay: float, t: int) -> float:
    """μₜ of `nadam`."""
    return beta1 * (1 - 0.5 * 0.96 ** (t * decay))


@cache
def _products(beta1: float, decay: float) -> list[float]:
    return [1.0]


def momentum_product(beta1: float, decay: float, t: int) -> float:
    """μ₁ · ... · μₜ.  The products of the steps before are remembered: one more factor per step."""
    products = _products(beta1, decay)
    while len(products) <= t:
        products.append(products[-1] * momentum(beta1, decay, len(products)))
    return products[t]


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the formula is in `nadam`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: learning rate, about the size of a step.  betas: memory of the averages of gradients and of their squares, state
    "exp_avg" and "exp_avg_sq".  eps: keeps the division finite.  weight_decay: factor of the penalty λ/2 |θ|².
    momentum_decay: how fast the momentum warms up.  decoupled_weight_decay: decay as AdamW does.
    maximize: climb instead of descend.

    PyTorch keeps the product of the momenta in its state; here it follows from the number of steps.  The two differ only
    when betas or momentum_decay are changed in the middle of a training.
    """

    rule: ClassVar[Rule | None] = nadam

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                betas=betas,
                eps=eps,
                weight_decay=weight_decay,
                momentum_decay=momentum_decay,
                decoupled_weight_decay=decoupled_weight_decay,
                maximize=maximize,
            ),
            **ignored,
        )

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def derived_state(self, group: Group, step: int) -> dict[str, float]:
        return {"mu_product": momentum_product(group["betas"][0], group["momentum_decay"], step)}

    def check(self, group: Group) -> None:
        super().check(group)
        check_betas(self._name, group["betas"])
