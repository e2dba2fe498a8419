"""Array libraries: which one an array belongs to, where it lives, and the few kernels that differ.

Everything above this room is written once, against a module `xp` that is NumPy or CuPy.  What the two do
differently (random numbers, scattered addition, special functions, copies between devices) stands behind the
small interface `Backend`, with one file per library.  Speed on a CPU is the affair of two more files: allocator.py keeps freed
memory, threads.py shares large loops among the cores.
"""

from tinygen.backend.allocator import keep_memory
from tinygen.backend.base import Array, Backend, Device
from tinygen.backend.fuse import fuse
from tinygen.backend.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    own_generators,
    set_rng_state,
)
from tinygen.backend.registry import (
    ARRAY_MODULES,
    allow_tf32,
    array_module,
    backend_for,
    backend_of,
    cuda_available,
    device,
    device_of,
    get_default_device,
    is_array,
    on_fusing,
    register,
    resolve,
    set_default_device,
    synchronize,
    to_device,
    to_numpy,
)
from tinygen.backend.threads import get_num_threads, set_num_threads

__all__ = [
    "ARRAY_MODULES",
    "Array",
    "Backend",
    "Device",
    "Generator",
    "allow_tf32",
    "array_module",
    "backend_for",
    "backend_of",
    "cuda_available",
    "default_generator",
    "device",
    "device_of",
    "fuse",
    "get_default_device",
    "get_num_threads",
    "get_rng_state",
    "is_array",
    "keep_memory",
    "initial_seed",
    "manual_seed",
    "on_fusing",
    "own_generators",
    "register",
    "resolve",
    "set_default_device",
    "set_num_threads",
    "set_rng_state",
    "synchronize",
    "to_device",
    "to_numpy",
]

keep_memory()
