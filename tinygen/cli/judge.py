"""The numbers of a trained model, beside baseline and floor; several runs side by side."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, models, plot, training
from tinygen.cli import runs, show
from tinygen.cli.kinds import Samples
from tinygen.models.conv_autoencoder import judge
from tinygen.models.flow import mean_bits_per_dim

HEADERS = ("metric", "unit", "value", "baseline", "which is", "floor")
Sets = tuple[data.ImageDataset, data.ImageDataset] | None


def loss_unit(model: Any) -> str:
    """Of `model.loss`."""
    if isinstance(model, models.ConvAutoencoder):
        return "grey levels² per pixel"
    if isinstance(model, models.Autoencoder):
        return "grey levels² per image"
    if isinstance(model, models.GAN):
        return "nats"
    return (
        "nats per point" if isinstance(model, models.GaussianVAE | models.RealNVP | models.NICE) else "nats per image"
    )


def likelihood(model: Any, train: Samples, test: Samples, moons: float | None, seed: int) -> list[dict[str, Any]]:
    """What the model says about new samples: a likelihood, or a bound on it, if it has one.  Lower is better."""
    x, y = train.x.reshape(len(train.x), -1), test.x.reshape(len(test.x), -1)
    if isinstance(model, models.ImageFlow):
        independent = evaluate.histogram_bits(x, y, levels=test.levels)
        value = mean_bits_per_dim(model, test.x)
        return [_row("test −log₂ p(x)", "bits per pixel", value, independent, "independent pixels", 0.0)]
    if test.x.ndim == 2:
        floor = None if moons is None else data.two_moons_entropy(moons)
        gaussian = evaluate.gaussian_nll(x, y)
        if isinstance(model, models.Flow):
            value = evaluate.negative_log_likelihood(model.log_prob, y, device=_device(model)).value
            return [_row("test −log p(x)", "nats per point", value, gaussian, "a Gaussian", floor)]
        value = evaluate.importance_sampled_nll(model, y, 100, seed).value
        return [_row("test −log p(x), bound by 100 draws", "nats per point", value, gaussian, "a Gaussian", floor)]
    if isinstance(model, models.BernoulliVAE):
        independent, floor = evaluate.bernoulli_nll(x, y), evaluate.bernoulli_entropy(y)
        bounds = evaluate.importance_weighted_bounds(model, y[:2000], (1, 50), seed)
        return [
            _row(name, "nats per image", -bounds[k].value, independent, "independent pixels", floor)
            for k, name in ((1, "test −ELBO"), (50, "test −L₅₀, a closer bound"))
        ]
    return []


def reconstruction(model: Any, train: Samples, test: Samples) -> list[dict[str, Any]]:
    """How well images come back from their codes, beside PCA with as many numbers."""
    if isinstance(model, models.GAN | models.Flow) or test.x.ndim == 2:
        return []
    codes = show.codes_of(model, test.x)
    again = show.images(model, codes).reshape(len(test.x), -1)
    x, y = train.x.reshape(len(train.x), -1), test.x.reshape(len(test.x), -1)
    width = codes.shape[1]
    error = float(np.square(again - y).sum(1).mean())
    if width >= min(x.shape):  # PCA with so many components reconstructs anything
        return [
            _row("test squared error", "grey levels² per image", error, evaluate.variance(x, y), "the mean image", 0.0)
        ]
    pca = evaluate.squared_error(evaluate.PCA.fit(x, width).reconstruct, y)
    return [_row("test squared error", "grey levels² per image", error, pca, f"PCA, {width} numbers", 0.0)]


def fidelity(model: Any, train: Samples, sets: Sets, samples: int, seed: int) -> list[dict[str, Any]]:
    """How far samples are from images, in the features of a classifier that is trained for it.  Needs labels."""
    if sets is None or sets[0].labels is None or len(np.unique(sets[0].labels)) < 2:
        return []
    distance, unrelated, _ = judge(*sets, samples, seed, str(_device(model)))
    drawn = show.draws(model, distance.n, train).reshape(distance.n, -1)
    return [
        _row(
            "Fréchet distance of samples",
            "squared features",
            distance(tg.tensor(drawn, device=_device(model))),
            unrelated,
            "independent pixels",
            distance.floor,
        )
    ]


def measure(
    trained: runs.Trained, train: Samples, test: Samples, sets: Sets, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """All of them, printed as a table and stored in the run's metrics.json."""
    model, seed = trained.model, args.seed
    moons = args.noise if trained.on_points and args.data in (None, "moons") else None
    tg.manual_seed(seed)
    rows = likelihood(model, train, test, moons, seed) + reconstruction(model, train, test)
    rows += fidelity(model, train, sets, 200 if args.dry_run else 5000, seed)
    print(training.table(rows, HEADERS))
    print("Lower is better." if rows else "Without labels nothing can be said about this model in one number.")
    file = trained.folder / "metrics.json"
    run = training.Run(trained.folder.name, trained.folder.parent)
    run.metrics = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    run.save_metrics(evaluation=rows, epochs=trained.epochs, seconds=round(trained.seconds, 1))
    return rows


def compare(folders: Sequence[Path], out: Path, device: Any) -> None:
    """Losses on one plot, numbers and settings that differ in tables."""
    trained = {_name(folder, folders): runs.read(folder, device) for folder in folders}
    curves, units = {}, set()
    for name, run in trained.items():
        x, losses = _losses(run)
        if len(losses):
            curves[name] = (x, losses)
            units.add(loss_unit(run.model))
    if curves:
        unit = units.pop() if len(units) == 1 else "each in its own unit"
        smooth = max(1, min(len(losses) for _, losses in curves.values()) // 100)
        plot.curves(curves, out, xlabel="epochs", ylabel=f"training loss, {unit}", smooth=smooth)
        print(f"Losses are in {out}\n")
    rows = []
    for name, run in trained.items():
        file = run.folder / "metrics.json"
        metrics = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        measured = metrics.get("evaluation") or [{"metric": f"not measured: tinygen evaluate {run.folder}"}]
        rows += [{"run": name} | {key: row.get(key) for key in HEADERS} for row in measured]
    print(training.table(rows, ("run", *HEADERS)))
    settings: dict[str, dict[str, Any]] = {
        name: run.arguments
        | {"epochs trained": run.epochs, "seconds": round(run.seconds, 1), "model": type(run.model).__name__}
        for name, run in trained.items()
    }
    hidden = {"out", "resume", "name", "command"}
    keys = [key for key in dict.fromkeys(key for one in settings.values() for key in one) if key not in hidden]
    different = [key for key in keys if len({str(one.get(key)) for one in settings.values()}) > 1]
    if different:
        print(
            "\n"
            + training.table(
                [[key, *(_text(one.get(key)) for one in settings.values())] for key in different], ("setting", *trained)
            )
        )


def _losses(run: runs.Trained) -> tuple[list[float], list[float]]:
    """(epochs, loss) of every step that was logged."""
    file = run.folder / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []
    name = next((key for key in ("loss", "G loss") if lines and key in lines[0]), None)
    lines = [line for line in lines if name in line and isinstance(line[name], int | float)]
    steps = max((line["step"] for line in lines), default=1)
    return [run.epochs * line["step"] / steps for line in lines], [line[name] for line in lines]


def _name(folder: Path, among: Sequence[Path]) -> str:
    return folder.name if sum(other.name == folder.name for other in among) == 1 else str(folder)


def _text(value: Any) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _row(metric: str, unit: str, value: float, baseline: float, what: str, floor: float | None) -> dict[str, Any]:
    values = (
        metric,
        unit,
        float(value),
        float(baseline),
        what,
        floor if floor is None or math.isfinite(floor) else None,
    )
    return dict(zip(HEADERS, values, strict=True))


def _device(model: Any) -> Any:
    return next(model.parameters()).device
