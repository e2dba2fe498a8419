"""Taming gradients between `backward()` and `optimizer.step()`, and weights in polar coordinates (torch.nn.utils)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from math import inf
from typing import Any, TypeVar

import numpy as np

from tinygen.backend import Array, array_module, device_of, fuse, to_device
from tinygen.engine import Node
from tinygen.layout import inner
from tinygen.memory import as_a_whole, note_change
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.ops import norm
from tinygen.tensor import Tensor

M = TypeVar("M", bound=Module)


@contextmanager
def evaluating(*modules: Module) -> Iterator[None]:
    """Inside a `with`, the modules and all that is in them are in evaluation mode; afterwards each is as it was.

        with nn.utils.evaluating(model), tg.no_grad():
            loss = model.loss(x_test).item()

    model.eval() before and model.train() after would put a part that was frozen in evaluation mode, as a batch normalisation
    that keeps its statistics, into training mode.  Each module has its own mode back, also after an exception.
    PyTorch has no such function.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _gradients(parameters: Node | Iterable[Node]) -> list[Node]:
    parameters = [parameters] if isinstance(parameters, Node) else parameters
    return [p.grad for p in parameters if p.grad is not None]


def _joined(gradients: list[Node]) -> list[Array]:
    """Arrays with all elements of the gradients, to be changed in place.

    Not on the CPU: there the gradients of one device and dtype move into one array, and become views of it.  So what is to be
    done takes a few kernels, and not a few for each of them.
    """
    kinds: dict[Any, list[Node]] = {}
    for i, g in enumerate(gradients):
        kinds.setdefault(i if isinstance(g.array, np.ndarray) else (device_of(g.array), g.dtype), []).append(g)
    return [_end_to_end(kind) if len(kind) > 1 else kind[0].array for kind in kinds.values()]


def _end_to_end(gradients: list[Node]) -> Array:
    arrays = [g.array for g in gradients]
    flat = array_module(arrays[0]).concatenate(arrays, axis=None)
    ends = accumulate(a.size for a in arrays)
    for g, a, end in zip(gradients, arrays, ends, strict=True):
        g.array = flat[end - a.size : end].reshape(a.shape)
    return flat


def _norm(xp: Any, x: Array, order: float) -> Array:
    """(Σ |xᵢ|^order)^(1/order), of all elements of x."""
    x = x.reshape(-1)
    if order == 2:
        return xp.sqrt(inner(x, x))  # a BLAS call, where norm() would make an array of squares
    if order == inf:
        return xp.abs(x).max() if x.size else xp.zeros((), x.dtype)
    x = x.astype(np.float32) if x.dtype == np.float16 else x  # whose squares overflow
    return (xp.abs(x) ** order).sum() ** (1 / order)


@fuse
def _factor(xp: Any, total: Any, max_norm: Any) -> Any:
    return xp.minimum(max_norm / (total + 1e-6), 1.0)


@as_a_whole
def clip_grad_norm_(
    parameters: Node | Iterable[Node], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor, in place, so that the norm of the vector of all their elements is at most max_norm.

    norm_type: p of the p-norm, inf for the largest absolute value.
    error_if_nonfinite: raise RuntimeError when the norm is infinite or nan; else all gradients become 0 or nan.

    Returns the norm as it was, a tensor without dimensions: worth plotting.  Raises ValueError for a norm_type <= 0
    and for a max_norm that is negative or nan.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    max_norm, norm_type = float(max_norm), float(norm_type)
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    if not max_norm >= 0:
        raise ValueError(
            f"clip_grad_norm_: max_norm must be >= 0, got {max_norm}; a negative one would turn the gradients"
        )
    gradients = _gradients(parameters)
    if not gradients:
        return Tensor(0.0)
    pieces = _joined(gradients)
    home, xp = device_of(pieces[0]), array_module(pieces[0])
    norms = [to_device(xp.asarray(_norm(array_module(x), x, norm_type)), home) for x in pieces]
    total = norms[0] if len(norms) == 1 else xp.asarray(_norm(xp, xp.stack(norms), norm_type))
    if error_if_nonfinite and not bool(xp.isfinite(total)):
        raise RuntimeError(
            f"clip_grad_norm_: the norm of the gradients is {float(total)}, so they cannot be scaled; look for the operator "
            "that overflows, or pass error_if_nonfinite=False"
        )
    factor = _factor(xp, total, max_norm)  # on a GPU it stays there: no waiting for its value
    for x in pieces:
        x *= to_device(xp.asarray(factor, dtype=x.dtype), device_of(x))
    for g in gradients:
        note_change(g)
    return Tensor(total)


@as_a_whole
def clip_grad_value_(parameters: Node | Iterable[Node], clip_value: float) -> None:
    """Clamp every element of every gradient to [-clip_value, clip_value], in place.  This changes the gradient's direction."""
    clip_value = float(clip_value)
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must be >= 0, got {clip_value}")
    gradients = _gradients(parameters)
    for x in _joined(gradients):
        array_module(x).clip(x, -clip_value, clip_value, out=x)
    for g in gradients:
        note_change(g)


class WeightNorm:
    """The hooks of `weight_norm`: before forward the weight is computed, and after it no more than its values stay."""

    def __init__(self, name: str, dim: int | None):
        self.name, self.dim = name, dim

    def length(self, v: Any) -> Any:
        """‖v‖ for every index along `dim`, with 1 for the other dimensions; without a dim, of all of v."""
        return norm(v, 2) if self.dim is None else norm(v, 2, [d for d in range(v.ndim) if d != self.dim], True)

    def weight(self, module: Any) -> Any:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / self.length(v))

    def __call__(self, module: Any, args: tuple) -> None:
        setattr(module, self.name, self.weight(module))

    def release(self, module: Any, args: tuple, out: Any) -> None:
        """Without its graph the weight can be copied and saved as part of the module."""
        setattr(module, self.name, getattr(module, self.name).detach())


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Weight normalisation: w = g v/‖v‖, length and direction as two parameters.  Changes the module, and returns it.

        layer = weight_norm(nn.Linear(20, 40))      # layer.weight_g: (40, 1), layer.weight_v: (40, 20)

    A step along v turns w, a step along g stretches it; the gradient of v is orthogonal to v.  It has no state and no batch:
    a layer that batch normalisation cannot stand beside, such as one inside a flow, can have it.

    name: of the parameter w.  It is replaced by the parameters name_g and name_v, which start so that w is what it was.
        The attribute `name` has the value of the last forward pass; assigning to it changes nothing.
    dim: the dimension that has a length for each of its indices, the outputs of Linear and Conv; 1 for the output channels
        of ConvTranspose.  None (or -1, as in PyTorch): one length for all of w.

    Raises AttributeError if there is no such parameter, RuntimeError if it is normalised already, ValueError for another
    dim, and for parts of w that are zero: they have no direction.
    Source: Salimans, Kingma 2016, eq. 2.
    """
    if _hook(module, name) is not None:
        raise RuntimeError(f"weight_norm: {name!r} of this {type(module).__name__} is normalised already")
    w = vars(module).get(name)
    if not isinstance(w, Parameter):
        own = ", ".join(repr(n) for n, _ in module.named_parameters(recurse=False)) or "none"
        raise AttributeError(f"weight_norm: {type(module).__name__} has no parameter {name!r} of its own; it has {own}")
    dim = None if dim == -1 else dim
    if dim is not None and not 0 <= dim < w.ndim:
        raise ValueError(
            f"weight_norm: dim must be None or 0 to {w.ndim - 1} for {name!r} of shape {w.shape}, got {dim}"
        )
    hook = WeightNorm(name, dim)
    v = w.detach()
    g = hook.length(v)
    if not bool((g > 0).all()):
        raise ValueError(
            f"weight_norm: parts of {name!r}, of shape {w.shape}, are zero and have no direction to normalise (dim={dim}); "
            f"to start with a weight of 0, normalise first and then set {name}_g to 0"
        )
    delattr(module, name)
    for part, value in (("g", g), ("v", v)):
        p = Parameter(value)
        p.requires_grad_(w.requires_grad)
        module.register_parameter(f"{name}_{part}", p)
    setattr(module, name, v.clone())
    module.register_forward_pre_hook(hook)
    module.register_forward_hook(hook.release)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo `weight_norm`: one parameter `name` again, with the value that it has.  Raises ValueError if it is not normalised."""
    hook = _hook(module, name)
    if hook is None:
        raise ValueError(f"remove_weight_norm: {name!r} of this {type(module).__name__} is not normalised")
    trained = getattr(module, f"{name}_v").requires_grad
    w = hook.weight(module).detach()
    before, after = module._hooks or ([], [])
    before.remove(hook)
    after.remove(hook.release)
    for attribute in (name, f"{name}_g", f"{name}_v"):
        delattr(module, attribute)
    module.register_parameter(name, Parameter(w, trained))
    return module


def _hook(module: Module, name: str) -> WeightNorm | None:
    before = module._hooks[0] if module._hooks else []
    return next((h for h in before if isinstance(h, WeightNorm) and h.name == name), None)
