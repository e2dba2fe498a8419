"""The table of results, and numbers as JSON has them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygen import atomic, harmless
from tinygen.regular import open_regular


def plain(value: Any) -> Any:
    """The value as JSON has it: see `Run.save_metrics`."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # arrays, NumPy scalars, Tensors
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, str):  # names of files that are not UTF-8 have halves of characters in them
        return value.encode(errors="backslashreplace").decode()
    is_json = not isinstance(value, Path) and not (isinstance(value, float) and not math.isfinite(value))
    return value if is_json else str(value)


def write_json(file: Path, content: Any) -> Path:
    """Write it in one step: a reader never sees half of it.  Raises ValueError for NaN and infinity (see `plain`)."""
    return atomic.write(file, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable=True)


def write_text(file: str | Path, text: str) -> Path:
    """Write it in one step, and never through a link; halves of characters, as names of files may have them, as escapes."""
    return atomic.write(file, text.encode(errors="backslashreplace"))


LARGEST = 4 * 2**20
"""Bytes of a file of JSON, or of a line, that is read: ours have some thousand."""


def read_json(file: Path) -> dict[str, Any]:
    """A dict that `write_json` has written, or that somebody else has.

    Raises FileNotFoundError if there is no file, ValueError in one line for anything but a regular file of at most LARGEST bytes
    with a dict in it.
    """
    with open_regular(file, "tinygen") as (stream, size):
        if size > LARGEST:
            raise ValueError(f"{file} has {size:,} bytes, and is not read beyond {LARGEST:,}")
        text = stream.read(LARGEST)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({error or type(error).__name__})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is damaged: a dict is expected, got a {type(content).__name__}")
    return content


RESULT_HEADERS = ("model", "metric", "unit", "value", "baseline", "floor", "published")


def table(rows: Iterable[Mapping[str, Any] | Sequence[Any]], headers: Sequence[str] = RESULT_HEADERS) -> str:
    """Rows as an aligned plain-text table, to be printed: numbers to the right, texts to the left.

    A row is a mapping from headers to values, or the values in order.  What a row leaves out, or gives as None, is
    shown as "-".  Floats have four significant digits.  Texts may come from anywhere: characters that a terminal would obey are
    shown as escapes, and of long texts the beginning and the end.

    Raises ValueError for a row with more values than headers, or with a name that is no header.
    rows: those, in order.
    """
    cells = [_cells(row, headers) for row in rows]
    columns = list(zip(map(harmless.text, headers), *([_cell(value) for value in row] for row in cells)))
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
    return harmless.text(value)
