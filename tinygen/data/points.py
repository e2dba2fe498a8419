"""Rows of numbers from a file: points in the plane, or the table of an experiment, of any width."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.data.files import DataError, check_size, looks_like, npz_sizes, read_npy, read_npz
from tinygen.regular import open_regular

SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".txt")
"""What `load_points` reads."""
_NAMES = ("points", "x", "X", "data")


def load_points(
    source: str | Path, test: float = 0.2, seed: int = 0, max_bytes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of numbers for training and for testing: (train, test), float32, (n, columns) each.

    source: a path to

        an .npy file            one array (n, columns)
        an .npz file            the arrays train and test; or one, called points, x, X or data, or the only one that is there
        a .csv, .tsv or .txt    a table, as `read_csv` reads it

    test, seed: the fraction and the random choice of the rows for testing, where the file has no such split.  No row is in both.
        One seed gives one split, for ever.
    max_bytes: the most that the numbers may take (default: files.MAX_BYTES, 2 GiB).

    The numbers are those of the file: columns in different units want to be brought to mean 0 and deviation 1, with the mean and
    the deviation of the training rows.

    Raises DataError (a ValueError), naming the file, what is wrong and what to do, for files that are damaged, of another kind or
    too large, for numbers that are NaN, infinite or complex, and for fewer than two rows; FileNotFoundError when there is
    no such file, NotAFile (an OSError) for a folder, a pipe or a device.
    """
    if not 0 < test < 1:
        raise ValueError(
            f"data.load_points: 0 < test < 1 is expected, the fraction of the rows for testing, got {test!r}"
        )
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"data.load_points: a seed in 0, ..., 2³² - 1 is expected, got {seed!r}")
    path = Path(source).expanduser()
    suffix = path.suffix.lower()
    if suffix == ".npz":
        names = list(npz_sizes(path))
        if {"train", "test"} <= {*names}:
            parts = [
                _points(read_npz(path, name, max_bytes), f"{path}: {name}", max_bytes) for name in ("train", "test")
            ]
            if parts[0].shape[1] != parts[1].shape[1]:
                raise DataError(
                    f"data.load_points: {path}: train has {parts[0].shape[1]} columns, test {parts[1].shape[1]}"
                )
            return parts[0], parts[1]
        found = [name for name in _NAMES if name in names] or (names if len(names) == 1 else [])
        if len(found) != 1:
            raise DataError(
                f"data.load_points: {path}: one array called {', '.join(_NAMES)}, or train and test, is expected, "
                f"found {names[:12] or 'none'}; write it with np.savez(file, points=...)"
            )
        points = _points(read_npz(path, found[0], max_bytes), f"{path}: {found[0]}", max_bytes)
    elif suffix == ".npy":
        points = _points(read_npy(path, max_bytes), str(path), max_bytes)
    elif suffix in SUFFIXES:
        points = _points(read_csv(path, max_bytes), str(path), max_bytes)
    elif not path.exists():
        raise FileNotFoundError(f"data.load_points: {source}: there is no such file")
    else:
        raise DataError(f"data.load_points: {path}: a file {', '.join(SUFFIXES)} with rows of numbers is expected")
    n = len(points)
    if n < 2:
        raise DataError(
            f"data.load_points: {path}: {n} row is too few: at least one is needed to learn from and one to test"
        )
    # RandomState's streams are frozen for ever, default_rng's may change with NumPy's version: the split must not.
    order = np.random.RandomState(seed).permutation(n)
    k = min(max(round(test * n), 1), n - 1)
    return points[order[k:]], points[order[:k]]


def read_csv(path: str | Path, max_bytes: int | None = None) -> np.ndarray:
    """The numbers of a table in a text file: (rows, columns), float64.

    path: the file, in UTF-8.  Columns are separated by commas, semicolons, tabs or blanks, whichever the first row has (in this
    order); a first row of names is left out, and so are empty lines and what follows a #.
    max_bytes: the most that the file, or its numbers, may take (default: files.MAX_BYTES, 2 GiB).

    Raises DataError (a ValueError), naming the file, the row and what stands there, for what is no number, for rows of different
    lengths, and for a file of another kind; FileNotFoundError when there is none, NotAFile (an OSError) for a pipe or a device.
    """
    path = Path(path)
    where = f"read_csv: {path}"
    with open_regular(path, "read_csv") as (stream, size):
        # A number and what separates it from the next are two characters at least, and eight bytes in memory.
        check_size(size, where, "the text has", max_bytes)
        content = stream.read(size)
    if b"\0" in content[:4096]:
        raise DataError(f"{where}: a table of numbers as text is expected, and it is {looks_like(content[:64])}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: text in UTF-8 is expected ({error})") from None
    del content
    first, start = _first_row(text)
    if not first:
        raise DataError(f"{where}: there is no row in it")
    separator = next((sign for sign in ",;\t" if sign in first), None)
    columns = len(_fields(first, separator))
    if not all(map(_is_number, _fields(first, separator))):
        if any(map(_is_number, _fields(first, separator))):
            bad = next(field for field in _fields(first, separator) if not _is_number(field))
            raise DataError(
                f"{where}: the first row has numbers and {bad[:40]!r}, which is none; keep columns of numbers only"
            )
        text = text[start:]
    check_size(8 * columns * (text.count("\n") + 1), where, f"the text declares {columns} columns", max_bytes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no row: said below
            # NumPy's reader, told all that it would otherwise guess: nothing but floats is made of the text.
            table = np.loadtxt(
                io.StringIO(text), np.float64, delimiter=separator, quotechar='"', ndmin=2, encoding=None
            )
    except ValueError as error:
        raise DataError(
            f"{where}: {str(error).partition('; use')[0]}; numbers, as many in every row, are expected"
        ) from None
    if table.size == 0:
        raise DataError(f"{where}: there is no row of numbers in it")
    if table.shape[1] != columns:
        raise DataError(f"{where}: {columns} names or numbers in the first row, {table.shape[1]} in the others")
    return table


def _first_row(text: str) -> tuple[str, int]:
    """The first line that says something, and where the next one begins."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end].partition("#")[0].strip("\r\n")
        start = end + 1
        if line.strip():
            return line, start
    return "", start


def _fields(line: str, separator: str | None) -> list[str]:
    try:
        return line.split() if separator is None else next(csv.reader([line], delimiter=separator))
    except csv.Error:  # fields of more than 100,000 characters, which are no numbers
        return [line[:40]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _points(array: Any, where: str, max_bytes: int | None) -> np.ndarray:
    """Float32 rows of the array in a file; DataError if some of it is no number of float32."""
    where = f"data.load_points: {where}"
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise DataError(f"{where}: rows of numbers (n, columns) are expected, got shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise DataError(f"{where}: numbers are expected, got {array.dtype}")
    check_size(4 * array.size, where, f"shape {array.shape} as float32", max_bytes)
    with np.errstate(over="ignore"):
        points = np.ascontiguousarray(array, np.float32)
    if not (good := np.isfinite(points).all(1)).all():
        i = int(good.argmin())
        j = int(np.isfinite(points[i]).argmin())
        raise DataError(
            f"{where}: {(~good).sum()} of {len(points)} rows have numbers that are NaN or infinite (in float32), the first is row "
            f"{i}: {array[i, j]} in column {j}; leave those rows out, or put in what is missing"
        )
    return points
