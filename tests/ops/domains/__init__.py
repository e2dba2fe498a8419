"""Where each operator and function is defined, and what it should compute: data for the property tests."""

from tests.ops.domains import conv, elementwise, index, linalg, mix, nn, pool, reduce, shape
from tests.ops.domains.table import DOMAINS, Domain, Example

__all__ = [
    "DOMAINS",
    "Domain",
    "Example",
    "conv",
    "elementwise",
    "index",
    "linalg",
    "mix",
    "nn",
    "pool",
    "reduce",
    "shape",
]
