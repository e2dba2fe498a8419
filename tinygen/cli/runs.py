"""A run's folder, read back: the model with its weights, and what it was started with."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import backend, checkpoint, data, models, training
from tinygen.cli.kinds import KINDS, Samples
from tinygen.errors import UsageError


@dataclass(frozen=True)
class Trained:
    """model: in evaluation mode, on the device that was asked for.  arguments: of the command that started the run."""

    folder: Path
    name: str
    model: Any
    arguments: dict[str, Any]
    epochs: int
    seconds: float

    @property
    def on_points(self) -> bool:
        """Whether it has learned points in the plane, not images."""
        return isinstance(self.model, models.GaussianVAE | models.RealNVP | models.NICE)


def read(path: Path, device: backend.Device | str = "cpu") -> Trained:
    """The trained model of a run: its folder, or one of the .safetensors files in it where there are several.

    Raises FileNotFoundError if there is none, ValueError if it cannot be told which, or the model cannot be made again,
    checkpoint.CheckpointError for a damaged file.
    """
    folder = path if path.is_dir() else path.parent
    file = path / "run.safetensors" if path.is_dir() else path
    if not checkpoint.exists(file):
        others = sorted(f.name for f in folder.glob("*.safetensors"))
        if not path.is_dir() or not others:
            raise FileNotFoundError(f"{path} is no run that was trained: there is no {file.name} in {folder}")
        if len(others) > 1:
            raise ValueError(
                f"{path} holds several models; choose one: {', '.join(str(path / name) for name in others)}"
            )
        file = folder / others[0]
    state = checkpoint.load(file)
    recipes = state.get("recipes") or {}
    if not recipes:
        raise ValueError(
            f"{file} does not say what its model was made with; only models of tinygen.models can be read back"
        )
    part, recipe = next(iter(recipes.items()))
    try:
        model = models.rebuild(recipe, state["parts"][part])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: the model {recipe.get('model')} cannot be made again: {error}") from error
    if not callable(getattr(model, "decode", None)):
        raise ValueError(f"{file} holds a {type(model).__name__}, which makes no images: nothing can be drawn from it")
    stored = training.config(folder)
    name = stored["name"] if file.stem == "run" else f"{stored['name']}, {file.stem}"
    return Trained(folder, name, model.to(device).eval(), stored["arguments"], state["epoch"], state["seconds"])


def samples(
    args: argparse.Namespace, points: bool, model: Any = None
) -> tuple[Samples, Samples, tuple[data.ImageDataset, data.ImageDataset] | None]:
    """What is to be learned, and new samples of it: (train, test, the data sets if they are images).

    Points are two moons, with args.noise, or the rows of numbers in an .npy, .npz or .csv file, of any width.  model: one that has learned, whose images may be those
    of the set with every pixel doubled, as the examples do it.
    """
    if points:
        return *_points(args), None
    if args.data is not None and (args.data in MOONS or Path(args.data).suffix.lower() in (".csv", ".tsv", ".txt")):
        raise UsageError(f"{args.data} are points, rows of numbers, and this model learns images; {_learners(True)}")
    train_set, test_set = training.load_images(args)
    if image := getattr(model, "image", None):
        train_set, test_set = _enlarged(train_set, image), _enlarged(test_set, image)
    sets = (train_set, test_set)
    images = [part.with_channels for part in sets]
    levels = data.grey_levels(np.concatenate(images))
    if levels is None:  # USPS, whose pixels were scaled: flows need steps between them
        images, levels = [(255 * x).round() / np.float32(255) for x in images], 256
    train, test = (Samples(x, levels) for x in images)
    return train, test, sets


def _enlarged(part: data.ImageDataset, image: tuple[int, ...] | None) -> data.ImageDataset:
    """The images with every pixel repeated, so that they have the shape that a model takes: (channels, height, width).

    Raises UsageError if no number of repetitions does it.
    """
    channels, height, width = part.with_channels.shape[1:]
    if image is None or image == (channels, height, width):
        return part
    times = image[-2] // height
    if image != (channels, times * height, times * width):
        raise UsageError(
            f"the model has learned images of shape {tuple(image)}, and {part} has others: {channels, height, width}; give "
            "the --data of its training"
        )
    return data.ImageDataset(part.name, part.images.repeat(times, -2).repeat(times, -1), part.labels)


MOONS = (None, "moons", "two_moons")
"""The data of models of points when they are no file."""


def _points(args: argparse.Namespace) -> tuple[Samples, Samples]:
    if args.data in MOONS:
        args.data, n = None, 300 if args.dry_run else 5000
        moons = (data.two_moons(n, args.noise, generator=args.seed + i).astype(np.float32) for i in range(2))
        return Samples(next(moons)), Samples(next(moons))
    if args.data in data.SETS or Path(args.data).is_dir():
        raise UsageError(f"{args.data} are images, and this model learns points, rows of numbers; {_learners(False)}")
    try:
        train, test = data.load_points(args.data, max_bytes=getattr(args, "max_bytes", None))  # one split for all seeds
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    return Samples(train), Samples(test)


def _learners(points: bool) -> str:
    names = ", ".join(name for name, kind in KINDS.items() if kind.points == points)
    return f"{'points' if points else 'images'} are learned by {names}"


def of_run(trained: Trained, args: argparse.Namespace) -> argparse.Namespace:
    """Arguments for `samples`: those of the run, but what this command asks for itself."""
    given = {key: value for key, value in vars(args).items() if value is not None}
    defaults = {"data": None, "size": None, "seed": 0, "noise": 0.1, "dry_run": False, "epochs": None}
    return argparse.Namespace(**(defaults | trained.arguments | given))


def rows_of(model: Any, x: np.ndarray) -> np.ndarray:
    """x as the model takes it: perceptrons take vectors."""
    return x if hasattr(model, "image") else x.reshape(len(x), -1)


def here(model: Any, x: np.ndarray) -> tg.Tensor:
    """The same, where the model is."""
    parameter = next(model.parameters())
    return tg.tensor(rows_of(model, x), dtype=parameter.dtype, device=parameter.device)
