"""Writes tinygen/_signatures.pyi: what a type checker and an editor know of a tensor's methods that *are* functions.

    python -m tests.signatures          # write it anew, after a method was added or an argument changed

In tensor.py and methods.py such a method is one name in a table (`exp, log = ops.exp, ops.log`), which a type checker cannot
read far enough.  test_types.py fails where the file is not what stands here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tinygen
from tinygen.engine import Op
from tinygen.methods import Methods
from tinygen.tensor import Tensor

FILE = Path(tinygen.__file__).parent / "_signatures.pyi"
HEAD = '''"""The methods of a Tensor that are functions, for type checkers.  Written by `python -m tests.signatures`."""

from collections.abc import Sequence
from typing import Any

from tinygen.backend import Generator
from tinygen.engine import Node
from tinygen.ops.index import ValuesAndIndices
from tinygen.ops.reduce import Dim
from tinygen.ops.solving import SignAndLog
from tinygen.ops.statistics import MinAndMax
from tinygen.tensor import Tensor

class Signatures(Node):
    __slots__ = ()
'''


def tables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """(name, function) of every method that was not written in the class itself."""
    for cls in (Tensor, Methods):
        for name, value in vars(cls).items():
            written_here = inspect.isfunction(value) and value.__qualname__.startswith(cls.__name__ + ".")
            if isinstance(value, Op) or inspect.isfunction(value) and not written_here:
                yield name, value


def line(name: str, function: Callable[..., Any]) -> str:
    """One method's signature, without its first argument, which is the tensor."""
    signature = inspect.signature(function)
    first, *others = signature.parameters.values()
    annotated = [p if p.annotation is not p.empty else p.replace(annotation="Any") for p in others]
    parameters = [inspect.Parameter("self", first.POSITIONAL_ONLY), *annotated]
    in_place = name.endswith("_") and not name.startswith("__")
    result = "Tensor" if in_place or name.startswith("__") else signature.return_annotation
    text = str(inspect.Signature(parameters)).replace("self, /", "self").replace("backend.Generator", "Generator")
    text = re.sub(r": '([^']*)'", r": \1", text)  # annotations are texts
    return f"    def {name}{text} -> {result}: ...".replace("= 'fro'", '= "fro"').replace("= 'linear'", '= "linear"')


def contents() -> str:
    """The whole file."""
    lines = dict.fromkeys(line(name, function) for name, function in tables())
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(contents(), encoding="utf-8")
    print(f"{FILE}: {len(list(tables()))} methods")
