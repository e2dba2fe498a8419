"""A recorded step as a few CUDA graphs: the GPU is handed hundreds of kernels at once, instead of one after the other.

Starting a kernel takes the host some microseconds, and many kernels take the GPU less than that: it waits for the host.  So the
lines of a program (see program.py) that do nothing but hand work to the GPU are captured, in as long runs as they come, and
launched as a whole.  What has to run on the host every time stands between them: an optimizer's step, whose numbers change,
and whatever else is called as a whole.

A graph reads and writes the same memory in every launch.  So what comes in is copied to where the graph reads it, and what the
step returns is copied from where it writes; but `p.grad` is the graph's own array, and the next call overwrites it.  Parameters
and buffers are read where they lay at the capture; if one lies elsewhere, the run is captured anew.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from tinygen.backend import ARRAY_MODULES, Array, Backend, Generator, backend_of
from tinygen.backend.base import Graph
from tinygen.engine import Node
from tinygen.replay.instructions import Instruction, Leaf, Slot
from tinygen.replay.program import Program
from tinygen.replay.recorder import Recorder

ON_HOST = ("constant", "alias", "attribute", "first gradient", "accumulate")
"""Kinds of lines that are no work for the device, or work on arrays that the program does not know."""
WORTH = 2
"""So many lines, at least, are worth a graph."""


def write(recorder: Recorder, arguments: int, returned: Any) -> Program:
    """The program of a recording: with graphs, if its arrays are where there are such."""
    backends = {id(b): b for x in recorder.alive if type(x) in ARRAY_MODULES and (b := backend_of(x))}
    capturing = [b for b in backends.values() if b.graph() is not None]
    if not capturing:
        return Program(recorder, arguments, returned)
    return GraphProgram(recorder, arguments, returned, capturing[0])


class Run:
    """Neighbouring lines of a program as one function of arrays; called, it does what the function does.

    The first call runs the function as it is, and so makes everything ready; the second one captures it; from then on its graph
    is launched.

    static: for every argument, whether another run returns it.
    leaves: the tensors whose arrays it reads besides.
    """

    def __init__(self, function: Callable[..., Any], static: list[bool], leaves: list[Node], backend: Backend):
        self.function = function
        self.static = static
        self.leaves = leaves
        self.backend = backend
        self.graph: Graph | None = None
        self.results: tuple[Array, ...] | None = None  # where the graph writes
        self.reason: str = ""  # why there is no graph, if there cannot be one
        self._inputs: list[Array] = []  # where the graph reads
        self._read: list[Array] = []  # the arrays of the leaves

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        if self.reason:
            return self.function(*arrays)
        here = [leaf.array for leaf in self.leaves]
        if self.graph is None or any(a is not b for a, b in zip(here, self._read)):
            graph = self.backend.graph()
            assert graph is not None
            self.graph, self.results, self._read = graph, None, here
            return graph.run(lambda: self.function(*self._own(arrays)))
        if self.results is None and not self._capture(arrays):
            return self.function(*arrays)
        assert self.results is not None
        for own, x in zip(self._inputs, arrays):
            if own is not x:
                own[...] = x
        self.graph.launch()
        return self.results

    def _own(self, arrays: tuple[Array, ...]) -> list[Array]:
        """Where a graph can read them: what another graph writes stays where it is, and the rest is copied."""
        return [x if x_is_static else x.copy(order="K") for x, x_is_static in zip(arrays, self.static)]

    def _capture(self, arrays: tuple[Array, ...]) -> bool:
        self._inputs = self._own(arrays)
        try:
            assert self.graph is not None
            self.results = self.graph.capture(lambda: self.function(*self._inputs))
        except Exception as reason:
            self.reason = f"{type(reason).__name__}: {reason}"
            self.graph, self._inputs, self._read = None, [], []
            warnings.warn(f"compile: a part of the step is replayed without a graph: {self.reason}", stacklevel=5)
        return self.results is not None


class GraphProgram(Program):
    """A program whose runs of lines for the device are functions of their own: `graph0`, `graph1`, ... in its source."""

    runs: list[Run]
    source: str

    def __init__(self, recorder: Recorder, arguments: int, returned: Any, backend: Backend):
        self._backend = backend
        super().__init__(recorder, arguments, returned)

    def _write(self, recorder: Recorder, arguments: list[str], results: list[str]) -> None:
        functions: list[str] = []
        lines: list[str] = []
        known: list[tuple[list[bool], list[Node]]] = []
        static: set[str] = set()
        for is_captured, group in self._groups(recorder):
            if not is_captured:
                lines += self._lines(group)
                continue
            name, last = f"graph{len(functions)}", group[-1][0]
            inside = {x.slot for _, x in group}
            taken = _slots(x for _, x in group) - {f"s{n}" for n in inside}
            inputs = sorted(s for s in taken if s not in self._names)
            needed = _slots(recorder.instructions[last + 1 :]) | set(results)
            outputs = [f"s{n}" for n in sorted(inside) if f"s{n}" in needed]
            functions.append(self._function(name, inputs, self._lines(group), outputs))
            lines.append(f"{''.join(f'{s}, ' for s in outputs)}{'= ' * bool(outputs)}{name}({', '.join(inputs)})")
            if dead := [s for i, _ in group for s in self._dying.get(i, ()) if s in inputs]:
                lines.append(f"del {', '.join(dead)}")
            leaves = {id(y.node): y.node for _, x in group for y in x.operands if isinstance(y, Leaf)}
            known.append(([s in static for s in inputs], list(leaves.values())))
            static |= set(outputs)
        returned = [self._copy(s, recorder) if s in static or s in self._constant else s for s in results]
        self.source = "\n\n\n".join([*functions, self._function("replay", arguments, lines, returned)])
        exec(builtins.compile(self.source, "<replayed step>", "exec"), self._names)
        self.runs = [Run(self._names[f"graph{i}"], *given, self._backend) for i, given in enumerate(known)]
        self._names |= {f"graph{i}": run for i, run in enumerate(self.runs)}
        self._replay = self._names["replay"]

    def _groups(self, recorder: Recorder) -> list[tuple[bool, list[tuple[int, Instruction]]]]:
        """Neighbouring instructions, numbered, and whether they are captured; those that make constants are done with."""
        captured = self._captured(recorder)
        numbered = list(enumerate(recorder.instructions))
        for _, x in numbered:
            if x.kind == "constant":
                self._line(x)
        lines = [(i, x) for i, x in numbered if x.kind != "constant"]
        groups = [(key, list(group)) for key, group in groupby(lines, key=lambda line: line[0] in captured)]
        return [(is_captured and len(group) >= WORTH, group) for is_captured, group in groups]

    def _line(self, instruction: Instruction) -> list[str]:
        if instruction.kind == "accumulate":  # it may keep the array, which the next launch overwrites
            library, g = self._bind(self._backend.xp), self._text(instruction.operands[0])
            return [f"accumulate({self._bind(instruction.function)}, {library}.array({g}, order='K'))"]
        return super()._line(instruction)

    def _captured(self, recorder: Recorder) -> set[int]:
        """The numbers of the instructions that can be captured."""
        found: set[int] = set()
        by_slot: dict[int, int] = {}
        for i, x in enumerate(recorder.instructions):
            by_slot[x.slot] = i
            if x.kind == "part":
                source = by_slot[x.operands[0].number]  # type: ignore[union-attr]
                if source in found:
                    found.add(i)
            elif self._is_for_device(x, recorder):
                found.add(i)
        return found

    def _is_for_device(self, x: Instruction, recorder: Recorder) -> bool:
        if x.kind in ON_HOST or (x.kind == "call" and not getattr(x.function[0], "on_device", False)):
            return False
        if x.kind == "draw" and not _draws_on(self._backend, x.function):
            return False
        arrays = [recorder.alive[x.slot], *(recorder._array(y) for y in x.operands)]
        types = {type(a) for a in arrays if type(a) in ARRAY_MODULES}
        return types == {self._backend.array_type}


def _draws_on(backend: Backend, draw: Any) -> bool:
    """Whether the generator's state is on the device too: then every launch goes on with its stream."""
    own = getattr(draw.func, "__self__", None)
    given = (own, *draw.args) if getattr(draw.func, "on_device", False) else (own,)
    return any(isinstance(x, Generator) and x.device.type == backend.type for x in given)


def _slots(instructions: Iterable[Instruction]) -> set[str]:
    """The names of the arrays that these instructions take."""
    return {f"s{y.number}" for x in instructions for y in x.operands if isinstance(y, Slot)}
