"""The convolutional VAE: the deck's objective in nats, the shift of log s², standardised pixels, the price of a latent."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import optim
from tinygen.errors import ShapeError
from tinygen.models import ConvVAE, conv_autoencoder
from tinygen.models.vae import kl_to_standard_normal

LAYERS = ((3, 3, 2), (2, 2, 1))  # 7 -> 3 -> 2 -> 1
FLOAT32 = 1e-6  # the scales of pixels and variance are made in float32, before .double()


def small(latent=2, **options):
    return ConvVAE(latent, (1, 7, 7), LAYERS, **options).double()


def images(n, seed=0):
    return tg.tensor(np.random.default_rng(seed).random((n, 1, 7, 7)))


def test_the_encoder_has_two_outputs_per_latent_and_the_rest_is_the_autoencoders():
    assert sum(p.numel() for p in ConvVAE(8).parameters()) == 112_457 + 8 * (32 * 16 + 1)
    mu, logvar = ConvVAE(32)(tg.rand(2, 1, 28, 28))[1:]
    assert mu.shape == logvar.shape == (2, 32)
    assert ConvVAE(32).sample(3).shape == (3, 1, 28, 28)


@pytest.mark.parametrize("latent", [1, 3])
def test_loss_is_the_decks_objective_in_other_units(latent, monkeypatch):
    """−ELBO = 2d ℓ + (D/2) log 2πσ², ℓ = mean squared error + ½ mean KL on standardised pixels, σ² = D/4d."""
    model, x = small(latent, pixels=(0.3, 0.4)), images(5)
    noise = np.random.default_rng(1).standard_normal((5, latent))
    monkeypatch.setattr(tg, "randn_like", lambda _: tg.tensor(noise))
    loss = model.loss(x).item()

    u = (x.numpy() - 0.3) / 0.4
    first, second = np.split(model.encoder(tg.tensor(u)).detach().numpy()[:, :, 0, 0], 2, axis=1)
    mu, logvar = first, second + math.log(0.01)
    z = mu + np.exp(0.5 * logvar) * noise
    output = model.decoder(tg.tensor(z[:, :, None, None])).detach().numpy()
    kl = -0.5 * (1 + logvar - mu**2 - np.exp(logvar))
    deck = ((output - u) ** 2).mean() + 0.5 * kl.mean()

    pixels, variance = 49, 49 / (4 * latent)
    constant = pixels / 2 * math.log(2 * math.pi * variance) + pixels * math.log(0.4)  # the last: pixels back in [0, 1]
    np.testing.assert_allclose(loss, 2 * latent * deck + constant, rtol=FLOAT32)


def test_standardising_inside_is_a_change_of_units():
    """The density of x = m + s u is that of u, divided by s per pixel."""
    model, plain, x = small(pixels=(0.3, 0.4)), small(pixels=(0.0, 1.0)), images(4)
    plain.encoder.load_state_dict(model.encoder.state_dict())
    plain.decoder.load_state_dict(model.decoder.state_dict())
    tg.manual_seed(1)
    found = model.elbo(x).detach().numpy()
    tg.manual_seed(1)
    expected = plain.elbo((x - 0.3) / 0.4).detach().numpy() - 49 * math.log(0.4)
    np.testing.assert_allclose(found, expected, rtol=FLOAT32)
    images_back = 0.3 + 0.4 * plain.reconstruct((x - 0.3) / 0.4).numpy()
    np.testing.assert_allclose(model.reconstruct(x).numpy(), images_back, rtol=FLOAT32)


def test_the_posterior_starts_with_standard_deviation_a_tenth():
    _, logvar = ConvVAE(32).encode(tg.rand(20, 1, 28, 28))
    std = (0.5 * logvar).exp()
    assert abs(std.mean().item() - 0.1) < 0.01 and std.std().item() < 0.02


def test_the_shift_is_no_other_model():
    """What the shift adds, the last bias can take away."""
    model, x = small(), images(3)
    last = model.encoder[-1]
    with tg.no_grad():
        last.weight.zero_()
        last.bias.copy_(np.array([0.0, 0.0, -math.log(0.01), -math.log(0.01)]))
    np.testing.assert_allclose(kl_to_standard_normal(*model.encode(x)).detach().numpy(), 0, atol=1e-12)


def test_the_mean_is_used_at_inference():
    model, x = small(), images(3)
    assert not model(x)[0].equal(model(x)[0])
    model.eval()
    out, mu, _ = model(x)
    assert out.equal(model.decode(mu)) and model.reconstruct(x).equal(out)
    assert not model.reconstruct(x).requires_grad and not model.sample(2).requires_grad
    tg.manual_seed(5)
    z = model.latents(4)
    tg.manual_seed(5)
    assert model.sample(4).equal(model.decode(z))


@pytest.mark.parametrize("price", [0.5, 3.0])
def test_a_linear_decoder_uses_the_components_that_vary_by_more_than_its_variance(price):
    """Probabilistic PCA (Tipping, Bishop 1999): the others fall to their prior.  Without hidden layers the model is linear."""
    variances = np.array([9.0, 6.0, 1.5, 0.2])
    rng = np.random.default_rng(0)
    white = rng.standard_normal((400, 4))
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T, bias=True))).T  # exactly I
    basis = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    x = tg.tensor((white * np.sqrt(variances) @ basis.T).reshape(-1, 1, 2, 2))
    model = ConvVAE(4, (1, 2, 2), (), pixels=(0.0, 1.0), variance=price).double()
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000)
    for _ in range(1000):
        optimizer.zero_grad()
        model.loss(x).backward()
        optimizer.step()
        schedule.step()
    weight = model.decoder[0].weight.detach().flatten(1).numpy()
    # At the optimum p(x) = N(b, Wᵀ W + σ² I) has the data's variances, where they are above σ²: Wᵀ W has variances − σ²
    assert (np.linalg.eigvalsh(weight.T @ weight) > 0.1).sum() == (variances > price).sum()


@pytest.mark.parametrize("options", [dict(pixels=(0.0, 0.0)), dict(pixels=(0.1, -1.0)), dict(variance=0.0)])
def test_impossible_scales_are_refused(options):
    with pytest.raises(ValueError, match="ConvVAE: std > 0 and variance > 0"):
        small(**options)


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"ConvVAE: .*\(batch, 1, 7, 7\) are expected, got \(2, 49\)"):
        small().loss(tg.zeros(2, 49, dtype=tg.float64))
    with pytest.raises(ValueError, match="size 30"):
        ConvVAE(8, (1, 30, 28), conv_autoencoder.LAYERS)
