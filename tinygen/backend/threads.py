"""Several cores: large loops over independent pieces are shared among as many threads as NumPy's matrix products use.

NumPy releases Python's lock while it computes, so threads do run at the same time.  But its matrix products have threads of their
own, which keep a core busy for a while after every product, waiting for the next one: two such pools are slower than one.
So there is one pool at a time.  Until the first loop is shared it is the matrix products'; from then on they take one thread each,
in the whole process, and tinygen shares its loops and its large products itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import pairwise
from typing import Any, TypeVar

T = TypeVar("T")

ENOUGH = 5_000_000
"""So many multiplications (about 50 µs) are worth a second thread."""

_number: int | None = None  # of threads; not yet asked for
_pool: ThreadPoolExecutor | None = None  # all threads but the calling one, once a loop was shared


def get_num_threads() -> int:
    """How many threads share large loops (torch.get_num_threads): at first as many as NumPy's matrix products use.

    That is the number of cores, or what OPENBLAS_NUM_THREADS, MKL_NUM_THREADS or OMP_NUM_THREADS say.  Where NumPy's products
    come from a library that cannot be asked (Apple's Accelerate, or without threadpoolctl), it is the number of cores that
    this process may use, or what one of these variables, or VECLIB_MAXIMUM_THREADS, says.
    """
    global _number
    if _number is None:
        asked = [library.num_threads or 1 for library in _libraries()]
        _number = max(asked) if asked else _from_environment() or _cores()
    return _number


def set_num_threads(n: int) -> None:
    """Share large loops among n threads from now on (torch.set_num_threads).  1: none; NumPy's matrix products too take one."""
    global _number
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise ValueError(f"set_num_threads: a positive whole number is expected, got {n!r}")
    _forget_pool()
    _number = int(n)
    _take_over()


def is_shared() -> bool:
    """Whether tinygen, and not NumPy's matrix products, uses several threads."""
    return _pool is not None


def threads_for(multiplications: float) -> int:
    """How many threads so much work is worth: on many cores not all of them."""
    return min(get_num_threads(), int(multiplications // max(ENOUGH, 1)) + 1) if multiplications >= ENOUGH else 1


def share(work: Callable[[Sequence[Any]], T], pieces: Sequence[Any], multiplications: float) -> list[T]:
    """work(some of the pieces) in every thread, for neighbouring pieces; what they return, in order.

    With few multiplications, one thread or one piece, all of it in the calling thread.  `work` must not share.
    """
    n = min(threads_for(multiplications), len(pieces))
    if n < 2:
        return [work(pieces)]
    pool = _pool or _take_over()
    cuts = [round(i * len(pieces) / n) for i in range(n + 1)]
    first, *others = (pieces[a:b] for a, b in pairwise(cuts))
    waiting = [pool.submit(copy_context().run, work, part) for part in others]  # NumPy's errstate is in the context
    try:
        mine = work(first)
    finally:
        wait(waiting)  # or they would go on writing after an exception left here
    return [mine, *(future.result() for future in waiting)]


def _take_over() -> ThreadPoolExecutor:
    """Matrix products take one thread from now on, and the others are ours."""
    global _pool
    for library in _libraries():
        library.set_num_threads(1)
    _pool = ThreadPoolExecutor(max(get_num_threads() - 1, 1), "tinygen")
    return _pool


def _from_environment() -> int | None:
    """The number of threads that the environment asks for, by the first of these variables that names one."""
    names = ("VECLIB_MAXIMUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    numbers = (os.environ.get(name, "").strip() for name in names)
    return next((int(n) for n in numbers if n.isdecimal() and int(n) > 0), None)


def _cores() -> int:
    """The cores that this process may use: on a shared machine not all that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _libraries() -> list[Any]:
    """The libraries of matrix products in this process."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # threads do not survive a fork
