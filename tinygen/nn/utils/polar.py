"""Weights in polar coordinates: length and direction are two parameters."""

from __future__ import annotations

from typing import Any, TypeVar

from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.ops import norm

__all__ = ["remove_weight_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


def length(v: Any, dim: int | None) -> Any:
    """‖v‖ for every index along `dim`, with 1 for the other dimensions; without a dim, of all of v."""
    return norm(v, 2) if dim is None else norm(v, 2, [d for d in range(v.ndim) if d != dim], True)


class WeightNorm:
    """The hooks of `weight_norm`: before forward the weight is computed, and after it no more than its values stay."""

    name: str
    dim: int | None

    def __init__(self, name: str, dim: int | None):
        self.name, self.dim = name, dim

    def weight(self, module: Any) -> Any:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / length(v, self.dim))

    def __call__(self, module: Any, args: tuple[Any, ...]) -> None:
        setattr(module, self.name, self.weight(module))

    def release(self, module: Any, args: tuple[Any, ...], out: Any) -> None:
        """Without its graph the weight can be copied and saved as part of the module."""
        setattr(module, self.name, getattr(module, self.name).detach())


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Weight normalisation: w = g v/‖v‖, length and direction as two parameters.  Changes the module, and returns it.

        layer = weight_norm(nn.Linear(20, 40))      # layer.weight_g: (40, 1), layer.weight_v: (40, 20)

    A step along v turns w, a step along g stretches it; the gradient of v is orthogonal to v.  It has no state and no batch:
    a layer that batch normalisation cannot stand beside, such as one inside a flow, can have it.

    module: whose parameter it is.  name: of the parameter w.  It is replaced by the parameters name_g and name_v, which start so that w is what it was.
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
    g = length(v, dim)
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
    """Undo `weight_norm`: one parameter `name` again, with the value that it has.

    module: whose parameter it is; it is changed, and returned.  Raises ValueError if it is not normalised.
    """
    hook = _hook(module, name)
    if hook is None:
        raise ValueError(f"remove_weight_norm: {name!r} of this {type(module).__name__} is not normalised")
    trained = getattr(module, f"{name}_v").requires_grad
    w = hook.weight(module).detach()
    before, after = (module._hooks or ([], []))[:2]
    before.remove(hook)
    after.remove(hook.release)
    for attribute in (name, f"{name}_g", f"{name}_v"):
        delattr(module, attribute)
    module.register_parameter(name, Parameter(w, trained))
    return module


def _hook(module: Module, name: str) -> WeightNorm | None:
    before = module._hooks[0] if module._hooks else []
    return next((h for h in before if isinstance(h, WeightNorm) and h.name == name), None)
