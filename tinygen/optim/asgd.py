"""ASGD: gradient descent that averages where it has been."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def asgd(xp, theta, g, s, r, *, t, ax, lr, lambd, alpha, t0, weight_decay, maximize):
    """θ ← (1 - ηΛ) θ - η g,   a ← a + μ (θ - a)

    with η = α / (1 + Λ α (t-1))^γ, and μ = 1/max(1, t-1-t₀): from step t₀ + 1 on a is the average of all θ.

    lr α, lambd Λ, alpha γ, t0 t₀, weight_decay λ: g is the gradient of the loss plus λθ.
    Source: Polyak, Juditsky 1992; with the rates of Bottou's SGD as in torch.optim.ASGD.
    """
    eta, mu = rates(t - 1, lr, lambd, alpha, t0)
    numbers = eta, 1 - lambd * eta, None if mu == 1 else mu, weight_decay or None
    _asgd(xp, theta, g, s, r, ax, *numbers, maximize=maximize)


@fuse
def _asgd(xp, theta, g, s, r, a, eta, keep, mu, weight_decay, *, maximize):
    g = descent(xp, theta, g, r, weight_decay, maximize)
    s = xp.multiply(g, eta, out=s)
    theta *= keep
    theta -= s
    if mu is None:
        a[...] = theta
    else:
        s = xp.subtract(theta, a, out=s)
        s *= mu
        a += s


def rates(steps: int, lr: float, lambd: float, alpha: float, t0: float) -> tuple[float, float]:
    """η and μ of `asgd` after so many steps."""
    return lr / (1 + lambd * lr * steps) ** alpha, 1 / max(1, steps - t0)


class ASGD(Optimizer):
    """Averaged stochastic gradient descent: the formula is in `asgd`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: the first learning rate.  lambd: decay, of the parameters and of the rate.  alpha: power with which the rate falls.
    t0: the step after which the average begins; state "ax".  weight_decay: factor of the penalty λ/2 |θ|².
    maximize: climb instead of descend.

    PyTorch keeps η and μ in its state, and so uses a learning rate that was changed one step later; here they follow from
    the number of steps.  `averaging.py` has averages of whole models, with any optimizer.
    """

    rule: ClassVar[Rule | None] = asgd

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        defaults = dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, maximize=maximize)
        super().__init__(params, defaults, **ignored)

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"ax": 0.0}

    def derived_state(self, group: Group, step: int) -> dict[str, float]:
        eta, mu = rates(step, *(float(group[name]) for name in ("lr", "lambd", "alpha", "t0")))
        return {"eta": eta, "mu": mu}
