"""Reconstruction errors and PCA, against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.evaluate import blob
from tinygen import evaluate

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
