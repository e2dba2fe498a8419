"""Measured numbers, each with its ruler: the data, the seed, the classifier and the version that it was measured with.

Two numbers compare only if their rulers are the same.  So a number is stored as a `Record` that says all of it; a run's
metrics.json has a flat list of them, under "records", to which measuring adds and from which nothing is taken away:

    pandas.DataFrame(json.load(open("runs/vae/metrics.json"))["records"])
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from tinygen import backend, data
from tinygen.tensor import Tensor
from tinygen.training.results import plain, read_json, write_json


def _version() -> str:
    from tinygen import __version__  # the package is complete by now, and was not when this file was imported

    return __version__


@dataclass(frozen=True)
class Record:
    """One measured number.

    metric, unit, value: such as "test −ELBO", "nats per image", 103.2; lower is better unless higher_is_better.  The value may be
        inf, of a model that thinks an image impossible.
    baseline: the same of a trivial model, and baseline_is which one; floor: the best possible value.  None where unknown.
    model, checkpoint: the measured model's class and the checksum of its weights (`checksum_of`).
    data, data_checksum, split, images: the name of the data, `data.checksum` of the images or points that were measured on,
        which part of the data they are, and how many of them were looked at.
    seed: of the draws that measuring takes, None where nothing is drawn; it has nothing to do with the one of the training.
    classifier: checksum of the classifier in whose features a distance was measured; "" without one.
    tinygen: the version that measured.  by: the program.  date: the day.
    """

    metric: str
    unit: str
    value: float
    model: str
    checkpoint: str
    data: str
    data_checksum: str
    images: int
    baseline: float | None = None
    baseline_is: str = ""
    floor: float | None = None
    higher_is_better: bool = False
    split: str = "test"
    seed: int | None = None
    classifier: str = ""
    by: str = ""
    tinygen: str = field(default_factory=_version)
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    def __post_init__(self) -> None:
        """Raises ValueError for a value of another type, or a number that is not finite: it may come from a file."""
        if self.value in ("inf", "-inf", "nan"):  # as JSON has them
            object.__setattr__(self, "value", float(self.value))
        for name, kind in KINDS.items():
            value = getattr(self, name)
            if not _fits(value, kind):
                raise ValueError(f"Record: {name} should be {WORDS[kind]}, got {str(value)[:40]!r}")
            if kind.startswith("float") and value is not None:
                object.__setattr__(self, name, float(value))

    @property
    def ruler(self) -> tuple[Any, ...]:
        """What has to be equal for two values to be compared."""
        return tuple(getattr(self, name) for name in RULER)


RULER = ("metric", "unit", "data_checksum", "split", "images", "seed", "classifier", "tinygen")
KINDS: dict[str, str] = {f.name: str(f.type) for f in dataclasses.fields(Record)}
WORDS = {
    "str": "a text of at most 1000 letters",
    "int": "an integer",
    "bool": "true or false",
    "float": "a number",
    "int | None": "an integer or null",
    "float | None": "a finite number or null",
}


def _fits(value: Any, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str) and len(value) <= 1000
    if kind == "bool":
        return isinstance(value, bool)
    if value is None:
        return kind.endswith("None")
    if kind.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if kind == "float":
        return isinstance(value, float) or is_number(value)
    return is_number(value)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number, and finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of 400 digits
        return False


def checksum_of(model: Any) -> str:
    """The checksum of a model's parameters and buffers, on whichever device they are: which weights were measured."""
    return data.checksum(dict(model.state_dict()))


def measured_on(name: str, x: Any) -> dict[str, Any]:
    """The fields of a `Record` that say which images or points were measured on: x, (n, ...), one per row."""
    x = backend.to_numpy(x.detach().array) if isinstance(x, Tensor) else np.asarray(x)
    rows = x.reshape(len(x), -1)  # whichever shape and precision a model takes them in, they are the same images
    rows = rows.astype(np.float32, copy=False)
    return {"data": Path(name).name[:200], "data_checksum": data.checksum(rows), "images": len(rows)}


def read(folder: str | Path) -> list[Record]:
    """The records of a run, in the order in which they were measured; an empty list if there are none.

    Raises ValueError, in one line, for a metrics.json that is damaged.
    """
    content = _content(Path(folder) / "metrics.json")
    return [_record(one, Path(folder)) for one in _list(content, Path(folder))]


def add(folder: str | Path, records: Iterable[Record], **metrics: Any) -> Path:
    """Write records to the run's metrics.json, after those that are there, and other numbers under their names.

    A record that is there already (but for its date) is not written twice.  What is in the file stays in it; a file that is
    damaged is refused as by `read`, and left as it is.
    """
    folder = Path(folder)
    content = _content(folder / "metrics.json")
    stored = read(folder)
    known = {_undated(record) for record in stored}
    new = [record for record in dict.fromkeys(records) if _undated(record) not in known]
    content |= {name: plain(value) for name, value in metrics.items()}
    if stored or new:
        content["records"] = _list(content, folder) + [plain(dataclasses.asdict(record)) for record in new]
    return write_json(folder / "metrics.json", content)


def _undated(record: Record) -> Record:
    return dataclasses.replace(record, date="")


def _content(file: Path) -> dict[str, Any]:
    return read_json(file) if os.path.exists(file) else {}  # a link that leads nowhere is replaced


def _list(content: Mapping[str, Any], folder: Path) -> list[Any]:
    stored = content.get("records", [])
    if not isinstance(stored, list):
        raise ValueError(
            f"{folder / 'metrics.json'} is damaged: its records should be a list, not a {type(stored).__name__}"
        )
    return stored


def _record(fields: Any, folder: Path) -> Record:
    """Fields that this version does not know are left out."""
    try:
        return Record(**{name: fields[name] for name in KINDS if name in fields})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'metrics.json'} is damaged: {error}") from error
