"""Watching a step: which operators and derivative rules are called, in which order, on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import add, iadd
from typing import Any, NamedTuple

import numpy as np

from tinygen import engine, memory
from tinygen.autograd import accumulate
from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node, Op
from tinygen.layout import laid_out_like


class CannotReplay(RuntimeError):
    """Why a step is run as it is."""


class Slot(NamedTuple):
    """An array of the step: the number of the instruction that makes it."""

    number: int


class Leaf(NamedTuple):
    """The array of a tensor that outlives the step: a parameter, a buffer."""

    node: Node


class Value(NamedTuple):
    """Anything else, the same in every call."""

    value: Any


Operand = Slot | Leaf | Value


class Instruction(NamedTuple):
    """One line of the program: slot = function(operands, params); how exactly, says `kind` (see `_line`)."""

    kind: str
    function: Any
    operands: tuple[Operand, ...]
    params: Mapping[str, Any]
    slot: int
    name: str
    xp: Any


class Recorder:
    """Watches one call of a step, which runs as it would without it."""

    def __init__(self, arguments: list[Node]):
        self.instructions: list[Instruction] = []
        self.slots: dict[int, int] = {}  # id(array) -> slot
        self.alive: list[Any] = []  # so that no id is given twice
        self.made: set[int] = set()  # the tensors that the step has made
        self.leaves: list[Node] = []  # where gradients arrive
        self.reason = ""  # why the step cannot be replayed, if it cannot
        for x in arguments:
            self._slot(x.array)

    def __enter__(self) -> Recorder:
        self._previous = engine.watcher
        engine.watcher = memory.recorder = self
        return self

    def __exit__(self, *_: object) -> None:
        engine.watcher, memory.recorder = self._previous, None

    def refuse(self, reason: str) -> None:
        """Stop watching.  The step goes on as it would have."""
        self.reason = self.reason or reason
        self.__exit__()

    # What the engine tells

    def forward(self, op: Op, node: Node, inputs: Any, arrays: list, params: dict[str, Any], _line: Any) -> None:
        """An operator was called."""
        operands = tuple(self._operand(a, x) for a, x in zip(arrays, inputs, strict=True))
        self.made.add(id(node))
        if id(node.array) not in self.slots:  # else it handed an array on
            is_plain = node.array.dtype.char == "f" and node.array.ndim > 0
            self._emit("forward" if is_plain else "settled", op, operands, params, node.array, op.name)
        self.alive.append(node)

    def backward(self, *_: Any) -> None:
        """A rule was run on tensors, by operators that were seen one by one."""

    def drawn(self, draw: Callable[[], Any]) -> Any:
        """An array of random numbers, to be drawn anew in every call."""
        array = draw()
        self._emit("draw", draw, (Value(array.shape), Value(array.dtype)), {}, array, "random numbers")
        return array

    def constant(self, array: Any) -> None:
        """An array of numbers that are the same in every call."""
        self._emit("constant", array, (), {}, array, "constant")

    def call(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """What is called as a whole, whatever it does: an optimizer's step.  Arrays among its arguments and results are seen."""
        args = tuple(list(x) if isinstance(x, Iterator) else x for x in args)
        operands = tuple(self._operand(*((x.array, x) if isinstance(x, Node) else (x, None))) for x in args)
        with self._looking_away():
            result = function(*args, **kwargs)
        nodes = tuple(isinstance(x, Node) for x in args)
        several = isinstance(result, tuple)
        array = result.array if isinstance(result, Node) else result
        array = array if type(array) in ARRAY_MODULES else None
        name = getattr(function, "__qualname__", "a call")
        number = self._emit("call", (function, nodes, isinstance(result, Node)), operands, kwargs, array, name)
        for i, part in enumerate(result if several else ()):
            self._emit("part", i, (Slot(number),), {}, part, "part")
        return result

    def accumulate(self, leaf: Node, g: Any) -> None:
        """A gradient has arrived at a leaf: it is the first, or is added to what is there."""
        kind = "first gradient" if leaf.grad is None else "accumulate"
        self._emit(kind, leaf, (self._operand(g, None),), {}, None, "accumulate")
        self.leaves.append(leaf)
        with self._looking_away():
            accumulate(leaf, g)

    @contextmanager
    def _looking_away(self) -> Iterator[None]:
        engine.watcher, memory.recorder = self._previous, None
        try:
            yield
        finally:
            if not self.reason:
                engine.watcher = memory.recorder = self

    def changed(self, node: Node) -> None:
        """A tensor was changed in place."""
        self.refuse(f"it changes a tensor of shape {node.shape} in place")

    def looked_at(self, array: Any) -> None:
        """The program asks for the numbers in an array."""
        if id(array) in self.slots:
            self.refuse(
                "it looks at numbers that it computes, as .item() does; return the tensor, and look after the step"
            )

    def backpropagate(self, outputs: Any, cotangents: Any, targets: Any, release: bool) -> dict[int, tuple[Node, Any]]:
        """`engine.backpropagate` on arrays, and every call of a rule written down.  In the same order, with the same sums."""
        order = engine._newest_first(outputs)
        for node in order:
            if node.hooks is not None:
                self.refuse("a tensor has a hook on its gradient")
            elif node.edges is engine.RELEASED:
                self.refuse("it walks back through one graph twice")
            elif node.op is not None and type(node.op).at_once is not Op.at_once:
                self.refuse(f"{node.op.name} has a backward pass of its own")
        if self.reason:
            return engine.backpropagate(outputs, cotangents, targets, False, release)
        wanted = None if targets is None else {id(t) for t in targets}
        leading = None if wanted is None else engine._leading_to(wanted, order)
        needed = None if leading is None else leading.union(wanted or ())
        pending: dict[int, Any] = {}
        own: set[int] = set()
        found: dict[int, tuple[Node, Any]] = {}
        for node, g in zip(outputs, cotangents, strict=True):
            if id(g) not in self.slots:
                self.constant(g)
            pending[id(node)] = self._run("plain", add, pending[id(node)], g) if id(node) in pending else g
        for node in order:
            key = id(node)
            g = pending.pop(key, None)
            if g is None:
                continue
            if memory.last_change > node.time:
                memory.check_unchanged(node)
            if g.ndim > 2 and g.strides != node.array.strides:
                laid_out = laid_out_like(ARRAY_MODULES[type(g)], g, node.array)
                if laid_out is not g:
                    self._emit(
                        "layout",
                        None,
                        (self._operand(g, None), self._operand(node.array, node)),
                        {},
                        laid_out,
                        "layout",
                    )
                    g = laid_out
                    own.add(key)
            if (node.op is None) if wanted is None else (key in wanted):
                found[key] = (node, self._unaliased(g, key in own, node))
            if (node.op is None) if leading is None else (key not in leading):
                continue
            known = self._at_once(node, g, needed)
            for x, rule in node.edges:
                key = id(x)
                if needed is not None and key not in needed:
                    continue
                gx = known[rule] if rule in known else self._rule(node, rule, g)
                if gx.shape != x.array.shape:
                    gx = self._run("forward", engine.sum_to, gx, shape=x.array.shape)
                if gx.dtype != x.array.dtype:
                    gx = self._run("forward", engine.cast, gx, dtype=x.array.dtype)
                if key not in pending:
                    pending[key] = gx
                    if gx is not g and gx.base is None:
                        own.add(key)
                elif key in own:
                    pending[key] = self._run("plain", iadd, pending[key], gx)
                else:
                    pending[key] = self._run("plain", add, pending[key], gx)
                    own.add(key)
            if release:
                node.edges = engine.RELEASED
                self.alive += [node.inputs, node.arrays]
                node.inputs, node.arrays, node.params = (), engine.RELEASED, engine.NO_PARAMS
        return found

    # Writing down

    def _rule(self, node: Node, rule: Callable, g: Any) -> Any:
        gx = rule(g, node.array, *node.arrays, **node.params)
        if id(gx) not in self.slots:
            operands = (self._operand(g, None), *self._arguments(node))
            self._emit("plain", rule, operands, node.params, gx, f"the derivative of {_name(node)}")
        return gx

    def _at_once(self, node: Node, g: Any, needed: set[int] | None) -> dict[Any, Any]:
        op: Any = node.op
        if op.together is None:
            return engine.NOTHING
        known = engine._at_once(node, g, needed)
        if known:
            operands = (self._operand(g, None), *self._arguments(node))
            number = self._emit("together", op, operands, node.params, object(), f"the derivatives of {op.name}")
            for i, gx in enumerate(known.values()):
                self._emit("part", i, (Slot(number),), {}, gx, "part")
        return known

    def _arguments(self, node: Node) -> list[Operand]:
        """Of a rule, after g: the output and the inputs."""
        return [
            self._operand(node.array, node),
            *(self._operand(a, x) for a, x in zip(node.arrays, node.inputs, strict=True)),
        ]

    def _run(self, kind: str, function: Any, *arrays: Any, **params: Any) -> Any:
        out = (
            function.forward(ARRAY_MODULES[type(arrays[0])], *arrays, **params)
            if kind == "forward"
            else function(*arrays)
        )
        if id(out) not in self.slots or function is iadd:
            self._emit(kind, function, tuple(self._operand(a, None) for a in arrays), params, out, "a sum of gradients")
        return out

    def _unaliased(self, g: Any, is_own: bool, node: Node) -> Any:
        out = engine._unaliased(g, is_own, node)
        if out is not g:
            self._emit("unaliased", None, (self._operand(g, None),), {}, out, "copy")
        return out

    def _operand(self, array: Any, x: Any) -> Operand:
        slot = self.slots.get(id(array))
        if slot is not None:
            return Slot(slot)
        if isinstance(x, Node) and id(x) not in self.made:
            self.alive.append(x)
            return Leaf(x)
        return Value(array)

    def _slot(self, array: Any) -> int:
        number = len(self.alive)
        self.alive.append(array)
        if array is not None:  # a line without a result; None is one thing everywhere
            self.slots[id(array)] = number
        return number

    def _emit(self, kind: str, function: Any, operands: tuple, params: Mapping, result: Any, name: str) -> int:
        for value in params.values():
            if any(id(part) in self.slots for part in _parts(value)):
                self.refuse(f"{name} has a computed tensor among its options")
        libraries = (ARRAY_MODULES.get(type(self._array(x))) for x in operands)
        xp = next((library for library in libraries if library is not None), np)
        number = self._slot(result)
        self.instructions.append(Instruction(kind, function, operands, dict(params), number, name, xp))
        return number

    def _array(self, operand: Operand) -> Any:
        if isinstance(operand, Slot):
            return self.alive[operand.number]
        return operand.node.array if isinstance(operand, Leaf) else operand.value

    def output(self, value: Any) -> Any:
        """What the step returns, with operands in place of tensors."""
        if isinstance(value, Node):
            return self._operand(value.array, value)
        if isinstance(value, tuple | list):
            return type(value)(self.output(v) for v in value)
        if isinstance(value, Mapping):
            return {key: self.output(v) for key, v in value.items()}
        return Value(value)


def _parts(value: Any) -> Any:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _parts(part)
    elif isinstance(value, Node):
        yield value.array
    elif type(value) in ARRAY_MODULES:
        yield value


def _name(node: Node) -> str:
    return node.op.name if node.op else "?"
