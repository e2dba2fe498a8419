"""Normalising flows: an invertible map from data to noise, and with it an exact density.

    z = f(x),   log p(x) = log p_Z(f(x)) + log |det ∂f/∂x|            z ~ p_Z, x = f⁻¹(z): sampling

f is a composition of the transforms in `nn.flows`, p_Z one of its base densities.  The models are what they are composed of:
`RealNVP` and `NICE` for vectors, `ImageRealNVP`, `Glow` and `ImageNICE` for images.

Names: `forward(x) -> (z, logdet)` from data to noise, `inverse(z) -> (x, logdet)` from noise to data; each logdet is that
of the direction it comes with, (batch,), in nats.

Sources: Dinh, Krueger, Bengio, "NICE", 2014; Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016; deck D4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, nn, ops, optim, training
from tinygen.models.model import Model
from tinygen.nn import flows


class Flow(Model):
    """The density of x when f(x) has the density `base`.

    transform: f, a `flows.Transform` from data to noise.  base: p_Z, a `flows.Density`.
    """

    transform: flows.Transform
    base: flows.Density

    def __init__(self, transform: flows.Transform, base: flows.Density):
        super().__init__()
        self.transform, self.base = transform, base

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """(z, log|det ∂z/∂x|): data to noise."""
        return self.transform(x)

    def inverse(self, z: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """(x, log|det ∂x/∂z|): noise to data."""
        return self.transform.inverse(z)

    def log_prob(self, x: tg.Tensor) -> tg.Tensor:
        """log p(x), exact: (batch,), in nats."""
        z, logdet = self.forward(x)
        return self.base.log_prob(z) + logdet

    def loss(self, x: tg.Tensor) -> tg.Tensor:
        """−log p(x), averaged over the batch: a number, in nats."""
        return -self.log_prob(x).mean()

    def latents(self, n: int) -> tg.Tensor:
        """n draws z ~ p_Z, on the model's device."""
        parameter = next(self.parameters())
        return self.base.sample(n, dtype=parameter.dtype, device=parameter.device)

    def sample(self, n: int, temperature: float = 1.0) -> tg.Tensor:
        """n draws of x, without recording.

        temperature: of the noise; below 1 the samples keep to where the density is high, and are no draws of it any more.
        """
        with tg.no_grad():
            return self.decode(temperature * self.latents(n))

    def encode(self, x: tg.Tensor) -> tg.Tensor:
        """z = f(x)."""
        return self.forward(x)[0]

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        """x = f⁻¹(z)."""
        return self.inverse(z)[0]

    def reconstruct(self, x: tg.Tensor) -> tg.Tensor:
        """f⁻¹(f(x)), which is x up to rounding: nothing is lost in the code of a flow.  Without recording."""
        with tg.no_grad():
            return self.decode(self.encode(x))


class ImageFlow(Flow):
    """A flow on images of 8-bit grey levels (or colours), (batch, *image), pixels k/255 in [0, 1].

        v = (255 x + u) / 256, u ~ U[0, 1)       bits/dim = (−log p(v) / D + log 256) / log 2

    `log_prob` and `forward` take dequantised images v, on which there is a density; `loss`, `encode` and `reconstruct` take
    images x as data sets have them and dequantise them; `decode` and `sample` return such images, clamped to what pixels
    can be.  D: numbers per image.  levels: how many grey levels there are (scikit-learn's digits have 17).
    image: (channels, height, width).  transform, base: as for `Flow`.
    """

    image: tuple[int, ...]
    levels: int

    def __init__(self, image: Sequence[int], transform: flows.Transform, base: flows.Density, levels: int = 256):
        super().__init__(transform, base)
        self.image, self.levels = tuple(image), levels
        self.dequantize: flows.Dequantize = flows.Dequantize(levels)

    def loss(self, x: tg.Tensor) -> tg.Tensor:
        """−log p(v) of the dequantised images, averaged over the batch: a number, in nats per image.  Lower is better."""
        return super().loss(self.dequantize(x))

    def bits_per_dim(self, x: tg.Tensor) -> tg.Tensor:
        """(batch,): bits per pixel that it takes to send the grey levels, by one draw of the dequantisation; an upper bound.

        Lower is better; never negative on average.  Baselines on MNIST: independent pixels 1.690, 8 with no model at all.
        """
        dims = math.prod(self.image)
        return (-self.log_prob(self.dequantize(x)) / dims + math.log(self.levels)) / math.log(2)

    def encode(self, x: tg.Tensor) -> tg.Tensor:
        """z = f(v): images -> (batch, D).  A draw: it differs by the dequantisation."""
        return super().encode(self.dequantize(x))

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        """The images of z: (batch, D) -> (batch, *image), pixels k/255 in [0, 1]."""
        return self.dequantize.inverse(super().decode(z))

    def manifold(self, four: tg.Tensor, n: int = 8) -> tg.Tensor:
        """The images on the curved surface through the codes of four images: (4, *image) -> (n, n, *image).

            z = cos φ (z₁ cos φ′ + z₂ sin φ′) + sin φ (z₃ cos φ′ + z₄ sin φ′),     φ, φ′ = 2π i / n

        Every point is about as far from 0 as the codes are, as noise in many dimensions always is; a straight line
        between codes is not.  Without recording.  Source: Dinh et al. 2016, section 4.2 and figure 6; deck D4, last figure.
        """
        if four.shape[0] != 4 or n < 1:
            raise ValueError(f"manifold: 4 images and n >= 1 are expected, got {four.shape[0]} and n={n}")
        with tg.no_grad():
            z = self.encode(four)
            angle = tg.linspace(0, 2 * math.pi, n + 1, dtype=z.dtype, device=z.device)[:-1]
            weight = ops.stack([angle.cos(), angle.sin()], 1)  # (n, 2)
            points = ops.einsum("pi,qj,ijd->pqd", weight, weight, z.reshape(2, 2, -1))
            return self.decode(points.flatten(0, 1)).unflatten(0, (n, n))


def check_dim(name: str, dim: int, depth: int) -> None:
    """Raises ValueError unless a coupling has something to pass and something to change."""
    if dim < 2 or depth < 2:
        raise ValueError(
            f"{name}: dim >= 2 and depth >= 2 are expected, got dim={dim}, depth={depth}; a coupling changes only half of "
            "the coordinates, given the other half"
        )


def fit(
    model: ImageFlow,
    images: np.ndarray,
    test: np.ndarray,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int = 0,
    watch: Callable[[int, ImageFlow], None] | None = None,
    keep: Path | None = None,
    name: str = "flow",
    settings: dict[str, Any] | None = None,
) -> training.Keeper:
    """Train a flow on images (n, *image) with Adam, its learning rate falling along a cosine to 0.

    Returns the keeper: its `seconds`, and in its `values` the "curve": [seconds, bits/dim of the first 1,000 test images], four
    times per epoch.  watch: called with (epoch, model) after every epoch.  keep, name, settings: of `training.Keeper`.
    """
    device = next(model.parameters()).device
    optimizer = optim.Adam(model.parameters(), lr=lr)
    loader = data.DataLoader(images, batch_size, shuffle=True, generator=seed, device=device)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    started_with = (settings or {}) | {"seed": seed, "device": str(device)}
    keeper = training.Keeper(keep, name, started_with, model=model, optimizer=optimizer, schedule=schedule)
    curve = keeper.values.setdefault("curve", [])
    every = max(1, len(loader) // 4)
    dims = math.prod(model.image)
    for epoch in keeper.epochs(epochs):
        for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            # The loss adds up all pixels, so its gradients are long, and those of single batches very long.
            nn.utils.clip_grad_norm_(model.parameters(), 100.0)
            optimizer.step()
            schedule.step()
            bar.set("bits/dim", loss=evaluate.bits_per_dim(loss.item(), dims, model.levels))
            if schedule.last_epoch % every == 0:
                with keeper.pause():
                    curve.append([round(keeper.seconds, 1), round(mean_bits_per_dim(model, test[:1000]), 4)])
        if watch is not None:
            watch(epoch + 1, model)
    return keeper


def mean_bits_per_dim(model: ImageFlow, images: np.ndarray) -> float:
    """Bits/dim averaged over all images, by one draw of the dequantisation each; in evaluation mode, without recording.

    The draws are the same in every call, and leave the default generator where it was; every module has its mode back.
    """
    device = next(model.parameters()).device
    generator = model.dequantize.generator
    model.dequantize.generator = tg.Generator(device).manual_seed(0)
    try:
        with nn.utils.evaluating(model), tg.no_grad():
            total = sum(model.bits_per_dim(x).sum().item() for x in data.DataLoader(images, 500, device=device))
    finally:
        model.dequantize.generator = generator
    return total / len(images)
