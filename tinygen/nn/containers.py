"""Modules made of modules: Sequential, ModuleList, ModuleDict; and ParameterList."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

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
        """Add a member at the end; returns the container."""
        return self.extend([member])

    def insert(self, index: int, member: Any) -> None:
        """Put a member in front of number `index`."""
        members = list(self)
        members.insert(index, self._checked(member))
        self._set_all(members)

    def extend(self, members: Iterable[Any]) -> Self:
        """Add several members at the end; returns the container."""
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

    A dict as the only argument gives the modules names of their own.
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
        for module in self:
            input = module(input)
        return input


class ModuleList(_Numbered):
    """A list whose modules count as the owner's: their parameters are found.  It has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules or ())


class ParameterList(_Numbered):
    """A list whose Parameters count as the owner's; tensors become Parameters."""

    _member = Parameter

    def __init__(self, values: Iterable[Any] = ()):
        super().__init__()
        self.extend(values or ())

    def _checked(self, member: Any) -> Parameter:
        return member if isinstance(member, Parameter) else Parameter(member)

    def extra_repr(self) -> str:
        return "\n  ".join(f"({i}): Parameter of shape {tuple(p.shape)}, {p.dtype}" for i, p in enumerate(self))


class ModuleDict(Module):
    """A dict whose modules count as the owner's, under their keys."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()):
        super().__init__()
        self.update(modules or ())

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace several modules."""
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module

    def _modules(self) -> dict[str, Module]:
        return {name: m for name, m in self.__dict__.items() if isinstance(m, Module)}

    def __setitem__(self, name: str, module: Module) -> None:
        self.register_module(name, module)

    def __getitem__(self, name: str) -> Module:
        return self._modules()[name]

    def __delitem__(self, name: str) -> None:
        del self._modules()[name]  # KeyError if there is none
        delattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self._modules()

    def __len__(self) -> int:
        return len(self._modules())

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules())

    def keys(self) -> Iterable[str]:
        return self._modules().keys()

    def values(self) -> Iterable[Module]:
        return self._modules().values()

    def items(self) -> Iterable[tuple[str, Module]]:
        return self._modules().items()
