"""Writing down what a step does, as a list of instructions on numbered arrays; and the walk back, written down as it goes."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from functools import wraps
from operator import add, iadd
from typing import Any

import numpy as np

from tinygen import engine, memory
from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node, Op
from tinygen.layout import laid_out_like
from tinygen.replay.calls import Calls
from tinygen.replay.instructions import Instruction, Leaf, Operand, Slot, Value


def unseen(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose own calls of functions are not looked at: there are many."""

    @wraps(method)
    def wrapper(self: Writer, *args: Any) -> Any:
        if memory.here.recorder is not self:  # called by another thread
            return None
        self.calls.pause()
        try:
            return method(self, *args)
        finally:
            if memory.here.recorder is self:
                self.calls.go_on()

    return wrapper


class Writer:
    """The instructions so far, and the arrays that they have made."""

    calls: Calls

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.slots: dict[int, int] = {}  # id(array) -> slot
        self.alive: list[Any] = []  # so that no id is given twice
        self.made: set[int] = set()  # the tensors that the step has made
        self.leaves: dict[int, Node] = {}  # the tensors that outlive the step, by id
        self.reason = ""  # why the step cannot be replayed, if it cannot
        self.constants: set[int] = set()  # the slots of arrays that are the same in every call
        self._detached: dict[int, Node] = {}  # id(x.detach()) -> x

    def refuse(self, reason: str) -> None:
        """Stop watching.  The step goes on as it would have."""
        raise NotImplementedError

    def constant(self, array: Any) -> None:
        """An array of numbers that are the same in every call."""
        self.constants.add(self._emit("constant", array, (), {}, array, "constant"))

    @unseen
    def backpropagate(self, outputs: Any, cotangents: Any, targets: Any, release: bool) -> dict[int, tuple[Node, Any]]:
        """`engine.backpropagate` on arrays, and every call of a rule written down.  In the same order, with the same sums."""
        order = engine._newest_first(outputs)
        for node in order:
            if node.hooks:
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

    def _rule(self, node: Node, rule: Callable[..., Any], g: Any) -> Any:
        gx = rule(g, node.array, *node.arrays, **node.params)
        if id(gx) not in self.slots:
            operands = (self._operand(g, None), *self._of_rule(node))
            self._emit("plain", rule, operands, node.params, gx, f"the derivative of {_name(node)}")
        return gx

    def _at_once(self, node: Node, g: Any, needed: set[int] | None) -> dict[Any, Any]:
        op: Any = node.op
        if op.together is None:
            return engine.NOTHING
        known = engine._at_once(node, g, needed)
        if known:
            operands = (self._operand(g, None), *self._of_rule(node))
            number = self._emit("together", op, operands, node.params, object(), f"the derivatives of {op.name}")
            for i, gx in enumerate(known.values()):
                self._emit("part", i, (Slot(number),), {}, gx, "part")
        return known

    def _of_rule(self, node: Node) -> list[Operand]:
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
            return Leaf(self._use(self._detached.get(id(x), x)))
        return Value(array)

    def _use(self, leaf: Node) -> Node:
        self.leaves[id(leaf)] = leaf
        return leaf

    def _slot(self, array: Any) -> int:
        number = len(self.alive)
        self.alive.append(array)
        if array is not None:  # a line without a result; None is one thing everywhere
            self.slots[id(array)] = number
        return number

    def _emit(
        self, kind: str, function: Any, operands: tuple[Any, ...], params: Mapping[str, Any], result: Any, name: str
    ) -> int:
        for key, value in params.items():
            if any(id(part) in self.slots for part in parts(value)):
                self.refuse(f"{name} has a computed tensor among its options")
            if not key.isidentifier() or keyword.iskeyword(key):
                self.refuse(f"{name} has an option named {key!r:.40}, which is not an identifier")
        libraries = (ARRAY_MODULES.get(type(self._array(x))) for x in operands)
        xp = next((library for library in libraries if library is not None), np)
        number = self._slot(result)
        self.instructions.append(Instruction(kind, function, operands, dict(params), number, name, xp))
        return number

    def _array(self, operand: Operand) -> Any:
        if isinstance(operand, Slot):
            return self.alive[operand.number]
        return operand.node.array if isinstance(operand, Leaf) else operand.value


def parts(value: Any) -> Any:
    if isinstance(value, tuple | list | set):
        for part in value:
            yield from parts(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from parts(part)
    elif isinstance(value, Node):
        yield value.array
    elif type(value) in ARRAY_MODULES:
        yield value


def _name(node: Node) -> str:
    return node.op.name if node.op else "?"
