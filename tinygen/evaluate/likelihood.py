"""Negative log-likelihoods, and the trivial densities to beat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.evaluate._arrays import covariance, rows


def gaussian_nll(train: Any, test: Any) -> float:
    """Mean negative log-density of `test` under the Gaussian with the mean and full covariance of `train`.

    Unit: nats per point.  Lower is better.  This is a baseline: the best density without any curve in it.
    Floor: the entropy of the data, for two moons `data.two_moons_entropy`.  Two moons with noise 0.1: 1.903, floor 1.008.
    Raises numpy.linalg.LinAlgError when the training covariance is singular.
    """
    train, test = rows(train, "train"), rows(test, "test")
    mean = train.mean(axis=0, dtype=np.float64)
    lower = np.linalg.cholesky(covariance(train, mean))
    white = np.linalg.solve(lower, (test - mean).T)
    log_det = 2 * np.log(np.diag(lower)).sum()
    return float(0.5 * (np.square(white).sum(axis=0).mean() + log_det + len(mean) * math.log(2 * math.pi)))


def bernoulli_nll(train: Any, test: Any, pseudocount: float = 1.0) -> float:
    """Mean cross-entropy of `test` under independent pixels, each 1 with its mean training value.

    Unit: nats per image.  Lower is better.  This is a baseline for a VAE's -ELBO on the same (grey or binary) images:
    the best model in which no pixel knows of another.  MNIST: 205.8.  Floor: `bernoulli_entropy`.
    pseudocount: imagined images, one black and one white, that keep the probabilities away from 0 and 1.
    """
    train, test = rows(train, "train"), rows(test, "test")
    p = (train.sum(axis=0, dtype=np.float64) + pseudocount) / (len(train) + 2 * pseudocount)
    return float(-(test @ np.log(p) + (1 - test) @ np.log1p(-p)).mean())


def bernoulli_entropy(x: Any) -> float:
    """Mean over the images of the entropy of their pixels, each read as the probability of a 1.

    Unit: nats per image.  This is a floor: with grey targets no model's cross-entropy, and so no -ELBO, can be lower,
    even if it predicts every image exactly.  MNIST's test set: 45.5.  0 for binary images.
    """
    from scipy.special import entr

    x = rows(x).astype(np.float64)
    return float((entr(x) + entr(1 - x)).sum(axis=1).mean())
