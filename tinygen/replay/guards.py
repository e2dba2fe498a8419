"""What a recording depends on: the key of a call, made of its arguments, and the guard of a recording, the state around it.

A recording replays what the step did.  It is right as long as everything that the step's Python code could have taken another
way at is as it was.  What comes with the call is in its key: see `Call`.  What lies around it is in a guard.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable
from typing import Any

from tinygen import promotion
from tinygen.backend import ARRAY_MODULES, get_default_device
from tinygen.engine import Node, is_grad_enabled
from tinygen.memory import Memory
from tinygen.nn import module
from tinygen.replay.surroundings import Reads, weakly
from tinygen.replay.values import Same, plain, rebuilt

CONTAINERS = (tuple, list, dict)


class Call:
    """The arguments of one call.

    key: structure and dtypes of what holds tensors, which arguments are one tensor, type and value of all others, and the
        modes that are everywhere: whether gradients are recorded, and the default dtype and device.
    tensors: the tensors among the arguments, in order, each once.
    """

    __slots__ = ("key", "tensors")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]):
        found: list[Node] = []
        parts = tuple([_part(x, found) for x in args])
        if kwargs:
            parts += tuple([(name, _part(kwargs[name], found)) for name in sorted(kwargs)])
        self.tensors: list[Node] = found
        if len(found) > 1:
            ids = [id(x) for x in found]
            if len(set(ids)) < len(ids):
                parts += (tuple([ids.index(i) for i in ids]),)
                self.tensors = list({id(x): x for x in found}.values())
        self.key: tuple[Any, ...] = parts, is_grad_enabled(), promotion.default_dtype, get_default_device()

    def refusal(self, args: Any) -> str:
        """Why no step can be recorded with these arguments, if so."""
        if any(x.requires_grad for x in self.tensors):
            return "an argument requires a gradient"
        if any(type(x) in ARRAY_MODULES for x in _leaves(args)):
            return "an argument is an array, whose numbers the step could use unseen; pass a tensor"
        return ""

    @staticmethod
    def objects(args: Any) -> list[Any]:
        """What is among the arguments besides tensors, numbers and texts."""
        return [x for x in _leaves(args) if not isinstance(x, Node) and plain(x) is None]


def _part(value: Any, found: list[Node]) -> Any:
    """An argument's part in the key; tensors are also put into `found`."""
    kind = type(value)
    if isinstance(value, Node):
        found.append(value)
        array = value.array
        return array.shape, array.dtype, array.strides, type(array), kind, value.requires_grad
    if kind in CONTAINERS or isinstance(value, tuple):
        if kind is dict:
            return kind, tuple([(plain(k) or Same(k), _part(v, found)) for k, v in value.items()])
        return kind, tuple([_part(v, found) for v in value])
    if kind in ARRAY_MODULES:
        return kind
    return plain(value) or Same(value)


def _leaves(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for x in value:
            yield from _leaves(x)
    else:
        yield value


class StandIns:
    """What a step is called with while it is recorded: the arguments, with a tensor of its own for each tensor in them.

    It has the values in the same memory.  So an argument that the step knows under another name, too, is not taken for that.
    """

    args: Any
    kwargs: dict[str, Any]

    def __init__(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.tensors: list[Any] = [_stand_in(x) for x in call.tensors]
        self._place = {id(x): y for x, y in zip(call.tensors, self.tensors, strict=True)}
        self._given: dict[int, Any] = {id(y): x for x, y in zip(call.tensors, self.tensors, strict=True)}
        self.args, self.kwargs = self._copy(args), {name: self._copy(x) for name, x in kwargs.items()}

    def _copy(self, value: Any) -> Any:
        if isinstance(value, Node):
            return self._place[id(value)]
        if isinstance(value, tuple):
            parts = [self._copy(x) for x in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        if type(value) is list:
            copy: Any = [self._copy(x) for x in value]
        elif type(value) is dict:
            copy = {k: self._copy(x) for k, x in value.items()}
        else:
            return value
        self._given[id(copy)] = value
        return copy

    def original(self, value: Any) -> Any:
        """The caller's tensor for its stand-in, also inside of a result; anything else as it is."""
        found: list[Any] = []

        def replace(x: Any) -> Any:
            if id(x) not in self._given:
                return x
            found.append(x)
            return self._given[id(x)]

        result = rebuilt(value, replace)
        return result if found else value

    def effects(self) -> str:
        """What the step did to its arguments besides reading them, which is now done to the caller's own; "" if nothing."""
        done = [_gave_back(x, self._given[id(x)]) for x in self.tensors]
        lists = [self._restored(x) for x in (*self.args, *self.kwargs.values())]
        return "requires_grad_() or the like" if any(done) else "a list or a dict among them" if any(lists) else ""

    def _restored(self, copy: Any) -> bool:
        """Do to the caller's list or dict what was done to the copy.  Whether something was."""
        parts = list(copy.values()) if type(copy) is dict else copy if type(copy) in (tuple, list) else ()
        inside = any([self._restored(x) for x in parts])
        own: Any = self._given.get(id(copy))
        if own is None:  # it was made by the step
            return inside
        if type(copy) is list:
            new: Any = [self._given.get(id(x), x) for x in copy]
            if len(new) == len(own) and all(x is y or isinstance(y, tuple) for x, y in zip(new, own)):
                return inside
            own[:] = new
        elif type(copy) is dict:
            new = {k: self._given.get(id(x), x) for k, x in copy.items()}
            if list(new) == list(own) and all(x is own[k] or isinstance(own[k], tuple) for k, x in new.items()):
                return inside
            own.clear()
            own.update(new)
        else:
            return inside
        return True


def _stand_in(x: Any) -> Any:
    new = object.__new__(type(x))
    Node.__init__(new, x.array.view())
    if x.memory is None:
        x.memory = Memory()
    new.grad, new.memory = x.grad, x.memory
    vars(new).update(vars(x)) if hasattr(x, "__dict__") else None
    return new


def _gave_back(new: Any, x: Any) -> bool:
    """Give the tensor what became of its stand-in.  Whether something did."""
    if new.grad is x.grad and not new.requires_grad and not new.hooks and new.memory is x.memory:
        return False
    x.grad = new.grad
    if new.op is None:
        x.requires_grad, x.hooks = new.requires_grad, new.hooks
    if new.memory is not x.memory:  # new.data = ...
        x.array, x.memory = new.array, new.memory
    return True


class Guard:
    """The state that a recording depends on.

    modules: that were called.  Their modes, hooks and all other attributes are to stay, but for those that the step sets.
    leaves: tensors.  Whether they require a gradient, their dtype, shape, layout and hooks are to stay.
    cleared: tensors that had no gradient when the step began.
    reads: of what else the functions read.
    set_by_step: {(id(module), attribute)}.
    """

    __slots__ = (
        "_arrays",
        "_attributes",
        "_changes",
        "_frozen",
        "_hooked",
        "_hooks",
        "_layouts",
        "cleared",
        "leaves",
        "modules",
        "reads",
    )
    cleared: list[Node]
    leaves: list[Node]
    modules: list[Any]
    reads: Reads | None

    def __init__(
        self,
        modules: Iterable[Any],
        leaves: Iterable[Node],
        cleared: Iterable[Node] = (),
        reads: Reads | None = None,
        set_by_step: Container[tuple[int, str]] = (),
    ):
        self.modules, self.leaves, self.cleared, self.reads = list(modules), list(leaves), list(cleared), reads
        self._changes = module.changes
        self._attributes = [
            (
                vars(m),
                len(vars(m)),
                {k: (plain(x), weakly(x)) for k, x in vars(m).items() if (id(m), k) not in set_by_step},
            )
            for m in self.modules
        ]
        self._hooks = [(m, tuple(map(list, m._hooks))) for m in self.modules if m._hooks is not None]
        self._frozen = [p.requires_grad for p in self.leaves]
        self._hooked = any([p.hooks for p in self.leaves])
        self._remember_arrays()

    def _remember_arrays(self) -> None:
        self._layouts = self._seen_layouts()
        self._arrays = [weakly(p.array) for p in self.leaves]

    def _seen_layouts(self) -> list[Any]:
        return [(type(a), a.dtype, a.shape, a.strides) for a in [p.array for p in self.leaves]]

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        if module.changes != self._changes:
            if not all(len(now) == n and _are_same(now, then) for now, n, then in self._attributes):
                return False
            self._changes = module.changes
        if (
            [p.requires_grad for p in self.leaves] != self._frozen
            or any([p.hooks for p in self.leaves]) is not self._hooked
            or any([m._hooks != hooks for m, hooks in self._hooks])
            or any([p._grad is not None for p in self.cleared])
            or self.reads is not None
            and not self.reads.hold()
        ):
            return False
        if all(map(operator.is_, [p.array for p in self.leaves], map(operator.call, self._arrays))):
            return True
        if self._seen_layouts() != self._layouts:
            return False
        self._remember_arrays()
        return True


def _are_same(now: dict[str, Any], then: dict[str, tuple[Any, Callable[[], Any]]]) -> bool:
    """Whether attributes of a module are as they were; `_hooks` are looked at each time."""
    for key, (value, there) in then.items():
        if key not in now:
            return False
        x = now[key]
        if key != "_hooks" and (x is not there() if value is None else plain(x) != value):
            return False
    return True
