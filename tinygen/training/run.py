"""The folder of a run: what it was started with, its state, its numbers and pictures, and that nobody else writes there."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tinygen.errors import UsageError
from tinygen.training import records
from tinygen.training.keeper import Keeper
from tinygen.training.records import Record, checksum_of, measured_on
from tinygen.training.results import plain, write_json

NOT_SETTINGS = ("out", "resume", "dry_run", "epochs")
"""Arguments that do not change what a run does up to the epoch that it has come to."""

_locks: dict[Path, FileLock] = {}


class Run:
    """The folder `out/name` of one run, made at once, with its pictures and its metrics.json.

    settings: what the run was started with.  `start` makes a Run from the arguments of a program.
    """

    def __init__(self, name: str, out: str | Path = "runs", settings: Mapping[str, Any] | None = None):
        self.folder: Path = Path(out) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings: dict[str, Any] = dict(settings or {})
        self.metrics: dict[str, Any] = {}
        self._config: dict[str, Any] = {}  # of a program that has begun

    def path(self, file: str) -> Path:
        """Where a file of this run belongs: `run.path("samples.png")`."""
        return self.folder / file

    def keeper(self, settings: Mapping[str, Any] | None = None, name: str = "run", **parts: Any) -> Keeper:
        """The `Keeper` of this run, with its state in run.safetensors; or one of several, of other names.

        settings: more of what the run was started with, besides its arguments.  The number of epochs is not among those, so
        that a finished run can be trained longer; a program whose schedule depends on it gives {"epochs": epochs}.
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
        """
        name, x = on if isinstance(on, tuple) else (on.name, on.images)
        fields = measured_on(name, x) | {"model": type(model).__name__, "checkpoint": checksum_of(model)}
        fields |= {"by": str(self._config.get("name", ""))} | {key: plain(other) for key, other in more.items()}
        record = Record(metric, unit, float(value), **fields)
        records.add(self.folder, [record])
        return record


def start(name: str, args: argparse.Namespace) -> Run:
    """The run of a program with the arguments of `training.parser`, in out/name; with --dry-run in out/name_dry_run.

    With --resume it goes on with the run whose state is there, if any.  Without, an earlier run is set aside, as name.previous
    in place of the one that was set aside before: nothing is mixed, and no long training lost by a short command.
    The arguments go to config.json, with the first `keeper`.  Until the process ends no other one can start a run in this folder.

    Raises UsageError if another process is at work there.
    """
    run = Run(name + "_dry_run" * args.dry_run, args.out)
    lock(run.folder)
    if not args.resume and any(run.folder.glob("*.safetensors*")):
        aside = run.folder.with_name(run.folder.name + ".previous")
        unlock(run.folder)
        shutil.rmtree(aside, ignore_errors=True)
        run.folder.rename(aside)
        run.folder.mkdir()
        lock(run.folder)
        sys.stderr.write(f"{name}: the earlier run is now in {aside}; with --resume it would have gone on\n")
    arguments = {key: plain(str(value) if isinstance(value, Path) else value) for key, value in vars(args).items()}
    run.settings = {key: value for key, value in arguments.items() if key not in NOT_SETTINGS}
    run._config = {"name": name, "arguments": arguments}
    return run


def config(folder: str | Path) -> dict[str, Any]:
    """What config.json of a run's folder holds: {"name": ..., "arguments": {...}}.

    Raises FileNotFoundError if the folder holds no run, ValueError if the file is damaged.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is not the folder of a run: there is no config.json in it")
    try:
        stored = json.loads(file.read_text("utf-8"))
        fits = isinstance(stored["name"], str) and isinstance(stored["arguments"], dict)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({error or type(error).__name__}); the run cannot be read") from error
    if not fits:
        raise ValueError(
            f'{file} is damaged: {{"name": ..., "arguments": {{...}}}} is expected; the run cannot be read'
        )
    return stored


def lock(folder: Path) -> None:
    """Raises UsageError if another process is at work in the folder; none can be until this one ends, or `unlock`s it."""
    file = folder.resolve() / "lock"
    if file in _locks:
        return
    held = FileLock(file)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: another process is training there; wait for it, or choose another --out") from None
    _locks[file] = held


def unlock(folder: Path) -> None:
    """Let others work in the folder."""
    if held := _locks.pop(folder.resolve() / "lock", None):
        held.release()
