"""Bounds on log p(x), held against a model whose p(x) is known: a linear decoder with Gaussian noise."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tests.linear_gaussian import LinearGaussian
from tinygen import evaluate
from tinygen.evaluate import bounds
from tinygen.testing import strategies as ts


@given(seed=ts.seeds(), n=st.integers(1, 5), ks=st.sampled_from([(1,), (1, 3), (2, 6), (1, 2, 4, 8)]))
def test_with_the_exact_posterior_every_bound_is_exact(seed, n, ks):
    model = LinearGaussian(seed)
    x = model.images(n, seed)
    exact = np.atleast_1d(model.marginal.logpdf(x))
    found = evaluate.importance_weighted_bounds(model, x, ks, seed)
    assert tuple(found) == ks
    for k, bound in found.items():
        np.testing.assert_allclose(bound.per_image, exact, atol=1e-10)
        assert bound.k == k and math.isclose(bound.value, exact.mean(), abs_tol=1e-10)
    nll = evaluate.importance_sampled_nll(model, x, 7, seed)
    np.testing.assert_allclose(nll.per_image, -exact, atol=1e-10)
    assert math.isclose(nll.effective_samples, 7)
    np.testing.assert_allclose(evaluate.elbo(model, x, 2, seed).per_image, exact, atol=1e-10)


@given(seed=ts.seeds(), n=st.integers(1, 5), ks=st.sampled_from([(1, 5), (1, 2, 6, 12), (5, 10), (1, 5, 50)]))
def test_bounds_of_the_same_draws_rise_with_k_on_every_image(seed, n, ks):
    """The logarithm of a mean is at least the mean of the logarithms of its parts: no luck with draws can change it."""
    model = LinearGaussian(seed, error=1.0)
    found = evaluate.importance_weighted_bounds(model, model.images(n, seed), ks, seed)
    for low, high in pairwise(ks):
        assert (found[low].per_image <= found[high].per_image + 1e-10).all()  # rounding, where all weights are equal


@pytest.mark.parametrize("seed", range(3))
def test_bounds_are_below_the_likelihood_and_reach_it(seed):
    model = LinearGaussian(seed, error=0.3)
    x = np.repeat(model.images(3, seed), 2000, axis=0)
    exact = model.marginal.logpdf(x).mean()
    found = evaluate.importance_weighted_bounds(model, x, (1, 4, 64), seed)
    gaps = [exact - bound.value for bound in found.values()]
    errors = [bound.per_image.reshape(3, 2000).std(axis=1).max() / math.sqrt(6000) for bound in found.values()]
    assert all(gap > -4.5 * error for gap, error in zip(gaps, errors, strict=True))
    assert gaps[0] > 4.5 * errors[0] and gaps[2] < gaps[0] / 5  # a gap that is seen, and that closes
    # the gap of the ELBO is KL(q ‖ posterior), a formula of two Gaussians
    right = LinearGaussian(seed)
    with tg.no_grad():
        (mu, logvar), (mu_p, logvar_p) = model.encode(tg.tensor(x)), right.encode(tg.tensor(x))
        kl = 0.5 * (logvar_p - logvar - 1 + ((mu - mu_p) ** 2 + logvar.exp()) * (-logvar_p).exp()).sum(1).mean().item()
    assert abs(gaps[0] - kl) < 4.5 * errors[0]


class Given:
    """A model whose log-weights are a table, (draws, images), dealt out one after the other."""

    def __init__(self, table):
        self.table, self.calls, self.seen = np.asarray(table, float), [], {}

    def log_weights(self, x, k, generator=None):
        self.calls.append((k, len(x)))
        columns = x.numpy()[:, 0].astype(int)
        start = self.seen.get(columns[0], 0)
        self.seen[columns[0]] = start + k
        return tg.tensor(self.table[start : start + k, columns])


@given(seed=ts.seeds(), n=st.integers(1, 7), k=st.integers(1, 9), draws=st.integers(1, 12))
def test_numbers_are_those_of_the_formulas_in_whatever_parts_they_are_computed(seed, n, k, draws):
    table = 3 * np.random.default_rng(seed).standard_normal((k, n))
    x = np.arange(n, dtype=np.float32)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "DRAWS", draws)
        models = [Given(table) for _ in range(3)]
        elbo = evaluate.elbo(models[0], x, k)
        bound = evaluate.importance_weighted_bound(models[1], x, k)
        nll = evaluate.importance_sampled_nll(models[2], x, k)
    assert all(rows * count <= draws for model in models for count, rows in model.calls)
    w = np.exp(table)
    np.testing.assert_allclose(elbo.per_image, table.mean(0))
    np.testing.assert_allclose(bound.per_image, np.log(w.mean(0)), atol=1e-12)
    np.testing.assert_allclose(nll.per_image, -np.log(w.mean(0)), atol=1e-12)
    assert math.isclose(nll.effective_samples, (w.sum(0) ** 2 / (w**2).sum(0)).mean()) and nll.samples == k
    for found in (elbo, bound, nll):
        assert math.isclose(found.value, found.per_image.mean(), abs_tol=1e-12)
        expected = stats.sem(found.per_image) if n > 1 else math.nan
        np.testing.assert_allclose(found.error, expected)


def test_extreme_weights_neither_overflow_nor_vanish():
    nll = evaluate.importance_sampled_nll(Given([[-5000.0, 5000.0], [-5000.0, 4000.0]]), np.array([[0.0], [1.0]]), 2)
    np.testing.assert_allclose(nll.per_image, [5000.0, -5000.0 + math.log(2)])
    assert math.isclose(nll.effective_samples, (2 + 1) / 2)
    impossible = evaluate.importance_sampled_nll(Given([[-math.inf], [-math.inf]]), np.zeros((1, 1)), 2)
    assert impossible.value == math.inf and impossible.effective_samples == 0 and math.isnan(impossible.error)


def test_draws_are_seedable_and_nothing_is_recorded(device):
    model = LinearGaussian(0, error=0.5).to(device)
    x = tg.tensor(model.images(4, 0), device=device)
    recording = []

    def log_weights(*args):
        w = LinearGaussian.log_weights(model, *args)
        recording.append(w.requires_grad)
        return w

    def values(generator):
        return evaluate.importance_weighted_bound(model, x, 3, generator).value

    model.log_weights = log_weights
    assert values(1) == values(1) != values(2)
    generator = tg.Generator(device).manual_seed(1)
    assert values(generator) == values(1) != values(generator)  # a Generator goes on
    tg.manual_seed(5)
    first = values(None)
    tg.manual_seed(5)
    assert values(None) == first
    assert tg.is_grad_enabled() and recording and not any(recording)


def test_errors_say_what_to_do():
    model, x = LinearGaussian(0), np.zeros((3, 4))
    for ks in ((), (0, 5), (2, 5)):
        with pytest.raises(ValueError, match=r"ks >= 1 that divide the largest.*\(1, 5, 50\) will do"):
            evaluate.importance_weighted_bounds(model, x, ks)
    with pytest.raises(ValueError, match="at least one image and one draw are expected, got 0 images and 5 draws"):
        evaluate.importance_weighted_bound(model, x[:0], 5)
    with pytest.raises(ValueError, match="got 3 images and 0 draws"):
        evaluate.importance_sampled_nll(model, x, 0)
    with pytest.raises(ValueError, match=r"Given.log_weights: 1 of 2 log-weights are NaN or \+inf"):
        evaluate.elbo(Given([[0.0, math.nan]]), np.array([[0.0], [1.0]]))
    model.log_weights = lambda x, k, generator: tg.zeros(len(x), k)
    with pytest.raises(ValueError, match=r"LinearGaussian.log_weights: .*\(2, 3\), got shape \(3, 2\)"):
        evaluate.importance_weighted_bound(model, x, 2)
