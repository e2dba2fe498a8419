"""RAdam: Adam that does not trust its first averages of squares."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.adam import check_betas
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def radam(
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
    decoupled_weight_decay,
    maximize,
):
    """m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   θ ← θ - α rₜ m̂ √(1-β₂ᵗ) / (√v + ε),   or  θ ← θ - α m̂

    where m̂ = m/(1-β₁ᵗ).  v is an average of about ρₜ = ρ - 2t β₂ᵗ/(1-β₂ᵗ) squares, ρ = 2/(1-β₂) - 1; with at most 5 its
    inverse has no variance, and the step goes along m̂ itself.  With more, rₜ makes the variance that of a long average:
    rₜ² = (ρₜ-4)(ρₜ-2) ρ / ((ρ-4)(ρ-2) ρₜ).

    lr α, betas (β₁, β₂), eps ε, weight_decay λ: g is the gradient of the loss plus λθ, unless decoupled as in AdamW.
    Source: Liu, Jiang, He, Chen, Liu, Gao, Han 2019, algorithm 2; as in torch.optim.RAdam ε is added to √v.
    """
    beta1, beta2 = betas
    whole = 2 / (1 - beta2) - 1
    length = whole - 2 * t * beta2**t / (1 - beta2**t)
    size = lr / (1 - beta1**t)
    is_adaptive = length > 5
    if is_adaptive:
        size *= sqrt((length - 4) * (length - 2) * whole / ((whole - 4) * (whole - 2) * length)) * sqrt(1 - beta2**t)
    decay = (None, 1 - lr * weight_decay) if decoupled_weight_decay else (weight_decay or None, None)
    averages = exp_avg, exp_avg_sq, beta1, 1 - beta1, beta2, 1 - beta2
    _radam(xp, theta, g, s, r, *averages, eps, size, *decay, maximize=maximize, is_adaptive=is_adaptive)


@fuse
def _radam(xp, theta, g, s, r, m, v, beta1, new1, beta2, new2, eps, size, weight_decay, keep, *, maximize, is_adaptive):
    """new: 1 - β.  size: the learning rate with the corrections in it."""
    if keep is not None:
        theta *= keep
    g = descent(xp, theta, g, r, weight_decay, maximize)
    m *= beta1
    m += xp.multiply(g, new1, out=s)
    v *= beta2
    v += xp.multiply(xp.multiply(g, g, out=s), new2, out=s)
    if is_adaptive:
        s = xp.sqrt(v, out=s)
        s += eps
        s = xp.divide(m, s, out=s)
        s *= size
    else:
        s = xp.multiply(m, size, out=s)
    theta -= s


class RAdam(Optimizer):
    """Rectified Adam, which needs no warm-up: the formula is in `radam`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: learning rate, about the size of a step.  betas: memory of the averages of gradients and of their squares, state
    "exp_avg" and "exp_avg_sq".  eps: keeps the division finite.  weight_decay: factor of the penalty λ/2 |θ|².
    decoupled_weight_decay: decay as AdamW does.  maximize: climb instead of descend.
    """

    rule: ClassVar[Rule | None] = radam

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
                decoupled_weight_decay=decoupled_weight_decay,
                maximize=maximize,
            ),
            **ignored,
        )

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def check(self, group: Group) -> None:
        super().check(group)
        check_betas(self._name, group["betas"])
