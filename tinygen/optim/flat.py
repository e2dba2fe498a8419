"""Parameters in one piece of memory, so that an update is a handful of array calls however many parameters there are.

Calling NumPy costs about half a microsecond, and starting a CUDA kernel several: with 96 small tensors that would be most
of the time of an update.  So the parameters of a group are moved into one flat array; the module sees views of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend import Array, array_module, backend_of, device_of
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.memory import note_change

PIECE = 64 * 1024
"""Elements that are updated at a time on a CPU: the rule passes over them a dozen times, and they should stay in cache."""


class Piece(NamedTuple):
    """Elements start to stop of the parameters number first to last - 1, laid end to end."""

    first: int
    last: int
    start: int
    stop: int


def cut(sizes: Sequence[int], limit: int) -> Iterator[Piece]:
    """Cut parameters of these sizes into pieces of at most `limit` elements.

    A piece is a run of whole parameters, or a part of one that is longer than `limit`.
    """
    first = total = 0
    for k, n in enumerate(sizes):
        if first < k and total + n > limit:
            yield Piece(first, k, 0, total)
            first, total = k, 0
        total += n
        if n > limit:
            for start in range(0, n, limit):
                yield Piece(k, k + 1, start, min(start + limit, n))
            first, total = k + 1, 0
    if first < len(sizes):
        yield Piece(first, len(sizes), 0, total)


def by_kind(params: Sequence[Node]) -> list[list[Node]]:
    """The parameters sorted by device and dtype: those of one list can share an array."""
    kinds: dict[Any, list[Node]] = {}
    for p in params:
        kinds.setdefault((device_of(p.array), p.dtype), []).append(p)
    return list(kinds.values())


class FlatBuffer:
    """Parameters of one device and one dtype as views of one array, and the optimizer's state in arrays beside it.

    Parameters without a gradient are left alone, and their state does not advance.  The others are updated in spans:
    neighbours that have been updated equally often, which usually are all of them.

    params: tensors of one dtype on one device; their values move here, and `p.array` becomes a view.
    stays: the buffer is the memory of the one parameter, which does not move: that of a tied one, which others look at.
    initial: name and initial value of every array of state.

    Half precision is updated in float32, and so is its state: in float16 an eps of 1e-8 is 0, and so is the square of 1e-4.
    The parameters are rounded at the end.
    """

    def __init__(self, params: Sequence[Node], initial: Mapping[str, float], stays: bool = False):
        self.params: list[Node] = list(params)
        self.names: tuple[str, ...] = tuple(initial)
        self.steps: list[int] = [0] * len(self.params)  # how often each parameter has been updated
        arrays = [p.array for p in self.params]
        self._shapes = [a.shape for a in arrays]
        self._offsets = [0, *accumulate(a.size for a in arrays)]
        self._xp = xp = array_module(arrays[0])
        self._theta = theta = _in_place(arrays[0]) if stays else xp.concatenate(arrays, axis=None)
        self._wide = np.promote_types(theta.dtype, np.float32)
        self._state = {name: xp.full(theta.shape, value, self._wide) for name, value in initial.items()}
        # On a GPU everything is one piece, and the rule one kernel: it needs no memory for what it calculates.
        on_cpu = device_of(theta).type == "cpu"
        self._limit = min(PIECE, theta.size) if on_cpu else theta.size
        dtypes = theta.dtype, self._wide, self._wide
        self._scratch = [xp.empty(self._limit, d) if on_cpu or i == 0 else None for i, d in enumerate(dtypes)]
        self._exact = theta.dtype == self._wide
        self._forget_plan()
        self._views = arrays if stays else self._split(theta)
        for p, view in zip(self.params, self._views, strict=True):
            p.array = view

    def _forget_plan(self) -> None:
        self._has_gradient: list[bool] = []
        self._spans: list[tuple[int, list[Any]]] = []
        self._updated: list[int] = []

    def _split(self, flat: Array) -> list[Array]:
        """The parts of a flat array that belong to the parameters, in their shapes."""
        return [flat[a:b].reshape(shape) for (a, b), shape in zip(pairwise(self._offsets), self._shapes, strict=True)]

    def is_home(self) -> bool:
        """Whether every parameter still is a view of this buffer: module.to(...) and `p.data = ...` replace `p.array`."""
        return all(map(is_, [p.array for p in self.params], self._views))

    def state(self) -> Iterator[tuple[Node, int, dict[str, Array]]]:
        """For every parameter how often it was updated, and its state by name: views in the parameter's shape."""
        parts = {name: self._split(flat) for name, flat in self._state.items()}
        for i, p in enumerate(self.params):
            yield p, self.steps[i], {name: views[i] for name, views in parts.items()}

    def restore(self, saved: Mapping[Node, tuple[int, Mapping[str, Array]]]) -> None:
        """Go on from a saved state, {parameter: (how often updated, {name: array on this device})}."""
        self._forget_plan()
        for i, (p, _, views) in enumerate(self.state()):
            if p in saved:
                self.steps[i], arrays = saved[p]
                for name in views.keys() & arrays.keys():
                    views[name][...] = arrays[name]

    def update(self, rule: Callable[..., Any], **hyper: Any) -> None:
        """Apply rule(xp, theta, g, s, r, t=, **state, **hyper) to all parameters that have a gradient.

        theta, g, s, r: one-dimensional arrays of one length: values, gradient, and two to calculate in, on the CPU; elsewhere
            these are None.
        t: how often these parameters have been updated, this time included.
        The rule changes theta and the state in place, and leaves g alone.
        """
        gradients = [None if g is None else g.array for g in [p._grad for p in self.params]]
        has_gradient = [g is not None for g in gradients]
        if has_gradient != self._has_gradient:
            self._has_gradient, self._spans = has_gradient, list(self._plan(has_gradient))
            self._updated = [i for i, has in enumerate(has_gradient) if has]
        if [shape if g is None else g.shape for g, shape in zip(gradients, self._shapes)] != self._shapes:
            self._refuse(gradients)
        xp = self._xp
        whole: Any = None
        for i, pieces in self._spans:
            t = self.steps[i] + 1
            for (first, last, start, stop), theta, state, (gathered, s, r) in pieces:
                if last - first > 1:
                    g = xp.concatenate(gradients[first:last], axis=None, out=gathered)
                else:
                    if start == 0:
                        whole = gradients[first].reshape(-1)  # type: ignore[union-attr]
                    g = whole[start:stop]
                if self._exact:
                    rule(xp, theta, g, s, r, t=t, **state, **hyper)
                else:
                    exact = theta.astype(self._wide)
                    rule(xp, exact, g.astype(self._wide), s, r, t=t, **state, **hyper)
                    theta[...] = exact
        steps = self.steps
        for i in self._updated:
            steps[i] += 1
        note_changes([self.params[i] for i in self._updated])

    def _refuse(self, gradients: Sequence[Array | None]) -> None:
        for g, shape in zip(gradients, self._shapes, strict=True):
            if g is not None and g.shape != shape:
                raise ShapeError(
                    f"step: a parameter of shape {shape} has a gradient of shape {g.shape}; they must be equal"
                )

    def _plan(self, has_gradient: Sequence[bool]) -> Iterator[tuple[int, list[Any]]]:
        """The spans: (its first parameter, its pieces with the views of everything that the rule needs)."""
        n = len(self.params)
        i = 0
        while i < n:
            j = i
            while j < n and has_gradient[j] and self.steps[j] == self.steps[i]:
                j += 1
            if i < j:
                yield (
                    i,
                    [
                        self._piece(i, piece)
                        for piece in cut([b - a for a, b in pairwise(self._offsets[i : j + 1])], self._limit)
                    ],
                )
            i = max(j, i + 1)

    def _piece(self, i: int, piece: Piece) -> tuple[Any, ...]:
        first, last, start, stop = piece
        offset = self._offsets[i + first]
        at = slice(offset + start, offset + stop)
        state = {name: flat[at] for name, flat in self._state.items()}
        return (
            Piece(i + first, i + last, start, stop),
            self._theta[at],
            state,
            [s if s is None else s[: stop - start] for s in self._scratch],
        )


def tied(params: Iterable[Node]) -> set[Node]:
    """The parameters that share memory with others, by `p.data = q.data` or as views of one array."""
    found: set[Node] = set()
    by_place = sorted((*_bounds(p.array), i, p) for i, p in enumerate(params) if p.array.size)
    reached, last = -1, None  # the end of what came before, and the parameter that reaches there
    for start, end, _, p in by_place:
        if start < reached and last is not None and _overlap(p.array, last.array):
            found |= {p, last}
        if end > reached:
            reached, last = end, p
    return found


def _overlap(x: Array, y: Array) -> bool:
    """Whether arrays that reach into each other have elements in common, and do not only alternate in memory."""
    if x.flags.c_contiguous and y.flags.c_contiguous or not isinstance(x, np.ndarray):
        return True
    return np.shares_memory(x, y)


def _bounds(x: Array) -> tuple[int, int]:
    """The first byte of an array and the one after its last."""
    start = backend_of(x).address(x)
    spans = [(n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)]
    return start + sum(s for s in spans if s < 0), start + sum(s for s in spans if s > 0) + x.dtype.itemsize


def _in_place(x: Array) -> Array:
    if not x.flags.c_contiguous:
        raise RuntimeError(
            f"step: a parameter of shape {x.shape} shares its memory with another and does not lie there row by row (it was "
            "transposed, or is a part with gaps); tie whole parameters, or give it memory of its own: p.data = p.data.clone()"
        )
    return x.reshape(-1)


def note_changes(nodes: Sequence[Node]) -> None:
    """engine.note_change for many nodes that were changed at once: one tick of the clock."""
    if not nodes:
        return
    note_change(nodes[0])
    now = nodes[0].memory.changed  # type: ignore[union-attr]
    for x in nodes[1:]:
        memory = x.memory
        if memory is None:
            note_change(x)
        else:
            memory.changed = now
            memory.count += 1
