"""What a type checker is told is true, and complete: the methods that are functions, every public name, pyright's share."""

from __future__ import annotations

import ast

from tests import signatures


def test_the_stub_of_the_methods_that_are_functions_is_up_to_date():
    """_signatures.pyi says of each what `inspect` says (python -m tests.signatures writes it anew)."""
    assert ast.dump(ast.parse(signatures.FILE.read_text("utf-8"))) == ast.dump(ast.parse(signatures.contents()))
