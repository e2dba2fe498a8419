"""Whether operators record: no_grad, enable_grad, set_grad_enabled, inference_mode.

The mode belongs to the thread and, within it, to the asyncio task: it is a context variable.  A new thread begins with
recording on; a task begins with the mode of the code that made it, and changes only its own.

What is kept is the list of the blocks that are open.  The innermost one decides, and leaving a block takes that block off the
list, wherever it stands: so blocks that do not end in the reverse order of their beginnings, as those of generators that are
read in turn, leave nothing behind either.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_open: ContextVar[tuple[tuple[Any, bool], ...]] = ContextVar("open", default=((None, True),))
"""(block, its mode) from the outermost to the innermost; the first entry is the mode outside of all blocks."""

is_recording = _recording.get
"""is_grad_enabled, as the engine calls it at every operator."""


def is_grad_enabled() -> bool:
    """Whether operators record now, in this thread (torch.is_grad_enabled)."""
    return _recording.get()


def _set(blocks: tuple[tuple[Any, bool], ...]) -> None:
    _open.set(blocks)
    _recording.set(blocks[-1][1])


class GradMode:
    """A block, and a decorator, inside which operators record (True) or not (False).

    Around a generator function the mode holds while its body runs, and the code that reads from it keeps its own; the same for
    coroutines and asynchronous generators.  (A block inside a generator that is not decorated stays open while it waits, for
    its reader too, as in PyTorch.)  One object may be used several times, also by several threads.
    """

    def __init__(self, mode: bool):
        self._mode = mode

    def __enter__(self) -> None:
        _set((*_open.get(), (self, self._mode)))

    def __exit__(self, *_: object) -> None:
        blocks = _open.get()
        for i in range(len(blocks) - 1, 0, -1):
            if blocks[i][0] is self:
                return _set(blocks[:i] + blocks[i + 1 :])

    def __call__(self, function: F) -> F:
        if isinstance(function, type):
            raise TypeError(
                f"{type(self).__name__}: decorates functions and methods, got the class {function.__name__}; decorate its "
                "methods"
            )
        wrapper: Any = wraps(function)(self._kind_of(function)(self._mode, function))
        return wrapper

    @staticmethod
    def _kind_of(function: Callable[..., Any]) -> Callable[[bool, Callable[..., Any]], Callable[..., Any]]:
        if inspect.isgeneratorfunction(function):
            return _generator
        if inspect.iscoroutinefunction(function):
            return _coroutine
        return _async_generator if inspect.isasyncgenfunction(function) else _plain


def _plain(mode: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with GradMode(mode):
            return function(*args, **kwargs)

    return wrapper


def _coroutine(mode: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with GradMode(mode):
            return await function(*args, **kwargs)

    return wrapper


class _Body:
    """The body of a generator: the blocks that are open in it are open while it runs, and not for whoever reads from it."""

    def __init__(self, mode: bool):
        self._blocks: tuple[tuple[Any, bool], ...] = ((self, mode),)

    def __enter__(self) -> None:
        _set((*_open.get(), *self._blocks))

    def __exit__(self, *_: object) -> None:
        blocks = _open.get()
        start = next(i for i, (block, _) in enumerate(blocks) if block is self)
        self._blocks = blocks[start:]
        _set(blocks[:start])


def _generator(mode: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Iterator[Any]:
        body, running = function(*args, **kwargs), _Body(mode)
        resume, value = body.send, None
        try:
            while True:
                with running:
                    out = resume(value)
                try:
                    resume, value = body.send, (yield out)
                except GeneratorExit:
                    with running:
                        body.close()
                    raise
                except BaseException as error:
                    resume, value = body.throw, error
        except StopIteration as end:
            return end.value

    return wrapper


def _async_generator(mode: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        body, running = function(*args, **kwargs), _Body(mode)
        resume, value = body.asend, None
        while True:
            try:
                with running:
                    out = await resume(value)
            except StopAsyncIteration:
                return
            try:
                resume, value = body.asend, (yield out)
            except GeneratorExit:
                with running:
                    await body.aclose()
                raise
            except BaseException as error:
                resume, value = body.athrow, error

    return wrapper


if TYPE_CHECKING:  # what a class whose call may return the decorated function is for a type checker

    class _Maker(Protocol):
        @overload
        def __call__(self) -> GradMode: ...
        @overload
        def __call__(self, function: F, /) -> F: ...

    class _InferenceMaker(Protocol):
        @overload
        def __call__(self, mode: bool = True) -> GradMode: ...
        @overload
        def __call__(self, mode: F, /) -> F: ...

    no_grad: _Maker
    enable_grad: _Maker
    inference_mode: _InferenceMaker

else:

    class no_grad(GradMode):
        """Inside `with no_grad():` operators compute but do not record; so in a function under `@no_grad` or `@no_grad()`."""

        def __new__(cls, function=None):
            return _with_or_without_parentheses(cls, function)

        def __init__(self):
            super().__init__(False)

    class enable_grad(GradMode):
        """Record again inside a `no_grad` block: `with enable_grad():`, or around a function, as `no_grad`."""

        def __new__(cls, function=None):
            return _with_or_without_parentheses(cls, function)

        def __init__(self):
            super().__init__(True)

    class inference_mode(GradMode):
        """The same as `no_grad`, under the name of PyTorch's faster variant; inference_mode(False) is `enable_grad`.

        PyTorch's results of inference mode can never take part in recording; here they are ordinary constants.
        """

        def __new__(cls, mode=True):
            return _with_or_without_parentheses(cls, mode if callable(mode) else None)

        def __init__(self, mode: Any = True):
            if type(mode).__name__ not in ("bool", "bool_"):
                raise TypeError(f"inference_mode: True or False is expected, got {mode!r}")
            super().__init__(not mode)


def _with_or_without_parentheses(cls: Any, function: Any) -> Any:
    if function is None:
        return object.__new__(cls)
    if not callable(function):
        raise TypeError(f"{cls.__name__}: takes nothing, or the function to decorate, got {function!r}")
    return cls()(function)


class set_grad_enabled(GradMode):
    """Record operators (True) or only compute (False): set_grad_enabled(mode) from now on, to the end of the innermost block.

    As a block, `with set_grad_enabled(mode):`, or as a decorator it holds inside only (torch.set_grad_enabled).
    """

    def __init__(self, mode: bool):
        if type(mode).__name__ not in ("bool", "bool_"):  # NumPy's too
            raise TypeError(f"set_grad_enabled: True or False is expected, got {mode!r}")
        super().__init__(bool(mode))
        *_, (self._block, self._before) = _open.get()
        self._change(self._mode)

    def _change(self, mode: bool) -> None:
        *outer, (innermost, _) = _open.get()
        if innermost is self._block:
            _set((*outer, (innermost, mode)))

    def __enter__(self) -> None:
        self._change(self._before)  # it was not meant for the block around
        super().__enter__()

    def __call__(self, function: F) -> F:
        self._change(self._before)
        return super().__call__(function)
