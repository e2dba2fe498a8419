"""The deep convolutional GAN: the same game, between players that look at images as images.

    G:  z → Linear → (128, 7, 7) → ConvTranspose → (64, 14, 14) → ConvTranspose → (1, 28, 28) → tanh
    D:  the mirror image: (1, 28, 28) → Conv → (64, 14, 14) → Conv → (128, 7, 7) → Linear → logit

What made convolutional GANs train, in the words of 2016: strides instead of pooling, so that the networks learn their own
up- and downsampling; batch normalisation in both players, but not at the generator's output nor the discriminator's
input, where it would hide the colours of the images; ReLU in G, leaky ReLU in D, so that gradients reach G through every
unit of D; weights from N(0, 0.02²); Adam with β₁ = 0.5, because a game has no valley in which to gather momentum.
All kernels are 4×4 with stride 2: the stride divides the kernel, so every pixel is painted by equally many others.
Images of other sizes take more or fewer such layers: the smallest maps have sides of 4 to 7 (`models/fitting.py`).

The latents learn a geometry.  On the straight line between two of them every point is an image; and differences have a
meaning that holds elsewhere: with z̄ the mean latent of three images of a kind,

    G(z̄(smiling woman) − z̄(woman) + z̄(man))  is a smiling man.

Sources: Radford, Metz, Chintala, "Unsupervised representation learning with deep convolutional GANs", 2016; deck D2
("project and reshape", arithmetic on noise vectors).  The game itself: `models/gan.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, nn, ops, optim, training
from tinygen.models.conv_autoencoder import check_images, images_of
from tinygen.models.fitting import channels_of, check_image, halved, halvings, times
from tinygen.models.gan import GAN
from tinygen.models.judge import classifier_of
from tinygen.models.result import Result

Image = Sequence[int]
"""(channels, height, width)."""


class ConvGenerator(nn.Module):
    """z -> image: project, reshape, and transposed convolutions that each double the sides.  Pixels in (−1, 1).

    z: (batch, latent) -> (batch, *image).  channels: of the maps on the way, the smallest map first; see `DCGAN`.
    """

    def __init__(self, latent: int = 100, image: Image = (1, 28, 28), channels: Sequence[int] | None = None):
        super().__init__()
        colours, *sides = check_image("DCGAN", image)
        channels = channels_for(image) if channels is None else channels
        n, first = len(channels), channels[0]
        smallest = halved(sides, n)
        # the normalisation takes the mean of a channel away, so a bias before it would do nothing
        layers = [
            nn.Linear(latent, first * math.prod(smallest), bias=False),
            nn.Unflatten(1, (first, *smallest)),
        ]
        for i, (kernel, stride, padding) in enumerate(reversed(halvings(sides, n)), 1):
            after = colours if i == n else channels[i]
            layers += [
                nn.BatchNorm2d(channels[i - 1]),
                nn.ReLU(),
                nn.ConvTranspose2d(channels[i - 1], after, kernel, stride, padding, bias=i == n),
            ]
        self.network: nn.Module = initialize(nn.Sequential(*layers, nn.Tanh()))

    def forward(self, z: tg.Tensor) -> tg.Tensor:
        return self.network(z)


class ConvDiscriminator(nn.Module):
    """image -> logit of "real": convolutions that each halve the sides, and a linear layer.

    x: (batch, *image), pixels in [−1, 1] -> logits (batch,).  channels: of the maps, the largest map first.
    slope: of LeakyReLU below 0.
    """

    def __init__(self, image: Image = (1, 28, 28), channels: Sequence[int] | None = None, slope: float = 0.2):
        super().__init__()
        colours, *sides = check_image("DCGAN", image)
        channels = channels_for(image)[::-1] if channels is None else channels
        n = len(channels)
        layers: list[nn.Module] = []
        for i, (before, after, step) in enumerate(
            zip([colours, *channels], channels, halvings(sides, n), strict=False)
        ):
            normalise = [nn.BatchNorm2d(after)] if i else []
            layers += [nn.Conv2d(before, after, *step, bias=not normalise), *normalise, nn.LeakyReLU(slope)]
        last = nn.Linear(channels[-1] * math.prod(halved(sides, n)), 1)
        self.network: nn.Module = initialize(nn.Sequential(*layers, nn.Flatten(), last))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.network(x).squeeze(1)


def channels_for(image: Image) -> tuple[int, ...]:
    """Of the generator's maps, the smallest first: as many as it takes to begin with sides of 4 to 7, and at least two.

    (128, 64) for 28×28, which begins with 7×7, and for smaller images; (128, 128, 128, 64) for 64×64, which begins with 4×4.
    No convolution has more than 262,144 weights, the first layer no more than 6,272 for each latent.
    """
    n = len(halvings(check_image("DCGAN", image)[1:]))
    return channels_of(max(n, 2), first=64)[::-1]


class DCGAN(GAN):
    """The game of `GAN` between the two convolutional players: the same losses, the same `step`.

    latent: size of z.  image: (channels, height, width), of any size.  Sides that can be halved, as 64, make better images:
        where one is odd on the way, a kernel of 3 paints every other row by more weights than the one before.
    channels: the generator's, the smallest map first, the discriminator's backwards; each map is half of the next.  By
        default as many as suit the size, `channels_for(image)`.  saturating: see `GAN`.
    Images are (n, *image), in [0, 1] outside; the networks see 2x − 1.

    `decode`, and so `sample`, uses the running moments of the generator's normalisations, whatever the mode: an image
    then depends on its own latent alone and not on the company in which it was drawn.  The losses use the batch's moments,
    those of real and of forged images apart.
    Raises ValueError for what is no image size, ShapeError for images of another.
    """

    layout: str
    """The way of a latent through the generator: "100 numbers → 7×7 → 14×14 → 1×28×28"."""
    latent: int
    image: tuple[int, ...]
    saturating: bool

    def __init__(
        self,
        latent: int = 100,
        image: Image = (1, 28, 28),
        channels: Sequence[int] | None = None,
        saturating: bool = False,
    ):
        nn.Module.__init__(self)
        channels = channels_for(image) if channels is None else channels
        if not channels:
            raise ValueError(
                "DCGAN: the channels of at least one map are expected, got none; channels=None chooses them"
            )
        self.remember(channels=channels)
        self.latent, self.image, self.saturating = latent, tuple(image), saturating
        self.generator: ConvGenerator = ConvGenerator(latent, image, channels)
        self.discriminator: ConvDiscriminator = ConvDiscriminator(image, channels[::-1])
        way = [times(halved(image[1:], i)) for i in range(len(channels), 0, -1)]
        self.layout = " → ".join([f"{latent} numbers", *way, times(image)])

    def extra_repr(self) -> str:
        return self.layout

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        """The images of latents z: (n, latent) -> (n, *image), pixels in [0, 1]."""
        with nn.utils.evaluating(self.generator):
            return super().decode(z)

    def sample(self, n: int, at_once: int = 500) -> tg.Tensor:
        """n images, (n, *image), pixels in [0, 1], without recording; `at_once` at a time, to bound the memory."""
        return ops.cat([super(DCGAN, self).sample(min(at_once, n - i)) for i in range(0, max(n, 1), at_once)])

    def discriminator_loss(self, real: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        """As `GAN.discriminator_loss`, for a batch of images (batch, *image)."""
        return super().discriminator_loss(check_images(self, real))

    def interpolate(self, start: tg.Tensor, end: tg.Tensor, n: int = 11) -> tg.Tensor:
        """Images along the straight lines from the latents `start` to `end`, both included, without recording.

        start, end: (k, latent) -> (k, n, *image).  Raises ValueError for n < 2.
        """
        if n < 2:
            raise ValueError(f"DCGAN.interpolate: n >= 2 images, the two ends, are expected, got {n}")
        with tg.no_grad():
            way = tg.linspace(0, 1, n, dtype=start.dtype, device=start.device).reshape(1, n, 1)
            path = (1 - way) * start.unsqueeze(1) + way * end.unsqueeze(1)
            return self.decode(path.flatten(0, 1)).unflatten(0, path.shape[:2])

    def latents_of(
        self, label: int, n: int, predict: Callable[[tg.Tensor], tg.Tensor], tries: int = 10_000
    ) -> tg.Tensor:
        """n latents whose images a classifier calls `label`: (n, latent), drawn until enough are found.

        predict: images (m, *image) -> classes (m,), as `ConvClassifier.predict`.
        Raises RuntimeError if the class is not among `tries` samples often enough: the generator may have dropped it.
        """
        found: list[tg.Tensor] = []
        count = 0
        for _ in range(0, tries, 100):
            z = self.latents(100)
            with tg.no_grad():
                z = z[predict(self.decode(z)) == label]
            found, count = [*found, z], count + len(z)
            if count >= n:
                return ops.cat(found)[:n]
        raise RuntimeError(f"DCGAN.latents_of: {count} of {tries} samples are of class {label}, and {n} are needed")


def arithmetic(a: tg.Tensor, b: tg.Tensor, c: tg.Tensor) -> tg.Tensor:
    """mean(a) − mean(b) + mean(c) of latents of three kinds: (..., k, latent) each -> (..., latent).

    What a has and b has not, added to c.  With k = 3, the number in the paper, the three means of independent latents
    N(0, I) give N(0, 3 · I/3) = N(0, I): the result lies at the distance from 0 at which the generator was trained.
    Source: Radford et al. 2016, section 6.3.2.
    """
    return a.mean(-2) - b.mean(-2) + c.mean(-2)


def initialize(network: nn.Module) -> nn.Module:
    """Weights from N(0, 0.02²), biases 0; the normalisations stay the identity.  Source: Radford et al. 2016, section 4."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def train_epochs(
    model: GAN,
    images: np.ndarray,
    epochs: int,
    batch_size: int = 100,
    lr: float = 2e-4,
    seed: int = 0,
    keeper: training.Keeper | None = None,
) -> Iterator[int]:
    """Play the game, one step of D and one of G per batch, and yield the number of each epoch when it is done."""
    keeper = keeper or training.Keeper(None)
    d_optimizer = optim.Adam(model.discriminator.parameters(), lr=lr, betas=(0.5, 0.999))
    g_optimizer = optim.Adam(model.generator.parameters(), lr=lr, betas=(0.5, 0.999))
    device = next(model.parameters()).device
    loader = data.DataLoader(images, batch_size, shuffle=True, generator=seed, device=device, drop_last=True)
    keeper.add(model=model, d_optimizer=d_optimizer, g_optimizer=g_optimizer)
    for epoch in keeper.epochs(epochs):
        for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
            bar.set("", **model.step(d_optimizer, g_optimizer, x))
        yield epoch + 1


# --- the numbers -------------------------------------------------------------------------------------------------------


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    latent: int = 100,
    channels: Sequence[int] = (128, 64),
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 2e-4,
    samples: int = 10_000,
    seed: int = 0,
    device: str = "cpu",
    watch: Callable[[int, GAN], None] | None = None,
    keep: Path | None = None,
    name: str = "DCGAN on MNIST",
) -> Result:
    """Fréchet distance of 10,000 samples of the DCGAN to MNIST's test images.  Lower is better.

    In the features of our own classifier (`evaluate.FeatureDistance`; it is no FID, and nobody published a number for it).
    Floor: real training images in place of the samples.  Baseline: images of independent pixels.  The MLP GAN and the
    convolutional autoencoder and VAE are measured with the same device by the `reproduce` of their files.
    Also: the share of the rarest class among the samples, counted by the same classifier.
    dataset: (train, test), with labels; MNIST by default.  watch: called with (epoch, model) after every epoch.
    keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    classifier = classifier_of(train, device)
    distance = evaluate.FeatureDistance(classifier.features, train.flat, test.flat, samples)
    tg.manual_seed(seed)
    model = DCGAN(latent, images_of(train).shape[1:], channels).to(device)
    settings = dict(
        latent=latent, channels=list(channels), epochs=epochs, batch_size=batch_size, lr=lr, samples=distance.n
    )
    keeper = training.Keeper(keep, "dcgan", settings | {"data": train.name, "seed": seed, "device": device})
    for epoch in train_epochs(model, images_of(train), epochs, batch_size, lr, seed, keeper):
        if watch is not None:
            watch(epoch, model)

    images = model.sample(distance.n)
    unrelated = evaluate.independent_pixels(train.flat, distance.n, 0)
    shares, real_shares, trivial = (
        100 * evaluate.class_shares(x, classifier.predict) for x in (images, test.flat, unrelated)
    )
    common: dict[str, Any] = dict(seed=seed, seconds=keeper.seconds, settings=settings)
    return Result(
        name=f"{name}: samples",
        metric="Fréchet distance in our classifier's features",
        unit="squared features",
        value=distance(images),
        floor=distance.floor,
        baseline=distance(unrelated),
        notes={
            "floor": "real training images in place of the samples",
            "baseline": "images of independent pixels",
            "test accuracy of the classifier, %": round(classifier.accuracy(test), 2),
        },
        **common,
        more=(
            Result(
                name=f"{name}: classes",
                metric=f"share of the rarest class among {distance.n:,} samples",
                unit="%",
                value=float(shares.min()),
                floor=float(real_shares.min()),
                baseline=float(trivial.min()),
                target=">= 3 %, so that no class is missing" if dataset is None else None,
                notes={
                    "ceiling": "the rarest class of the test images, by the same classifier",
                    "baseline": "images of independent pixels",
                    "shares of the classes 0-9, %": [round(float(s), 1) for s in shares],
                },
                **common,
            ),
        ),
    )


def reproduce_fashion(dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None, **options: Any) -> Result:
    """The same as `reproduce` for Fashion-MNIST, whose classes are kinds of clothes.  Lower is better.

    dataset: (train, test), with labels; Fashion-MNIST by default.  options: those of `reproduce`.
    """
    return reproduce(dataset or data.fashion_mnist(), name="DCGAN on Fashion-MNIST", **options)
