"""Norms, decompositions, determinants and linear systems (torch.linalg).  All are differentiable, to any order."""

from tinygen.ops.decompositions import cholesky, eigh, eigvalsh, qr, svd, svdvals
from tinygen.ops.linalg import matmul
from tinygen.ops.norms import matrix_norm, norm, vector_norm
from tinygen.ops.products import cross_of_last as cross
from tinygen.ops.solving import (
    det,
    inv,
    logdet,
    matrix_power,
    multi_dot,
    pinv,
    slogdet,
    solve,
    solve_triangular,
)

__all__ = [
    "cholesky",
    "cross",
    "det",
    "eigh",
    "eigvalsh",
    "inv",
    "logdet",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vector_norm",
]
