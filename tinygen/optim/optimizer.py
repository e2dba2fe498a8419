"""What all optimizers share: groups of parameters, the step, and saving and loading their state."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, ClassVar, TypedDict

import numpy as np

from tinygen.backend import Array, device_of, is_array, to_device
from tinygen.engine import Node, enable_grad
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole
from tinygen.optim.flat import FlatBuffer, by_kind, tied
from tinygen.tensor import Tensor

Group = dict[str, Any]
Rule = Callable[..., None]
"""The formula of a step, on arrays: see FlatBuffer.update."""


class Ignored(TypedDict, total=False):
    """PyTorch's choices among ways to compute the same step.  They are accepted everywhere and change nothing here: the
    update is one pass over flat memory, on a GPU one kernel."""

    foreach: bool | None
    fused: bool | None
    capturable: bool
    differentiable: bool


def counting_calls(step: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a step that counts in `calls` how often it was called, which a scheduler looks at."""
    step.counts_calls = True  # type: ignore[attr-defined]
    return step


class Optimizer:
    """Base class: an optimizer is a rule, and the names of what the rule remembers of every parameter.

    An optimizer of one's own may also be written as in PyTorch: a step() of its own that goes through `param_groups`, changes
    the parameters under no_grad, and keeps what it likes in `self.state[p]`, a dict for every parameter.

    params: tensors to optimise, pairs (name, tensor) as `named_parameters` gives them, or groups of either:
        [{"params": [...], "lr": 1e-2}, ...]; what a group does not say it takes from the optimizer's arguments.
    defaults: the hyper-parameters of the rule.
    ignored: PyTorch's foreach, fused and capturable have no effect (see `Ignored`); differentiable=True is refused.

    An optimizer can be copied and pickled.  A copy made together with the model, `deepcopy((model, optimizer))`, updates the
    copied model; a copy made alone has parameters of its own, which are `copy.param_groups[i]["params"]`.

    At its first step an optimizer moves the values of its parameters into one array per group (see flat.py).  The parameters
    stay the same objects; but detached tensors and arrays that were taken from them before that step do not follow them.

    Raises ValueError for hyper-parameters out of range, for no parameters and for a parameter given twice; TypeError for
    what is not a leaf of a floating-point dtype, as a module or a list of modules.
    """

    rule: ClassVar[Rule | None] = None
    """rule(xp, theta, g, s, r, *, t, **state, **hyper-parameters): see FlatBuffer.update.  None if step() does without."""
    counts_steps: ClassVar[bool] = True
    """Whether PyTorch's state of a parameter holds the number of its steps."""

    def __init__(self, params: Iterable[Any], defaults: Group, **ignored: Any):
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.calls = 0  # of step(), which a scheduler looks at
        self._buffers: list[list[FlatBuffer]] = []
        self._own_state: dict[Node, dict[str, Any]] = defaultdict(dict)
        self._check_ignored(ignored)
        if isinstance(params, Node | dict):
            raise TypeError(
                f"{self._name}: params must be a list of tensors or of groups, got one {type(params).__name__}; write [params]"
            )
        if hasattr(params, "parameters"):
            raise TypeError(
                f"{self._name}: params must be a list of tensors or of groups, got the module {type(params).__name__}; "
                "pass its parameters()"
            )
        if callable(params):
            raise TypeError(
                f"{self._name}: params must be a list of tensors or of groups, got the function "
                f"{getattr(params, '__name__', params)!r}; call it, as in model.parameters()"
            )
        params = list(params)
        if not params:
            raise ValueError(
                f"{self._name}: got no parameters; pass the parameters() of a module that has some.  A module does not see "
                "layers in a plain list or dict: put them into nn.ModuleList or nn.ModuleDict"
            )
        for group in params if isinstance(params[0], dict) else [{"params": params}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check_ignored(self, ignored: Mapping[str, Any]) -> None:
        if unknown := ignored.keys() - Ignored.__annotations__.keys():
            raise TypeError(f"{self._name}: there is no argument {sorted(unknown)[0]!r}; see help(optim.{self._name})")
        if ignored.get("differentiable"):
            raise ValueError(
                f"{self._name}: differentiable=True is not offered: a step changes the parameters in place.  To differentiate "
                "through an update write it with tensors: p = p - lr * tinygen.grad(loss, p, create_graph=True)[0]"
            )

    def __repr__(self) -> str:
        groups = []
        for i, group in enumerate(self.param_groups):
            numbers = ", ".join(f"{name}={value!r}" for name, value in group.items() if name != "params")
            groups.append(f"    group {i}: {len(group['params'])} parameters, {numbers}\n")
        return f"{self._name}(\n{''.join(groups)})"

    def initial_state(self, group: Group) -> dict[str, float]:
        """Name and first value of every array that the rule keeps beside a parameter of this group."""
        return {}

    def derived_state(self, group: Group, step: int) -> dict[str, float]:
        """Numbers that PyTorch keeps beside a parameter of this group, and that here follow from its last step's number."""
        return {}

    def check(self, group: Group) -> None:
        """Raise ValueError if a hyper-parameter of a group is out of range."""
        for name in self.defaults:
            value = group[name]
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{self._name}: {name} must be >= 0, got {value}")

    def add_param_group(self, param_group: Group) -> None:
        """One more group of parameters, with hyper-parameters of its own: a layer that is no longer frozen, for instance.

        param_group: {"params": tensors or pairs (name, tensor), "lr": ..., ...}; what is missing is the optimizer's default.
        Raises what the constructor raises.
        """
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{self._name}: a group must be a dict with the key 'params', got {param_group!r}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(f"{self._name}: the order of a set differs from run to run; pass the parameters as a list")
        params = [params] if isinstance(params, Node) else list(params)
        names = {}
        if params and all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in params):
            names = {"param_names": [name for name, _ in params]}
            params = [p for _, p in params]
        for i, p in enumerate(params):
            if hasattr(p, "parameters"):
                raise TypeError(
                    f"{self._name}: parameter {i} is a {type(p).__name__}, a module; pass the parameters() of a module that "
                    "has all of them, such as nn.ModuleList(layers).parameters()"
                )
            if not isinstance(p, Node):
                raise TypeError(f"{self._name}: parameter {i} is a {type(p).__name__}; tensors are expected")
            if p.op is not None or p.dtype.kind != "f":
                what = f"was made by {p.op.name!r}" if p.op is not None else f"has dtype {p.dtype}"
                raise TypeError(
                    f"{self._name}: parameter {i} {what}; only leaves of a floating-point dtype can be optimised"
                )
        known = [id(p) for p in chain(self._parameters(), params)]
        if len(set(known)) < len(known):
            raise ValueError(f"{self._name}: a parameter was given twice; it would be updated twice in every step")
        group = {**self.defaults, **param_group, "params": params, **names}
        self.check(group)
        self.param_groups.append(group)
        self._buffers.append([])

    def _parameters(self) -> Iterator[Node]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    @as_a_whole
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with set_to_none=False fill them with zeros: backward() adds to what is there."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p._grad = None
                elif p._grad is not None:
                    p._grad.detach_().zero_()

    @as_a_whole
    @counting_calls
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        closure: if given, it is called first, to compute the loss and the gradients.  Returns what it returns.
        """
        self.calls += 1
        rule = type(self).rule
        if rule is None:
            raise NotImplementedError(
                f"{self._name}: an optimizer must define step(), or a rule (see FlatBuffer.update)"
            )
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for i, group in enumerate(self.param_groups):
            hyper = {name: group[name] for name in self.defaults}
            # a NumPy scalar or a tensor would not be weak: float64 inside a float32 update
            hyper["lr"] = float(hyper["lr"])
            for buffer in self._buffers_of(i):
                buffer.update(rule, **hyper)
        return loss

    def _buffers_of(self, i: int) -> list[FlatBuffer]:
        """The buffers of group i.  They are made at the first step, and again when a parameter has moved out of them."""
        group, buffers = self.param_groups[i], self._buffers[i]
        names = tuple(self.initial_state(group))
        complete = sum(len(b.params) for b in buffers) == len(group["params"])
        if not (complete and all(b.names == names and b.is_home() for b in buffers)):
            self._make_buffers(i, {p: (steps, state) for b in buffers for p, steps, state in b.state() if steps})
        return self._buffers[i]

    def _make_buffers(self, i: int, saved: Mapping[Node, tuple[int, Mapping[str, Any]]]) -> None:
        """Move the parameters of group i into buffers, with the state saved for them: {parameter: (steps, {name: value})}."""
        group = self.param_groups[i]
        stay = tied(self._parameters())
        moving = by_kind([p for p in group["params"] if p not in stay])
        self._buffers[i] = [FlatBuffer(params, self.initial_state(group)) for params in moving]
        self._buffers[i] += [
            FlatBuffer([p], self.initial_state(group), stays=True) for p in group["params"] if p in stay
        ]
        for buffer in self._buffers[i]:
            buffer.restore(
                {
                    p: (saved[p][0], {name: self._like(p, name, value) for name, value in saved[p][1].items()})
                    for p in buffer.params
                    if p in saved
                }
            )

    def _like(self, p: Node, name: str, value: Any) -> Array:
        """A saved value (a tensor, an array, or what NumPy makes an array of) with the device and dtype of its parameter."""
        array = value.array if isinstance(value, Node) else value if is_array(value) else np.asarray(value)
        if array.shape != p.shape:
            raise ShapeError(
                f"{self._name}: {name!r} of shape {array.shape} was saved for a parameter that has shape {p.shape} now"
            )
        return to_device(array, device_of(p.array)).astype(np.promote_types(p.dtype, np.float32))

    @property
    def state(self) -> dict[Node, dict[str, Any]]:
        """{parameter: {"step": number, name: tensor}} for every parameter that has been updated.

        The tensors share memory with what the next step reads and changes.  To replace state as a whole use load_state_dict.
        Without a rule it is what step() has put there.
        """
        if type(self).rule is None:
            return self._own_state
        result = {}
        for group, buffers in zip(self.param_groups, self._buffers, strict=True):
            for p, steps, arrays in chain.from_iterable(b.state() for b in buffers):
                if steps and (self.counts_steps or arrays):
                    count = {"step": steps} if self.counts_steps else {}
                    tensors = {name: Tensor(array) for name, array in arrays.items()}
                    result[p] = count | self.derived_state(group, steps) | tensors
        return result

    def __getstate__(self) -> dict[str, Any]:
        """For `copy` and `pickle`: everything, with the state of a parameter as tensors of its own instead of the buffers."""
        kept = [
            [
                (p, steps, {name: Tensor(array) for name, array in arrays.items()})
                for p, steps, arrays in chain.from_iterable(b.state() for b in buffers)
                if steps
            ]
            for buffers in self._buffers
        ]
        return {**vars(self), "_buffers": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        kept, self._buffers = state["_buffers"], [[] for _ in self.param_groups]
        for i, group in enumerate(kept):
            if group:
                self._make_buffers(i, {p: (steps, tensors) for p, steps, tensors in group})

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's layout, where a parameter is the number of its place:

            {"state": {0: {"step": 7, "exp_avg": tensor, ...}, ...}, "param_groups": [{"lr": 0.001, ..., "params": [0, ...]}]}

        As in PyTorch the tensors are those in use, not copies: save or copy them before the next step.
        """
        number = {p: i for i, p in enumerate(self._parameters())}
        return {
            "state": {number[p]: values for p, values in self.state.items()},
            "param_groups": [{**group, "params": [number[p] for p in group["params"]]} for group in self.param_groups],
        }

    def _updated_groups(self, state_dict: Mapping[str, Any]) -> list[Group]:
        """The groups with the hyper-parameters that were saved, checked."""
        groups = state_dict["param_groups"]
        sizes, expected = ([len(g["params"]) for g in gs] for gs in (groups, self.param_groups))
        if sizes != expected:
            raise ValueError(
                f"{self._name}.load_state_dict: the state has groups of {sizes} parameters, this optimizer has {expected}"
            )
        updated = [
            {**own, **group, "params": own["params"]} for own, group in zip(self.param_groups, groups, strict=True)
        ]
        for group in updated:
            self.check(group)
        return updated

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict of an optimizer with the same groups; tensors, arrays and PyTorch's tensors are understood.

        The values are copied.  Raises ValueError if groups, shapes or the names of the state do not fit.
        """
        updated = self._updated_groups(state_dict)
        groups, state = state_dict["param_groups"], state_dict["state"]
        saved = {}
        owned: dict[Node, dict[str, Any]] = defaultdict(dict)
        for own, group in zip(updated, groups, strict=True):
            names = self.initial_state(own).keys()
            if type(self).rule is None:
                numbers = zip(own["params"], group["params"], strict=True)
                owned |= {p: {k: _copied(v, p) for k, v in state[n].items()} for p, n in numbers if n in state}
                continue
            for p, number in zip(own["params"], group["params"], strict=True):
                if number in state:
                    derived = self.derived_state(own, 1).keys()
                    values = {k: value for k, value in state[number].items() if value is not None and k not in derived}
                    steps = int(values.pop("step", 1))
                    if values.keys() != names:
                        raise ValueError(
                            f"{self._name}.load_state_dict: parameter {number} has the state {sorted(values)}, "
                            f"expected {sorted(names)}"
                        )
                    saved[p] = steps, {name: self._like(p, name, value) for name, value in values.items()}
        for own, group in zip(self.param_groups, updated, strict=True):
            own.update(group)
        self._own_state = owned
        if type(self).rule is not None:
            for i in range(len(self.param_groups)):
                self._make_buffers(i, saved)


def _copied(value: Any, p: Node) -> Any:
    """A copy of a saved value: an array or a tensor as a tensor, where its parameter is, and floats with its dtype."""
    if not (isinstance(value, Node) or is_array(value)):
        return copy.deepcopy(value)
    array = to_device(value.array if isinstance(value, Node) else value, device_of(p.array))
    return Tensor(array.astype(p.dtype if array.dtype.kind == "f" else array.dtype))
