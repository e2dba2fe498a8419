"""What the examples share beyond `tinygen.training`: which images to learn from, and small arithmetic for pictures."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, training

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
