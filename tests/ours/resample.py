"""Pooling, resampling and padding."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.ours.table import function, tensor
from tinygen.testing import strategies as ts

IMAGES = tensor(2, 2, 3, 4) | tensor(2, 4, 3)

function("pad", ts.tensors(ts.shapes(min_dims=1)), st.just((1, 2)))
function("pad value", ts.tensors(ts.shapes(min_dims=2)), st.just((0, 1, 2, 0)), value=1.5)
function("pad negative", ts.tensors(ts.shapes(min_dims=1, min_side=2)), st.just((-1, 2)))
for mode in ("reflect", "replicate", "circular"):
    function(f"pad {mode}", IMAGES, st.just((2, 1, 0, 2)), mode=mode)
    function(f"pad {mode} signal", tensor(2, 3), st.just((2, 2)), mode=mode)
