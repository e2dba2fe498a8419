"""Scores in the plane: the Wasserstein distance against all permutations and scipy, modes against their definition."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tests.evaluate import blob
from tinygen import data, evaluate
from tinygen.evaluate import points


@given(n=st.integers(1, 6), d=st.integers(1, 3), p=st.sampled_from([1, 2, 3.5]), seed=st.integers(0, 999))
def test_wasserstein_is_the_cheapest_of_all_permutations(n, d, p, seed):
    a, b = blob(n, d, seed).astype(np.float64), blob(n, d, seed + 1).astype(np.float64)
    costs = (
        np.mean(np.linalg.norm(a - b[list(order)], axis=1) ** p) ** (1 / p)
        for order in itertools.permutations(range(n))
    )
    assert math.isclose(evaluate.wasserstein(a, b, p), min(costs), rel_tol=1e-12)


@given(n=st.integers(1, 60), seed=st.integers(0, 999))
def test_wasserstein_on_a_line_is_scipys(n, seed):
    a, b = np.random.default_rng(seed).standard_normal((2, n))
    assert math.isclose(evaluate.wasserstein(a[:, None], b[:, None]), stats.wasserstein_distance(a, b), rel_tol=1e-9)


@given(n=st.integers(2, 40), p=st.sampled_from([1, 2, 7]), seed=st.integers(0, 999))
def test_wasserstein_is_a_distance_that_moves_with_its_clouds(n, p, seed):
    r = np.random.default_rng(seed)
    a, b, c = r.standard_normal((3, n, 2))
    distance = evaluate.wasserstein(a, b, p)
    near = dict(rel_tol=1e-9, abs_tol=1e-12)
    assert math.isclose(evaluate.wasserstein(b[::-1], a, p), distance, **near)
    assert evaluate.wasserstein(a, a[r.permutation(n)], p) == 0
    assert evaluate.wasserstein(a, c, p) <= (distance + evaluate.wasserstein(b, c, p)) * (1 + 1e-9)
    # a cloud and itself, shifted: nothing is cheaper than to shift every point
    assert math.isclose(evaluate.wasserstein(a, a + [3, 4], p), 5, **near)
    assert math.isclose(evaluate.wasserstein(1e100 * a, 1e100 * b, p), 1e100 * distance, **near)
    assert distance <= evaluate.wasserstein(a, b, p + 1) * (1 + 1e-9)


def test_wasserstein_takes_tensors_and_refuses_what_makes_no_sense(device):
    a, b = blob(30, 2, 1), blob(30, 2, 2)
    distance = evaluate.wasserstein(a, b)
    assert evaluate.wasserstein(tg.tensor(a, device=device), tg.tensor(b, device=device)) == distance
    many = np.zeros((points.LARGEST + 1, 2), np.float32)
    for x, y, p, message in (
        (a, b[:29], 1, "as many points on both sides are expected, got 30 and 29; take 29 of each"),
        (many, many, 1, r"at most 5,000 points .* got 5,001, .* 0.2 GB; take 5,000 of them at random"),
        (a, b[:, :1], 1, r"a and b of one dimension are expected, got shapes \(30, 2\) and \(30, 1\)"),
        (a, b * np.nan, 1, "30 of the 30 rows of b hold a NaN"),
        (a, b, 0.5, "a finite p >= 1 is expected, got 0.5"),
        (a, b, math.inf, "a finite p >= 1 is expected, got inf"),
    ):
        with pytest.raises(ValueError, match=f"wasserstein: {message}"):
            evaluate.wasserstein(x, y, p)


@given(n=st.integers(1, 2500), k=st.integers(1, 9), radius=st.floats(0.01, 2), seed=st.integers(0, 999))
def test_modes_covered_by_its_definition(n, k, radius, seed):
    r = np.random.default_rng(seed)
    samples, centres = r.standard_normal((n, 2)).astype(np.float32), r.standard_normal((k, 2))
    found = evaluate.modes_covered(samples, centres, radius)
    counts = np.zeros(k, int)
    for x in samples[:200]:
        distances = [math.dist(x, c) for c in centres]
        if min(distances) <= radius:
            counts[np.argmin(distances)] += 1
    assert (evaluate.modes_covered(samples[:200], centres, radius).counts == counts).all()
    assert found.modes == np.count_nonzero(found.counts) and found.counts.shape == (k,)
    assert found.share == found.counts.sum() / n <= 1
    # every sample is counted once: parts add up
    split = sum(
        evaluate.modes_covered(part, centres, radius).counts for part in (samples[: n // 2 + 1], samples[n // 2 :])
    )
    extra = evaluate.modes_covered(samples[n // 2 : n // 2 + 1], centres, radius).counts
    assert (split - extra == found.counts).all()


@pytest.mark.parametrize(
    ("samples", "centres", "std"),
    [
        (data.ring(2500, std=0.01, generator=0), data.ring_means(), 0.01),
        (data.grid(2500, generator=0), data.grid_means(), 0.05),
    ],
)
def test_modes_covered_by_real_points_are_all_and_by_one_point_one(samples, centres, std):
    real = evaluate.modes_covered(tg.tensor(samples), centres, 3 * std)
    assert real.modes == len(centres)
    expected = 1 - math.exp(-4.5)
    assert abs(real.share - expected) < 5 * math.sqrt(expected * (1 - expected) / 2500)  # 5 standard errors
    collapsed = evaluate.modes_covered(np.repeat(centres[3:4], 10, axis=0), centres, 3 * std)
    assert (collapsed.modes, collapsed.share) == (1, 1) and collapsed.counts[3] == 10
    missed = evaluate.modes_covered(centres + 10, centres, 3 * std)
    assert missed.share < 1 / 3


def test_modes_covered_refuses_what_makes_no_sense():
    x = blob(5, 2)
    for samples, centres, radius, message in (
        (x, x[:, :1], 1, r"samples and centres of one dimension are expected, got shapes \(5, 2\) and \(5, 1\)"),
        (x, x, 0, "a radius > 0 is expected, three standard deviations of a mode, got 0"),
        (x, x, math.nan, "a radius > 0 is expected, .* got nan"),
        (x * np.inf, x, 1, "5 of the 5 rows of samples hold a NaN"),
    ):
        with pytest.raises(ValueError, match=f"modes_covered: {message}"):
            evaluate.modes_covered(samples, centres, radius)
