"""Rprop: only the signs of the gradient count.  For whole data sets, not for mini-batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

from tinygen.backend import fuse
from tinygen.optim.optimizer import Group, Ignored, Optimizer, Rule
from tinygen.optim.sgd import descent


def rprop(xp, theta, g, s, r, *, t, prev, step_size, lr, etas, step_sizes, maximize):
    """Δ ← Δ · η₊ where g has the sign that it had before, Δ · η₋ where it has the other one,   θ ← θ - sign(g) Δ

    Where the sign has changed, there is no step, and the next one counts as a first.
    etas (η₋, η₊), step_sizes: the smallest and the largest Δ.
    Source: Riedmiller, Braun 1993; in the form of torch.optim.Rprop, without going back (Igel, Hüsken 2000: iRprop-).
    """
    _rprop(xp, theta, g, s, r, prev, step_size, *etas, *step_sizes, maximize=maximize)


@fuse
def _rprop(xp, theta, g, s, r, before, size, down, up, least, most, *, maximize):
    g = descent(xp, theta, g, r, None, maximize)
    s = xp.multiply(g, before, out=s)
    grown = xp.where(s > 0, size * up, xp.where(s < 0, size * down, size))
    size[...] = xp.minimum(xp.maximum(grown, least), most)
    before[...] = xp.where(s < 0, size - size, g)  # 0 whatever g is, also inf
    s = xp.multiply(xp.sign(before), size, out=s)
    theta -= s


class Rprop(Optimizer):
    """Resilient backpropagation: every parameter has a step size of its own.  The formula is in `rprop`.

    params: parameters or groups of them; see Optimizer, also for what is ignored.
    lr: the first step size; state "step_size".  The last gradient is the state "prev".
    etas: factors by which a step size falls and grows, 0 < η₋ < 1 < η₊.
    step_sizes: the smallest and the largest step size.  maximize: climb instead of descend.
    """

    rule: ClassVar[Rule | None] = rprop

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **ignored: Unpack[Ignored],
    ):
        super().__init__(params, dict(lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize), **ignored)

    def initial_state(self, group: Group) -> dict[str, float]:
        return {"prev": 0.0, "step_size": float(group["lr"])}

    def check(self, group: Group) -> None:
        super().check(group)
        down, up = group["etas"]
        if not 0 < down < 1 < up:
            raise ValueError(f"Rprop: etas must be (below 1, above 1), got {group['etas']}")
