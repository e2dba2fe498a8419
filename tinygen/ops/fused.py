"""Operators that a GPU runs as one kernel each: the value, and every rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen.backend import ARRAY_MODULES, fuse, on_fusing
from tinygen.backend.registry import FUSING
from tinygen.engine import Op, Rule
from tinygen.memory import values_read


class Fused(Op):
    """An operator whose value and whose rules are made of elementwise steps only, as `backend.fuse` wants them.

        softsign = Fused(lambda xp, x: x / (1 + xp.abs(x)),   lambda g, out, x: g / square(1 + abs(x)))

    Its parameters are constants of the kernels.  A rule that is to be differentiated again runs as it is written, and so does
    everything on the CPU: as long as no other library was loaded, the functions are those of the table, not even wrapped.

    fuse_value: False if the value is no elementwise function, as a sum; the rules are.
    """

    __slots__ = ("_fuse_value",)
    forward: FusedValue
    rules: tuple[FusedRule | None, ...]

    def __init__(self, forward: Callable[..., Any], *rules: Rule | None, fuse_value: bool = True, **how: Any):
        super().__init__(forward, *rules, **how)
        self._fuse_value = fuse_value
        if FUSING:
            self._fuse()
        else:
            on_fusing.append(self._fuse)

    def _fuse(self) -> None:
        if self._fuse_value:
            self.forward = FusedValue(self.forward, self)
        self.rules = tuple(rule and FusedRule(rule, self) for rule in self.rules)


class FusedValue(fuse):
    """The value, a kernel with the name of the operator."""

    def __init__(self, function: Callable[..., Any], op: Op):
        super().__init__(function)
        self.op = op

    @property
    def name(self) -> str:
        return self.op.name


class FusedRule(FusedValue):
    """A rule, which is handed no xp.  What it does not read, by the names of its arguments, is no argument of the kernel."""

    def __init__(self, rule: Rule, op: Op):
        super().__init__(rule, op)
        self._read: dict[int, set[int]] = {}  # number of inputs -> what is read of the output (0) and the inputs
        for name in ("__code__", "__closure__", "__globals__"):  # memory.py and rules.py look at it like at the rule
            setattr(self, name, getattr(rule, name))

    @property
    def name(self) -> str:
        return f"{self.op.name}_rule"

    def __call__(self, g: Any, /, *arguments: Any, **params: Any) -> Any:
        backend = FUSING.get(ARRAY_MODULES.get(type(g), np))
        if backend is None or type(g) is not backend.array_type:  # NumPy's, a tensor's, or a stand-in of the tracer
            return self.function(g, *arguments, **params)
        n = len(arguments) - 1
        if n not in self._read:
            self._read[n] = {position for position, _ in values_read(self.function, n)}
        read = self._read[n]
        used = [x if i in read else None for i, x in enumerate(arguments)]
        return self.kernel(backend.xp, self.function, params)(g, *used)
