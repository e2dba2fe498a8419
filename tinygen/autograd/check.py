"""gradcheck and gradgradcheck in PyTorch's form.  tinygen.testing has the tools themselves, which also say what is wrong where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygen.engine import Node


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **options: Any,
) -> bool:
    """Whether the derivatives of func(*inputs) are what finite differences say (torch.autograd.gradcheck).

    inputs: a tensor or a tuple of arguments; checked are the floating-point tensors among them that require a gradient, in
        float64 whatever their dtype.  Raises ValueError if none does.
    raise_exception: raise GradientError (an AssertionError) with a report that names the operator, instead of returning False.
    eps, atol, rtol, and PyTorch's further options: accepted, and not needed.  `tinygen.testing.gradcheck` chooses its own
        steps, and asks for the agreement that they allow, which is closer.
    """
    return _checked("gradcheck", func, inputs, 1, raise_exception, options)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    **options: Any,
) -> bool:
    """As gradcheck, for the second derivatives too (torch.autograd.gradgradcheck).

    grad_outputs: accepted, and not needed: the second derivatives are checked with respect to random ones.
    func, inputs, eps, atol, rtol, raise_exception, options: as for `gradcheck`.  gen_non_contig_grad_outputs: accepted, and not needed.
    """
    return _checked("gradgradcheck", func, inputs, 2, raise_exception, options)


_PYTORCHS = {
    "nondet_tol", "check_undefined_grad", "check_grad_dtypes", "check_batched_grad", "check_batched_forward_grad",
    "check_forward_ad", "check_backward_ad", "check_fwd_over_rev", "check_rev_over_rev", "fast_mode", "masked",
}  # fmt: skip


def _checked(
    name: str, func: Callable[..., Any], inputs: Any, order: int, raise_exception: bool, options: dict[str, Any]
) -> bool:
    from tinygen import testing  # the top of the house

    if unknown := options.keys() - _PYTORCHS:
        raise TypeError(f"{name}: there is no argument {sorted(unknown)[0]!r}; see help(autograd.{name})")
    arguments: Sequence[Any] = inputs if isinstance(inputs, tuple | list) else (inputs,)
    if not any(isinstance(x, Node) and x.requires_grad for x in arguments):
        raise ValueError(f"{name}: at least one of the inputs must be a tensor that requires a gradient")
    report = testing.gradcheck(func, *arguments, order=order)
    if not report and raise_exception:
        raise testing.GradientError(report)
    return bool(report)
