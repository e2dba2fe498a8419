"""Scores in features: the Fréchet distance against closed forms and scipy, precision and recall against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

import tinygen as tg
from tests.evaluate import blob
from tinygen import evaluate


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


def inside(points, cloud, k):
    """Whether each point is within the k-neighbour ball of some point of the cloud, by scikit-learn."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    found = neighbors.NearestNeighbors(algorithm="kd_tree").fit(cloud)
    radii = found.kneighbors(n_neighbors=k)[0][:, -1]  # without an argument: of the cloud itself, each without itself
    distances = neighbors.NearestNeighbors(algorithm="kd_tree").fit(cloud).kneighbors(points, len(cloud))
    radii_there = radii[distances[1]]
    return (distances[0] <= radii_there * (1 + 1e-9)).any(axis=1)


@given(d=st.integers(1, 6), n=st.integers(6, 60), m=st.integers(6, 60), k=st.integers(1, 5), seed=st.integers(0, 999))
def test_precision_and_recall_are_those_by_scikit_learn(d, n, m, k, seed):
    real, fake = blob(n, d, seed).astype(np.float64), blob(m, d, seed + 1).astype(np.float64)
    found = evaluate.precision_recall(real, fake, k)
    assert found.precision == inside(fake, real, k).mean()
    assert found.recall == inside(real, fake, k).mean()


@given(d=st.integers(1, 5), n=st.integers(5, 50), k=st.integers(1, 4), seed=st.integers(0, 999))
def test_precision_and_recall_swap_with_the_clouds_grow_with_k_and_do_not_depend_on_the_frame(d, n, k, seed):
    r = np.random.default_rng(seed)
    real, fake = r.standard_normal((n, d)), r.standard_normal((n + 3, d)) + 0.5
    found, swapped = evaluate.precision_recall(real, fake, k), evaluate.precision_recall(fake, real, k)
    assert (found.precision, found.recall) == (swapped.recall, swapped.precision)
    q, _ = np.linalg.qr(r.standard_normal((d, d)))
    assert evaluate.precision_recall(3 * real @ q + 1, 3 * fake @ q + 1, k) == found
    order = r.permutation(n)
    assert evaluate.precision_recall(real[order], fake, k) == found
    wider = evaluate.precision_recall(real, fake, min(k + 1, n - 1))
    assert wider.precision >= found.precision and wider.recall >= found.recall
    same = evaluate.precision_recall(real, real, k)
    assert (same.precision, same.recall) == (1, 1)


def test_precision_and_recall_tell_missing_modes_from_wrong_samples():
    """Two far modes; one mode only has all the precision and half of the recall, half noise the other way round."""
    r = np.random.default_rng(0)
    left, right, nowhere = (r.standard_normal((1300, 2)) + [at, 0] for at in (-50, 50, 5000))
    real = np.concatenate([left[:650], right[:650]])
    dropped = evaluate.precision_recall(real, r.standard_normal((1300, 2)) - [50, 0])
    assert dropped.precision > 0.9 and 0.45 < dropped.recall <= 0.5
    noisy = evaluate.precision_recall(
        real, np.concatenate([left[650:], right[650:], 1e4 * r.random((1300, 1)) + nowhere])
    )
    assert 0.45 < noisy.precision <= 0.5 and noisy.recall > 0.9


def test_precision_alone_is_had_by_points_that_are_all_alike_near_an_outlier():
    """Why it is never printed without recall: the outlier's ball reaches over everything."""
    r = np.random.default_rng(0)
    real = np.concatenate([r.standard_normal((50, 2)), [[100.0, 0.0]]])
    alike = [30, 60] + 0.01 * r.standard_normal((51, 2))
    found = evaluate.precision_recall(real, alike)
    assert (found.precision, found.recall) == (1, 0)


def test_precision_and_recall_of_duplicates_have_balls_without_size():
    real, fake = np.repeat([[0.1, 0.7], [1.3, 2.0]], 10, axis=0), np.repeat([[0.1, 0.7], [1.3, 2.1]], 10, axis=0)
    assert evaluate.precision_recall(real, fake) == evaluate.PrecisionRecall(0.5, 0.5)


@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (blob(9, 2), blob(9, 3), 3, "features of one width are expected, got 2 and 3"),
        (blob(9, 2), blob(9, 2), 0, "1 <= k < the number of points is expected, got k=0 and 9 real points"),
        (blob(9, 2), blob(3, 2), 3, "got k=3 and 3 generated points"),
        (blob(9, 2), blob(9, 2) * np.nan, 3, "9 of the 9 rows of generated hold a NaN"),
    ],
)
def test_precision_and_recall_of_what_makes_no_sense(real, fake, k, message):
    with pytest.raises(ValueError, match=f"precision_recall: .*{message}"):
        evaluate.precision_recall(real, fake, k)


def test_feature_metrics_are_the_three_scores_and_those_of_real_images():
    seen = []

    def features(x):
        seen.append(len(x))
        return 2 * x

    both = blob(2600, 4, 1)
    train, test, samples = both[:1300], both[1300:], blob(1200, 4, 2)
    metrics = evaluate.FeatureMetrics(features, train, test, n=1200, k=4)
    assert metrics.n == 1200 and seen == [1000, 200]  # bounded memory
    everything = evaluate.FeatureMetrics(features, train[:1200], test[:1200])
    found = everything(samples)
    pr = evaluate.precision_recall(2 * test[:1200], 2 * samples)
    assert found == evaluate.FeatureScores(
        evaluate.frechet_distance(2 * samples, 2 * test[:1200]), pr.precision, pr.recall
    )
    assert metrics.real.frechet == evaluate.FeatureDistance(features, train, test, n=1200).floor  # the same draw
    assert metrics.real.precision > 0.8 and metrics(samples).frechet > metrics.real.frechet
    assert metrics(tg.tensor(samples)).precision == metrics(samples).precision
    with pytest.raises(ValueError, match=r"FeatureMetrics: 1,200 samples are expected, .*, got 1,199"):
        metrics(samples[:1199])
    with pytest.raises(ValueError, match=r"FeatureMetrics: 1 <= k < .* got k=5 and 5 test points"):
        evaluate.FeatureMetrics(features, train, test, n=5, k=5)
