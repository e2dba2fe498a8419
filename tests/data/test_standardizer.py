"""The standardiser: moments, the way back, and densities in other units."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tinygen.data import Standardizer

EXPONENTS = st.integers(-100, 100)


@given(st.integers(2, 30), st.integers(1, 5), EXPONENTS, st.integers(0, 99))
def test_the_training_rows_get_mean_0_and_deviation_1_in_whatever_unit(n, columns, exponent, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, columns)) + rng.standard_normal(columns)) * 10.0**exponent
    standardize = Standardizer.fit(x)
    u = standardize(x)
    assert u.dtype == np.float32 and u.shape == x.shape
    # float32: each value is rounded by 6e-8 of its size, which is below sqrt(n)
    np.testing.assert_allclose(u.mean(0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(u.std(0, dtype=np.float64), 1, rtol=1e-6)
    size = np.abs(x).max(0) + standardize.scale
    assert (np.abs(standardize.inverse(u) - x) <= 1e-6 * size).all()


@given(st.integers(1, 5), st.integers(-3, 3), st.integers(0, 99))
def test_a_density_over_u_is_one_over_x(columns, exponent, seed):
    """The oracle: if u ~ N(0, I), then x = m + s u ~ N(m, diag s²), whose density SciPy has."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((20, columns)) * 10.0**exponent
    standardize = Standardizer.fit(x)
    of_u = stats.norm.logpdf((x - standardize.mean) / standardize.scale).sum(1)
    expected = stats.norm(standardize.mean, standardize.scale).logpdf(x).sum(1)
    np.testing.assert_allclose(of_u + standardize.log_det, expected, rtol=1e-9, atol=1e-9)


@given(st.floats(-1e300, 1e300), st.integers(1, 9))
def test_a_constant_column_keeps_its_unit(value, n):
    standardize = Standardizer.fit(np.full((n, 2), value))
    assert (standardize.scale == 1).all() and standardize.log_det == 0
    assert math.isfinite(np.abs(standardize(np.zeros((1, 2)) + value)).max())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(3), r"rows \(n, columns\) are expected, got an array of shape \(3,\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        ([[1.0, math.nan], [2.0, 3.0]], "1 of 2 rows have values that are NaN"),
        ([[1.0], [math.inf]], "1 of 2 rows"),
    ],
)
def test_what_has_no_moments_is_refused(x, message):
    with pytest.raises(ValueError, match=f"Standardizer.fit: .*{message}"):
        Standardizer.fit(x)
