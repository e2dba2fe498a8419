"""Layers that can be run backwards need no memory for their inputs: the output gives them back.

The backward pass of `checkpoint_invertible` goes from the last layer to the first.  It knows a layer's output; layer.inverse gives
its input; from there the layer is run once more with a graph, which is differentiated and dropped.

Source: Gomez, Ren, Urtasun, Grosse, "The reversible residual network", 2017, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinygen import errors
from tinygen.backend import ARRAY_MODULES, Array
from tinygen.engine import Node, constant, is_grad_enabled, no_grad
from tinygen.memory import Memory
from tinygen.ops.shape import _reshape
from tinygen.recompute.operator import Recomputed, record, same, split
from tinygen.recompute.runs import Call, Kept, alias, differ, differentiate, sample

_TOLERANCE = 0.25  # the power of the precision: a rebuilt input may differ by 2 % in float32, by 0.01 % in float64


def checkpoint_invertible(layers: Iterable[Any], x: Any) -> tuple[Any, Any]:
    """(y, log-determinant) of invertible layers in a row, of which only x and y are kept, however many layers there are.

        y, logdet = checkpoint_invertible(flow, x)      # in place of y, logdet = flow(x)

    The backward pass goes from the last layer to the first: it rebuilds the layer's input by layer.inverse(output), runs the layer
    once more with a graph, differentiates that, and drops it.  A step takes about 1.7 times as long.

    layers: each layer(x) -> (y, log|det ∂y/∂x|), layer.inverse(y) -> (x, ...), as nn.Transform says.  A layer must be a function
        of its input and its parameters: no dropout, no statistics of the batch (evaluation mode is fine).
    x: (batch, *).  Returns y, and the sum of the log-determinants, (batch,), in nats.

    Gradients are the plain ones up to how exactly the inverses are computed: rounding, which every layer multiplies by its factors
    (64 couplings on images: 3e-7 of the gradient's length in float32, 3e-16 in float64), and after it a ReLU at 0 may fall on
    the other side (7e-5).  With create_graph=True (gradients that can be differentiated again) nothing is rebuilt: all layers
    are run again from x and their graph is kept, so the memory is that of the plain stack.

    Raises RuntimeError in the backward pass when a rebuilt input is not the one that the layer had, by more than the fourth root of
    the precision (2 % in float32, 0.01 % in float64), and when x, y or a parameter was changed in place.
    """
    layers = list(layers)
    for i, layer in enumerate(layers):
        if not callable(getattr(layer, "inverse", None)):
            raise TypeError(f"checkpoint_invertible: layer {i}, a {type(layer).__name__}, has no method inverse(y)")
    if not (isinstance(x, Node) and x.ndim and x.dtype.kind == "f"):
        raise TypeError(
            f"checkpoint_invertible: x must be a tensor of floating-point numbers, (batch, *), got {errors.describe(getattr(x, 'array', x))}"
        )
    if not is_grad_enabled() or not layers:
        return _through(layers, x)
    stack = _Stack(layers, x)
    results = stack.first()
    recorded = record(_invertible, stack.inputs, stack, results[: len(stack.like)])
    y, logdet = (recorded.get(id(y), y) for y in results)
    return y, logdet


_invertible = Recomputed("checkpoint_invertible")


class _Stack:
    """Invertible layers in a row, run one by one; and how to get their gradients from the last one's output."""

    def __init__(self, layers: list[Any], x: Any):
        self.layers = layers
        self.inputs = [x]
        """x, and the tensors that the layers depend on."""
        self.numbers: list[list[int]] = []
        """Which of these each layer depends on."""
        self.calls = [Call(_name(i, f), _new_output(f), tolerance=_TOLERANCE) for i, f in enumerate(layers)]

    def first(self) -> tuple[Any, Any]:
        """(y, log-determinant), without the graph."""
        h, logdet, depends = self.inputs[0], _zeros(self.inputs[0]), False
        h.memory = h.memory or Memory()
        position = {id(h): 0}
        for call in self.calls:
            leaf = _leaf(h.array)
            leaf.memory = h.memory  # y may be a view of x
            (h, change), results = call.first((leaf,), {}, leaf)
            if not results or results[0] is not h:
                raise RuntimeError(f"{call.name}: its output does not depend on its input, so it has no inverse")
            depends |= len(results) == 2
            with no_grad():
                logdet = logdet + change
            for t in call.inputs:
                if id(t) not in position:
                    position[id(t)] = len(self.inputs)
                    self.inputs.append(t)
            self.numbers.append([position[id(t)] for t in call.inputs])
        h.memory = h.memory or Memory()
        self.like = [(y.shape, y.dtype) for y in ((h, logdet) if depends else (h,))]
        self.ends = Kept("checkpoint_invertible", [self.inputs[0], alias(h)])
        return h, logdet

    def gradients(self, g: Any, wanted: Sequence[int]) -> list[Any]:
        self.ends.check()
        cotangents = split(g, self.like)
        if isinstance(g, Node):
            rerun = lambda: _through([call.function for call in self.calls], self.inputs[0])
            return differentiate(rerun, None, self.inputs, cotangents, wanted)
        (_, x), (_, y) = self.ends.tensors
        gradient, *of_logdet = cotangents
        total: dict[int, Any] = {}
        these = set(wanted)
        for i in reversed(range(len(self.layers))):
            y = self._rebuilt(i, y) if i else x
            leaf, numbers = _leaf(y), [n for n in self.numbers[i] if n in these]
            cotangents = [gradient, *of_logdet][: len(self.calls[i].like)]
            *found, gradient = self.calls[i].again(
                (leaf,), {}, cotangents, [self.numbers[i].index(n) for n in numbers], leaf
            )
            for n, gx in zip(numbers, found, strict=True):
                total[n] = total[n] + gx if n in total else gx
        total[0] = total[0] + gradient if 0 in total else gradient
        return [total[n] for n in wanted]

    def _rebuilt(self, i: int, y: Array) -> Array:
        """The input of layer i > 0 from its output."""
        with no_grad():
            x = self.layers[i].inverse(constant(y))[0].array
        before = self.calls[i - 1]
        if x.shape != before.like[0][0] or differ(before.samples[0], sample(x), _TOLERANCE):
            raise RuntimeError(
                f"{self.calls[i].name}: inverse(y) did not give back the layer's input; it must be the inverse of forward, with nothing "
                "in it that is random, depends on the rest of the batch or changes (dropout, batch normalisation in training mode), "
                "and exact enough: try float64, or factors nearer to 1; or use checkpoint() for this layer"
            )
        return x


def _name(i: int, layer: Any) -> str:
    return f"checkpoint_invertible: layer {i}, {type(layer).__name__}"


def _new_output(layer: Any) -> Callable[[Any], tuple[Any, Any]]:
    """layer(x) -> (y, logdet), where neither is a tensor that was there before."""

    def forward(x: Any) -> tuple[Any, Any]:
        y, logdet = layer(x)
        return (_reshape(y, shape=y.shape) if y is x else y), same(logdet)

    return forward


def _through(layers: Iterable[Callable[..., Any]], x: Any) -> tuple[Any, Any]:
    """The layers in a row, and the sum of their log-determinants."""
    logdet = _zeros(x)
    for layer in layers:
        x, change = layer(x)
        logdet = logdet + change
    return x, logdet


def _zeros(x: Node) -> Any:
    """One 0 for each element of the batch."""
    return constant(ARRAY_MODULES[type(x.array)].zeros_like(x.array, shape=x.shape[:1]))


def _leaf(array: Array) -> Any:
    node = constant(array)
    node.requires_grad = True
    return node
