"""Which way computes a convolution fastest on a GPU: the estimated time of each that takes few calls.

The device's limits are its backend's (`backend.base.Limits`); what each way has to do is counted here.  Nobody has compared
the outcome with a clock yet.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tinygen.backend.base import Limits
from tinygen.ops.conv import columns, fourier, windows
from tinygen.ops.conv.geometry import Geometry

_TILE = 32
"""Products are computed in tiles: a side that is shorter than one costs as much as a whole one."""
_CAUTION = 1.5
"""So much better must the way by frequencies look: it rounds more, and what is said of it there was not measured."""


class Work(NamedTuple):
    """What one of the three operators is on a GPU; a mean of the three."""

    launches: float
    operations: float
    numbers: float
    """Read or written."""
    memory: float
    """In numbers, for what is computed on the way."""


def estimates(limits: Limits, geo: Geometry, batch: int, n_in: int, n_out: int, itemsize: int = 4) -> dict[str, float]:
    """Nanoseconds for one of the three operators: for launches, for operations and for the memory, one after the other."""
    works = work(geo, batch, n_in, n_out)
    if itemsize < 4:
        works.pop("fourier", None)  # half precision has too few digits for sums of waves
    return {
        way: w.launches * limits.launch + w.operations / limits.operations + w.numbers * itemsize / limits.bytes
        for way, w in works.items()
        if way == "taps" or w.memory * itemsize <= limits.memory
    }


def work(geo: Geometry, batch: int, n_in: int, n_out: int) -> dict[str, Work]:
    """What each way has to do, for all that know the geometry."""
    a, b = n_in // geo.groups, n_out // geo.groups
    n_taps, pixels = math.prod(geo.kernel), math.prod(geo.out) * batch
    ends = math.prod(geo.padded) * batch * n_in + pixels * n_out  # what comes in and what goes out
    of_tap = pixels * (n_in + n_out)
    all_taps = n_taps * pixels * n_in  # the windows
    apart: float = 2 if windows.is_mirrored(geo) else 2 + n_taps / 3  # without a mirror, the transpose adds tap by tap
    works = {
        # a stack of products, whose factors CuPy copies, and whose places it works out; their sum
        "taps": Work(4 + 5 * n_taps, 2 * geo.groups * pixels * n_taps * _tiles(a) * _tiles(b), 4 * n_taps * of_tap, 0),
        "windows": Work(
            3 + apart,
            2 * geo.groups * pixels * _tiles(n_taps * a) * _tiles(b),
            2 * ends + (3 if windows.is_mirrored(geo) else 4) * all_taps,
            all_taps,
        ),
    }
    if columns.takes_mirrored(geo):  # few columns, if there are few output channels
        turned = n_taps * math.prod(geo.size) * batch * n_out
        operations: float = 2 * math.prod(geo.size) * batch * _tiles(n_taps * n_out) * _tiles(n_in)
        works["mirrored"] = Work(5 + 1.3 * n_taps, operations, 2 * ends + 4 * turned, turned)
    if fourier.takes(geo):
        n, last = fourier.lengths(geo)
        r = last // 2 + 1
        once = 2 * r * batch * (math.prod(geo.size) * n_in + math.prod(geo.out) * n_out)
        twice = 6 * n * r * batch * (geo.size[0] * n_in + geo.out[0] * n_out)
        middle = 3 * n * r * _tiles(batch) * _tiles(n_in) * _tiles(n_out)
        kernel = 3 * n * r * n_in * n_out
        between = 2 * r * batch * (geo.size[0] * n_in + geo.out[0] * n_out) + 3 * n * r * batch * (n_in + n_out)
        operations = _CAUTION * 2 * (once + twice + middle + kernel * n_taps)
        numbers = _CAUTION * (ends + 2 * between + 2 * kernel)
        works["fourier"] = Work(_CAUTION * 9, operations, numbers, between + kernel)
    return works


def _tiles(n: int) -> int:
    return -(-n // _TILE) * _TILE
