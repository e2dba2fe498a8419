"""Scores for samples: of models that have no likelihood, or none that compares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygen.data.generators import AnyGenerator, library_generator
from tinygen.evaluate._arrays import as_numpy, chunks, drawn, rows, same_number, width


@dataclass(frozen=True)
class Parzen:
    """log_likelihood: nats per image, averaged; error: its standard error; sigma: the chosen width of the kernels."""

    log_likelihood: float
    error: float
    sigma: float


def parzen(samples: Any, test: Any, valid: Any, sigmas: Sequence[float] | None = None) -> Parzen:
    """Log-likelihood of `test` under Gaussian kernels on a model's samples: a score for models without a density.

        log p(x) = log (1/n) Σ_i N(x; sample_i, σ² I),   σ: the one that gives `valid` the highest likelihood

    Unit: nats per image, for pixels in [0, 1].  Higher is better.  Ceiling, in spirit: the training images themselves
    in place of the samples; 10,000 of MNIST's give 241-244.  Baseline: samples of `independent_pixels`.  Published: GAN
    225.  The score rewards blur and can be gamed (the centres of k-means beat real images), so never print it alone;
    `ParzenWindow` takes care of the ceiling.

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
    for where in chunks(len(x), "Parzen window"):
        part = x[where]
        # |x - s|² = |x|² - 2 x·s + |s|²; subtracting the smallest per row leaves exponents <= 0 and one that is 0
        distance = sample_norms - 2 * (part @ samples.T)
        nearest = distance.min(axis=1, keepdims=True)
        distance -= nearest
        nearest = (nearest[:, 0] + np.square(part).sum(axis=1)).astype(np.float64)
        for i, sigma in enumerate(sigmas):
            kernels = np.exp(distance * np.float32(-0.5 / sigma**2)).mean(axis=1, dtype=np.float64)
            scale = 0.5 * x.shape[1] * math.log(2 * math.pi * sigma**2)
            out[i, where] = np.log(kernels) - nearest / (2 * sigma**2) - scale
    return out


class ParzenWindow:
    """`parzen` for several models on the same images, and always the real images beside them.

        score = ParzenWindow(train[:-1000], test, train[-1000:])
        score(model.sample(score.n)), score.ceiling

    Unit, direction and source: see `parzen`.  Calling it with samples returns a `Parzen`.
    ceiling: what as many training images score in place of the samples.  Baseline: samples of `independent_pixels`.

    train, test, valid: real images, (N, D), pixels in [0, 1].  valid, which chooses the width of the kernels, must not
    be among train: an image whose own kernel sits on it asks for ever narrower ones.
    n: how many samples, at most len(train); the score rises with it, so it is the same for all.  Which training images,
    `generator` draws.
    Raises ValueError when valid lies in the memory of train.
    """

    n: int

    def __init__(
        self,
        train: Any,
        test: Any,
        valid: Any,
        n: int = 10_000,
        sigmas: Sequence[float] | None = None,
        generator: AnyGenerator = 0,
    ):
        train, self._test, self._valid = rows(train, "train"), rows(test, "test"), rows(valid, "valid")
        if np.shares_memory(train, self._valid):
            raise ValueError(
                "ParzenWindow: validation images that are not among the training images are expected, but valid is a part "
                "of train; take train[:-1000] and train[-1000:]"
            )
        self.n, self._sigmas = min(n, len(train)), sigmas
        self._train = drawn(train, self.n, library_generator(generator))

    @cached_property
    def ceiling(self) -> Parzen:
        return self(self._train)

    def __call__(self, samples: Any) -> Parzen:
        """The score of `n` samples.  Raises ValueError for more or fewer."""
        same_number("ParzenWindow", samples, self.n)
        return parzen(samples, self._test, self._valid, self._sigmas)


def class_shares(samples: Any, predict: Callable[[Any], Any], classes: int = 10) -> np.ndarray:
    """The share of each class among the samples, according to a classifier: (classes,), sum 1.

    A generator that has dropped a mode shows as a share near 0.  The smallest share: higher is better; ceiling: that of
    the real test images (MNIST: 8.9 %, the digit five; 10 % for balanced classes).  Baseline: `independent_pixels`, all
    of whose samples look alike to a classifier.  Say the classifier's accuracy with it: it is the measuring device.

    predict: takes a batch (m, D) and returns integer labels (m,), as array or Tensor.
    """
    counts = np.zeros(classes, np.int64)
    for part in chunks(len(samples), "classes of samples", width(samples)):
        counts += np.bincount(as_numpy(predict(samples[part])), minlength=classes)
    return counts / max(1, len(samples))


def independent_pixels(train: Any, n: int, generator: AnyGenerator = None) -> np.ndarray:
    """n images whose every pixel is that of some training image, drawn anew for each pixel: (n, D).

    The trivial generative model: each pixel has exactly the right distribution, and no pixel knows of another.
    train: (N, D), the training images.
    """
    train = rows(train, "train")
    rng, columns = library_generator(generator), np.arange(train.shape[1])
    out = np.empty((n, len(columns)), train.dtype)
    for part in chunks(n, "independent pixels", len(columns)):  # the indices take more room than the pixels
        out[part] = train[rng.integers(0, len(train), out[part].shape), columns]
    return out
