"""Sums of a few elements with weights, and what they are held against: the dense matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.domains.table import Example, domain
from tinygen.engine import OPERATORS
from tinygen.ops.mix import Table
from tinygen.testing import strategies as ts


@st.composite
def mixing(draw: st.DrawFn) -> Example:
    """A few triples, some of them for the same pair; elements that nothing is made of, and that go nowhere."""
    shape = draw(ts.shapes(min_dims=1, min_side=1))
    axis = draw(st.integers(0, len(shape) - 1))
    new, count = draw(st.integers(1, 5)), draw(st.integers(0, 8))
    rng = np.random.default_rng(draw(ts.seeds()))
    i, j, weight = rng.integers(0, new, count), rng.integers(0, shape[axis], count), rng.normal(size=count)
    if draw(st.booleans()):
        weight = np.ones(count)
    matrix = np.zeros((new, shape[axis]))
    np.add.at(matrix, (i, j), weight)
    return Example(
        (draw(ts.values(shape)),), {"axis": axis, "table": Table.of(new, shape[axis], i, j, weight), "matrix": matrix}
    )


def dense(x: Any, axis: int, table: Table, matrix: np.ndarray) -> np.ndarray:
    np.testing.assert_allclose(table.matrix, matrix, rtol=1e-14, atol=1e-15)  # sums of at most 8 numbers of size 1
    np.testing.assert_array_equal(table.transposed.matrix, table.matrix.T)
    return np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)


def mix(x: Any, axis: int, table: Table, matrix: Any) -> Any:
    return OPERATORS["mix"](x, axis=axis, table=table)


domain("mix", mixing(), dense, mix)
