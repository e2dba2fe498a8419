"""The models that can be trained by name, each built for the images (or points) at hand.

The first line of a builder's docstring is its line in the list of models; its arguments after the first are its options, and
the lines `name: sentence` of the docstring say what they are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import models, nn


@dataclass(frozen=True)
class Samples:
    """What is to be learned: x of shape (n, channels, height, width), pixels in [0, 1]; or points, (n, 2)."""

    x: np.ndarray
    levels: int = 256

    @property
    def image(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return self.x.shape[1:]

    @property
    def size(self) -> int:
        """Numbers per image."""
        return math.prod(self.image)


def autoencoder(data: Samples, hidden: int = 256, code: int = 10) -> models.Model:
    """Two perceptrons around a narrow code.

    hidden: units of the hidden layers, one on either side of the code.
    code: how many numbers an image becomes.
    """
    pixels = data.x.min() >= 0 and data.x.max() <= 1
    return models.Autoencoder((data.size, hidden, code), nn.Identity(), nn.Sigmoid() if pixels else nn.Identity())


def linear_autoencoder(data: Samples, code: int = 10) -> models.Model:
    """The same without any non-linearity: it finds what PCA finds.

    code: how many numbers an image becomes; PCA with as many components is what it is held against.
    """
    return models.LinearAutoencoder(data.size, code)


def conv_autoencoder(data: Samples, code: int = 8) -> models.Model:
    """Convolutions down to a code, transposed convolutions back.

    code: how many numbers an image becomes.
    """
    return models.ConvAutoencoder(code, data.image)


def vae(data: Samples, hidden: int = 400, latent: int = 20) -> models.Model:
    """Variational autoencoder with Bernoulli pixels: a bound on the likelihood, and samples.

    hidden: units of the hidden layers, one in the encoder and one in the decoder.
    latent: how many latents; those that do not pay for themselves stay at their prior.
    """
    return models.BernoulliVAE(data.size, hidden, latent)


def conv_vae(data: Samples, latent: int = 32) -> models.Model:
    """Variational autoencoder of convolutions, with Gaussian pixels.

    latent: how many latents; the decoder's variance is pixels / (4 latents), so they also set the price of one.
    """
    return models.ConvVAE(latent, data.image, pixels=(float(data.x.mean()), float(data.x.std())))


def iwae(data: Samples, hidden: int = 200, latent: int = 50, k: int = 5) -> models.Model:
    """Importance-weighted autoencoder: a VAE with a closer bound.

    hidden: units of each hidden layer, two in the encoder and two in the decoder.
    latent: how many latents.
    k: draws per image in the bound; 1 makes it a VAE.
    """
    return models.IWAE(data.size, hidden, latent, k, data.x.mean(0).ravel())


def gan(
    data: Samples, latent: int = 100, hidden: Sequence[int] = (256, 512, 1024), saturating: bool = False
) -> models.Model:
    """Two perceptrons against each other.

    latent: how many numbers of noise the generator makes an image of.
    hidden: units of the generator's hidden layers; the discriminator has them backwards.
    saturating: train the generator by the minimax loss, to see it fail.
    """
    return models.GAN(latent, data.size, tuple(hidden), saturating=saturating)


def dcgan(data: Samples, latent: int = 100, saturating: bool = False) -> models.Model:
    """Two convolutional networks against each other.

    latent: how many numbers of noise the generator makes an image of.
    saturating: train the generator by the minimax loss, to see it fail.
    """
    return models.DCGAN(latent, data.image, saturating=saturating)


def nice(data: Samples, hidden: Sequence[int] = (500, 500), depth: int = 4) -> models.Model:
    """Flow of additive couplings: the exact density of images.

    hidden: units of the hidden layers of each coupling's network.
    depth: how many couplings, at least 2; more bend the density further.
    """
    return models.ImageNICE(data.image, tuple(hidden), depth, data.levels)


def image_realnvp(data: Samples, scales: int = 2, hidden: int = 16, blocks: int = 1) -> models.Model:
    """Flow of affine couplings by convolutions, at several scales.

    scales: how often the image is halved and half of its numbers are set aside; the sides must be divisible by 2 as often.
    hidden: channels of each coupling's network.
    blocks: residual blocks of each coupling's network.
    """
    return models.ImageRealNVP(data.image, scales, hidden, blocks, levels=data.levels)


def glow(data: Samples, scales: int = 2, steps: int = 4, hidden: int = 16) -> models.Model:
    """The same with learned 1×1 convolutions between the couplings.

    scales: how often the image is halved and half of its numbers are set aside; the sides must be divisible by 2 as often.
    steps: steps per scale: a normalisation, a 1×1 convolution, a coupling.
    hidden: channels of each coupling's network.
    """
    return models.Glow(data.image, scales, steps, hidden, levels=data.levels)


def realnvp(data: Samples, hidden: int = 32, depth: int = 8) -> models.Model:
    """Flow of affine couplings on points in the plane.

    hidden: hidden units of the two networks of each coupling.
    depth: how many couplings, at least 2; narrow densities need more.
    """
    return models.RealNVP(data.size, hidden, depth)


def gaussian_vae(data: Samples, hidden: int = 100, latent: int = 2) -> models.Model:
    """Variational autoencoder on points in the plane, with a learned variance.

    hidden: units of the hidden layers, one in the encoder and one in the decoder.
    latent: how many latents.
    """
    return models.GaussianVAE(data.size, hidden, latent)


@dataclass(frozen=True)
class Kind:
    """How a model is trained when nothing else is said.

    lr: Adam's learning rate.  epochs: for a large set (MNIST), and for a small one (the embedded digits).
    points: it learns points in the plane, not images.  max_norm: of the gradient, which is clipped to it.
    """

    build: Callable[..., models.Model]
    lr: float = 1e-3
    batch_size: int = 100
    epochs: tuple[int, int] = (10, 100)
    points: bool = False
    max_norm: float = math.inf

    @property
    def summary(self) -> str:
        return (self.build.__doc__ or "").partition("\n")[0].rstrip(".")


KINDS: dict[str, Kind] = {
    "autoencoder": Kind(autoencoder),
    "linear_autoencoder": Kind(linear_autoencoder),
    "conv_autoencoder": Kind(conv_autoencoder, epochs=(3, 60)),
    "vae": Kind(vae),
    "conv_vae": Kind(conv_vae, epochs=(3, 60)),
    "iwae": Kind(iwae),
    "gan": Kind(gan, lr=2e-4, epochs=(40, 300)),
    "dcgan": Kind(dcgan, lr=2e-4, epochs=(5, 60)),
    "nice": Kind(nice, epochs=(10, 100), max_norm=100.0),
    "image_realnvp": Kind(image_realnvp, lr=2e-3, batch_size=32, epochs=(3, 60), max_norm=100.0),
    "glow": Kind(glow, lr=2e-3, batch_size=32, epochs=(3, 60), max_norm=100.0),
    "realnvp": Kind(realnvp, lr=5e-3, epochs=(100, 100), points=True),
    "gaussian_vae": Kind(gaussian_vae, lr=5e-3, batch_size=20, epochs=(100, 100), points=True),
}


def options(kind: Kind) -> dict[str, Any]:
    """The names and defaults of a builder's options."""
    return {p.name: p.default for p in list(inspect.signature(kind.build).parameters.values())[1:]}


def words(kind: Kind) -> dict[str, str]:
    """What each option is, from the lines `name: sentence` of the builder's docstring, without the full stop."""
    found: dict[str, str] = {}
    for line in inspect.cleandoc(kind.build.__doc__ or "").splitlines()[1:]:
        name, colon, sentence = line.partition(": ")
        if colon and name in options(kind):
            found[name] = sentence.rstrip(".")
    return found
