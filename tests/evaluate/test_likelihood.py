"""Likelihoods of trivial models: against scipy, entropies, and the published constants of MNIST."""

import math

import numpy as np
import pytest
from scipy import stats

from tests.evaluate import blob
from tinygen import data, evaluate

rng = np.random.default_rng(0)


def test_gaussian_nll_is_scipys():
    train, test = blob(seed=3), blob(seed=4)
    oracle = stats.multivariate_normal(train.mean(0, dtype=np.float64), np.cov(train.T.astype(np.float64), bias=True))
    assert math.isclose(evaluate.gaussian_nll(train, test), -oracle.logpdf(test).mean(), rel_tol=1e-6)


def test_gaussian_nll_of_two_moons_is_the_published_baseline():
    train, test = (data.two_moons(20_000, 0.1, generator=i) for i in (0, 1))
    assert abs(evaluate.gaussian_nll(train, test) - 1.903) < 0.02  # the standard error of 20,000 points is 0.006


def test_bernoulli_nll_is_the_entropy_of_the_pixels_for_its_own_data():
    p = np.array([0.1, 0.5, 0.9])
    x = (rng.random((50_000, 3)) < p).astype(np.float32)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    assert abs(evaluate.bernoulli_nll(x, x) - entropy) < 0.01
    assert math.isfinite(evaluate.bernoulli_nll(np.zeros((5, 3), np.float32), np.ones((5, 3), np.float32)))


def test_bernoulli_entropy_is_a_floor_that_only_the_image_itself_reaches():
    x = rng.random((10, 4)).astype(np.float32)

    def cross_entropy(q):
        return -(x * np.log(q) + (1 - x) * np.log(1 - q)).sum(1).mean()

    assert math.isclose(evaluate.bernoulli_entropy(x), cross_entropy(x), rel_tol=1e-5)
    assert cross_entropy(np.clip(x + 0.05, 0.01, 0.99)) > evaluate.bernoulli_entropy(x)
    assert evaluate.bernoulli_entropy(np.round(x)) == 0


def test_samples_have_to_be_rows():
    with pytest.raises(ValueError, match=r"train: samples as rows.*\(3,\)"):
        evaluate.gaussian_nll(np.zeros(3), np.zeros((3, 3)))
