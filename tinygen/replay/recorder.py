"""Watching a step: which operators and derivative rules are called, in which order, on what."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygen import engine, memory
from tinygen.autograd import accumulate
from tinygen.backend import ARRAY_MODULES, Device, Generator, default_generator
from tinygen.engine import Node, Op
from tinygen.replay.calls import Calls
from tinygen.replay.instructions import (
    Argument,
    CannotReplay,
    Instruction,
    Leaf,
    Returned,
    Slot,
    Value,
    digest,
    let_go,
)
from tinygen.replay.surroundings import changed, snapshot
from tinygen.replay.values import plain, rebuilt
from tinygen.replay.writer import Writer, parts, unseen

DREW = "it draws random numbers, or seeds a generator, in a way that a replay would not"


class Recorder(Writer):
    """Watches one call of a step, which runs as it would without it.

    arguments: the tensors handed to the step.
    roots: the step and the objects that were handed to it.
    began: the recording before, if there is one: its leaves and generators are looked at as the step begins.
    """

    reason: str
    alive: list[Any]
    slots: dict[int, int]
    instructions: list[Instruction]
    leaves: dict[int, Node]

    def __init__(self, arguments: Sequence[Node], roots: Sequence[Any] = (), began: Recorder | None = None):
        super().__init__()
        self.trained: dict[int, Node] = {}  # where gradients arrive
        self.is_effect: bool = False  # whether that is an effect on Python objects, which may happen once only
        self.set_attributes: dict[tuple[int, str], tuple[Any, str, Node]] = {}  # the last value
        self.calls: Calls = Calls(self.refuse)
        self.roots: list[Any] = [*roots, *(began.calls.modules.values() if began else ())]
        self.began = began
        self._arguments = list(arguments)
        self._streams: dict[int, tuple[Generator, Any]] = {}  # the generators, and where they should be
        self._known = dict(began.leaves) if began else {}  # leaves whose gradients are watched,
        self._grads = {key: x.grad for key, x in self._known.items()}  # and what they should be
        self.cleared: list[Node] = [x for x in self._known.values() if x.requires_grad and x.grad is None]
        for x in arguments:
            self._slot(x.array)

    def __enter__(self) -> Recorder:
        self._mode = engine.is_grad_enabled()
        generators = (
            [default_generator(Device("cpu")), *(g for g, _ in self.began._streams.values())] if self.began else []
        )
        for generator in generators:
            self._streams[id(generator)] = generator, generator.get_state()
        self._around = snapshot(self.roots)
        memory.here.recorder = self
        engine.watch(self)
        self.calls.start()
        return self

    def __exit__(self, kind: Any = None, *_: object) -> None:
        if memory.here.recorder is self:
            self._stop()
        if kind is None and not self.reason:
            self._check_end()
        self._around = {}

    def _stop(self) -> None:
        self.calls.stop()
        engine.unwatch(self)
        memory.here.recorder = None

    def refuse(self, reason: str) -> None:
        """Stop watching.  The step goes on as it would have."""
        self.reason = self.reason or reason
        if memory.here.recorder is self:
            self._stop()

    def _check_end(self) -> None:
        """What the step has changed that a replay would not change."""
        if engine.is_grad_enabled() is not self._mode:
            return self.refuse("it switches the recording of gradients on or off, and leaves it so")
        for generator, state in self._streams.values():
            if not _same_state(generator.get_state(), state):
                return self.refuse(DREW)
        self._check_grads(at_end=True)
        self._changes(changed(self._around, snapshot(self.roots), self.set_attributes))
        for owner, name, _ in self.set_attributes.values():
            if vars(owner)[name].requires_grad:
                return self.refuse(
                    f"it leaves a tensor with a graph in the attribute {name!r} of {type(owner).__name__}"
                )
        for leaf in self.leaves.values():
            if leaf.requires_grad and leaf.op is not None:
                return self.refuse(
                    f"it uses a tensor of shape {leaf.shape} that still has the graph of another computation"
                )
            if leaf.hooks:
                return self.refuse("a tensor has a hook on its gradient")

    def _check_grads(self, at_end: bool = False) -> None:
        """Refuse if gradients of leaves are others than they were left.  Cleared ones may just not have arrived yet."""
        for key, leaf in self._known.items():
            if leaf.grad is not self._grads[key] and (at_end or leaf.grad is not None or key in self.trained):
                self.refuse(f"it sets the .grad of a tensor of shape {leaf.shape} itself")

    def _changes(self, name: str) -> None:
        if name:
            self._effect(f"it changes {name}")

    def _effect(self, reason: str) -> None:
        self.is_effect = not self.reason
        self.refuse(f"{reason}, which a replay would not do; do it outside of the step")

    def let_go(self) -> None:
        """Forget all arrays: what is left says what was called on what."""
        self.alive, self.slots, self._arguments, self._detached, self._grads, self._known = [], {}, [], {}, {}, {}
        self.began, self.roots, self._around, self.set_attributes = None, [], {}, {}
        self.instructions = [
            Instruction(
                x.kind,
                digest(x.function) if x.kind == "constant" else let_go(x.function),
                let_go(x.operands),
                let_go(x.params),
                *x[4:],
            )
            for x in self.instructions
        ]
        nodes = [weakref.ref(x) for x in self.leaves.values()]
        self.leaves, self.trained = {}, {}
        self.leaves = {id(x): x for ref in nodes if (x := ref()) is not None}

    # What the engine tells

    @unseen
    def forward(self, op: Op, node: Node, inputs: Any, arrays: list[Any], params: dict[str, Any], _line: Any) -> None:
        """An operator was called."""
        operands = tuple(self._operand(a, x) for a, x in zip(arrays, inputs, strict=True))
        self.made.add(id(node))
        if id(node.array) not in self.slots:  # else it handed an array on
            is_plain = node.array.dtype.char == "f" and node.array.ndim > 0 and _is_float32(arrays, params)
            self._emit("forward" if is_plain else "settled", op, operands, params, node.array, op.name)
        self.alive.append(node)

    def backward(self, *_: Any) -> None:
        """A rule was run on tensors, by operators that were seen one by one."""

    def drawn(self, draw: Callable[[], Any]) -> Any:
        """An array of random numbers, to be drawn anew in every call."""
        for g in draw_from(draw):
            if id(g) in self._streams and not _same_state(g.get_state(), self._streams[id(g)][1]):
                self.refuse(DREW)
        array = draw()
        for g in draw_from(draw):
            self._streams[id(g)] = g, g.get_state()
        if self.reason:
            return array
        self._emit("draw", draw, (Value(array.shape), Value(array.dtype)), {}, array, "random numbers")
        return array

    def copied(self, copy: Callable[..., Any], source: Any, dtype: Any, device: Any) -> Any:
        """A copy of a tensor or an array was made."""
        array = source.array if isinstance(source, Node) else source
        operand = self._operand(array, source)
        out = copy(array, dtype, device)
        self._emit("plain", copy, (operand,), {"dtype": dtype, "device": device}, out, "tensor")
        return out

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        """An attribute of a module is set."""
        old = vars(owner).get(name)
        if isinstance(value, Node) and id(value.array) in self.slots:
            self.set_attributes[id(owner), name] = owner, name, value
            self.alive.append(value)
        elif name != "training" and value is not old and (plain(value) is None or plain(value) != plain(old)):
            self._effect(f"it sets the attribute {name!r} of {type(owner).__name__}")

    def detached(self, x: Node, view: Node) -> None:
        """view = x.detach(), the same array."""
        self._detached[id(view)] = self._detached.get(id(x), x)
        self.alive += [x, view]

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What is called as a whole, whatever it does: an optimizer's step.  Arrays among its arguments and results are seen."""
        name = getattr(function, "__qualname__", "a call")
        args = tuple(list(x) if isinstance(x, Iterator) else x for x in args)
        self._check_grads()
        has_effects = not getattr(function, "on_device", False)
        if has_effects and not self.reason:
            with self._looking_away():
                name_of_effect = changed(self._around, snapshot(self.roots), self.set_attributes)
            self._changes(name_of_effect)
        if any(id(a) in self.slots for x in args if not isinstance(x, Node) for a in parts(x)):
            self.refuse(f"{name} is called with a list of computed tensors")
        if self.reason:
            return function(*args, **kwargs)
        operands = tuple(self._operand(*((x.array, x) if isinstance(x, Node) else (x, None))) for x in args)
        before = {key: leaf.grad for key, leaf in self._known.items()}
        with self._looking_away():
            result = function(*args, **kwargs)
            if has_effects:
                self._around = snapshot(self.roots)
        for key, leaf in self._known.items():
            if leaf.grad is not before[key]:
                self._grads[key] = leaf.grad
        nodes = tuple(isinstance(x, Node) for x in args)
        several = isinstance(result, tuple)
        array = result.array if isinstance(result, Node) else result
        array = array if type(array) in ARRAY_MODULES else None
        if not (result is None or array is not None or several and all(type(x) in ARRAY_MODULES for x in result)):
            self.refuse(f"{name} returns something that is neither a tensor nor an array")
            return result
        number = self._emit("call", (function, nodes, isinstance(result, Node)), operands, kwargs, array, name)
        for i, part in enumerate(result if several else ()):
            self._emit("part", i, (Slot(number),), {}, part, "part")
        return result

    def accumulate(self, leaf: Node, g: Any) -> None:
        """A gradient has arrived at a leaf: it is the first, or is added to what is there."""
        known = self._grads.get(id(leaf), leaf.grad)
        if isinstance(g, Node) or leaf.grad is not None and leaf.grad.requires_grad:
            self.refuse("backward(create_graph=True) leaves gradients that have a graph; use grad()")
        elif leaf.grad is not None and leaf.grad is not known:
            self._check_grads()
        if self.reason:
            return accumulate(leaf, g)
        self._use(leaf)
        self.trained[id(leaf)] = leaf
        kind = "first gradient" if leaf.grad is None else "accumulate"
        self._emit(kind, leaf, (self._operand(g, None),), {}, None, "accumulate")
        with self._looking_away():
            accumulate(leaf, g)
        self._known[id(leaf)], self._grads[id(leaf)] = leaf, leaf.grad

    @contextmanager
    def _looking_away(self) -> Iterator[None]:
        engine.unwatch(self)
        memory.here.recorder = None
        self.calls.pause()
        try:
            yield
        finally:
            memory.here.recorder = self
            engine.watch(self)
            self.calls.go_on()

    def changed(self, node: Node) -> None:
        """A tensor was changed in place."""
        self.refuse(f"it changes a tensor of shape {node.shape} in place")

    def looked_at(self, array: Any) -> None:
        """The program asks for the numbers in an array."""
        if id(array) in self.slots:
            self.refuse(
                "it looks at numbers that it computes, as .item() does; return the tensor, and look after the step"
            )

    def output(self, value: Any) -> Any:
        """What the step returns, with operands in place of tensors.  Last of all, attributes get what they hold in the end."""
        for owner, name, x in self.set_attributes.values():
            self._emit("attribute", (owner, name), (self._operand(x.array, x),), {}, None, name)
        return rebuilt(value, self._returned)

    def _returned(self, x: Any) -> Any:
        if not isinstance(x, Node):
            return Value(x)
        for i, argument in enumerate(self._arguments):
            if x is argument:
                return Argument(i)
        if id(x) in self.leaves:
            return Leaf(x)
        if x.requires_grad and not _is_released(x):
            raise CannotReplay(
                "it returns a tensor with a graph, through which gradients could flow to what it was computed from; "
                "call backward() inside, or return it detached"
            )
        operand = self._operand(x.array, x)
        if isinstance(operand, Leaf) and id(x) in self._detached:
            operand = Slot(self._emit("alias", None, (operand,), {}, x.array, "detach"))
        if isinstance(operand, Leaf) and operand.node is x:
            return operand
        if not isinstance(operand, Slot):
            raise CannotReplay("it returns a tensor that no operator made, and that is not the same every time")
        return Returned(operand, x.op if x.requires_grad else None, self._owner(x), self._is_constant(operand))

    def _owner(self, x: Node) -> Argument | Leaf | None:
        """Of the memory that a returned tensor may be a view of."""
        if x.memory is None:
            return None
        for i, a in enumerate(self._arguments):
            if a.memory is x.memory:
                return Argument(i)
        return next((Leaf(a) for a in self.leaves.values() if a.memory is x.memory), None)

    def _is_constant(self, slot: Slot) -> bool:
        """Whether this is one of the program's constants, or a view of one."""
        by_slot = {x.slot: x for x in self.instructions}
        while slot.number in by_slot and by_slot[slot.number].kind in ("forward", "settled"):
            made = by_slot[slot.number]
            if not made.function.view or not isinstance(made.operands[0], Slot):
                return False
            slot = made.operands[0]
        return slot.number in self.constants


def _is_released(node: Node) -> bool:
    """Whether every way back through the graph ends where backward() has let go of it."""
    stack = [node]
    while stack:
        x = stack.pop()
        if x.edges is engine.RELEASED:
            continue
        if x.op is None:
            return False
        stack += [y for y, _ in x.edges]
    return True


def _is_float32(arrays: Sequence[Any], params: Mapping[str, Any]) -> bool:
    """Whether NumPy itself computes float32 from these, so that `settle` has nothing to do."""
    given = [x for x in (*arrays, *params.values()) if hasattr(x, "dtype")]
    return all(x.dtype.char in "f?" and not isinstance(x, np.generic) for x in given)


def draw_from(draw: Any) -> list[Generator]:
    """The generators that a draw uses."""
    given = (getattr(getattr(draw, "func", None), "__self__", None), *getattr(draw, "args", ()))
    return [x for x in given if isinstance(x, Generator)]


def _same_state(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same_state(a[key], b[key]) for key in a)
    return bool((a == b).all()) if type(a) in ARRAY_MODULES else a == b
