"""What is known about a wrong gradient: the facts that the patterns in mistakes.py look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Evidence:
    """What is known about one argument of a map; K cotangents, n elements of the argument looked at, m output elements."""

    argument: int
    shape: tuple[int, ...]
    chosen: np.ndarray
    """(n,) flat indices of the elements looked at."""
    jacobian: np.ndarray
    """(m, n) by differences; 0 in rows that are not smooth."""
    error: np.ndarray
    """(m, n) estimated errors of it."""
    cotangents: np.ndarray
    """(K, m); the last one is the sum of the first two."""
    analytic: np.ndarray
    """(K, n): what the rule made of the cotangents."""
    wrong: np.ndarray
    """(n,) whether rule and differences disagree."""
    outputs: list[np.ndarray]
    connected: bool
    """Whether the graph leads from the outputs to the argument at all."""
    eps: float
    map_: Any
    names: list[str] = field(default_factory=list)
    """What the operator's rules call its arguments."""
    others: list[np.ndarray] = field(default_factory=list)
    """The values of all arguments."""
    order: int = 1

    @property
    def numeric(self) -> np.ndarray:
        """(K, n): what it should have been, Jᵀg."""
        return self.cotangents @ self.jacobian

    @property
    def owner(self) -> np.ndarray | None:
        """(n,) the one output element that each element of the argument moves; None if some move several, or none.

        It is there for elementwise operators, for sums along an axis, and for what moves elements around.
        """
        moves = self.jacobian != 0
        return moves.argmax(0) if len(self.jacobian) and (moves.sum(0) == 1).all() else None

    @property
    def is_whole(self) -> bool:
        return len(self.chosen) == int(np.prod(self.shape))

    def whole(self, x: np.ndarray) -> np.ndarray:
        """(K, n) as (K, *shape)."""
        return x.reshape(len(x), *self.shape)

    def elementwise(self, x: np.ndarray) -> np.ndarray | None:
        """Values of any shape at the elements looked at, (n,), if they broadcast to the argument's shape."""
        try:
            return np.broadcast_to(x, self.shape).ravel()[self.chosen].astype(np.float64)
        except ValueError:
            return None

    def close(self, x: np.ndarray, y: np.ndarray) -> bool:
        """Equal in all digits but those that differences lose."""
        scale = max(np.abs(y).max(initial=0), np.abs(x).max(initial=0))
        error = 10 * (np.abs(self.cotangents) @ self.error).max(initial=0)
        return bool(np.abs(x - y).max(initial=0) <= 10 * self.eps**0.5 * scale + error)

    def worst(self) -> tuple[tuple[int, ...] | None, float, float, float]:
        """(index, analytic, numeric, its error) of the element that is off the most, for the first cotangent."""
        if not len(self.chosen):
            return None, float("nan"), float("nan"), 0.0
        gap = np.abs(self.analytic[0] - self.numeric[0])
        k = int(np.argmax(np.where(np.isfinite(gap), gap, np.inf)))
        index = tuple(int(i) for i in np.unravel_index(self.chosen[k], self.shape))
        error = float(np.abs(self.cotangents[0]) @ self.error[:, k])
        return index, float(self.analytic[0, k]), float(self.numeric[0, k]), error

    def name(self, j: int) -> str:
        """The name of argument j in the rule, or of this map's argument."""
        if j < len(self.names) and self.names[j]:
            return self.names[j]
        return self.map_.arguments[j].name if not self.names and j < len(self.map_.arguments) else f"argument {j + 1}"

    def factors(self) -> Iterator[tuple[str, np.ndarray]]:
        """(name, (n,) values) of what a rule is likely to multiply by: inputs, output, and simple functions of them."""
        named = [(self.name(j), self.elementwise(x)) for j, x in enumerate(self.others) if x.dtype.kind == "f"]
        if self.owner is not None and len(self.outputs) == 1:
            named.append(("out", self.outputs[0].ravel()[self.owner].astype(np.float64)))
        for name, at in named:
            if at is None or np.ptp(at) < 1e-6 * np.abs(at).max(
                initial=1e-300
            ):  # a constant is not recognised by its pattern
                continue
            with np.errstate(all="ignore"):
                for text, value in (
                    (name, at),
                    (f"{name}²", at**2),
                    (f"(1 - {name})", 1 - at),
                    (f"(1 + {name})", 1 + at),
                    (f"(1 - {name}²)", 1 - at**2),
                    (f"{name} (1 - {name})", at * (1 - at)),
                    (f"exp({name})", np.exp(at)),
                    (f"sqrt({name})", np.sqrt(at)),
                ):
                    if np.isfinite(value).all():
                        yield text, value
