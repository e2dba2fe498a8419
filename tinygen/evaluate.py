"""Numbers about trained models, and the trivial models to stand beside them.

A number means little alone.  Every function here says its unit, which direction is better, what the best possible value
is (the floor, or for a score the ceiling), and which trivial model has to be beaten (the baseline).

Arguments are NumPy arrays of float32, or Tensors of any device; the arithmetic is NumPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygen
from tinygen import backend
from tinygen.data.generators import AnyGenerator, library_generator

CHUNK = 1000  # rows at a time: the matrix of distances to 10,000 samples then takes 80 MB


def _rows(x: Any, name: str = "x") -> np.ndarray:
    """x as a NumPy matrix, one sample per row."""
    array = backend.to_numpy(x.array) if isinstance(x, tinygen.Tensor) else np.asarray(x)
    if array.ndim != 2 or len(array) == 0:
        raise ValueError(f"{name}: samples as rows, (n, D) with n >= 1, are expected, got shape {array.shape}")
    return array


# --- reconstruction --------------------------------------------------------------------------------------------------


def squared_error(reconstruct: Callable[[Any], Any], x: Any) -> float:
    """Squared error of `reconstruct` **summed over the pixels of an image**, averaged over the images x: (n, D).

    Unit: squared grey levels, for pixels in [0, 1].  Lower is better.  Floor: 0, for a code as wide as the image.
    Baselines: `PCA` with as many components as the code has numbers; `variance` for a code without any.
    On MNIST's test set: variance 52.90; PCA with 8 components 29.35, 10: 26.71, 32: 13.19.

    reconstruct: takes and returns a batch (m, D), as an array or Tensor like x.
    """
    total = 0.0
    for start in range(0, len(x), CHUNK):
        batch = x[start : start + CHUNK]
        total += float(np.square(_rows(reconstruct(batch)) - _rows(batch), dtype=np.float64).sum())
    return total / len(x)


def variance(train: Any, test: Any) -> float:
    """`squared_error` of the code without any numbers: every test image is answered by the mean training image."""
    train, test = _rows(train, "train"), _rows(test, "test")
    return float(np.square(test - train.mean(axis=0, dtype=np.float64)).sum(axis=1).mean())


@dataclass(frozen=True, eq=False)
class PCA:
    """Principal component analysis: the best linear code of a given width, in closed form.

        encode(x) = (x - mean) Vᵀ,   decode(h) = h V + mean,   rows of V: the leading eigenvectors of the covariance

    No linear autoencoder with the same number of hidden units has a smaller squared error on the training data.

    mean: (D,).  components V: (d, D), orthonormal rows, float64.  variances: (d,), along each component, descending.
    Source: Hotelling 1933; Baldi, Hornik, "Neural networks and principal component analysis", 1989; deck D4.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray

    @classmethod
    def fit(cls, x: Any, components: int) -> PCA:
        """The PCA of the rows of x: (n, D).  Raises ValueError unless 1 <= components <= D."""
        x = _rows(x)
        if not 1 <= components <= x.shape[1]:
            raise ValueError(f"PCA.fit: 1 <= components <= {x.shape[1]} is expected, got {components}")
        mean = x.mean(axis=0, dtype=np.float64)
        eigenvalues, eigenvectors = np.linalg.eigh(_covariance(x, mean))
        largest = slice(-1, -components - 1, -1)
        return cls(mean, np.ascontiguousarray(eigenvectors[:, largest].T), eigenvalues[largest])

    def encode(self, x: Any) -> np.ndarray:
        return (_rows(x) - self.mean) @ self.components.T

    def decode(self, h: Any) -> np.ndarray:
        return _rows(h) @ self.components + self.mean

    def reconstruct(self, x: Any) -> np.ndarray:
        return self.decode(self.encode(x))


def _covariance(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(1/n) Σ (x - mean)(x - mean)ᵀ in float64, without a float64 copy of all the data."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), 10 * CHUNK):
        centred = x[start : start + 10 * CHUNK] - mean
        total += centred.T @ centred
    return total / len(x)


def principal_angles(a: Any, b: Any) -> np.ndarray:
    """The angles between two subspaces, in degrees, largest first: 0 everywhere means the same subspace, 90 orthogonal.

    a, b: (d, D), whose rows span the subspaces (they need not be orthonormal).
    Two random 8-dimensional subspaces of 784 dimensions have a largest angle near 89 degrees.
    Source: Björck, Golub 1973.
    """
    from scipy.linalg import subspace_angles

    return np.degrees(subspace_angles(_rows(a, "a").T.astype(np.float64), _rows(b, "b").T.astype(np.float64)))


# --- likelihood ------------------------------------------------------------------------------------------------------


def gaussian_nll(train: Any, test: Any) -> float:
    """Mean negative log-density of `test` under the Gaussian with the mean and full covariance of `train`.

    Unit: nats per point.  Lower is better.  This is a baseline: the best density without any curve in it.
    Floor: the entropy of the data, for two moons `data.two_moons_entropy`.  Two moons with noise 0.1: 1.903, floor 1.008.
    Raises numpy.linalg.LinAlgError when the training covariance is singular.
    """
    train, test = _rows(train, "train"), _rows(test, "test")
    mean = train.mean(axis=0, dtype=np.float64)
    lower = np.linalg.cholesky(_covariance(train, mean))
    white = np.linalg.solve(lower, (test - mean).T)
    log_det = 2 * np.log(np.diag(lower)).sum()
    return float(0.5 * (np.square(white).sum(axis=0).mean() + log_det + len(mean) * math.log(2 * math.pi)))


def bernoulli_nll(train: Any, test: Any, pseudocount: float = 1.0) -> float:
    """Mean cross-entropy of `test` under independent pixels, each 1 with its mean training value.

    Unit: nats per image.  Lower is better.  This is a baseline for a VAE's -ELBO on the same (grey or binary) images:
    the best model in which no pixel knows of another.  MNIST: 205.8.  Floor: `bernoulli_entropy`.
    pseudocount: imagined images, one black and one white, that keep the probabilities away from 0 and 1.
    """
    train, test = _rows(train, "train"), _rows(test, "test")
    p = (train.sum(axis=0, dtype=np.float64) + pseudocount) / (len(train) + 2 * pseudocount)
    return float(-(test @ np.log(p) + (1 - test) @ np.log1p(-p)).mean())


def bernoulli_entropy(x: Any) -> float:
    """Mean over the images of the entropy of their pixels, each read as the probability of a 1.

    Unit: nats per image.  This is a floor: with grey targets no model's cross-entropy, and so no -ELBO, can be lower,
    even if it predicts every image exactly.  MNIST's test set: 45.5.  0 for binary images.
    """
    from scipy.special import entr

    x = _rows(x).astype(np.float64)
    return float((entr(x) + entr(1 - x)).sum(axis=1).mean())


@dataclass(frozen=True)
class Parzen:
    """log_likelihood: nats per image, averaged; error: its standard error; sigma: the chosen width of the kernels."""

    log_likelihood: float
    error: float
    sigma: float


def parzen(samples: Any, test: Any, valid: Any, sigmas: Sequence[float] | None = None) -> Parzen:
    """Log-likelihood of `test` under Gaussian kernels on a model's samples: a score for models without a density.

        log p(x) = log (1/n) Σ_i N(x; sample_i, σ² I),   σ: the one that gives `valid` the highest likelihood

    Unit: nats per image, for pixels in [0, 1].  Higher is better.  Ceiling, in spirit: the training images themselves in
    place of the samples; 10,000 of MNIST's give 241-244.  Baseline: samples of `independent_pixels`.  Published: GAN 225.
    The score rewards blur and can be gamed (the centres of k-means beat real images), so never print it alone.

    samples: (n, D), test: (m, D), valid: (k, D).  sigmas: default 10 values from 0.1 to 1, evenly spaced in the log.
    Source: Goodfellow et al. 2014, section 5; Theis, van den Oord, Bethge, "A note on the evaluation of generative
    models", 2016, for what is wrong with it.
    """
    samples, test, valid = _rows(samples, "samples"), _rows(test, "test"), _rows(valid, "valid")
    grid = np.logspace(-1, 0, 10) if sigmas is None else np.asarray(sigmas, np.float64)
    on_valid = _parzen_log_probs(samples, valid, grid).mean(axis=1)
    sigma = float(grid[np.argmax(on_valid)])
    on_test = _parzen_log_probs(samples, test, np.array([sigma]))[0]
    return Parzen(float(on_test.mean()), float(on_test.std() / math.sqrt(len(on_test))), sigma)


def _parzen_log_probs(samples: np.ndarray, x: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """log p(x) for each σ: (len(sigmas), len(x)).  One matrix of squared distances serves all of them."""
    out = np.empty((len(sigmas), len(x)))
    sample_norms = np.square(samples).sum(axis=1)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK]
        # |x - s|² = |x|² - 2 x·s + |s|²; subtracting the smallest per row leaves exponents <= 0 and one that is 0
        distance = sample_norms - 2 * (part @ samples.T)
        nearest = distance.min(axis=1, keepdims=True)
        distance -= nearest
        nearest = (nearest[:, 0] + np.square(part).sum(axis=1)).astype(np.float64)
        for i, sigma in enumerate(sigmas):
            kernels = np.exp(distance * np.float32(-0.5 / sigma**2)).mean(axis=1, dtype=np.float64)
            scale = 0.5 * x.shape[1] * math.log(2 * math.pi * sigma**2)
            out[i, start : start + CHUNK] = np.log(kernels) - nearest / (2 * sigma**2) - scale
    return out


# --- samples ---------------------------------------------------------------------------------------------------------


def class_shares(samples: Any, predict: Callable[[Any], Any], classes: int = 10) -> np.ndarray:
    """The share of each class among the samples, according to a classifier: (classes,), sum 1.

    A generator that has dropped a mode shows as a share near 0.  The smallest share: higher is better; ceiling: that of
    the real test images (MNIST: 8.9 %, the digit five; 10 % for balanced classes).  Baseline: `independent_pixels`, all
    of whose samples look alike to a classifier.  Say the classifier's accuracy with it: it is the measuring device.

    predict: takes a batch (m, D) and returns integer labels (m,), as array or Tensor.
    """
    counts = np.zeros(classes, np.int64)
    for start in range(0, len(samples), CHUNK):
        labels = predict(samples[start : start + CHUNK])
        labels = backend.to_numpy(labels.array) if isinstance(labels, tinygen.Tensor) else np.asarray(labels)
        counts += np.bincount(labels, minlength=classes)
    return counts / max(1, len(samples))


def frechet_distance(a: Any, b: Any) -> float:
    """How far two clouds of feature vectors are apart, each described by its mean and covariance alone.

        d²(N(μ₁, Σ₁), N(μ₂, Σ₂)) = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)

    the squared 2-Wasserstein distance of the two Gaussians: the least mean squared way from one to the other.

    Unit: squared units of the features.  Lower is better.  Floor: not 0 but what two sets of real images have, because
    both are finite: some ten times as many rows as features, and the same number on both sides, or the covariances
    mean little.  `FeatureDistance` takes care of both.  Two scores compare only if features and numbers are the same.
    It is no FID, which is this formula on the features of one particular network (Inception, trained on ImageNet): ours
    are those of tinygen's own classifier, so its values compare with nobody else's.

    a: (n, D), b: (m, D).  Symmetric; 0 for equal clouds.
    Raises ValueError for different D, and for a value that is not finite.
    Source: Dowson, Landau 1982 (the distance); Heusel et al. 2017 (as a score for samples).
    """
    a, b = _rows(a, "a"), _rows(b, "b")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"frechet_distance: features of one width are expected, got {a.shape[1]} and {b.shape[1]}")
    for name, x in (("a", a), ("b", b)):
        if wrong := int((~np.isfinite(x)).any(axis=1).sum()):
            raise ValueError(f"frechet_distance: {wrong} of the {len(x)} rows of {name} hold a NaN or an infinity")
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    # With Σ = RᵀR, tr (Σ₁Σ₂)^½ is the sum of the singular values of R₁R₂ᵀ.  The roots of eigenvalues that rounding makes
    # of zeros, where a feature is constant, would cost half of the digits; here none is taken.
    root_a, root_b = _root(a, mean_a), _root(b, mean_b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * overlap
    return max(0.0, float(distance))


def _root(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """R with RᵀR = the covariance of the rows of x: the triangle of the centred data x - mean = QR, over √n."""
    triangle: Any = np.linalg.qr(x - mean, mode="r")
    return triangle / math.sqrt(len(x))


class FeatureDistance:
    """A score for samples: the Fréchet distance to the test images, in the features that a classifier looks at.

        distance = FeatureDistance(classifier.features, train.flat, test.flat)
        distance(model.sample(distance.n)), distance.floor

    Unit, direction and source: see `frechet_distance`.  Always print `floor` beside it: what as many training images
    score in place of the samples.  It sees blur, noise and missing classes, for which likelihood-free models have no
    other number; it does not see that samples are copies of training images.  Baseline: `independent_pixels`.

    features: takes a batch of images (m, ...) and returns (m, D), as array or Tensor: `Classifier.features`.
    train, test: real images, (N, ...), in the form that `features` takes.
    n: how many images on each side, at most len(train) and len(test); which of them, `generator` draws.
    """

    def __init__(
        self, features: Callable[[Any], Any], train: Any, test: Any, n: int = 10_000, generator: AnyGenerator = 0
    ):
        self.n = min(n, len(train), len(test))
        self._features = features
        rng = library_generator(generator)
        drawn = [x if len(x) == self.n else x[np.sort(rng.permutation(len(x))[: self.n])] for x in (train, test)]
        self._real = self._all(drawn[1])
        self.floor = self(drawn[0])

    def __call__(self, samples: Any) -> float:
        """The distance of `n` samples to as many test images.  Raises ValueError for more or fewer samples."""
        if len(samples) != self.n:
            raise ValueError(
                f"FeatureDistance: {self.n:,} samples are expected, as many as the test images that they are held "
                f"against, got {len(samples):,}"
            )
        return frechet_distance(self._all(samples), self._real)

    def _all(self, images: Any) -> np.ndarray:
        return np.concatenate([_rows(self._features(images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)])


def independent_pixels(train: Any, n: int, generator: AnyGenerator = None) -> np.ndarray:
    """n images whose every pixel is that of some training image, drawn anew for each pixel: (n, D).

    The trivial generative model: each pixel has exactly the right distribution, and no pixel knows of another.
    """
    train = _rows(train, "train")
    rng = library_generator(generator)
    return train[rng.integers(0, len(train), (n, train.shape[1])), np.arange(train.shape[1])]
