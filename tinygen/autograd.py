"""What is built on the engine's backward pass: grad, backward, and whole Jacobians.

`grad` is the primitive; it returns gradients.  `backward` adds them to the `.grad` of the leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tinygen import engine, memory, missing
from tinygen.anomaly import AnomalyError, detect_anomaly
from tinygen.backend import ARRAY_MODULES, is_array
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.memory import note_change
from tinygen.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tinygen.ops import clone, reshape, stack
from tinygen.recompute import checkpoint, checkpoint_invertible
from tinygen.tracing import trace

__all__ = [
    "AnomalyError",
    "backward",
    "checkpoint",
    "checkpoint_invertible",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "hessian",
    "hvp",
    "inference_mode",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "no_grad",
    "set_grad_enabled",
    "trace",
    "vjp",
]


def _several(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _cotangents(name: str, outputs: Sequence[Node], given: Any, create_graph: bool) -> list[Any]:
    """The gradient to start from at every output: given, or 1 for a single number."""
    given = (None,) * len(outputs) if given is None else _several(given)
    if len(given) != len(outputs):
        raise ValueError(f"{name}: {len(given)} gradients were given for {len(outputs)} outputs")
    result: list[Any] = []
    for y, g in zip(outputs, given, strict=True):
        if not isinstance(y, Node):
            raise TypeError(f"{name}: a tensor is expected as output, got {type(y).__name__}")
        if not y.requires_grad:
            raise RuntimeError(
                f"{name}: an output of shape {y.shape} depends on no tensor that requires a gradient; was it computed under "
                "no_grad(), detached, or from tensors without requires_grad=True?"
            )
        if g is None:
            if y.array.size != 1:
                raise RuntimeError(
                    f"{name}: the gradient to start from can only be left out for a single number, and the output has shape "
                    f"{y.shape}; reduce it with sum() or mean(), or pass a gradient of that shape"
                )
            g = ARRAY_MODULES[type(y.array)].ones(y.shape, y.dtype)
            if memory.here.recorder is not None:
                memory.here.recorder.constant(g)
        if is_array(g):
            g = Node.public(g)
        if not isinstance(g, Node):
            raise TypeError(f"{name}: a tensor is expected as gradient, got {type(g).__name__}")
        if g.shape != y.shape:
            raise ShapeError(
                f"{name}: the gradient to start from has shape {g.shape}, the output {y.shape}; they must be equal"
            )
        if g.dtype != y.dtype:
            g = engine.cast(g, dtype=y.dtype)
        result.append(g if create_graph else g.array)
    return result


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Gradients of Σ <grad_output, output> with respect to the inputs (torch.autograd.grad).

    outputs, inputs: a tensor or several; inputs may be leaves or intermediate results.
    grad_outputs: one tensor like each output; may be left out for single numbers.
    create_graph: record the computation of the gradients, so that they can be differentiated again.
    retain_graph: keep the graph for another pass (default: create_graph).
    allow_unused: return None for an input that no output depends on, instead of raising RuntimeError.

    Returns a tuple with one tensor per input.
    """
    outputs, inputs = _several(outputs), _several(inputs)
    for x in inputs:
        if not isinstance(x, Node):
            raise TypeError(f"grad: tensors are expected as inputs, got {type(x).__name__}")
        if not x.requires_grad:
            raise RuntimeError(
                f"grad: an input of shape {x.shape} does not require a gradient; call requires_grad_() on it before use"
            )
    cotangents = _cotangents("grad", outputs, grad_outputs, create_graph)
    release = not (create_graph if retain_graph is None else retain_graph)
    found = engine.backpropagate(outputs, cotangents, inputs, create_graph, release)
    result: list[Any] = []
    given = {id(g) for g in cotangents}
    for i, x in enumerate(inputs):
        if id(x) in found:
            g = found[id(x)][1]
            if create_graph and (id(g) in given or g.memory is not None and g.memory.shared):
                g = clone(g)  # of its own, as without create_graph: a change in place would reach another gradient
            given.add(id(g))
            result.append(g if create_graph else Node.public(g))
        elif allow_unused:
            result.append(None)
        else:
            raise RuntimeError(
                f"grad: no output depends on input {i} (shape {x.shape}); leave it out, or pass allow_unused=True to get None for it"
            )
    return tuple(result)


def backward(tensors: Any, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
    """Add the gradients of Σ <gradient, tensor> to the `.grad` of every leaf that requires one."""
    outputs = _several(tensors)
    cotangents = _cotangents("backward", outputs, gradient, create_graph)
    release = not (create_graph if retain_graph is None else retain_graph)
    for leaf, g in engine.backpropagate(outputs, cotangents, None, create_graph, release).values():
        accumulate(leaf, g)


def accumulate(leaf: Node, g: Any) -> None:
    """leaf.grad += g, in place unless one of the two is part of a graph."""
    if memory.here.recorder is not None:
        return memory.here.recorder.accumulate(leaf, g)
    if leaf.grad is None:
        leaf._grad = clone(g) if isinstance(g, Node) else engine.constant(g)  # two leaves may get one node
    elif isinstance(g, Node) or leaf.grad.requires_grad:
        leaf.grad = leaf.grad + g
    else:
        leaf.grad.array += g
        note_change(leaf.grad)


# Jacobians.  func takes tensors and returns a tensor.  All of these are differentiable with create_graph=True.


def _as_leaves(inputs: Sequence[Any], create_graph: bool) -> tuple[Any, ...]:
    """Fresh starting points, so that the user's tensors and their graphs stay untouched."""
    if create_graph:  # keep the connection: x itself, seen through an identity
        return tuple(x.clone() if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), vᵀ J): the rows of the Jacobian J combined with weights v.  One backward pass.

    v has the shape of the output and may be left out for a single number.  The second value is a tensor, or a tuple of
    them if `inputs` is a tuple.
    """
    single = not isinstance(inputs, tuple | list)
    with enable_grad():
        xs = _as_leaves(_several(inputs), create_graph)
        y = _output("vjp", func(*xs))
        gs = _rows(y, xs, v, create_graph)
    y = y if create_graph else y.detach()
    return y, gs[0] if single else gs


def jvp(func: Callable, inputs: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), J v): how the output moves when the inputs move along v.

    The double-backward trick: u -> uᵀ J is linear in u, and its own transpose is v -> J v.
    """
    with enable_grad():
        xs = _as_leaves(_several(inputs), create_graph)
        y = _output("jvp", func(*xs))
        if len(_several(v)) != len(xs):
            raise ValueError(f"jvp: {len(_several(v))} directions were given for {len(xs)} inputs")
        u = Node.public(ARRAY_MODULES[type(y.array)].zeros(y.shape, y.dtype), requires_grad=True)
        rows = _rows(y, xs, u, create_graph=True)
        used = [(r, vi) for r, vi in zip(rows, _several(v), strict=True) if r.requires_grad]
        if not used:
            return y.detach(), y.new_zeros(y.shape)
        (out,) = grad([r for r, _ in used], u, [vi for _, vi in used], create_graph=create_graph)
    return (y, out) if create_graph else (y.detach(), out)


def jacobian(func: Callable, inputs: Any, create_graph: bool = False) -> Any:
    """The matrix of all derivatives of func's output with respect to the input: shape (*output.shape, *input.shape).

    For a tuple of inputs a tuple of Jacobians.  One backward pass per element of the output.
    """
    single = not isinstance(inputs, tuple | list)
    with enable_grad():
        xs = _as_leaves(_several(inputs), create_graph)
        y = _output("jacobian", func(*xs))
        rows: list[list[Any]] = [[] for _ in xs]
        flat = reshape(y, (-1,))
        for i in range(flat.shape[0]):
            for row, g in zip(rows, _rows(flat[i], xs, None, create_graph, retain_graph=True), strict=True):
                row.append(g)
        result = tuple(
            reshape(stack(row), (*y.shape, *x.shape)) if row else x.new_zeros((*y.shape, *x.shape))
            for row, x in zip(rows, xs, strict=True)
        )
    return result[0] if single else result


def hessian(func: Callable, inputs: Any, create_graph: bool = False) -> Any:
    """Second derivatives of func, which returns a single number: shape (*input.shape, *input.shape).  One input."""

    def gradient(x: Any) -> Any:
        y = _output("hessian", func(x))
        if y.array.size != 1:
            raise ShapeError(f"hessian: func must return a single number, got shape {y.shape}")
        return _rows(reshape(y, ()), (x,), None, create_graph=True)[0]

    return jacobian(gradient, inputs, create_graph)


def hvp(func: Callable, inputs: Any, v: Any) -> tuple[Any, Any]:
    """(func(inputs), H v), the Hessian times a vector, without the Hessian: the gradient of <gradient, v>."""
    with enable_grad():
        (x,) = xs = _as_leaves(_several(inputs), False)
        y = _output("hvp", func(*xs))
        (g,) = _rows(y, xs, None, create_graph=True)
        (out,) = _rows(g, (x,), _several(v)[0])
    return y.detach(), out


def _output(name: str, y: Any) -> Any:
    if not isinstance(y, Node):
        raise TypeError(f"{name}: func must return a tensor, got {type(y).__name__}")
    return y


def _rows(
    y: Any, xs: Sequence[Any], u: Any, create_graph: bool = False, retain_graph: bool | None = None
) -> tuple[Any, ...]:
    """uᵀJ for every x; zeros where y does not depend on x."""
    gs: Sequence[Any] = (None,) * len(xs)
    if y.requires_grad:
        gs = grad(y, xs, u, retain_graph, create_graph, allow_unused=True)
    return tuple(x.new_zeros(x.shape) if g is None else g for g, x in zip(gs, xs, strict=True))


if not TYPE_CHECKING:
    __getattr__ = missing.attribute_of(__name__)
