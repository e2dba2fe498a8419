"""The plumbing of an example: arguments, progress, the folder of a run, the table of results.

The training loop itself is not here: it stands in the example, in full.

    args = training.parser(__doc__, epochs=10, lr=1e-3).parse_args()
    device = training.select_device(args.device)
    run = training.Run("vae", args.out)
    for epoch in range(args.epochs):
        for (x,) in (bar := training.progress(loader, f"epoch {epoch + 1}/{args.epochs}")):
            ...
            bar.set("nats", loss=loss.item())
    run.save_metrics(test_loss=test_loss)
    plot.image_grid(samples, run.path("samples.png"))
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Generic, TypeVar

from tinygen import backend

T = TypeVar("T")

# --- progress --------------------------------------------------------------------------------------------------------


class Progress(Generic[T]):
    """What `progress` returns: an iterable to loop over, and `set` for the numbers shown with it."""

    def __init__(
        self,
        iterable: Iterable[T],
        description: str = "",
        total: int | None = None,
        every: float = 10.0,
        delay: float = 0.0,
    ):
        self._iterable, self._description, self._every, self._delay = iterable, description, every, delay
        self._total = len(iterable) if total is None and isinstance(iterable, Sized) else total
        self._metrics = ""
        self._bar = _bar(iterable, description, self._total, delay)

    def set(self, unit: str = "", **metrics: float) -> None:
        """Show these numbers from now on, with their unit: `bar.set("nats", loss=106.2, kl=25.1)`."""
        self._metrics = ", ".join(f"{name} {float(value):.4g} {unit}".rstrip() for name, value in metrics.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._metrics, refresh=False)

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("progress: the iterable has no length, and no total was given")
        return self._total

    def __iter__(self) -> Iterator[T]:
        return self._lines() if self._bar is None else iter(self._bar)

    def _lines(self) -> Iterator[T]:
        start = last = time.monotonic()
        done = 0
        for done, item in enumerate(self._iterable, 1):
            yield item
            if done != self._total and time.monotonic() - last >= self._every:
                last = time.monotonic()
                self._line(done, last - start)
        if (seconds := time.monotonic() - start) >= self._delay:
            self._line(done, seconds)

    def _line(self, done: int, seconds: float) -> None:
        steps = f"{done}" if self._total is None else f"{done}/{self._total}"
        parts = [steps, f"{seconds:.1f} s", *([self._metrics] if self._metrics else [])]
        prefix = f"{self._description}: " if self._description else ""
        sys.stderr.write(prefix + ", ".join(parts) + "\n")
        sys.stderr.flush()


def progress(
    iterable: Iterable[T], description: str = "", total: int | None = None, *, every: float = 10.0, delay: float = 0.0
) -> Progress[T]:
    """Loop over `iterable` while showing how far it got, how fast, and the numbers given to `.set`.

    A tqdm bar when tqdm is installed and stderr is a terminal.  Otherwise (a log file, continuous integration) a plain
    line on stderr, every `every` seconds and at the end.  total: the number of steps, when `iterable` has no length.
    delay: what takes fewer seconds than this shows nothing.
    """
    return Progress(iterable, description, total, every, delay)


def _bar(iterable: Iterable[Any], description: str, total: int | None, delay: float) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(iterable, description, total, dynamic_ncols=True, file=sys.stderr, delay=delay)


# --- arguments -------------------------------------------------------------------------------------------------------


def select_device(name: str = "auto") -> backend.Device:
    """The device of that name; "auto" is the GPU where one is usable, else the CPU.

    Raises RuntimeError for "cuda" without a usable GPU, saying what is missing; ValueError for no such device.
    """
    if name == "auto":
        name = "cuda" if backend.cuda_available() else "cpu"
    return backend.device(name)


def parser(
    description: str | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    out: str = "runs",
    device: str = "auto",
) -> argparse.ArgumentParser:
    """The arguments that all examples share: --device, --seed, --out, --dry-run, and those given a default here.

    An example adds its own with `add_argument`.  In the result, `args.dry_run` asks for a run of seconds that goes
    through every line: the example decides how (one epoch, few images).
    """
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if epochs is not None:
        p.add_argument("--epochs", type=_at_least_one, default=epochs, help=f"passes over the data (default {epochs})")
    if batch_size is not None:
        text = f"samples per step (default {batch_size})"
        p.add_argument("--batch-size", type=_at_least_one, default=batch_size, help=text)
    if lr is not None:
        p.add_argument("--lr", type=_positive, default=lr, help=f"learning rate (default {lr:g})")
    p.add_argument("--seed", type=_natural, default=seed, help=f"seed of every random number (default {seed})")
    text = f"cpu, cuda, cuda:1, or auto: the GPU where there is one (default {device})"
    p.add_argument("--device", default=device, help=text)
    p.add_argument("--out", type=Path, default=Path(out), help=f"folder for pictures and numbers (default {out})")
    p.add_argument("--dry-run", action="store_true", help="go through every line in seconds, to see that it works")
    return p


def _natural(text: str) -> int:
    return _number(text, int, 0, "an integer >= 0")


def _at_least_one(text: str) -> int:
    return _number(text, int, 1, "an integer >= 1")


def _positive(text: str) -> float:
    return _number(text, float, sys.float_info.min, "a number > 0")


def _number(text: str, kind: type, least: float, expected: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{expected} is expected, got {text!r}")
    return value


# --- results ---------------------------------------------------------------------------------------------------------


class Run:
    """The folder `out/name` of one run, made at once, with its pictures and its metrics.json."""

    def __init__(self, name: str, out: str | Path = "runs"):
        self.folder = Path(out) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.metrics: dict[str, Any] = {}

    def path(self, file: str) -> Path:
        """Where a file of this run belongs: `run.path("samples.png")`."""
        return self.folder / file

    def save_metrics(self, **metrics: Any) -> Path:
        """Add these numbers (or lists and dicts of numbers) to the run's, and write them all to metrics.json.

        Scalars of NumPy and one-element Tensors become plain numbers; inf and NaN, for which JSON has no number, are
        written as strings.  The file is replaced in one step: a reader never sees half of it.
        """
        self.metrics.update({name: _plain(value) for name, value in metrics.items()})
        target, partial = self.path("metrics.json"), self.path("metrics.json.partial")
        partial.write_text(json.dumps(self.metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        os.replace(partial, target)
        return target


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # arrays, NumPy scalars, Tensors
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    is_json = not isinstance(value, Path) and not (isinstance(value, float) and not math.isfinite(value))
    return value if is_json else str(value)


RESULT_HEADERS = ("model", "metric", "unit", "value", "baseline", "floor", "published")


def table(rows: Iterable[Mapping[str, Any] | Sequence[Any]], headers: Sequence[str] = RESULT_HEADERS) -> str:
    """Rows as an aligned plain-text table, to be printed: numbers to the right, texts to the left.

    A row is a mapping from headers to values, or the values in order.  What a row leaves out, or gives as None, is
    shown as "-".  Floats have four significant digits.

    Raises ValueError for a row with more values than headers, or with a name that is no header.
    """
    cells = [_cells(row, headers) for row in rows]
    columns = list(zip(headers, *([_cell(value) for value in row] for row in cells)))
    is_number = [all(isinstance(row[i], (int, float, type(None))) for row in cells) for i in range(len(headers))]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(text.rjust(w) if right else text.ljust(w) for text, w, right in zip(line, widths, is_number)).rstrip()
        for line in zip(*columns)
    ]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])


def _cells(row: Mapping[str, Any] | Sequence[Any], headers: Sequence[str]) -> list[Any]:
    unknown = [name for name in row if name not in headers] if isinstance(row, Mapping) else list(row)[len(headers) :]
    if unknown:
        raise ValueError(f"table: no column for {unknown}; the headers are {list(headers)}")
    values: list[Any] = [row.get(name) for name in headers] if isinstance(row, Mapping) else [*row]
    values += [None] * (len(headers) - len(values))
    return [value.item() if hasattr(value, "item") else value for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < math.inf else f"{value:.4g}"
    return str(value)
