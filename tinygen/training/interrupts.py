"""Ctrl-C at the end of a step, instead of in its middle."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts(wanted: bool) -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C is pressed.  Pressed again, it does what it did outside."""
    interrupted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()  # only there a signal can be caught
    if not (wanted and is_main and before is signal.default_int_handler):
        yield interrupted
        return

    def note(number: int, _: Any) -> None:
        interrupted.append(number)
        signal.signal(signal.SIGINT, before)
        sys.stderr.write("\nstopping at the end of this step (Ctrl-C again: at once, and nothing is saved)\n")

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
