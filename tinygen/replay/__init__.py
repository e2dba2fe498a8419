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
What may not, without a new recording (see guards.py): structure, shapes, dtypes and layout of the arguments, which of them are
one tensor, arguments that are not tensors, the grad mode, the modes and hooks of the modules that were called, dtypes of
parameters and which of them require gradients, and what the step reads of variables, attributes, lists and dicts around it.
For all of these a step is recorded anew, by itself; a number that is another one in every call is better made an argument,
as a tensor.
What cannot be seen: writes into `vars(object)`, into large NumPy arrays, into lists of more than a hundred entries, into files.

A step that cannot be replayed is run as it is, with a warning that says why: one that looks at a number (`loss.item()`, `if
x.mean() > 0`), that computes on arrays behind the operators' backs, that returns a tensor which still has a graph (call
backward() inside, or detach it), that changes tensors in place, prints, or does not do the same twice.  Inside of
`detect_anomaly` every step runs as it is.

On a GPU what lies between calls that must run on the host, such as optimizer.step(), is captured as CUDA graphs: see graphs.py.
There `p.grad` is overwritten by the next call; copy it if it is to be kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import Any, NamedTuple

from tinygen import engine, memory
from tinygen.engine import Node
from tinygen.nn.parameter import Parameter
from tinygen.replay import graphs
from tinygen.replay.calls import Calls
from tinygen.replay.guards import Call, Guard, StandIns
from tinygen.replay.instructions import CannotReplay, compare, is_same_result, let_go
from tinygen.replay.program import Program
from tinygen.replay.recorder import Recorder
from tinygen.replay.surroundings import Reads
from tinygen.watching import watchers

__all__ = ["CompiledStep", "Program", "compile"]

MOST = 16
"""So many recordings are kept for arguments of one kind ..."""
MOST_KINDS = 256
"""... and of so many kinds: a number that is another one in every call makes a kind of its own each time."""


class Entry(NamedTuple):
    """What came of calls with one key, in one state of what is around: a program, a first recording, or (neither) a refusal."""

    guard: Guard
    program: Program | None = None
    first: tuple[Recorder, Any] | None = None


class CompiledStep:
    """What `compile` returns: called like the step."""

    def __init__(self, step: Callable[..., Any]):
        update_wrapper(self, step)
        self._step = step
        self._entries: dict[Any, list[Entry]] = {}
        self._effects: set[Any] = set()  # keys of calls with an effect on Python objects
        self._warned: set[str] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if watchers() or memory.here.recorder is not None:  # for anomalies, or by the recording of another step
            return self._step(*args, **kwargs)
        call = Call(args, kwargs)
        entry = self._entry(call)
        if entry is not None and entry.program is not None:
            return entry.program(call.tensors)
        if entry is not None and entry.first is None:
            return self._step(*args, **kwargs)
        return self._record(call, entry, args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: each object has a compiled step of its own, among its attributes."""
        if instance is None:
            return self
        own = getattr(instance, "__dict__", None)
        if own is None:
            return MethodType(self, instance)
        name = f"compiled {self._step.__qualname__}"
        if name not in own:
            own[name] = CompiledStep(MethodType(self._step, instance))
        return own[name]

    def __reduce__(self) -> Any:
        """A copy begins without recordings."""
        return CompiledStep, (self._step,)

    def program(self, *args: Any, **kwargs: Any) -> Program | None:
        """The latest program for arguments such as these: None before it was recorded, or if it could not be."""
        entries = self._entries.get(Call(args, kwargs).key, ())
        return next((entry.program for entry in entries if entry.program is not None), None)

    def _entry(self, call: Call) -> Entry | None:
        for entry in self._entries.get(call.key, ()):
            if entry.guard.holds():
                return entry
        return None

    def _record(self, call: Call, entry: Entry | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the step and watch; after the second time there is a program, or a reason why there is none."""
        if reason := call.refusal((args, tuple(kwargs.values()))):
            self._keep(call, None, Entry(Guard((), ())), reason)
            return self._step(*args, **kwargs)
        if not Calls.possible():
            self._warn("a profiler is running, and steps are not recorded meanwhile")
            return self._step(*args, **kwargs)
        given = StandIns(call, args, kwargs)
        first = entry.first if entry else None
        roots = [self._step, *call.objects((args, tuple(kwargs.values())))]
        recorder = Recorder(given.tensors, roots, first and first[0])
        try:
            with recorder:
                result = self._step(*given.args, **given.kwargs)
        finally:
            effects = given.effects()
        program = returned = None
        try:
            if recorder.reason or effects:
                raise CannotReplay(recorder.reason or f"it changes its arguments: {effects}")
            returned = recorder.output(result)
            if first is not None:
                compare(first[0], recorder)
                if not is_same_result(first[1], returned):
                    raise CannotReplay(
                        "it returns something that no operator made, and that is not the same every time"
                    )
                program = graphs.write(recorder, len(given.tensors), returned)
        except CannotReplay as refusal:
            reason = str(refusal)
        reads, set_by_step = (
            Reads([*roots, *recorder.calls.modules.values()], recorder.calls.codes),
            set(recorder.set_attributes),
        )
        modules = (recorder.calls.modules | reads.modules).values()
        leaves = {
            id(x): x
            for m in modules
            for k, x in vars(m).items()
            if isinstance(x, Node) and (id(m), k) not in set_by_step
        }
        if program is not None:
            leaves |= recorder.leaves | {id(x): x for x in reads.tensors}
        cleared = recorder.cleared
        recorder.let_go()
        lasting = [*recorder.leaves.values(), *reads.tensors]  # and not the batch of this call
        leaves |= {id(x): x for x in lasting if x.requires_grad or isinstance(x, Parameter)}
        guard = Guard(modules, leaves.values(), cleared if program else (), reads, set_by_step)
        if reason and recorder.is_effect and call.key not in self._effects:
            self._effects.add(call.key)  # what is done only the first time does not matter
        elif reason or program is not None:
            self._keep(call, entry, Entry(guard, program), reason)
        else:
            self._keep(call, entry, Entry(guard, None, (recorder, let_go(returned))))
        return given.original(result)

    def _keep(self, call: Call, before: Entry | None, entry: Entry, reason: str = "") -> None:
        """Remember what came of a call.  The latest come first, and not too many."""
        others = [x for x in self._entries.get(call.key, ()) if x is not before]
        self._entries[call.key] = [entry, *others[: MOST - 1]]
        if len(self._entries) > MOST_KINDS:
            self._entries.pop(next(iter(self._entries)))
        if reason:
            self._warn(reason)

    def _warn(self, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            warnings.warn(f"compile: {self._step.__qualname__} is run as it is: {reason}", stacklevel=5)


def compile(step: Callable[..., Any]) -> CompiledStep:
    """A function that does what `step` does, and does it faster when it is called again: see the module.

    step: a function or a method; takes tensors and anything else, also by name, and returns tensors and anything else, in tuples,
        lists and dicts if you like.  As a decorator of a method it compiles the step of every object on its own.

    Warns, once for each reason, when the step cannot be replayed and is run as it is.
    PyTorch's torch.compile makes other, fused kernels; here the operators stay the same, and with them every bit.
    """
    return CompiledStep(step)
