"""Scores for samples: each against a closed form or a second way to compute it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tinygen import evaluate

rng = np.random.default_rng(0)


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


def test_independent_pixels_keeps_each_pixel_and_drops_every_dependence():
    x = rng.standard_normal((1000, 1)).astype(np.float32).repeat(2, 1) * [1, 3]
    drawn = evaluate.independent_pixels(x, 20_000, generator=0)
    np.testing.assert_allclose(drawn.std(0), x.std(0), rtol=0.05)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05  # it was 1; the standard error is 0.007
    assert np.isin(drawn, x).all()


def test_parzen_window_has_real_images_beside_the_samples():
    r = np.random.default_rng(1)
    images = r.random((900, 4)).astype(np.float32)
    train, valid, test = images[:600], images[600:700], images[700:]
    score = evaluate.ParzenWindow(train, test, valid, n=500)
    assert score.n == 500
    noise = (2 * r.random((500, 4))).astype(np.float32)
    assert score(noise) == evaluate.parzen(noise, test, valid)
    assert score(noise).log_likelihood < score.ceiling.log_likelihood
    assert score.ceiling == evaluate.ParzenWindow(train, test, valid, n=500).ceiling  # the seed is fixed
    everything = evaluate.ParzenWindow(train, test, valid)
    assert everything.n == 600 and everything.ceiling == evaluate.parzen(train, test, valid)
    with pytest.raises(ValueError, match=r"ParzenWindow: 500 samples are expected, .*, got 499"):
        score(noise[:499])
    with pytest.raises(ValueError, match=r"ParzenWindow: .*valid is a part of train; take train\[:-1000\]"):
        evaluate.ParzenWindow(images, test, images[600:700])
