"""A recording written down as a Python function: one line per call of an operator or a rule."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from typing import Any

from tinygen import engine
from tinygen.autograd import accumulate
from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node, constant
from tinygen.layout import laid_out_like
from tinygen.memory import clock, share_memory
from tinygen.promotion import settle
from tinygen.replay.instructions import OPERANDS, Argument, Instruction, Leaf, Operand, Returned, Slot
from tinygen.replay.recorder import Recorder
from tinygen.replay.values import rebuilt


class Program:
    """The recorded step as a Python function; `source` is its text."""

    source: str

    def __init__(self, recorder: Recorder, arguments: int, returned: Any):
        self._names: dict[str, Any] = {
            "settle": settle,
            "laid_out_like": laid_out_like,
            "accumulate": accumulate,
            "constant": constant,
        }
        self._bound: dict[int, str] = {}  # id(object) -> its name in the program
        self._returned = returned
        found: list[Returned] = []
        rebuilt(returned, lambda x: found.append(x) if isinstance(x, Returned) else None, OPERANDS)
        results = [x.slot for x in found]
        self._constant = {f"s{x.slot.number}" for x in found if x.copy}
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
        lines = self._lines(enumerate(recorder.instructions))
        returned = [self._copy(s, recorder) if s in self._constant else s for s in results]
        self.source = self._function("replay", arguments, lines, returned)
        exec(builtins.compile(self.source, "<replayed step>", "exec"), self._names)
        self._replay = self._names["replay"]

    def _copy(self, slot: str, recorder: Recorder) -> str:
        """The text of a copy, for what the program itself is to keep."""
        return f"{self._bind(ARRAY_MODULES[type(recorder.alive[int(slot[1:])])])}.array({slot}, order='K')"

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

    def __call__(self, tensors: Sequence[Node]) -> Any:
        """What the step returns when it is called with these tensors."""
        results = iter(self._replay(*[x.array for x in tensors]))

        def result(x: Any) -> Any:
            if type(x) is Returned:
                return _tensor(next(results), x, tensors)
            if type(x) is Argument:
                return tensors[x.number]
            return x.node if type(x) is Leaf else x.value

        return rebuilt(self._returned, result, OPERANDS)

    def _line(self, instruction: Instruction) -> list[str]:
        kind, function, operands, params, slot, _, library = instruction
        out, args = f"s{slot}", [self._text(x) for x in operands]
        options = [f"{key}={self._bind(value)}" for key, value in params.items()]
        inside = ", ".join(args + options)
        xp = self._bind(library)
        if kind == "constant":
            self._names[out] = ARRAY_MODULES[type(function)].array(function, order="K")  # the step may have returned it
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
        if kind == "attribute":
            owner, attribute = function
            return [f"{self._bind(vars(owner))}[{self._bind(attribute)}] = constant({args[0]})"]
        if kind == "alias":
            return [f"{out} = {args[0]}"]
        if kind == "first gradient":
            return [f"{self._bind(function)}._grad = constant({args[0]})"]  # past the checks of what users assign
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


def _tensor(array: Any, x: Returned, tensors: Any) -> Node:
    """A returned tensor with this array, as the step would have left it."""
    out = constant(array)
    if x.op is not None:
        out.requires_grad, out.op, out.edges, out.time = True, x.op, engine.RELEASED, next(clock)  # type: ignore[assignment]
        out.inputs, out.arrays, out.params = (), engine.RELEASED, engine.NO_PARAMS
    if x.shares is not None:
        share_memory(tensors[x.shares.number] if isinstance(x.shares, Argument) else x.shares.node, out)
    return out
