"""RealNVP for images: couplings by convolutions, at several scales.

    scale    3 couplings with checkerboard masks, squeeze (C, H, W) -> (4C, H/2, W/2), 3 couplings with channel masks,
             half of the channels are done, and the other half goes on to the next scale
    last     4 couplings with checkerboard masks

So structure is explained from fine to coarse: what leaves early is detail, given the rest.  All of it works on logits of the
dequantised pixels (`ImageFlow`, `flows.Logit`), so that no density is wasted on what pixels cannot be.

Sources: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016, sections 3.4-3.6, 4.1; deck D4.
`Glow`'s steps: Kingma, Dhariwal 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import tinygen as tg
from tinygen import data, evaluate, nn
from tinygen.models.conv_autoencoder import images_of
from tinygen.models.flow import ImageFlow, fit, mean_bits_per_dim
from tinygen.models.result import Result
from tinygen.nn import flows

Image = Sequence[int]
"""(channels, height, width)."""
Coupling = Callable[[tg.Tensor, int], flows.Transform]
"""Makes a coupling with that mask, whose networks have so many hidden channels."""


class ResidualNet(nn.Module):
    """s and t of a coupling: a convolution, residual blocks, and a convolution that starts at zero.

        h = conv(x),   h ← h + conv₁ₓ₁(relu(conv(relu(h)))),   out = conv(relu(h))

    All kernels but the named one are 3×3, and all but the last convolution weight-normalised.  The last one's weights are 0
    at first, so that the coupling starts as the identity and a stack of any depth can be trained.
    (batch, channels, H, W) -> (batch, 2 channels, H, W)
    """

    def __init__(self, channels: int, hidden: int, blocks: int = 1):
        super().__init__()
        self.first: nn.Module = convolution(channels, hidden)
        self.blocks: nn.ModuleList = nn.ModuleList(
            nn.Sequential(nn.ReLU(), convolution(hidden, hidden), nn.ReLU(), convolution(hidden, hidden, 1))
            for _ in range(blocks)
        )
        self.last: nn.Conv2d = nn.Conv2d(hidden, 2 * channels, 3, padding=1)
        for p in self.last.parameters():
            nn.init.zeros_(p)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h.relu())


def convolution(channels: int, out: int, kernel: int = 3) -> nn.Module:
    """A convolution that keeps the size of images, with weight normalisation (Salimans, Kingma 2016)."""
    return nn.utils.weight_norm(nn.Conv2d(channels, out, kernel, padding=kernel // 2))


def multiscale(image: Image, scales: int, hidden: int, coupling: Coupling) -> flows.Composition:
    """The flow on images of that shape: one scale, and the same again on half of what it leaves.  (batch, *image) -> (batch, D)

    Where the images get smaller, the networks get wider: hidden channels double at every scale.
    """
    checkerboards = [coupling(flows.checkerboard_mask(image, i), hidden) for i in range(3 if scales else 4)]
    if scales == 0:
        return flows.Composition(*checkerboards, flows.Reshape(image, (math.prod(image),)))
    channels, height, width = image
    squeezed = (4 * channels, height // 2, width // 2)
    halves = [coupling(flows.channel_mask(squeezed, i), hidden) for i in range(3)]
    rest = multiscale((2 * channels, height // 2, width // 2), scales - 1, hidden, coupling)
    return flows.Composition(*checkerboards, flows.Squeeze(), *halves, flows.FactorOut(squeezed, rest))


class ImageRealNVP(ImageFlow):
    """The multi-scale RealNVP over N(0, I).

    image: (channels, height, width) with sides that 2^scales divides.
    scales: how often it is squeezed and half of it factored out.
    hidden: channels of the networks s and t at the first scale, twice as many at the next; blocks: their residual blocks.
    margin: of the logit transform; levels: of grey.
    Raises ValueError for sides that do not do.
    """

    def __init__(
        self,
        image: Image = (1, 28, 28),
        scales: int = 2,
        hidden: int = 16,
        blocks: int = 1,
        margin: float = 0.05,
        levels: int = 256,
    ):
        check_image("ImageRealNVP", image, scales)

        def coupling(mask: tg.Tensor, hidden: int) -> flows.Transform:
            channels = mask.shape[0]
            return flows.AffineCoupling(mask, ResidualNet(channels, hidden, blocks), bound=flows.TanhScale(channels))

        transform = flows.Composition(flows.Logit(margin), multiscale(image, scales, hidden, coupling))
        super().__init__(image, transform, flows.StandardNormal(math.prod(image)), levels)


def glow_scale(image: Image, scales: int, steps: int, hidden: int, coupling: Coupling) -> flows.Composition:
    """Squeeze; `steps` times activation norm, 1×1 convolution, coupling; half is done.  (batch, *image) -> (batch, D)"""
    channels, height, width = image
    squeezed = (4 * channels, height // 2, width // 2)
    layers: list[flows.Transform] = [flows.Squeeze()]
    for _ in range(steps):
        mask = flows.channel_mask(squeezed)
        layers += [flows.ActNorm(squeezed[0]), flows.InvertibleConv1x1(squeezed[0]), coupling(mask, hidden)]
    if scales == 1:
        return flows.Composition(*layers, flows.Reshape(squeezed, (math.prod(squeezed),)))
    rest = glow_scale((2 * channels, height // 2, width // 2), scales - 1, steps, hidden, coupling)
    return flows.Composition(*layers, flows.FactorOut(squeezed, rest))


class Glow(ImageFlow):
    """Glow: learned 1×1 convolutions mix the channels between couplings, instead of masks that alternate.

    image: (channels, height, width) with sides that 2^scales divides.  steps: couplings per scale.
    hidden, blocks: as for ImageRealNVP.  The networks of the paper have one 1×1 layer in the middle; ours are residual.
    The first batch in training mode sets the activation norms.
    Source: Kingma, Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018.
    """

    def __init__(
        self,
        image: Image = (1, 28, 28),
        scales: int = 2,
        steps: int = 4,
        hidden: int = 16,
        blocks: int = 1,
        margin: float = 0.05,
        levels: int = 256,
    ):
        check_image("Glow", image, scales)

        def coupling(mask: tg.Tensor, hidden: int) -> flows.Transform:
            channels = mask.shape[0]
            return flows.AffineCoupling(mask, ResidualNet(channels, hidden, blocks), bound=flows.SoftClamp(2.0))

        transform = flows.Composition(flows.Logit(margin), glow_scale(image, scales, steps, hidden, coupling))
        super().__init__(image, transform, flows.StandardNormal(math.prod(image)), levels)


def check_image(name: str, image: Image, scales: int) -> None:
    """Raises ValueError, naming sizes that do, unless image is (channels, height, width) with sides that 2^scales divides."""
    if len(image) != 3 or min(image) < 1 or scales < 1:
        raise ValueError(
            f"{name}: image=(channels, height, width) and scales >= 1 are expected, got {tuple(image)} and {scales}"
        )
    factor = 2**scales
    wrong = [side for side in image[1:] if side % factor]
    if wrong:
        near = ", ".join(
            " or ".join(str(n) for n in (side - side % factor, side - side % factor + factor) if n) for side in wrong
        )
        raise ValueError(
            f"{name}: {scales} squeezes halve the sides {scales} times, and {image[1]}×{image[2]} cannot be; pad or crop "
            f"the images to {near}, or choose fewer scales"
        )


# --- the number --------------------------------------------------------------------------------------------------------


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    scales: int = 2,
    hidden: int = 32,
    blocks: int = 1,
    epochs: int = 6,
    batch_size: int = 32,
    lr: float = 2e-3,
    levels: int = 256,
    seed: int = 0,
    device: str = "cpu",
    watch: Callable[[int, ImageFlow], None] | None = None,
    keep: Path | None = None,
) -> Result:
    """Test bits/dim of the multi-scale RealNVP on MNIST's 8-bit grey levels.  Lower is better.

    Baseline: independent pixels, each with its own histogram, 1.690.  Published: RealNVP 1.06, after far longer training
    (Glow 1.05).  Floor: 0; nobody knows the entropy of handwriting.  Less than an hour on two cores.
    dataset: (train, test); MNIST by default.  levels: of its grey.  watch: called with (epoch, model) after every epoch.
    keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    tg.manual_seed(seed)
    model = ImageRealNVP(images_of(train).shape[1:], scales, hidden, blocks, levels=levels).to(device)
    settings = dict(scales=scales, hidden=hidden, blocks=blocks, epochs=epochs, batch_size=batch_size, lr=lr)
    keeper = fit(
        model, images_of(train), images_of(test), epochs, batch_size, lr, seed, watch, keep, "image_realnvp", settings
    )
    baseline = evaluate.histogram_bits(train.flat, test.flat, levels=levels)
    return Result(
        name="image RealNVP",
        metric="test bits/dim, 8-bit grey levels",
        unit="bits/dim",
        value=mean_bits_per_dim(model, images_of(test)),
        floor=0.0,
        baseline=baseline,
        published=1.06 if dataset is None else None,
        target="clearly < 1.690" if dataset is None else None,
        seed=seed,
        seconds=keeper.seconds,
        settings=settings,
        notes={
            "baseline": "independent pixels, a histogram for each",
            "published": "RealNVP on MNIST, trained far longer (Glow: 1.05)",
            "parameters": sum(p.numel() for p in model.parameters()),
            "dequantisation": "one uniform draw per image, so the value is an upper bound",
        },
        curves={
            "test, first 1,000 images": keeper.values["curve"],
            "independent pixels": [[x, round(baseline, 4)] for x in (0.0, round(keeper.seconds, 1))],
        },
        axes=("seconds of training", "bits/dim"),
    )
