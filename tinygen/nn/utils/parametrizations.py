"""Parametrizations that are ready to use: weights of largest singular value 1, and in polar coordinates."""

from __future__ import annotations

from typing import Any, TypeVar

from tinygen.nn.module import Module
from tinygen.nn.utils.parametrize import register_parametrization
from tinygen.nn.utils.polar import length
from tinygen.nn.utils.spectral import as_matrix, checked, divided, output_dim, power_iteration, starting_vectors
from tinygen.tensor import Tensor

__all__ = ["spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


class _SpectralNorm(Module):
    """w / σ(w), with the vectors of the power iteration as buffers."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float):
        super().__init__()
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim, eps
        matrix = as_matrix(weight.detach(), dim)
        u, v = starting_vectors(matrix)
        power_iteration(matrix, u, v, 15, eps)  # PyTorch's number
        self.register_buffer("_u", u)
        self.register_buffer("_v", v)

    def forward(self, weight: Any) -> Tensor:
        if self.training:
            power_iteration(as_matrix(weight.detach(), self.dim), self._u, self._v, self.n_power_iterations, self.eps)
        return divided(weight, self._u, self._v, self.dim)

    def right_inverse(self, value: Any) -> Tensor:
        return value


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Spectral normalisation as a parametrization: w / σ(w), where σ is the largest singular value.  Returns the module.

        layer = spectral_norm(nn.Linear(20, 40))   # layer.parametrizations.weight.original is what is trained

    name: of the parameter w.  n_power_iterations: steps of the power iteration at every access of it in training; none in
    evaluation.  eps: the smallest length of a vector to divide by.
    dim: the dimension that counts the outputs; None: 1 for transposed convolutions, 0 for all other layers.
    Raises AttributeError if there is no such tensor, ValueError for fewer than one step or another dim, ShapeError for fewer
    than two dimensions.  Source: Miyato, Kataoka, Koyama, Yoshida 2018, algorithm 1.
    """
    weight = _tensor("spectral_norm", module, name)
    dim = checked("spectral_norm", weight, output_dim(module) if dim is None else dim, n_power_iterations)
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


class _WeightNorm(Module):
    """g v/‖v‖, of the originals g and v."""

    def __init__(self, dim: int | None):
        super().__init__()
        self.dim = dim

    def forward(self, g: Any, v: Any) -> Tensor:
        return v * (g / length(v, self.dim))

    def right_inverse(self, value: Any) -> tuple[Tensor, Tensor]:
        return length(value, self.dim), value


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Weight normalisation as a parametrization: w = g v/‖v‖, length and direction as two parameters.  Returns the module.

        layer = weight_norm(nn.Linear(20, 40))   # parametrizations.weight.original0 is g, (40, 1), original1 is v, (40, 20)

    name: of the parameter w.
    dim: the dimension that has a length for each of its indices; None or -1: one length for all of w.
    Raises AttributeError if there is no such tensor, ValueError for another dim, and for parts of w that are zero.
    Source: Salimans, Kingma 2016, eq. 2.
    """
    weight = _tensor("weight_norm", module, name)
    dim = None if dim == -1 else dim
    if dim is not None and not 0 <= dim < weight.ndim:
        raise ValueError(
            f"weight_norm: dim must be None or 0 to {weight.ndim - 1} for {name!r} of shape {tuple(weight.shape)}, got {dim}"
        )
    if not bool((length(weight.detach(), dim) > 0).all()):
        raise ValueError(
            f"weight_norm: parts of {name!r}, of shape {tuple(weight.shape)}, are zero and have no direction (dim={dim})"
        )
    return register_parametrization(module, name, _WeightNorm(dim))


def _tensor(function: str, module: Module, name: str) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, Tensor):
        own = ", ".join(repr(n) for n, _ in module.named_parameters(recurse=False)) or "none"
        raise AttributeError(f"{function}: {type(module).__name__} has no parameter {name!r} of its own; it has {own}")
    return found
