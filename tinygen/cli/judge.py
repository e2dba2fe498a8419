"""The numbers of a trained model, beside baseline and floor, stored with what they were measured with."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, harmless, models, training
from tinygen.cli import runs, show
from tinygen.cli.kinds import Samples
from tinygen.models.flow import mean_bits_per_dim
from tinygen.models.judge import judge
from tinygen.training import records
from tinygen.training.records import Record

HEADERS = ("metric", "unit", "value", "baseline", "which is", "floor")
Sets = tuple[data.ImageDataset, data.ImageDataset] | None
Row = dict[str, Any]
"""Fields of a `Record` that its measure knows."""


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


def likelihood(model: Any, train: Samples, test: Samples, moons: float | None, seed: int) -> list[Row]:
    """What the model says about new samples: a likelihood, or a bound on it, if it has one.  Lower is better."""
    x, y = train.x.reshape(len(train.x), -1), test.x.reshape(len(test.x), -1)
    if isinstance(model, models.ImageFlow):
        independent = evaluate.histogram_bits(x, y, levels=test.levels)
        value = mean_bits_per_dim(model, test.x)
        return [_row("test −log₂ p(x)", "bits per pixel", value, independent, "independent pixels", 0.0)]
    if test.x.ndim == 2:
        floor = None if moons is None else data.two_moons_entropy(moons)
        baseline = _gaussian(x, y)
        if isinstance(model, models.Flow):
            value = evaluate.negative_log_likelihood(model.log_prob, y, device=_device(model)).value
            return [_row("test −log p(x)", "nats per point", value, *baseline, floor)]
        value = evaluate.importance_sampled_nll(model, y, 100, seed).value
        return [_row("test −log p(x), bound by 100 draws", "nats per point", value, *baseline, floor, seed=seed)]
    if isinstance(model, models.BernoulliVAE):
        y = y[:2000]
        independent, floor = evaluate.bernoulli_nll(x, y), evaluate.bernoulli_entropy(y)
        bounds = evaluate.importance_weighted_bounds(model, y, (1, 50), seed)
        return [
            _row(
                name,
                "nats per image",
                -bounds[k].value,
                independent,
                "independent pixels",
                floor,
                seed=seed,
                images=len(y),
            )
            for k, name in ((1, "test −ELBO"), (50, "test −L₅₀, a closer bound"))
        ]
    return []


def _gaussian(x: np.ndarray, y: np.ndarray) -> tuple[float | None, str]:
    """The best trivial density that there is of these points, and what it is: none with a column that is constant."""
    for full, name in ((True, "a Gaussian"), (False, "independent Gaussians")):
        if full and x.shape[1] > 2000:  # whose covariance would cost more than the model
            continue
        try:
            return evaluate.gaussian_nll(x, y, full), name
        except np.linalg.LinAlgError:
            pass
    return None, "no Gaussian: a column is constant"


def reconstruction(model: Any, train: Samples, test: Samples) -> list[Row]:
    """How well images come back from their codes, beside PCA with as many numbers."""
    if isinstance(model, models.GAN | models.Flow) or test.x.ndim == 2:
        return []
    codes = show.codes_of(model, test.x)
    again = show.images(model, codes).reshape(len(test.x), -1)
    x, y = train.x.reshape(len(train.x), -1), test.x.reshape(len(test.x), -1)
    width = codes.shape[1]
    error = float(np.square(again - y).sum(1).mean())
    if width >= min(x.shape):  # PCA with so many components reconstructs anything
        baseline, what = evaluate.variance(x, y), "the mean image"
    else:
        baseline, what = evaluate.squared_error(evaluate.PCA.fit(x, width).reconstruct, y), f"PCA, {width} numbers"
    return [_row("test squared error", "grey levels² per image", error, baseline, what, 0.0)]


def fidelity(model: Any, train: Samples, sets: Sets, samples: int, seed: int) -> list[Row]:
    """How far samples are from images, in the features of the data set's own classifier.  Needs labels."""
    if sets is None or sets[0].labels is None or len(np.unique(sets[0].labels)) < 2:
        return []
    judged = judge(*sets, samples, _device(model))
    distance = judged.distance
    tg.manual_seed(seed)
    drawn = show.draws(model, distance.n, train).reshape(distance.n, -1)
    value = distance(tg.tensor(drawn, device=_device(model)))
    more = {"images": distance.n, "seed": seed, "classifier": judged.checksum}
    row = _row(
        "Fréchet distance of samples", "squared features", value, judged.unrelated, "independent pixels", distance.floor
    )
    return [row | more]


def measure(
    trained: runs.Trained,
    train: Samples,
    test: Samples,
    sets: Sets,
    args: argparse.Namespace,
    seed: int = 0,
    again: bool = False,
) -> list[Record]:
    """All of them, printed as a table and added to the run's metrics.json.

    What has been measured before with the same weights, data, seed and version is read there, unless it is to be measured
    `again`.  seed: of the draws that measuring needs.  That of the run has no part in it.
    """
    model = trained.model
    moons = args.noise if trained.on_points and args.data in (None, "moons") else None
    name = sets[1].name if sets is not None else f"two moons, noise {moons:g}" if moons is not None else str(args.data)
    fields = records.measured_on(name, test.x) | {"model": type(model).__name__, "by": "tinygen evaluate"}
    fields["checkpoint"] = records.checksum_of(model)
    stored = [] if again else _stored(trained.folder, fields, seed)
    if stored:
        print(
            f"Measured on {harmless.text(stored[-1].date)}, with the same weights, images and seed (--again measures anew)."
        )
        found = stored
    else:
        tg.manual_seed(seed)
        rows = likelihood(model, train, test, moons, seed) + reconstruction(model, train, test)
        rows += fidelity(model, train, sets, 200 if args.dry_run else 5000, seed)
        found = [Record(**fields | row) for row in rows]
        records.add(trained.folder, found, epochs=trained.epochs, seconds=round(trained.seconds, 1))
    print(report(found, model))
    return found


def _stored(folder: Path, fields: Mapping[str, Any], seed: int) -> list[Record]:
    """What an earlier call has measured of the same weights, on the same data, with this seed; or nothing if that is not all."""
    same = [
        record
        for record in records.read(folder)
        if record.tinygen == tg.__version__
        and all(getattr(record, key) == fields[key] for key in ("checkpoint", "data_checksum", "by"))
    ]
    found = {record.metric: record for record in same if record.seed in (None, seed)}
    return list(found.values()) if found.keys() == {record.metric for record in same} else []


def report(found: Sequence[Record], model: Any) -> str:
    """The table, and what its words mean."""
    if not found:
        return "Without labels nothing can be said about this model in one number."
    rows = [(r.metric, r.unit, r.value, r.baseline, r.baseline_is, r.floor) for r in found]
    first = found[0]
    lines = [
        training.table(rows, HEADERS),
        f"Lower is better; the floor is the best possible value.  Measured on {harmless.text(first.data)}.",
    ]
    if any(r.classifier for r in found):
        lines.append(
            "A feature is a number that a classifier of these images computes of one before it decides on the class; the floor "
            "is the\ndistance of real training images.  It is always the same classifier: distances compare between runs."
        )
    worse = any(r.baseline_is.startswith("PCA") and r.baseline is not None and r.value > r.baseline for r in found)
    if worse and hasattr(model, "log_weights"):
        lines.append(
            "A VAE pays for its latents in nats and buys likelihood, not squared error; so PCA may well be ahead there."
        )
    return "\n".join(lines)


def _row(
    metric: str,
    unit: str,
    value: float,
    baseline: float | None,
    what: str,
    floor: float | None,
    **more: Any,
) -> Row:
    numbers = {
        name: None if number is None or not math.isfinite(number) else float(number)
        for name, number in (("baseline", baseline), ("floor", floor))
    }
    return {"metric": metric, "unit": unit, "value": float(value), "baseline_is": what, **numbers, **more}


def _device(model: Any) -> Any:
    return next(model.parameters()).device
