"""Scores for samples: each against a closed form or a second way to compute it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats

import tinygen as tg
from tests.evaluate import blob
from tinygen import evaluate

rng = np.random.default_rng(0)


@given(seed=st.integers(0, 99), sigma=st.floats(0.1, 1))
def test_parzen_is_the_log_density_of_the_mixture(seed, sigma):
    r = np.random.default_rng(seed)
    samples, x = r.random((7, 3)).astype(np.float32), r.random((11, 3)).astype(np.float32)
    found = evaluate.parzen(samples, x, x, [sigma])
    density = np.mean([stats.multivariate_normal(s, sigma**2).pdf(x) for s in samples], axis=0)
    assert math.isclose(found.log_likelihood, np.log(density).mean(), rel_tol=1e-4, abs_tol=1e-4)
    assert math.isclose(found.error, np.log(density).std() / math.sqrt(11), rel_tol=1e-3, abs_tol=1e-4)


def test_parzen_chooses_the_width_by_validation():
    samples = rng.standard_normal((2000, 1)).astype(np.float32)
    near, far = samples[:200] + 0.01, 5 + samples[:200]
    assert evaluate.parzen(samples, near, near).sigma < evaluate.parzen(samples, near, far).sigma


def test_parzen_neither_underflows_nor_overflows_far_away():
    assert math.isfinite(
        evaluate.parzen(
            np.zeros((5, 784), np.float32), np.ones((5, 784), np.float32), np.ones((5, 784), np.float32)
        ).log_likelihood
    )


def test_class_shares_counts_in_chunks_and_takes_tensors():
    x = np.arange(2500, dtype=np.float32)[:, None]
    shares = evaluate.class_shares(x, lambda b: (b[:, 0] % 5).astype(np.int64))
    np.testing.assert_allclose(shares, [0.2] * 5 + [0] * 5)
    np.testing.assert_allclose(evaluate.class_shares(tg.tensor(x), lambda b: (b[:, 0] >= 500).long(), 2), [0.2, 0.8])


@given(d=st.integers(1, 6), n=st.integers(1, 9), m=st.integers(1, 9), seed=st.integers(0, 99))
def test_frechet_distance_is_the_textbook_formula(d, n, m, seed):
    """With scipy's root of Σ₁Σ₂ itself, which is not symmetric; with fewer points than features it is singular too."""
    a, b = 3 * blob(n, d, seed), blob(m, d, seed + 1)
    cov = [np.atleast_2d(np.cov(x.T.astype(np.float64), bias=True)) for x in (a, b)]
    ridge = 1e-10 * np.eye(d)  # sqrtm needs regular matrices
    root = np.real(linalg.sqrtm((cov[0] + ridge) @ (cov[1] + ridge)))
    shift = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    expected = shift @ shift + np.trace(cov[0] + cov[1] - 2 * root)
    # the ridge moves each root of an eigenvalue by up to sqrt(1e-10 · scale)
    scale = np.trace(cov[0] + cov[1]) + 1
    assert abs(evaluate.frechet_distance(a, b) - expected) < 1e-4 * scale


def whitened(n, d, seed):
    """Points with mean 0 and covariance 1, exactly."""
    x = np.random.default_rng(seed).standard_normal((n, d))
    return np.linalg.qr(x - x.mean(0))[0] * math.sqrt(n)


@given(d=st.integers(1, 8), seed=st.integers(0, 99))
def test_frechet_distance_of_axis_parallel_gaussians(d, seed):
    """‖μ₁ − μ₂‖² + Σ (σ₁ − σ₂)²: each axis for itself."""
    r = np.random.default_rng(seed)
    (mean_a, mean_b), (std_a, std_b) = r.standard_normal((2, d)), r.random((2, d))
    a, b = whitened(50, d, seed) * std_a + mean_a, whitened(70, d, seed + 1) * std_b + mean_b
    expected = np.square(mean_a - mean_b).sum() + np.square(std_a - std_b).sum()
    assert math.isclose(evaluate.frechet_distance(a, b), expected, rel_tol=1e-10)


@given(d=st.integers(1, 8), n=st.integers(1, 30), seed=st.integers(0, 99))
def test_frechet_distance_is_0_for_equals_symmetric_and_the_same_from_every_side(d, n, seed):
    a, b = blob(n, d, seed).astype(np.float64), blob(30, d, seed + 1).astype(np.float64)
    distance = evaluate.frechet_distance(a, b)
    size = np.square(a).mean(0).sum() + np.square(b).mean(0).sum()
    near = dict(rel_tol=1e-10, abs_tol=1e-10 * size)  # float64, and differences of numbers as large as size
    assert evaluate.frechet_distance(a, a) <= near["abs_tol"] and distance >= 0
    assert math.isclose(evaluate.frechet_distance(b, a), distance, **near)
    assert math.isclose(evaluate.frechet_distance(a + 5, a), 25 * d, rel_tol=1e-8)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    assert math.isclose(evaluate.frechet_distance(a @ q + 2, b @ q + 2), distance, **near)
    assert math.isclose(evaluate.frechet_distance(3 * a, 3 * b), 9 * distance, **near)  # squared units


def test_frechet_distance_takes_tensors_and_refuses_what_makes_no_sense():
    a, b = blob(50, 3, 1), blob(60, 3, 2)
    assert evaluate.frechet_distance(tg.tensor(a), tg.tensor(b)) == evaluate.frechet_distance(a, b)
    with pytest.raises(ValueError, match=r"features of one width are expected, got 3 and 2"):
        evaluate.frechet_distance(a, b[:, :2])
    b[[3, 5], 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 of the 60 rows of b hold a NaN or an infinity"):
        evaluate.frechet_distance(a, b)


def test_feature_distance_holds_samples_against_test_images_and_real_images_beside_them():
    seen = []

    def features(x):
        seen.append(len(x))
        return 2 * x

    both = blob(7500, 4, 1)
    train, test = both[:5000], both[5000:]
    distance = evaluate.FeatureDistance(features, train, test, n=2000)
    assert distance.n == 2000 and seen == [1000] * 4  # bounded memory
    assert distance(train[:2000]) < 0.2 * distance(train[:2000] + 0.5)
    assert math.isclose(distance(tg.tensor(train[:2000])), distance(train[:2000]))
    assert distance.floor == evaluate.FeatureDistance(features, train, test, n=2000).floor  # the seed is fixed
    everything = evaluate.FeatureDistance(features, train, test)
    assert everything.n == 2500
    assert everything(train[:2500]) == evaluate.frechet_distance(2 * train[:2500], 2 * test)
    with pytest.raises(ValueError, match=r"2,000 samples are expected, .*, got 1,999"):
        distance(train[:1999])


def test_independent_pixels_keeps_each_pixel_and_drops_every_dependence():
    x = rng.standard_normal((1000, 1)).astype(np.float32).repeat(2, 1) * [1, 3]
    drawn = evaluate.independent_pixels(x, 20_000, generator=0)
    np.testing.assert_allclose(drawn.std(0), x.std(0), rtol=0.05)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05  # it was 1; the standard error is 0.007
    assert np.isin(drawn, x).all()
