"""Scores for samples in the features of a classifier, where likeness means more than in pixels.

The Fréchet distance says in one number how far two clouds of features are apart.  Precision and recall take it apart:
do the samples look like real images, and do they look like all of them?
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygen.data.generators import AnyGenerator, library_generator
from tinygen.evaluate._arrays import chunks, drawn, rows, same_number, width


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


@dataclass(frozen=True)
class PrecisionRecall:
    """precision: the share of the samples that lie where real images do; recall: the share of the real images that lie
    where samples do.  Both from 0 to 1, higher is better."""

    precision: float
    recall: float


def precision_recall(real: Any, generated: Any, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall: how many samples look real, and how much of what is real the samples reach.

    The manifold of a cloud of points is taken to be the union of balls, one around each point, that reach to the k-th
    nearest other point of the cloud.

        precision = share of the generated points in the manifold of the real ones
        recall    = share of the real points in the manifold of the generated ones

    A generator of few perfect images has precision and no recall; one of everything and noise has recall and no
    precision.  A generator that has learnt the training images by heart has both.

    Unit: shares, from 0 to 1.  Higher is better, of both together: precision by itself is easily had.  A real outlier
    has a large ball, and images that are all alike to the features may all lie in it: so do MNIST's
    `independent_pixels`, with a precision of 0.9, above that of real images, and a recall of 0.0006 (Naeem et al. 2020).
    Ceiling: not 1 but what a second set of real images has, for the balls leave gaps where points are few:
    `FeatureMetrics` has it beside each score.  Baseline: `independent_pixels`.  Both depend on the number of points, on k
    and on the features: compare only where these are the same.

    real: (n, D), generated: (m, D): features; n and m should be equal, for the balls shrink with the number of points.
    Time grows with (n + m)², the memory is that of 1000 rows of distances to all points (80 MB for 10,000).
    A point on the surface of a ball is in it, up to rounding.
    Raises ValueError for different D, k < 1, no more than k points in a cloud, and for a value that is not finite.
    Source: Kynkäänniemi, Karras, Laine, Lehtinen, Aila, "Improved precision and recall metric for assessing generative
    models", 2019, eq. 1-2; Naeem, Oh, Uh, Choi, Yoo, "Reliable fidelity and diversity metrics for generative models",
    2020.
    """
    real, generated = _cloud("precision_recall", "real", real, k), _cloud("precision_recall", "generated", generated, k)
    return _precision_recall(real, _radii(real, k), generated, k)


def _precision_recall(real: np.ndarray, real_radii: np.ndarray, generated: np.ndarray, k: int) -> PrecisionRecall:
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"precision_recall: features of one width are expected, got {real.shape[1]} and {generated.shape[1]}"
        )
    radii = _radii(generated, k)
    looks_real, reached = np.zeros(len(generated), bool), np.zeros(len(real), bool)
    for part in chunks(len(real), "precision and recall"):
        distances, error = _squared_distances(real[part], generated)
        looks_real |= (distances <= real_radii[part, None] + error).any(axis=0)
        reached[part] = (distances <= radii + error).any(axis=1)
    return PrecisionRecall(float(looks_real.mean()), float(reached.mean()))


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each point to the k-th nearest of the others."""
    out = np.empty(len(x))
    for part in chunks(len(x), "nearest neighbours"):
        distances, _ = _squared_distances(x[part], x)
        own = np.arange(len(distances))
        distances[own, own + part.start] = np.inf
        distances.partition(k - 1, axis=1)
        out[part] = distances[:, k - 1]
    return out


def _squared_distances(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|x_i - y_j|² = |x_i|² - 2 x_i·y_j + |y_j|², one matrix product, and how far rounding may have moved it."""
    norms_x, norms_y = np.square(x).sum(axis=1)[:, None], np.square(y).sum(axis=1)
    distances = x @ y.T
    distances *= -2
    distances += norms_x
    distances += norms_y
    # each of the three sums of D terms is off by at most D roundings of |x|² + |y|²; a radius is off as much
    return distances, 4 * (x.shape[1] + 2) * np.finfo(np.float64).eps * (norms_x.max() + norms_y.max())


def _cloud(function: str, name: str, x: Any, k: int) -> np.ndarray:
    x = rows(x, name).astype(np.float64)
    if not 1 <= k < len(x):
        raise ValueError(f"{function}: 1 <= k < the number of points is expected, got k={k} and {len(x)} {name} points")
    if wrong := int((~np.isfinite(x)).any(axis=1).sum()):
        raise ValueError(f"{function}: {wrong} of the {len(x)} rows of {name} hold a NaN or an infinity")
    return x


class _AgainstTestImages:
    """The features of `n` test images, computed once, and as many training images, for what reality scores."""

    def __init__(
        self, features: Callable[[Any], Any], train: Any, test: Any, n: int = 10_000, generator: AnyGenerator = 0
    ):
        self.n: int = min(n, len(train), len(test))
        self._features = features
        rng = library_generator(generator)
        self._train, test = drawn(train, self.n, rng), drawn(test, self.n, rng)
        self._test = self._all(test)

    def _of(self, samples: Any) -> np.ndarray:
        same_number(type(self).__name__, samples, self.n)
        return self._all(samples)

    def _all(self, images: Any) -> np.ndarray:
        parts = chunks(len(images), "features", width(images))
        return np.concatenate([rows(self._features(images[part])) for part in parts])


class FeatureDistance(_AgainstTestImages):
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
        super().__init__(features, train, test, n, generator)
        self.floor: float = self(self._train)

    def __call__(self, samples: Any) -> float:
        """The distance of `n` samples to as many test images.  Raises ValueError for more or fewer samples."""
        return frechet_distance(self._of(samples), self._test)


@dataclass(frozen=True)
class FeatureScores:
    """frechet: squared units of the features, lower is better; precision and recall: shares, higher is better."""

    frechet: float
    precision: float
    recall: float


class FeatureMetrics(_AgainstTestImages):
    """The Fréchet distance, precision and recall of samples against the test images, which are looked at only once.

        metrics = FeatureMetrics(classifier.features, train.flat, test.flat)
        metrics(model.sample(metrics.n)), metrics.real

    Units, directions and sources: see `frechet_distance` and `precision_recall`.
    real: what as many training images score in place of the samples; floor of the distance, ceiling of the other two.
    Baseline: `independent_pixels`.

    features, train, test, n, generator: as of `FeatureDistance`.  k: the neighbour that a ball reaches to.
    """

    def __init__(
        self,
        features: Callable[[Any], Any],
        train: Any,
        test: Any,
        n: int = 10_000,
        k: int = 3,
        generator: AnyGenerator = 0,
    ):
        super().__init__(features, train, test, n, generator)
        self.k = k
        self._cloud = _cloud("FeatureMetrics", "test", self._test, k)

    @cached_property
    def _radii(self) -> np.ndarray:
        return _radii(self._cloud, self.k)

    @cached_property
    def real(self) -> FeatureScores:
        return self(self._train)

    def __call__(self, samples: Any) -> FeatureScores:
        """The scores of `n` samples.  Raises ValueError for more or fewer."""
        features = self._of(samples)
        found = _precision_recall(
            self._cloud, self._radii, _cloud("FeatureMetrics", "generated", features, self.k), self.k
        )
        return FeatureScores(frechet_distance(features, self._test), found.precision, found.recall)
