"""What is known of a tensor, a dtype or the library without computing anything."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tinygen.engine import Node
from tinygen.ops import add
from tinygen.promotion import get_default_dtype
from tinygen.tensor import Tensor

pi: float = math.pi
e: float = math.e
inf: float = math.inf
nan: float = math.nan


class finfo:
    """The limits of a floating-point dtype, as Python numbers (torch.finfo); by default of the default dtype.

    eps: the difference between 1 and the next number.  max, min: the largest and the smallest (most negative) one.
    tiny, smallest_normal: the smallest positive one with all its digits.  resolution: 10^-(decimal digits).  bits, dtype.
    type: the dtype, or its name.  Raises TypeError for a dtype that is not floating-point.
    """

    dtype: str
    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float

    def __init__(self, type: Any = None):
        dtype = get_default_dtype() if type is None else np.dtype(type)
        if dtype.kind != "f":
            raise TypeError(f"finfo: a floating-point dtype is expected, got {dtype}; iinfo knows the integers")
        limits = np.finfo(dtype)
        self.dtype, self.bits = str(limits.dtype), limits.bits
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution: float = float(limits.resolution)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """The limits of an integer dtype (torch.iinfo): min, max, bits, dtype.

    type: the dtype, or its name.  Raises TypeError for a dtype that is not an integer.
    """

    dtype: str
    bits: int
    min: int
    max: int

    def __init__(self, type: Any):
        if np.dtype(type).kind not in "iu":
            raise TypeError(
                f"iinfo: an integer dtype is expected, got {np.dtype(type)}; finfo knows floating-point numbers"
            )
        limits = np.iinfo(np.dtype(type))
        self.dtype, self.bits, self.min, self.max = str(limits.dtype), limits.bits, int(limits.min), int(limits.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def is_tensor(obj: Any) -> bool:
    """Whether it is a tensor.  obj: anything."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether its dtype is float16, float32 or float64."""
    return input.is_floating_point()


def numel(input: Tensor) -> int:
    """The number of its elements."""
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> np.dtype:
    """The dtype that tensor1 + tensor2 has; each is a tensor or a number."""
    nothing = lambda x: Tensor(np.zeros((0,) * bool(x.ndim), x.dtype)) if isinstance(x, Node) else x
    numbers = [nothing(tensor1), nothing(tensor2)]
    if not any(isinstance(x, Node) for x in numbers):
        kinds = [type(x) for x in numbers]
        return get_default_dtype() if float in kinds else np.dtype(np.int64 if int in kinds else np.bool_)
    return add(*numbers).dtype


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Exists for PyTorch's sake: on the CPU everything is deterministic anyway, from one seed.

    On a GPU nothing can be chosen: sums at equal indices (scatter_add, the gradient of indexing) may differ in their last
    digits from run to run.  So mode=True warns there, and changes nothing.
    warn_only: accepted, and without effect: it never raises.
    """
    from tinygen.backend import get_default_device

    if mode and get_default_device().type == "cuda":
        warnings.warn(
            "use_deterministic_algorithms: on a GPU sums at equal indices may differ in their last digits from run to run; "
            "everything else is deterministic, and nothing was changed",
            stacklevel=2,
        )


__all__ = [
    "e",
    "finfo",
    "iinfo",
    "inf",
    "is_floating_point",
    "is_tensor",
    "nan",
    "numel",
    "pi",
    "result_type",
    "use_deterministic_algorithms",
]
