"""The page docs/results.md, from the numbers that `reproduce.py` stores: nothing in it is typed by hand."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import plot
from tinygen.models import Result

HEADERS = ("name", "metric", "unit", "value", "baseline", "floor", "published", "target")


def row(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in HEADERS}


def write_report(results: Path, names: Sequence[str], target: Path, captions: Mapping[str, Mapping[str, str]]) -> None:
    """The page `target` from what is stored in the folder `results`, in the order of the names.

    captions: {name: {file: caption}} of the pictures that lie beside it, in pictures/.  Curves are drawn there too.
    """
    stored = {name: Result.load(results / f"{name}.json") for name in names if (results / f"{name}.json").is_file()}
    rows = [r for result in stored.values() for r in result.rows()]
    lines = [
        "# Results",
        "",
        "Measured by `make reproduce`, which trains each model, stores the numbers in `results/` and writes this page from",
        "them. One seed each where no more are named, so the last digits are luck.",
        "",
        "*Baseline* is a trivial model, *floor* the best value possible (for a score: the ceiling), *published* somebody",
        "else's number for the same set-up; what exactly they are stands below the table.",
        "",
        "| model | metric | unit | value | baseline | floor | published | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        numbers = " | ".join(number(v) for v in (r.baseline, r.floor, r.published))
        lines.append(f"| {r.name} | {r.metric} | {r.unit} | **{number(r.value)}** | {numbers} | {r.target or '–'} |")
    for name, result in stored.items():
        lines += ["", f"## {result.name.partition(':')[0]}", ""]
        lines.append(
            f"`{result.command}` · {result.date} · {seeds(result)} · took {minutes(result.seconds)} · {result.machine}"
        )
        lines += ["", f"- settings: {values(result.settings)}"]
        for r in result.rows():
            prefix = f"{r.name.partition(': ')[2]}: " if result.more else ""
            if r.seconds != result.seconds:
                lines.append(f"- {prefix}took {minutes(r.seconds)}")
            lines += [f"- {prefix}{key}: {values(value)}" for key, value in r.notes.items()]
        for i, r in enumerate(r for r in result.rows() if r.curves):
            file = f"pictures/{name}_curve{f'_{i + 1}' if i else ''}.png"
            draw_curves(r, target.parent / file)
            lines += picture(f"{r.name}: {r.axes[1]} against {r.axes[0]}", file)
        for file, caption in captions.get(name, {}).items():
            lines += picture(caption, f"pictures/{file}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{target}: {len(rows)} numbers", file=sys.stderr)


def picture(caption: str, file: str) -> list[str]:
    return ["", f"![{caption}]({file})", "", f"*{caption}.*"]


def draw_curves(result: Result, file: Path) -> None:
    """The result's curves; where they have its unit, with what it is to be compared with."""
    lines = {k: getattr(result, k) for k in ("floor", "baseline", "published") if result.axes[1] == result.unit}
    series = {name: tuple(np.array(points, float).T) for name, points in result.curves.items()}
    known = {name: level for name, level in lines.items() if level is not None}
    plot.curves(series, file, xlabel=result.axes[0], ylabel=result.axes[1], lines=known, title=result.name)


def seeds(result: Result) -> str:
    return f"seeds {values(result.seeds)}" if result.seeds else f"seed {result.seed}"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def values(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {values(v)}" for key, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
