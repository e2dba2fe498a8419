"""A second array library, made to be unforgiving: it finds every place that would fail on CuPy, without a GPU.

A StrictArray wraps a NumPy array and behaves as CuPy's arrays do where the two differ:

- it is not a NumPy array, and NumPy's functions refuse it (CuPy's would even accept some and compute on the GPU;
  here a forgotten `xp` always raises);
- NumPy arrays, 0-dimensional ones too, are refused in its functions, its operators and as its indices;
- reductions and single elements are 0-dimensional arrays, never scalars;
- it has its own random generator.

Importing this file registers it as the device "strict": `tg.randn(3, device="strict")`, `my_layer.to("strict")`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygen.backend import Backend, Device, register

STRICT = Device("strict")


class StrictArray:
    __slots__ = ("_a",)
    __array_ufunc__ = None  # ndarray + strict asks strict.__radd__, which refuses
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, a: np.ndarray):
        assert type(a) is np.ndarray
        self._a = a

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use backend.to_numpy")

    def __array_function__(self, func: Callable, *_: Any) -> Any:
        raise TypeError(f"numpy.{func.__name__} was called with a strict array; use the array's own module xp")

    def get(self) -> np.ndarray:
        """A copy as a NumPy array (cupy.ndarray.get)."""
        return self._a.copy()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._a, name)
        if callable(value):
            if name in ("item", "tolist"):
                return value
            return lambda *args, **kwargs: wrap(value(*unwrap(args), **unwrap(kwargs)))
        return wrap(value) if name in ("T", "real", "imag") else value

    def __getitem__(self, key: Any) -> StrictArray:
        key = unwrap(key)
        out = self._a[key]
        if not isinstance(out, np.ndarray):  # one element: a view of it
            out = self._a[(*key, ...) if isinstance(key, tuple) else (key, ...)]
        return StrictArray(out)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._a[unwrap(key)] = unwrap(value)

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Iterator[StrictArray]:
        return (self[i] for i in range(len(self._a)))

    def __bool__(self) -> bool:
        return bool(self._a)

    def __int__(self) -> int:
        return int(self._a)

    def __float__(self) -> float:
        return float(self._a)

    def __index__(self) -> int:
        return operator.index(self._a)

    def __repr__(self) -> str:
        return f"strict {self._a!r}"


def _operator(name: str) -> Callable:
    def method(self: StrictArray, *others: Any) -> Any:
        out = getattr(self._a, name)(*unwrap(others))
        if name.startswith("__i") and name not in ("__invert__",):
            return self
        return NotImplemented if out is NotImplemented else wrap(out)

    return method


_BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
for _name in [
    *(f"__{prefix}{name}__" for prefix in ("", "r", "i") for name in _BINARY),
    *(f"__{name}__" for name in "eq ne lt le gt ge neg pos abs invert".split()),
]:
    setattr(StrictArray, _name, _operator(_name))


def wrap(out: Any) -> Any:
    """NumPy's result as a strict one; a scalar as a 0-dimensional array."""
    if isinstance(out, np.ndarray):
        return StrictArray(out)
    if isinstance(out, np.generic):
        return StrictArray(np.asarray(out))
    if isinstance(out, tuple | list):
        return type(out)(wrap(x) for x in out)
    return out


def unwrap(x: Any) -> Any:
    """A strict argument as NumPy's.  NumPy arrays are refused."""
    if isinstance(x, StrictArray):
        return x._a
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}: a NumPy array, shape {x.shape}, was given to the strict library")
    if isinstance(x, tuple | list):
        return type(x)(unwrap(y) for y in x)
    if isinstance(x, dict):
        return {key: unwrap(y) for key, y in x.items()}
    return x


class StrictModule:
    """The library itself: numpy.name, wrapped."""

    ndarray = StrictArray
    __name__ = "strict"

    def __getattr__(self, name: str) -> Any:
        if name in ("random", "fft", "testing"):
            raise AttributeError(f"the strict library has no {name}")
        value = getattr(np, name)
        if isinstance(value, type) or not callable(value):
            return value

        def function(*args: Any, **kwargs: Any) -> Any:
            if name in ("asarray", "array") and isinstance(args[0], np.ndarray):  # the explicit way to the device
                return wrap(np.array(*args, **kwargs))
            return wrap(value(*unwrap(args), **unwrap(kwargs)))

        setattr(self, name, function)
        return function

    @property
    def linalg(self) -> Any:
        """What tinygen uses of it."""
        return SimpleNamespace(inv=lambda x: wrap(np.linalg.inv(x._a)))


class StrictRandom:
    def __init__(self, seed: int):
        self._generator = np.random.Generator(np.random.Philox(seed))
        self.bit_generator = self._generator.bit_generator

    def standard_normal(self, shape: Any = None, dtype: Any = np.float64) -> StrictArray:
        return wrap(self._generator.standard_normal(shape, dtype=dtype))

    def random(self, shape: Any = None, dtype: Any = np.float64) -> StrictArray:
        return wrap(self._generator.random(shape, dtype=dtype))

    def integers(self, low: int, high: int, shape: Any = None) -> StrictArray:
        return wrap(self._generator.integers(low, high, shape))

    def permutation(self, n: int) -> StrictArray:
        return wrap(self._generator.permutation(n))


class StrictBackend(Backend):
    type = "strict"
    xp: Any = StrictModule()
    array_type = StrictArray

    def default_device(self) -> Device:
        return STRICT

    def device_of(self, array: StrictArray) -> Device:
        return STRICT

    def from_numpy(self, array: np.ndarray, device: Device) -> StrictArray:
        return StrictArray(array.copy(order="K"))

    def to_numpy(self, array: StrictArray) -> np.ndarray:
        return array.get()

    def move(self, array: StrictArray, device: Device) -> StrictArray:
        return array

    def add_at(self, target: StrictArray, index: Any, values: StrictArray) -> None:
        np.add.at(target._a, unwrap(index), unwrap(values))

    def erf(self, x: StrictArray) -> StrictArray:
        from scipy.special import erf

        return wrap(erf(x._a))

    def random(self, seed: int, device: Device) -> StrictRandom:
        return StrictRandom(seed)

    def synchronize(self) -> None:
        pass


register(StrictBackend())
