"""Sums of a few elements along a dimension, each with a weight: what interpolation and means over windows are.

    mix       y[i] = Σₖ weight[k, i] x[index[k, i]]        each new element is made of a few old ones

That is a matrix of few numbers that are not zero, so its transpose is one too: it says for each old element which few new
ones it went into.  The rule of `mix` is `mix` with the transposed table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygen.backend import device_of, to_device
from tinygen.engine import Op, name_operators


@dataclass(frozen=True, eq=False)
class Table:
    """index and weight: (K, new), for K old elements in a new one at most; where there are fewer, the weight is 0."""

    old: int
    index: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, new: int, old: int, i: Any, j: Any, weight: Any) -> Table:
        """y[i] = Σ weight x[j] over all triples given; those for one pair (i, j) add up."""
        pairs, which = np.unique(np.ravel(i) * old + np.ravel(j), return_inverse=True)
        weight = np.bincount(which, np.ravel(weight), len(pairs))
        pairs, weight = pairs[weight != 0], weight[weight != 0]
        i, j = np.divmod(pairs, max(old, 1))
        counts = np.bincount(i, minlength=new)
        k = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        most = max(counts.max(initial=0), 1)
        table = cls(old, np.zeros((most, new), np.int64), np.zeros((most, new)))
        table.index[k, i], table.weight[k, i] = j, weight
        return table

    @cached_property
    def transposed(self) -> Table:
        i = np.broadcast_to(np.arange(self.new), self.index.shape)
        table = Table.of(self.old, self.new, self.index, i, self.weight)
        vars(table)["transposed"] = self
        return table

    @property
    def new(self) -> int:
        return self.index.shape[1]

    @cached_property
    def matrix(self) -> np.ndarray:
        """The same as a dense matrix, (new, old)."""
        out = np.zeros((self.new, self.old))
        np.add.at(out, (np.arange(self.new), self.index), self.weight)
        return out

    def matrix_for(self, x: Any) -> Any:
        """The matrix in the dtype and on the device of x: always the same array, so that `compile` knows it."""
        key = device_of(x), x.dtype
        if key not in self._matrices:
            self._matrices[key] = to_device(self.matrix.astype(x.dtype), key[0])
        return self._matrices[key]

    @cached_property
    def _matrices(self) -> dict[Any, Any]:
        return {}


mix = Op(
    lambda xp, x, axis, table: _mix(xp, x, axis, table),
    lambda g, _, _x, axis, table: mix(g, axis=axis, table=table.transposed),
    doc="y[i] = Σₖ table.weight[k, i] x[table.index[k, i]] along the axis.",
)


def _mix(xp: Any, x: Any, axis: int, table: Table) -> Any:
    device, after = device_of(x), (1,) * (x.ndim - 1 - axis)
    dtype = xp.result_type(x.dtype, np.float32)  # half precision is added up in float32
    out: Any = None
    for index, weight in zip(table.index, table.weight, strict=True):
        part = xp.take(x, to_device(index, device), axis)
        if (weight != 1).any():
            part = part * to_device(weight.astype(dtype).reshape(-1, *after), device)
        if out is None:
            out = part
        else:
            out += part
    return out.astype(x.dtype, copy=False)


name_operators(globals())
