"""Scores for samples: of models that have no likelihood, or none that compares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygen
from tinygen import backend
from tinygen.data.generators import AnyGenerator, library_generator
from tinygen.evaluate._arrays import CHUNK, rows


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
    samples, test, valid = rows(samples, "samples"), rows(test, "test"), rows(valid, "valid")
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
    a, b = rows(a, "a"), rows(b, "b")
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
        return np.concatenate([rows(self._features(images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)])


def independent_pixels(train: Any, n: int, generator: AnyGenerator = None) -> np.ndarray:
    """n images whose every pixel is that of some training image, drawn anew for each pixel: (n, D).

    The trivial generative model: each pixel has exactly the right distribution, and no pixel knows of another.
    """
    train = rows(train, "train")
    rng = library_generator(generator)
    return train[rng.integers(0, len(train), (n, train.shape[1])), np.arange(train.shape[1])]
