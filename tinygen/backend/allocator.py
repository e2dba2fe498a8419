"""Keep memory that was freed: on Linux fetching it anew costs more than many an operator on it."""

from __future__ import annotations

import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h: parameters of mallopt
KEPT_BYTES = 1 << 30


def keep_memory() -> bool:
    """Let the C library keep up to 1 GiB of freed memory for the next array, instead of returning it to the system at once.

    By default glibc returns large arrays when they are freed, and every new one is zeroed by the system page by page: several
    times the cost of adding two arrays that are in memory.  A convolutional network's step takes about two thirds of the
    time without it.  It is a setting of the process, made when tinygen is imported, with glibc only; TINYGEN_KEEP_MEMORY=0
    leaves everything as it was.  Returns whether the setting was made.
    """
    if os.environ.get("TINYGEN_KEEP_MEMORY", "1") == "0" or not sys.platform.startswith("linux"):
        return False
    import ctypes

    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # the parameters are glibc's
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, KEPT_BYTES), (_TOP_PAD, 1 << 26))
    return all([library.mallopt(name, value) for name, value in settings])
