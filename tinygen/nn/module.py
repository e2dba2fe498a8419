"""Module: a function with parameters.

A module's parameters are those of its attributes that are Parameters, its children those that are Modules: nothing is
registered behind the scenes, and to read an attribute costs what it costs in any Python object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, Self, TypeVar

import numpy as np

from tinygen.backend import Device
from tinygen.engine import Node, no_grad
from tinygen.memory import as_a_whole, here
from tinygen.nn.backward_hooks import WatchedCall
from tinygen.nn.loading import fitting
from tinygen.nn.parameter import Parameter
from tinygen.tensor import RemovableHandle, Tensor


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` left aside."""

    missing_keys: list[str]
    unexpected_keys: list[str]


P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class HasForward(Protocol[P, R]):
    """What type checkers see in a module: calling it takes and returns what its `forward` does."""

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


changes = 0
"""How often an attribute of a module was set: as long as it stays the same, all modules are as they were."""


class Module:
    """Base class of all layers and models: assign Parameters and Modules to attributes, and define `forward`.

        class Affine(nn.Module):
            def __init__(self, n):
                super().__init__()
                self.scale = nn.Parameter(tinygen.ones(n))
                self.shift = nn.Parameter(tinygen.zeros(n))

            def forward(self, x):
                return x * self.scale + self.shift

    Names of parameters, `state_dict` keys and the order of both are PyTorch's.
    """

    training: bool = True
    """Whether dropout and batch normalisation behave as in training; set by train() and eval()."""

    # Class-level defaults, replaced in the instance at first use: a subclass works without super().__init__() too.
    _buffers: Mapping[str, bool] = {}  # names of the attributes that are buffers -> whether state_dict saves them
    _hooks: tuple[list[Any], list[Any], list[Any], list[Any]] | None = (
        None  # called before and after forward, and in the backward pass
    )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no method forward(self, ...)")

    if TYPE_CHECKING:

        def __call__(self: HasForward[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...

    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            before, after, before_backward, after_backward = self._hooks
            for hook in list(before):
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            watched = WatchedCall(self, before_backward, after_backward) if before_backward or after_backward else None
            args = watched.inputs(args) if watched else args
            out = self.forward(*args, **kwargs)
            for hook in list(after):
                changed = hook(self, args, out)
                if changed is not None:
                    out = changed
            return watched.outputs(out) if watched else out

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.  A parameter, a child or a buffer is not silently replaced by what is none: raises TypeError."""
        old = self.__dict__.get(name)
        if isinstance(old, Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(
                f"{type(self).__name__}: the parameter {name!r} cannot become a {type(value).__name__}; assign "
                f"nn.Parameter(...), None, or change its values under no_grad() with {name}.copy_(...)"
            )
        if isinstance(old, Module) and not (value is None or isinstance(value, Module)):
            raise TypeError(
                f"{type(self).__name__}: the child {name!r} cannot become a {type(value).__name__}; assign an nn.Module or "
                f"None, or `del` it first"
            )
        if name in self._buffers and not (value is None or isinstance(value, Node)):
            raise TypeError(
                f"{type(self).__name__}: the buffer {name!r} cannot become a {type(value).__name__}; assign a tensor or None"
            )
        global changes
        changes += 1
        if here.recorder is not None:
            here.recorder.attribute(self, name, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        global changes
        changes += 1
        object.__delattr__(self, name)

    # Registering by name

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """setattr(self, name, param), for a Parameter, or None for one that is left out.

        Raises TypeError for what is not a Parameter, KeyError for a name with a dot or one that another attribute has.
        """
        if not (param is None or isinstance(param, Parameter)):
            raise TypeError(f"register_parameter: {name!r} must be an nn.Parameter or None, got {type(param).__name__}")
        self._claim("register_parameter", name)
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """An attribute that is state but not trained: it moves with the module, and state_dict saves it if persistent.

        name: of the attribute.  tensor: what it starts with, or None.
        Raises TypeError for what is not a tensor, KeyError for a name with a dot or one that another attribute has.
        """
        if not (tensor is None or isinstance(tensor, Node)):
            raise TypeError(f"register_buffer: {name!r} must be a tensor or None, got {type(tensor).__name__}")
        if name not in self._buffers:
            self._claim("register_buffer", name)
        object.__setattr__(self, "_buffers", {**self._buffers, name: persistent})
        setattr(self, name, tensor)

    def register_module(self, name: str, module: Module | None) -> None:
        """setattr(self, name, module), for a Module or None.

        Raises TypeError for what is not a Module, KeyError for a name with a dot or one that another attribute has.
        """
        if not (module is None or isinstance(module, Module)):
            raise TypeError(f"register_module: {name!r} must be an nn.Module or None, got {type(module).__name__}")
        self._claim("register_module", name)
        setattr(self, name, module)

    add_module = register_module

    def _claim(self, function: str, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{function}: a name is a non-empty string without dots, got {name!r}")
        old = self.__dict__.get(name)
        member = old is None or isinstance(old, Module | Parameter) or name in self._buffers
        if hasattr(type(self), name) or not member:
            raise KeyError(f"{function}: {type(self).__name__} has an attribute {name!r} already; choose another name")

    # What is inside

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) for every attribute that is a Module; one that has two names comes once."""
        seen: set[int] = set()
        for name, value in self.__dict__.items():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules that are attributes of this one, without those inside them."""
        return (m for _, m in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) for this module (path "") and everything below: "encoder", "encoder.0", ...

        memo: modules that are left out; those that come are added to it.  prefix: what the paths begin with.
        remove_duplicate: a module that has two paths comes once, under the first.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, value in list(self.__dict__.items()):
            if isinstance(value, Module):
                yield from value.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and everything below, each once."""
        return (m for _, m in self.named_modules())

    def _named_tensors(
        self, own: Callable[[Module], Iterable[tuple[str, Tensor]]], prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in own(module):
                if not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def _own_parameters(self) -> list[tuple[str, Parameter]]:
        return [(name, p) for name, p in self.__dict__.items() if isinstance(p, Parameter)]

    def _own_buffers(self) -> list[tuple[str, Tensor]]:
        return [(name, b) for name in self._buffers if isinstance(b := self.__dict__.get(name), Tensor)]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), here and below; a parameter shared by several modules comes once.

        prefix: what the paths begin with.  recurse: False: only those of this module.
        remove_duplicate: False: a shared one comes under each of its paths.
        """
        return self._named_tensors(Module._own_parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, here and below: what an optimizer is given.

        recurse: False: only those of this module.
        """
        return (p for _, p in self.named_parameters("", recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer), here and below.

        prefix, recurse, remove_duplicate: as named_parameters has them.
        """
        return self._named_tensors(Module._own_buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, here and below; recurse=False: only those of this module."""
        return (b for _, b in self.named_buffers("", recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at the path `target`, such as "encoder.0"; "" is the module itself.  AttributeError if there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            inner = module.__dict__.get(name)
            if not isinstance(inner, Module):
                raise AttributeError(f"get_submodule: {type(module).__name__} has no child {name!r} (path {target!r})")
            module = inner
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the path `target`, such as "encoder.0.weight".  Raises AttributeError if there is none."""
        return self._member_at("get_parameter", target, Parameter)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the path `target`, such as "encoder.1.running_mean".  Raises AttributeError if there is none."""
        return self._member_at("get_buffer", target, Tensor)

    def _member_at(self, function: str, target: str, kind: type) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        found = vars(owner).get(name) if kind is Parameter or name in owner._buffers else None
        if not isinstance(found, kind):
            what = function.removeprefix("get_")
            raise AttributeError(f"{function}: {type(owner).__name__} has no {what} {name!r} (path {target!r})")
        return found

    def set_submodule(self, target: str, module: Module) -> None:
        """Put a module at the path `target`, such as "encoder.0".  Raises AttributeError if there is no module at the path before its last
        part, KeyError for a name that another attribute has."""
        path, _, name = target.rpartition(".")
        self.get_submodule(path).register_module(name, module)

    @property
    def _modules(self) -> Mapping[str, Module]:
        """PyTorch's dict of children, to be looked at only: children are attributes here."""
        return MappingProxyType({name: m for name, m in self.__dict__.items() if isinstance(m, Module)})

    @property
    def _parameters(self) -> Mapping[str, Parameter]:
        """PyTorch's dict of parameters, to be looked at only: parameters are attributes here."""
        return MappingProxyType(dict(self._own_parameters()))

    # Saving and loading

    def state_dict(self, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """{path: tensor} of all parameters and persistent buffers.  The tensors share memory with the module's.

        prefix: what the paths begin with.  keep_vars: the parameters themselves instead of detached tensors.
        """
        return {key: value if keep_vars else value.detach() for key, value in self._state(prefix)}

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """PyTorch's order: a module's parameters, its buffers, then child after child; shared ones under each name."""
        for name, p in self._own_parameters():
            yield prefix + name, p
        for name, b in self._own_buffers():
            if self._buffers[name]:
                yield prefix + name, b
        for name, module in self.__dict__.items():
            if isinstance(module, Module):
                yield from module._state(f"{prefix}{name}.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers, which stay the same objects in the same memory.

        state_dict: path -> tensor, NumPy array or anything that np.asarray understands; dtype and device are adapted.
        strict: missing and unexpected keys are errors; otherwise they are returned.  Shapes must always agree.

        Raises TypeError if it is not a dict, and an error that lists all that does not fit; then nothing is changed: ShapeError
        for a wrong shape, ValueError for what is not a number (dates, text, complex numbers, masked values) or would become
        another one (too large for the dtype, a fraction for an integer), RuntimeError for missing and unexpected keys.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: a dict of tensors is expected, got {type(state_dict).__name__}")
        own = dict(self._state())
        values, missing, unexpected = fitting(type(self).__name__, own, state_dict, strict)
        with no_grad():
            for key, value in values.items():
                own[key].copy_(value)
        return IncompatibleKeys(missing, unexpected)

    # Changing all of it

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call fn on every module below and then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode (dropout drops, batch normalisation uses the batch), here and below."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether the parameters ask for gradients: requires_grad=False freezes them."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    @as_a_whole
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with set_to_none=False set them to zeros."""
        for p in self.parameters():
            grad: Any = p.grad
            p.grad = None if set_to_none or grad is None else grad.detach().zero_()

    def to(self, *target: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False) -> Self:
        """Change dtype and device: the target is "cuda", float64, both, or a tensor to be like: to("cuda", float64), to(t).

        The parameters stay the same objects, so an optimizer that holds them follows.  Only floating-point tensors change
        their dtype.  non_blocking is accepted, and without effect.  Raises TypeError when the dtype is not floating-point.
        """

        def move(x: Any) -> Any:
            moved = x.detach().to(*target, dtype=dtype, device=device)
            if moved.dtype.kind != "f" and x.dtype.kind == "f":
                raise TypeError(f"{type(self).__name__}.to: a floating-point dtype is expected, got {moved.dtype}")
            return moved if x.dtype.kind == "f" else x.to(device=moved.device)

        return self._apply(move)

    def _apply(self, move: Callable[[Any], Any]) -> Self:
        for p in self.parameters():
            values, grad = move(p), None if p.grad is None else move(p.grad)
            if values.array is not p.array:
                p.data, p.grad = values, grad
        moved: dict[int, Any] = {}  # a buffer that two modules share stays shared
        for module in self.modules():
            for name, b in module._own_buffers():
                if id(b) not in moved:
                    new = move(b)
                    moved[id(b)] = (b, b if new.array is b.array else new)
                setattr(module, name, moved[id(b)][1])
        return self

    def cpu(self) -> Self:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | str | Device | None = None) -> Self:
        """Move to the GPU; device: its number or name."""
        return self.to(f"cuda:{device}" if isinstance(device, int) else device or "cuda")

    def float(self) -> Self:
        """All floating-point parameters and buffers become float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """All floating-point parameters and buffers become float64."""
        return self.to(np.float64)

    def half(self) -> Self:
        """All floating-point parameters and buffers become float16."""
        return self.to(np.float16)

    # Hooks

    def register_forward_pre_hook(self, hook: Callable[[Any, tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call hook(module, args) before forward; what it returns, if not None, replaces the arguments."""
        return self._register(0, hook)

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> RemovableHandle:
        """Call hook(module, args, output) after forward; what it returns, if not None, replaces the output."""
        return self._register(1, hook)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_output) when the gradients of the module's outputs are known; its result replaces them.

        grad_output: a tuple with the gradient of every output.  The hook returns None, or such a tuple (or the one gradient).
        prepend: call it before the hooks that are there already.
        """
        return self._register(2, hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) when the gradients of the module's inputs are known; its result replaces
        those of the inputs.

        grad_input: a tuple with the gradient of every positional argument, None where there is none.  Replaced are the
        gradients of the arguments, not those of the parameters.
        prepend: call it before the hooks that are there already.
        """
        return self._register(3, hook, prepend)

    def _register(self, when: int, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        if self._hooks is None:
            self._hooks = ([], [], [], [])
        self._hooks[when].insert(0 if prepend else len(self._hooks[when]), hook)
        return RemovableHandle(self._hooks[when], hook)

    # In print

    def extra_repr(self) -> str:
        """What stands between the brackets in print: the arguments; several lines are indented."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"({name}): " + repr(m).replace("\n", "\n  ") for name, m in self.__dict__.items() if isinstance(m, Module)
        ]
        extra = self.extra_repr().splitlines()
        if not lines and len(extra) < 2:
            return f"{type(self).__name__}({''.join(extra)})"
        lines = extra + lines
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"
