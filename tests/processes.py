"""Programs started by tests.  Each has a limit of time: a test that waits for one waits for no longer."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SECONDS = 120
"""Enough for every program here on a machine that is busy with four other things."""


@contextmanager
def program(arguments: Sequence[str], seconds: float = SECONDS, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python program in a process of its own, with pipes of text; it is killed at the end of the block.

    After `seconds` it is killed in any case: whoever reads from it then reads an end instead of waiting for ever.
    """
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, *arguments], text=True, **{**pipes, **how}) as process:
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()
