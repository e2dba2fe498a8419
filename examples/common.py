"""What the examples share beyond `tinygen.training`: which images to learn from, and small arithmetic for pictures."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, training
from tinygen.models import GaussianVAE
from tinygen.models.vae import gaussian_log_prob

SETS = {"digits": data.digits, "mnist": data.mnist, "fashion": data.fashion_mnist}


def image_parser(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The common arguments, and --data.  Without --epochs an example chooses as many as its data set needs."""
    parser = training.parser(description, epochs=1, **defaults)
    parser.set_defaults(epochs=None)
    parser.add_argument(
        "--data", choices=SETS, help="images to learn from (default: mnist if it can be had, else digits)"
    )
    return parser


def load(args: argparse.Namespace) -> tuple[data.Dataset, data.Dataset]:
    """The data set of --data: (train, test).  With --dry-run only a few images of it, and 2 epochs."""
    if args.data is None:
        try:
            train, test = data.mnist()
        except FileNotFoundError:
            print("MNIST is not here and could not be downloaded: learning from the embedded digits.", file=sys.stderr)
            train, test = data.digits()
    else:
        train, test = SETS[args.data]()
    if args.dry_run:
        train, test, args.epochs = train.subset(slice(500)), test.subset(slice(200)), 2
    print(f"{train}, {len(test)} more for testing")
    return train, test


def is_small(dataset: data.Dataset) -> bool:
    """Whether it is the embedded set of 1,437 digits, which needs more epochs and smaller networks."""
    return len(dataset) < 5000


def grey_levels(dataset: data.Dataset) -> int:
    """How many levels of grey its pixels k / (levels - 1) have: 2, 17 (the embedded digits) or 256."""
    for levels in (2, 17):
        steps = (levels - 1) * dataset.images
        if np.array_equal(steps, steps.round()):
            return levels
    return 256


def enlarge_if_small(dataset: data.Dataset) -> data.Dataset:
    """The embedded digits with every pixel doubled, 16×16: the layers of the convolutional models need at least that."""
    if min(dataset.images.shape[1:]) >= 16:
        return dataset
    return data.Dataset(dataset.name, dataset.images.repeat(2, 1).repeat(2, 2), dataset.labels)


def as_images(x: Any, like: data.Dataset) -> np.ndarray:
    """Rows of pixels as images: (..., H·W) -> (..., H, W)."""
    x = x.detach().cpu().numpy() if isinstance(x, tg.Tensor) else x
    return x.reshape(*x.shape[:-1], *like.images.shape[1:])


def between(start: tg.Tensor, end: tg.Tensor, steps: int = 11) -> tg.Tensor:
    """Straight lines from each row of `start` to that of `end`: (n, d), (n, d) -> (n, steps, d)."""
    weight = tg.linspace(0, 1, steps, device=start.device).reshape(1, steps, 1)
    return start.unsqueeze(1) * (1 - weight) + end.unsqueeze(1) * weight


def first_of_each_class(dataset: data.Dataset) -> np.ndarray:
    """The index of the first image of every class, in the order of the classes."""
    return np.unique(dataset.labels, return_index=True)[1]


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
