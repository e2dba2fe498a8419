"""Likelihoods, their units and trivial models: against scipy, entropies, and the published constants of MNIST."""

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tests.evaluate import blob
from tinygen import data, evaluate

needs_data = pytest.mark.skipif(
    not os.environ.get("TINYGEN_DATA"), reason="TINYGEN_DATA is not set: no folder with the real data sets"
)

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


@given(dims=st.integers(1, 3000), levels=st.integers(2, 65536), bits=st.floats(0, 20))
def test_bits_and_nats_are_inverse_to_each_other(dims, levels, bits):
    nats = evaluate.bits_to_nats(bits, dims, levels)
    if nats > -dims * math.log(levels) * (1 - 1e-9):  # rounding must not make it negative
        assert math.isclose(evaluate.bits_per_dim(nats, dims, levels), bits, rel_tol=1e-9, abs_tol=1e-9)


@given(dims=st.integers(1, 3000), seed=st.integers(0, 99))
def test_bits_per_dim_of_a_histogram_density_are_the_bits_of_its_code(dims, seed):
    """The density that is constant on the 256 bins has 256 p(k) on bin k; a code by p takes -log2 p(k) bits."""
    r = np.random.default_rng(seed)
    p = r.dirichlet(np.ones(256))
    k = r.integers(0, 256, (5, dims))
    nll = -np.log(256 * p[k]).sum(axis=1).mean()
    assert math.isclose(evaluate.bits_per_dim(nll, dims), -np.log2(p[k]).mean(), rel_tol=1e-9)


def test_bits_per_dim_of_known_models():
    assert math.isclose(evaluate.bits_per_dim(0.0, 784), 8)  # uniform
    assert abs(evaluate.bits_per_dim(-1980.50, 784) - 4.36) < 0.005  # NICE, by its paper
    assert evaluate.bits_per_dim(math.inf, 784) == math.inf


@pytest.mark.parametrize("nll", [-784 * math.log(256) - 1, -math.inf, math.nan])
def test_fewer_than_no_bits_are_a_bug_and_the_error_says_which(nll):
    with pytest.raises(ValueError, match=r"(?s)bits_per_dim: NLL .*dequantised.*log-determinant.*nats"):
        evaluate.bits_per_dim(nll, 784)


def test_units_of_nothing_are_refused():
    for call in (evaluate.bits_per_dim, evaluate.bits_to_nats):
        with pytest.raises(ValueError, match=rf"{call.__name__}: dims >= 1 and levels >= 2.*dims=0"):
            call(1.0, 0)
    with pytest.raises(ValueError, match=r"bits_to_nats: bits/dim >= 0 .* got -1"):
        evaluate.bits_to_nats(-1, 784)


def test_histogram_bits_by_hand():
    train = np.array([[0, 3], [0, 1], [2, 1]], np.uint8)
    test = np.array([[0, 1], [2, 2]], np.uint8)
    # one imagined image of each of four values: pixel 0 has counts 3 1 2 1 of 7, pixel 1 has 1 3 1 2 of 7
    expected = -np.log2(np.array([3, 2, 3, 1]) / 7).mean()
    assert math.isclose(evaluate.histogram_bits(train, test, levels=4), expected)
    shared = np.array([2, 2, 1, 1]) + 1  # of 10
    expected = -np.log2(shared[[0, 2, 1, 2]] / 10).mean()
    assert math.isclose(evaluate.histogram_bits(train, test, shared=True, levels=4), expected)
    few = evaluate.histogram_bits(train, test[:1], pseudocount=1e-9, levels=4)
    assert math.isclose(few, -math.log2(2 / 3), rel_tol=1e-6)


@given(levels=st.sampled_from([2, 17, 256]), n=st.integers(1, 2500), seed=st.integers(0, 99))
def test_histogram_bits_takes_bytes_floats_and_tensors_alike(levels, n, seed):
    r = np.random.default_rng(seed)
    k = r.integers(0, levels, (n, 3))
    images = (k / (levels - 1)).astype(np.float32)
    expected = evaluate.histogram_bits(k.astype(np.uint8), k[:1].astype(np.uint8), levels=levels)
    assert evaluate.histogram_bits(images, tg.tensor(images[:1]), levels=levels) == expected
    assert evaluate.histogram_bits(k / (levels - 1), images[:1], levels=levels) == expected


def test_histogram_bits_refuses_what_are_no_grey_values():
    k = rng.integers(0, 256, (20, 3))
    for bad in ((k + rng.random(k.shape)) / 256, -k / 255, k / 254, k + 1000, k * np.nan):
        with pytest.raises(ValueError, match=r"histogram_bits: grey values 0 to 255, or the floats k / 255"):
            evaluate.histogram_bits(k, bad)
    with pytest.raises(ValueError, match=r"images of one size are expected, got 3 and 2"):
        evaluate.histogram_bits(k, k[:, :2])
    with pytest.raises(ValueError, match=r"a pseudocount > 0 is expected, got 0"):
        evaluate.histogram_bits(k, k, pseudocount=0)


@needs_data
def test_histogram_bits_of_mnist_are_the_known_ones():
    train, test = data.mnist()
    assert round(evaluate.histogram_bits(train.flat, test.flat), 3) == 1.690
    assert round(evaluate.histogram_bits(train.flat, test.flat, shared=True), 3) == 1.967


@given(n=st.integers(1, 30), batch_size=st.integers(1, 40), seed=st.integers(0, 99))
def test_negative_log_likelihood_is_the_mean_with_its_standard_error(n, batch_size, seed):
    x = blob(n, 3, seed)
    oracle = -stats.multivariate_normal(np.zeros(3)).logpdf(x).reshape(n)

    def log_prob(batch):
        return -(batch**2).sum(1) / 2 - 1.5 * math.log(2 * math.pi)

    found = evaluate.negative_log_likelihood(log_prob, x, batch_size)
    np.testing.assert_allclose(found.per_image, oracle, rtol=1e-5)  # float32
    assert math.isclose(found.value, oracle.mean(), rel_tol=1e-5)
    if n > 1:
        assert math.isclose(found.error, stats.sem(oracle), rel_tol=1e-3, abs_tol=1e-6)
    else:
        assert math.isnan(found.error)


def test_negative_log_likelihood_records_nothing_and_works_where_the_data_are(device):
    weight = tg.ones(2, device=device, requires_grad=True)
    seen = []

    def log_prob(batch):
        out = (batch * weight).sum(1)
        seen.append((batch.device, len(batch), out.requires_grad))
        return out

    found = evaluate.negative_log_likelihood(log_prob, tg.ones(5, 2, device=device), 2)
    assert found.value == -2 and found.error == 0
    assert seen == [(weight.device, n, False) for n in (2, 2, 1)]
    x = np.ones((3, 2), np.float32)
    assert evaluate.negative_log_likelihood(log_prob, x, device=device).value == -2


def test_negative_log_likelihood_of_impossible_images_is_infinite_and_of_nonsense_refused():
    x = np.ones((4, 2), np.float32)
    assert evaluate.negative_log_likelihood(lambda b: b[:, 0] - math.inf, x).value == math.inf
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="4 of 4 log-probabilities are NaN or"):
            evaluate.negative_log_likelihood(lambda b, v=value: b[:, 0] + v, x)
    with pytest.raises(ValueError, match=r"one number per image, shape \(4,\), .* returned shape \(4, 2\)"):
        evaluate.negative_log_likelihood(lambda b: b, x)
    with pytest.raises(ValueError, match="at least one image"):
        evaluate.negative_log_likelihood(lambda b: b.sum(1), x[:0])


@given(n=st.integers(2, 20), d=st.integers(1, 5), seed=st.integers(0, 99))
def test_independent_columns_are_gaussians_of_one_dimension(n, d, seed):
    """The negative log-density of independent columns is the sum over the columns."""
    rng = np.random.default_rng(seed)
    train, test = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    columns = sum(stats.norm(train[:, j].mean(), train[:, j].std()).logpdf(test[:, j]) for j in range(d))
    assert math.isclose(evaluate.gaussian_nll(train, test, full=False), -columns.mean(), rel_tol=1e-9)
    if n > 5 * d:
        each = sum(evaluate.gaussian_nll(train[:, [j]], test[:, [j]]) for j in range(d))
        assert math.isclose(evaluate.gaussian_nll(train, test, full=False), each, rel_tol=1e-9)


def test_a_constant_column_has_no_density():
    x = np.column_stack([np.full(9, 0.1), np.arange(9.0)])
    with pytest.raises(np.linalg.LinAlgError, match="1 of 2 columns are constant"):
        evaluate.gaussian_nll(x, x, full=False)
