"""Ctrl-C, and being told to end, where a run can go on from instead of in the middle of a step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tinygen import harmless

SIGNALS = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
"""Ctrl-C, the end that a batch system or a shutdown asks for, a terminal that is closed; and what they do if nobody cares."""


@contextmanager
def interrupts(wanted: bool, when: Callable[[], str]) -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C is pressed, or the process is told to end.  The second time it is as it was outside.

    when: what is said about the moment at which it will stop.
    """
    interrupted: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: Any) -> None:
        interrupted.append(number)
        signal.signal(number, before[number])
        say(f"\nstopping {when()} (again: at once, and nothing is saved)\n")

    if wanted and threading.current_thread() is threading.main_thread():  # only there a signal can be caught
        for name, usual in SIGNALS.items():
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is usual:
                before[number] = usual
                signal.signal(number, note)
    try:
        yield interrupted
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


def say(text: str) -> None:
    """On stderr, harmlessly, if there still is one: the terminal may be closed, and a log file on a disk that is full."""
    body = text.strip("\n")
    with suppress(OSError, ValueError):
        sys.stderr.write(text.replace(body, harmless.message(body)) if body else text)
        sys.stderr.flush()


@contextmanager
def attempt(what: str) -> Iterator[None]:
    """Go on if this fails, and say so: a picture is worth less than the training that it is of.

    what: it is named in the message.
    """
    try:
        yield
    except Exception as error:
        say(f"not done, the run goes on: {what}: {error or type(error).__name__}\n")
