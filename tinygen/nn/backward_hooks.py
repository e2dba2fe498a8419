"""Hooks on the backward pass of a module: they see the gradients of its inputs and outputs, and may replace them.

Around the call two operators are put that change nothing: through the one all outputs leave, through the other all inputs come.
In the backward pass each is handed all the gradients at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygen.autograd.function import Function
from tinygen.engine import Node
from tinygen.modes import is_grad_enabled


class _Passing(Function):
    """The tensors as they are; their gradients go through `change`."""

    @staticmethod
    def forward(ctx: Any, change: Callable[..., Any], *tensors: Any) -> Any:
        ctx.change = change
        return tuple(x.detach() for x in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (None, *ctx.change(grads))


class WatchedCall:
    """One call of a module that has backward hooks.

    before: hook(module, grad_output), called with the gradients of the outputs.
    after: hook(module, grad_input, grad_output), called when those of the inputs are known too.
    """

    module: Any

    def __init__(self, module: Any, before: list[Callable[..., Any]], after: list[Callable[..., Any]]):
        self.module, self._before, self._after = module, list(before), list(after)
        self._grad_output: tuple[Any, ...] = ()
        self._inputs = 0
        self._at: list[int] = []  # which inputs have a gradient

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, watched."""
        self._inputs = len(args)
        self._at, args = self._passed(args, self._inputs_known) if self._after else ([], args)
        return args

    def outputs(self, out: Any) -> Any:
        """The result, watched: a tensor, or a tuple or list of them."""
        several = isinstance(out, tuple | list)
        outs = tuple(out) if several else (out,)
        if not all(isinstance(y, Node) for y in outs):
            raise TypeError(
                f"{type(self.module).__name__}: with a backward hook a module must return a tensor or a tuple of tensors, got "
                f"{[type(y).__name__ for y in outs] if several else type(out).__name__}"
            )
        self._outputs = len(outs)
        self._out_at, outs = self._passed(outs, self._outputs_known)
        return type(out)(outs) if type(out) in (tuple, list) else outs if several else outs[0]

    def _passed(self, values: tuple[Any, ...], change: Callable[..., Any]) -> tuple[list[int], tuple[Any, ...]]:
        at = [i for i, x in enumerate(values) if isinstance(x, Node) and x.requires_grad]
        if not at or not is_grad_enabled():
            return [], values
        result = list(values)
        for i, x in zip(at, _Passing.apply(change, *(values[i] for i in at)), strict=True):
            result[i] = x
        return at, tuple(result)

    def _outputs_known(self, grads: Sequence[Any]) -> tuple[Any, ...]:
        self._grad_output = _spread(grads, self._out_at, self._outputs)
        for hook in self._before:
            self._grad_output = self._replaced(hook(self.module, self._grad_output), self._grad_output, "outputs")
        if not self._at:  # nothing flows to the inputs
            self._run_after((None,) * self._inputs)
        return tuple(self._grad_output[i] for i in self._out_at)

    def _inputs_known(self, grads: Sequence[Any]) -> tuple[Any, ...]:
        grad_input = self._run_after(_spread(grads, self._at, self._inputs))
        return tuple(grad_input[i] for i in self._at)

    def _run_after(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self._after:
            grad_input = self._replaced(hook(self.module, grad_input, self._grad_output), grad_input, "inputs")
        return grad_input

    def _replaced(self, result: Any, grads: tuple[Any, ...], what: str) -> tuple[Any, ...]:
        if result is None:
            return grads
        result = tuple(result) if isinstance(result, tuple | list) else (result,)
        if len(result) != len(grads):
            raise RuntimeError(
                f"{type(self.module).__name__}: a backward hook returned {len(result)} gradients for {len(grads)} {what}"
            )
        return result


def _spread(grads: Sequence[Any], at: Sequence[int], n: int) -> tuple[Any, ...]:
    result: list[Any] = [None] * n
    for i, g in zip(at, grads, strict=True):
        result[i] = g
    return tuple(result)
