"""Corruptions do what their formula says, keep dtype and input, and belong to their seed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen
from tinygen.data import gaussian_noise, masking_noise, salt_and_pepper

N = 10_000
x = np.random.default_rng(0).uniform(0.1, 0.9, (100, 100)).astype(np.float32)
corruptions = pytest.mark.parametrize("corrupt", [masking_noise, gaussian_noise, salt_and_pepper])
fractions = st.floats(0, 1)
seeds = st.integers(0, 2**32 - 1)


def six_sigma(p):
    """How far the share of successes among N may be from p: six standard deviations of the binomial distribution."""
    return 6 * math.sqrt(p * (1 - p) / N) + 1e-12


@given(fraction=fractions, seed=seeds)
def test_masking_sets_a_fraction_to_zero_and_leaves_the_rest(fraction, seed):
    y = masking_noise(x, fraction, seed)
    np.testing.assert_array_equal(y[y != 0], x[y != 0])
    assert abs((y == 0).mean() - fraction) <= six_sigma(fraction)


@given(fraction=fractions, seed=seeds)
def test_salt_and_pepper_replaces_a_fraction_by_zeros_and_ones(fraction, seed):
    y = salt_and_pepper(x, fraction, seed)
    kept = (y != 0) & (y != 1)
    np.testing.assert_array_equal(y[kept], x[kept])
    for value in (0, 1):
        assert abs((y == value).mean() - fraction / 2) <= six_sigma(fraction / 2)


@given(std=st.floats(0.01, 10), seed=seeds)
def test_gaussian_noise_has_its_mean_and_standard_deviation(std, seed):
    noise = gaussian_noise(x, std, seed).astype(np.float64) - x
    assert abs(noise.mean()) <= 6 * std / math.sqrt(N)
    assert abs(noise.var() / std**2 - 1) <= 6 * math.sqrt(2 / N)  # a sample variance varies by 2/N


def test_the_extremes():
    np.testing.assert_array_equal(masking_noise(x, 0.0, 0), x)
    np.testing.assert_array_equal(masking_noise(x, 1.0, 0), 0 * x)
    np.testing.assert_array_equal(salt_and_pepper(x, 0.0, 0), x)
    assert set(np.unique(salt_and_pepper(x, 1.0, 0))) == {0.0, 1.0}
    np.testing.assert_array_equal(gaussian_noise(x, 0.0, 0), x)


@corruptions
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_kept_input_kept_seed_decides(corrupt, dtype):
    clean = x.astype(dtype)
    before = clean.copy()
    y = corrupt(clean, 0.3, 1)
    assert y.dtype == dtype and y.shape == x.shape
    np.testing.assert_array_equal(clean, before)
    np.testing.assert_array_equal(y, corrupt(clean, 0.3, np.random.default_rng(1)))
    assert (y != corrupt(clean, 0.3, 2)).any()


@corruptions
def test_a_tensor_gives_the_same_values_as_a_tensor_without_a_graph(corrupt):
    t = tinygen.tensor(x, requires_grad=True)
    y = corrupt(t, 0.3, 1)
    assert isinstance(y, tinygen.Tensor) and not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), corrupt(x, 0.3, 1))
    tinygen.manual_seed(5)
    first = corrupt(t, 0.3)
    tinygen.manual_seed(5)
    np.testing.assert_array_equal(first.numpy(), corrupt(t, 0.3).numpy())


@corruptions
@pytest.mark.parametrize("amount", [-0.1, float("nan"), float("inf")])
def test_an_amount_that_makes_no_sense_is_refused(corrupt, amount):
    with pytest.raises(ValueError, match=f"{corrupt.__name__}: .* got {amount}"):
        corrupt(x, amount)


@corruptions
@pytest.mark.parametrize("bad", [np.arange(3), [0.5], tinygen.arange(3)])
def test_only_arrays_of_floats(corrupt, bad):
    with pytest.raises(TypeError, match=corrupt.__name__):
        corrupt(bad)
