"""Jacobians and Hessians, and their products with vectors (torch.autograd.functional).

func takes tensors and returns a tensor or a tuple of them.  inputs: a tensor, or a tuple for a func of several arguments; the
results have the same form.  The tensors that are given, and their graphs, stay as they are.

    create_graph: the results can be differentiated again, and so can what the inputs were computed from.
    strict: raise RuntimeError where the result does not depend on an input, instead of returning zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygen.autograd.gradients import grad, several
from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.modes import enable_grad
from tinygen.ops import reshape, stack

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), vᵀ J): the rows of the Jacobian J combined with weights v.  One backward pass.

    v: like the output, a tensor or a tuple; it may be left out for a single number.
    Returns the output, and a tensor like the input (a tuple for a tuple of inputs).
    """
    with enable_grad():
        xs = _as_leaves("vjp", inputs, create_graph)
        ys, y = _outputs("vjp", func, xs)
        vs = _vectors("vjp", v, ys, "output")
        gs = _rows("vjp", ys, xs, vs, create_graph, strict)
    return _like(y, ys if create_graph else [y.detach() for y in ys]), _like(inputs, gs)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), J v): how the output moves when the inputs move along v.

    v: like the inputs; it may be left out for a single number.
    The double-backward trick: u -> uᵀ J is linear in u, and its own transpose is v -> J v.
    """
    with enable_grad():
        xs = _as_leaves("jvp", inputs, create_graph)
        ys, y = _outputs("jvp", func, xs)
        vs = _vectors("jvp", v, xs, "input")
        us = [Node.public(_full(y, 0), requires_grad=True) for y in ys]
        rows = _rows("jvp", ys, xs, us, True, strict)
        out = _rows("jvp", rows, us, vs, create_graph, False)
    return _like(y, ys if create_graph else [y.detach() for y in ys]), _like(y, out)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All derivatives of the outputs with respect to the inputs.  One backward pass per element of an output.

    Returns J of shape (*output.shape, *input.shape); for a tuple of inputs a tuple of these, and for a tuple of outputs a
    tuple with one such result for each.
    vectorize: accepted, without effect.  strategy: "reverse-mode"; use jvp for a few columns instead of all rows.
    """
    if strategy != "reverse-mode":
        raise NotImplementedError(
            f"jacobian: strategy {strategy!r} is not offered, only 'reverse-mode'; jvp computes single columns"
        )
    with enable_grad():
        xs = _as_leaves("jacobian", inputs, create_graph)
        ys, y = _outputs("jacobian", func, xs)
        result = [_like(inputs, _jacobian_of(out, xs, create_graph, strict)) for out in ys]
    return _like(y, result)


def _jacobian_of(y: Any, xs: Sequence[Any], create_graph: bool, strict: bool) -> list[Any]:
    flat = reshape(y, (-1,))
    rows = [
        _rows("jacobian", [flat[i]], xs, [None], create_graph, strict, retain_graph=True) for i in range(flat.shape[0])
    ]
    return [
        reshape(stack(column), (*y.shape, *x.shape)) if column else x.new_zeros((*y.shape, *x.shape))
        for x, column in zip(xs, zip(*rows) if rows else [()] * len(xs), strict=True)
    ]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Second derivatives of func, which returns a single number: shape (*input.shape, *input.shape).

    For a tuple of inputs a tuple of tuples: the derivatives by input i and input j stand at [i][j].
    vectorize and outer_jacobian_strategy: as for `jacobian`.
    """

    def gradient(*xs: Any) -> Any:
        ys, _ = _outputs("hessian", func, xs)
        gs = _rows("hessian", [_number("hessian", ys)], xs, [None], True, strict)
        return gs if isinstance(inputs, tuple | list) else gs[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), H v), the Hessian times a vector, without the Hessian: the gradient of <gradient, v>.

    func returns a single number.  v: like the inputs; it may be left out for a single number.
    """
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), vᵀ H): the same as `hvp`, since a Hessian is symmetric."""
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def _hessian_product(
    name: str, func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool, strict: bool
) -> tuple[Any, Any]:
    with enable_grad():
        xs = _as_leaves(name, inputs, create_graph)
        ys, _ = _outputs(name, func, xs)
        y = _number(name, ys)
        vs = _vectors(name, v, xs, "input")
        gs = _rows(name, [y], xs, [None], True, strict)
        out = _rows(name, gs, xs, vs, create_graph, strict)
    return ys[0] if create_graph else ys[0].detach(), _like(inputs, out)


# Their common parts


def _as_leaves(name: str, inputs: Any, create_graph: bool) -> list[Any]:
    """Fresh starting points, so that the user's tensors and their graphs stay untouched."""
    xs = several(inputs)
    for x in xs:
        if not isinstance(x, Node):
            raise TypeError(f"{name}: tensors are expected as inputs, got {type(x).__name__}")
    if create_graph:  # keep the connection: x itself, seen through an identity
        return [x.clone() if x.requires_grad else x.detach().requires_grad_() for x in xs]
    return [x.detach().requires_grad_() for x in xs]


def _outputs(name: str, func: Callable[..., Any], xs: Sequence[Any]) -> tuple[list[Any], Any]:
    """The outputs of func as a list, and as they came."""
    y = func(*xs)
    ys = list(several(y))
    for out in ys:
        if not isinstance(out, Node):
            raise TypeError(f"{name}: func must return a tensor or a tuple of tensors, got {type(out).__name__}")
    return ys, y


def _like(form: Any, values: Sequence[Any]) -> Any:
    return tuple(values) if isinstance(form, tuple | list) else values[0]


def _number(name: str, ys: Sequence[Any]) -> Any:
    if len(ys) != 1 or ys[0].array.size != 1:
        raise ShapeError(f"{name}: func must return a single number, got shape {', '.join(str(y.shape) for y in ys)}")
    return reshape(ys[0], ())


def _vectors(name: str, v: Any, like: Sequence[Any], what: str) -> list[Any]:
    """The vector of a product, one tensor for each of `like`; 1 for a single number."""
    if v is None:
        if len(like) != 1 or like[0].array.size != 1:
            raise RuntimeError(f"{name}: v can only be left out for a single number; pass a tensor like the {what}")
        return [Node.public(_full(like[0], 1))]
    vs = list(several(v))
    if len(vs) != len(like):
        raise ValueError(f"{name}: v has {len(vs)} tensors for {len(like)} {what}s")
    for i, (a, b) in enumerate(zip(vs, like, strict=True)):
        if tuple(a.shape) != tuple(b.shape):
            raise ShapeError(
                f"{name}: v has shape {tuple(a.shape)}, {what} {i} has {tuple(b.shape)}; they must be equal"
            )
    return vs


def _full(x: Any, value: int) -> Any:
    return ARRAY_MODULES[type(x.array)].full(x.shape, value, x.dtype)


def _rows(
    name: str,
    ys: Sequence[Any],
    xs: Sequence[Any],
    us: Sequence[Any],
    create_graph: bool,
    strict: bool,
    retain_graph: bool | None = None,
) -> list[Any]:
    """Σ uᵀJ for every x; zeros where no y depends on x."""
    pairs = [(y, u) for y, u in zip(ys, us, strict=True) if y.requires_grad]
    if strict and len(pairs) < len(ys):
        raise RuntimeError(f"{name}: an output does not depend on the inputs (strict=True)")
    gs: Sequence[Any] = [None] * len(xs)
    if pairs:
        outputs, seeds = zip(*pairs)
        gs = grad(outputs, xs, seeds, retain_graph, create_graph, allow_unused=True)
    if strict and any(g is None for g in gs):
        i = next(i for i, g in enumerate(gs) if g is None)
        raise RuntimeError(f"{name}: no output depends on input {i} (strict=True)")
    return [x.new_zeros(x.shape) if g is None else g for g, x in zip(gs, xs, strict=True)]
