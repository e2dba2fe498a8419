"""All scores for samples side by side, for a model, for real images and for a trivial model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygen.data.generators import AnyGenerator, library_generator
from tinygen.evaluate._arrays import drawn, rows, same_number
from tinygen.evaluate.features import FeatureMetrics
from tinygen.evaluate.samples import ParzenWindow, class_shares, independent_pixels


@dataclass(frozen=True)
class Measure:
    """What one of the scores is, for a table: short name, title, unit, and whether higher is better.

    name, title, unit: texts.  higher_is_better: the direction.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool


MEASURES = {
    "frechet": Measure("Fréchet", "Fréchet distance in our classifier's features", "squared features", False),
    "precision": Measure("precision", "precision in our classifier's features", "%", True),
    "recall": Measure("recall", "recall in our classifier's features", "%", True),
    "parzen": Measure("Parzen", "Parzen log-likelihood of the test images", "nats", True),
    "rarest_class": Measure("classes", "share of the rarest class among the samples", "%", True),
}
"""The fields of `SampleScores`, in their order."""


@dataclass(frozen=True)
class SampleScores:
    """Units and directions are in `MEASURES`: the Fréchet distance is the lower the better, all others the higher.

    frechet: the Fréchet distance.  precision, recall, parzen and rarest_class: as their entries in `MEASURES` say.
    """

    frechet: float
    precision: float
    recall: float
    parzen: float
    rarest_class: float


class SampleMetrics:
    """Every score for samples of images at once: no single one tells a good generator from all kinds of bad ones.

        metrics = SampleMetrics(classifier.features, classifier.predict, train[:-1000], train[-1000:], test)
        for scores in (metrics(model.sample(metrics.n)), metrics.real, metrics.trivial): ...

    What each sees, its unit, direction and source: `frechet_distance` (all at once, by mean and covariance),
    `precision_recall` (whether samples look real; whether they are as diverse), `parzen` (nearness in pixels, whatever
    that is worth), `class_shares` (a class left out).  None sees that samples are copies of training images.

    real: as many training images in place of the samples: the floor of the Fréchet distance, the ceiling of the others.
    trivial: images of `independent_pixels`, the baseline.  Their precision may be above that of real images, and
        their recall is near 0: see `precision_recall`.

    features, predict: of a classifier: batch (m, D) -> features (m, F), and -> labels (m,).
    train, valid, test: real images (N, D), pixels in [0, 1]; valid chooses the width of the Parzen window and must not
    be among train.  n: the number of samples, at most len(train) and len(test).  classes: how many the classifier
    knows.
    k: the neighbour of precision and recall.  generator: draws real and trivial images.
    Raises ValueError when valid lies in the memory of train.
    """

    n: int

    def __init__(
        self,
        features: Callable[[Any], Any],
        predict: Callable[[Any], Any],
        train: Any,
        valid: Any,
        test: Any,
        n: int = 10_000,
        classes: int = 10,
        k: int = 3,
        generator: AnyGenerator = 0,
    ):
        train, test = rows(train, "train"), rows(test, "test")
        self.n, self._predict, self._classes = min(n, len(train), len(test)), predict, classes
        rng = library_generator(generator)
        self._parzen = ParzenWindow(train, test, valid, self.n, generator=rng)
        self._features = FeatureMetrics(features, train, test, self.n, k, rng)
        self._real = drawn(train, self.n, rng)
        self._trivial = independent_pixels(train, self.n, rng)

    @cached_property
    def real(self) -> SampleScores:
        return self(self._real)

    @cached_property
    def trivial(self) -> SampleScores:
        return self(self._trivial)

    def __call__(self, samples: Any) -> SampleScores:
        """The scores of `n` samples, (n, D).  Raises ValueError for more or fewer."""
        same_number("SampleMetrics", samples, self.n)
        seen = self._features(samples)
        shares: np.ndarray = class_shares(samples, self._predict, self._classes)
        return SampleScores(
            frechet=seen.frechet,
            precision=100 * seen.precision,
            recall=100 * seen.recall,
            parzen=self._parzen(samples).log_likelihood,
            rarest_class=100 * float(shares.min()),
        )
