"""The public Tensor: the engine's node, with PyTorch's methods.

There is little to read here: a method *is* the function of the same name in `tinygen.ops`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen import autograd, backend, copying, engine, inplace, memory, missing, ops
from tinygen.backend import Array, Device
from tinygen.engine import Node, Op, cast
from tinygen.errors import ShapeError
from tinygen.inplace import in_place
from tinygen.memory import Memory, note_change, share_memory
from tinygen.methods import Methods
from tinygen.ops import elementwise as e
from tinygen.ops.index import assign, raw_index, write_at
from tinygen.ops.linalg import matmul
from tinygen.ops.shape import axis_of
from tinygen.printing import text_of
from tinygen.promotion import get_default_dtype
from tinygen.shapes import Size

_transfer = Op(
    lambda xp, x, device: backend.to_device(x, device),
    lambda g, _, _x, device: _transfer(g, device=backend.device_of(_x.array if isinstance(_x, Node) else _x)),
    any_dtype=True,
    name="to",
)
engine.OPERATORS["to"] = _transfer


class Tensor(Methods):
    """A NumPy or CuPy array that remembers the operator that made it, so that gradients can flow back through it.

    Make one with `tinygen.tensor(data)`, `tinygen.zeros(2, 3)`, ...  Tensor(2, 3) and Tensor([1, 2]) work as in PyTorch:
    zeros of that shape, and float32 values.

    Differences from PyTorch: `array` is the NumPy or CuPy array itself; `view` copies where memory is not contiguous.
    """

    __slots__ = ()

    def __init__(self, *data: Any, requires_grad: bool = False):
        if len(data) == 1 and backend.is_array(data[0]):
            array = data[0]
        elif all(isinstance(n, int) for n in data):
            array = np.zeros(data, get_default_dtype())
        elif len(data) == 1:
            array = np.array(data[0].array if isinstance(data[0], Node) else data[0], dtype=get_default_dtype())
        else:
            raise TypeError(f"Tensor: sizes, or one sequence of values, are expected, got {data!r}; see tinygen.tensor")
        super().__init__(array, requires_grad)

    def __dir__(self) -> list[str]:
        return missing.without_missing(type(self), super().__dir__())

    # What it is

    @property
    def _xp(self) -> Any:
        return backend.array_module(self.array)

    @property
    def shape(self) -> Size:
        """The sizes of its dimensions, a tuple."""
        return Size(self.array.shape)

    @property
    def device(self) -> Device:
        """Where the values live: device('cpu'), device('cuda:0')."""
        return backend.device_of(self.array)

    @property
    def is_cuda(self) -> bool:
        """Whether its values are on a GPU."""
        return self.device.type == "cuda"

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operator made it."""
        return self.op is None

    @property
    def grad_fn(self) -> Op | None:
        """The operator that made it, or None for a leaf."""
        return self.op

    if TYPE_CHECKING:
        array: Array
        requires_grad: bool
        memory: Memory | None
        hooks: list[Callable[..., Any]] | None

        def __hash__(self) -> int: ...

        @property
        def grad(self) -> Tensor | None: ...
        @grad.setter
        def grad(self, grad: Tensor | None) -> None: ...

    @property
    def data(self) -> Tensor:
        """The same memory without a graph.  Assigning a tensor replaces the values: `p.data = q`."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        if value is self:
            return
        array = value.array if isinstance(value, Node) else value
        if not backend.is_array(array):
            raise TypeError(f"data: a tensor is expected, got {type(value).__name__}; use tinygen.tensor(...)")
        if self.requires_grad and array.dtype.kind != "f":
            raise TypeError(
                f"data: this tensor requires a gradient, which only floating-point tensors have; got {array.dtype}, use .float()"
            )
        self.memory = None
        self.array = array
        if isinstance(value, Node):
            share_memory(value, self)
        note_change(self)

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order; for a matrix its transpose."""
        return ops.permute(self, *range(self.ndim - 1, -1, -1))

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped: the transpose of every matrix."""
        if self.ndim < 2:
            raise ShapeError(f"mT: a matrix (or several) is expected, got shape {self.shape}")
        return ops.mT(self)

    @property
    def _version(self) -> int:
        """How often the memory was changed in place."""
        return self.memory.count if self.memory else 0

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[axis_of("size", dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self.array.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Whether the numbers are float16, float32 or float64."""
        return self.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory without gaps, the last index running fastest (C order)."""
        return bool(self.array.flags.c_contiguous)

    def stride(self) -> tuple[int, ...]:
        """Elements to step over in memory to the next index, per dimension."""
        return tuple(s // self.dtype.itemsize for s in self.array.strides)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len: a tensor without dimensions has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iter: a tensor without dimensions cannot be iterated over; use item()")
        return iter(ops.unbind(self))

    def __repr__(self) -> str:
        values = backend.to_numpy(self.array)
        text = text_of(values, "tensor(")
        notes = [] if self.dtype in (get_default_dtype(), np.int64, np.bool_) else [f"dtype={self.dtype}"]
        if values.size == 0 and self.ndim != 1:
            notes.insert(0, f"size={self.shape}")
        if self.device.type != "cpu":
            notes.append(f"device='{self.device}'")
        if self.op is not None:
            notes.append(f"op=<{self.op.name}>")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return ", ".join([f"tensor({text}", *notes]) + ")"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.array.size == 1 else format(str(self), spec)

    if not TYPE_CHECKING:
        __hash__ = object.__hash__

    # Out of the graph, into other types

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self.array.size != 1:
            raise ShapeError(f"item: a tensor with one element is expected, got shape {self.shape}; use tolist()")
        return self._looked_at().item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._looked_at().tolist()

    def numpy(self) -> np.ndarray:
        """The NumPy array itself, which shares memory with the tensor.  CPU only, and not while a gradient is required."""
        if self.requires_grad:
            raise RuntimeError(
                "numpy: this tensor requires a gradient, which NumPy would not see; use detach().numpy()"
            )
        if not isinstance(self.array, np.ndarray):
            raise TypeError(f"numpy: this tensor is on {self.device}; use cpu().numpy()")
        return self._looked_at()

    def _looked_at(self) -> Any:
        """The array, when its numbers leave the library: a recorded step could not follow them."""
        if memory.here.recorder is not None:
            memory.here.recorder.looked_at(self.array)
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        """The memory, for another library: `torch.from_dlpack(x)`, `numpy.from_dlpack(x)`.  See `tinygen.from_dlpack`.

        Raises BufferError while a gradient is required, which the other library would not see.
        """
        if self.requires_grad:
            raise BufferError("__dlpack__: this tensor requires a gradient, which would be lost; use detach()")
        return self._looked_at().__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        """(kind, number) of the device, in DLPack's numbering."""
        return self.array.__dlpack_device__()

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise RuntimeError(
                f"bool: the truth of a tensor with {self.array.size} elements is not clear; use any() or all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "biu":
            raise TypeError(f"index: only integer tensors can be used as an index, got {self.dtype}")
        return int(self.item())

    def detach(self) -> Tensor:
        """The same values, in the same memory, as a constant: no gradient flows through."""
        out = Tensor(self.array)
        share_memory(self, out)
        if memory.here.recorder is not None:
            memory.here.recorder.detached(self, out)
        return out

    def detach_(self) -> Tensor:
        """Cut this tensor itself off its graph."""
        node: Node = self
        node.op, node.edges, node.requires_grad = None, (), False
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient (or no longer).  Floating-point leaves only."""
        if requires_grad and self.dtype.kind != "f":
            raise RuntimeError(f"requires_grad_: only floating-point tensors have gradients, this one is {self.dtype}")
        if not requires_grad and self.op is not None:
            raise RuntimeError(
                "requires_grad_: the result of a recorded operator always requires a gradient; use detach()"
            )
        self.requires_grad = requires_grad
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf of its own; what is copied together and shares memory shares it afterwards too.  Results of operators raise."""
        return copying.deepcopied(self, memo)

    def __copy__(self) -> Tensor:
        """A second leaf with the same memory, as in PyTorch; deepcopy copies the values too."""
        return copying.copied(self)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """For pickle: leaves only, as for deepcopy."""
        return copying.reduced(self)

    # Gradients

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add dL/d(leaf) to the `.grad` of every leaf, where L = <gradient, self> (L = self for a single number).

        retain_graph: keep the graph for another pass.  create_graph: record the pass, for derivatives of the gradients.
        inputs: only these tensors get their gradient added; all leaves by default.
        """
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call hook(gradient) when the gradient of this tensor is complete; what it returns, if anything, replaces it.

        It is the gradient of the values that the tensor has now: a later change in place does not move the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        if not callable(hook):
            raise TypeError(f"register_hook: a function of the gradient is expected, got {type(hook).__name__}")
        if self.hooks is None:
            self.hooks = []
        hooks = self.hooks
        hooks.insert(len(hooks) - self.retains_grad, hook)  # what retain_grad keeps is what the last hook returned
        return RemovableHandle(hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in `.grad`, as leaves do."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if self.op is not None and not self.retains_grad:
            if self.hooks is None:
                self.hooks = []
            self.hooks.append(_KeepGrad(self))

    @property
    def retains_grad(self) -> bool:
        """Whether this is an intermediate result that keeps its gradient."""
        return bool(self.hooks and isinstance(self.hooks[-1], _KeepGrad))

    # Operators

    def __add__(self, other: Any) -> Tensor:
        return e.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return e.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return e.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return e.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return e.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return e.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return e.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return e.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return e.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return e.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return matmul(other, self)

    def __neg__(self) -> Tensor:
        return e.neg(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return e.abs(self)

    def __floordiv__(self, other: Any) -> Tensor:
        return e.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return e.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return e.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return e.remainder(other, self)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return e.eq(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return e.ne(self, other)

    if not TYPE_CHECKING:  # which reads _signatures.pyi
        __lt__, __le__, __gt__, __ge__ = e.lt, e.le, e.gt, e.ge
        __and__, __or__, __xor__, __invert__ = e.bitwise_and, e.bitwise_or, e.bitwise_xor, e.bitwise_not

    def __getitem__(self, key: Any) -> Tensor:
        return ops.index(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        at = raw_index(self, key)
        recorded = engine.is_grad_enabled() and (self.requires_grad or isinstance(value, Node) and value.requires_grad)
        try:
            if recorded or isinstance(value, Tensor) and value.device != self.device:
                in_place(write_at)(self, value, at=at)
                return
            inplace.check_writable(self)
            assign(self.array, at, value.array if isinstance(value, Node) else self._xp.asarray(value))
        except (ValueError, IndexError) as error:
            kind = IndexError if isinstance(error, IndexError) else ShapeError
            reason = str(error).split("\n")[0].removeprefix("put: ")
            raise kind(f"setitem: x[{key!r}] = value for x of shape {self.shape}: {reason}") from error
        note_change(self)

    __array_priority__ = 1000  # cupy_array * tensor asks the tensor first

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Tensor:  # type: ignore[override]
        """ndarray * tensor, as it is written, is tensor arithmetic.  NumPy's functions are refused: they would not be recorded."""
        name = {"true_divide": "div"}.get(ufunc.__name__, ufunc.__name__)
        written = _NUMPYS_OPERATORS.get(name)
        if written and method == "__call__" and len(inputs) == 2 and options.keys() <= {"out"}:
            return getattr(ops, written)(*inputs)
        found = {"absolute": "abs", "power": "pow"}.get(name, name.replace("arc", "a"))
        advice = f"tinygen.{found}" if found in ops.__all__ else f"np.{ufunc.__name__}(x.detach().numpy())"
        raise TypeError(
            f"np.{ufunc.__name__}: NumPy's functions do not take tensors, whose gradient they would not see; use {advice}"
        )

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    if not TYPE_CHECKING:  # which reads _signatures.pyi
        add, sub, mul, div, pow = ops.add, ops.sub, ops.mul, ops.div, ops.pow
        subtract, multiply, divide, true_divide = ops.sub, ops.mul, ops.div, ops.div
        neg, exp, log, log1p, expm1, sqrt, rsqrt = ops.neg, ops.exp, ops.log, ops.log1p, ops.expm1, ops.sqrt, ops.rsqrt
        log2, log10, reciprocal, square, abs, sign = ops.log2, ops.log10, ops.reciprocal, ops.square, ops.abs, ops.sign
        sin, cos, tan, atan, sinh, cosh, tanh = ops.sin, ops.cos, ops.tan, ops.atan, ops.sinh, ops.cosh, ops.tanh
        sigmoid, erf, relu, floor, ceil, round = ops.sigmoid, ops.erf, ops.relu, ops.floor, ops.ceil, ops.round
        clamp, clip, maximum, minimum, logaddexp = ops.clamp, ops.clamp, ops.maximum, ops.minimum, ops.logaddexp
        lerp, addcmul, addcdiv, remainder, floor_divide = (
            ops.lerp,
            ops.addcmul,
            ops.addcdiv,
            ops.remainder,
            ops.floor_divide,
        )
        eq, ne, lt, le, gt, ge = ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge
        isnan, isinf, isfinite, equal, allclose = ops.isnan, ops.isinf, ops.isfinite, ops.equal, ops.allclose
        logical_not, logical_and, logical_or, logical_xor = (
            ops.logical_not,
            ops.logical_and,
            ops.logical_or,
            ops.logical_xor,
        )
        sum, mean, var, std, prod, amax, amin = ops.sum, ops.mean, ops.var, ops.std, ops.prod, ops.amax, ops.amin
        max, min, argmax, argmin, any, all = ops.max, ops.min, ops.argmax, ops.argmin, ops.any, ops.all
        cumsum, logsumexp, softmax, log_softmax, norm = (
            ops.cumsum,
            ops.logsumexp,
            ops.softmax,
            ops.log_softmax,
            ops.norm,
        )
        count_nonzero, sort, argsort, topk = ops.count_nonzero, ops.sort, ops.argsort, ops.topk
        reshape, view, view_as, flatten, unflatten = ops.reshape, ops.view, ops.view_as, ops.flatten, ops.unflatten
        permute, transpose, t, movedim, squeeze, unsqueeze = (
            ops.permute,
            ops.transpose,
            ops.t,
            ops.movedim,
            ops.squeeze,
            ops.unsqueeze,
        )
        expand, expand_as, broadcast_to, repeat, tile = (
            ops.expand_dims,
            ops.expand_as,
            ops.broadcast_to,
            ops.repeat,
            ops.tile,
        )
        repeat_interleave, split, chunk, narrow, select = (
            ops.repeat_interleave,
            ops.split,
            ops.chunk,
            ops.narrow,
            ops.select,
        )
        unbind, flip, roll, tril, triu, diagonal, diag = (
            ops.unbind,
            ops.flip,
            ops.roll,
            ops.tril,
            ops.triu,
            ops.diagonal,
            ops.diag,
        )
        gather, scatter, scatter_add, index_select = ops.gather, ops.scatter, ops.scatter_add, ops.index_select
        masked_fill, masked_select, take_along_dim = ops.masked_fill, ops.masked_select, ops.take_along_dim
        matmul, mm, bmm, mv, dot, outer, trace = ops.matmul, ops.mm, ops.bmm, ops.mv, ops.dot, ops.outer, ops.trace
        inverse = ops.inverse
        clone, contiguous = ops.clone, ops.contiguous

    def where(self, condition: Any, other: Any) -> Tensor:
        """self where condition is true, other elsewhere."""
        return ops.where(condition, self, other)

    def reshape_as(self, other: Tensor) -> Tensor:
        """The same elements in the shape of another tensor: self.reshape(other.shape)."""
        return ops.reshape(self, other.shape)

    # In place

    if not TYPE_CHECKING:  # which reads _signatures.pyi
        __iadd__ = add_ = in_place(ops.add)
        __isub__ = sub_ = in_place(ops.sub)
        __imul__ = mul_ = in_place(ops.mul)
        __itruediv__ = div_ = in_place(ops.div)
        __ipow__ = pow_ = in_place(ops.pow)
        neg_, exp_, log_, sqrt_, rsqrt_ = map(in_place, (ops.neg, ops.exp, ops.log, ops.sqrt, ops.rsqrt))
        abs_, square_, reciprocal_, round_ = map(in_place, (ops.abs, ops.square, ops.reciprocal, ops.round))
        sigmoid_, tanh_, relu_, floor_, ceil_ = map(in_place, (ops.sigmoid, ops.tanh, ops.relu, ops.floor, ops.ceil))
        clamp_ = clip_ = in_place(ops.clamp)
        lerp_, addcmul_, addcdiv_ = map(in_place, (ops.lerp, ops.addcmul, ops.addcdiv))
        masked_fill_, scatter_, scatter_add_ = map(in_place, (ops.masked_fill, ops.scatter, ops.scatter_add))
        zero_ = inplace.filler("zero", inplace.zeros)
        fill_ = inplace.filler("fill", inplace.full)
        normal_ = inplace.filler("normal", inplace.normal)
        uniform_ = inplace.filler("uniform", inplace.uniform)
        bernoulli_ = inplace.filler("bernoulli", inplace.bernoulli)
        exponential_ = inplace.filler("exponential", inplace.exponential)

    def copy_(self, src: Any) -> Tensor:
        """Overwrite the values with those of src, which may broadcast and have another dtype or device."""
        source = src if isinstance(src, Tensor) else Tensor(self._xp.asarray(src))
        value = source if source.device == self.device else _transfer(source, device=self.device)
        value = ops.broadcast_to(value if value.dtype == self.dtype else cast(value, dtype=self.dtype), self.shape)
        return in_place(_second)(self, value)

    # Other dtypes and devices

    def to(
        self, *target: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False
    ) -> Tensor:
        """The tensor with another dtype, on another device, or like another tensor; itself if nothing changes.

        copy: a copy even then.  non_blocking changes nothing: what a copy waits for is the array library's affair.
        target: a dtype, a device or a tensor, in any order: to(tg.float64), to("cuda"), to(other).
        """
        for t in target:
            if isinstance(t, bool):  # non_blocking, given by position
                continue
            if isinstance(t, Node):
                dtype, device = t.dtype, backend.device_of(t.array)
            elif isinstance(t, Device) or (isinstance(t, str) and not _names_a_dtype(t)):
                device = t
            elif t is not None:
                dtype = t
        out = self
        if dtype is not None and np.dtype(dtype) != out.dtype:
            out = cast(out, dtype=np.dtype(dtype))
        if device is not None and backend.device(device) != out.device:
            out = _transfer(out, device=backend.device(device))
        return ops.clone(out) if copy and out is self else out

    def type_as(self, other: Tensor) -> Tensor:
        """With the dtype of other."""
        return self.to(other.dtype)

    def cpu(self) -> Tensor:
        """On the CPU: the tensor itself if it is there, else a copy."""
        return self.to(device="cpu")

    def cuda(self, device: int | str | Device | None = None, non_blocking: bool = False) -> Tensor:
        """On the GPU (of that number).  non_blocking changes nothing."""
        return self.to(device=f"cuda:{device}" if isinstance(device, int) else device or "cuda")

    def float(self) -> Tensor:
        """As float32: the tensor itself if it has that dtype, else a copy."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """As float64: the tensor itself if it has that dtype, else a copy."""
        return self.to(np.float64)

    def half(self) -> Tensor:
        """As float16: the tensor itself if it has that dtype, else a copy."""
        return self.to(np.float16)

    def long(self) -> Tensor:
        """As int64: the tensor itself if it has that dtype, else a copy."""
        return self.to(np.int64)

    def int(self) -> Tensor:
        """As int32: the tensor itself if it has that dtype, else a copy."""
        return self.to(np.int32)

    def bool(self) -> Tensor:
        """As truth values (bool): the tensor itself if it has that dtype, else a copy."""
        return self.to(np.bool_)

    def byte(self) -> Tensor:
        """As uint8: the tensor itself if it has that dtype, else a copy."""
        return self.to(np.uint8)

    def _new(self, make: str, size: tuple[Any, ...], dtype: Any, requires_grad: bool, *args: Any) -> Tensor:
        array = getattr(np, make)(ops.shape.sizes(size), *args, dtype=self.dtype if dtype is None else dtype)
        return Tensor(backend.to_device(array, self.device), requires_grad=requires_grad)

    def new_zeros(self, *size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        """Zeros of another shape with this tensor's dtype and device."""
        return self._new("zeros", size, dtype, requires_grad)

    def new_ones(self, *size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        """Ones of another shape with this tensor's dtype and device."""
        return self._new("ones", size, dtype, requires_grad)

    def new_full(self, size: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        """A constant of another shape with this tensor's dtype and device.  fill_value: the constant."""
        return self._new("full", (size,), dtype, requires_grad, fill_value)

    new_empty = new_zeros
    new = new_zeros

    def new_tensor(self, data: Any, requires_grad: bool = False) -> Tensor:
        """New values with this tensor's dtype and device."""
        return Tensor(backend.to_device(np.array(data, dtype=self.dtype), self.device), requires_grad=requires_grad)


def _names_a_dtype(name: str) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True


_NUMPYS_OPERATORS = {
    **{name: name for name in ("matmul", "remainder", "floor_divide", "div")},
    **{name: name for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    **dict(add="add", subtract="sub", multiply="mul", divide="div", power="pow"),
    **dict(equal="eq", not_equal="ne", less="lt", less_equal="le", greater="gt", greater_equal="ge"),
}
"""NumPy's name of what an operator sign between an array and a tensor calls -> ours."""

missing.mark_missing(Tensor)
Node.public = Tensor
_second = Op(lambda xp, x, y: y, lambda g, *_: e.zero(g), lambda g, *_: g, any_dtype=True, name="copy")


class _KeepGrad:
    """The hook of retain_grad: always the last one.  A strong reference would keep the graph alive in a cycle."""

    def __init__(self, tensor: Tensor):
        self._tensor = weakref.ref(tensor)

    def __call__(self, g: Tensor) -> None:
        tensor = self._tensor()
        if tensor is not None:
            autograd.accumulate(tensor, g if g.requires_grad else g.array.copy())


class RemovableHandle:
    """Takes a hook away again: handle.remove(), or at the end of a `with` block."""

    def __init__(self, hooks: list[Any] | dict[Any, Any], hook: Any):
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            if isinstance(self._hooks, dict):
                del self._hooks[self._hook]
            else:
                self._hooks.remove(self._hook)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
