"""Threads that load batches ahead of the loop that uses them."""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.backend import own_generators


@dataclass(frozen=True)
class WorkerInfo:
    """What `get_worker_info` says inside a worker.

    id: its number, from 0, of num_workers.  seed: of its random numbers.  dataset: the data set that it reads.
    """

    id: int
    """0, ..., num_workers - 1."""
    num_workers: int
    """How many share the work: 1 for a stream, which is read by one thread, whatever the DataLoader was asked for."""
    seed: int
    dataset: Any


_info: contextvars.ContextVar[WorkerInfo | None] = contextvars.ContextVar("tinygen_worker_info", default=None)


def get_worker_info() -> WorkerInfo | None:
    """Which worker of a DataLoader this is, or None outside of them (torch.utils.data.get_worker_info)."""
    return _info.get()


class Workers:
    """The results of a function for one item after another, in their order, computed ahead by threads.

    function: of (item, the number of the item); a call draws from default generators of its own, whose seed is made of `seed` and
        the item's number: the results do not depend on the number of threads, nor on which was quicker.
    What a call raises is raised when it is its turn, with a note which items it was about.
    """

    def __init__(
        self,
        function: Callable[[Any, int], Any],
        items: Iterator[Any],
        first: int,
        threads: int,
        ahead: int,
        seed: int,
        timeout: float = 0,
        dataset: Any = None,
        init: Callable[[int], Any] | None = None,
    ):
        self._items, self._ahead, self._timeout, self._number = items, ahead, timeout, itertools.count(first)
        self._task = _Task(function, threads, seed, dataset, init)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tinygen-data")
        self._pending: deque[Future[Any]] = deque()
        self._hangs = False

    def __next__(self) -> Any:
        for item in itertools.islice(self._items, self._ahead - len(self._pending)):
            # Each call sees the grad mode and other settings of the thread that uses the batches.
            context = contextvars.copy_context()
            self._pending.append(self._pool.submit(context.run, self._task, item, next(self._number)))
        if not self._pending:
            raise StopIteration
        future = self._pending[0]
        try:
            return future.result(self._timeout or None)
        except TimeoutError:
            if future.done():  # it was the data set that raised it
                raise
            self._hangs = True
            self.close()
            raise RuntimeError(
                f"DataLoader: no batch within timeout={self._timeout} seconds; the data set hangs, or is slower than that"
            ) from None
        finally:
            if self._pending and future.done():  # it is not after Ctrl-C: the next call waits for the same one
                self._pending.popleft()

    def close(self) -> bool:
        """Call nothing that has not begun, and wait for the threads to end.  Returns whether something was loaded ahead."""
        was_ahead = bool(self._pending)
        self._pending.clear()
        inside = threading.current_thread().name.startswith("tinygen-data")  # a garbage collection can happen anywhere
        self._pool.shutdown(wait=not (inside or self._hangs), cancel_futures=True)
        return was_ahead


class _Task:
    """What the threads call.  It knows nothing of the Workers, so that those end when their user lets go of them."""

    def __init__(
        self,
        function: Callable[[Any, int], Any],
        threads: int,
        seed: int,
        dataset: Any,
        init: Callable[[int], Any] | None,
    ):
        self._function, self._threads, self._seed, self._dataset, self._init = function, threads, seed, dataset, init
        self._ids = itertools.count()
        self._thread = threading.local()

    def __call__(self, item: Any, number: int) -> Any:
        if not hasattr(self._thread, "id"):
            self._thread.id = next(self._ids)
            self._thread.ready = False
        worker = self._thread.id
        _info.set(WorkerInfo(worker, self._threads, self._seed + worker, self._dataset))
        try:
            if not self._thread.ready and self._init is not None:
                with own_generators(self._seed + worker):
                    self._init(worker)
            self._thread.ready = True
            with own_generators(int(np.random.SeedSequence([self._seed, number]).generate_state(1, np.uint64)[0] >> 1)):
                return self._function(item, number)
        except BaseException as error:
            error.add_note(
                f"in worker {worker} of a DataLoader, batch {number}" + (f": {item}" if item is not None else "")
            )
            raise
