"""What `reproduce` returns: a number with all that is needed to judge it and to measure it again."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """One measured number, beside what it is to be compared with.

    value, floor, baseline, published and target are in `unit`.  floor: the best value that is possible (for a score,
    the ceiling); baseline: a trivial model's; published: somebody else's number for the same set-up; target: what this
    project set out to reach.  None where there is none.
    seconds: wall-clock time of the training.  command, date, machine: how, when and where it was measured.  settings: what the run was started with.  notes: other numbers of the
    same run, as text.  more: results that the same trained model gave in other metrics.
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
    seconds: float = 0.0
    command: str = ""
    machine: str = ""
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())
    settings: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    more: tuple[Result, ...] = ()

    def rows(self) -> Iterator[Result]:
        """This result and those that came with it."""
        yield self
        yield from self.more

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        Path(path).write_text(text + "\n", "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read what `save` wrote."""
        return cls._from(json.loads(Path(path).read_text("utf-8")))

    @classmethod
    def _from(cls, values: dict[str, Any]) -> Result:
        return cls(**{**values, "more": tuple(cls._from(v) for v in values.get("more", ()))})
