"""grad and backward: the engine's backward pass, as it is called.

`grad` is the primitive; it returns gradients.  `backward` adds them to the `.grad` of the leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import engine, memory
from tinygen.backend import ARRAY_MODULES, is_array
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.memory import note_change
from tinygen.ops import clone


def several(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _cotangents(name: str, outputs: Sequence[Node], given: Any, create_graph: bool) -> list[Any]:
    """The gradient to start from at every output: given, or 1 for a single number."""
    given = (None,) * len(outputs) if given is None else several(given)
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
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of Σ <grad_output, output> with respect to the inputs (torch.autograd.grad).

    outputs, inputs: a tensor or several; inputs may be leaves or intermediate results.
    grad_outputs: one tensor like each output; may be left out for single numbers.
    create_graph: record the computation of the gradients, so that they can be differentiated again.
    retain_graph: keep the graph for another pass (default: create_graph).
    allow_unused: return None for an input that no output depends on, instead of raising RuntimeError.
    materialize_grads: return zeros for such an input.
    only_inputs, is_grads_batched: as in PyTorch's signature; anything but their defaults raises NotImplementedError.

    Returns a tuple with one tensor per input; no two of them share memory.
    """
    if not only_inputs:
        raise NotImplementedError(
            "grad: only_inputs=False is not offered; use backward(), which fills the .grad of all leaves"
        )
    if is_grads_batched:
        raise NotImplementedError(
            "grad: is_grads_batched=True is not offered; call grad once per row of grad_outputs with retain_graph=True, or use "
            "autograd.jacobian"
        )
    outputs, inputs = several(outputs), several(inputs)
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
        elif materialize_grads:
            result.append(x.new_zeros(x.shape))
        elif allow_unused:
            result.append(None)
        else:
            raise RuntimeError(
                f"grad: no output depends on input {i} (shape {x.shape}); leave it out, or pass allow_unused=True to get None for it"
            )
    return tuple(result)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of Σ <grad_tensor, tensor> to the `.grad` of every leaf that requires one (torch.autograd.backward).

    tensors: a tensor or several.
    grad_tensors: one tensor like each of them; may be left out for single numbers.
    retain_graph, create_graph: as for `grad`.
    inputs: only these tensors, leaves or intermediate results, get their gradient added; all leaves by default.

    Raises RuntimeError when a tensor depends on nothing that requires a gradient, or when its graph was released before.
    """
    outputs = several(tensors)
    cotangents = _cotangents("backward", outputs, grad_tensors, create_graph)
    release = not (create_graph if retain_graph is None else retain_graph)
    targets = None if inputs is None else several(inputs)
    if targets is not None:
        for x in targets:
            if not (isinstance(x, Node) and x.requires_grad):
                raise RuntimeError("backward: inputs must be tensors that require a gradient")
        if not targets:
            raise RuntimeError("backward: inputs must not be empty; leave it out for all leaves")
    found = engine.backpropagate(outputs, cotangents, targets, create_graph, release)
    plain = memory.here.recorder is None and not create_graph
    for leaf, g in found.values():
        if plain and leaf._grad is None:  # as in almost every step: without a call for each of many parameters
            leaf._grad = engine.constant(g)
        else:
            accumulate(leaf, g)


def accumulate(leaf: Node, g: Any) -> None:
    """leaf.grad += g, in place unless one of the two is part of a graph."""
    if memory.here.recorder is not None:
        return memory.here.recorder.accumulate(leaf, g)
    held = leaf._grad
    if held is None:
        leaf._grad = clone(g) if isinstance(g, Node) else engine.constant(g)  # two leaves may get one node
    elif isinstance(g, Node) or held.requires_grad:
        leaf._grad = held + g
    else:
        held.array += g
        note_change(held)
