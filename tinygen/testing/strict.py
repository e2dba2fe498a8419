"""A second array library, made to be unforgiving: it finds every place that would fail on CuPy, without a GPU.

A StrictArray wraps a NumPy array and behaves as CuPy's arrays do where the two differ:

- it is not a NumPy array, and NumPy's functions refuse it (CuPy's would even accept some and compute on the GPU;
  here a forgotten `xp` always raises);
- NumPy arrays, 0-dimensional ones too, are refused in its functions, its operators and as its indices;
- reductions and single elements are 0-dimensional arrays, never scalars;
- a fused function may do only what a kernel can do (strict_fusion.py);
- it has its own random generator.

Transfers and kernels are counted (`counted`), and work can be captured, to be launched again (strict_log.py).

Importing this file registers it as the device "strict": `tg.randn(3, device="strict")`, `my_layer.to("strict")`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygen.backend import Backend, Device, register
from tinygen.backend.base import GPU, Limits
from tinygen.testing import strict_fusion, strict_log
from tinygen.testing.strict_fusion import TracedArray, TracedNumber
from tinygen.testing.strict_log import counted

__all__ = ["STRICT", "StrictArray", "StrictBackend", "StrictModule", "StrictRandom", "counted", "unwrap", "wrap"]

STRICT = Device("strict")


class StrictArray:
    __slots__ = ("__weakref__", "_a")
    __array_ufunc__ = None  # ndarray + strict asks strict.__radd__, which refuses
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, a: np.ndarray):
        assert type(a) is np.ndarray
        self._a = a

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use backend.to_numpy")

    def __array_function__(self, func: Callable[..., Any], *_: Any) -> Any:
        raise TypeError(f"numpy.{func.__name__} was called with a strict array; use the array's own module xp")

    def get(self) -> np.ndarray:
        """A copy as a NumPy array (cupy.ndarray.get)."""
        strict_log.transfer("get", to_host=True)
        return self._a.copy()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._a, name)
        if callable(value):
            if name in ("item", "tolist", "tobytes"):
                strict_log.transfer(name, to_host=True)
                return value
            method = getattr(np.ndarray, name)
            return lambda *args, **kwargs: call(name, method, (self, *args), kwargs)
        return wrap(value) if name in ("T", "real", "imag") else value

    def __getitem__(self, key: Any) -> StrictArray:
        _note_index(key)
        return call("getitem", _part, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        call("setitem", np.ndarray.__setitem__, (self, key, value), {})

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Iterator[StrictArray]:
        return (self[i] for i in range(len(self._a)))

    def __bool__(self) -> bool:
        strict_log.transfer("bool", to_host=True)
        return bool(self._a)

    def __int__(self) -> int:
        strict_log.transfer("int", to_host=True)
        return int(self._a)

    def __float__(self) -> float:
        strict_log.transfer("float", to_host=True)
        return float(self._a)

    def __index__(self) -> int:
        strict_log.transfer("index", to_host=True)
        return operator.index(self._a)

    def __repr__(self) -> str:
        return f"strict {self._a!r}"


def call(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Everything that the library does passes here: NumPy's `function`, on strict arrays."""
    if strict_fusion.is_traced(args, kwargs):
        return strict_fusion.apply(name, function, args, kwargs)
    return wrap(strict_log.kernel(name, function, unwrap(args), unwrap(kwargs)))


def _part(a: np.ndarray, key: Any) -> np.ndarray:
    out = a[key]
    return (
        out if isinstance(out, np.ndarray) else a[(*key, ...) if isinstance(key, tuple) else (key, ...)]
    )  # one element: a view of it


def _note_index(key: Any) -> None:
    """Truth values as an index: how many are true must be known on the host.  A list: it is copied to the device."""
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, StrictArray) and part.dtype == bool:
            strict_log.transfer("an index by truth values", to_host=True)
        if isinstance(part, list):
            strict_log.transfer("an index by a list", to_host=False)


def _operator(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: StrictArray, *others: Any) -> Any:
        if strict_fusion.is_traced(others, {}) or any(getattr(x, "__array_priority__", 0) > 0 for x in others):
            return NotImplemented  # a tensor, as with CuPy
        out = call(name.strip("_"), function, (self, *others), {})
        return self if name.startswith("__i") and name != "__invert__" else out

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


COUNTING = ("nonzero", "flatnonzero", "argwhere", "unique", "bincount", "array_equal", "allclose")
"""Functions whose result has a size that depends on values, or is a truth value: the host waits for it."""


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
            if name in ("asarray", "array") and not isinstance(args[0], StrictArray):  # the explicit way to the device
                strict_log.transfer(name, to_host=False)
                return wrap(np.array(*args, **kwargs))
            if name in COUNTING:
                strict_log.transfer(name, to_host=True)
            return call(name, value, args, kwargs)

        setattr(self, name, function)
        return function

    @property
    def linalg(self) -> Any:
        """What tinygen uses of it, all of which CuPy has, for stacks of matrices too."""
        names = "cholesky det eigh inv pinv qr slogdet solve svd".split()
        return SimpleNamespace(**{name: _of_linalg(name, getattr(np.linalg, name)) for name in names})

    @property
    def lib(self) -> Any:
        """What tinygen uses of it."""
        view = np.lib.stride_tricks.as_strided
        as_strided = lambda x, shape, strides: call("as_strided", view, (x, shape, strides), {})
        return SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided))


def _of_linalg(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def several(*args: Any, **kwargs: Any) -> Any:
        if name == "solve" and args[0].shape[:-1] != args[1].shape[: args[0].ndim - 1]:
            raise ValueError("a must have (..., M, M) shape and b must have (..., M) or (..., M, K)")
        out = function(*args, **kwargs)
        return tuple(out) if isinstance(out, tuple) else out  # NumPy's have names

    return lambda *args, **kwargs: call(name, several, args, kwargs)


def _of_special(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: call(name, function, args, {})


class StrictRandom:
    def __init__(self, seed: int):
        self._generator = np.random.Generator(np.random.Philox(seed))
        self.bit_generator = self._generator.bit_generator

    def standard_normal(self, shape: Any = None, dtype: Any = np.float64) -> StrictArray:
        return call("standard_normal", self._generator.standard_normal, (shape, dtype), {})

    def random(self, shape: Any = None, dtype: Any = np.float64) -> StrictArray:
        return call("random", self._generator.random, (shape, dtype), {})

    def poisson(self, lam: Any, size: Any = None) -> StrictArray:
        return call("poisson", self._generator.poisson, (lam, size), {})

    def integers(self, low: int, high: int, shape: Any = None) -> StrictArray:
        return call("integers", self._generator.integers, (low, high, shape), {})

    def permutation(self, n: int) -> StrictArray:
        return call("permutation", self._generator.permutation, (n,), {})


class StrictBackend(Backend):
    """limits: a GPU's, since it stands for one."""

    type = "strict"
    xp: Any = StrictModule()
    array_type = StrictArray
    tracing_types = (TracedArray, TracedNumber)
    fuses = True
    limits: Limits | None = GPU
    tf32: bool = False

    def default_device(self) -> Device:
        return STRICT

    def device_of(self, array: StrictArray) -> Device:
        return STRICT

    def from_numpy(self, array: np.ndarray, device: Device) -> StrictArray:
        strict_log.transfer("from_numpy", to_host=False)
        return StrictArray(array.copy(order="K"))

    def to_numpy(self, array: StrictArray) -> np.ndarray:
        return array.get()

    def move(self, array: StrictArray, device: Device) -> StrictArray:
        return array

    def address(self, array: StrictArray) -> int:
        return array._a.__array_interface__["data"][0]

    def owner(self, array: StrictArray) -> tuple[StrictArray, int]:
        owner = array._a
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return StrictArray(owner), self.address(array) - owner.__array_interface__["data"][0]

    def view(self, line: StrictArray, offset: int, like: StrictArray) -> StrictArray:
        return StrictArray(np.ndarray(like._a.shape, like._a.dtype, line._a, offset, like._a.strides))

    def add_at(self, target: StrictArray, index: Any, values: StrictArray) -> None:
        call("add_at", np.add.at, (target, index, values), {})

    def erf(self, x: StrictArray) -> StrictArray:
        from scipy.special import erf

        return call("erf", erf, (x,), {})

    @property
    def special(self) -> Any:
        """What tinygen uses of it, all of which `cupyx.scipy.special` has."""
        from scipy import special

        names = "digamma entr erfc erfcx erfinv gammaln log_ndtr logit ndtri xlog1py xlogy zeta".split()
        return SimpleNamespace(**{name: _of_special(name, getattr(special, name)) for name in names})

    def fuse(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        traced = partial(strict_fusion.run, function)

        def kernel(*args: Any) -> Any:
            return function(*args) if strict_fusion.is_traced(args, {}) else call(name, traced, args, {})

        return kernel

    def graph(self) -> strict_log.StrictGraph:
        return strict_log.StrictGraph()

    def allow_tf32(self, allowed: bool) -> None:
        self.tf32 = allowed

    def random(self, seed: int, device: Device) -> StrictRandom:
        return StrictRandom(seed)

    def synchronize(self) -> None:
        pass


register(StrictBackend())
