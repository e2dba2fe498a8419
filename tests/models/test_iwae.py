"""Training through importance-weighted bounds: their gradients, and what the bounds are bounds of."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.linear_gaussian import LinearGaussian
from tinygen.models import BernoulliVAE
from tinygen.models.iwae import IWAE
from tinygen.testing import strategies as ts
from tinygen.testing.maps import same_draws


def small(k=3):
    return IWAE(4, 3, 2, k).double()


def gradients(value, model):
    return tg.grad(value, list(model.parameters()))


@given(seed=ts.seeds(), k=st.integers(1, 6), n=st.integers(1, 3))
def test_the_gradient_is_that_of_the_draws_weighted_by_their_weights(seed, k, n):
    """∇ log (1/k) Σ w = Σ w̃ ∇ log w with w̃ = w / Σ w held fixed."""
    tg.manual_seed(seed)
    model, x = small(k), tg.bernoulli(tg.rand(n, 4, dtype=tg.float64))
    with same_draws(seed):
        loss = model.loss(x)
    with same_draws(seed):
        log_w = model.log_weights(x, k)
    weights = log_w.softmax(0).detach()
    np.testing.assert_allclose(weights.sum(0).numpy(), 1)
    for found, expected in zip(gradients(loss, model), gradients(-(weights * log_w).sum(0).mean(), model), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-12)


@given(seed=ts.seeds())
def test_with_one_draw_it_is_the_elbo_and_has_its_gradient(seed):
    """Exactly, on average over ε: of a linear model log w is quadratic in ε, and the 2^d signs ±1 have the mean and the
    covariance of N(0, I), so that their average is the expectation."""
    model = LinearGaussian(seed, latent=3, size=4, error=1.0)
    x = tg.tensor(model.images(2, seed))
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))[:, None, :].repeat(2, axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tg, "randn", lambda *size, **_: tg.tensor(signs))
        by_weights = model.log_weights(x, len(signs)).mean()
    with pytest.MonkeyPatch.context() as patch:
        elbos = []
        for noise in signs:
            patch.setattr(tg, "randn_like", lambda like, noise=noise: tg.tensor(noise))
            elbos.append(model.elbo(x).mean())  # with KL in closed form
    by_formula = sum(elbos) / len(elbos)
    assert math.isclose(by_weights.item(), by_formula.item(), rel_tol=1e-12)
    for a, b in zip(gradients(by_weights, model), gradients(by_formula, model), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-10)


@given(seed=ts.seeds(), k=st.integers(1, 8))
def test_with_the_exact_posterior_every_draw_gives_the_likelihood(seed, k):
    """log w = log p(x) for every z: no gap and no variance, for any k."""
    model = LinearGaussian(seed)
    x = tg.tensor(model.images(2, seed))
    exact = np.broadcast_to(model.marginal.logpdf(x.numpy()), (k, 2))
    np.testing.assert_allclose(model.log_weights(x, k).detach().numpy(), exact, atol=1e-10)
    np.testing.assert_allclose(model.log_prob(x, k).detach().numpy(), exact[0], atol=1e-10)


def test_losses_of_more_draws_are_lower():
    tg.manual_seed(0)
    model, x = small(), tg.bernoulli(tg.rand(2000, 4, dtype=tg.float64))
    with tg.no_grad():
        for p in model.parameters():
            p.mul_(3)
        losses = []
        for model.k in (1, 5, 25):
            losses.append(np.array([model.loss(x).item() for _ in range(20)]))
    for fewer, more in itertools.pairwise(losses):
        assert more.mean() + 4 * math.hypot(more.std(), fewer.std()) / math.sqrt(20) < fewer.mean()


def test_draws_are_independent_of_how_many_images_share_a_call():
    """(k, batch): row i is of draw i, column j of image j."""
    model, x = small(), tg.bernoulli(tg.rand(3, 4, dtype=tg.float64))
    noise = np.random.default_rng(0).standard_normal((5, 3, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tg, "randn", lambda *size, **_: tg.tensor(noise))
        log_w = model.log_weights(x, 5)
        assert log_w.shape == (5, 3)
        patch.setattr(tg, "randn", lambda *size, **_: tg.tensor(noise[4:, 1:2]))
        np.testing.assert_allclose(model.log_weights(x[1:2], 1).item(), log_w[4, 1].item())


def test_it_starts_by_predicting_the_mean_image():
    mean = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
    model = IWAE(4, 3, 2, mean=mean)
    with tg.no_grad():
        model.decoder[-1].weight.zero_()
    np.testing.assert_allclose(model.mean(tg.randn(2, 2)).detach().numpy()[1], [0.001, 0.25, 0.5, 0.999], rtol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match="IWAE: k >= 1 draws per image are expected, got 0"):
        IWAE(k=0)
    with pytest.raises(ValueError, match="log_weights: k >= 1 draws per image are expected, got 0"):
        BernoulliVAE(4, 3, 2).log_prob(tg.zeros(1, 4), 0)
