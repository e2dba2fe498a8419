"""Which dtype a result has: NumPy's promotion, bent to PyTorch's habits in one respect.

NumPy computes int64 + float32, sqrt(int64) and bool * 0.5 in float64.  Here as in PyTorch float64 comes out only where a
float64 tensor goes in; the result has the floating input's dtype, or the default one.  Beside a float32 tensor that has
dimensions one that has none is a number: it does not make the result float64.  (PyTorch has this rule for all dtypes.)
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import numpy as np

from tinygen.backend import Array, is_array

default_dtype: np.dtype = np.dtype(np.float32)


def set_default_dtype(dtype: Any) -> None:
    """The dtype of new floating-point tensors: float32 at first (torch.set_default_dtype)."""
    global default_dtype
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"set_default_dtype: a floating-point dtype is expected, got {dtype}")
    default_dtype = dtype


def get_default_dtype() -> np.dtype:
    """The dtype of new floating-point tensors."""
    return default_dtype


def _no_array(name: str, out: Any) -> str:
    kind = type(out).__name__
    if hasattr(out, "array"):
        return f"{name}: forward returned a {kind}; it runs on arrays: compute with xp and the arrays that it is handed"
    if isinstance(out, tuple | list):
        return f"{name}: forward returned a {kind}; an operator has one array as its result, autograd.Function may have several"
    return f"{name}: forward returned {out!r}, a {kind}; an array is expected"


def settle(xp: Any, out: Any, op: Any, arrays: Iterable[Any], inputs: Iterable[Any], params: dict[str, Any]) -> Array:
    """An operator's result as an array of the right dtype (reductions of NumPy return its scalars)."""
    if not is_array(out):
        if not isinstance(out, np.generic | bool | int | float):
            raise TypeError(_no_array(op.name, out))
        out = xp.asarray(out)
    if out.dtype.char == "O":
        raise TypeError(f"tensors hold numbers; one of these arguments is none: {[type(x).__name__ for x in inputs]}")
    if out.dtype.char in "de" and not op.any_dtype:
        # Python's and NumPy's single numbers are weak: they follow the tensors
        dtypes = [x.dtype for x in inputs if hasattr(x, "dtype") and not isinstance(x, np.generic)]
        if out.dtype.char == "e" and not any(d.char == "e" for d in dtypes):
            # NumPy computes functions of 8-bit integers and truth values in float16: once more, in the default dtype
            arrays = [x.astype(default_dtype) if getattr(x, "dtype", out.dtype).kind in "bui" else x for x in arrays]
            out = xp.asarray(op.forward(xp, *arrays, **params))
        # a tensor without dimensions is as weak as a number beside one that has some
        strong = [x.dtype for x in inputs if getattr(x, "ndim", 0) and x.dtype.kind == "f"]
        if out.dtype.char == "d" and strong and not any(d.char == "d" for d in strong):
            out = out.astype(max(strong, key=attrgetter("itemsize")))
        elif out.dtype.char == "d" and not any(d.char == "d" for d in dtypes):
            floating = [d for d in dtypes if d.kind == "f"]
            out = out.astype(max(floating, key=attrgetter("itemsize")) if floating else default_dtype)
    return out
