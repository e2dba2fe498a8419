"""Parametrizations: a parameter that is computed, by modules, from others that are trained (torch.nn.utils.parametrize).

    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T

    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    layer.weight                                   # symmetric, computed anew at every access
    layer.parametrizations.weight.original         # what is trained

The module's class becomes a subclass of it in which the name is a property.  Names in the state dict are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from tinygen.engine import Node, no_grad
from tinygen.nn.containers import ModuleDict, ModuleList
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]

M = TypeVar("M", bound=Module)
_cache: ContextVar[dict[tuple[int, str], Tensor] | None] = ContextVar("parametrize.cached", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Inside a `with`, every parametrized tensor is computed once, at its first access; afterwards at every access again.

    For models that use one weight several times, as a recurrent one does.  What changes inside is not seen.
    """
    if _cache.get() is not None:  # the outermost one keeps them
        yield
        return
    token = _cache.set({})
    try:
        yield
    finally:
        _cache.reset(token)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, one after the other, and what they start from: `original`, or original0, original1, ...

    modules: at least one.  original: the tensor as it was; a Parameter stays the same object, if its values do.
    unsafe: see register_parametrization.
    """

    def __init__(self, modules: Iterable[Module], original: Tensor, unsafe: bool = False):
        super().__init__(modules)
        self.unsafe = unsafe
        plain = original.detach()
        values = self._from(plain)
        self.is_tensor: bool = isinstance(values, Node)
        for name, value in zip(self._names_of_originals(values), _several(values), strict=True):
            if self.is_tensor and (
                value is original or value.shape == original.shape and value.dtype == original.dtype
            ):
                with no_grad():
                    if value is not original:
                        original.detach().copy_(value)
                value = original
            elif isinstance(original, Parameter):
                value = Parameter(value.detach(), original.requires_grad)
            if isinstance(value, Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value.detach())

    def _names_of_originals(self, values: Any) -> list[str]:
        return ["original"] if isinstance(values, Node) else [f"original{i}" for i in range(len(values))]

    def originals(self) -> list[Tensor]:
        """What the first parametrization is called with."""
        names = ["original"] if self.is_tensor else [name for name in vars(self) if name.startswith("original")]
        return [getattr(self, name) for name in names]

    def _from(self, value: Any) -> Any:
        """What the originals are to be, so that the parametrizations give that value."""
        with no_grad():
            for module in reversed(list(self)):
                inverse = getattr(module, "right_inverse", None)
                if inverse is not None:
                    value = inverse(value)
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals, so that the parametrized tensor is `value`: what assigning to the name does.

        Parametrizations without a right_inverse of their own are taken for the identity.
        Raises ValueError if the number of originals, or a shape, differs.
        """
        new = _several(self._from(value))
        originals = self.originals()
        if [tuple(x.shape) for x in new] != [tuple(x.shape) for x in originals]:
            raise ValueError(
                f"parametrize: the right inverse of a value of shape {tuple(value.shape)} has shapes "
                f"{[tuple(x.shape) for x in new]}, and {[tuple(x.shape) for x in originals]} are needed"
            )
        with no_grad():
            for x, y in zip(originals, new, strict=True):
                x.copy_(y)

    def forward(self) -> Tensor:
        first, *others = list(self)
        value = first(*self.originals())
        for module in others:
            value = module(value)
        return value


def _several(values: Any) -> list[Any]:
    return [values] if isinstance(values, Node) else list(values)


def register_parametrization(module: M, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> M:
    """Let a parameter or buffer be computed by a module, from what it was so far.  Changes the module, and returns it.

    tensor_name: the parameter's or buffer's.  A second parametrization of one tensor is called with what the first returns.
    parametrization: its forward takes the original and returns the tensor.  A method right_inverse(tensor), if it has one, says
        what the original is to be for a value of the tensor; if it returns several, forward takes several.  It is needed for
        assigning to the tensor; without it the original starts as the tensor was.
    unsafe: do not check that the tensor keeps its shape and dtype.

    Raises AttributeError if there is no such tensor, TypeError if the parametrization is not a Module, and ValueError if shape or
    dtype would change; then nothing is changed.
    """
    if not isinstance(parametrization, Module):
        raise TypeError(
            f"register_parametrization: an nn.Module is expected, got {type(parametrization).__name__}; wrap a function in one"
        )
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        before: Any = _lists(module)[tensor_name]
        _check(tensor_name, before(), parametrization, unsafe or before.unsafe)
        value = before()
        before.append(parametrization)
        before.unsafe = before.unsafe or unsafe
        if hasattr(parametrization, "right_inverse"):
            before.right_inverse(value.detach())
        return module
    own = vars(module).get(tensor_name)
    if not (isinstance(own, Parameter) or isinstance(own, Tensor) and tensor_name in module._buffers):
        names = [n for n, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))]
        raise AttributeError(
            f"register_parametrization: {type(module).__name__} has no parameter or buffer {tensor_name!r} of its own; it has "
            + (", ".join(map(repr, names)) or "none")
        )
    _check(tensor_name, own, parametrization, unsafe)
    list_of_one = ParametrizationList([parametrization], own, unsafe)
    list_of_one.training = module.training
    delattr(module, tensor_name)
    if not is_parametrized(module):
        setattr(module, "parametrizations", ModuleDict())  # noqa: B010
    _lists(module)[tensor_name] = list_of_one
    _reclass(module)
    return module


def _lists(module: Module) -> Any:
    """name -> ParametrizationList."""
    return vars(module).get("parametrizations")


def _check(name: str, value: Any, parametrization: Module, unsafe: bool) -> None:
    """That the tensor keeps its shape and dtype."""
    if unsafe:
        return
    with no_grad():
        inverse = getattr(parametrization, "right_inverse", None)
        new = parametrization(*_several(value.detach() if inverse is None else inverse(value.detach())))
    if not isinstance(new, Node) or new.shape != value.shape or new.dtype != value.dtype:
        got = f"{new.dtype} of shape {tuple(new.shape)}" if isinstance(new, Node) else type(new).__name__
        raise ValueError(
            f"register_parametrization: {name!r} is {value.dtype} of shape {tuple(value.shape)}, and the parametrization returns "
            f"{got}; unsafe=True allows it"
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrized tensor: of that name, or any.

    module: whose own tensors are meant, not those of its children.  tensor_name: None for any.
    """
    found = vars(module).get("parametrizations")
    if not isinstance(found, ModuleDict) or not isinstance(module, _Parametrized):
        return False
    return bool(len(found)) if tensor_name is None else tensor_name in found


def type_before_parametrizations(module: Module) -> Any:
    """The class that a module had before a tensor of it was parametrized; its class, if none is."""
    return type(module).__bases__[1] if isinstance(module, _Parametrized) else type(module)


def remove_parametrizations(module: M, tensor_name: str, leave_parametrized: bool = True) -> M:
    """Make a parametrized tensor an ordinary one again.  Changes the module, and returns it.

    tensor_name: its name.  leave_parametrized: it keeps the value that it has; False: it becomes the original.
    Raises ValueError if it is not parametrized, or if there are several originals to become.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(
            f"remove_parametrizations: {tensor_name!r} of this {type(module).__name__} is not parametrized"
        )
    parametrizations = _lists(module)
    entry = parametrizations[tensor_name]
    original = entry.originals()[0]
    if not leave_parametrized and not entry.is_tensor:
        raise ValueError(
            f"remove_parametrizations: {tensor_name!r} has several originals, so leave_parametrized must be True"
        )
    if leave_parametrized:
        with no_grad():
            value = entry()
        if entry.is_tensor and value.shape == original.shape and value.dtype == original.dtype:
            with no_grad():
                original.copy_(value)  # an optimizer that holds it follows
        else:
            trained = isinstance(original, Parameter)
            original = Parameter(value.detach(), original.requires_grad) if trained else value.detach()
    del parametrizations[tensor_name]
    if not len(parametrizations):
        delattr(module, "parametrizations")
    _reclass(module)
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    return module


class _Parametrized:
    """What the subclasses have in common: how they are copied and pickled, as they have no name to be found by."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        base: Any = type(self).__bases__[1]
        return _made_again, (base, tuple(self.__dict__["parametrizations"])), self.__dict__


def _made_again(base: Any, names: tuple[str, ...]) -> Any:
    return object.__new__(_subclass(base, names))


def _reclass(module: Module) -> None:
    """Give the module the class that its parametrizations ask for."""
    base = type_before_parametrizations(module)
    found = vars(module).get("parametrizations")
    object.__setattr__(module, "__class__", _subclass(base, tuple(found)) if found is not None else base)


@cache
def _subclass(base: Any, names: tuple[str, ...]) -> type[Module]:
    return type(f"Parametrized{base.__name__}", (_Parametrized, base), {name: _property(name) for name in names})


def _property(name: str) -> property:
    def get(self: Any) -> Tensor:
        computed = _cache.get()
        if computed is None:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in computed:
            computed[key] = self.parametrizations[name]()
        return computed[key]

    def set(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, set, doc="Computed by module.parametrizations at every access.")
