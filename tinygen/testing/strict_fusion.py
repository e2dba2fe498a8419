"""How the strict double fuses: the function runs on stand-ins that allow what `cupy.fuse` can trace, and refuse the rest.

CuPy traces a function by calling it with objects that note which operations are applied to them.  They have no values and no
shape.  These have values, so that the result is there at once, but they show them no more than CuPy's do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

COMPARISONS = "eq ne lt le gt ge".split()


class NotElementwise(TypeError):
    """The function cannot be one kernel, and why."""


class TracedNumber:
    """A number that is an argument of the kernel.  It may meet arrays only: CuPy 14 computes 1 - 0.999 in float16."""

    __slots__ = ("value",)
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: float):
        self.value: float = value

    def __bool__(self) -> bool:
        raise NotElementwise(
            "fuse: a decision depends on a number that is an argument; pass None instead of it, or an option"
        )

    def __float__(self) -> float:
        raise NotElementwise("fuse: an argument that is a number has no value while the function is traced")

    __int__ = __index__ = __float__  # type: ignore[assignment]


class TracedArray:
    """An array that the kernel goes through element by element."""

    __slots__ = ("_a",)
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, a: np.ndarray):
        self._a = a

    @property
    def dtype(self) -> np.dtype:
        return self._a.dtype

    @property
    def ndim(self) -> int:
        return self._a.ndim

    def astype(self, dtype: Any, copy: bool = True) -> TracedArray:
        return TracedArray(self._a.astype(dtype, copy=copy))

    def copy(self) -> TracedArray:
        return TracedArray(self._a.copy(order="K"))

    def __neg__(self) -> TracedArray:
        return apply("negative", np.negative, (self,), {})

    def __invert__(self) -> TracedArray:
        return apply("invert", np.invert, (self,), {})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"fuse: .{name} is no elementwise step, or depends on what a kernel is not told")

    def __bool__(self) -> bool:
        raise NotElementwise("fuse: a decision depends on the values of an array; use xp.where")

    def __getitem__(self, key: Any) -> Any:
        raise NotElementwise("fuse: an index is no elementwise step")

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is not Ellipsis:
            raise NotElementwise("fuse: an index is no elementwise step, but for x[...] = y")
        self._a[...] = untraced(value)


def untraced(x: Any) -> Any:
    """What NumPy is given: the array, or the number."""
    if isinstance(x, TracedArray):
        return x._a
    if isinstance(x, TracedNumber):
        return x.value
    if x is None or isinstance(x, bool | int | float | np.generic):
        return x
    raise NotElementwise(f"fuse: Unsupported type {type(x)} inside a fused function")


def is_traced(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(x, TracedArray | TracedNumber) for x in (*args, *kwargs.values()))


def apply(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> TracedArray:
    """One step: NumPy's `function` on stand-ins."""
    is_elementwise = name in ("where", "clip", "erf") or (isinstance(function, np.ufunc) and function.signature is None)
    if not is_elementwise or kwargs.keys() - {"out"}:
        raise NotElementwise(f"fuse: {name}({', '.join(kwargs)}) is no elementwise step")
    out = kwargs.get("out")
    if not any(isinstance(x, TracedArray) for x in args):
        raise NotElementwise(f"fuse: {name} of numbers alone; compute it outside, and pass the result")
    result = function(*map(untraced, args), **({} if out is None else {"out": untraced(out)}))
    return TracedArray(np.asarray(result)) if out is None else out


def _binary(ufunc: np.ufunc, reverse: bool) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> TracedArray:
        return apply(ufunc.__name__, ufunc, (other, self) if reverse else (self, other), {})

    return method


def _in_place(ufunc: np.ufunc) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> TracedArray:
        return apply(ufunc.__name__, ufunc, (self, other), {"out": self})

    return method


_NAMES = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "pow": np.power,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
for _name, _ufunc in _NAMES.items():
    for _class in (TracedArray, TracedNumber):
        setattr(_class, f"__{_name}__", _binary(_ufunc, False))
        if _name not in ("pow", *COMPARISONS):
            setattr(_class, f"__r{_name}__", _binary(_ufunc, True))
    if _name not in COMPARISONS:
        setattr(TracedArray, f"__i{_name}__", _in_place(_ufunc))


def run(function: Callable[..., Any], *args: Any) -> Any:
    """The function, called once with stand-ins for NumPy arrays and numbers; what it returns, as NumPy arrays.

    As after a kernel, these are arrays of their own.
    """
    given = [TracedArray(x) if isinstance(x, np.ndarray) else None if x is None else TracedNumber(x) for x in args]
    result = function(*given)
    results = result if isinstance(result, tuple) else (result,)
    if not all(isinstance(x, TracedArray) for x in results) and result is not None:
        raise NotElementwise(
            f"fuse: the function must return arrays or None, not {[type(x).__name__ for x in results]}"
        )
    arrays = tuple(x._a.copy(order="K") if any(x._a is y for y in args) else x._a for x in results if x is not None)
    return arrays if isinstance(result, tuple) else arrays[0] if arrays else None
