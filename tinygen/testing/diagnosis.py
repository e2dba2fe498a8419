"""After a failure: which element, which operator, which mistake."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygen import backend, errors
from tinygen.engine import Node
from tinygen.rules import rule_text
from tinygen.tensor import Tensor
from tinygen.testing.compare import agree, compare, slope_along
from tinygen.testing.evidence import Evidence
from tinygen.testing.maps import Map, backward_of, flat, map_of
from tinygen.testing.mistakes import recognise
from tinygen.testing.report import Finding

_PLACE = re.compile(r"^in the derivative of .*?\(output shape \(.*?\)\): ")
"""What the engine says before an error inside a rule; a report says it in rows of its own."""
_LOOKED_AT = 200  # elements of an argument that are differentiated one by one


def explain(first: Map, map_: Map, i: int, u: np.ndarray, rng: np.random.Generator) -> Finding:
    """What is wrong with the derivative of `map_` in argument i.  `first` is the function, `map_` one of its derivatives."""
    with np.errstate(all="ignore"):
        return _explain(first, map_, i, u, rng)


def _explain(first: Map, map_: Map, i: int, u: np.ndarray, rng: np.random.Generator) -> Finding:
    argument = map_.arguments[i]
    evidence = gather(map_, i, u, rng)
    counts = (int(evidence.wrong.sum()), evidence.wrong.size)
    index, analytic, numeric, error = evidence.worst()
    suspect, line, rule = None, None, None
    for node, at_rule, k, r in _wrong_rules(first, map_.order, i if map_.order == 1 else None, rng):
        evidence = gather(at_rule, k, compare(at_rule, k, rng)[1], rng)
        evidence.names, evidence.others = _names(node.op), [_values(x) for x in node.inputs]
        position, function = ruled(node)[r]
        again = "" if map_.order == 1 else f" (differentiated again, in {at_rule.arguments[k].name})"
        suspect = f"the rule of {node.op.name!r} for its argument {position}{again}"
        line = place_of(node)
        rule = rule_text(function)
        break
    else:
        evidence.others = [a.value for a in map_.arguments]
        if map_.order == 1:
            suspect, line = _way_lost(first, i)
    evidence.order = map_.order
    return Finding(
        "wrong",
        map_.order,
        argument.name,
        argument.value.shape,
        index,
        analytic,
        numeric,
        error,
        counts,
        suspect,
        line,
        rule,
        recognise(evidence),
    )


def raised(first: Map, map_: Map, i: int, error: Exception, rng: np.random.Generator) -> Finding | None:
    """The backward pass raised `error`: which operator's rule does so on its own?  None where it was not a rule's doing."""
    for node, at_rule, k, r in _rules(first, map_.order, i if map_.order == 1 else None, rng):
        try:
            at_rule.pulled_back(k, flat(at_rule.run(at_rule.values())[1]))
        except Exception as again:
            if type(again) is type(error):
                position, function = ruled(node)[r]
                return Finding(
                    "raised",
                    map_.order,
                    map_.arguments[i].name,
                    map_.arguments[i].value.shape,
                    suspect=f"the rule of {node.op.name!r} for its argument {position}",
                    line=place_of(node),
                    rule=rule_text(function),
                    error=f"{type(error).__name__}: {_PLACE.sub('', str(error))}",
                )
    return None


def gather(map_: Map, i: int, u: np.ndarray, rng: np.random.Generator) -> Evidence:
    """Differentiate element by element, and pull several cotangents back; u != 0 marks the outputs that are smooth."""
    argument, eps = map_.arguments[i], map_.eps(i)
    n = argument.value.size
    chosen = np.arange(n) if n <= _LOOKED_AT else np.sort(rng.choice(n, _LOOKED_AT, replace=False))
    us = rng.standard_normal((3, u.size)) * (u != 0)
    us = np.stack([u, us[0], us[1], u + us[0]])  # the last one shows whether the rule is linear in g
    gs = [map_.pulled_back(i, each) for each in us]
    connected = gs[0] is not None
    analytic = np.stack([np.zeros(argument.value.shape) if g is None else g for g in gs])
    columns, errors_, wrong = [], [], []
    for k in chosen:
        v = np.zeros(argument.value.shape)
        v[np.unravel_index(k, v.shape)] = 1
        numeric = slope_along(map_, i, v, eps)
        wrong.append(not agree(numeric, u, analytic[0], v, eps))
        use = us[0] != 0
        columns.append(np.where(use, numeric.value, 0))
        errors_.append(np.where(use, numeric.error, 0))
    outputs = map_.run(map_.values())[1]
    return Evidence(
        argument=i,
        shape=argument.value.shape,
        chosen=chosen,
        jacobian=np.array(columns).T.reshape(u.size, len(chosen)),
        error=np.array(errors_).T.reshape(u.size, len(chosen)),
        cotangents=us,
        analytic=analytic.reshape(len(us), n)[:, chosen],
        wrong=np.array(wrong, dtype=bool),
        outputs=[_values(y) for y in outputs],
        connected=connected,
        eps=eps,
        map_=map_,
    )


def kink(first: Map, rng: np.random.Generator) -> tuple[str | None, str | None]:
    """The first operator in the graph that is not smooth at the very arrays it was called with, and the user's line."""
    for node, single, _ in operators_of(first):
        for k, argument in enumerate(single.arguments):
            eps = single.eps(k)
            numeric = slope_along(single, k, rng.standard_normal(argument.value.shape), eps)
            rough = numeric.kink | ~numeric.settled(eps)
            if rough.any():
                text = f"{node.op.name!r}"
                if node.array.size == rough.size:
                    index = tuple(int(n) for n in np.unravel_index(int(np.argmax(rough)), node.shape))
                    text += f", at index {index} of its output"
                    if argument.value.shape == node.shape:
                        text += f", where {argument.name} is {argument.value[index]:.6g}"
                return text, place_of(node)
    return None, None


def _wrong_rules(
    first: Map, order: int, i: int | None, rng: np.random.Generator
) -> Iterator[tuple[Any, Map, int, int]]:
    """Wherever an operator's own derivative fails at the arrays that it was called with: as `_rules`."""
    for node, at_rule, k, r in _rules(first, order, i, rng):
        try:
            if compare(at_rule, k, rng)[0] == "wrong":
                yield node, at_rule, k, r
        except Exception:  # a rule that raises an error is another finding
            continue


def _rules(first: Map, order: int, i: int | None, rng: np.random.Generator) -> Iterator[tuple[Any, Map, int, int]]:
    """Every operator that was called, with one of its rules and an argument: (node, map, argument, rule).

    The map is the operator alone, or for a higher order the backward pass through one of its rules alone; `argument` is the
    map's, and `rule` is the number of the rule among those of the differentiable inputs.
    i: only rules through which the gradient of this argument of `first` flows.
    """
    for node, single, way in operators_of(first, i):
        for r, (position, _) in enumerate(ruled(node)):
            if i is not None and position not in way:
                continue
            at_rule, tried = single, [r]
            if order > 1:
                at_rule = backward_of(single, rng, only=r)
                for _ in range(order - 2):
                    at_rule = backward_of(at_rule, rng)
                tried = list(range(len(at_rule.arguments)))
            for k in tried:
                yield node, at_rule, k, r


def _way_lost(first: Map, i: int) -> tuple[str, str | None]:
    """No rule is wrong, and yet the gradient of argument i is: where does the way from it leave the graph?"""
    for node, _, way in operators_of(first, i):
        for position in way - {position for position, _ in ruled(node)}:
            return f"{node.op.name!r}, which has no rule for its argument {position}", place_of(node)
    return (
        "no rule: every operator that was recorded differentiates rightly on its own.  So the value also reaches the "
        "output without being recorded (detach(), .array, .numpy(), item(), no_grad), or a hook changes gradients"
    ), None


def operators_of(map_: Map, i: int | None = None) -> Iterator[tuple[Any, Map, set[int]]]:
    """The nodes of the graph, oldest first, each with its operator as a map of its own.

    The set has the positions (from 1) of those inputs that depend on argument i of the map.
    """
    leaves, outputs = map_.run(map_.values())
    reached = {id(leaves[i])} if i is not None else set()
    for node in _recorded(outputs):
        way = {position for position, x in enumerate(node.inputs, 1) if id(x) in reached and x.dtype.kind == "f"}
        if way:
            reached.add(id(node))
        call, inputs = alone(node)
        yield node, map_of(call, inputs, None, 0), way


def alone(node: Any) -> tuple[Callable[..., Any], list[Any]]:
    """An operator that was called, and what it was called with: floating-point tensors that have a rule require a gradient."""
    inputs = [Tensor(x.array) if isinstance(x, Node) else x for x in node.inputs]
    for position, _ in ruled(node):
        inputs[position - 1].requires_grad = True
    return lambda *xs: node.op(*xs, **node.params), inputs


def _recorded(outputs: list[Tensor]) -> list[Any]:
    """All results of operators that the outputs were computed from, oldest first, also where no gradient flows."""
    seen: dict[int, Any] = {}
    stack: list[Any] = list(outputs)
    while stack:
        node = stack.pop()
        if id(node) not in seen and node.op is not None:
            seen[id(node)] = node
            stack += [x for x in node.inputs if isinstance(x, Node)]
    return sorted(seen.values(), key=lambda node: node.time)


def ruled(node: Any) -> list[tuple[int, Any]]:
    """(position, rule) of the floating-point tensors among the inputs that have a rule; positions count from 1."""
    return [
        (position, rule)
        for position, (x, rule) in enumerate(zip(node.inputs, node.op.rules, strict=False), 1)
        if isinstance(x, Node) and rule is not None and x.dtype.kind == "f"
    ]


def _names(op: Any) -> list[str]:
    """What the rules call the operator's arguments: ["x", "y"]; unnamed ones are left empty."""
    names: list[str] = []
    for _, rule in zip(range(4), op.rules, strict=False):
        code = getattr(rule, "__code__", None)
        for k, name in enumerate(code.co_varnames[2 : code.co_argcount] if code else ()):
            names += [""] * (k + 1 - len(names))
            names[k] = names[k] or name.strip("_")
    return names


def _values(x: Any) -> Any:
    return backend.to_numpy(x.array if isinstance(x, Node) else x) if hasattr(x, "dtype") else np.asarray(x)


def place_of(node: Any) -> str | None:
    """The user's line that called an operator: "file.py:12  y = f(x)"."""
    place = errors.source_line(node.line)
    return f"{os.path.basename(place[0])}:{place[1]}  {linecache.getline(*place).strip()}" if place else None
