"""A recording written down as a Python function: one line per call of an operator or a rule."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

from tinygen.autograd import accumulate
from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node, constant
from tinygen.layout import laid_out_like
from tinygen.promotion import settle
from tinygen.replay.recorder import CannotReplay, Instruction, Leaf, Operand, Recorder, Slot, Value


class Program:
    """The recorded step as a Python function; `source` is its text."""

    def __init__(self, recorder: Recorder, arguments: int, returned: Any):
        self._names: dict[str, Any] = {
            "settle": settle,
            "laid_out_like": laid_out_like,
            "accumulate": accumulate,
            "constant": constant,
        }
        self._bound: dict[int, str] = {}  # id(object) -> its name in the program
        self._returned = returned
        results = [x for x in _flat(returned) if isinstance(x, Slot)]
        last = {
            x.number: i
            for i, instruction in enumerate(recorder.instructions)
            for x in instruction.operands
            if isinstance(x, Slot)
        }
        for x in results:
            last.pop(x.number, None)
        dying: dict[int, list[str]] = {}
        for number, i in last.items():
            dying.setdefault(i, []).append(f"s{number}")
        self._dying = dying
        self._write(recorder, [f"s{i}" for i in range(arguments)], [f"s{x.number}" for x in results])

    def _write(self, recorder: Recorder, arguments: list[str], results: list[str]) -> None:
        """Set `source`, and the function that it defines."""
        self.source = self._function("replay", arguments, self._lines(enumerate(recorder.instructions)), results)
        exec(builtins.compile(self.source, "<replayed step>", "exec"), self._names)
        self._replay = self._names["replay"]

    def _lines(self, instructions: Iterable[tuple[int, Instruction]]) -> list[str]:
        """Of numbered instructions.  Arrays are let go of after their last use."""
        lines = []
        for i, instruction in instructions:
            lines += self._line(instruction)
            if names := [name for name in self._dying.get(i, ()) if name not in self._names]:
                lines.append(f"del {', '.join(names)}")
        return lines

    @staticmethod
    def _function(name: str, arguments: Iterable[str], lines: Iterable[str], results: Iterable[str]) -> str:
        tail = "".join(f"{x}, " for x in results)
        return "\n    ".join([f"def {name}({', '.join(arguments)}):", *lines, f"return ({tail})"])

    def __call__(self, *arrays: Any) -> Any:
        results = iter(self._replay(*arrays))
        return _rebuilt(self._returned, results)

    def _line(self, instruction: Instruction) -> list[str]:
        kind, function, operands, params, slot, _, library = instruction
        out, args = f"s{slot}", [self._text(x) for x in operands]
        options = [f"{key}={self._bind(value)}" for key, value in params.items()]
        inside = ", ".join(args + options)
        xp = self._bind(library)
        if kind == "constant":
            self._names[out] = function
            return []
        if kind == "forward":
            return [f"{out} = {self._bind(function.forward)}({', '.join([xp, *args, *options])})"]
        if kind == "settled":
            arrays = "(" + "".join(f"{a}, " for a in args) + ")"
            raw = f"{self._bind(function.forward)}({', '.join([xp, *args, *options])})"
            return [f"{out} = settle({xp}, {raw}, {self._bind(function)}, {arrays}, {arrays}, {self._bind(params)})"]
        if kind == "plain":
            return [f"{out} = {self._bind(function)}({inside})"]
        if kind == "draw":
            return [f"{out} = {self._bind(function)}()"]
        if kind == "layout":
            return [f"{out} = laid_out_like({xp}, {inside})"]
        if kind == "together":
            return [f"{out} = {self._bind(function.together)}({xp}, {inside})"]
        if kind == "part":
            return [f"{out} = {args[0]}[{function}]"]
        if kind == "unaliased":
            return [f"{out} = {xp}.array({args[0]}, order='K')"]
        if kind == "first gradient":  # one tensor, from call to call
            leaf, grad = self._bind(function), self._bind(constant(function.array))
            return [f"{leaf}.grad = {grad}; {grad}.array = {args[0]}"]
        if kind == "accumulate":
            return [f"accumulate({self._bind(function)}, {args[0]})"]
        call, nodes, returns_node = function
        tensors = [
            (self._bind(x.node) if isinstance(x, Leaf) else f"constant({a})") if is_node else a
            for x, a, is_node in zip(operands, args, nodes, strict=True)
        ]
        return [f"{out} = {self._bind(call)}({', '.join(tensors + options)}){'.array' * returns_node}"]

    def _text(self, operand: Operand) -> str:
        if isinstance(operand, Slot):
            return f"s{operand.number}"
        return f"{self._bind(operand.node)}.array" if isinstance(operand, Leaf) else self._bind(operand.value)

    def _bind(self, value: Any) -> str:
        """A name for something that is the same in every call."""
        if value is None or type(value) in (bool, int):
            return repr(value)
        if id(value) not in self._bound:
            name = self._bound[id(value)] = f"c{len(self._bound)}"
            self._names[name] = value
        return self._bound[id(value)]


def _flat(returned: Any) -> Any:
    if isinstance(returned, tuple | list) and not isinstance(returned, Slot | Leaf | Value):
        for part in returned:
            yield from _flat(part)
    elif isinstance(returned, dict):
        yield from _flat(list(returned.values()))
    else:
        yield returned


def _rebuilt(returned: Any, arrays: Any) -> Any:
    if isinstance(returned, Slot):
        return constant(next(arrays))
    if isinstance(returned, Leaf):
        return returned.node
    if isinstance(returned, Value):
        return returned.value
    if isinstance(returned, dict):
        return {key: _rebuilt(value, arrays) for key, value in returned.items()}
    return type(returned)(_rebuilt(value, arrays) for value in returned)


def compare(first: Recorder, second: Recorder) -> None:
    """Raises CannotReplay, naming the first operator at which they differ."""
    for a, b in zip(first.instructions, second.instructions):
        same = (
            (a.kind == b.kind or a.kind == "first gradient")
            and a.slot == b.slot
            and len(a.operands) == len(b.operands)
            and a.params.keys() == b.params.keys()
        )
        if a.kind == "constant":
            same = same and _equal(a.function, b.function)
        elif a.kind != "draw":
            same = same and (a.function is b.function or a.function == b.function)
        if not same:
            raise CannotReplay(f"it does not call the same operators every time: {a.name} at first, then {b.name}")
        pairs = [*zip(a.operands, b.operands), *((Value(a.params[key]), Value(b.params[key])) for key in a.params)]
        for x, y in pairs:
            if isinstance(x, Leaf) and isinstance(y, Leaf) and x.node is y.node or isinstance(x, Slot) and x == y:
                continue
            if not (isinstance(x, Value) and isinstance(y, Value) and is_same(x.value, y.value)):
                raise CannotReplay(
                    f"{a.name} is called with something that is not the same every time and was not made by an operator"
                )
    if len(first.instructions) != len(second.instructions):
        raise CannotReplay(
            "it does not call the same operators every time: there are more of them in one call than in the other"
        )


def is_same(x: Any, y: Any) -> bool:
    """Whether both are one thing, or equal Python values."""
    if x is y:
        return True
    if isinstance(x, tuple | list):
        return type(x) is type(y) and len(x) == len(y) and all(map(is_same, x, y))
    if type(x) in ARRAY_MODULES or isinstance(x, Node) or type(x) is not type(y):
        return False
    try:
        return bool(x == y)
    except Exception:
        return False


def _equal(x: Any, y: Any) -> bool:
    """Whether two arrays hold the same numbers."""
    return (
        type(x) is type(y)
        and x.shape == y.shape
        and x.dtype == y.dtype
        and bool((x == y).all() or x.tobytes() == y.tobytes())
    )
