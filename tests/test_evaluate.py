"""evaluate: each number against a closed form, a second way to compute it, or the published constants of MNIST."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats

import tinygen as tg
from tinygen import data, evaluate

rng = np.random.default_rng(0)


def blob(n=400, d=5, seed=0):
    """Correlated Gaussian points with a mean, float32."""
    r = np.random.default_rng(seed)
    return (r.standard_normal((n, d)) @ r.standard_normal((d, d)) + r.standard_normal(d)).astype(np.float32)


@given(d=st.integers(2, 6), k=st.integers(1, 6), seed=st.integers(0, 99))
def test_pca_error_is_the_sum_of_the_dropped_eigenvalues(d, k, seed):
    k = min(k, d)
    x = blob(100, d, seed)
    error = evaluate.squared_error(evaluate.PCA.fit(x, k).reconstruct, x)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T.astype(np.float64), bias=True))
    assert math.isclose(error, eigenvalues[: d - k].sum(), rel_tol=1e-5, abs_tol=1e-6 * eigenvalues.sum())


def test_no_other_projection_of_the_same_rank_is_better_than_pca():
    x = blob()
    best = evaluate.squared_error(evaluate.PCA.fit(x, 2).reconstruct, x)
    for _ in range(20):
        q, _ = np.linalg.qr(rng.standard_normal((5, 2)))
        assert evaluate.squared_error(lambda b, q=q: (b - x.mean(0)) @ q @ q.T + x.mean(0), x) >= best


def test_pca_components_are_orthonormal_and_codes_uncorrelated():
    x = blob()
    pca = evaluate.PCA.fit(x, 3)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cov(pca.encode(x).T, bias=True), np.diag(pca.variances), atol=1e-5)
    with pytest.raises(ValueError, match=r"PCA.fit: 1 <= components <= 5"):
        evaluate.PCA.fit(x, 6)


def test_squared_error_sums_over_pixels_and_averages_over_images():
    x = np.zeros((2500, 3), np.float32)  # more than one chunk
    assert evaluate.squared_error(lambda b: b + 2, x) == 12
    assert evaluate.squared_error(lambda b: b + 2, tg.tensor(x)) == 12


def test_variance_is_the_error_of_predicting_the_mean():
    train, test = blob(seed=1), blob(seed=2)
    assert math.isclose(
        evaluate.variance(train, test), evaluate.squared_error(lambda b: 0 * b + train.mean(0), test), rel_tol=1e-5
    )


def test_principal_angles_of_known_planes():
    e = np.eye(4)
    tilt = math.radians(30)
    plane = np.stack([e[0], math.cos(tilt) * e[1] + math.sin(tilt) * e[2]])
    np.testing.assert_allclose(evaluate.principal_angles(e[:2], plane), [30, 0], atol=1e-6)
    mixed = np.array([[2.0, 1.0], [-1.0, 3.0]]) @ plane  # another basis of the same plane
    np.testing.assert_allclose(evaluate.principal_angles(plane, mixed), [0, 0], atol=1e-5)


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


def test_samples_have_to_be_rows():
    with pytest.raises(ValueError, match=r"train: samples as rows.*\(3,\)"):
        evaluate.gaussian_nll(np.zeros(3), np.zeros((3, 3)))
