"""VAEs: gradients, the closed-form KL, and bounds that are bounds."""

import math

import numpy as np
import pytest
from scipy import stats

import tinygen as tg
from tinygen import nn
from tinygen.models import BernoulliVAE, GaussianVAE
from tinygen.models.vae import gaussian_log_prob, kl_to_standard_normal
from tinygen.testing import assert_gradients


class Loss(nn.Module):
    def __init__(self, model, function="loss"):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, x):
        return getattr(self.model, self.function)(x)


def both(latent=2):
    tg.manual_seed(2)
    rng = np.random.default_rng(3)
    bernoulli, gaussian = BernoulliVAE(4, 5, latent).double(), GaussianVAE(3, 5, latent).double()
    with tg.no_grad():
        gaussian.encoder[-1].bias.zero_()  # near the prior, where importance sampling needs few draws
    return [(bernoulli, tg.tensor(0.25 + 0.5 * rng.random((3, 4)))), (gaussian, tg.tensor(rng.standard_normal((3, 3))))]


@pytest.mark.parametrize("i", [0, 1], ids=["Bernoulli", "Gaussian"])
@pytest.mark.parametrize("function", ["loss", "elbo", "log_prob"])
def test_gradients(i, function):
    model, x = both()[i]
    if function == "log_prob":
        full = model.log_prob
        model.log_prob = lambda x: full(x, 3)
    assert_gradients(Loss(model, function), x)


@pytest.mark.parametrize("seed", range(3))
def test_kl_is_the_expectation_that_it_stands_for(seed):
    rng = np.random.default_rng(seed)
    mu, logvar = tg.tensor(rng.standard_normal((1, 3))), tg.tensor(0.5 * rng.standard_normal((1, 3)))
    z = mu + (0.5 * logvar).exp() * tg.tensor(rng.standard_normal((200_000, 3)))
    difference = gaussian_log_prob(z, mu, logvar) - gaussian_log_prob(z, tg.zeros_like(z), tg.zeros_like(z))
    error = difference.std().item() / math.sqrt(200_000)
    assert abs(difference.mean().item() - kl_to_standard_normal(mu, logvar).item()) < 4.5 * error


def test_kl_is_zero_only_for_the_prior():
    zeros = tg.zeros(1, 3)
    assert kl_to_standard_normal(zeros, zeros).item() == 0
    assert kl_to_standard_normal(zeros + 0.1, zeros).item() > 0
    assert kl_to_standard_normal(zeros, zeros - 0.1).item() > 0
    assert kl_to_standard_normal(zeros, zeros + 0.1).item() > 0


def test_gaussian_log_prob_is_scipys_with_one_constant_per_dimension():
    rng = np.random.default_rng(0)
    x, mu, logvar = rng.standard_normal((3, 5, 4))
    expected = stats.norm(mu, np.exp(0.5 * logvar)).logpdf(x).sum(-1)
    found = gaussian_log_prob(*map(tg.tensor, (x, mu, logvar)))
    np.testing.assert_allclose(found.numpy(), expected)


def test_bernoulli_log_prob_is_that_of_the_pixels():
    model, _ = both()[0]
    rng = np.random.default_rng(1)
    x, z = (rng.random((3, 4)) < 0.5).astype(float), tg.tensor(rng.standard_normal((3, 2)))
    expected = stats.bernoulli(model.mean(z).detach().numpy()).logpmf(x).sum(-1)
    np.testing.assert_allclose(model.log_prob_given(tg.tensor(x), z).detach().numpy(), expected)


def exact_log_prob(model, x):
    """log ∫ p(x|z) N(z; 0, I) dz on a grid over the plane of latents, which holds all but 1e-14 of the prior."""
    step = 0.1
    axis = np.arange(-8, 8 + step / 2, step)
    z = tg.tensor(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
    prior = gaussian_log_prob(z, tg.zeros_like(z), tg.zeros_like(z))
    rows = []
    with tg.no_grad():
        for row in x:
            joint = model.log_prob_given(row.expand(len(z), len(row)), z) + prior
            rows.append(joint.logsumexp(0).item() + 2 * math.log(step))
    return np.array(rows)


@pytest.mark.parametrize("i", [0, 1], ids=["Bernoulli", "Gaussian"])
def test_elbo_is_below_and_importance_sampling_reaches_the_log_likelihood(i):
    model, x = both()[i]
    for p in model.parameters():  # weights of some size: an untrained encoder would be almost the prior
        p.data = p.detach() * 2
    exact = exact_log_prob(model, x)
    tg.manual_seed(0)
    with tg.no_grad():
        draws = np.stack([model.elbo(x).numpy() for _ in range(3000)])
        ten = np.stack([model.log_prob(x, 10).numpy() for _ in range(300)])
        many = model.log_prob(x, 5000).numpy()
    elbo, error = draws.mean(0), draws.std(0) / math.sqrt(3000)
    assert (elbo < exact + 4 * error).all()
    assert (exact - elbo > 4 * error).any()  # the gap is there, and it is seen
    assert (elbo - 4 * error < ten.mean(0)).all() and (ten.mean(0) < exact + 4 * ten.std(0) / math.sqrt(300)).all()
    np.testing.assert_allclose(many, exact, atol=0.1)  # 5000 draws: a standard error of at most 0.03 nats


def test_the_elbo_is_exact_when_the_decoder_ignores_the_latent():
    """Then the posterior is the prior, and q = N(0, I) is right: the bound is tight, sample by sample."""
    model, x = both()[0]
    with tg.no_grad():
        for p in (model.decoder[0].weight, model.encoder[2].weight, model.encoder[2].bias):
            p.zero_()
    elbo = model.elbo(x).detach().numpy()
    np.testing.assert_allclose(elbo, exact_log_prob(model, x), atol=1e-9)


def test_eval_mode_uses_the_mean_and_the_bound_still_samples():
    model, x = both()[0]
    assert not model(x)[0].equal(model(x)[0])
    model.eval()
    out, mu, _ = model(x)
    assert out.equal(model(x)[0]) and out.equal(model.decode(mu))
    assert not model.elbo(x).equal(model.elbo(x))


def test_samples_follow_the_model():
    """The mean of many samples is E[x] = E_z E[x|z], which the grid of the prior gives."""
    tg.manual_seed(0)
    for model, _ in both():
        draws = model.sample(40_000).numpy()
        z = tg.randn(40_000, 2, dtype=tg.float64)
        mean = model.mean(z).detach().numpy().mean(0)
        np.testing.assert_allclose(draws.mean(0), mean, atol=6 * draws.std() / 200)


def test_the_gaussian_vae_starts_with_a_narrow_posterior():
    _, logvar = GaussianVAE().encode(tg.randn(100, 2))
    assert -7 < logvar.mean().item() < -3 and logvar.std().item() < 1


def test_no_overflow_for_impossible_pixels():
    model = BernoulliVAE(4, 5, 2)
    with tg.no_grad():
        model.decoder[2].bias.fill_(1000.0)
    assert math.isfinite(model.loss(tg.zeros(2, 4)).item())
