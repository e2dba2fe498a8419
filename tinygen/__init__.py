"""tinygen: reverse-mode autograd from scratch on NumPy and CuPy, and the generative models of a deep-learning course.

    import tinygen as tg

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward()            # x.grad is 2x

The names, argument orders and defaults are PyTorch's.  To read the source, start with `engine.py`.

These arguments mean the same in every function:

    input, other, x     tensors; numbers too, where they broadcast.  A: a matrix (..., m, n), or several.
    dim, keepdim        the dimension or dimensions, negative ones counted from the end; whether they stay, with size 1
    size, shape         sizes; *args: the same, one by one
    dtype, device       of the result: a NumPy dtype or its name; "cpu", "cuda", "cuda:1".  None: those of the inputs, or the
                        default ones
    requires_grad       whether gradients are to flow to the result
    generator, seed     where random numbers come from (None: the default generator of the device); an integer from 0
    path                a file's name, text or pathlib.Path
"""

from tinygen import search_path as _search_path  # first: see there

# isort: split

import typing as _typing

import numpy as _np

from tinygen import autograd, cuda, linalg, nn, optim, special
from tinygen import missing as _missing
from tinygen.autograd import enable_grad, grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tinygen.backend import (
    Device,
    Generator,
    cuda_available,
    device,
    get_default_device,
    get_num_threads,
    get_rng_state,
    initial_seed,
    manual_seed,
    set_default_device,
    set_num_threads,
    set_rng_state,
    synchronize,
)
from tinygen.creation import *  # noqa: F403
from tinygen.creation import __all__ as _creation
from tinygen.errors import ShapeError
from tinygen.info import *  # noqa: F403
from tinygen.info import __all__ as _info
from tinygen.ops import *  # noqa: F403
from tinygen.ops import __all__ as _ops
from tinygen.printing import set_printoptions
from tinygen.promotion import get_default_dtype, set_default_dtype
from tinygen.replay import compile
from tinygen.serialization import load, save
from tinygen.shapes import Size
from tinygen.tensor import Tensor

__version__ = "0.1.0"

float16: _np.dtype = _np.dtype("float16")
float32: _np.dtype = _np.dtype("float32")
float64: _np.dtype = _np.dtype("float64")
uint8: _np.dtype = _np.dtype("uint8")
int8: _np.dtype = _np.dtype("int8")
int16: _np.dtype = _np.dtype("int16")
int32: _np.dtype = _np.dtype("int32")
int64: _np.dtype = _np.dtype("int64")
half: _np.dtype = float16
float: _np.dtype = float32
double: _np.dtype = float64
short: _np.dtype = int16
int: _np.dtype = int32
long: _np.dtype = int64
bool: _np.dtype = _np.dtype("bool")

__all__ = [
    "compile",
    "Device",
    "Generator",
    "ShapeError",
    "Size",
    "Tensor",
    "autograd",
    "bool",
    "cuda",
    "cuda_available",
    "device",
    "double",
    "enable_grad",
    "float",
    "float16",
    "float32",
    "float64",
    "get_default_device",
    "get_default_dtype",
    "get_num_threads",
    "get_rng_state",
    "grad",
    "initial_seed",
    "half",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "linalg",
    "load",
    "long",
    "manual_seed",
    "nn",
    "no_grad",
    "optim",
    "save",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
    "short",
    "special",
    "synchronize",
    "uint8",
    *_creation,
    *_info,
    *_ops,
]

if not _typing.TYPE_CHECKING:  # a type checker knows the names that there are
    __getattr__ = _missing.attribute_of(__name__)
