"""Faults in the source itself: where one could be planted, and how.

A fault is a small edit that a tired person makes: < for <=, a forgotten check, two arguments exchanged, a default that is
another.  `tests.mutation.whole` plants a sample of them, one at a time, and asks the suite.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """Bytes start:end of a file are replaced by `text`.  line: of the file, from 1; what: in words."""

    file: str
    line: int
    start: int
    end: int
    text: str
    what: str

    def planted_in(self, source: bytes) -> bytes:
        """The file with the fault in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def is_a_program(self, source: bytes) -> bool:
        """Whether Python takes the file with the fault in it: here and there an expression may not stand in parentheses."""
        try:
            compile(self.planted_in(source), self.file, "exec")
        except SyntaxError:
            return False
        return True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def faults(source: bytes, file: str) -> list[Fault]:
    """All faults that can be planted in a file of Python, in the order of its lines; a few of them are no programs.

    Left alone is what only tells or types: docstrings, annotations, messages of errors, names that a module exports; and
    the settings of published experiments (the defaults of `reproduce`), which are data.
    """
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, new in _places(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        text = new if isinstance(new, str) else ast.unparse(new)
        if isinstance(node, ast.expr):
            text = f"({text})"
        what = f"{_short(source[start:end])}  →  {_short(text.encode())}"
        found.append(Fault(file, node.lineno, start, end, text, what))
    return sorted(found, key=lambda f: (f.start, f.end, f.text))


def _short(text: bytes) -> str:
    words = " ".join(text.decode().split())
    return words if len(words) <= 70 else words[:67] + "..."


def _places(tree: ast.AST) -> Iterator[tuple[Any, Any]]:
    """(a node, what could stand in its place): code, or a text."""
    for node in _interesting(tree):
        for new in _edits(node):
            yield node, new
        if isinstance(node, ast.If | ast.While) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
            yield node.test, ast.UnaryOp(ast.Not(), node.test)


def _interesting(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, but not what only tells or types."""
    yield node
    skipped: set[int] = set()
    match node:
        case ast.FunctionDef(name=name, args=args):
            skipped |= {id(x) for x in ast.walk(args)} if name.startswith("reproduce") else set()
            skipped.add(id(node.returns))
            skipped |= {id(d) for d in node.decorator_list}
        case ast.AnnAssign():
            skipped.add(id(node.annotation))
        case ast.Raise() | ast.arg():  # a message, an annotation
            return
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]):
            return
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.ExceptHandler(type=type_):
            skipped.add(id(type_))
    for child in ast.iter_child_nodes(node):
        if id(child) not in skipped:
            yield from _interesting(child)


def _edits(node: ast.AST) -> Iterator[Any]:
    """What could stand in the place of this node by mistake."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARISONS:
            yield _changed(node, lambda n: n.ops.__setitem__(0, COMPARISONS[type(op)]()))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC and not (
            _is_text(left) or _is_text(right)
        ):
            yield _changed(node, lambda n: setattr(n, "op", ARITHMETIC[type(op)]()))
        case ast.BoolOp(op=op):
            yield _changed(node, lambda n: setattr(n, "op", ast.Or() if isinstance(op, ast.And) else ast.And()))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield str(not value)
        case ast.Constant(value=int() | float() as value):
            yield repr(value + 1 if isinstance(value, int) else 2 * value or 1.0)
        case ast.IfExp(body=body, orelse=other):
            yield body
            yield other
        case ast.Raise():
            yield "pass"
        case ast.Expr(value=ast.Call()):
            yield "pass"
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            yield _changed(node, lambda n: setattr(n, "op", ARITHMETIC[type(op)]()))
        case ast.Call(args=args, keywords=keywords):
            if len(args) > 1 and not any(isinstance(a, ast.Starred) for a in args[:2]):
                yield _changed(node, lambda n: n.args.__setitem__(slice(0, 2), n.args[1::-1]))
            for i, keyword in enumerate(keywords):
                if keyword.arg is not None:
                    yield _changed(node, lambda n, i=i: n.keywords.pop(i))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str)


def _changed(node: Any, change: Callable[[Any], Any]) -> Any:
    new = copy.deepcopy(node)
    change(new)
    return new
