"""The source of a derivative rule, as it is written in the table of operators.

A lambda in a table shares its line with others.  Python remembers from which columns of the file a function was compiled:
that tells them apart.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import textwrap
from functools import lru_cache
from types import CodeType
from typing import Any


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
    """The smallest lambda of the file that contains everything that this code does."""
    source = "".join(linecache.getlines(code.co_filename))
    spans = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    found = [
        node
        for node in _lambdas(source)
        if node.lineno == code.co_firstlineno
        and all(_start(node.body) <= (p[0], p[2]) and (p[1], p[3]) <= _end(node.body) for p in spans)
    ]
    if not found or (len(found) > 1 and not spans):  # no columns were kept: python -X no_debug_ranges
        return "lambda (its source cannot be read)"
    smallest = max(found, key=_start)
    return re.sub(r"\s*\n\s*", " ", ast.get_source_segment(source, smallest) or "")


@lru_cache(maxsize=100)
def _lambdas(source: str) -> list[ast.Lambda]:
    try:
        return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Lambda)]
    except SyntaxError:
        return []


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0
