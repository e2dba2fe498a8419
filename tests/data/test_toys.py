"""The densities in the plane: samples, density and entropy belong together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from tinygen import data

noises = st.floats(0.02, 1.0)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(("noise", "floor"), [(0.05, 0.2895), (0.1, 1.0084), (0.2, 1.6742)])
def test_two_moons_entropy_is_the_known_floor(noise, floor):
    """The levels were found by another method, to ±0.005 nats."""
    assert data.two_moons_entropy(noise) == pytest.approx(floor, abs=0.005)


@given(noise=noises, seed=seeds)
def test_two_moons_entropy_is_the_expected_surprise_of_its_samples(noise, seed):
    surprise = -data.two_moons_log_prob(data.two_moons(2000, noise, seed), noise)
    standard_error = surprise.std() / np.sqrt(len(surprise))
    assert abs(surprise.mean() - data.two_moons_entropy(noise)) < 6 * standard_error


@given(noise=st.floats(0.05, 0.5))
def test_two_moons_density_integrates_to_one(noise):
    step = noise / 2
    x, y = np.arange(-1 - 8 * noise, 2 + 8 * noise, step), np.arange(-0.5 - 8 * noise, 1 + 8 * noise, step)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    assert np.exp(data.two_moons_log_prob(grid, noise)).sum() * step**2 == pytest.approx(1, abs=1e-6)


def test_two_moons_log_prob_far_away_is_finite():
    assert np.isfinite(data.two_moons_log_prob(np.array([[1e3, -1e3]]), 0.05)).all()


def test_two_moons_without_noise_lie_on_the_arcs():
    x, y = data.two_moons(500, 0.0, 0).astype(np.float64).T
    upper = np.isclose(np.hypot(x, y), 1, atol=1e-6) & (y >= -1e-6)
    lower = np.isclose(np.hypot(x - 1, y - 0.5), 1, atol=1e-6) & (y <= 0.5 + 1e-6)
    assert (upper | lower).all()
    assert 150 < upper.sum() < 350  # binomial, 9 standard deviations


@pytest.mark.parametrize(
    "sample",
    [
        lambda n, g: data.two_moons(n, 0.1, g),
        lambda n, g: data.gaussian_mixture(n, [[0, 0], [1, 1]], generator=g),
        lambda n, g: data.ring(n, generator=g),
        lambda n, g: data.rings(n, generator=g),
        lambda n, g: data.grid(n, generator=g),
    ],
)
def test_samples_are_float32_and_belong_to_their_seed(sample):
    assert sample(0, 0).shape == (0, 2)
    x = sample(50, 7)
    assert x.shape == (50, 2) and x.dtype == np.float32
    np.testing.assert_array_equal(x, sample(50, 7))
    assert (x != sample(50, 8)).any()
    stream = np.random.default_rng(7)
    np.testing.assert_array_equal(sample(50, stream), x)
    assert (sample(50, stream) != x).any(), "a generator is advanced"


def test_gaussian_mixture_follows_its_weights():
    x = data.gaussian_mixture(4000, [[-1.0], [1.0], [5.0]], std=0.01, weights=[1, 3, 0], generator=0)[:, 0]
    assert x.max() < 2
    share = (x > 0).mean()
    assert abs(share - 0.75) < 6 * np.sqrt(0.75 * 0.25 / 4000)


def test_ring_has_its_modes_on_a_circle():
    means = data.ring_means(5, radius=2)
    np.testing.assert_allclose(np.hypot(*means.T), 2)
    x = data.ring(1000, modes=5, radius=2, std=0.01, generator=0)
    distance = np.linalg.norm(x[:, None] - means, axis=-1)
    assert distance.min(axis=1).max() < 0.1
    assert set(distance.argmin(axis=1)) == set(range(5))


def test_grid_has_its_modes_on_a_square():
    means = data.grid_means(3, spacing=2)
    assert sorted(map(tuple, means)) == [(x, y) for x in (-2, 0, 2) for y in (-2, 0, 2)]
    x = data.grid(2000, 3, 2, std=0.01, generator=0)
    distance = np.linalg.norm(x[:, None] - means, axis=-1)
    assert distance.min(axis=1).max() < 0.1
    assert set(distance.argmin(axis=1)) == set(range(9))


@given(k=st.integers(1, 5), d=st.integers(1, 3), std=st.floats(0.05, 2), seed=st.integers(0, 99))
def test_gaussian_mixture_log_prob_is_the_sum_of_scipys_densities(k, d, std, seed):
    rng = np.random.default_rng(seed)
    means, weights = rng.standard_normal((k, d)), rng.random(k)
    points = rng.standard_normal((30, d))
    parts = [stats.multivariate_normal(m, std**2).logpdf(points) for m in means]
    expected = logsumexp(np.stack(parts), axis=0, b=(weights / weights.sum())[:, None])
    found = data.gaussian_mixture_log_prob(points, means, std, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_gaussian_mixture_log_prob_is_the_density_of_grid():
    """At the modes' distance the entropy of the mixture is that of the choice and that of one Gaussian."""
    surprise = -data.gaussian_mixture_log_prob(data.grid(4000, generator=0), data.grid_means(), 0.05)
    entropy = np.log(25) + np.log(2 * np.pi * np.e * 0.05**2)
    assert abs(surprise.mean() - entropy) < 5 / np.sqrt(4000)  # half the chi-square of 2 has standard deviation 1
    assert np.isfinite(data.gaussian_mixture_log_prob(np.full((1, 2), 1e4), data.grid_means(), 0.05)).all()


def test_rings_lie_at_their_radii():
    radius = np.hypot(*data.rings(300, radii=(1.0, 3.0), noise=0, generator=0).T)
    assert set(np.round(radius, 5)) == {1.0, 3.0}


@pytest.mark.parametrize(
    "call",
    [
        lambda: data.two_moons(-1),
        lambda: data.two_moons(1, noise=-0.1),
        lambda: data.two_moons(1, noise=float("nan")),
        lambda: data.two_moons_entropy(0.0),
        lambda: data.two_moons_log_prob(np.zeros((3, 3))),
        lambda: data.gaussian_mixture(1, [0.0, 1.0]),
        lambda: data.gaussian_mixture(1, [[0.0], [1.0]], weights=[1]),
        lambda: data.gaussian_mixture(1, [[0.0], [1.0]], weights=[1, -1]),
        lambda: data.gaussian_mixture_log_prob(np.zeros((1, 2)), [[0.0]]),
        lambda: data.gaussian_mixture_log_prob(np.zeros((1, 1)), [[0.0]], std=0),
        lambda: data.gaussian_mixture_log_prob(np.zeros((1, 1)), [[0.0]], weights=[-1]),
        lambda: data.ring(1, modes=0),
        lambda: data.grid(1, side=0),
        lambda: data.rings(1, radii=()),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_a_generator_must_be_one():
    with pytest.raises(TypeError, match="generator: "):
        data.two_moons(1, 0.1, "seed")
