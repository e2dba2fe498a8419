"""Which Python functions run while a step is recorded: what the operators alone do not tell."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from tinygen.errors import is_library
from tinygen.nn.module import Module


class Calls:
    """Sees every call of this thread.

    modules: those that a method was called of, each once.
    codes: of the functions that are not the library's own.
    refuse: told why when something is called that a replay would leave out.
    """

    def __init__(self, refuse: Callable[[str], None]):
        self.modules: dict[int, Module] = {}
        self.codes: set[CodeType] = set()
        self._refuse = refuse
        self._previous: Any = None

    @staticmethod
    def possible() -> bool:
        """Not while the interpreter's own profiler is running: there is room for one who sees the calls."""
        return isinstance(sys.getprofile(), FunctionType | MethodType | None)

    def start(self) -> None:
        self._previous = sys.getprofile()
        self.go_on()

    def pause(self) -> None:
        sys.setprofile(None)

    def go_on(self) -> None:
        sys.setprofile(self._see)

    def stop(self) -> None:
        sys.setprofile(self._previous)
        self._refuse = _nothing  # else the two would keep each other, and all arrays of the step

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            if not is_library[code.co_filename]:
                self.codes.add(code)
            if code.co_argcount:
                first = frame.f_locals.get(code.co_varnames[0])
                if isinstance(first, Module):
                    self.modules[id(first)] = first
        elif event == "c_call" and argument is builtins.print:
            self._refuse("it prints")


def _nothing(_: str) -> None:
    pass
