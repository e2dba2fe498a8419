"""A run's folder, read back: the model with its weights, and what it was started with."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import backend, checkpoint, data, harmless, models, training
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


def folder_of(path: Path) -> Path:
    """The folder of a run, which itself or a file in it was named."""
    return path if path.is_dir() else path.parent


def read(path: Path, device: backend.Device | str = "cpu") -> Trained:
    """The trained model of a run: its folder, or one of the .safetensors files in it where there are several.

    Raises FileNotFoundError if there is none, ValueError for another file, if it cannot be told which, or the model cannot be made again,
    checkpoint.CheckpointError for a damaged file.
    """
    if path.is_file() and path.suffix != ".safetensors":  # such as runs/compare.png among runs/*
        raise ValueError(f"{path} is not a run: a folder, or a .safetensors file in it, is expected")
    folder = folder_of(path)
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
    part, recipe, epochs, seconds = _fields(file, state)
    try:
        model = models.rebuild(recipe, part)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: the model {recipe.get('model')} cannot be made again: {error}") from error
    if not callable(getattr(model, "decode", None)):
        raise ValueError(f"{file} holds a {type(model).__name__}, which makes no images: nothing can be drawn from it")
    stored = training.config(folder)
    name = stored["name"] if file.stem == "run" else f"{stored['name']}, {file.stem}"
    return Trained(folder, name, model.to(device).eval(), stored["arguments"], epochs, seconds)


def _fields(file: Path, state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], int, float]:
    """(values of the model, its recipe, epochs, seconds) in the state of a checkpoint; ValueError for any of another kind."""
    recipes, parts = state.get("recipes") or {}, state.get("parts")
    if recipes == {}:
        raise ValueError(
            f"{file} does not say what its model was made with; only models of tinygen.models can be read back"
        )
    part = next(iter(recipes)) if isinstance(recipes, dict) else None
    recipe, values = (d.get(part) if isinstance(d, dict) else None for d in (recipes, parts))
    epochs, seconds = state.get("epoch"), state.get("seconds", 0.0)
    fits = {
        "recipes": isinstance(recipe, dict),
        "parts": isinstance(values, dict),
        "epoch": type(epochs) is int and 0 <= epochs < 2**63,
        "seconds": type(seconds) in (int, float) and 0 <= seconds < 2**63,
    }
    if wrong := [name for name, is_right in fits.items() if not is_right]:
        raise ValueError(f"{file} is damaged: {wrong[0]} is {harmless.text(repr(state.get(wrong[0])), 100)}")
    return values, recipe, epochs, seconds  # type: ignore[return-value]


def samples(
    args: argparse.Namespace, points: bool, model: Any = None
) -> tuple[Samples, Samples, tuple[data.ImageDataset, data.ImageDataset] | None]:
    """What is to be learned, and new samples of it: (train, test, the data sets if they are images).

    Points are two moons, with args.noise, or the rows of numbers in an .npy, .npz or .csv file, of any width.  model: one that
    has learned, whose images may be those of the set with every pixel doubled, as the examples do it.
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
        moons = (data.two_moons(n, args.noise, generator=i).astype(np.float32) for i in range(2))  # for all seeds
        return Samples(next(moons)), Samples(next(moons))
    if args.data in data.SETS or Path(args.data).is_dir():
        raise UsageError(f"{args.data} are images, and this model learns points, rows of numbers; {_learners(False)}")
    try:
        train, test = data.load_points(args.data, max_bytes=getattr(args, "max_bytes", None))  # one split for all seeds
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    args.data_checksum = data.checksum(train, test)
    return Samples(train), Samples(test)


def _learners(points: bool) -> str:
    names = ", ".join(name for name, kind in KINDS.items() if kind.points == points)
    return f"{'points' if points else 'images'} are learned by {names}"


def of_run(trained: Trained, args: argparse.Namespace) -> argparse.Namespace:
    """Arguments for `samples_of`: those of the run, but what this command asks for itself.

    Raises ValueError for arguments in config.json that are of another kind.
    """
    given = {key: value for key, value in vars(args).items() if value is not None}
    defaults: dict[str, Any] = {
        "data": None,
        "size": None,
        "seed": 0,
        "noise": 0.1,
        "dry_run": False,
        "crop": False,
        "image": None,
    }
    stored = {name: trained.arguments.get(name, default) for name, default in defaults.items()}
    image, size, noise = stored["image"], stored["size"], stored["noise"]
    fits = {
        "data": stored["data"] is None or isinstance(stored["data"], str),
        "size": size is None or _is_count(size),
        "seed": type(stored["seed"]) is int and 0 <= stored["seed"] < 2**63,
        "noise": type(noise) in (int, float) and 0 <= noise < math.inf,
        "dry_run": isinstance(stored["dry_run"], bool),
        "crop": isinstance(stored["crop"], bool),
        "image": image is None or isinstance(image, list) and len(image) == 3 and all(map(_is_count, image)),
    }
    if wrong := [name for name, is_right in fits.items() if not is_right]:
        raise ValueError(
            f"{trained.folder / 'config.json'} is damaged: {wrong[0]} is {harmless.text(repr(stored[wrong[0]]), 100)}"
        )
    limits = {"epochs": None, "max_bytes": None}  # those of whoever reads it
    return argparse.Namespace(**(limits | stored | given), path=given.get("data"))


def _is_count(n: Any) -> bool:
    return type(n) is int and 0 < n < 2**31


def samples_of(args: argparse.Namespace, trained: Trained) -> tuple[Samples, Samples, Any]:
    """`samples` for a model that has learned.  args: as `of_run` makes them.

    A path comes from the command line only: one in a run's folder may lead to any file of whoever reads it.  And nothing is
    resized to more than the model takes.
    """
    if args.path is None and args.data not in (*MOONS, *data.SETS):
        raise UsageError(f"{trained.name} has learned from {args.data}; say where that is: --data PATH")
    image = shape_of(args, trained)
    if args.size is not None and any(side % args.size for side in image[1:]):
        raise UsageError(f"{trained.name} has learned images of shape {image}, and none of size {args.size}")
    return samples(args, trained.on_points, trained.model)


def shape_of(args: argparse.Namespace, trained: Trained) -> tuple[int, ...]:
    """(channels, height, width) of what the model has learned, as far as the run knows; else ()."""
    if image := getattr(trained.model, "image", None):
        return tuple(image)
    weights = sum(p.numel() for p in trained.model.parameters())
    if math.prod(args.image or ()) > weights:  # a perceptron has more than one for every pixel
        raise ValueError(f"{trained.folder / 'config.json'} is damaged: image is {args.image}, for {weights:,} weights")
    return tuple(args.image or ())


class Promised:
    """The samples of a run, whose shape is known, and which are read when somebody looks at them."""

    def __init__(self, image: tuple[int, ...], read: Callable[[], Samples]):
        self._image, self._read = image, read

    @property
    def image(self) -> tuple[int, ...]:
        return self._image or self._read().image

    @property
    def x(self) -> np.ndarray:
        return self._read().x


def promised(args: argparse.Namespace, trained: Trained) -> tuple[Any, Any]:
    """(train, test) as `samples_of` gives them, but not before they are needed: most models draw without them."""
    read = lru_cache(lambda: samples_of(args, trained))
    image = shape_of(args, trained)
    return Promised(image, lambda: read()[0]), Promised(image, lambda: read()[1])


def rows_of(model: Any, x: np.ndarray) -> np.ndarray:
    """x as the model takes it: perceptrons take vectors."""
    return x if hasattr(model, "image") else x.reshape(len(x), -1)


def here(model: Any, x: np.ndarray) -> tg.Tensor:
    """The same, where the model is."""
    parameter = next(model.parameters())
    return tg.tensor(rows_of(model, x), dtype=parameter.dtype, device=parameter.device)
