"""What the examples share beyond `tinygen.training`: which images to learn from, and small arithmetic for pictures."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, training
from tinygen.errors import UsageError
from tinygen.models import GaussianVAE
from tinygen.models.vae import gaussian_log_prob


def load(
    args: argparse.Namespace, fits: Callable[[int], bool] = lambda side: True, at_least: int = 1
) -> tuple[data.ImageDataset, data.ImageDataset]:
    """The images of --data: (train, test).

    fits: whether the model takes images with a side of so many pixels.  at_least: in smaller ones every pixel is doubled.
    Raises UsageError for images of other sizes, or few.
    """
    train, test = (enlarge(part, at_least) for part in training.load_images(args))
    if min(len(train), len(test)) < 10:
        raise UsageError(f"{train}, and {len(test)} for testing: ten and more are needed of each")
    height, width = train.image_shape[-2:]
    if not (fits(height) and fits(width)):
        possible = [side for side in range(at_least, 2 * max(height, width) + 64) if fits(side)]
        nearest = sorted(possible, key=lambda side: abs(side - (height * width) ** 0.5))[:2]
        raise UsageError(
            f"the images have {height}×{width} pixels, and this model takes sides of {', '.join(map(str, possible[:4]))}, ...: "
            f"--size {nearest[0]} resizes them, or --size {nearest[1]}"
        )
    print(f"{train}, {len(test)} more for testing")
    return train, test


def is_small(dataset: data.ImageDataset) -> bool:
    """Whether it is a set like the embedded 1,437 digits, which needs more epochs, and smaller networks will do."""
    return len(dataset) < 5000


def enlarge(dataset: data.ImageDataset, side: int) -> data.ImageDataset:
    """The images with every pixel doubled, as often as it takes to have so many pixels in height and in width."""
    if min(dataset.image_shape[-2:]) >= side:
        return dataset
    images = dataset.images.repeat(2, -2).repeat(2, -1)
    return enlarge(data.ImageDataset(dataset.name, images, dataset.labels), side)


def as_images(x: Any, like: data.ImageDataset) -> np.ndarray:
    """Rows of pixels as images: (..., H·W) -> (..., H, W), in colour (..., 3·H·W) -> (..., 3, H, W)."""
    x = x.detach().cpu().numpy() if isinstance(x, tg.Tensor) else x
    return x.reshape(*x.shape[:-1], *like.image_shape)


def between(start: tg.Tensor, end: tg.Tensor, steps: int = 11) -> tg.Tensor:
    """Straight lines from each row of `start` to that of `end`: (n, d), (n, d) -> (n, steps, d)."""
    weight = tg.linspace(0, 1, steps, device=start.device).reshape(1, steps, 1)
    return start.unsqueeze(1) * (1 - weight) + end.unsqueeze(1) * weight


def to_show(dataset: data.ImageDataset, n: int = 10) -> np.ndarray:
    """The indices of n images: the first of every class in the order of the classes, as far as there are, then others."""
    labels = np.zeros(0) if dataset.labels is None else dataset.labels
    first = np.unique(labels, return_index=True)[1]
    return np.concatenate([first, np.setdiff1d(np.arange(len(dataset)), first)])[:n]


def nearer_moon(points: np.ndarray) -> np.ndarray:
    """ "upper" or "lower", the arc of `data.two_moons` to which each point is nearer: (n, 2) -> (n,)."""
    t = np.linspace(0, np.pi, 100)
    arcs = np.array([[np.cos(t), np.sin(t)], [1 - np.cos(t), 0.5 - np.sin(t)]])  # (moon, coordinate, t)
    distance = np.square(points[:, None, :, None] - arcs).sum(2).min(2)
    return np.where(distance[:, 0] < distance[:, 1], "upper", "lower")


def density_from_prior(model: GaussianVAE, x: tg.Tensor, draws: int = 2000) -> np.ndarray:
    """log (1/K) Σ_k p(x|z_k), z_k ~ N(0, I): the mixture of Gaussians that `model.sample` draws from.  (n, 2) -> (n,).

    Only for pictures: with few latents it is smooth, and it misses no place that samples reach.  To *measure* a
    likelihood, `model.log_prob` needs far fewer draws, because it looks where the encoder points.
    """
    with tg.no_grad():
        mu, logvar = model.decode(model.latents(draws))
        parts = [gaussian_log_prob(part.unsqueeze(1), mu, logvar).logsumexp(1) for part in x.split(500)]
        return (tg.cat(parts) - math.log(draws)).cpu().numpy()
