"""Where each operator and function is defined, and what it should compute: data for the property tests."""

from tests.ops.domains import (
    arrange,
    conv,
    decompositions,
    elementwise,
    index,
    linalg,
    mix,
    nn,
    pool,
    reduce,
    scans,
    search,
    shape,
    special,
)
from tests.ops.domains.table import DOMAINS, Domain, Example

__all__ = [
    "DOMAINS",
    "Domain",
    "Example",
    "arrange",
    "conv",
    "decompositions",
    "elementwise",
    "index",
    "linalg",
    "mix",
    "nn",
    "pool",
    "reduce",
    "scans",
    "search",
    "shape",
    "special",
]
