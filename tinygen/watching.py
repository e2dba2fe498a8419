"""Who watches operators and derivative rules as they run: anomaly detection, and a step that is being recorded.

A watcher sees what runs in its own thread (and asyncio task).  As long as nobody watches anywhere, `engine.watcher` is None,
which is all that an operator looks at.
"""

from __future__ import annotations

from contextvars import ContextVar
from threading import Lock
from typing import Any

_mine: ContextVar[tuple[Any, ...]] = ContextVar("watchers", default=())


class Watchers:
    """Hands on what happens to the watchers of the thread in which it happens, the latest first."""

    def __init__(self) -> None:
        self.lock: Any = Lock()
        self.count: int = 0  # in all threads

    def add(self, watcher: Any) -> None:
        """watcher watches from now on."""
        _mine.set((*_mine.get(), watcher))
        self.count += 1

    def remove(self, watcher: Any) -> None:
        """watcher, which may have been added several times, watches once less."""
        there = list(reversed(_mine.get()))
        if watcher in there:
            there.remove(watcher)
            _mine.set(tuple(reversed(there)))
            self.count -= 1

    def forward(self, *what: Any) -> None:
        """Called by the engine after every operator."""
        for watcher in reversed(_mine.get()):
            watcher.forward(*what)

    def backward(self, *what: Any) -> None:
        """Called by the engine after every derivative rule."""
        for watcher in reversed(_mine.get()):
            watcher.backward(*what)


WATCHERS = Watchers()


def watchers() -> tuple[Any, ...]:
    """Those of this thread."""
    return _mine.get()
