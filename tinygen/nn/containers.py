"""Modules made of modules: Sequential, ModuleList, ModuleDict; ParameterList and ParameterDict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from tinygen.errors import ShapeError
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor


class _Numbered(Module):
    """What Sequential, ModuleList and ParameterList share: members under the names "0", "1", ..., as in a list."""

    _member: type = Module

    def _names(self) -> list[str]:
        return [name for name, value in self.__dict__.items() if isinstance(value, self._member)]

    def _name(self, index: int) -> str:
        names = self._names()
        if not -len(names) <= index < len(names):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(names)} members")
        return names[index]

    def _set_all(self, members: Iterable[Any]) -> None:
        members = list(members)
        for name in self._names():
            delattr(self, name)
        for i, member in enumerate(members):
            setattr(self, str(i), member)

    def __len__(self) -> int:
        return len(self._names())

    def __iter__(self) -> Iterator[Any]:
        return iter([value for value in self.__dict__.values() if isinstance(value, self._member)])

    def __reversed__(self) -> Iterator[Any]:
        return reversed(list(self))

    def __contains__(self, member: object) -> bool:
        return any(m is member for m in self)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._of(list(self)[index])
        return self.__dict__[self._name(index)]

    def _of(self, members: Iterable[Any]) -> Any:
        return type(self)(members)  # type: ignore[call-arg]

    def __setitem__(self, index: int, member: Any) -> None:
        setattr(self, self._name(index), self._checked(member))

    def __delitem__(self, index: int | slice) -> None:
        members = list(self)
        del members[index]
        self._set_all(members)

    def _checked(self, member: Any) -> Any:
        if not isinstance(member, self._member):
            raise TypeError(
                f"{type(self).__name__}: an nn.{self._member.__name__} is expected, got {type(member).__name__}"
            )
        return member

    def append(self, member: Any) -> Self:
        """Add a member at the end; returns the container.  Raises TypeError for one of another kind."""
        return self.extend([member])

    def insert(self, index: int, member: Any) -> None:
        """Put a member in front of number `index`.  Raises TypeError for one of another kind."""
        members = list(self)
        members.insert(index, self._checked(member))
        self._set_all(members)

    def extend(self, members: Iterable[Any]) -> Self:
        """Add several members at the end; returns the container.  Raises TypeError for one of another kind."""
        members, names = [self._checked(member) for member in members], self._names()
        new = [str(len(names) + i) for i in range(len(members))]
        if set(names).isdisjoint(new):
            for name, member in zip(new, members):
                setattr(self, name, member)
        else:  # names that a slice kept, as "1", "2": number them anew, lest one be overwritten
            self._set_all([*self, *members])
        return self

    __iadd__ = extend

    def __add__(self, members: Iterable[Any]) -> Any:
        return self._of([*self, *members])


class Sequential(_Numbered):
    """The modules one after the other, each called with what the one before it returned.

        nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    modules: any number of them.  A dict as the only argument gives the modules names of their own.
    Raises TypeError for what is not a Module.
    """

    def __init__(self, *modules: Any):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, self._checked(module))
        else:
            self.extend(modules)

    def _of(self, members: Iterable[Any]) -> Sequential:
        return Sequential(*members)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):  # a part keeps the names, and so the keys of its state_dict
            return Sequential({name: self.__dict__[name] for name in self._names()[index]})
        return super().__getitem__(index)

    def forward(self, input: Any) -> Tensor:
        for name, module in self.__dict__.items():
            if isinstance(module, Module):
                try:
                    input = module(input)
                except ShapeError as error:
                    _say_where(error, name, module)
                    raise
        return input


def _say_where(error: Exception, name: str, module: Module) -> None:
    """A note under the error: which module of the Sequential it came from, "2.0" for one inside another."""
    notes = getattr(error, "__notes__", [])
    if notes and notes[-1].startswith("in module "):
        notes[-1] = f"in module {name}.{notes[-1].removeprefix('in module ')}"
    else:
        error.add_note(f"in module {name} of the Sequential: {repr(module).splitlines()[0]}")


class ModuleList(_Numbered):
    """A list whose modules count as the owner's: their parameters are found.  It has no forward of its own.

    modules: what it starts with.  Raises TypeError for what is not a Module.
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self.extend(modules or ())


class ParameterList(_Numbered):
    """A list whose Parameters count as the owner's; tensors become Parameters.

    values: what it starts with.
    """

    _member = Parameter

    def __init__(self, values: Iterable[Any] | None = None):
        super().__init__()
        self.extend(values or ())

    def _checked(self, member: Any) -> Parameter:
        return member if isinstance(member, Parameter) else Parameter(member)

    def extra_repr(self) -> str:
        return "\n".join(f"({i}): {_in_a_line(p)}" for i, p in enumerate(self))


class _Named(Module):
    """What ModuleDict and ParameterDict share: members under names, as in a dict."""

    _member: type = Module

    def _members(self) -> dict[str, Any]:
        return {name: m for name, m in self.__dict__.items() if isinstance(m, self._member)}

    def _put(self, name: str, member: Any) -> None:
        raise NotImplementedError

    def update(self, members: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add or replace several: members is a dict, or pairs of a key and a value."""
        for name, member in members.items() if isinstance(members, Mapping | _Named) else members:
            self[name] = member

    def __setitem__(self, name: str, member: Any) -> None:
        self._put(name, member)

    def __getitem__(self, name: str) -> Any:
        return self._members()[name]

    def __delitem__(self, name: str) -> None:
        del self._members()[name]  # KeyError if there is none
        delattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self._members()

    def __len__(self) -> int:
        return len(self._members())

    def __iter__(self) -> Iterator[str]:
        return iter(self._members())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._members())

    def pop(self, key: str) -> Any:
        """Take out the member of that key and return it; KeyError if there is none."""
        member = self[key]
        del self[key]
        return member

    def clear(self) -> None:
        """Take out all members."""
        for name in list(self):
            del self[name]

    def keys(self) -> Iterable[str]:
        """The keys, in the order in which they were added."""
        return self._members().keys()

    def values(self) -> Iterable[Any]:
        """The members."""
        return self._members().values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """(key, member), as a dict has them."""
        return self._members().items()


class ModuleDict(_Named):
    """A dict whose modules count as the owner's, under their keys.  It has no forward of its own.

    modules: a dict, or pairs of a key and a module.
    Raises KeyError for a key with a dot, or one that is an attribute's name, TypeError for what is not a Module.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None):
        super().__init__()
        self.update(modules or ())

    def _put(self, name: str, member: Any) -> None:
        self.register_module(name, member)


class ParameterDict(_Named):
    """A dict whose Parameters count as the owner's, under their keys; tensors become Parameters.

    parameters: a dict, or pairs of a key and a tensor.  They keep their order; PyTorch sorts a plain dict's.
    Raises KeyError for a key with a dot, or one that is an attribute's name.
    """

    _member = Parameter

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None):
        super().__init__()
        self.update(parameters or ())

    def _put(self, name: str, member: Any) -> None:
        self.register_parameter(name, member if isinstance(member, Parameter) else Parameter(member))

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of that key, or the default."""
        return self._members().get(key, default)

    def setdefault(self, key: str, default: Any) -> Parameter:
        """The parameter of that key, which becomes the default if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> ParameterDict:
        """A new dict of the same Parameters."""
        return ParameterDict(self._members())

    def extra_repr(self) -> str:
        return "\n".join(f"({name}): {_in_a_line(p)}" for name, p in self.items())


def _in_a_line(p: Parameter) -> str:
    return f"Parameter containing: [{p.dtype} of size {'x'.join(map(str, p.shape)) or '()'}]"
