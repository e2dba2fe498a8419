"""The engine: arrays that remember the operator that made them, and the walk back.

Start reading here.  Three ideas carry the whole library:

1. A `Node` is an array plus how it came about: the operator and its inputs.  It *is* the vertex of the graph.
2. An `Op` is a forward function and one derivative rule per argument.  Called with arrays it only computes;
   called with nodes it also records.
3. Reverse mode: visit the nodes from the newest to the oldest, hand each one's gradient to the rules of the operator
   that made it, and add up what arrives at every input (the chain rule).

The rules are written with the same operators.  So the walk runs them on plain arrays, at the speed of the array library;
and when the gradient itself is to be differentiated (`create_graph=True`) it runs the very same rules on nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from operator import iadd
from sys import _getframe
from types import CodeType, MethodType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tinygen import errors, memory, op_help
from tinygen.backend import ARRAY_MODULES, Array
from tinygen.errors import is_library
from tinygen.layout import laid_out_like, sum_along
from tinygen.memory import Memory, clock, share_memory
from tinygen.modes import (  # noqa: F401  # noqa: F401
    GradMode,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_recording,
    no_grad,
    set_grad_enabled,
)
from tinygen.promotion import settle
from tinygen.rules import name_of
from tinygen.watching import WATCHERS

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

Rule = Callable[..., Any]
"""vjp(g, out, *inputs, **params) -> dL/d(input), where g = dL/d(out)."""


class Node:
    """An array that remembers the operator that made it.  `tensor.Tensor` adds the methods."""

    __slots__ = (
        "__weakref__",
        "_grad",  # the gradient that backward() accumulated, a node; leaves only, unless retain_grad()
        "array",  # the values: a NumPy or CuPy array
        "arrays",  # the input arrays, as they were when the operator ran
        "code",  # where in the user's program it was called: the code, and in `instruction` which of it; see `line`
        "edges",  # (input node, its rule) for every input that a gradient flows to
        "hooks",  # functions called with the gradient once it is complete
        "inputs",  # what the operator was called with
        "instruction",
        "memory",  # shared by all views of the same memory: when was it last changed in place
        "op",  # the operator that made it; None for a leaf
        "params",  # the operator's keyword arguments
        "requires_grad",
        "time",  # its place in the order of creation
    )
    array: Array
    requires_grad: bool
    time: int
    inputs: Sequence[Any]
    arrays: list[Any]
    params: dict[str, Any]
    code: CodeType | None
    instruction: int
    public: Any  # the class of what operators return: Tensor, once tensor.py is loaded
    __array_ufunc__ = None  # ndarray * node is then handed to node's own operators

    def __init__(self, array: Array, requires_grad: bool = False):
        self.array = array
        self.requires_grad = requires_grad
        self.op: Op | None = None
        self._grad: Any = None
        self.hooks: list[Callable[..., Any]] | None = None
        self.memory: Memory | None = None
        self.time = 0
        self.edges: Sequence[tuple[Node, Rule]] = ()
        self.code = None

    @property
    def line(self) -> tuple[CodeType, int] | None:
        """Where in the user's program the operator was called, decoded on demand (errors.source_line); None for a leaf."""
        return None if self.code is None else (self.code, self.instruction)

    @line.setter
    def line(self, line: tuple[CodeType, int] | None) -> None:
        self.code, self.instruction = line or (None, 0)

    @property
    def grad(self) -> Any:
        """The gradient that backward() has accumulated, or None.  What is assigned must be None, or a tensor like this one."""
        return self._grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        if grad is not None:
            errors.check_gradient("grad", grad, self)
        self._grad = grad

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype


Node.public = Node


def constant(array: Array) -> Node:
    """A node that no operator made, without the checks of the public constructor."""
    node = _new(Node.public)
    node.array = array
    node._grad = node.hooks = node.memory = node.op = node.code = None
    node.requires_grad = False
    node.time = 0
    node.edges = ()
    return node


_new = object.__new__
watcher: Any = None  # sees every operator's result and every rule's gradient, while somebody watches (see watch)
NOTHING: dict[Rule, Any] = {}
_FLOAT32 = np.dtype(np.float32)  # which all libraries share
NO_PARAMS: dict[str, Any] = {}  # one for all operators that were called without any
RELEASED: list[Any] = []  # stands for the edges of a node whose graph was released


class Op:
    """An operator: a forward function on arrays and one derivative rule per argument.

        mul = Op(lambda xp, x, y: x * y,   lambda g, _, _x, y: g * y,   lambda g, _, x, _y: g * x)

    forward: is handed the array library xp (numpy or cupy), the arrays, and the keyword parameters.
    rules: `vjp(g, out, *inputs, **params)`; None, or none at the end, says "not differentiable in this argument".  An
        argument whose name begins with an underscore is not read by the rule (its shape may be): changing its values in
        place is safe.  What broadcasting did to an input is undone by the engine, not by the rules.
    each: `each(i)` is the rule of input i, for an operator with any number of inputs.
    together: `together(xp, g, out, *arrays, **params)`, a faster way to the first gradients that come as arrays: it
        returns what the rules would return for the first few arguments, or None.
    view: the output may share memory with the first input.
    any_dtype: the output's dtype is the operator's own affair (see `promotion`).
    name: what it is called in errors and reports; default: the forward function's name, or that of the variable which a
        lambda's operator is assigned to.
    doc: what it computes, in words: shapes, arguments, what it raises.  `help` shows it with the rules.

    Calling it raises TypeError when the number of inputs is not that of the forward function or of the rules.
    """

    __slots__ = ("any_dtype", "doc", "forward", "name", "rules", "together", "view")
    any_dtype: bool
    doc: str | None
    forward: Callable[..., Any]
    name: str
    rules: Iterable[Rule | None]
    together: Callable[..., Sequence[Any] | None] | None
    view: bool

    def __init__(
        self,
        forward: Callable[..., Any],
        *rules: Rule | None,
        each: Callable[[int], Rule] | None = None,
        together: Callable[..., Sequence[Any] | None] | None = None,
        view: bool = False,
        any_dtype: bool = False,
        name: str | None = None,
        doc: str | None = None,
    ):
        self.forward = forward
        self.doc = doc
        names, any_number = op_help.inputs_of(forward)
        if len(rules) > len(names) and not any_number:
            raise TypeError(
                f"Op: {len(rules)} derivative rules for a forward function of {len(names)} inputs ({', '.join(names)}); there is "
                "one rule for every input, in their order"
            )
        if each or any_number and not rules:
            self.rules = EachRule(each or _no_rule)
        elif any_number:
            self.rules = EachRule(partial(_rule_of, self, rules))
        else:  # one more: so that forward, which then complains, sees it when there is an input too many
            self.rules = rules + (None,) * (len(names) + 1 - len(rules))
        self.together = together
        self.view = view
        self.any_dtype = any_dtype
        self.name = name or name_of(forward).strip("_")

    def __repr__(self) -> str:
        return f"<Op {self.name}>"

    __doc__ = op_help.Told(op_help.documentation, __doc__)  # type: ignore[assignment]
    __signature__: Any = op_help.Told(op_help.signature)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__doc__ = op_help.Told(op_help.documentation, cls.__doc__)  # type: ignore[assignment]

    @property
    def __name__(self) -> str:
        return self.name

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copied and pickled by its name: an operator of the table is the same everywhere."""
        return (operator_named, (self.name,)) if OPERATORS.get(self.name) is self else super().__reduce_ex__(protocol)

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type | None = None) -> Op: ...
        @overload
        def __get__(self, instance: object, owner: type | None = None) -> Callable[..., Tensor]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """An operator that stands in a class is a method: `class Tensor: exp = ops.exp`."""
        return self if instance is None else MethodType(self, instance)

    def at_once(self, node: Node, g: Any, wanted: set[Rule]) -> dict[Rule, Any]:
        """Gradients that are better computed at once, by the rule that each stands for: those of `together`.

        NOTHING, if the first or the second is not wanted (what the others share is then not worth it), or if they are to be
        differentiated again.
        """
        rules = list(islice(self.rules, len(node.arrays)))
        if isinstance(g, Node) or self.together is None or not wanted.issuperset(rules[:2]):
            return NOTHING
        together = self.together(ARRAY_MODULES[type(g)], g, node.array, *node.arrays, **node.params)
        if not together:
            return NOTHING
        pairs = [(rule, gx) for rule, gx in zip(rules, together, strict=False) if rule is not None]
        known: dict[Rule, Any] = dict(pairs)
        if len(known) < len(pairs):
            raise TypeError(
                f"{self.name}: with together= every argument needs a rule of its own, and two are one function"
            )
        return known

    def __call__(self, *inputs: Any, **params: Any) -> Tensor:
        arrays: list[Any] = []
        edges = []
        is_node, public = False, Node.public
        for x, rule in zip(inputs, self.rules):
            if type(x) is public or isinstance(x, Node):
                is_node = True
                if x.requires_grad and rule is not None:
                    edges.append((x, rule))
                x = x.array
            arrays.append(x)
        try:
            xp = ARRAY_MODULES.get(type(arrays[0])) or _library(arrays)
            out = self.forward(xp, *arrays, **params) if params else self.forward(xp, *arrays)
        except Exception as error:
            if named := op_help.by_name(self, inputs, params):
                return self(*named[0], **named[1])
            if wrong := op_help.wrong_arguments(self, inputs, params):
                raise wrong from None
            raise errors.explain(self.name, error, arrays, params) from error
        if not is_node:
            return out
        is_float = type(out) in ARRAY_MODULES and out.dtype is _FLOAT32
        if not is_float:  # all but the common float32 array is looked at more closely
            if isinstance(out, Node) and (named := op_help.by_name(self, inputs, params)):
                return self(*named[0], **named[1])
            out = settle(xp, out, self, arrays, inputs, params)
            is_float = out.dtype.kind == "f"

        node = _new(public)
        node.array = out
        node._grad = node.hooks = node.memory = None
        if is_float and edges and is_recording():
            node.requires_grad = True
            node.op = self
            node.inputs = inputs
            node.arrays = arrays
            node.params = params or NO_PARAMS
            node.edges = edges
            node.time = next(clock)
            frame = _getframe(1)
            while is_library[frame.f_code.co_filename] and frame.f_back is not None:
                frame = frame.f_back
            node.code = frame.f_code
            node.instruction = frame.f_lasti
        else:
            node.requires_grad = False
            node.op = node.code = None
            node.time = 0
            node.edges = ()
        if self.view and isinstance(inputs[0], Node):
            share_memory(inputs[0], node)
        if watcher is not None:
            watcher.forward(self, node, inputs, arrays, params, node.line or _users_line())
        return node


def watch(new: Any) -> None:
    """Call new.forward(...) after every operator and new.backward(...) after every rule that runs in this thread."""
    global watcher
    with WATCHERS.lock:
        WATCHERS.add(new)
        watcher = WATCHERS


def unwatch(old: Any) -> None:
    """Undo one watch(old)."""
    global watcher
    with WATCHERS.lock:
        WATCHERS.remove(old)
        watcher = WATCHERS if WATCHERS.count else None


def _library(arrays: list[Any]) -> Any:
    """The library of the first array; NumPy if there are only Python numbers and NumPy scalars."""
    return next((ARRAY_MODULES[type(x)] for x in arrays if type(x) in ARRAY_MODULES), np)


def _users_line() -> tuple[CodeType, int]:
    """(code, instruction) of the innermost call that is not the library's own."""
    frame = _getframe(2)
    while is_library[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def _no_rule(i: int) -> Any:
    return None


def _rule_of(op: Op, rules: tuple[Rule | None, ...], i: int) -> Rule | None:
    if i < len(rules):
        return rules[i]
    raise TypeError(
        f"{op.name}: more inputs than the {len(rules)} derivative rule{'s' * (len(rules) != 1)}, so the last would get no "
        "gradient; give the operator a rule (or None) for every input, or each=lambda i: rule of input i"
    )


class EachRule:
    """The rules of an operator with any number of inputs: `each(i)` makes the rule of input i."""

    def __init__(self, each: Callable[[int], Rule]):
        self._each = each
        self._made: list[Rule] = []

    def __getitem__(self, i: int) -> Rule:
        while len(self._made) <= i:
            self._made.append(self._each(len(self._made)))
        return self._made[i]

    def __iter__(self) -> Iterator[Rule]:
        return (self[i] for i in count())


# The engine's own three operators: they undo what broadcasting and promotion did to an input.


def _sum_to(xp: Any, x: Array, shape: tuple[int, ...]) -> Array:
    """Sum x over the axes along which an array of `shape` was broadcast."""
    new = x.ndim - len(shape)
    aligned = x.shape[new:] if new >= 0 else ()
    axis = (*range(new), *(i + new for i, (n, m) in enumerate(zip(shape, aligned, strict=False)) if n == 1 != m))
    if len(aligned) != len(shape) or any(n != m and n != 1 for n, m in zip(shape, aligned, strict=True)):
        raise errors.ShapeError(
            f"sum_to: the argument has shape {shape}, and a gradient of shape {x.shape} was returned for it"
        )
    return sum_along(xp, x, axis).reshape(shape) if axis else x


sum_to: Op = Op(_sum_to, lambda g, _, _x, shape: expand(g, shape=_x.shape), name="sum_to")
expand: Op = Op(lambda xp, x, shape: xp.broadcast_to(x, shape), lambda g, _, _x, shape: g, view=True, name="expand")
cast: Op = Op(lambda xp, x, dtype: x.astype(dtype), lambda g, _, _x, dtype: g, any_dtype=True, name="cast")


# The walk back.


def backpropagate(
    outputs: Sequence[Node],
    cotangents: Sequence[Any],
    targets: Sequence[Node] | None,
    create_graph: bool,
    release: bool,
) -> dict[int, tuple[Node, Any]]:
    """The gradients of sum(<cotangent, output>) with respect to `targets`, or to all leaves when targets is None.

    The cotangents are arrays, or nodes if create_graph.  Returns {id(node): (node, gradient)} with gradients of the same
    kind; no two of them share memory.  With `release` the graph lets go of its arrays as it is walked.
    """
    if memory.here.recorder is not None and not create_graph:  # the same walk, written down
        return memory.here.recorder.backpropagate(outputs, cotangents, targets, release)
    order = _newest_first(outputs)
    wanted = None if targets is None else {id(t) for t in targets}
    leading = None if wanted is None else _leading_to(wanted, order)
    needed = None if leading is None else leading.union(wanted or ())
    pending: dict[int, Any] = {}  # what has arrived so far at each node; popped when it is complete
    own: set[int] = set()  # whose pending gradient is a fresh array that nothing else refers to
    found: dict[int, tuple[Node, Any]] = {}

    for node, g in zip(outputs, cotangents, strict=True):
        pending[id(node)] = pending[id(node)] + g if id(node) in pending else g

    with GradMode(create_graph):
        for node in order:
            key = id(node)
            g = pending.pop(key, None)
            if g is None:
                continue
            if g.ndim > 2 and not create_graph and g.strides != node.array.strides:
                laid_out = laid_out_like(ARRAY_MODULES[type(g)], g, node.array)  # as what the rules combine it with
                if laid_out is not g:
                    g = laid_out
                    own.add(key)
            if node.hooks is not None:
                g = _run_hooks(node, g if key in own else g.copy() if not create_graph else g.clone())
                own.discard(key)
            if (node.op is None) if wanted is None else (key in wanted):
                if node.array.dtype.kind != "f":
                    raise _not_float(node)
                found[key] = (node, g if create_graph else _unaliased(g, key in own, node))
            if (node.op is None) if leading is None else (key not in leading):
                continue
            edges = node.edges
            if edges is RELEASED:
                raise RuntimeError(_released_message(node))
            if memory.last_change > node.time:
                memory.check_unchanged(node)
            out, args = (node, node.inputs) if create_graph else (node.array, node.arrays)
            params = node.params
            known = NOTHING if node.op.together is None else _at_once(node, g, needed)
            for x, rule in edges:
                key = id(x)
                if needed is not None and key not in needed:
                    continue
                try:
                    if known and rule in known:
                        gx = known[rule]
                    else:
                        gx = rule(g, out, *args, **params) if params else rule(g, out, *args)
                    like = x.array
                    if type(gx) is not type(like) or create_graph:
                        check_kind(gx, like, create_graph, node, x, rule)
                    if gx.shape != like.shape:
                        gx = sum_to(gx, shape=like.shape)
                    if gx.dtype is not like.dtype and gx.dtype != like.dtype:
                        gx = cast(gx, dtype=like.dtype)
                except Exception as error:
                    raise errors.explain_rule(node.op.name, node, error) from error
                if watcher is not None:
                    watcher.backward(node, x, rule, gx, g)
                if key not in pending:
                    pending[key] = gx
                    if gx is not g and not create_graph and gx.base is None:
                        own.add(key)
                elif key in own:
                    pending[key] = iadd(pending[key], gx)
                else:
                    pending[key] = pending[key] + gx
                    if not create_graph:
                        own.add(key)
            if release:
                node.edges = RELEASED
                node.inputs, node.arrays, node.params = (), RELEASED, NO_PARAMS
    return found


def check_kind(gx: Any, like: Array, create_graph: bool, node: Node, x: Node, rule: Rule) -> None:
    """Raise TypeError if a rule returned something else than it was handed: an array, or with create_graph a tensor."""
    if (
        isinstance(gx, Node) if create_graph else isinstance(gx, np.generic)
    ):  # NumPy's scalars stand for 0-dimensional arrays
        return
    arguments = enumerate(zip(node.inputs, node.op.rules), 1)
    position = next((i for i, (y, r) in arguments if y is x and r is rule), "?")
    problem = f"the rule for argument {position} returned "
    if gx is None:
        problem += "None; write None in place of the rule if the operator has no derivative there, or return zeros"
    elif isinstance(gx, Node):
        problem += (
            "a Tensor, and was handed arrays: a plain backward pass runs on arrays, so use g, out and the inputs as they come, "
            "without wrapping them in tensors"
        )
    elif type(gx) in ARRAY_MODULES and create_graph:
        problem += (
            "an array, and was handed tensors (create_graph=True): its gradient could not be differentiated again; write the "
            "rule with tinygen's operators, on g, out and the inputs as they come"
        )
    elif type(gx) in ARRAY_MODULES:
        problem += f"an array of {type(gx).__module__}, where one of {type(like).__module__} was expected"
    else:
        problem += (
            f"{gx!r}, a {type(gx).__name__}; it must return dL/d(input), of the shape of the input or of the output"
        )
    raise TypeError(problem)


def _at_once(node: Node, g: Any, needed: set[int] | None) -> dict[Rule, Any]:
    """What the operator gives at once of what is needed."""
    op: Any = node.op
    try:
        return op.at_once(node, g, {rule for x, rule in node.edges if needed is None or id(x) in needed})
    except Exception as error:
        raise errors.explain_rule(op.name, node, error) from error


def _newest_first(outputs: Iterable[Node]) -> list[Node]:
    """All nodes that the outputs depend on.  An operator is made after its inputs, so creation order is a valid order."""
    seen: dict[int, Node] = {}  # by their time, which is theirs alone
    leaves: dict[int, Node] = {}  # whose time is 0, by their id
    stack = list(outputs)
    while stack:
        node = stack.pop()
        time = node.time
        if not time:
            leaves[id(node)] = node
        elif time not in seen:
            seen[time] = node
            for x, _ in node.edges:
                if x.time > time:
                    raise RuntimeError(memory.rebound_message(node, x))
                stack.append(x)
    return [*(seen[time] for time in sorted(seen, reverse=True)), *leaves.values()]


def _leading_to(wanted: set[int], order: list[Node]) -> set[int]:
    """The nodes that depend on a wanted one: only their rules need to run, and only they are released.

    What a released node depended on is no longer known; unless it is all that is wanted, it counts as one of them.
    """
    leading: set[int] = set()
    for node in reversed(order):
        lost = node.edges is RELEASED and wanted != {id(node)}
        if lost or any(id(x) in wanted or id(x) in leading for x, _ in node.edges):
            leading.add(id(node))
    return leading


def _not_float(node: Node) -> TypeError:
    return TypeError(
        f"backward: a tensor of shape {node.shape} and dtype {node.dtype} requires a gradient; only floating-point tensors "
        "have one, use .float() before requires_grad"
    )


def _unaliased(g: Array, is_own: bool, node: Node) -> Array:
    if type(g) not in ARRAY_MODULES:  # NumPy's arithmetic returns scalars for 0-dimensional arrays
        return ARRAY_MODULES[type(node.array)].asarray(g)
    return g if is_own else g.copy(order="K")


def _run_hooks(node: Node, g: Any) -> Any:
    for hook in list(node.hooks or ()):
        given = g if isinstance(g, Node) else Node.public(g)
        result = hook(given)
        if result is not None:
            if not isinstance(result, Node):
                raise TypeError(
                    f"register_hook: a hook must return None or a tensor to take the gradient's place, got {type(result).__name__}"
                )
            if result.shape != node.shape:
                raise errors.ShapeError(
                    f"register_hook: the hook returned shape {result.shape} for a gradient of shape {node.shape}"
                )
            errors.check_gradient("register_hook", result, node)
            g = result if isinstance(g, Node) else result.array
    return g


def _released_message(node: Node) -> str:
    return (
        f"backward: the graph through {getattr(node.op, 'name', '?')!r} (shape {node.shape}{errors.at(node)}) was released by an earlier "
        "backward pass; pass retain_graph=True to the first one, or run the forward pass again"
    )


# The table of operators.

OPERATORS: dict[str, Op] = {"sum_to": sum_to, "expand": expand, "cast": cast}
"""Every operator by its name."""


def operator_named(name: str) -> Op:
    """OPERATORS[name]."""
    return OPERATORS[name]


def name_operators(module: dict[str, Any]) -> None:
    """Name the operators of a module after the variables that hold them, and enter them in the table."""
    for name, value in list(module.items()):
        if isinstance(value, Op):
            value.name = name.strip("_")
            OPERATORS[value.name] = value
