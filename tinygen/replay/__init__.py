"""A training step recorded once, and then replayed without building its graph again.

    @tg.compile
    def step(x):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
        return loss

    for x in loader:
        loss = step(x)

Every step of a training applies the same operators to other numbers.  In the first two calls `step` runs as it is, and is
watched: which operators it calls, which derivative rules the walk back runs, in which order, on what.  If both calls did the
same, that list is written down as a plain function, one line per call of an operator or a rule; later calls run that.  They
compute what the plain step computes, bit for bit, but no node is made, nothing is sorted, and no array outlives its last use.

What may change from call to call: the numbers in the arguments, in parameters and buffers, and whatever the generators draw.
What may not, without a new recording: shapes and dtypes of the arguments, arguments that are no tensors, the modes of the
modules, dtypes of parameters and which of them require gradients.  For all of these a step is recorded anew, by itself.
What cannot be seen: a Python number that the step reads from elsewhere, such as a weight that grows from epoch to epoch
(make it an argument); a module or a parameter that another one takes the place of (compile the step anew).

A step that cannot be replayed is run as it is, with a warning that says why: one that looks at a number (`loss.item()`, `if
x.mean() > 0`), that computes on arrays behind the operators' backs, or that does not do the same twice.

On a GPU what lies between calls that must run on the host, such as optimizer.step(), is captured as CUDA graphs: see graphs.py.
There `p.grad` is overwritten by the next call; copy it if it is to be kept.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from tinygen import engine, memory
from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node
from tinygen.nn.module import Module
from tinygen.replay import graphs
from tinygen.replay.program import Program, compare, is_same
from tinygen.replay.recorder import CannotReplay, Recorder

__all__ = ["CompiledStep", "Program", "compile"]


class CompiledStep:
    """What `compile` returns: called like the step."""

    def __init__(self, step: Callable[..., Any]):
        update_wrapper(self, step)
        self._step = step
        self._recorded: dict[Any, Any] = {}
        self._programs: dict[Any, Program | None] = {}
        self._modules: list[Any] | None = None

    def __call__(self, *args: Any) -> Any:
        key, nodes = self._key(args)
        program = self._programs.get(key)
        if program is not None:
            return program(*[x.array for x in nodes])
        if key in self._programs or memory.recorder is not None or engine.watcher is not None:
            return self._step(*args)
        return self._record(key, args, nodes)

    def program(self, *args: Any) -> Program | None:
        """The program for arguments such as these: None before it was recorded, or if it could not be."""
        return self._programs.get(self._key(args)[0])

    def _record(self, key: Any, args: tuple, nodes: list[Node]) -> Any:
        """Call the step and watch; after the second time there is a program, or a reason why there is none."""
        recorder = Recorder(nodes)
        before = self._recorded.pop(key, None)
        if before is not None:
            show_what_is_cleared(before[0].leaves)
        with recorder:
            if any(x.requires_grad for x in nodes):
                recorder.refuse("an argument requires a gradient")
            result = self._step(*args)
        try:
            if recorder.reason:
                raise CannotReplay(recorder.reason)
            returned = recorder.output(result)
            if before is None:
                self._recorded[key] = recorder, returned
                return result
            compare(before[0], recorder)
            if not is_same(before[1], returned):
                raise CannotReplay("it returns something that no operator made, and that is not the same every time")
            self._programs[key] = graphs.write(recorder, len(nodes), returned)
        except CannotReplay as reason:
            self._programs[key] = None
            warnings.warn(f"compile: {self._step.__qualname__} is run as it is: {reason}", stacklevel=3)
        return result

    def _key(self, args: tuple) -> tuple[Any, list[Node]]:
        """What a recording is good for."""
        nodes = [x for x in args if isinstance(x, Node)]
        if self._modules is None:
            self._modules = _modules_of(self._step)
            self._parameters = [p for m in self._modules for p in vars(m).values() if isinstance(p, Node)]
        return (
            tuple((x.array.shape, x.array.dtype, type(x.array)) if isinstance(x, Node) else x for x in args),
            tuple([m.training for m in self._modules]),
            tuple([p.requires_grad for p in self._parameters]),
            tuple([p.array.dtype for p in self._parameters]),
        ), nodes


def show_what_is_cleared(leaves: list[Node]) -> None:
    """Give leaves that have no gradient one of −0, which no sum can tell from none.

    If there is none when the step's own arrives, it was the step that has cleared it, and a replay has to do so too.
    """
    for leaf in leaves:
        if leaf.grad is None:
            zeros = ARRAY_MODULES[type(leaf.array)].zeros_like(leaf.array)
            leaf.grad = engine.constant(-zeros)


def _modules_of(step: Callable[..., Any]) -> list[Any]:
    """All modules that the function's own names lead to, those of the object whose method it is included."""
    seen = inspect.getclosurevars(inspect.unwrap(getattr(step, "__func__", step)))
    owner = getattr(step, "__self__", None)
    values = [owner, *getattr(owner, "__dict__", {}).values(), *seen.nonlocals.values(), *seen.globals.values()]
    values += [part for value in values if isinstance(value, list | tuple) for part in value]
    found = {id(m): m for value in values if isinstance(value, Module) for m in value.modules()}
    return list(found.values())


def compile(step: Callable[..., Any]) -> CompiledStep:
    """A function that does what `step` does, and does it faster when it is called again: see the module.

    step: takes tensors (and hashable values), returns tensors, in tuples, lists and dicts if you like.
    PyTorch's torch.compile makes other, fused kernels; here the operators stay the same, and with them every bit.
    """
    return CompiledStep(step)
