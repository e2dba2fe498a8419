"""Every row of docs/results.md runs small, goes on where it was stopped, and comes from the stored numbers."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import tinygen as tg
import tinygen.models
from tinygen import checkpoint, data, nn, optim, training
from tinygen.models import Result

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))
import report  # noqa: E402
import reproduce  # noqa: E402
from reproduce import ROWS, Row  # noqa: E402

sys.path.remove(str(EXAMPLES))


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def _one_thread():
    """Matrices this small take ten times as long when the threads of a busy machine share them."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def killed_after(monkeypatch):
    """killed_after(n): every step is saved, and the process dies after n savings; None for never."""
    whole = checkpoint.save

    def arrange(n: int | None) -> None:
        left = [math.inf if n is None else n]

        def save(*args: Any) -> Path:
            path = whole(*args)
            left[0] -= 1
            if left[0] <= 0:
                raise Killed
            return path

        monkeypatch.setattr(checkpoint, "save", save)

    monkeypatch.setattr(training.Keeper.__init__, "__kwdefaults__", {"every": 0.0})
    return arrange


def numbers(result: Result) -> list[dict[str, Any]]:
    """All that does not depend on the clock."""
    rows = [dataclasses.asdict(r) for r in result.rows()]
    return [{k: v for k, v in r.items() if k not in ("seconds", "date", "more", "curves")} for r in rows]


@pytest.mark.parametrize("name", ROWS)
def test_every_row_runs_small(name, tmp_path, capsys):
    reproduce.main([name, "--dry-run", "--device", "cpu", "--out", str(tmp_path)])
    assert f"{name}: training" in capsys.readouterr().out
    assert not (tmp_path / "reproduce" / f"{name}_dry_run" / "kept").exists(), "a row that is done leaves no checkpoint"
    result = Result.load(tmp_path / "dry_run" / "results" / f"{name}.json")
    for r in result.rows():
        assert math.isfinite(r.value) and r.unit and r.metric and r.seconds > 0 and r.command
        if ROWS[name].dataset is not None:
            assert r.published is None and r.target is None, "those are about the whole data set"
        assert r.settings, "what the run was started with"
    page = (tmp_path / "dry_run" / "docs" / "results.md").read_text("utf-8")
    assert all(f"| {r.name} | {r.metric} |" in page for r in result.rows())


def samples_last(name: str) -> Any:
    """Rows that judge samples train a classifier first, in each of three runs."""
    return pytest.param(name, marks=[pytest.mark.slow] if "samples" in ROWS[name].small else [])


@pytest.mark.parametrize("name", [samples_last(name) for name in ROWS if reproduce.takes(name, "keep")])
def test_a_row_that_is_killed_goes_on_bit_for_bit(name, tmp_path, capsys, killed_after):
    def row(folder: str) -> list[dict[str, Any]]:
        reproduce.main([name, "--dry-run", "--device", "cpu", "--out", str(tmp_path / folder)])
        return numbers(Result.load(tmp_path / folder / "dry_run" / "results" / f"{name}.json"))

    killed_after(1)
    with pytest.raises(Killed):
        row("stopped")
    killed_after(None)
    whole = row("whole")
    capsys.readouterr()
    assert row("stopped") == whole and f"{name}: going on with the run in" in capsys.readouterr().out


def test_every_function_that_measures_has_a_row():
    modules = [
        importlib.import_module(f"tinygen.models.{m.name}") for m in pkgutil.iter_modules(tinygen.models.__path__)
    ]
    functions = {
        f for module in modules for name, f in vars(module).items() if name.startswith("reproduce") and callable(f)
    }
    missing = functions - {row.measure for row in ROWS.values()}
    assert not sorted(f"{f.__module__}.{f.__name__}" for f in missing), "no row of examples/reproduce.py measures these"


def toy(epochs: int = 2, seed: int = 0, device: str = "cpu", keep: Path | None = None) -> Result:
    tg.manual_seed(seed)
    model = nn.Linear(1, 1)
    keeper = training.Keeper(keep, "toy", {"seed": seed}, model=model, optimizer=optim.SGD(model.parameters()))
    loader = data.DataLoader(np.zeros(3))
    for _ in keeper.epochs(epochs):
        for _ in keeper.batches(loader):
            keeper.values.setdefault("draws", []).append(tg.rand(1).item())
    draws = keeper.values["draws"]
    curve = [[float(i), x] for i, x in enumerate(draws)]
    again = Result("toy: again", "draws", "nats", draws[0], settings={"epochs": epochs})
    return Result(
        "toy",
        "last draw",
        "nats",
        draws[-1],
        baseline=0.5,
        seed=seed,
        seeds=(0, 1),
        seconds=keeper.seconds,
        settings={"epochs": epochs},
        curves={"draws": curve},
        axes=("steps", "nats"),
        more=(again,),
    )


def longer(epochs: int = 3, seed: int = 0, device: str = "cpu") -> Result:
    return toy(epochs, seed)


@pytest.fixture
def toys(tmp_path, monkeypatch, capsys):
    """toys(words) runs the command line on a table with one row, in an empty project, and returns what it printed."""
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    monkeypatch.setattr(reproduce, "ROWS", {"toy": Row(toy, captions={"toy.png": "A toy"})})

    def run(*words: str) -> str:
        reproduce.main([*words, "--out", str(tmp_path / "runs")])
        return capsys.readouterr().out

    return run


def test_what_is_stored_is_not_measured_again(toys, monkeypatch):
    assert "toy: training" in toys()
    assert "toy: stored on 20" in toys() and "--again measures anew" in toys()
    assert "toy: training" in toys("--again")
    assert "toy: training" in toys("toy"), "asked for by name"
    assert "toy: training" in toys("--seed", "1"), "another command"
    assert "toy: stored" in toys("--seed", "1")
    toys("toy")
    monkeypatch.setattr(reproduce, "ROWS", {"toy": Row(longer)})
    assert "toy: training" in toys(), "the code has other settings now"
    assert "toy: stored" in toys()


def test_a_row_that_was_stopped_goes_on_unless_told_to_begin_again(toys, killed_after, tmp_path):
    killed_after(None)
    toys()
    whole = numbers(Result.load(tmp_path / "results" / "toy.json"))
    for words in ((), ("toy",)):  # also without its name, though it is stored
        killed_after(3)
        with pytest.raises(Killed):
            toys("toy", "--again")
        killed_after(None)
        with pytest.raises(ValueError, match="other settings: seed = 0 then, 1 now"):
            toys("toy", "--seed", "1")
        assert "going on with the run in" in toys(*words)
        assert numbers(Result.load(tmp_path / "results" / "toy.json")) == whole
    killed_after(3)
    with pytest.raises(Killed):
        toys("toy")
    killed_after(None)
    assert "toy: training" in toys("toy", "--again", "--seed", "1")


def test_the_page_shows_all_rows_curves_seeds_and_pictures(toys, tmp_path):
    toys()
    page = (tmp_path / "docs" / "results.md").read_text("utf-8")
    assert "| toy | last draw | nats |" in page and "| toy: again | draws |" in page
    assert "· seeds 0 1 ·" in page and "![A toy](pictures/toy.png)" in page
    assert "![toy: nats against steps](pictures/toy_curve.png)" in page
    assert (tmp_path / "docs" / "pictures" / "toy_curve.png").read_bytes()[:4] == b"\x89PNG"
    before = page
    toys("--report")
    assert (tmp_path / "docs" / "results.md").read_text("utf-8") == before


def test_the_page_of_the_project_is_what_the_stored_numbers_give(tmp_path):
    """Nobody has edited docs/results.md by hand."""
    root = EXAMPLES.parent
    captions = {name: row.captions for name, row in ROWS.items()}
    names = [*ROWS, *reproduce.STORED_BY_OTHERS]
    report.write_report(root / "results", names, tmp_path / "docs" / "results.md", captions)
    assert (tmp_path / "docs" / "results.md").read_text("utf-8") == (root / "docs" / "results.md").read_text("utf-8")
    assert {p.stem for p in (root / "results").iterdir()} <= set(names), "a stored result that no row shows"
    for file in {file for pictures in captions.values() for file in pictures}:
        assert (root / "docs" / "pictures" / file).is_file()


def test_the_script_names_the_rows_that_there_are(tmp_path):
    command = [sys.executable, str(EXAMPLES / "reproduce.py"), "nonsense", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 2 and "no such row: nonsense; there are classifier" in done.stderr


def test_rows_are_called_with_what_they_take():
    for name, row in ROWS.items():
        known = inspect.signature(row.measure).parameters
        assert all(reproduce.takes(name, key) for key in row.small), known
        assert row.watch is None or reproduce.takes(name, "watch")
        assert row.dataset is None or reproduce.takes(name, "dataset")
