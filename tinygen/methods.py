"""More methods of a Tensor: PyTorch's long tail, which `tensor.py` leaves out.  As there, a method *is* the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen import backend, engine, inplace, ops
from tinygen.engine import Node
from tinygen.inplace import in_place
from tinygen.memory import Memory, clock
from tinygen.ops.arrange import unfold
from tinygen.ops.writing import fill_diagonal

if TYPE_CHECKING:
    from tinygen._signatures import Signatures
    from tinygen.tensor import Tensor
else:
    Signatures = Node

_TYPES = {
    "float16": "Half",
    "float32": "Float",
    "float64": "Double",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "bool": "Bool",
}


def reshaped_in_place(op: Callable[..., Any]) -> Callable[..., Any]:
    """The method that gives a tensor another shape and leaves its memory alone; `op` returns a view."""
    name = op.__name__

    def method(self: Tensor, *args: Any, **params: Any) -> Tensor:
        graph = engine.is_grad_enabled() and self.requires_grad
        if graph and self.op is None:
            raise RuntimeError(
                f"{name}_: a leaf that requires a gradient cannot be changed in place while recording; use {name}, or wrap the "
                "change in `with tinygen.no_grad():`"
            )
        old = Node.public(self.array)
        if graph:  # what it was lives on as a node of its own, on the same memory
            self.memory = old.memory = memory = self.memory or Memory()
            shared = memory.shared
            for slot in ("requires_grad", "op", "edges", "time", "line", "inputs", "arrays", "params"):
                setattr(old, slot, getattr(self, slot))
        new = op(old, *args, **params)
        self.array = new.array
        if graph:
            memory.shared = shared  # not by a second tensor of the user's
            old.hooks, self.hooks = self.hooks, None
            for slot in ("requires_grad", "op", "edges", "line", "inputs", "arrays", "params"):
                setattr(self, slot, getattr(new, slot))
            self.time = next(clock)
        return self

    method.__name__ = name + "_"
    method.__wrapped__ = op  # type: ignore[attr-defined]
    method.__doc__ = (
        f"Like `{name}`, but this tensor itself gets the new shape, and is returned; its memory is not copied."
    )
    return method


def random(x: Any, *bounds: int, generator: backend.Generator | None = None, **named: int) -> Any:
    """Every element becomes a random integer: random_(to) from 0, ..., to - 1, random_(from, to) from from, ..., to - 1.

    Without bounds all integers >= 0 that the dtype holds exactly.
    """
    low, high = {0: (0, None), 1: (0, *bounds), 2: bounds}[len(bounds)] if len(bounds) < 3 else (None, None)
    low, high = named.get("from", low), named.get("to", high)
    limits = {"f": lambda: 2 ** (np.finfo(x.dtype).nmant + 1), "b": lambda: 1}
    most = limits.get(x.dtype.kind, lambda: int(np.iinfo(x.dtype).max))()
    high = min(most + 1, 2**63 - 1) if high is None else high
    if low is None or not low < high or high - 1 > most:
        raise ValueError(f"random_: from < to <= {most + 1} are needed for {x.dtype}, got from={low} and to={high}")
    return (generator or backend.default_generator(x.device)).integers(low, high, x.shape)


class Methods(Signatures):
    """A node of the graph with these methods; Tensor adds the more common ones."""

    __slots__ = ()
    device: Any
    to: Callable[..., Tensor]

    # What it is

    @property
    def is_cpu(self) -> bool:
        """Whether its values are in the computer's memory."""
        return self.device.type == "cpu"

    @property
    def nbytes(self) -> int:
        """The number of bytes that its elements take."""
        return self.array.nbytes

    def data_ptr(self) -> int:
        """Where its first element lies in memory."""
        pointer = getattr(self.array, "ctypes", None)
        return self.array.data.ptr if pointer is None else pointer.data

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """Without arguments "tinygen.FloatTensor" and the like; else the tensor in that dtype, which may be named so."""
        if dtype is None:
            return f"tinygen.{_TYPES[self.dtype.name]}Tensor"
        if isinstance(dtype, str) and dtype.endswith("Tensor"):
            kinds = {f"{kind}Tensor": name for name, kind in _TYPES.items()}
            dtype = kinds.get(dtype.rsplit(".", 1)[-1], dtype)
        return self.to(np.dtype(dtype))

    def pin_memory(self) -> Any:
        """The tensor itself.  PyTorch locks its pages, for faster copies to a GPU; here copies are the array library's."""
        return self

    def is_pinned(self) -> bool:
        """False: see pin_memory."""
        return False

    # Functions

    if not TYPE_CHECKING:  # which reads _signatures.pyi
        asin, acos, atan2, asinh, acosh, atanh = ops.asin, ops.acos, ops.atan2, ops.asinh, ops.acosh, ops.atanh
        arcsin, arccos, arctan, arctan2 = ops.asin, ops.acos, ops.atan, ops.atan2
        erfc, erfinv, lgamma, digamma, exp2, logit = ops.erfc, ops.erfinv, ops.lgamma, ops.digamma, ops.exp2, ops.logit
        xlogy, trunc, fix, frac, fmod, nan_to_num = ops.xlogy, ops.trunc, ops.trunc, ops.frac, ops.fmod, ops.nan_to_num
        clamp_min, clamp_max, absolute, negative = ops.clamp_min, ops.clamp_max, ops.abs, ops.neg
        greater, greater_equal, less, less_equal, not_equal = ops.gt, ops.ge, ops.lt, ops.le, ops.ne
        isclose, nonzero, argwhere, unique, bincount = ops.isclose, ops.nonzero, ops.argwhere, ops.unique, ops.bincount
        histc, median, nanmedian, mode, quantile = ops.histc, ops.median, ops.nanmedian, ops.mode, ops.quantile
        kthvalue, aminmax, dist = ops.kthvalue, ops.aminmax, ops.dist
        cumprod, cummax, cummin, logcumsumexp, diff = ops.cumprod, ops.cummax, ops.cummin, ops.logcumsumexp, ops.diff
        swapaxes, swapdims, moveaxis, ravel, unfold = ops.swapaxes, ops.swapdims, ops.moveaxis, ops.ravel, unfold
        rot90, fliplr, flipud, tensor_split, diag_embed = (
            ops.rot90,
            ops.fliplr,
            ops.flipud,
            ops.tensor_split,
            ops.diag_embed,
        )
        index_add, index_copy, index_fill = ops.index_add, ops.index_copy, ops.index_fill
        masked_scatter = ops.masked_scatter
        addmm, addmv, addr, addbmm, baddbmm = ops.addmm, ops.addmv, ops.addr, ops.addbmm, ops.baddbmm
        ger, kron, cross, det, logdet, slogdet = ops.ger, ops.kron, ops.cross, ops.det, ops.logdet, ops.slogdet
        pinverse, matrix_power = ops.pinverse, ops.matrix_power

    def polygamma(self, n: int) -> Any:
        """The n-th derivative of digamma at each element."""
        return ops.polygamma(n, self)

    def multinomial(
        self, num_samples: int, replacement: bool = False, *, generator: backend.Generator | None = None
    ) -> Any:
        """Indices drawn with probabilities proportional to the elements, or to those of each row: tinygen.multinomial."""
        from tinygen.creation import multinomial

        return multinomial(self, num_samples, replacement, generator=generator)

    def bernoulli(self, p: float | None = None, *, generator: backend.Generator | None = None) -> Any:
        """1 with the probability given by each element, or by p for all, else 0: tinygen.bernoulli."""
        from tinygen.creation import bernoulli

        return bernoulli(self, p, generator=generator)

    # In place

    if not TYPE_CHECKING:
        absolute_, negative_, multiply_, divide_, subtract_ = map(
            in_place, (ops.abs, ops.neg, ops.mul, ops.div, ops.sub)
        )
        true_divide_, floor_divide_, remainder_, fmod_ = map(
            in_place, (ops.div, ops.floor_divide, ops.remainder, ops.fmod)
        )
        sin_, cos_, tan_, sinh_, cosh_ = map(in_place, (ops.sin, ops.cos, ops.tan, ops.sinh, ops.cosh))
        asin_, acos_, atan_, atan2_ = map(in_place, (ops.asin, ops.acos, ops.atan, ops.atan2))
        asinh_, acosh_, atanh_ = map(in_place, (ops.asinh, ops.acosh, ops.atanh))
        arcsin_, arccos_, arctan_ = map(in_place, (ops.asin, ops.acos, ops.atan))
        exp2_, expm1_, log1p_, log2_, log10_ = map(in_place, (ops.exp2, ops.expm1, ops.log1p, ops.log2, ops.log10))
        erf_, erfc_, erfinv_, lgamma_, digamma_ = map(
            in_place, (ops.erf, ops.erfc, ops.erfinv, ops.lgamma, ops.digamma)
        )
        logit_, xlogy_, trunc_, frac_, sign_ = map(in_place, (ops.logit, ops.xlogy, ops.trunc, ops.frac, ops.sign))
        nan_to_num_, clamp_min_, clamp_max_ = map(in_place, (ops.nan_to_num, ops.clamp_min, ops.clamp_max))
        cumsum_, cumprod_, tril_, triu_ = map(in_place, (ops.cumsum, ops.cumprod, ops.tril, ops.triu))
        index_add_, index_copy_, index_fill_ = map(in_place, (ops.index_add, ops.index_copy, ops.index_fill))
        masked_scatter_, fill_diagonal_ = map(in_place, (ops.masked_scatter, fill_diagonal))
        addmm_, addmv_, addbmm_, baddbmm_ = map(in_place, (ops.addmm, ops.addmv, ops.addbmm, ops.baddbmm))
        logical_not_, logical_and_, logical_or_ = map(in_place, (ops.logical_not, ops.logical_and, ops.logical_or))
        logical_xor_ = in_place(ops.logical_xor)
        squeeze_, unsqueeze_ = reshaped_in_place(ops.squeeze), reshaped_in_place(ops.unsqueeze)
        t_ = reshaped_in_place(ops.t)
        transpose_ = swapaxes_ = swapdims_ = reshaped_in_place(ops.transpose)
        random_ = inplace.filler("random", random)
