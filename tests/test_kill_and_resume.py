"""benchmarks/kill_and_resume.py sees every difference between two runs but their seconds."""

import importlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from tinygen import checkpoint

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("kill_and_resume")


def make(folder, seconds=1.0, weight=0.5, text="0.25", picture=b"png", lines=2):
    state = {"step": 3, "seconds": seconds, "log": 10 + len(str(seconds)), "nested": [{"w": np.array([0.0, weight])}]}
    checkpoint.save(folder / "run.safetensors", state)
    (folder / "loss.png").write_bytes(picture)
    (folder / "metrics.json").write_text(f'{{"seconds": {seconds}, "loss": {text}}}')
    log = [json.dumps({"step": i, "seconds": seconds * i, "loss": "nan"}) for i in range(lines)]
    (folder / "metrics.jsonl").write_text("\n".join(log))
    return folder


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"seconds": 2.25}, None),
        ({"weight": float(np.nextafter(0.5, 1))}, "run.safetensors:/nested/0/w"),
        ({"text": "0.250000001"}, "metrics.json:/loss"),
        ({"picture": b"pnG"}, "loss.png"),
        ({"lines": 3}, "metrics.jsonl:/2/step is too much"),
        ({"lines": 1}, "metrics.jsonl:/1/step is missing"),
    ],
)
def test_every_difference_but_the_seconds_is_seen(script, tmp_path, change, place):
    one, two = (script.contents(make(tmp_path / name, **kwargs)) for name, kwargs in (("a", {}), ("b", change)))
    found = script.differences(one, two)
    assert found == [] if place is None else found[0] == place


def test_a_program_is_killed_until_it_comes_to_its_end(script, tmp_path, monkeypatch):
    """A program that counts in a file, of which each process adds to what the last one left."""
    program = """
import pathlib, sys, time
from tinygen import checkpoint
folder = pathlib.Path(sys.argv[1])
file = folder / "run.safetensors"
start = checkpoint.load(file)["step"] if checkpoint.exists(file) else 0
for step in range(start + 1, 13):
    checkpoint.save(file, {"step": step})
    time.sleep(0.02)
"""
    monkeypatch.setattr(script, "command", lambda name, out, *_: [script.sys.executable, "-c", program, str(out)])
    monkeypatch.setattr(script, "folder_of", lambda name, out: out)
    expected = {"run.safetensors:/step": 12}
    kills, in_training, failure = script.killed_until_it_ends("count", tmp_path, expected, 0.1, random.Random(3))
    assert 0 < in_training <= kills and failure == ""
    assert script.differences(expected, script.contents(tmp_path)) == []


def test_a_program_that_fails_to_go_on_is_a_difference(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "command", lambda *_: [script.sys.executable, "-c", "raise SystemExit('no way')"])
    monkeypatch.setattr(script, "wait_for_savings", lambda process, *_: process.wait())
    found = script.killed_until_it_ends("fails", tmp_path, {"x:/step": 1}, 9.0, random.Random(0))
    assert found == (0, 0, "resumed after 0 kills, status 1: no way")


def test_every_example_that_keeps_its_run_is_killed(script):
    keeping = {f.stem for f in (ROOT / "examples").glob("*.py") if "keeper.epochs(" in f.read_text("utf-8")}
    assert set(script.EXAMPLES) == keeping
