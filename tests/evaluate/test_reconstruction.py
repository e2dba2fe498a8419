"""Reconstruction errors and PCA, against closed forms."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.evaluate import blob
from tinygen import evaluate
from tinygen.evaluate import reconstruction

rng = np.random.default_rng(0)


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


@given(
    n=st.integers(2, 12), d=st.integers(1, 12), k=st.integers(1, 12), rank=st.integers(1, 12), seed=st.integers(0, 99)
)
def test_pca_of_few_images_is_that_of_the_covariance(n, d, k, rank, seed):
    """Whichever matrix is smaller: the definition, by the eigenvectors of np.cov, is the oracle."""
    rng, k = np.random.default_rng(seed), min(k, d)
    x = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) + rng.standard_normal(d)
    pca = evaluate.PCA.fit(x, k)
    covariance = np.atleast_2d(np.cov(x.T, bias=True))
    rounding = 1e-12 * max(1.0, np.trace(covariance))  # eigenvalues are exact to some eps of the largest
    np.testing.assert_allclose(pca.variances, np.linalg.eigvalsh(covariance)[::-1][:k], atol=rounding)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(covariance @ pca.components.T, pca.components.T * pca.variances, atol=10 * rounding)


@pytest.mark.parametrize("shape", [(30, 90), (90, 30)])
def test_pca_of_large_matrices_is_the_same(shape, monkeypatch):
    """Beyond LARGEST only products with the data are taken."""
    scales = np.linspace(3, 0.1, 20)
    x = rng.standard_normal((shape[0], 20)) * scales @ np.linalg.qr(rng.standard_normal((shape[1], 20)))[0].T
    whole = evaluate.PCA.fit(x, 3)
    monkeypatch.setattr(reconstruction, "LARGEST", 8)
    again = evaluate.PCA.fit(x, 3)
    np.testing.assert_allclose(again.variances, whole.variances, rtol=1e-10)
    np.testing.assert_allclose(evaluate.principal_angles(again.components, whole.components), 0, atol=1e-5)


def test_baselines_of_wide_images_take_little_memory():
    """30 photographs of 128×128 in colour: a matrix of pixels by pixels would take 18 GiB.  Measured: 0.2 GiB in all."""
    x = np.random.default_rng(0).random((30, 3 * 128 * 128), dtype=np.float32)
    tracemalloc.start()
    pca = evaluate.PCA.fit(x, 10)
    evaluate.squared_error(pca.reconstruct, x)
    evaluate.variance(x, x)
    evaluate.bernoulli_nll(x, x)
    evaluate.bernoulli_entropy(x)
    evaluate.independent_pixels(x, 300, 0)
    with pytest.raises(np.linalg.LinAlgError, match="take more points, or full=False"):
        evaluate.gaussian_nll(x, x)
    evaluate.gaussian_nll(x, x, full=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28


def test_what_holds_a_fitted_pca_names_the_way_to_fit_one():
    for wrong in (lambda: evaluate.PCA(blob(), 5), lambda: evaluate.PCA(blob()), lambda: evaluate.PCA(5)):
        with pytest.raises(TypeError, match=r"PCA.fit\(x, components\) fits one"):
            wrong()
    with pytest.raises(ValueError, match=r"PCA.fit: finite values"):
        evaluate.PCA.fit(np.array([[0.0, np.nan], [1.0, 2.0]]), 1)


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
