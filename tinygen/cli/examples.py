"""The examples: programs to be read and run, beside the package in a checkout and inside it after an installation."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PACKAGE = Path(__file__).resolve().parent.parent
HELPERS = ("common", "report")
"""What the examples share: no examples themselves."""


def folder() -> Path:
    """Where the examples are.  A wheel has them inside the package; a checkout beside it.

    Raises FileNotFoundError where neither is.
    """
    places = [PACKAGE / "examples", PACKAGE.parent / "examples"]
    for place in places:
        if (place / "demo.py").is_file():
            return place
    raise FileNotFoundError(f"the examples are missing: neither {places[0]} nor {places[1]} has a demo.py")


def files() -> dict[str, Path]:
    """The examples by their names, in order."""
    return {file.stem: file for file in sorted(folder().glob("*.py")) if file.stem not in HELPERS}


def summary(file: Path) -> str:
    """The first line of its docstring, without the full stop."""
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0].rstrip(".")


def run(name: str, arguments: Sequence[str]) -> NoReturn:
    """Become the example: a program of its own, with these arguments, that Ctrl-C reaches as it would have.

    Ends this process with the example's exit status.  Raises ValueError for a name that is not an example's.
    """
    known = files()
    if name not in known:
        raise ValueError(f"there is no example {name!r}; there are {', '.join(known)}")
    command = [sys.executable, str(known[name]), *arguments]
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    sys.exit(subprocess.call(command))  # on Windows, a program that becomes another one ends at once for its caller


def copy(to: Path) -> list[Path]:
    """Copy all examples and what they share to a new folder, to be changed; returns the copies.

    Raises FileExistsError if there is something at that place already.
    """
    shutil.copytree(folder(), to, ignore=shutil.ignore_patterns("__pycache__"))
    return sorted(to.glob("*.py"))
