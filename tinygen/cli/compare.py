"""Several runs side by side: their losses on one plot, their numbers in one table, each under the ruler of its column."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygen import harmless, plot, training
from tinygen.cli import runs
from tinygen.cli.judge import loss_unit
from tinygen.regular import open_regular
from tinygen.training import records
from tinygen.training.records import Record, is_number
from tinygen.training.results import LARGEST, write_text

NOT_SETTINGS = ("out", "resume", "name", "command", "device")
"""Arguments that do not change what is learned (but for rounding)."""


@dataclass
class Entry:
    """A run that is compared.  records: the numbers of its weights, the last measurement of each kind."""

    name: str
    run: runs.Trained
    records: list[Record] = field(default_factory=list)
    others: bool = False  # whether there are numbers of other weights

    @property
    def settings(self) -> dict[str, Any]:
        said = {key: value for key, value in self.run.arguments.items() if key not in NOT_SETTINGS}
        return said | {"epochs trained": self.run.epochs, "model": type(self.run.model).__name__}


@dataclass
class Column:
    """A metric under one ruler: only numbers that compare stand in it.

    levels: what they stand beside, (name, value): baselines and the floor.
    """

    title: str
    ruler: tuple[Any, ...]
    example: Record
    levels: list[tuple[str, float]] = field(default_factory=list)


@dataclass
class Row:
    """One run, or several that differ by their seed alone.  values: for each column those of the runs that have it."""

    name: str
    n: int
    values: list[list[float]]

    def cell(self, i: int) -> str:
        """The value, or mean ± standard deviation (over n - 1), with n where not all runs of the group have it."""
        values = self.values[i]
        if not values:
            return "-"
        if self.n == 1:
            return number(values[0])
        count = "" if len(values) == self.n else f" (n = {len(values)})"
        return f"{number(_mean(values))}{spread(values)}{count}"


def compare(
    folders: Sequence[Path],
    out: Path,
    sort: str | None = None,
    csv_file: Path | None = None,
    latex_file: Path | None = None,
    each: bool = False,
) -> None:
    """Losses on one plot, numbers and settings that differ in tables.

    What is not a run is left out with a note.  Runs that differ by their seed alone are one row, mean ± standard deviation,
    unless `each` is wanted by itself.  Raises what the first run raises when none can be read, ValueError for a `sort` that
    fits no column.
    """
    entries = read(folders)
    draw(entries, out)
    columns = columns_of([record for entry in entries for record in entry.records])
    rows = rows_of(entries, columns, each)
    if sort is not None:
        rows = sorted_by(sort, rows, columns)
    headers, cells = table_of(rows, columns)
    if columns:
        print(training.table(cells, headers))
        print("\n".join(notes(columns, any(row.n > 1 for row in rows))))
    for entry in entries:
        if not entry.records:
            what = "measured with other weights only" if entry.others else "not measured"
            print(f"{harmless.text(entry.name)} is {what}: {harmless.command('evaluate', entry.run.folder)}")
    different = differing(entries)
    if different:
        print("\n" + training.table(different, ("setting", *(entry.name for entry in entries))))
    if csv_file is not None:
        print(f"All numbers are in {harmless.text(write_text(csv_file, as_csv(entries)), harmless.PATH)}")
    if latex_file is not None:
        print(f"The table is in {harmless.text(write_text(latex_file, as_latex(headers, cells)), harmless.PATH)}")


def read(folders: Sequence[Path]) -> list[Entry]:
    """The runs among these folders, each once, with a line on stderr for what is left out."""
    entries: dict[Path, Entry] = {}
    problems: list[Exception] = []
    chosen = list({path.resolve(): path for folder in folders for path in _models_in(folder)}.values())
    for folder in chosen:
        try:
            run = runs.read(folder)
            found = records.read(run.folder)
        except Exception as error:  # one folder that is damaged in a way nobody has thought of leaves the others
            problems.append(error)
            sys.stderr.write(f"left out: {harmless.error(error)}\n")
            continue
        checkpoint = records.checksum_of(run.model)
        own = {record.ruler: record for record in found if record.checkpoint == checkpoint}
        entries[folder] = Entry(_name(folder, chosen), run, list(own.values()), len(own) < len(found))
    if not entries:
        raise problems[0]
    return list(entries.values())


def _name(path: Path, among: Sequence[Path]) -> str:
    """Of a run: that of its folder, or where several are called so, the whole path; of one of several models, with its own."""
    name = f"{path.resolve().parent.name}/{path.stem}" if path.suffix == ".safetensors" else path.resolve().name
    others = (other.resolve() for other in among)
    return name if sum(other.name == path.resolve().name for other in others) == 1 else str(path)


def _models_in(folder: Path) -> list[Path]:
    """The folder of a run itself; of one that holds several models, as some examples make, the files of each."""
    if not folder.is_dir() or (folder / "run.safetensors").exists():
        return [folder]
    files = [file for file in sorted(folder.glob("*.safetensors")) if not file.stem.endswith("_best")]
    return files if len(files) > 1 else [folder]


# --- the table -------------------------------------------------------------------------------------------------------


def columns_of(found: Iterable[Record]) -> list[Column]:
    """A column for each metric and ruler, in the order in which they come; a letter tells those of one metric apart."""
    metrics: dict[str, dict[tuple[Any, ...], list[Record]]] = {}
    for record in found:
        metrics.setdefault(record.metric, {}).setdefault(record.ruler, []).append(record)
    columns = []
    for metric, rulers in metrics.items():
        for i, (ruler, same) in enumerate(rulers.items()):
            title = metric if len(rulers) == 1 else f"{metric} [{_letters(i)}]"
            baselines = [(r.baseline_is or "baseline", r.baseline) for r in same if r.baseline is not None]
            floors = [("ceiling" if r.higher_is_better else "floor", r.floor) for r in same if r.floor is not None]
            columns.append(Column(title, ruler, same[0], list(dict.fromkeys(baselines + floors))))
    return columns


def rows_of(entries: Sequence[Entry], columns: Sequence[Column], each: bool = False) -> list[Row]:
    """A row for each run, or for each group of runs that differ by their seed alone.

    The seeds of a group are all different: the same seed twice is a copy, or something else has changed.
    """
    groups: dict[str, list[Entry]] = {}
    for i, entry in enumerate(entries):
        settings = {key: value for key, value in entry.settings.items() if key != "seed"}
        alone = each or not isinstance(entry.run.arguments.get("seed"), int)
        groups.setdefault(str(i) if alone else json.dumps(settings, sort_keys=True, default=str), []).append(entry)
    rows = []
    for group in groups.values():
        seeds = [str(entry.run.arguments.get("seed")) for entry in group]
        parts = [group] if len(set(seeds)) == len(seeds) else [[entry] for entry in group]
        for part in parts:
            values = [[r.value for e in part for r in e.records if r.ruler == column.ruler] for column in columns]
            rows.append(Row(_common_name([entry.name for entry in part]), len(part), values))
    return rows


def sorted_by(sort: str, rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """The best first; those without that number at the end."""
    if sort == "name":
        return sorted(rows, key=lambda row: row.name)
    for i, column in enumerate(columns):
        if sort.lower() in column.title.lower():
            sign = -1 if column.example.higher_is_better else 1

            def key(row: Row, i: int = i, sign: int = sign) -> float:
                mean = sign * _mean(row.values[i]) if row.values[i] else math.inf
                return math.inf if math.isnan(mean) else mean

            return sorted(rows, key=key)
    raise ValueError(f"--sort {sort!r}: there is no such metric; there are name, {', '.join(c.title for c in columns)}")


def table_of(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """Headers and cells: a line per run or group, then the baselines and floors, in brackets."""
    grouped = any(row.n > 1 for row in rows)
    headers = ["run", *(["n"] if grouped else []), *(column.title for column in columns)]
    cells = [[row.name, *([str(row.n)] if grouped else []), *map(row.cell, range(len(columns)))] for row in rows]
    levels = dict.fromkeys(name for column in columns for name, _ in column.levels)
    for name in sorted(levels, key=lambda name: name in ("floor", "ceiling")):
        values = [[value for other, value in column.levels if other == name] for column in columns]
        for i in range(max(map(len, values))):  # more than one where runs had other training images
            line = [number(some[i]) if i < len(some) else "-" for some in values]
            cells.append([f"({name})", *(["-"] if grouped else []), *line])
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    headers = [headers[0], *(text.rjust(width) for text, width in zip(headers[1:], widths[1:], strict=True))]
    cells = [[line[0], *(t.rjust(w) for t, w in zip(line[1:], widths[1:], strict=True))] for line in cells]
    return headers, cells


def notes(columns: Sequence[Column], grouped: bool) -> list[str]:
    """Units, directions and rulers, a line for each column."""
    said: dict[str, list[str]] = {}
    for column in columns:
        r = column.example
        what = [
            f"{r.images:,} of {r.data} ({r.data_checksum[:8]})"
            if r.split in r.data
            else f"{r.images:,} of {r.data}, {r.split} ({r.data_checksum[:8]})"
        ]
        what += [f"seed {r.seed}"] if r.seed is not None else []
        what += [f"classifier {r.classifier[:8]}"] if r.classifier else []
        better = "higher" if r.higher_is_better else "lower"
        text = f"{r.unit}, {better} is better; {', '.join(what)}; tinygen {r.tinygen}"
        said.setdefault(text, []).append(column.title)
    lines = [harmless.text(f"{'; '.join(titles)}: {text}", 1000) for text, titles in said.items()]
    if any(column.title.endswith("]") for column in columns):
        lines.append(
            "Columns with letters were measured with other data, seeds, classifiers or versions: they do not compare."
        )
    if grouped:
        lines.append("n runs differ by their seed alone: mean ± standard deviation over them.")
    return lines


def differing(entries: Sequence[Entry]) -> list[list[str]]:
    """A line for each setting in which the runs differ."""
    settings = [entry.settings | {"seconds": round(entry.run.seconds, 1)} for entry in entries]
    keys = dict.fromkeys(key for one in settings for key in one)
    different = [key for key in keys if len({str(one.get(key)) for one in settings}) > 1]
    return [[key, *(_text(one.get(key)) for one in settings)] for key in different]


def number(value: float) -> str:
    """Four significant digits, and no exponent for what has ten thousands."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def spread(values: Sequence[float]) -> str:
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return ""
    return f" ± {statistics.stdev(values):.2g}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values)


def _common_name(names: Sequence[str]) -> str:
    """That of one run; of several what they have in common: vae_s*."""
    if len(names) == 1:
        return names[0]
    start = _common_start(names)
    end = _common_start([name[len(start) :][::-1] for name in names])[::-1]
    return f"{start}*{end}"


def _common_start(names: Sequence[str]) -> str:
    return "".join(c[0] for c in itertools.takewhile(lambda c: len(set(c)) == 1, zip(*names, strict=False)))


def _letters(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else _letters(i // 26 - 1) + _letters(i % 26)


def _text(value: Any) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


# --- files -----------------------------------------------------------------------------------------------------------


def as_csv(entries: Sequence[Entry]) -> str:
    """A line for each number of each run: the run, the number with its ruler, and the run's settings."""
    names = list(dict.fromkeys(key for entry in entries for key in entry.settings))
    fields = list(records.KINDS)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["run", *fields, *(f"setting: {_cell(name)}" for name in names)])
    for entry in entries:
        settings = [_cell(_text(entry.settings.get(name)) if name in entry.settings else "") for name in names]
        for record in entry.records:
            lines.writerow([_cell(entry.name), *(_cell(getattr(record, name)) for name in fields), *settings])
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None:
        return ""
    is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_numeric(value)
    return f"'{value}" if is_formula else value


def _is_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True


LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\\": "\\textbackslash{}", "<": "$<$", ">": "$>$"},
    **{"−": "$-$", "±": "$\\pm$", "·": "$\\cdot$", "²": "$^2$", "…": "\\dots{}"},
}


def as_latex(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A tabular, for which no package is needed."""
    lines = [" & ".join(map(_latex, line)) + r" \\" for line in (headers, *cells)]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}"
    return "\n".join([begin, r"\hline", lines[0], r"\hline", *lines[1:], r"\hline", r"\end{tabular}", ""])


def _latex(text: str) -> str:
    pieces = re.split("([₀-₉]+)", text.strip())
    for i, piece in enumerate(pieces):
        low = "".join(str(ord(c) - ord("₀")) for c in piece)
        plain = "".join(LATEX.get(c, c if c.isprintable() else " ") for c in piece)
        pieces[i] = f"$_{{{low}}}$" if i % 2 else plain
    return "".join(pieces)


# --- losses ----------------------------------------------------------------------------------------------------------


def draw(entries: Sequence[Entry], out: Path) -> None:
    """The losses of all runs that have some, over their epochs."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    units = set()
    for entry in entries:
        try:
            x, losses = losses_of(entry.run)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"losses left out: {harmless.error(error)}\n")
            continue
        if losses:
            curves[harmless.title(entry.name)] = (x, losses)
            units.add(loss_unit(entry.run.model))
    if curves:
        unit = units.pop() if len(units) == 1 else "each in its own unit"
        smooth = max(1, min(len(losses) for _, losses in curves.values()) // 100)
        plot.curves(curves, out, xlabel="epochs", ylabel=f"training loss, {unit}", smooth=smooth)
        print(f"Losses are in {harmless.text(out, harmless.PATH)}\n")


def losses_of(run: runs.Trained) -> tuple[list[float], list[float]]:
    """(epochs, loss) of every step that was logged; lines without a finite loss and a step > 0 are left out.

    Raises OSError for a pipe or a device, ValueError for a file of more than 64 MiB.
    """
    file = run.folder / "metrics.jsonl"
    if not file.is_file():
        return [], []
    points: list[tuple[float, float]] = []
    name = None
    with open_regular(file, "compare") as (stream, size):
        if size > 16 * LARGEST:
            raise ValueError(f"{file} has {size:,} bytes, and is not read beyond {16 * LARGEST:,}")
        while text := stream.readline(LARGEST):  # in which only "\n" ends a line
            line = _parsed(text)
            name = name or next((key for key in ("loss", "G loss") if key in line), None)
            step, loss = line.get("step"), line.get(name)
            if step is not None and loss is not None and is_number(step) and is_number(loss) and step > 0:
                points.append((float(step), float(loss)))
    last = max((step for step, _ in points), default=1.0)
    return [run.epochs * (step / last) for step, _ in points], [loss for _, loss in points]


def _parsed(text: bytes) -> Mapping[Any, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):  # the last one, of a run that was killed; or no text at all
        return {}
    return line if isinstance(line, dict) else {}
