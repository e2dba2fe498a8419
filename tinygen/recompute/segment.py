"""checkpoint: a part of the program that is run again in the backward pass, in place of keeping its values.

Source: Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygen.engine import is_grad_enabled
from tinygen.recompute.operator import Recomputed, record, split
from tinygen.recompute.runs import Call, Draws, map_tensors


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), of which only the inputs are kept; the backward pass runs it again (torch.utils.checkpoint).

        h = checkpoint(block, h)        # in place of h = block(h)

    Values and gradients are those of the plain call, of any order, and reach all that function depends on: arguments,
    parameters, tensors from outside.  It is run twice, so a step takes about 1.4 times as long.  Beside the inputs one segment's
    graph at a time is in memory, in the forward and in the backward pass: n layers in √n segments need about 2 √n layers' values.

    function: returns a tensor, or tensors in tuples, lists and dicts; anything else is passed on.  It must do the same both
        times.  What it does beside happens twice: the running moments of batch normalisation are updated twice, as in PyTorch.
    preserve_rng_state: the second run draws the same numbers from the default generators, and from Generators among args.
        Other generators are not known here.
    determinism_check: "default" compares shapes, dtypes and some of the values of the two runs, "none" only
        shapes and dtypes.
    use_reentrant: ignored; PyTorch has two ways, and what both can is done here by one.

    Under no_grad the function is just called.  A trace shows the call as one step; errors in the second run name function's lines.

    Raises RuntimeError where a gradient would be wrong: when a tensor that function read was changed in place since the first run,
    when the second depends on other tensors or gives other results, and when function changes an argument in place.
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(f"checkpoint: determinism_check must be 'default' or 'none', got {determinism_check!r}")
    if not callable(function):
        raise TypeError(f"checkpoint: a function is expected first, got {type(function).__name__}")
    if not is_grad_enabled():
        return function(*args, **kwargs)
    draws = Draws((*args, *kwargs.values())) if preserve_rng_state else None
    call = Call("checkpoint", function, draws, tolerance=0.5 if determinism_check == "default" else None)
    out, results = call.first(args, kwargs)
    recorded = record(_checkpoint, call.inputs, _Again(call, args, kwargs), results)
    return map_tensors(lambda y: recorded.get(id(y), y), out)


class _Again:
    """The second run of a call, with the arguments of the first."""

    def __init__(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.call, self.args, self.kwargs = call, args, kwargs

    def gradients(self, g: Any, wanted: Sequence[int]) -> list[Any]:
        return self.call.again(self.args, self.kwargs, split(g, self.call.like), wanted)


_checkpoint = Recomputed("checkpoint")
