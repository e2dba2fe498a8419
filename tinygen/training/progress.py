"""How far a loop got: a bar on a terminal, lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from tinygen.training.interrupts import say

T = TypeVar("T")


class Progress(Generic[T]):
    """What `progress` returns: an iterable to loop over, and `set` for the numbers shown with it.

    iterable, description, total, every, delay: as for `progress`.
    """

    def __init__(
        self,
        iterable: Iterable[T],
        description: str = "",
        total: int | None = None,
        every: float = 10.0,
        delay: float = 0.0,
    ):
        self._iterable, self._description, self._every, self._delay = iterable, description, every, delay
        self._total = _length(iterable) if total is None else total
        self._metrics = ""
        self._bar = _bar(iterable, description, self._total, delay)

    def set(self, unit: str = "", **metrics: float) -> None:
        """Show these numbers from now on, with their unit: `bar.set("nats", loss=106.2, kl=25.1)`.

        metrics: name -> number.
        """
        self._metrics = ", ".join(f"{name} {float(value):.4g} {unit}".rstrip() for name, value in metrics.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._metrics, refresh=False)

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("progress: the iterable has no length, and no total was given")
        return self._total

    def __iter__(self) -> Iterator[T]:
        return self._lines() if self._bar is None else iter(self._bar)

    def _lines(self) -> Iterator[T]:
        start = last = time.monotonic()
        done = 0
        for done, item in enumerate(self._iterable, 1):
            yield item
            if done != self._total and time.monotonic() - last >= self._every:
                last = time.monotonic()
                self._line(done, last - start)
        if (seconds := time.monotonic() - start) >= self._delay:
            self._line(done, seconds)

    def _line(self, done: int, seconds: float) -> None:
        steps = f"{done}" if self._total is None else f"{done}/{self._total}"
        parts = [steps, f"{seconds:.1f} s"]
        if self._total is not None and 0 < done < self._total:
            parts.append(f"{seconds * (self._total - done) / done:.0f} s left")
        parts += [self._metrics] if self._metrics else []
        prefix = f"{self._description}: " if self._description else ""
        say(prefix + ", ".join(parts) + "\n")


def _length(iterable: Any) -> int | None:
    try:
        return len(iterable)
    except TypeError:  # nobody knows, as of a DataLoader that reads a stream
        return None


def progress(
    iterable: Iterable[T], description: str = "", total: int | None = None, *, every: float = 10.0, delay: float = 0.0
) -> Progress[T]:
    """Loop over `iterable` while showing how far it got, how fast, and the numbers given to `.set`.

    A tqdm bar when tqdm is installed and stderr is a terminal.  Otherwise (a log file, continuous integration) a plain
    line on stderr, every `every` seconds and at the end.  total: the number of steps, when `iterable` has no length.
    delay: what takes fewer seconds than this shows nothing.
    description: a text in front.
    """
    return Progress(iterable, description, total, every, delay)


def _bar(iterable: Iterable[Any], description: str, total: int | None, delay: float) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(iterable, description, total, dynamic_ncols=True, file=sys.stderr, delay=delay)
