"""A few hundred damaged files for every reader, from benchmarks/fuzz.py, which throws many more; and whether it would notice."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygen import checkpoint

pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("fuzz")  # which imports others of that folder when it needs them


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


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', r'{"\udfff": 1}', '{"a": ' + "[" * 200 + "]" * 200 + "}"])
def test_what_could_not_be_saved_is_not_read(fuzz, tmp_path, text):
    """Else a run goes on from it, and stumbles when it saves."""
    (tmp_path / "run.safetensors").write_bytes(fuzz.signed(text.encode()))
    with pytest.raises(checkpoint.CheckpointError, match=r"run\.safetensors is no checkpoint"):
        checkpoint.load(tmp_path / "run.safetensors")


# --- folders of runs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(fuzz):
    if not sys.platform.startswith("linux"):
        pytest.skip("processes and their memory are watched as Linux tells of them")
    pytest.importorskip("matplotlib")
    return importlib.import_module("fuzz_runs")


@pytest.fixture(scope="module")
def world(runs, tmp_path_factory):
    return runs.World.make(tmp_path_factory.mktemp("fuzz") / "world")


def test_folders_of_runs_harm_nobody(runs, world):
    """Forty of them, as the benchmark makes them; tests/test_harmless.py and others say it of each kind of harm."""
    with runs.tiny(world.base):
        cases = [runs.attempt(world, 1, number) for number in range(40)]
    assert [(case.number, case.crash) for case in cases if case.crash] == []
    assert {case.status for case in cases} == {0, 2}


def test_whole_folders_of_runs_are_read(runs, world):
    with runs.tiny(world.base):
        for kind in runs.KINDS:
            assert runs.run(["evaluate", str(world.base / "made" / kind / "run")])[0] == 0


@pytest.mark.parametrize(
    ("careless", "found"),
    [
        (lambda world: 1 / 0, "ZeroDivisionError"),
        (lambda world: print("\x1b[2J"), "not printable"),
        (lambda world: (world.base / "watched" / "text").write_text("touched"), "watched/text"),
        (lambda world: (world.base / "elsewhere" / "new").touch(), "elsewhere/new"),
        (lambda world: (world.base / "case" / "new").touch(), "made outside"),
        (lambda world: np.ones(2**28), "more memory"),
        (lambda world: next(n for n in itertools.count() if n < 0), "too long"),
        (lambda world: os.open(world.base / "pipe", os.O_RDONLY), "too long"),
    ],
)
def test_a_careless_command_is_noticed(runs, tmp_path, careless, found, monkeypatch):
    world = runs.World(tmp_path)
    for folder in ("watched", "case", "made", "elsewhere", "cache"):
        (tmp_path / folder).mkdir()
    (tmp_path / "watched" / "text").write_text("do not touch")
    os.mkfifo(tmp_path / "pipe")
    world.watched = world.signature()
    cli = importlib.import_module("tinygen.cli.main")
    if found == "too long":
        monkeypatch.setattr(runs, "SECONDS", 0.5)
        monkeypatch.setattr(runs, "WAITING", 1.0)
    monkeypatch.setattr(cli, "_sample", lambda args: careless(world))
    monkeypatch.setattr(runs, "prepare", lambda *_: (tmp_path / "case" / "run", ["sample", "run"], "vae"))
    (tmp_path / "case" / "run").mkdir()
    assert found in runs.attempt(world, 0, 0).crash
