"""The source of a derivative rule, as it is written in the table of operators.

A lambda in a table shares its line with others.  Python remembers from which columns of the file a function was compiled:
that tells them apart.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import re
import textwrap
from functools import lru_cache
from types import CodeType
from typing import Any

from tinygen.errors import is_library


@lru_cache(maxsize=1000)
def rule_text(rule: Any) -> str:
    """The source of a derivative rule: a lambda's own text, or a function's definition.

    Values that a lambda takes from outside (the i of `each=lambda i: lambda g, ...`) are added: "... where i = 2".
    """
    code = getattr(rule, "__code__", None)
    if code is None:
        return repr(rule)
    text = _lambda_text(code) if code.co_name == "<lambda>" else _function_text(rule)
    cells = zip(code.co_freevars, rule.__closure__ or ())
    values = [f"{name} = {c.cell_contents!r}" for name, c in cells if isinstance(c.cell_contents, int | float | str)]
    return text + ("   where " + ", ".join(values) if values else "")


def _function_text(rule: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(rule)).rstrip()
    except (OSError, TypeError):
        return f"{rule.__qualname__} (its source cannot be read)"


def _lambda_text(code: CodeType) -> str:
    source = "".join(linecache.getlines(code.co_filename))
    found = _lambda_node(code, source)
    if found is None:
        return "lambda (its source cannot be read)"
    return re.sub(r"\s*\n\s*", " ", ast.get_source_segment(source, found) or "")


def _lambda_node(code: CodeType, source: str) -> ast.Lambda | None:
    """The smallest lambda of the file that contains everything that this code does."""
    spans = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    found = [
        node
        for node in _lambdas(source)
        if node.lineno == code.co_firstlineno
        and all(_start(node.body) <= (p[0], p[2]) and (p[1], p[3]) <= _end(node.body) for p in spans)
    ]
    if not found or (len(found) > 1 and not spans):  # no columns were kept: python -X no_debug_ranges
        return None
    return max(found, key=_start)


def name_of(function: Any) -> str:
    """What a function is called: its own name; that of the variable to which a lambda, or what is made of it, is assigned.

    swish = Op(lambda xp, x: ..., ...)    'swish'
    return Op(lambda xp, x: ..., ...)     'lambda at layers.py:12'
    """
    name = getattr(function, "__name__", None) or type(function).__name__
    code = getattr(function, "__code__", None)
    if name != "<lambda>" or code is None or is_library[code.co_filename]:
        return name
    return (
        _assigned_to(code, code.co_filename) or f"lambda at {os.path.basename(code.co_filename)}:{code.co_firstlineno}"
    )


@lru_cache(maxsize=1000)
def _assigned_to(code: CodeType, file: str) -> str | None:
    """The variable or attribute that a lambda itself, or a call that it is an argument of, is assigned to.

    file: that of the code, because the same lambda in another file is an equal one.
    """
    source = "".join(linecache.getlines(file))
    this = _lambda_node(code, source)
    if this is None:
        return None
    for statement in _assignments(source):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        pairs = [(target, statement.value) for target in targets]
        pairs += [
            pair
            for target, value in pairs
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            for pair in zip(target.elts, value.elts)
        ]
        for target, value in pairs:
            given = [*value.args, *(k.value for k in value.keywords)] if isinstance(value, ast.Call) else [value]
            if any(node is this for node in given):
                return getattr(target, "id", None) or getattr(target, "attr", None)
    return None


@lru_cache(maxsize=100)
def _assignments(source: str) -> list[Any]:
    kinds = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
    return [node for node in ast.walk(_tree(source)) if isinstance(node, kinds)]


@lru_cache(maxsize=100)
def _lambdas(source: str) -> list[ast.Lambda]:
    return [node for node in ast.walk(_tree(source)) if isinstance(node, ast.Lambda)]


@lru_cache(maxsize=100)
def _tree(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0
