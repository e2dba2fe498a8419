"""What an operator says about itself: its signature, its documentation, and what was wrong with a call.

All of it is made when somebody asks: from the operator's row in the table, whose rules are printed as they are written there.

    >>> print(tinygen.exp.__doc__)
    e to the power x; infinite where it overflows (float32: above 88.7).
    ...
    exp(x) = xp.exp(x)
    dL/dx = g · out
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

from tinygen.rules import rule_text

_PUBLIC = {"x": "input", "y": "other", "c": "condition"}
"""The names in the table, and PyTorch's for the same arguments."""
_ALIASES = {"input": ("x", "a", "x1"), "other": ("y", "x2"), "condition": ("c",)}
_UNREADABLE = "its source cannot be read"


def inputs_of(forward: Callable[..., Any]) -> tuple[list[str], bool]:
    """The names of what a forward function takes after the array library, and whether it takes any number of inputs."""
    try:
        parameters = list(inspect.signature(_plain(forward)).parameters.values())[1:]
    except ValueError:  # a function that was not written in Python, and does not say
        return [], True
    names = [p.name for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    return names, any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)


def _plain(function: Any) -> Callable[..., Any]:
    """The function as it is written in the table, where a GPU's kernel stands in its place."""
    return getattr(function, "function", function)


def signature(op: Any) -> Signature:
    """As PyTorch names the arguments: `(input, other) -> Tensor`."""
    parameters = list(inspect.signature(_plain(op.forward)).parameters.values())[1:]
    public = [p.replace(name=_PUBLIC.get(p.name, p.name), annotation=Parameter.empty) for p in parameters]
    return Signature(public, return_annotation="Tensor")


def documentation(op: Any) -> str:
    """The operator's `doc`, and below it the value and the derivatives as they stand in the table."""
    names, several = inputs_of(op.forward)
    helpers: dict[str, str] = {}
    lines = []
    if (value := _body(op.forward, helpers)) and not several:
        lines.append(f"{op.name}({', '.join(names)}) = {value}")
    derivatives = []
    for name, rule in zip(names, () if several else op.rules):
        if rule is not None and (text := _body(rule, helpers)):
            derivatives.append(f"dL/d{name} = {text}")
    lines += derivatives or (["No gradient flows through it."] if not any(_first(op.rules, 9)) else [])
    if derivatives:
        lines.append("where g = dL/d(out)" + ("" if not helpers else ", and"))
        lines += [f"    {call}: {text}" for call, text in helpers.items()]
    return "\n\n".join(part for part in (op.doc or "", "\n".join(lines)) if part)


def _first(rules: Any, n: int) -> list[Any]:
    return [rule for rule, _ in zip(rules, range(n))]


def _body(function: Any, helpers: dict[str, str]) -> str:
    """What a lambda returns, with · for *; "" for other functions.  Adds the table's own functions that it calls."""
    text = rule_text(_plain(function))
    head, _, body = text.partition(": ")
    if not head.startswith("lambda") or _UNREADABLE in text:
        return ""
    for name in re.findall(r"\b_(\w+)\b", head):
        body = re.sub(rf"\b_{name}\b", name, body)  # an argument that is not read, but for its shape
    for name in re.findall(r"\b(_\w+)\(", body):
        helper = _plain(function).__globals__.get(name)
        if inspect.isfunction(helper) and helper.__doc__:
            helpers[f"{name}{inspect.signature(helper).replace(return_annotation=Signature.empty)}"] = (
                helper.__doc__.split("\n")[0]
            )
    return body.replace(" * ", " · ")


def by_name(op: Any, inputs: Sequence[Any], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Inputs that were given by name put in their places, and the other parameters.  None if there are none.

    The names are PyTorch's (input, other), those it takes for NumPy's sake (x, a, x1, x2), and the table's own.
    """
    names, _ = inputs_of(op.forward)
    places, rest = list(inputs), dict(params)
    for name in names[len(inputs) :]:
        public = _PUBLIC.get(name, name)
        given = [n for n in (public, name, *_ALIASES.get(public, ())) if n in rest and _is_input(rest[n], name)]
        if not given:
            break
        places.append(rest.pop(given[0]))
    return (tuple(places), rest) if len(places) > len(inputs) else None


def _is_input(x: Any, name: str) -> bool:
    """A tensor or an array; or a number, unless the name is that of an option."""
    return hasattr(x, "shape") or name in _PUBLIC and isinstance(x, int | float)


def wrong_arguments(op: Any, inputs: Sequence[Any], params: dict[str, Any]) -> TypeError | None:
    """The error for a call that does not fit the operator's signature; None if it fits."""
    try:
        inspect.signature(_plain(op.forward)).bind(None, *inputs, **params)
    except TypeError as error:
        reason = str(error)
        for name, public in _PUBLIC.items():
            reason = reason.replace(f"'{name}'", f"'{public}'")
        shown = signature(op).replace(return_annotation=Signature.empty)
        return TypeError(f"{op.name}: {reason}; it is called as {op.name}{shown}")
    return None


class Told:
    """An attribute that an instance makes when it is asked for, while its class keeps one of its own.

    As `__doc__` and `__signature__` of a class they would otherwise be what Python shows for the class.
    """

    def __init__(self, make: Callable[[Any], Any], of_class: Any = None):
        self._make, self._of_class = make, of_class

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._of_class if instance is None else self._make(instance)
