"""Text that comes from outside, printed so that it can do no harm: names of files and of parameters, settings, error messages.

A terminal obeys what it prints: escape sequences clear it, rename its window, fill the clipboard; a line break in a name forges a
row of a table, and characters that turn the direction of writing show another name than the one that is there.  A shell
obeys what is copied into it, and matplotlib takes two dollar signs for a formula.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

MOST = 300
"""Characters of one text: a table is as wide as its longest cell, in every row."""
PATH = 4096
"""Those of the longest path, which is printed whole, to be opened."""
MOST_LINES = 40
EXPECTED = (ValueError, OSError, RuntimeError, FloatingPointError, ImportError)
"""What says by itself what is wrong.  Anything else comes from a file of which nobody has thought, or from a fault of tinygen."""


def text(value: Any, most: int = MOST) -> str:
    """The value's text in one line of printable characters (`str.isprintable`), the others as escapes, as repr writes them.

    Of a longer one than `most` characters the beginning and the end.
    """
    whole = str(value)
    if len(whole) > most:
        whole = f"{whole[: most // 2]}…{whole[-(most // 2) :]}"
    return whole if whole.isprintable() else "".join(map(_printable, whole))


def message(value: Any) -> str:
    """The text of an error: its own lines, but those after the first are indented, so that none passes for another message."""
    first, *others = str(value).split("\n")
    if len(others) > MOST_LINES:
        others = [*others[:MOST_LINES], f"and {len(others) - MOST_LINES} lines more"]
    return "\n    ".join([text(first, 2000), *(text(line.removeprefix("    "), 1000) for line in others)])


def error(exception: BaseException) -> str:
    """The `message` of any exception, with its kind where the text alone says too little."""
    kind, said = type(exception).__name__, str(exception)
    if isinstance(exception, MemoryError):
        return message(f"not enough memory: {said}".rstrip(": "))
    if isinstance(exception, EXPECTED) and not isinstance(exception, RecursionError) and said:
        return message(said)
    return message(f"{kind}: {said} (unexpected; tinygen --traceback ... shows where it comes from)")


def title(value: Any) -> str:
    """The same for matplotlib, as text: no dollar sign begins a formula."""
    return text(value).replace("$", r"\$")


def command(*words: Any) -> str:
    """A command line of tinygen that can be copied into a shell: every word is one word there, whatever is in it.

    It calls tinygen as this process was called, `tinygen` or `python -m tinygen`.  Paths are given as Path: one that begins with a
    dash is no option.
    """
    by_module = sys.argv[:1] == [str(Path(__file__).with_name("__main__.py"))]
    program = "python -m tinygen" if by_module else "tinygen"
    return " ".join([program, *map(_quoted, words)])


def _quoted(word: Any) -> str:
    dash = isinstance(word, Path) and str(word).startswith("-")
    plain = f".{os.sep}{word}" if dash else str(word)
    if plain.isprintable():
        simple = os.name == "nt" and all(
            c.isalnum() or c in r"_.:\/-" for c in plain
        )  # whose paths are full of backslashes
        return plain if simple else shlex.quote(plain)
    # The names of files are bytes.  Between $'' bash, zsh and ksh read them as escapes.
    inside = (chr(b) if 32 <= b < 127 and b not in b"\\'" else f"\\x{b:02x}" for b in os.fsencode(plain))
    return f"$'{''.join(inside)}'"


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


class Parser(argparse.ArgumentParser):
    """One whose errors are harmless too: `tinygen sample *` hands it names of files."""

    def error(self, message: str) -> NoReturn:
        super().error(text(message, 1000))


@contextmanager
def warning_lines(program: str) -> Iterator[None]:
    """Inside, a warning is one line on stderr, as an error of the program is."""

    def line(message: Any, *_: Any, **__: Any) -> str:
        return f"{program}: {globals()['message'](message)}\n"

    before, warnings.formatwarning = warnings.formatwarning, line
    try:
        yield
    finally:
        warnings.formatwarning = before
