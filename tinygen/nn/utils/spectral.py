"""The largest singular value of a weight, by power iteration; and dividing the weight by it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from tinygen import ops
from tinygen.backend import array_module
from tinygen.creation import empty
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole, note_change, on_device
from tinygen.nn.layers import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor

__all__ = ["remove_spectral_norm", "spectral_norm"]

M = TypeVar("M", bound=Module)


def as_matrix(w: Any, dim: int) -> Any:
    """(size of dim, all others): the weight as the linear map whose outputs are counted by `dim`."""
    if dim:
        w = ops.permute(w, (dim, *(d for d in range(w.ndim) if d != dim)))
    return ops.reshape(w, (w.shape[0], -1))


def output_dim(module: Module) -> int:
    """Where a layer counts its outputs: in dim 1 of the weights of transposed convolutions, in dim 0 of all others."""
    return 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0


def starting_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Random vectors of length one: u for the rows and v for the columns of the matrix."""
    vectors = []
    for n in matrix.shape:
        x = empty(n, dtype=matrix.dtype, device=matrix.device).normal_()
        vectors.append(x / ops.clamp(ops.norm(x), min=1e-12))
    return vectors[0], vectors[1]


@as_a_whole
@on_device
def power_iteration(matrix: Tensor, u: Tensor, v: Tensor, steps: int, eps: float) -> None:
    """u = W v / |W v|, v = Wᵀu / |Wᵀu|, in place, outside of any graph: they turn to the singular vectors of the largest one.

    To begin with v, as PyTorch's hooks do, hand in Wᵀ, v and u.
    """
    w, left, right = matrix.array, u.array, v.array
    w = w.astype(np.float32) if w.dtype == np.float16 else w
    for _ in range(steps):
        left[...] = _of_length_one(w @ right.astype(w.dtype, copy=False), eps)
        right[...] = _of_length_one(w.T @ left.astype(w.dtype, copy=False), eps)
    note_change(u)
    note_change(v)


def _of_length_one(x: Any, eps: float) -> Any:
    xp = array_module(x)
    return x / xp.maximum(xp.sqrt(x.dot(x)), x.dtype.type(eps))


def divided(w: Any, u: Tensor, v: Tensor, dim: int) -> Any:
    """W / (uᵀ W v).  u and v are constants: where they are singular vectors, the singular value has no slope in them."""
    u, v = u.clone(), v.clone()  # the next iteration must not change what this graph remembers
    return w / ops.sum(u * (as_matrix(w, dim) @ v))


class SpectralNorm:
    """The hooks of `spectral_norm`: before forward the weight is computed, and after it no more than its values stay."""

    name: str
    n_power_iterations: int
    eps: float
    dim: int

    def __init__(self, name: str, n_power_iterations: int, eps: float, dim: int):
        self.name, self.n_power_iterations, self.eps, self.dim = name, n_power_iterations, eps, dim

    def weight(self, module: Any, steps: int) -> Any:
        w, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        power_iteration(as_matrix(w.detach(), self.dim).T, v, u, steps, self.eps)
        return divided(w, u, v, self.dim)

    def __call__(self, module: Any, args: tuple[Any, ...]) -> None:
        setattr(module, self.name, self.weight(module, self.n_power_iterations if module.training else 0))

    def release(self, module: Any, args: tuple[Any, ...], out: Any) -> None:
        """Without its graph the weight can be copied and saved as part of the module."""
        setattr(module, self.name, getattr(module, self.name).detach())


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Spectral normalisation: w / σ(w), where σ is the largest singular value.  Changes the module, and returns it.

        layer = spectral_norm(nn.Linear(20, 40))      # |layer(x) - layer(y)| <= |x - y|, once the iteration has converged

    σ is uᵀ W v, where u and v are buffers that every forward pass in training turns nearer to the singular vectors by
    n_power_iterations steps; in evaluation they stay.  The gradient takes them as constants, as in PyTorch.
    name: of the parameter w.  It is replaced by the parameter name_orig and the buffers name_u, name_v.  The attribute `name`
        has the value of the last forward pass; assigning to it changes nothing.
    eps: the smallest length of a vector to divide by.
    dim: the dimension that counts the outputs; None: 1 for transposed convolutions, 0 for all other layers.

    PyTorch's newer way to say it is nn.utils.parametrizations.spectral_norm, whose weight is always the one of the moment.
    Raises AttributeError if there is no such parameter, RuntimeError if it is normalised already, ValueError for fewer than one
    step, another dim, and a weight with fewer than two dimensions (as ShapeError).
    Source: Miyato, Kataoka, Koyama, Yoshida 2018, algorithm 1.
    """
    if _hook(module, name) is not None:
        raise RuntimeError(f"spectral_norm: {name!r} of this {type(module).__name__} is normalised already")
    w = vars(module).get(name)
    if not isinstance(w, Parameter):
        own = ", ".join(repr(n) for n, _ in module.named_parameters(recurse=False)) or "none"
        raise AttributeError(
            f"spectral_norm: {type(module).__name__} has no parameter {name!r} of its own; it has {own}"
        )
    dim = checked("spectral_norm", w, output_dim(module) if dim is None else dim, n_power_iterations)
    hook = SpectralNorm(name, n_power_iterations, eps, dim)
    u, v = starting_vectors(as_matrix(w.detach(), dim))
    delattr(module, name)
    module.register_parameter(f"{name}_orig", w)
    setattr(module, name, w.detach().clone())
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    module.register_forward_hook(hook.release)
    return module


def checked(function: str, w: Any, dim: int, n_power_iterations: int) -> int:
    """The dim, non-negative; raises if there is none, or nothing to iterate."""
    if n_power_iterations < 1:
        raise ValueError(f"{function}: n_power_iterations must be at least 1, got {n_power_iterations}")
    if w.ndim < 2 or 0 in w.shape:
        raise ShapeError(f"{function}: a weight of at least two dimensions is expected, got shape {tuple(w.shape)}")
    if not -w.ndim <= dim < w.ndim:
        raise ValueError(f"{function}: dim must be 0 to {w.ndim - 1} for a weight of shape {tuple(w.shape)}, got {dim}")
    return dim % w.ndim


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo `spectral_norm`: one parameter `name` again, with the value that it has.

    module: whose parameter it is; it is changed, and returned.  Raises ValueError if it is not normalised.
    """
    hook = _hook(module, name)
    if hook is None:
        raise ValueError(f"remove_spectral_norm: {name!r} of this {type(module).__name__} is not normalised")
    w = hook.weight(module, 0).detach()
    trained = getattr(module, f"{name}_orig").requires_grad
    before, after = (module._hooks or ([], []))[:2]
    before.remove(hook)
    after.remove(hook.release)
    for attribute in (name, f"{name}_orig", f"{name}_u", f"{name}_v"):
        delattr(module, attribute)
    module.register_parameter(name, Parameter(w, trained))
    return module


def _hook(module: Module, name: str) -> SpectralNorm | None:
    before = module._hooks[0] if module._hooks else []
    return next((h for h in before if isinstance(h, SpectralNorm) and h.name == name), None)
