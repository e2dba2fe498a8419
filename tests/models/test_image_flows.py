"""Flows on images: invertible, with the right determinant; their samples are images; the surface through four of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tinygen import models
from tinygen.nn import flows

SMALL = (1, 4, 4)
KINDS = {
    "RealNVP": lambda image, **more: models.ImageRealNVP(image, scales=1, hidden=2, **more),
    "Glow": lambda image, **more: models.Glow(image, scales=1, steps=2, hidden=2, **more),
    "NICE": lambda image, **more: models.ImageNICE(image, (6,), **more),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind, image=SMALL, seed=0, **more):
    """In float64, after its first batch, and far from the identity."""
    tg.manual_seed(seed)
    model = KINDS[kind](image, **more).double()
    model.loss(pixels(4, image, seed, model.levels))
    model.eval()
    with tg.no_grad():
        for p in model.parameters():
            p.add_(0.2 * tg.randn_like(p))
    return model


def pixels(n, image=SMALL, seed=0, levels=256):
    grey = np.random.default_rng(seed).integers(0, levels, (n, *image))
    return tg.tensor(grey / (levels - 1))


def dequantised(n, image=SMALL, seed=0):
    return tg.tensor(np.random.default_rng(seed).uniform(0.01, 0.99, (n, *image)))


@kinds
@given(seed=st.integers(0, 99), image=st.sampled_from([(1, 2, 2), SMALL, (3, 2, 4)]))
def test_inverse_both_ways(kind, seed, image):
    model, v = make(kind, image, seed), dequantised(3, image, seed)
    with tg.no_grad():
        z, there = model(v)
        back, here = model.inverse(z)
    np.testing.assert_allclose(back.numpy(), v.numpy(), atol=1e-9)
    np.testing.assert_allclose(here.numpy(), -there.numpy(), atol=1e-8)
    assert z.shape == (3, math.prod(image)) and there.shape == (3,)


@kinds
@given(seed=st.integers(0, 99))
def test_the_log_determinant_is_that_of_the_jacobian(kind, seed):
    model, v = make(kind, SMALL, seed), dequantised(1, SMALL, seed)
    jacobian = tg.autograd.jacobian(lambda v: model(v.reshape(1, *SMALL))[0].flatten(), v.flatten())
    expected = np.linalg.slogdet(jacobian.numpy())[1]
    np.testing.assert_allclose(model(v)[1].item(), expected, atol=1e-8)


@kinds
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_samples_are_images(kind, levels, device):
    model = make(kind, levels=levels).to(device)
    tg.manual_seed(1)
    x = model.sample(5).cpu().numpy()
    assert x.shape == (5, *SMALL) and x.min() >= 0 and x.max() <= 1
    grey = x * (levels - 1)
    np.testing.assert_allclose(grey, grey.round(), atol=1e-9)


@kinds
def test_what_is_encoded_is_decoded(kind):
    model, x = make(kind), pixels(6)
    with tg.no_grad():
        np.testing.assert_allclose(model.decode(model.encode(x)).numpy(), x.numpy(), atol=1e-12)


@kinds
def test_bits_per_dim_is_the_loss_in_other_units(kind):
    """On average over the dequantisation; and no more than the 8 bits of a uniform guess for the untrained logit."""
    model, x = make(kind), pixels(4)
    tg.manual_seed(3)
    nats = model.loss(x).item()
    tg.manual_seed(3)
    bits = model.bits_per_dim(x).mean().item()
    np.testing.assert_allclose(bits, (nats / 16 + math.log(256)) / math.log(2), rtol=1e-12)


@given(levels=st.sampled_from([2, 17, 256]), seed=st.integers(0, 99))
def test_the_bits_of_all_images_of_a_pixel_sum_to_a_code(levels, seed):
    """Kraft: an exact flow on one pixel assigns probabilities to the grey levels, Σ 2^−bits <= 1 (Jensen), where the
    bits are averaged over the dequantisation."""

    class Pixel(models.ImageFlow):
        def __init__(self):
            layers = (flows.Logit(), flows.Reshape((1, 1, 1), (1,)), flows.Scale(1))
            super().__init__((1, 1, 1), flows.Composition(*layers), flows.StandardNormal(1), levels)

    tg.manual_seed(seed)
    model = Pixel().double()
    with tg.no_grad():
        for p in model.parameters():
            p.add_(0.5 * tg.randn_like(p))
        draws = 200
        x = tg.tensor(np.repeat(np.arange(levels) / (levels - 1), draws)).reshape(-1, 1, 1, 1)
        bits = model.bits_per_dim(x).numpy().reshape(levels, draws).mean(1)
    # Without Jensen's gap the sum would be 1 up to the sampling error, a few per cent of it with 200 draws per level.
    assert np.sum(2.0**-bits) < 1.1


def test_the_surface_goes_through_the_four_images():
    """At the angles 0 and 90° one of cos and sin is 1 and the other 0: the corners are the images themselves."""
    model, four = make("RealNVP"), pixels(4)
    surface = model.manifold(four, 8).numpy()
    assert surface.shape == (8, 8, *SMALL)
    for i in range(2):
        for j in range(2):
            np.testing.assert_allclose(surface[2 * i, 2 * j], four[2 * i + j].numpy(), atol=1e-12)


def test_the_surface_keeps_the_length_of_codes():
    """cos² cos² + cos² sin² + sin² cos² + sin² sin² = 1: for codes at right angles and of one length, all are that long."""

    class Codes(models.ImageFlow):
        """Its images are their codes."""

        def encode(self, x):
            return x.flatten(1)

        def decode(self, z):
            return z.reshape(-1, 1, 2, 2)

    flow = Codes((1, 2, 2), flows.Composition(flows.Logit(), flows.Scale((1, 2, 2))), flows.StandardNormal(4))
    surface = flow.double().manifold(tg.eye(4, dtype=tg.float64).reshape(4, 1, 2, 2), 12)
    np.testing.assert_allclose(surface.flatten(2).norm(dim=2).numpy(), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.ImageRealNVP((1, 30, 28)), r"ImageRealNVP: 2 squeezes .* 30×28 cannot be; .* 28 or 32"),
        (lambda: models.Glow((1, 5, 4), scales=1), r"Glow: .* 5×4 cannot be; .* 4 or 6"),
        (lambda: models.ImageRealNVP((28, 28)), r"ImageRealNVP: image=\(channels, height, width\).*\(28, 28\)"),
        (lambda: models.ImageRealNVP(scales=0), r"scales >= 1 are expected"),
        (lambda: make("RealNVP").manifold(pixels(3)), "manifold: 4 images and n >= 1 are expected, got 3"),
        (lambda: make("RealNVP").loss(pixels(2) * 0.99), "Dequantize: pixels that are multiples of 1/255"),
        (lambda: make("RealNVP").loss(pixels(2, (1, 6, 4))), r"expected, got .*6, 4"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_nice_begins_with_the_moments_of_every_pixel():
    """Then the density is that of independent logistic pixels, and black ones cost almost nothing."""
    tg.manual_seed(0)
    model = models.ImageNICE(SMALL, (6,)).double()
    grey = np.random.default_rng(0).integers(0, 256, (500, *SMALL)) / 255
    grey[:, :, 0] = 0.0
    x = tg.tensor(grey)
    before = model.bits_per_dim(x).mean().item()
    model.begin_with(x)
    with tg.no_grad():
        z = model.encode(x).numpy()
    np.testing.assert_allclose(z.mean(0), 0, atol=0.3)  # three errors of a mean of 500 draws of deviation 1.8
    np.testing.assert_allclose(z.std(0), math.pi / math.sqrt(3), rtol=0.15)
    v = ((255 * grey + np.random.default_rng(1).random(grey.shape)) / 256).reshape(500, -1)
    scale = v.std(0) * math.sqrt(3) / math.pi
    expected = -stats.logistic.logpdf(v, v.mean(0), scale).mean() / math.log(2) + 8
    after = model.bits_per_dim(x).mean().item()
    assert abs(after - expected) < 0.02 and after < before - 1, "up to two draws of the dequantisation"
