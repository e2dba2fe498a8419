"""A few hundred damaged files for every reader, from benchmarks/fuzz.py, which throws many more; and whether it would notice."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module("fuzz")


READERS = [
    *("idx", "npy", "npz", "load an .npy", "load an .npz", "load a folder"),
    *("libsvm", "amat", "checkpoint", "weights", "configuration"),
]


def test_the_readers_are_these(fuzz):
    assert list(fuzz.readers()) == READERS


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_refused_by_name(fuzz, tmp_path, name):
    count = fuzz.fuzz(name, fuzz.readers()[name], 40 if "folder" in name else 80, 0, tmp_path)
    assert [outcome for _, outcome in count.crashes] == []
    assert count.refused > 0 and count.refused + count.accepted == count.inputs


@pytest.mark.parametrize("name", READERS)
def test_files_that_are_whole_are_read(fuzz, tmp_path, name):
    """Otherwise the changed ones would only show that everything is refused."""
    reader = fuzz.readers()[name]
    outcomes = []
    for content in [*reader.valid, *map(reader.seal, reader.before)]:
        (tmp_path / reader.file).write_bytes(content)
        outcomes.append(fuzz.attempt(reader, tmp_path / reader.file)[0])
    assert "accepted" in outcomes and set(outcomes) <= {"accepted", "refused"}
    if not name.startswith("load"):  # labels and the like are whole files, too, but no images
        assert set(outcomes) == {"accepted"}


@pytest.mark.parametrize(
    ("careless", "found"),
    [
        (lambda file: np.frombuffer(file.read_bytes()[8:], ">u4", 1) + 0, "does not name the file"),
        (lambda file: np.zeros(int.from_bytes(file.read_bytes()[4:8], "big") % 2**27, np.uint8), " MB"),
        (lambda file: file.read_bytes()[100], "IndexError"),
        (lambda file: None, "returned None"),
    ],
)
def test_a_careless_reader_is_noticed(fuzz, tmp_path, careless, found):
    reader = dataclasses.replace(fuzz.readers()["idx"], read=careless, error=ValueError, before=())
    crashes = fuzz.fuzz("idx", reader, 100, 0, tmp_path).crashes
    assert any(found in outcome for _, outcome in crashes)
    content, outcome = crashes[0]  # what is kept shows it again
    (tmp_path / reader.file).write_bytes(content)
    assert fuzz.attempt(reader, tmp_path / reader.file)[0] in (outcome, "accepted")
