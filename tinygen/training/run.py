"""The folder of a run: what it was started with, its state, its numbers and pictures, and that nobody else writes there."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygen.errors import UsageError
from tinygen.training import records
from tinygen.training.folder import config, not_writable, take, unlock
from tinygen.training.keeper import Keeper
from tinygen.training.records import Record, checksum_of, measured_on
from tinygen.training.results import plain, write_json

NOT_SETTINGS = ("resume", "dry_run", "epochs", "max_bytes")
"""Arguments that do not change what a run does up to the epoch that it has come to."""

__all__ = ["Run", "config", "start", "unlock"]


class Run:
    """The folder `out/name` of one run, made at once, with its pictures and its metrics.json.

    settings: what the run was started with.  `start` makes a Run from the arguments of a program.
    """

    def __init__(self, name: str, out: str | Path = "runs", settings: Mapping[str, Any] | None = None):
        self.folder: Path = Path(out) / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(self.folder, error) from error
        self.settings: dict[str, Any] = dict(settings or {})
        self.metrics: dict[str, Any] = {}
        self._config: dict[str, Any] = {}  # of a program that has begun

    def path(self, file: str) -> Path:
        """Where a file of this run belongs: `run.path("samples.png")`.

        Raises UsageError when a link leads out of the run's folder on the way there, as in one that somebody else has made.
        """
        path = self.folder / file
        for folder in path.parents:
            if folder == self.folder or folder == folder.parent:
                return path
            if folder.is_symlink():
                raise UsageError(f"{folder} is a link; nothing is written outside {self.folder}: remove the link")
        return path

    def keeper(self, settings: Mapping[str, Any] | None = None, name: str = "run", **parts: Any) -> Keeper:
        """The `Keeper` of this run, with its state in run.safetensors; or one of several, of other names.

        settings: more of what the run was started with, besides its arguments.  The number of epochs is not among those, so
        that a finished run can be trained longer; a program whose schedule depends on it gives {"epochs": epochs}.
        parts: what is to be kept, by name: model=..., optimizer=...
        """
        keeper = Keeper(self.folder, name, self.settings | dict(settings or {}), **parts)
        if (
            self._config
        ):  # not before the Keeper has agreed: the arguments may be those of another run than the stored one
            write_json(self.path("config.json"), self._config)
        keeper.way_on = "add --resume to the command to go on from there"
        return keeper

    def save_metrics(self, **metrics: Any) -> Path:
        """Add these numbers (or lists and dicts of numbers) to the run's, and write them all to metrics.json.

        Scalars of NumPy and one-element Tensors become plain numbers; inf and NaN, for which JSON has no number, are
        written as strings.  The file is replaced in one step: a reader never sees half of it.  What it has from before stays.
        """
        self.metrics.update({name: plain(value) for name, value in metrics.items()})
        return records.add(self.folder, (), **self.metrics)

    def record(self, metric: str, unit: str, value: Any, *, model: Any, on: Any, **more: Any) -> Record:
        """Add a measured number to metrics.json, with what it was measured with, so that `tinygen compare` finds it.

        run.record("test −ELBO", "nats per image", nll, model=model, on=test, baseline=205.8, baseline_is="independent pixels")

        model: what was measured, with the weights that it had.  on: the images, an ImageDataset, or (name, array) with a row per
        image or point.  more: other fields of a `Record`: baseline, baseline_is, floor, higher_is_better, images (where not all
        were looked at), seed (of the draws that measure; not that of the run), classifier.
        metric, unit, value: what was measured, in what, and how much.
        """
        name, x = on if isinstance(on, tuple) else (on.name, on.images)
        fields = measured_on(name, x) | {"model": type(model).__name__, "checkpoint": checksum_of(model)}
        fields |= {"by": str(self._config.get("name", ""))} | {key: plain(other) for key, other in more.items()}
        record = Record(metric, unit, float(value), **fields)
        records.add(self.folder, [record])
        return record


def start(name: str, args: argparse.Namespace) -> Run:
    """The run of a program with the arguments of `training.parser`, in out/name; with --dry-run in out/name_dry_run.

    With --resume it goes on with the run whose state is there, if any.  Without, an earlier run is set aside, as name.previous,
    or name.previous.2 and so on: nothing is mixed, and no long training lost by a short command.
    The arguments go to config.json, with the first `keeper` or at once if there is none: all but `out`, and of `data` that are
    a file the path as it was given if it is relative, else its name only.  What is shared with a run says nothing about where it
    was made.  Until the process ends no other one can start a run in this folder.

    Raises UsageError if another process is at work there, if nothing can be written there, or for a folder that holds files and
    is not that of a run.
    """
    folder = Path(args.out) / (name + "_dry_run" * args.dry_run)
    take(folder, args.resume)
    run = Run(folder.name, folder.parent)
    arguments = {key: plain(_without_place(value)) for key, value in vars(args).items() if key != "out"}
    run.settings = {key: value for key, value in arguments.items() if key not in NOT_SETTINGS}
    if isinstance(run.settings.get("data"), str):  # from another folder the same file has another path
        run.settings["data"] = Path(os.path.abspath(run.settings["data"])).name
    run._config = {"name": name, "arguments": arguments}
    if not (folder / "config.json").exists():
        write_json(run.path("config.json"), run._config)
    return run


def _without_place(value: Any) -> Any:
    """Of an absolute path its last part."""
    is_path = isinstance(value, str | Path) and Path(value).is_absolute()
    return Path(value).name if is_path else str(value) if isinstance(value, Path) else value
