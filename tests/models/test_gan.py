"""The GAN: gradients of both losses, each player's step leaving the other alone, k steps, and the known optimum."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, optim
from tinygen.models import GAN
from tinygen.models.gan import Discriminator, Generator
from tinygen.testing import assert_gradients


def small(**options):
    tg.manual_seed(4)
    gan = GAN(latent=2, size=3, hidden=(4, 5), **options).double()
    with tg.no_grad():
        for p in gan.parameters():
            p.add_(0.1 * tg.randn_like(p))  # biases of 0 would put dropped units on the kink of the ReLU
    return gan


def real(n=6, seed=0):
    return tg.tensor(np.random.default_rng(seed).random((n, 3)))


class DLoss(nn.Module):
    """The discriminator's loss as a function of its own weights."""

    def __init__(self, gan):
        super().__init__()
        self.discriminator, self._gan = gan.discriminator, [gan]  # in a list: not a child

    def forward(self, x):
        gan = self._gan[0]
        gan.discriminator = self.discriminator
        return gan.discriminator_loss(x)[0]


class GLoss(nn.Module):
    """The generator's loss as a function of its own weights."""

    def __init__(self, gan):
        super().__init__()
        self.generator, self._gan = gan.generator, [gan]

    def forward(self):
        gan = self._gan[0]
        gan.generator = self.generator
        return gan.generator_loss(6)


def test_gradients_of_the_discriminators_loss():
    assert_gradients(DLoss(small()), real())


@pytest.mark.parametrize("saturating", [False, True])
def test_gradients_of_the_generators_loss(saturating):
    gan = small(saturating=saturating)
    gan.eval()  # dropout's kinks are tested with the layer
    assert_gradients(GLoss(gan))


def test_the_discriminators_step_leaves_the_generator_without_gradients():
    gan = small()
    gan.discriminator_loss(real())[0].backward()
    assert all(p.grad is None for p in gan.generator.parameters())
    assert all(p.grad is not None for p in gan.discriminator.parameters())


def test_the_generators_step_leaves_the_discriminator_without_gradients():
    gan = small()
    gan.generator_loss(6).backward()
    assert all(p.grad is None for p in gan.discriminator.parameters())
    assert all(p.grad is not None for p in gan.generator.parameters())
    assert all(p.requires_grad for p in gan.discriminator.parameters())  # thawed again


def test_the_discriminator_thaws_even_after_an_error():
    gan = small()
    with pytest.raises(ValueError):
        gan.discriminator.network = nn.Linear(99, 1)  # does not fit
        gan.generator_loss(2)
    assert all(p.requires_grad for p in gan.discriminator.parameters())


def test_losses_are_the_formulas():
    gan = small().eval()
    x = real()
    tg.manual_seed(7)
    loss, on_real, on_fake = gan.discriminator_loss(x)
    tg.manual_seed(7)
    fake = gan.sample(len(x))
    d_real, d_fake = (gan.discriminator(2 * batch - 1).sigmoid().detach().numpy() for batch in (x, fake))
    np.testing.assert_allclose(loss.item(), -np.log(d_real).mean() - np.log(1 - d_fake).mean())
    np.testing.assert_allclose((on_real.item(), on_fake.item()), (d_real.mean(), d_fake.mean()))
    for saturating, expected in ((False, -np.log(d_fake).mean()), (True, np.log(1 - d_fake).mean())):
        gan.saturating = saturating
        tg.manual_seed(7)
        np.testing.assert_allclose(gan.generator_loss(len(x)).item(), expected)


def test_both_generator_losses_want_the_same_but_one_is_flat_where_it_matters():
    """For a forgery that is plainly recognised, D(G(z)) = 1e-4, the minimax slope in the logit is 1e-4, the other is 1."""
    logit = tg.tensor(math.log(1e-4), requires_grad=True)
    (non_saturating,) = tg.grad(nn.functional.softplus(-logit), logit)
    (minimax,) = tg.grad(-nn.functional.softplus(logit), logit)
    assert non_saturating.item() < 0 and minimax.item() < 0
    assert abs(non_saturating.item()) > 0.999 and abs(minimax.item()) < 1.1e-4


def test_a_step_is_k_discriminator_steps_and_one_generator_step():
    gan = small()
    calls = []

    class Counting(optim.SGD):
        def step(self, *args):
            calls.append(self.name)
            return super().step(*args)

    d, g = (Counting(m.parameters(), lr=0.1) for m in (gan.discriminator, gan.generator))
    d.name, g.name = "D", "G"
    seen = gan.step(d, g, real(seed=1), real(seed=2), real(seed=3))
    assert calls == ["D", "D", "D", "G"]
    assert set(seen) == {"D loss", "G loss", "D(x)", "D(G(z))"} and all(map(math.isfinite, seen.values()))


def test_samples_are_images_and_follow_the_seed():
    gan = small()
    tg.manual_seed(1)
    a = gan.sample(5)
    tg.manual_seed(1)
    assert a.shape == (5, 3) and a.equal(gan.sample(5)) and not a.equal(gan.sample(5))
    assert bool((a >= 0).all()) and bool((a <= 1).all()) and not a.requires_grad


def test_the_deck_networks_have_their_sizes():
    g, d = Generator(), Discriminator()
    assert [tuple(p.shape) for p in g.parameters()][::2] == [(256, 100), (512, 256), (1024, 512), (784, 1024)]
    assert [tuple(p.shape) for p in d.parameters()][::2] == [(1024, 784), (512, 1024), (256, 512), (1, 256)]
    assert sum(isinstance(m, nn.Dropout) and m.p == 0.3 for m in d.modules()) == 3


def test_different_latents_begin_as_different_images():
    """What `initialize` is for: with nn.Linear's default the standard deviation of a pixel is 0.012, with it 0.20."""
    tg.manual_seed(0)
    with tg.no_grad():
        spread = GAN().sample(200).std(0).mean().item()
    assert spread > 0.1


def test_it_learns_a_distribution():
    """Two points, equally likely: after a few hundred rounds both are drawn, and little else."""
    tg.manual_seed(0)
    gan = GAN(latent=2, size=2, hidden=(16, 32), dropout=0.0)
    d, g = (optim.Adam(m.parameters(), lr=2e-3, betas=(0.5, 0.999)) for m in (gan.discriminator, gan.generator))
    rng = np.random.default_rng(0)
    modes = np.array([[0.25, 0.25], [0.75, 0.75]], np.float32)
    for _ in range(600):
        x = modes[rng.integers(0, 2, 64)] + 0.03 * rng.standard_normal((64, 2)).astype(np.float32)
        gan.step(d, g, tg.tensor(x))
    draws = gan.sample(1000).numpy()
    distance = np.linalg.norm(draws[:, None] - modes, axis=-1)
    shares = (distance < 0.15).mean(0)
    assert shares.min() > 0.2 and shares.sum() > 0.7
