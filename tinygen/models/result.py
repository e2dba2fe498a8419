"""What `reproduce` returns: a number with all that is needed to judge it and to measure it again."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygen.training.results import write_json


@dataclass(frozen=True)
class Result:
    """One measured number, beside what it is to be compared with.

    value, floor, baseline, published and target are in `unit`.  floor: the best value that is possible (for a score,
    the ceiling); baseline: a trivial model's; published: somebody else's number for the same set-up; target: what this
    project set out to reach.  None where there is none.
    seed, seeds: the seed, or all of them where the value is a mean.  seconds: wall-clock time of the training.
    command, date, machine: how, when and where it was measured.  settings: what the run was started with.
    notes: other numbers of the same run, as text.  more: further results, as those of the same model in other metrics.
    curves: name -> [[x, y], ...], how it came to be, with what x and y are in `axes`:
    curves={"test": [[60.0, 1.9], ...]}, axes=("seconds of training", "bits/dim").
    name: of the model.  metric: what was measured.
    """

    name: str
    metric: str
    unit: str
    value: float
    floor: float | None = None
    baseline: float | None = None
    published: float | None = None
    target: str | None = None
    seed: int = 0
    seeds: tuple[int, ...] = ()
    seconds: float = 0.0
    command: str = ""
    machine: str = ""
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())
    settings: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    axes: tuple[str, str] = ("seconds of training", "")
    more: tuple[Result, ...] = ()

    def rows(self) -> Iterator[Result]:
        """This result and those that came with it."""
        yield self
        yield from self.more

    def save(self, path: str | Path) -> None:
        """Write it as JSON, in one step: a reader never sees half of it."""
        write_json(Path(path), dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read what `save` wrote."""
        return cls._from(json.loads(Path(path).read_text("utf-8")))

    @classmethod
    def _from(cls, values: dict[str, Any]) -> Result:
        tuples: dict[str, Any] = {name: tuple(values[name]) for name in ("seeds", "axes") if name in values}
        return cls(**{**values, **tuples, "more": tuple(cls._from(v) for v in values.get("more", ()))})
