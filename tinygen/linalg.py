"""Norms, decompositions, determinants and linear systems (torch.linalg).  All are differentiable, to any order."""

from numpy.linalg import LinAlgError

from tinygen.ops import det, logdet, matmul, matrix_power, slogdet
from tinygen.ops import pinverse as pinv
from tinygen.ops.decompositions import cholesky, eigh, eigvalsh, qr, svd, svdvals
from tinygen.ops.names import take_numpys_names
from tinygen.ops.norms import matrix_norm, norm, vector_norm
from tinygen.ops.products import cross_of_last as cross
from tinygen.ops.solving import inv, multi_dot, solve, solve_triangular

__all__ = [
    "LinAlgError",
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

take_numpys_names(globals(), ["cross", "matrix_norm", "norm", "vector_norm"])
