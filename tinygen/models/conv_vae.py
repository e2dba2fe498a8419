"""The convolutional VAE: the layers of the convolutional autoencoder, and a density over its codes that is known.

    z ~ N(0, I),   x ~ N(g(z), σ² I)                       the decoder's variance σ² is fixed
    q(z|x) = N(μ(x), diag s²(x)),   log s² = log 0.01 + the encoder's second half of outputs

    −ELBO(x) = E_{z~q} ‖x − g(z)‖² / 2σ² + (D/2) log 2πσ² + KL(q(z|x) ‖ N(0, I))

**log 0.01.**  The deck adds it to what the encoder returns.  That is a re-centred parameter, not another objective: the
encoder can learn to cancel it with its last bias.  It sets where the training starts, at a posterior standard deviation of
0.1, so that the decoder first sees a code and not mostly noise.

**What the deck minimises** are two means: the squared error averaged over the D pixels, plus half of KL averaged over the d
latents,

    ℓ = (1/D) ‖x − g(z)‖² + (1/2d) KL      so that      −ELBO = 2d ℓ + (D/2) log 2πσ²   with   σ² = D / 4d

Averaging chooses the decoder's variance: 196/d for 28×28 pixels, 6.1 for d = 32.  `loss` is the −ELBO, in nats; as Adam's
step does not depend on the scale of a loss, it trains as the deck's ℓ does.

**The trap.**  σ² is the price of a latent: a direction in pixel space in which the images vary by less than σ² is worth
less than its KL, and the best encoder ignores it.  (Exactly so for a linear decoder, which finds the principal components
with a variance above σ².)  MNIST with pixels in [0, 1] varies by 5.12 in its first principal component, and by 52.7 in all:
nothing is worth 6.1, q(z|x) = N(0, I) for every x, and every image is answered by the mean image.  Standardised pixels, as
the deck's course uses them, vary 10.5 times as much, and 20 principal components stay above the price.

Sources: deck D4 (listing); Kingma, Welling 2014; Tipping, Bishop, "Probabilistic principal component analysis", 1999, and
Lucas, Tucker, Grosse, Norouzi, "Don't blame the ELBO!", 2019, for the price of a latent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import tinygen as tg
from tinygen import data, evaluate, nn, ops, training
from tinygen.models.conv_autoencoder import (
    LAYERS,
    Layers,
    check_images,
    conv_decoder,
    conv_encoder,
    images_of,
    in_batches,
    layers_for,
    layout,
    squared_error,
    train_epochs,
)
from tinygen.models.fitting import bounded
from tinygen.models.judge import judge
from tinygen.models.result import Result
from tinygen.models.vae import VAE, gaussian_log_prob, kl_to_standard_normal

INITIAL_LOGVAR = math.log(0.01)
"""log s² of q(z|x) where the encoder returns 0: a standard deviation of 0.1."""


class ConvVAE(VAE):
    """Deck D4's convolutional VAE: the encoder of `ConvAutoencoder` with 2·latent outputs, and its decoder.

    latent: d.  image: (channels, height, width).  layers: see `ConvAutoencoder`.
    pixels: mean and standard deviation of all pixels of the training images, by default MNIST's.  Images are in [0, 1]
        outside; the networks see (x − mean) / std.
    variance: σ² of the standardised pixels; by default D/4d, which is the deck's objective.  In pixels of [0, 1] it is std²
        times that, 0.58 for MNIST and d = 32.
    x: (batch, *image), in [0, 1].  All densities are over those pixels, in nats.
    Raises ValueError for images whose size does not fit the layers, ShapeError for images of another size.
    """

    pixel_mean: tg.Tensor
    pixel_std: tg.Tensor
    log_variance: tg.Tensor
    latent: int
    image: tuple[int, ...]
    layout: str

    def __init__(
        self,
        latent: int = 32,
        image: Sequence[int] = (1, 28, 28),
        layers: Layers | None = None,
        pixels: tuple[float, float] = (0.1307, 0.3081),
        variance: float | None = None,
    ):
        super().__init__()
        mean, std = map(float, pixels)
        variance = math.prod(image) / (4 * latent) if variance is None else variance
        if not (std > 0 and variance > 0):
            raise ValueError(f"ConvVAE: std > 0 and variance > 0 are expected, got pixels={pixels}, {variance=}")
        layers = layers_for(image) if layers is None else layers
        self.remember(layers=layers)
        self.latent, self.image, self.layout = latent, tuple(image), layout(image, latent, layers)
        self.encoder: nn.Sequential = conv_encoder(self.image, 2 * latent, layers)
        self.decoder: nn.Sequential = conv_decoder(latent, self.image, layers)
        self.register_buffer("pixel_mean", tg.tensor(mean))
        self.register_buffer("pixel_std", tg.tensor(std))
        self.register_buffer("log_variance", tg.tensor(math.log(std**2 * variance)))  # of the pixels in [0, 1]

    def extra_repr(self) -> str:
        return self.layout

    def encode(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """The parameters of q(z|x): (batch, *image) -> μ, log s²: (batch, latent) each, log s² within ±14."""
        u = (check_images(self, x) - self.pixel_mean) / self.pixel_std
        mu, logvar = self.encoder(u).flatten(1).chunk(2, 1)
        return mu, bounded(logvar + INITIAL_LOGVAR)

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        """The mean of p(x|z), the image g(z): (batch, latent) -> (batch, *image), near [0, 1]."""
        return self.pixel_mean + self.pixel_std * self.decoder(z[:, :, None, None])

    def mean(self, z: tg.Tensor) -> tg.Tensor:
        """E[x | z] for z (n, latent): (n, *image)."""
        return self.decode(z)

    def log_prob_given(self, x: tg.Tensor, z: tg.Tensor) -> tg.Tensor:
        """log p(x|z): (batch,), in nats."""
        return gaussian_log_prob(x.flatten(1), self.decode(z).flatten(1), self.log_variance)

    def sample(self, n: int) -> tg.Tensor:
        """g(z) for n latents z ~ N(0, I), without recording, a few hundred at a time: (n, *image).

        Without the decoder's noise, as the deck shows them.  To be a sample of p(x) it lacks noise of standard deviation
        0.76 (d = 32), in which no digit would be seen: σ² is a weight between two terms here, not a belief about pixels.
        """
        return in_batches(self.decode, self.latents(n), self.pixel_mean)


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    latent: int = 32,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 1e-3,
    samples: int = 10_000,
    layers: Layers = LAYERS,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Fréchet distance of 10,000 samples of D4's convolutional VAE to MNIST's test images.  Lower is better.

    In the features of our own classifier (`evaluate.FeatureDistance`; it is no FID).  Floor: real training images in place
    of the samples.  Baseline: images of independent pixels.  The convolutional autoencoder's samples are measured with the
    same device by `conv_autoencoder.reproduce`.  The deck shows pictures and no number.
    Also: the test error of the reconstructions (mean to mean), summed over the pixels of an image, beside PCA.
    dataset: (train, test), with labels; MNIST by default.  keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    judged = judge(train, test, samples, device)
    distance = judged.distance
    tg.manual_seed(seed)
    pixels = (float(train.images.mean()), float(train.images.std()))
    model = ConvVAE(latent, images_of(train).shape[1:], layers, pixels).to(device)
    settings = dict(latent=latent, epochs=epochs, batch_size=batch_size, lr=lr, samples=distance.n)
    keeper = training.Keeper(keep, "conv_vae", settings | {"seed": seed, "device": device})
    for _ in train_epochs(model, images_of(train), epochs, batch_size, lr, seed, device, keeper):
        pass
    posterior = in_batches(lambda x: ops.cat(model.encode(x), 1), images_of(test), model.pixel_mean)
    mu, logvar = posterior.chunk(2, 1)
    pca = evaluate.PCA.fit(train.flat, latent)
    return Result(
        name="conv VAE: samples",
        metric="Fréchet distance in our classifier's features",
        unit="squared features",
        value=distance(model.sample(distance.n)),
        floor=distance.floor,
        baseline=judged.unrelated,
        seed=seed,
        seconds=keeper.seconds,
        settings=settings,
        notes=judged.notes,
        more=(
            Result(
                name="conv VAE: reconstructions",
                metric="test squared error, summed per image",
                unit="grey levels²",
                value=squared_error(model, images_of(test)),
                floor=0.0,
                baseline=evaluate.squared_error(pca.reconstruct, test.flat),
                seed=seed,
                seconds=keeper.seconds,
                settings=settings,
                notes={
                    "baseline": f"PCA with {latent} components",
                    "KL, nats per image": round(kl_to_standard_normal(mu, logvar).mean().item(), 2),
                    "latents in use, whose mean varies by more than 0.01": int((mu.var(0) > 0.01).sum().item()),
                },
            ),
        ),
    )
