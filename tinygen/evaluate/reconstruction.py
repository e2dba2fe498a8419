"""How well images come back from their codes, and the linear codes to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from tinygen.evaluate._arrays import chunks, covariance, gram, rows, width

LARGEST = 2048
"""Of a larger matrix only the leading eigenvectors are sought, one product with the data after the other."""


def squared_error(reconstruct: Callable[[Any], Any], x: Any) -> float:
    """Squared error of `reconstruct` **summed over the pixels of an image**, averaged over the images x: (n, D).

    Unit: squared grey levels, for pixels in [0, 1].  Lower is better.  Floor: 0, for a code as wide as the image.
    Baselines: `PCA` with as many components as the code has numbers; `variance` for a code without any.
    On MNIST's test set: variance 52.90; PCA with 8 components 29.35, 10: 26.71, 32: 13.19.

    reconstruct: takes and returns a batch (m, D), as an array or Tensor like x.
    """
    total = 0.0
    for part in chunks(len(x), "squared error", width(x)):
        batch = x[part]
        total += float(np.square(rows(reconstruct(batch)) - rows(batch), dtype=np.float64).sum())
    return total / len(x)


def variance(train: Any, test: Any) -> float:
    """`squared_error` of the code without any numbers: every test image is answered by the mean training image.

    train, test: (n, ...), the images.
    """
    train, test = rows(train, "train"), rows(test, "test")
    mean = train.mean(axis=0, dtype=np.float64)
    return sum(float(np.square(test[part] - mean).sum()) for part in chunks(len(test), "variance", len(mean))) / len(
        test
    )


def _use_fit() -> NoReturn:
    raise TypeError("PCA(mean, components, variances) holds a PCA that was fitted; PCA.fit(x, components) fits one")


@dataclass(frozen=True, eq=False)
class PCA:
    """Principal component analysis: the best linear code of a given width, in closed form.

        encode(x) = (x - mean) Vᵀ,   decode(h) = h V + mean,   rows of V: the leading eigenvectors of the covariance

    No linear autoencoder with the same number of hidden units has a smaller squared error on the training data.

    mean: (D,).  components V: (d, D), orthonormal rows, float64.  variances: (d,), along each component, descending.
    Source: Hotelling 1933; Baldi, Hornik, "Neural networks and principal component analysis", 1989; deck D4.
    """

    mean: np.ndarray
    components: np.ndarray = field(default_factory=_use_fit)
    variances: np.ndarray = field(default_factory=_use_fit)

    @classmethod
    def fit(cls, x: Any, components: int) -> PCA:
        """The PCA of the rows of x: (n, D).

        With X the centred data, XᵀX v = λ v, (D, D), and XXᵀ u = λ u, (n, n), have the same λ, and v = Xᵀu / |Xᵀu|: the smaller
        matrix is taken.  So 48 photographs of 49,152 numbers take a fraction of a second.  Where both have more than LARGEST
        rows, Lanczos' method finds the leading v by products with X alone.

        The components after the rank of X, which has no more than n - 1, have variance 0; they complete the others to
        orthonormal rows.
        Raises ValueError unless 1 <= components <= D, and for values that are not finite.
        """
        x = rows(x)
        if not 1 <= components <= x.shape[1]:
            raise ValueError(f"PCA.fit: 1 <= components <= {x.shape[1]} is expected, got {components}")
        mean = x.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean).all():
            raise ValueError("PCA.fit: finite values are expected, and some of x are NaN or infinite")
        smaller = min(x.shape)
        if smaller > LARGEST and components < smaller // 8:
            variances, vectors = _lanczos(x, mean, components)
        elif x.shape[1] <= len(x):
            variances, vectors = _leading(covariance(x, mean), components)
        else:
            variances, of_rows = _leading(gram(x, mean), min(components, len(x)))
            vectors = np.zeros((x.shape[1], components))
            for part in chunks(len(x), "components", x.shape[1]):
                vectors[:, : len(variances)] += (x[part] - mean).T @ of_rows[part]
            vectors, scale = np.linalg.qr(
                vectors
            )  # which are orthogonal but for rounding, and complete where they are 0
            vectors *= np.where(np.diag(scale) < 0, -1, 1)
            variances = np.append(variances, np.zeros(components - len(variances)))
        return cls(mean, np.ascontiguousarray(vectors.T), np.maximum(variances, 0))

    def encode(self, x: Any) -> np.ndarray:
        """The codes (n, d) of rows x (n, D)."""
        return (rows(x) - self.mean) @ self.components.T

    def decode(self, h: Any) -> np.ndarray:
        """The rows (n, D) that codes h (n, d) stand for."""
        return rows(h) @ self.components + self.mean

    def reconstruct(self, x: Any) -> np.ndarray:
        """decode(encode(x)): (n, D)."""
        return self.decode(self.encode(x))


def _leading(matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of a symmetric matrix, descending, and their eigenvectors as columns."""
    from scipy.linalg import eigh

    n = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=(n - k, n - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def _lanczos(x: np.ndarray, mean: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of the covariance of x, which is never made: to rounding, in some 2k + 50 passes over the data."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    def product(v: np.ndarray) -> np.ndarray:
        v, out = v.reshape(-1), np.zeros(len(mean))
        for start in range(0, len(x), step):
            centred = x[start : start + step] - mean
            out += centred.T @ (centred @ v)
        return out / len(x)

    step = max(1, 1_000_000 // len(mean))  # that stays in the processor's cache between the two products
    first = np.random.default_rng(0).standard_normal(len(mean))  # always the same, and so is the result
    operator = LinearOperator((len(mean), len(mean)), matvec=product, dtype=np.float64)
    values, vectors = eigsh(operator, k, v0=first)
    return values[::-1], vectors[:, ::-1]


def principal_angles(a: Any, b: Any) -> np.ndarray:
    """The angles between two subspaces, in degrees, largest first: 0 everywhere means the same subspace, 90 orthogonal.

    a, b: (d, D), whose rows span the subspaces (they need not be orthonormal).
    Two random 8-dimensional subspaces of 784 dimensions have a largest angle near 89 degrees.
    Source: Björck, Golub 1973.
    """
    from scipy.linalg import subspace_angles

    return np.degrees(subspace_angles(rows(a, "a").T.astype(np.float64), rows(b, "b").T.astype(np.float64)))
