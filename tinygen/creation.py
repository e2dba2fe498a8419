"""New tensors: from data, constant, in sequence, random.  PyTorch's names, arguments and defaults.

Floating-point tensors are float32 unless told otherwise; every random draw comes from a Generator, and without one from the
device's default generator, which `manual_seed` seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinygen import allowance, backend, memory
from tinygen.backend import Generator, default_generator, resolve, to_device
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.ops.search import searchsorted
from tinygen.ops.shape import sizes
from tinygen.promotion import get_default_dtype
from tinygen.tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "bernoulli",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "meshgrid",
    "multinomial",
    "normal",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of data: a number, nested lists, or an array, whose dtype is kept.

    Python floats become float32 (the default dtype), integers int64, truth values bool.
    """
    if isinstance(data, Node):
        device = device or backend.device_of(data.array)
    elif not backend.is_array(data):
        return _new(_placed(_from_python(data, dtype), dtype, device), requires_grad)
    array = memory.copied(_copy, data, dtype, device)
    return Tensor(array).requires_grad_() if requires_grad else Tensor(array)


def _copy(array: Any, dtype: Any, device: Any) -> Any:
    return _placed(array.copy(), dtype, device)


def _placed(array: Any, dtype: Any, device: Any) -> Any:
    """The array with that dtype on that device; what NumPy made is moved to the default one."""
    array = array if dtype is None else array.astype(np.dtype(dtype), copy=False)
    return to_device(array, resolve(device)) if device is not None or isinstance(array, np.ndarray) else array


def _from_python(data: Any, dtype: Any) -> np.ndarray:
    if isinstance(data, list | tuple) and data and any(isinstance(x, Node) for x in data):
        for x in data:
            if isinstance(x, Node):
                x._looked_at()  # type: ignore[attr-defined]
        data = [backend.to_numpy(x.array) if isinstance(x, Node) else x for x in data]
    try:
        array = np.array(data, dtype=dtype)
    except ValueError as error:
        raise ValueError(f"tensor: the data does not form a regular array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"tensor: numbers or truth values are expected, got {type(data).__name__} (as array: {array.dtype})"
        )
    if array.dtype == np.float64 and dtype is None and not isinstance(data, np.float64):
        array = array.astype(get_default_dtype())
    return array


def _new(array: Any, requires_grad: bool) -> Tensor:
    if memory.here.recorder is not None:
        memory.here.recorder.constant(array)
    return Tensor(array).requires_grad_() if requires_grad else Tensor(array)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Like `tensor`, but sharing memory with data where dtype and device allow it."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if backend.is_array(data):
        return Tensor(data).to(dtype=dtype, device=device)
    return tensor(data, dtype, device)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """Like `as_tensor`; copy=True always copies, copy=False raises ValueError where a copy is needed.

    obj: anything that `tensor` takes.
    """
    out = as_tensor(obj, dtype, device)
    given = obj.array if isinstance(obj, Node) else obj
    shared = out is obj or backend.is_array(given) and out.array is given
    if copy is False and not shared:
        raise ValueError("asarray: copy=False, and this object cannot be shared: its kind, dtype or device differ")
    if copy and shared:
        out = Tensor(out.array.copy())
    return out.detach().requires_grad_() if requires_grad else out


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor on the CPU that shares memory with the NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: a NumPy array is expected, got {type(array).__name__}; use tensor")
    return Tensor(array)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares memory with an array of any library, on the CPU or on a GPU (torch.from_dlpack).

    ext_tensor: what has `__dlpack__` and `__dlpack_device__`: PyTorch's tensors, NumPy's, CuPy's and JAX's arrays.  NumPy and
        `torch.from_dlpack` take our tensors in the same way.
    Raises TypeError for anything else; BufferError or RuntimeError if its library does not share it, as PyTorch a tensor that
    requires a gradient (detach it first) or is bfloat16.
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if not hasattr(ext_tensor, "__dlpack__") or not hasattr(ext_tensor, "__dlpack_device__"):
        raise TypeError(
            f"from_dlpack: an array with __dlpack__ is expected, got {type(ext_tensor).__name__}; use tensor(...) to copy values"
        )
    is_on_gpu = int(ext_tensor.__dlpack_device__()[0]) == 2  # kDLCUDA
    return Tensor((backend.backend_for(backend.Device("cuda")).xp if is_on_gpu else np).from_dlpack(ext_tensor))


def _made(name: str, device: Any, *args: Any, **options: Any) -> Any:
    """An array that the device's own library makes there: nothing is copied."""
    where = resolve(device)
    library = backend.backend_for(where)
    with library.using(where):
        return getattr(library.xp, name)(*args, **options)


def _filled(name: str, size: Any, dtype: Any, device: Any, requires_grad: bool, *args: Any) -> Tensor:
    shape = _shape(name, size)
    dtype = get_default_dtype() if dtype is None else np.dtype(dtype)
    return _new(_made(name, device, shape, *args, dtype=dtype), requires_grad)


def _shape(name: str, size: Any) -> tuple[int, ...]:
    try:
        shape = sizes(size)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: sizes must be integers, got {size!r}") from error
    if any(n < 0 for n in shape):
        raise ShapeError(f"{name}: sizes must not be negative, got {shape}")
    allowance.spend(shape)
    return shape


def _one_size(name: str, args: tuple[Any, ...], size: Any) -> tuple[Any, ...]:
    """The sizes given one by one, or by keyword: f(2, 3), f((2, 3)), f(size=(2, 3))."""
    if size is not None and args:
        raise TypeError(f"{name}: the size was given twice, {args} and size={size}")
    return args if size is None else (size,)


def zeros(*args: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros: zeros(2, 3), zeros((2, 3)) or zeros(size=(2, 3))."""
    return _filled("zeros", _one_size("zeros", args, size), dtype, device, requires_grad)


empty = zeros
"""PyTorch leaves the values of `empty` undefined; here they are 0."""


def ones(*args: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones: ones(2, 3), ones((2, 3)) or ones(size=(2, 3))."""
    return _filled("ones", _one_size("ones", args, size), dtype, device, requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere; without dtype: bool, int64 or the default dtype, after the value.

    fill_value: a number or a truth value.
    """
    if dtype is None and isinstance(fill_value, bool | int):
        dtype = np.bool_ if isinstance(fill_value, bool) else np.int64
    return _filled("full", (size,), dtype, device, requires_grad, fill_value)


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an n by m matrix."""
    _shape("eye", (n, n if m is None else m))
    dtype = get_default_dtype() if dtype is None else np.dtype(dtype)
    return _new(_made("eye", device, n, m, dtype=dtype), requires_grad)


def arange(
    start: Any, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """start, start + step, ... before end: arange(5), arange(2, 5), arange(0, 1, 0.1), arange(5, 0, -1).

    int64 if all three are integers, and then counted exactly.
    """
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (x.item() if hasattr(x, "item") else x for x in (start, end, step))
    if step == 0:
        raise ValueError("arange: the step must not be 0")
    if not all(math.isfinite(x) for x in (start, end, step)):
        raise ValueError(f"arange: finite numbers are expected, got {start}, {end} and {step}")
    whole = all(isinstance(x, int) for x in (start, end, step))
    count = max(0, -((start - end) // step) if whole else math.ceil((end - start) / step))
    if dtype is None:
        dtype = np.int64 if whole else get_default_dtype()
    values = start + step * _made("arange", device, count)
    return _new(values.astype(dtype), requires_grad)


def linspace(start: float, end: float, steps: int, dtype: Any = None, device: Any = None) -> Tensor:
    """`steps` values from start to end, both included."""
    _shape("linspace", (steps,))
    array = np.linspace(start, end, steps).astype(get_default_dtype() if dtype is None else dtype)
    return Tensor(to_device(array, resolve(device)))


def logspace(start: float, end: float, steps: int, base: float = 10.0, dtype: Any = None, device: Any = None) -> Tensor:
    """`steps` values from base^start to base^end, both included, whose logarithms are equally spaced."""
    _shape("logspace", (steps,))
    array = np.power(float(base), np.linspace(start, end, steps)).astype(
        get_default_dtype() if dtype is None else dtype
    )
    return Tensor(to_device(array, resolve(device)))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The indices (2, number) of the lower triangle of a matrix: rows and columns, up to `offset` above the diagonal.

    row, col: the sizes of the matrix.
    """
    return _triangle(np.tril_indices, row, col, offset, dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The indices (2, number) of the upper triangle of a matrix: rows and columns, from `offset` above the diagonal on.

    row, col: the sizes of the matrix.
    """
    return _triangle(np.triu_indices, row, col, offset, dtype, device)


def _triangle(find: Callable[..., Any], row: int, col: int, offset: int, dtype: Any, device: Any) -> Tensor:
    _shape(find.__name__, (row, col))
    indices = np.stack(find(row, offset, col)).astype(np.int64 if dtype is None else dtype)
    return Tensor(to_device(indices, resolve(device)))


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: one tensor per axis, each of the grid's shape.

    indexing: "ij", the first tensor runs along dimension 0, or "xy", along dimension 1.
    """
    arrays = [x.array for x in (tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors)]
    return tuple(Tensor(a) for a in backend.array_module(arrays[0]).meshgrid(*arrays, indexing=indexing))


def _random(
    draw: Callable[[Generator, tuple[int, ...], Any], Any],
    name: str,
    size: Any,
    dtype: Any,
    device: Any,
    generator: Generator | None,
    requires_grad: bool,
) -> Tensor:
    shape = _shape(name, size)
    dtype = get_default_dtype() if dtype is None else np.dtype(dtype)
    where = resolve(device) if device is not None or generator is None else generator.device
    source = generator or default_generator(where)
    if dtype.kind != "f":
        raise TypeError(f"{name}: a floating-point dtype is expected, got {dtype}; use randint for integers")
    array = memory.drawn(partial(_draw, source, draw, shape, dtype, where))
    return Tensor(array).requires_grad_() if requires_grad else Tensor(array)


@memory.on_device
def _draw(source: Generator, draw: Callable[..., Any], shape: tuple[int, ...], dtype: Any, where: Any) -> Any:
    return to_device(draw(source, shape, dtype), where)


def randn(
    *args: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draws from the standard normal distribution."""
    size = _one_size("randn", args, size)
    return _random(Generator.normal, "randn", size, dtype, device, generator, requires_grad)


def rand(
    *args: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draws from [0, 1)."""
    size = _one_size("rand", args, size)
    return _random(Generator.uniform, "rand", size, dtype, device, generator, requires_grad)


def normal(mean: Any, std: Any, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Draws from N(mean, std²); mean and std are numbers (then `size` is needed) or tensors."""
    like = mean if isinstance(mean, Node) else std
    noise = randn(size, generator=generator) if size is not None else randn_like(like, generator=generator)
    return noise * std + mean


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Integers from low, ..., high - 1: randint(high, size) or randint(low, high, size).  int64 by default."""
    if size is None:
        low, high, size = 0, low, high
    if size is None:
        raise TypeError("randint: a size is needed, as in randint(10, (3,))")
    if low >= high:
        raise ValueError(f"randint: low must be below high, got {low} and {high}")
    dtype = np.dtype(np.int64 if dtype is None else dtype)
    least, most = (
        (0, 1)
        if dtype.kind == "b"
        else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if dtype.kind in "iu"
        else (low, high)
    )
    if low < least or high - 1 > most:
        raise RuntimeError(f"randint: {dtype} holds integers from {least} to {most}, which {low} to {high - 1} leave")
    where = resolve(device) if device is not None or generator is None else generator.device
    source, shape = generator or default_generator(where), _shape("randint", (size,))
    return Tensor(memory.drawn(partial(_draw_integers, source, low, high, shape, dtype, where)))


def _draw_integers(source: Generator, low: int, high: int, shape: tuple[int, ...], dtype: Any, where: Any) -> Any:
    return to_device(source.integers(low, high, shape).astype(dtype, copy=False), where)


def randperm(n: int, *, generator: Generator | None = None, device: Any = None) -> Tensor:
    """The numbers 0, ..., n - 1 in random order, int64."""
    where = resolve(device) if device is not None or generator is None else generator.device
    return Tensor(memory.drawn(partial(_permutation, generator or default_generator(where), n, where)))


def _permutation(source: Generator, n: int, where: Any) -> Any:
    return to_device(source.permutation(n).astype(np.int64, copy=False), where)


def bernoulli(input: Any, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability given by each element, or by p for all of them, else 0; in the input's dtype.  No gradient.

    Raises ValueError for probabilities outside of [0, 1] (of tensors on the CPU: elsewhere the host would have to wait).
    """
    array = input.array if p is None else np.asarray(p)
    if memory.here.recorder is None and isinstance(array, np.ndarray) and not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"bernoulli: probabilities from 0 to 1 are expected, got {array.min()} to {array.max()}")
    draws = rand(*input.shape, generator=generator, dtype=np.float64, device=input.device)
    return (draws < (input.detach() if p is None else p)).to(input.dtype)


def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities proportional to the weights: (number,) gives (num_samples,), or each row its own.

    input: weights >= 0, floating-point, (number,) or (rows, number).  Without replacement no index comes twice in a row.
    """
    p = input.detach()
    if p.ndim not in (1, 2) or p.dtype.kind != "f":
        raise TypeError(
            f"multinomial: floating-point weights (number,) or (rows, number) are expected, got {p.dtype} {tuple(p.shape)}"
        )
    if num_samples <= 0:
        raise ValueError(f"multinomial: num_samples must be positive, got {num_samples}")
    if not bool(((p >= 0) & (p != math.inf)).all()) or bool((p.sum(-1) <= 0).any()):
        raise ValueError("multinomial: the weights must be finite and not negative, and every row needs a positive one")
    rows = (p if p.ndim == 2 else p.unsqueeze(0)).to(np.float64)
    if replacement:
        edges = rows.cumsum(1)
        u = rand(rows.shape[0], num_samples, generator=generator, dtype=np.float64, device=p.device) * edges[:, -1:]
        out = searchsorted(edges, u, right=True)
    else:
        if num_samples > int((rows > 0).sum(1).min()):
            raise ValueError(f"multinomial: {num_samples} draws without replacement need as many positive weights")
        u = rand(*rows.shape, generator=generator, dtype=np.float64, device=p.device)
        with np.errstate(divide="ignore"):  # the weight 0 has the key infinity
            keys = -(1 - u).log() / rows  # exponential races: the smallest of Exp(w_i) is i with weight w_i
        out = keys.argsort(1)[:, :num_samples]
    return out if p.ndim == 2 else out[0]


def _same(input: Any, dtype: Any, device: Any) -> dict[str, Any]:
    """What `..._like` takes from a tensor, unless something else is asked for."""
    device = backend.device_of(input.array) if device is None else device
    return dict(size=tuple(input.shape), dtype=input.dtype if dtype is None else dtype, device=device)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Like `zeros`, with the shape, dtype and device of a tensor, the input."""
    return zeros(**_same(input, dtype, device), requires_grad=requires_grad)


empty_like = zeros_like


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Like `ones`, with the shape, dtype and device of a tensor, the input."""
    return ones(**_same(input, dtype, device), requires_grad=requires_grad)


def rand_like(
    input: Any,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Like `rand`, with the shape, dtype and device of a tensor, the input."""
    return rand(generator=generator, **_same(input, dtype, device), requires_grad=requires_grad)


def randn_like(
    input: Any,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Like `randn`, with the shape, dtype and device of a tensor, the input."""
    return randn(generator=generator, **_same(input, dtype, device), requires_grad=requires_grad)


def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Like `full`, with the shape, dtype and device of a tensor.  fill_value: a number."""
    device = backend.device_of(input.array) if device is None else device
    return full(tuple(input.shape), fill_value, input.dtype if dtype is None else dtype, device, requires_grad)


def randint_like(input: Any, low: int, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Like `randint`, with the shape, dtype and device of a tensor.

    low, high: draws from low, ..., high - 1; one number alone is high, and low is 0.
    """
    low, high = (0, low) if high is None else (low, high)
    device = backend.device_of(input.array)
    return randint(low, high, tuple(input.shape), generator=generator, dtype=input.dtype, device=device)
