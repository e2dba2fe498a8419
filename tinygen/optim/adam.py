"""Adam: steps of about the same size for every parameter, whatever the scale of its gradient."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def adam(
    xp,
    theta,
    g,
    s,
    r,
    *,
    t,
    exp_avg,
    exp_avg_sq,
    max_exp_avg_sq=None,
    lr,
    betas,
    eps,
    weight_decay,
    amsgrad,
    maximize,
    decoupled_weight_decay,
):
    """m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   θ ← θ - α m̂ / (√v̂ + ε)

    where m̂ = m/(1-β₁ᵗ) and v̂ = v/(1-β₂ᵗ) make up for the start at 0.  Multiplied out, that is

        θ ← θ - α √(1-β₂ᵗ)/(1-β₁ᵗ) · m / (√v + ε √(1-β₂ᵗ))

    lr α, betas (β₁, β₂), eps ε, weight_decay λ: g is the gradient of the loss plus λθ.
    decoupled_weight_decay (AdamW): instead θ ← (1 - αλ) θ first; the weights decay by themselves, not through the gradient
        and its normalisation.
    amsgrad: in the last formula the largest v so far stands in the place of v, so that no step size ever grows.
    Source: Kingma, Ba 2014, algorithm 1 and the remark on its efficiency in section 2; Loshchilov, Hutter 2017, algorithm 2,
    with the decay multiplied by the learning rate as in torch.optim.AdamW; Reddi, Kale, Kumar 2018, algorithm 2.
    """
    beta1, beta2 = betas
    correction1, correction2 = 1 - beta1**t, sqrt(1 - beta2**t)
    numbers = beta1, 1 - beta1, beta2, 1 - beta2, eps * correction2, lr * correction2 / correction1
    decay = (None, 1 - lr * weight_decay) if decoupled_weight_decay else (weight_decay or None, None)
    _adam(xp, theta, g, s, r, exp_avg, exp_avg_sq, max_exp_avg_sq, *numbers, *decay, maximize=maximize)


@fuse
def _adam(xp, theta, g, s, r, m, v, top, beta1, new1, beta2, new2, eps, lr, weight_decay, keep, *, maximize):
    """top: the largest v so far, or None.  new: 1 - β.  eps and lr: with the corrections in them.  keep: what decoupled decay leaves of θ, or None."""
    if keep is not None:
        theta *= keep
    g = descent(xp, theta, g, r, weight_decay, maximize)
    m *= beta1
    m += xp.multiply(g, new1, out=s)
    v *= beta2
    v += xp.multiply(xp.multiply(g, g, out=s), new2, out=s)
    if top is not None:
        v = xp.maximum(top, v, out=top)
    s = xp.sqrt(v, out=s)
    s += eps
    s = xp.divide(m, s, out=s)
    s *= lr
    theta -= s


class Adam(Optimizer):
    """Adaptive moment estimation: the formula is in `adam`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: learning rate, about the size of a step.  betas: memory of the averages of gradients and of their squares, state
    "exp_avg" and "exp_avg_sq".  eps: keeps the division finite.  weight_decay: factor of the penalty λ/2 |θ|²; AdamW is
    the better way.  amsgrad: divide by the largest average of squares so far, state "max_exp_avg_sq".
    maximize: climb instead of descend.  decoupled_weight_decay: decay as AdamW does.
    """

    rule: ClassVar[Rule | None] = adam

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **ignored: Unpack[Ignored],
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                betas=betas,
                eps=eps,
                weight_decay=weight_decay,
                amsgrad=amsgrad,
                maximize=maximize,
                decoupled_weight_decay=decoupled_weight_decay,
            ),
            **ignored,
        )

    def initial_state(self, group: Group) -> dict[str, float]:
        top = {"max_exp_avg_sq": 0.0} if group["amsgrad"] else {}
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0, **top}

    def check(self, group: Group) -> None:
        super().check(group)
        check_betas(self._name, group["betas"])


def check_betas(name: str, betas: tuple[float, float]) -> None:
    """Raise ValueError unless these are the memories of two running averages."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"{name}: betas must be two numbers from 0 to below 1, got {betas}")


class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← (1 - αλ) θ before each of Adam's steps.  The formula is in `adam`.

    For the arguments see Adam; weight_decay λ is 0.01 unless told otherwise.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True, **ignored
        )
