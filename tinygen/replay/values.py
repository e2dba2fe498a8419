"""Python values as a recording sees them: by what nothing can tell apart, or as objects."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np


class Same:
    """Any object as a part of a key: it equals itself and nothing else."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value: Any = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value


def plain(value: Any) -> Any:
    """(type, value) of a Python number, text or the like, which equals only what nothing can tell from it: 1 is not True, 0.0 is
    not -0.0, and nan is nan.  None for anything else."""
    kind = type(value)
    if kind is float:
        return kind, struct.pack("d", value)
    if kind in _BY_VALUE:
        return kind, value
    if kind is complex:
        return kind, struct.pack("dd", value.real, value.imag)
    if isinstance(value, np.generic):
        return kind, value.tobytes()
    if kind is slice:
        parts = tuple(map(plain, (value.start, value.stop, value.step)))
        return None if None in parts else (kind, parts)
    return None


_BY_VALUE = {bool, int, str, bytes, type(None), type(Ellipsis)} | {type(np.dtype(t)) for t in "?bBhHiIlLqQefdg"}


def rebuilt(value: Any, replace: Callable[[Any], Any], whole: tuple[type, ...] = ()) -> Any:
    """The same tuples, lists and dicts with `replace` of everything else; whole: kinds of tuples that are not looked into."""
    if isinstance(value, whole):
        return replace(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[rebuilt(x, replace, whole) for x in value])
    if type(value) in (tuple, list):
        return type(value)([rebuilt(x, replace, whole) for x in value])
    if type(value) is dict:
        return {k: rebuilt(x, replace, whole) for k, x in value.items()}
    return replace(value)
