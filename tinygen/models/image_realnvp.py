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
import time
from collections.abc import Callable, Sequence

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, nn, optim, training
from tinygen.models.conv_autoencoder import images_of
from tinygen.models.flow import ImageFlow
from tinygen.models.result import Result
from tinygen.nn import flows

Image = Sequence[int]
"""(channels, height, width)."""
Coupling = Callable[[tg.Tensor, int], flows.Transform]
"""Makes a coupling with that mask, whose networks have so many hidden channels."""


class ResidualNet(nn.Module):
    """s and t of a coupling: a convolution, residual blocks, and a convolution that starts at zero.

        h = conv(x),   h ← h + conv₁ₓ₁(relu(conv(relu(h)))),   out = conv(relu(h))

    All kernels but the named ones are 3×3, and all but the last weight-normalised; (batch, channels, H, W) -> (batch, 2 channels, H, W).  The last one's weights
    are 0 at first, so that the coupling starts as the identity and a stack of any depth can be trained.
    """

    def __init__(self, channels: int, hidden: int, blocks: int = 1):
        super().__init__()
        self.first = convolution(channels, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), convolution(hidden, hidden), nn.ReLU(), convolution(hidden, hidden, 1))
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(hidden, 2 * channels, 3, padding=1)
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

    image: (channels, height, width) with sides that 2^scales divides.  scales: how often it is squeezed and half of it factored out.
    hidden: channels of the networks s and t at the first scale, twice as many at the next; blocks: their residual blocks.  margin: of the logit transform.
    Raises ValueError for sides that do not do.
    """

    def __init__(
        self, image: Image = (1, 28, 28), scales: int = 2, hidden: int = 16, blocks: int = 1, margin: float = 0.05
    ):
        check_image("ImageRealNVP", image, scales)

        def coupling(mask: tg.Tensor, hidden: int) -> flows.Transform:
            channels = mask.shape[0]
            return flows.AffineCoupling(mask, ResidualNet(channels, hidden, blocks), bound=flows.TanhScale(channels))

        transform = flows.Composition(flows.Logit(margin), multiscale(image, scales, hidden, coupling))
        super().__init__(image, transform, flows.StandardNormal(math.prod(image)))


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
    ):
        check_image("Glow", image, scales)

        def coupling(mask: tg.Tensor, hidden: int) -> flows.Transform:
            channels = mask.shape[0]
            return flows.AffineCoupling(mask, ResidualNet(channels, hidden, blocks), bound=flows.SoftClamp(2.0))

        transform = flows.Composition(flows.Logit(margin), glow_scale(image, scales, steps, hidden, coupling))
        super().__init__(image, transform, flows.StandardNormal(math.prod(image)))


def check_image(name: str, image: Image, scales: int) -> None:
    """Raises ValueError, naming sizes that do, unless image is (channels, height, width) with sides that 2^scales divides."""
    if len(image) != 3 or min(image) < 1 or scales < 1:
        raise ValueError(
            f"{name}: image=(channels, height, width) and scales >= 1 are expected, got {tuple(image)} and {scales}"
        )
    factor = 2**scales
    wrong = [side for side in image[1:] if side % factor]
    if wrong:
        near = ", ".join(f"{side - side % factor} or {side - side % factor + factor}" for side in wrong)
        raise ValueError(
            f"{name}: {scales} squeezes halve the sides {scales} times, and {image[1]}×{image[2]} cannot be; pad or crop "
            f"the images to {near}, or choose fewer scales"
        )


# --- the number --------------------------------------------------------------------------------------------------------


def reproduce(
    dataset: tuple[data.Dataset, data.Dataset] | None = None,
    scales: int = 2,
    hidden: int = 32,
    blocks: int = 1,
    epochs: int = 6,
    batch_size: int = 32,
    lr: float = 2e-3,
    seed: int = 0,
    device: str = "cpu",
    watch: Callable[[int, ImageFlow], None] | None = None,
) -> Result:
    """Test bits/dim of the multi-scale RealNVP on MNIST's 8-bit grey levels.  Lower is better.

    Baseline: independent pixels, each with its own histogram, 1.690.  Published: RealNVP 1.06, after far longer training
    (Glow 1.05).  Floor: 0; nobody knows the entropy of handwriting.  An hour on two cores.
    dataset: (train, test); MNIST by default.  watch: called with (step, model) at every point of the curve.
    """
    train, test = data.mnist() if dataset is None else dataset
    x, x_test = images_of(train), images_of(test)
    tg.manual_seed(seed)
    model = ImageRealNVP(x.shape[1:], scales, hidden, blocks).to(device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    loader = data.DataLoader(x, batch_size, shuffle=True, generator=seed, device=device)
    steps = epochs * len(loader)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    every = max(1, len(loader) // 4)
    curve: list[tuple[float, float]] = []
    step, seconds = 0, 0.0
    for epoch in range(epochs):
        start = time.perf_counter()
        for batch in (bar := training.progress(loader, f"epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = model.loss(batch)
            loss.backward()
            # the loss adds up 784 pixels, so gradients are large, and single batches have very large ones
            nn.utils.clip_grad_norm_(model.parameters(), 100.0)
            optimizer.step()
            schedule.step()
            bar.set("bits/dim", loss=bits(loss.item(), model))
            step += 1
            if step % every == 0:
                seconds += time.perf_counter() - start
                curve.append((round(seconds, 1), round(bits_per_dim(model, x_test[:1000], device), 4)))
                if watch is not None:
                    watch(step, model)
                start = time.perf_counter()
        seconds += time.perf_counter() - start
    return Result(
        name="image RealNVP",
        metric="test bits/dim, 8-bit grey levels",
        unit="bits/dim",
        value=bits_per_dim(model, x_test, device),
        floor=0.0,
        baseline=evaluate.histogram_bits(train.flat, test.flat),
        published=1.06 if dataset is None else None,
        target="clearly < 1.690" if dataset is None else None,
        seed=seed,
        seconds=seconds,
        settings=dict(scales=scales, hidden=hidden, blocks=blocks, epochs=epochs, batch_size=batch_size, lr=lr),
        notes={
            "baseline": "independent pixels, a histogram for each",
            "published": "RealNVP, as listed for MNIST by the Fashion-MNIST project's readers; trained far longer",
            "parameters": sum(p.numel() for p in model.parameters()),
            "dequantisation": "one uniform draw per image: an upper bound",
            "curve": curve,
        },
    )


def bits_per_dim(model: ImageFlow, images: np.ndarray, device: str = "cpu") -> float:
    """Mean bits/dim of all images, without recording, in evaluation mode."""
    was_training = model.training
    model.eval()
    with tg.no_grad():
        total = sum(model.bits_per_dim(x).sum().item() for x in data.DataLoader(images, 500, device=device))
    model.train(was_training)
    return total / len(images)


def bits(nats: float, model: ImageFlow) -> float:
    """A loss in nats per image, as bits/dim."""
    return evaluate.bits_per_dim(nats, math.prod(model.image))
