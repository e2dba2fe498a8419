"""Calls that are made twice: first to see what they give and what they stand on, then again for their gradients.

How the graph of a second run is kept apart from the user's: the clock tells which of its nodes are new.  Where an edge leads from
a new node to an older one, a stand-in of the older one takes its place; the walk back ends there, and the gradient is what has
arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import ref

import numpy as np

from tinygen import engine
from tinygen.backend import Array, Generator, get_rng_state, set_rng_state
from tinygen.engine import Node, constant, enable_grad
from tinygen.memory import clock
from tinygen.recompute.operator import Likeness, same


class Call:
    """A call that is made twice.

    name: for errors.  draws: where the second run's random numbers start.
    tolerance: by how much the results of the two runs may differ, see `differ`.
    """

    inputs: list[Any]
    """The tensors from before the call to which gradients flow."""
    like: Likeness
    name: str
    function: Callable[..., Any]
    draws: Draws | None
    tolerance: float | None
    samples: list[Array]
    own_leaves: int
    kept: Kept

    def __init__(
        self, name: str, function: Callable[..., Any], draws: Draws | None = None, tolerance: float | None = None
    ):
        self.name, self.function, self.draws, self.tolerance = name, function, draws, tolerance

    def first(self, args: tuple[Any, ...], kwargs: dict[str, Any], leaf: Node | None = None) -> tuple[Any, list[Node]]:
        """(what the function returns, the results in it), without the graph.  leaf: an argument that is another one next time."""
        out, results, entered, read = _run_and_drop(self.name, self.function, args, kwargs)
        self.like = [(y.shape, y.dtype) for y in results]
        self.samples = [sample(y.array) for y in results]
        # what only the graph held is gone with it; what is left was there before the call
        self.inputs = [x for r in entered if (x := r()) is not None and x is not leaf]
        self.own_leaves = len(entered) - len(self.inputs)
        older = [x for x in (*(r() for r in read), *tensors_in((args, kwargs))) if x is not None and x is not leaf]
        self.kept = Kept(self.name, {id(x): x for x in older}.values())
        return out, results

    def again(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cotangents: Sequence[Any],
        wanted: Sequence[int],
        leaf: Node | None = None,
    ) -> list[Any]:
        """The gradients of Σ <cotangent, result> with respect to the wanted ones of `inputs`, by number, and to the leaf."""

        def rerun() -> Any:
            with self.draws.once_more() if self.draws else nullcontext():
                return self.function(*args, **kwargs)

        return differentiate(rerun, self._check, self.inputs, cotangents, wanted, leaf)

    def _check(self, made: list[Node], entered: list[Node]) -> None:
        """Raise RuntimeError where the second run is not the first one again."""
        self.kept.check()
        like = [(y.shape, y.dtype) for y in made]
        if like != self.like:
            raise RuntimeError(
                f"{self.name}: the second run gave {_listed(like)}, and the first {_listed(self.like)}; the function must do the "
                "same both times"
            )
        known = {id(x) for x in self.inputs}
        strange = [x for x in entered if id(x) not in known]
        if len(entered) - len(strange) < len(known) or len(strange) > self.own_leaves or any(x.op for x in strange):
            raise RuntimeError(
                f"{self.name}: the second run depends on other tensors than the first: {len(known)} were there, "
                f"{len(entered) - len(strange)} are still, {len(strange)} came; the function must do the same both times, and must "
                "not change tensors from outside in place"
            )
        for i, (y, before) in enumerate(zip(made, self.samples, strict=True)):
            if differ(before, sample(y.array), self.tolerance):
                raise RuntimeError(
                    f"{self.name}: result {i}, of shape {y.shape}, is not the same in the second run. Does the function draw from a "
                    "generator that is not among its arguments, or read something that has changed since?"
                )


def _run_and_drop(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, list[Node], list[ref], list[ref]]:
    """Run the function with a graph, and look what its results depend on; the graph goes when this function returns.

    (what it returned, with the results without their graph; these results; the tensors from before to which a gradient flows; all
    tensors that its operators read and that no recorded operator of its own made.)
    """
    since = next(clock)
    out = function(*args, **kwargs)
    if any(x.time > since for x in tensors_in((args, kwargs))):
        raise RuntimeError(
            f"{name}: the function changed its argument in place, and would do so again in the backward pass; let it change a clone()"
        )
    made = _made(out, since)
    nodes, entered = _graph(made, since)
    results = {id(y): alias(y) for y in made}
    read = {id(x): ref(x) for node in nodes for x in node.inputs if isinstance(x, Node) and x.time <= since}
    out = map_tensors(lambda y: results.get(id(y), y), out)
    return out, list(results.values()), [ref(x) for x in entered], list(read.values())


def differentiate(
    rerun: Callable[[], Any],
    check: Callable[[list[Node], list[Node]], None] | None,
    inputs: Sequence[Node],
    cotangents: Sequence[Any],
    wanted: Sequence[int],
    leaf: Node | None = None,
) -> list[Any]:
    """Run something with a graph, and return the gradients with respect to the wanted inputs, by number, and to the leaf.

    They are arrays, or nodes if the cotangents are.
    """
    create_graph = isinstance(cotangents[0], Node)
    with enable_grad():
        stand_ins = [same(x) for x in inputs]
        since = next(clock)
        made = _made(rerun(), since)
    nodes, entered = _graph(made, since)
    if check is not None:
        check(made, entered)
    stand_in = {id(x): s for x, s in zip(inputs, stand_ins, strict=True)}
    for node in nodes:
        node.edges = [(stand_in.get(id(x), x), rule) for x, rule in node.edges]
    del nodes, entered
    outward = [s.edges for s in stand_ins]
    for s in stand_ins:
        s.edges = ()  # the walk ends here
    targets = [*(stand_ins[i] for i in wanted), *([leaf] if leaf is not None else [])]
    found = engine.backpropagate(made, cotangents, targets, create_graph, release=not create_graph)
    for s, edges in zip(stand_ins, outward, strict=True):
        s.edges = edges  # and a walk through the gradients goes on to the true input
    return [found[id(t)][1] for t in targets]


def _graph(made: Iterable[Node], since: int) -> tuple[list[Node], list[Node]]:
    """(the nodes made after `since` that these depend on, the older ones to which gradients flow from there)."""
    new: dict[int, Node] = {}
    older: dict[int, Node] = {}
    stack = list(made)
    while stack:
        node = stack.pop()
        if node.time <= since:
            older[id(node)] = node
        elif id(node) not in new:
            new[id(node)] = node
            stack.extend(x for x, _ in node.edges)
    return list(new.values()), list(older.values())


class Kept:
    """Tensors that a second run reads, and a look whether they are what they were."""

    name: str
    time: int

    def __init__(self, name: str, tensors: Iterable[Any]):
        self.name, self.time = name, next(clock)
        self.tensors: list[tuple[Any, Any]] = [(x, x.array) for x in tensors]

    def check(self) -> None:
        for x, array in self.tensors:
            if x.array is not array or x.memory is not None and x.memory.changed > self.time:
                raise RuntimeError(
                    f"{self.name}: a tensor of shape {x.shape} was changed in place after it was used, and the second run needs what it "
                    "was; change a clone() instead"
                )


class Draws:
    """Where the default generators are, and those among some arguments: to draw the same numbers once more."""

    def __init__(self, arguments: Iterable[Any]):
        self.others: list[Generator] = [a for a in arguments if isinstance(a, Generator)]
        self.start: tuple[Any, list[Any]] = self._now()

    def _now(self) -> tuple[Any, list[Any]]:
        return get_rng_state(), [g.get_state() for g in self.others]

    def _go_to(self, state: tuple[Any, list[Any]]) -> None:
        set_rng_state(state[0])
        for g, its_state in zip(self.others, state[1], strict=True):
            g.set_state(its_state)

    @contextmanager
    def once_more(self) -> Iterator[None]:
        now = self._now()
        self._go_to(self.start)
        try:
            yield
        finally:
            self._go_to(now)


def alias(y: Node) -> Node:
    """The same values in the same memory, without the graph."""
    node = constant(y.array)
    node.memory = y.memory
    return node


def _made(out: Any, since: int) -> list[Any]:
    """The tensors in it that were recorded after `since`, each once."""
    return list({id(y): y for y in tensors_in(out) if y.requires_grad and y.time > since}.values())


def tensors_in(x: Any) -> list[Any]:
    """All tensors in tuples, lists and dicts."""
    found: list[Any] = []
    map_tensors(found.append, x)
    return found


def map_tensors(f: Callable[[Any], Any], x: Any) -> Any:
    """The same tuples, lists and dicts with f(tensor) in the place of every tensor."""
    if isinstance(x, Node):
        return f(x)
    if isinstance(x, dict):
        return {key: map_tensors(f, value) for key, value in x.items()}
    if isinstance(x, tuple | list):
        values = [map_tensors(f, value) for value in x]
        return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)
    return x


def sample(y: Array) -> Array:
    """A copy of some 64 values."""
    flat = y.reshape(-1)
    return flat[:: max(1, flat.size // 64)].copy()


def differ(a: Array, b: Array, power: float | None) -> bool:
    """Whether b is further from a than a share of the largest |a|: the dtype's precision, to that power.  None: never."""
    if power is None or not a.size:
        return False
    with np.errstate(invalid="ignore"):
        return bool((abs(a - b) > float(np.finfo(a.dtype).eps) ** power * abs(a).max()).any())


def _listed(like: Likeness) -> str:
    return " and ".join(f"{dtype} {tuple(shape)}" for shape, dtype in like) or "no tensor with a gradient"
