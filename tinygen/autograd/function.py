"""An operator of your own with its backward pass, in PyTorch's form: autograd.Function.

    class Exp(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y

    y = Exp.apply(x)

tinygen's own way is shorter, `exp = Op(lambda xp, x: xp.exp(x), lambda g, out, _x: g * out)`, and checks more; this one is for
several outputs, for values that forward computes and backward needs, and for programs that come from PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.engine import Node, Rule, constant
from tinygen.memory import Memory
from tinygen.modes import is_recording, no_grad
from tinygen.ops.elementwise import zero
from tinygen.recompute.operator import Likeness, Recomputed, parts_of, record, split

__all__ = ["Function", "FunctionCtx"]


class FunctionCtx:
    """What forward leaves for backward: `ctx`.  Values that are not tensors are kept as attributes of it."""

    needs_input_grad: tuple[bool, ...] = ()
    """For every argument of forward, whether its gradient is wanted."""
    materialize_grads: bool = True

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._outputs: tuple[Any, ...] = ()  # as forward returned them, and ...
        self._connected: tuple[Any, ...] = ()  # ... while backward runs, as they stand in the graph
        self._constant: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for backward: inputs, outputs, or what forward computed in between.

        In a backward pass that is differentiated again inputs and outputs are those of the graph; what lies in between are
        constants: recompute it in backward if it depends on the inputs.
        """
        for x in tensors:
            if not (x is None or isinstance(x, Node)):
                raise TypeError(
                    f"save_for_backward: tensors are expected, got {type(x).__name__}; keep other values as ctx.name = value"
                )
        self._saved = tensors
        self._versions = tuple(_version(x) for x in tensors)

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved.  Raises RuntimeError if one of them was changed in place since."""
        for x, version in zip(self._saved, self._versions, strict=True):
            if _version(x) != version:
                raise RuntimeError(
                    f"saved_tensors: a tensor of shape {x.shape} was changed in place after forward had saved it; change a "
                    "clone() instead, or save a clone()"
                )
        return tuple(self._found(x) for x in self._saved)

    def _found(self, x: Any) -> Any:
        """A saved output is, while backward runs, the output in the graph."""
        return next((c for y, c in zip(self._outputs, self._connected) if y is x), x)

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """These outputs of forward are constants: no gradient flows back from them."""
        self._constant = outputs

    def mark_dirty(self, *tensors: Any) -> None:
        """Not offered: forward must leave its inputs as they are, and return new tensors."""
        raise NotImplementedError(
            "mark_dirty: a Function that changes its inputs in place is not offered; return a new tensor (x.clone().add_(1))"
        )

    def set_materialize_grads(self, value: bool) -> None:
        """Accepted: the gradient of an output that nothing depends on is always zeros here, never None."""
        self.materialize_grads = bool(value)


def _version(x: Any) -> int:
    return x.memory.count if x is not None and x.memory is not None else 0


class Function:
    """Base class of operators with a backward pass of their own: define forward and backward as static methods.

    forward(ctx, *args): returns a tensor or a tuple of them.  It runs without recording.  Or forward(*args) without ctx, and
        setup_context(ctx, inputs, output), which is called after it.
    backward(ctx, *grads): is given dL/d(output) for every output, and returns dL/d(argument) for every argument of forward,
        None where there is none.  Written in tensor operators it can be differentiated again, to any order.

    Call it as `MyFunction.apply(*args)`.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Function: define the static method forward(ctx, *args)")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep in ctx what backward needs, when forward has no ctx: inputs, its arguments, and output, what it returned."""
        raise NotImplementedError(
            "Function: define the static method setup_context(ctx, inputs, output), or forward(ctx, ...)"
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """dL/d(argument) for every argument of forward, or None; grads: dL/d(output) for every output."""
        raise NotImplementedError("Function: define the static method backward(ctx, *grads)")

    def __init__(self, *_: Any, **__: Any) -> None:
        raise TypeError(f"{type(self).__name__}: a Function has no instances; call {type(self).__name__}.apply(...)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """forward(*args), recorded with backward as its derivative."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(x, Node) and x.requires_grad for x in args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                out = cls.forward(ctx, *args)
            else:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
        outputs = tuple(out) if isinstance(out, tuple | list) else (out,)
        for y in outputs:
            if not isinstance(y, Node):
                raise TypeError(
                    f"{cls.__name__}: forward must return a tensor or a tuple of them, got {type(y).__name__}"
                )
        ctx._outputs = tuple(_apart(y, args) for y in outputs)
        ctx._saved = tuple(
            next(
                (new for old, new in zip(outputs, ctx._outputs) if old is x and old is not new and not _is_in(x, args)),
                x,
            )
            for x in ctx._saved
        )
        results = ctx._outputs
        if is_recording() and any(ctx.needs_input_grad):
            for y in ctx._outputs:
                y.memory = (
                    y.memory or Memory()
                )  # one for y, which may be saved, and what is returned: a change is noticed
            run = _Call(cls, ctx, args, outputs)
            recorded = record(_Applied(cls.__name__), run.inputs, run, run.results)
            results = tuple(recorded.get(id(y), y) for y in ctx._outputs)
        return tuple(results) if isinstance(out, tuple | list) else results[0]


def _is_in(x: Any, args: Sequence[Any]) -> bool:
    return any(x is a for a in args)


def _apart(y: Any, args: Sequence[Any]) -> Any:
    """An output of forward as a tensor of its own, where forward returned an argument."""
    return y.detach() if _is_in(y, args) or y.requires_grad else y


class _Call:
    """One call of a Function: what its backward pass needs."""

    def __init__(self, function: type[Function], ctx: FunctionCtx, args: Sequence[Any], outputs: Sequence[Any]):
        self.function, self.ctx = function, ctx
        self.positions = [i for i, x in enumerate(args) if isinstance(x, Node)]
        self.inputs = [args[i] for i in self.positions]
        self.arguments = len(args)
        self.flows = [
            y.dtype.kind == "f" and not any(old is c or y is c for c in ctx._constant)
            for old, y in zip(outputs, ctx._outputs, strict=True)
        ]
        self.results = [y for y, flows in zip(ctx._outputs, self.flows, strict=True) if flows]
        self.like: Likeness = [(y.shape, y.dtype) for y in self.results]
        self.node: Any = None

    def gradients(self, g: Any, wanted: Sequence[int]) -> list[Any]:
        """dL/d(input) for the inputs of those numbers, arrays or tensors as g is."""
        ctx, again = self.ctx, isinstance(g, Node)
        given = iter(split(g, self.like))
        connected = iter(parts_of(self.node, self.results) if again else self.results)
        grads, outputs = [], []
        for y, flows in zip(ctx._outputs, self.flows, strict=True):
            part = next(given) if flows else None
            grads.append(zero(y) if part is None else part if again else constant(part))
            outputs.append(next(connected) if flows else y)
        ctx._connected = tuple(outputs)
        try:
            back = self.function.backward(ctx, *grads)
        finally:
            ctx._connected = ()
        return [self._gradient(i, self._checked(back), again) for i in wanted]

    def _checked(self, back: Any) -> tuple[Any, ...]:
        name = f"{self.function.__name__}.backward"
        back = tuple(back) if isinstance(back, tuple | list) else (back,)
        if len(back) < self.arguments or any(g is not None for g in back[self.arguments :]):
            raise RuntimeError(
                f"{name} returned {len(back)} gradients for the {self.arguments} arguments of forward; return one for every "
                "argument, None where there is none"
            )
        for g in back:
            if not (g is None or isinstance(g, Node)):
                raise TypeError(f"{name} returned a {type(g).__name__}; tensors or None are expected")
        return back

    def _gradient(self, i: int, back: tuple[Any, ...], again: bool) -> Any:
        g, x = back[self.positions[i]], self.inputs[i]
        g = zero(x if again else x.detach()) if g is None else g
        return g if again else g.array


class _Applied(Recomputed):
    """The operator of one call of a Function."""

    __slots__ = ()

    def at_once(self, node: Node, g: Any, wanted: set[Rule]) -> dict[Rule, Any]:
        run: Any = node.params["run"]
        run.node = node
        try:
            return super().at_once(node, g, wanted)
        finally:
            run.node = None
