"""The DCGAN: shapes, the start, both losses, samples that do not depend on their company, the geometry of the latents."""

import math

import numpy as np
import pytest

import tinygen as tg
from tests.models.test_gan import DLoss, GLoss
from tinygen import nn, optim
from tinygen.models import DCGAN, ConvDiscriminator, ConvGenerator
from tinygen.models.dcgan import arithmetic
from tinygen.testing import assert_gradients

IMAGE = (2, 4, 8)


def small(**options):
    tg.manual_seed(4)
    gan = DCGAN(latent=3, image=IMAGE, channels=(3, 2), **options).double()
    with tg.no_grad():  # far from the start, where all weights are 0.02 small and half of the logits are nearly 0
        for p in gan.parameters():
            p.copy_(0.5 * tg.randn_like(p))
    return gan


def real(n=5, seed=0):
    return tg.tensor(np.random.default_rng(seed).random((n, *IMAGE)))


def test_gradients_of_the_discriminators_loss():
    assert_gradients(DLoss(small()), real())


@pytest.mark.parametrize("saturating", [False, True])
def test_gradients_of_the_generators_loss(saturating):
    assert_gradients(GLoss(small(saturating=saturating)))


def test_each_players_step_leaves_the_other_without_gradients():
    gan = small()
    gan.discriminator_loss(real())[0].backward()
    assert all(p.grad is None for p in gan.generator.parameters())
    gan = small()
    gan.generator_loss(5).backward()
    assert all(p.grad is None for p in gan.discriminator.parameters())
    assert all(p.grad is not None for p in gan.generator.parameters())


def test_losses_are_the_formulas_with_the_moments_of_each_batch():
    gan, x = small(), real()
    tg.manual_seed(7)
    loss, on_real, on_fake = gan.discriminator_loss(x)
    tg.manual_seed(7)
    with tg.no_grad():
        fake = gan.generator(gan.latents(len(x)))
        d_real, d_fake = (gan.discriminator(batch).sigmoid().numpy() for batch in (2 * x - 1, fake))
    np.testing.assert_allclose(loss.item(), -np.log(d_real).mean() - np.log(1 - d_fake).mean())
    np.testing.assert_allclose((on_real.item(), on_fake.item()), (d_real.mean(), d_fake.mean()))
    for saturating, expected in ((False, -np.log(d_fake).mean()), (True, np.log(1 - d_fake).mean())):
        gan.saturating = saturating
        tg.manual_seed(7)
        np.testing.assert_allclose(gan.generator_loss(len(x)).item(), expected)


def test_the_players_have_the_sizes_of_the_paper():
    g, d = ConvGenerator(), ConvDiscriminator()
    sizes = [tuple(p.shape) for m in (g, d) for p in m.parameters() if p.ndim > 1]
    assert sizes[:3] == [(6272, 100), (128, 64, 4, 4), (64, 1, 4, 4)]
    assert sizes[3:] == [(64, 1, 4, 4), (128, 64, 4, 4), (1, 6272)]
    assert g(tg.zeros(2, 100)).shape == (2, 1, 28, 28) and d(tg.zeros(2, 1, 28, 28)).shape == (2,)
    # neither the generator's output nor the discriminator's input is normalised
    assert [m.num_features for m in (*g.modules(), *d.modules()) if isinstance(m, nn.BatchNorm2d)] == [128, 64, 128]


def test_weights_start_at_the_papers_scale():
    tg.manual_seed(0)
    gan = DCGAN()
    for p in gan.parameters():
        if p.ndim > 1:  # the smallest has 1,024 numbers: the relative error of their deviation is 2 %
            assert abs(p.std().item() / 0.02 - 1) < 0.1 and abs(p.mean().item()) < 0.003
        else:
            assert bool((p == p[0]).all()) and p[0].item() in (0, 1)


def test_an_image_depends_on_its_own_latent_alone():
    gan = small()
    z = gan.latents(6)
    with tg.no_grad():
        together, alone = gan.decode(z), tg.cat([gan.decode(row) for row in z.split(1)])
        in_training = (gan.generator(z) + 1) / 2
    np.testing.assert_allclose(together.numpy(), alone.numpy(), rtol=1e-12)
    assert not np.allclose(in_training.numpy(), together.numpy())
    assert gan.training and all(m.training for m in gan.modules())  # the mode is as it was


def test_decoding_and_sampling_change_nothing():
    gan = small()
    before = {name: value.clone() for name, value in gan.state_dict().items()}
    gan.sample(5), gan.interpolate(gan.latents(2), gan.latents(2), 3)
    assert all(value.equal(before[name]) for name, value in gan.state_dict().items())


def test_samples_are_images_follow_the_seed_and_may_come_in_parts():
    gan = small()
    tg.manual_seed(1)
    a = gan.sample(5)
    tg.manual_seed(1)
    assert a.shape == (5, *IMAGE) and a.equal(gan.sample(5)) and not a.equal(gan.sample(5))
    assert bool((a >= 0).all()) and bool((a <= 1).all()) and not a.requires_grad
    tg.manual_seed(1)
    assert np.allclose(gan.sample(5, at_once=2).numpy(), a.numpy())  # the same draws, another order of the sums
    assert gan.sample(0).shape == (0, *IMAGE)


def test_interpolation_begins_and_ends_at_its_ends_and_goes_straight():
    gan = small()
    start, end = gan.latents(2), gan.latents(2)
    path = gan.interpolate(start, end, 5)
    assert path.shape == (2, 5, *IMAGE) and not path.requires_grad
    with tg.no_grad():
        for i, z in ((0, start), (4, end), (1, 0.75 * start + 0.25 * end)):
            np.testing.assert_allclose(path[:, i].numpy(), gan.decode(z).numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"n >= 2 .* got 1"):
        gan.interpolate(start, end, 1)


def test_arithmetic_keeps_the_distribution_of_latents():
    """Three of each kind: the result is N(0, I) again."""
    tg.manual_seed(0)
    a, b, c = (tg.randn(20_000, 3, 4) for _ in range(3))
    z = arithmetic(a, b, c).numpy()
    assert z.shape == (20_000, 4)
    np.testing.assert_allclose(np.cov(z.T), np.eye(4), atol=0.05)  # the standard error of a variance is 0.01
    same = a[0], b[0], b[0]
    np.testing.assert_allclose(arithmetic(*same).numpy(), a[0].mean(0).numpy(), atol=1e-6)


def test_latents_of_a_class_decode_to_that_class():
    gan = small()

    threshold = np.median(gan.sample(100)[:, 0, 0, 0].numpy())

    def bright(x):  # in one corner
        return (x[:, 0, 0, 0] > threshold).long()

    for label in (0, 1):
        z = gan.latents_of(label, 7, bright)
        with tg.no_grad():
            assert z.shape == (7, 3) and bool((bright(gan.decode(z)) == label).all())
    with pytest.raises(RuntimeError, match=r"0 of 300 samples are of class 2, and 1 are needed"):
        gan.latents_of(2, 1, bright, tries=300)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ((28, 28), r"image=\(channels, height, width\) is expected, got \(28, 28\)"),
        ((0, 28, 28), r"image=\(channels, height, width\) is expected, got \(0, 28, 28\)"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        DCGAN(image=image)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"DCGAN: images of shape \(batch, 2, 4, 8\) are expected, got \(5, 64\)"):
        small().discriminator_loss(real().flatten(1))


def test_a_step_moves_both_players_and_says_how_the_game_stands():
    gan = small()
    before = [p.clone() for p in gan.parameters()]
    d, g = (optim.Adam(m.parameters(), lr=1e-2, betas=(0.5, 0.999)) for m in (gan.discriminator, gan.generator))
    seen = gan.step(d, g, real())
    assert set(seen) == {"D loss", "G loss", "D(x)", "D(G(z))"} and all(map(math.isfinite, seen.values()))
    assert all(not p.equal(q) for p, q in zip(gan.parameters(), before, strict=True))


def test_it_learns_two_images():
    """A bright upper and a bright lower half, equally likely: soon every sample is near one of them, and both occur."""
    tg.manual_seed(0)
    gan = DCGAN(latent=4, image=(1, 8, 8), channels=(8, 4))
    d, g = (optim.Adam(m.parameters(), lr=2e-3, betas=(0.5, 0.999)) for m in (gan.discriminator, gan.generator))
    rng = np.random.default_rng(0)
    modes = np.zeros((2, 1, 8, 8), np.float32)
    modes[0, :, :4], modes[1, :, 4:] = 0.8, 0.8
    for _ in range(150):
        x = modes[rng.integers(0, 2, 32)] + 0.1 * rng.random((32, 1, 8, 8), np.float32)
        gan.step(d, g, tg.tensor(x))
    draws = gan.sample(500).numpy()
    error = np.square(draws[:, None] - modes - 0.05).mean((2, 3, 4))
    shares = (error < 0.05).mean(0)  # the other mode is 0.64 away, a grey image 0.16
    assert shares.min() > 0.2 and shares.sum() > 0.8
