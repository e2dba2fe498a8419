"""L-BFGS: Newton's method with a second derivative that is read off the last steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import numpy as np

from tinygen.backend import Array, array_module, device_of, is_array, to_device, to_numpy
from tinygen.engine import Node, enable_grad
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole
from tinygen.optim.flat import by_kind, note_changes
from tinygen.optim.line_search import Point, strong_wolfe
from tinygen.optim.optimizer import Group, Optimizer, counting_calls
from tinygen.tensor import Tensor

ARRAYS, LISTS = ("d", "prev_flat_grad"), ("old_dirs", "old_stps")


class LBFGS(Optimizer):
    """θ ← θ + t d,   d = -H g

    where H, an estimate of the inverse of the matrix of second derivatives, is made of the last steps s = Δθ and the changes
    y = Δg that they brought, without ever being written down (`direction`).  For smooth functions without noise: whole data
    sets rather than mini-batches.

        optimizer = LBFGS(model.parameters(), line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            return loss

        optimizer.step(closure)         # up to max_iter steps; closure is called about as often

    params: parameters, in one group, all of one dtype and on one device.
    lr: the distance t without a line search, and the first one that is tried with it.
    max_iter: steps θ ← θ + t d in a call of step().
    max_eval: calls of the closure in a call of step(), 1.25 · max_iter unless told.
    tolerance_grad: stop when no element of the gradient is larger.
    tolerance_change: stop when no parameter moves by more, or the loss changes by less.
    history_size: how many pairs s, y are kept: 2 · history_size times the memory of the parameters.
    line_search_fn: None, or "strong_wolfe" (`line_search.py`), with which the loss falls in every step.

    State: PyTorch's names, in the place of the first parameter.  Raises ValueError for several groups and for another line
    search, TypeError for parameters of several dtypes or devices and for step() without a closure.
    Source: Liu, Nocedal 1989; Nocedal, Wright 2006, algorithms 7.4 and 7.5.
    """

    counts_steps: ClassVar[bool] = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                max_iter=max_iter,
                max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
                tolerance_grad=tolerance_grad,
                tolerance_change=tolerance_change,
                history_size=history_size,
                line_search_fn=line_search_fn,
            ),
        )
        self._memory: dict[str, Any] = {}

    def check(self, group: Group) -> None:
        super().check(group)
        if not group["history_size"] >= 1:
            raise ValueError(f"LBFGS: history_size must be at least 1, got {group['history_size']}")
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {group['line_search_fn']!r}")

    def add_param_group(self, param_group: Group) -> None:
        """The one group of parameters.  Raises ValueError for a second one: H mixes all parameters."""
        if self.param_groups:
            raise ValueError(
                "LBFGS: all parameters must be in one group; H mixes them, so they cannot have rates of their own"
            )
        super().add_param_group(param_group)

    @as_a_whole
    @counting_calls
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter steps.

        closure: clears the gradients, computes the loss and the gradients, and returns the loss.
        Returns what its first call returned.
        """
        if closure is None:
            raise TypeError(
                "LBFGS.step: a closure is needed, which is called several times: a function that clears the gradients, "
                "computes the loss, calls backward() and returns the loss"
            )
        self.calls += 1
        group = self.param_groups[0]
        params, lr, memory = group["params"], float(group["lr"]), self._remembered()

        def evaluate() -> tuple[Any, float, Array]:
            with enable_grad():
                loss = closure()
            memory["func_evals"] += 1
            return loss, float(loss), self._flat([p.array * 0 if p.grad is None else p.grad.array for p in params])

        def to(theta: Array) -> None:
            for p, (a, b) in zip(params, pairwise(accumulate((p.array.size for p in params), initial=0)), strict=True):
                p.array[...] = theta[a:b].reshape(p.shape)
            note_changes(params)

        first, value, g = evaluate()
        if _largest(g) <= group["tolerance_grad"]:
            return first
        calls = 1
        for i in range(1, group["max_iter"] + 1):
            memory["n_iter"] += 1
            d = self._next_direction(memory, g, group["history_size"])
            t = lr * min(1.0, 1 / _number(abs(g).sum())) if memory["n_iter"] == 1 else lr
            slope, before, theta = _number(g.dot(d)), value, self._flat([p.array for p in params])
            memory |= {"d": d, "t": t, "prev_flat_grad": g, "prev_loss": value}
            if slope > -group["tolerance_change"]:
                break
            if group["line_search_fn"]:

                def at(t: float, theta: Array = theta, d: Array = d) -> Point:
                    to(theta + t * d)
                    _, value, g = evaluate()
                    return Point(t, value, g, _number(g.dot(d)))

                point, more = strong_wolfe(at, Point(0.0, value, g, slope), t, _largest(d))
                memory["t"] = t = point.t
                value, g, calls = point.value, point.gradient, calls + more
                to(theta + t * d)
            else:
                to(theta + t * d)
                if i < group["max_iter"]:
                    _, value, g = evaluate()
                    calls += 1
            moved, change = abs(t) * _largest(d), abs(value - before)
            if (
                calls >= group["max_eval"]
                or _largest(g) <= group["tolerance_grad"]
                or min(moved, change) <= group["tolerance_change"]
            ):
                break
        return first

    @property
    def _dtype(self) -> np.dtype:
        """That of everything that is kept: at least float32, since the squares of half precision soon are infinite."""
        return np.promote_types(self.param_groups[0]["params"][0].dtype, np.float32)

    def _flat(self, arrays: Sequence[Array]) -> Array:
        return array_module(arrays[0]).concatenate(arrays, axis=None).astype(self._dtype, copy=False)

    @staticmethod
    def _next_direction(memory: dict[str, Any], g: Array, history_size: int) -> Array:
        """-H g; with the last step taken into H, if the slope grew along it: else H would not lead downhill."""
        if memory["n_iter"] == 1:
            memory |= {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0}
            return -g
        y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        bend = _number(y.dot(s))
        if bend > 1e-10:
            for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1 / bend)):
                memory[name].append(value)
                del memory[name][:-history_size]
            memory["H_diag"] = bend / _number(y.dot(y))
        return direction(g, memory["old_dirs"], memory["old_stps"], memory["ro"], memory["H_diag"])

    def _remembered(self) -> dict[str, Any]:
        """What is known of the function, on the device and with the dtype that the parameters have now."""
        kinds = by_kind(self.param_groups[0]["params"])
        if len(kinds) > 1:
            found = ", ".join(f"{kind[0].dtype} on {device_of(kind[0].array)}" for kind in kinds)
            raise TypeError(f"LBFGS: all parameters must have one dtype and one device, got {found}")
        self._memory = {"func_evals": 0, "n_iter": 0} | {k: self._fitting(k, v) for k, v in self._memory.items()}
        return self._memory

    def _fitting(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name in LISTS:
            return [self._fitting("d", v) for v in value]
        if name == "ro":
            return [float(v) for v in value]
        if name in ARRAYS:
            params = self.param_groups[0]["params"]
            array = value.array if isinstance(value, Node) else value if is_array(value) else np.asarray(value)
            size = sum(p.array.size for p in params)
            if array.shape != (size,):
                raise ShapeError(
                    f"LBFGS: the state was saved for parameters of {array.size} elements, these have {size} together"
                )
            return to_device(array, device_of(params[0].array)).astype(self._dtype, copy=False)
        return int(value) if name in ("func_evals", "n_iter") else float(value)

    @property
    def state(self) -> dict[Node, dict[str, Any]]:
        """{first parameter: {name: number, tensor or list of those}}: all parameters have one state."""
        if not self._memory:
            return {}
        return {self.param_groups[0]["params"][0]: {name: _as_tensors(value) for name, value in self._memory.items()}}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_memory": {name: _as_tensors(v) for name, v in self._memory.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict for the same parameters; tensors, arrays and PyTorch's tensors are understood.

        The values are copied.  Raises ValueError if groups, sizes or the names of the state do not fit.
        """
        (group,) = self._updated_groups(state_dict)
        numbers = state_dict["param_groups"][0]["params"]
        state = dict(state_dict["state"].get(numbers[0], {}))
        state.pop("al", None)  # PyTorch's scratch
        names = {"func_evals", "n_iter", "t", "H_diag", "prev_loss", "ro", *ARRAYS, *LISTS}
        if state.keys() - names or (state and not state.keys() >= {"func_evals", "n_iter"}):
            raise ValueError(f"LBFGS.load_state_dict: the state has {sorted(state)}, expected {sorted(names)}")
        memory = {name: self._fitting(name, copy.deepcopy(value)) for name, value in state.items()}
        self.param_groups[0].update(group)
        self._memory = memory


def direction(g: Array, changes: Sequence[Array], steps: Sequence[Array], ro: Sequence[float], scale: float) -> Array:
    """-H g, where H is what BFGS makes of scale · identity with these pairs y, s, the oldest first, and ro = 1/<y, s>.

    Source: Nocedal, Wright 2006, algorithm 7.4.
    """
    d = -g
    weights = []
    for y, s, r in reversed(list(zip(changes, steps, ro, strict=True))):
        weights.append(r * _number(s.dot(d)))
        d -= weights[-1] * y
    d *= scale
    for y, s, r, weight in zip(changes, steps, ro, reversed(weights), strict=True):
        d += (weight - r * _number(y.dot(d))) * s
    return d


def _number(x: Any) -> float:
    """A number, which may lie in an array on a device."""
    return float(to_numpy(x)) if is_array(x) else float(x)


def _largest(x: Array) -> float:
    return _number(abs(x).max()) if x.size else 0.0


def _as_tensors(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_tensors(v) for v in value]
    return Tensor(value) if is_array(value) else value
