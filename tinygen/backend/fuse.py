"""Several elementwise steps as one kernel.

A GPU takes longer to start a kernel, and to carry numbers to and from its memory, than to add or multiply them.  An update
of Adam written as fifteen array operations would be fifteen kernels; as one, every number is read once and written once.

    @fuse
    def blend(xp, x, y, weight, *, square):
        d = y - x
        return x + weight * (d * d if square else d)

On NumPy `blend` is the function itself.  On CuPy it is traced once for every kind of arguments, and compiled.  The function
may use xp's elementwise functions and `where`, arithmetic, comparisons, astype, and arithmetic in place on whole arrays; no
reductions, no indices, no shapes, no decision that depends on a value.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

import numpy as np

from tinygen.backend.registry import FUSING

Function = Callable[..., Any]


class fuse:
    """function(xp, *arguments, **options) as one kernel where the library of the arrays, xp, makes such.

    Arguments are arrays, numbers, and None for what is absent.  Numbers may change from call to call: nothing is compiled
    anew.  They follow the dtype of the array that they meet; but they must not meet each other first: write 1 - β outside,
    and pass it.  CuPy would compute that in float16.  Options are constants of the kernel: for each of their values
    another one is compiled.

    Source of the idea: `cupy.fuse`, which it is on CuPy.
    """

    def __init__(self, function: Function):
        update_wrapper(self, function)
        self.function = function
        self._kernels: dict[Any, Function] = {}

    def __call__(self, xp: Any, /, *arguments: Any, **options: Any) -> Any:
        if xp is np or xp not in FUSING:
            return self.function(xp, *arguments, **options)
        return self.kernel(xp, partial(self.function, xp), options)(*arguments)

    @property
    def name(self) -> str:
        """What a profiler shows, after "tinygen_"."""
        return self.function.__name__.strip("_")

    def kernel(self, xp: Any, function: Function, options: dict[str, Any]) -> Function:
        """The kernel of `function` with these options, made at the first call."""
        key = (id(xp), *options.items())
        if key not in self._kernels:
            self._kernels[key] = FUSING[xp].fuse(partial(function, **options), f"tinygen_{self.name}")
        return self._kernels[key]
