"""A file is there whole or not at all, nothing else has changed, and no link is followed, whoever writes it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import atomic, checkpoint, plot
from tinygen.training import Keeper, Run
from tinygen.training.log import Log
from tinygen.training.results import write_json

needs_links = pytest.mark.skipif(os.name != "posix", reason="links")


class Killed(BaseException):
    pass


def tree(folder: Path) -> dict[str, object]:
    """Everything below a folder: contents, and where links lead."""
    return {
        str(p.relative_to(folder)): os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else "folder"
        for p in folder.rglob("*")
    }


def a_graph(path: Path) -> None:
    plot.graph((tg.ones(2, requires_grad=True) * 2).sum(), path)


def a_page(path: Path) -> None:
    plot.graph_page((tg.ones(2, requires_grad=True) * 2).sum(), path)


def a_log(path: Path) -> None:
    log = Log(path)
    log.write({"loss": 1.0})
    log.sync()


WRITERS = {
    "checkpoint": ("run.safetensors", lambda path: checkpoint.save(path, {"epoch": 1, "x": np.ones(3)})),
    "save": ("x.pt", lambda path: tg.save({"x": tg.ones(3)}, path)),
    "json": ("config.json", lambda path: write_json(path, {"a": 1})),
    "metrics": ("metrics.json", lambda path: Run(path.parent.name, path.parent.parent).save_metrics(loss=1.0)),
    "best": ("run_best.safetensors", lambda path: Keeper(path.parent).best(1.0)),
    "log": ("metrics.jsonl", a_log),
    "grid": ("samples.png", lambda path: plot.image_grid(np.zeros((2, 4, 4)), path)),
    "curves": ("loss.svg", lambda path: plot.curves({"a": [1.0, 2.0]}, path, xlabel="x", ylabel="y")),
    "animation": ("layers.gif", lambda path: plot.animation([np.zeros((4, 4))], path, hold=0, size=(1, 1))),
    "graph": ("graph.svg", a_graph),
    "page": ("page.html", a_page),
}
"""All that writes a file, with the name that it has."""


@needs_links
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", ["link", "dangling", "hard link"])
def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(writer, kind, tmp_path):
    """The link itself, or the old file, may stay under the name of the checkpoint before."""
    name, write = WRITERS[writer]
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    folder.mkdir()
    (outside / "thesis.txt").write_text("{}")
    before = tree(outside)
    target = outside / ("nothing.txt" if kind == "dangling" else "thesis.txt")
    if kind == "hard link":
        os.link(target, folder / name)
    else:
        (folder / name).symlink_to(target)
    write(folder / name)
    assert tree(outside) == before
    written = folder / name
    assert written.is_file() and not written.is_symlink() and written.stat().st_nlink == 1 and written.stat().st_size
    assert {p.name for p in folder.iterdir()} <= {name, f"{name}.previous"}, "nothing half written is left"


@needs_links
def test_a_log_that_becomes_a_link_on_the_way_is_not_followed(tmp_path):
    (tmp_path / "thesis.txt").write_text("{}")
    log = Log(tmp_path / "metrics.jsonl")
    log.write({"loss": 1.0})
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "thesis.txt")
    log.write({"loss": 2.0})
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        log.sync()
    assert (tmp_path / "thesis.txt").read_text() == "{}"


@needs_links
@pytest.mark.parametrize("writer", [w for w in WRITERS if w not in ("log", "metrics", "best")])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused(writer, kind, tmp_path):
    """A device would be gone for everybody, and a folder set aside with all that is in it."""
    name, write = WRITERS[writer]
    path = tmp_path / name
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(OSError, match=name):
        write(path)
    assert [p.name for p in tmp_path.iterdir()] == [name] and not path.is_file()


contents = st.binary(max_size=50)


@given(old=st.none() | contents, new=contents, moment=st.integers(0, 3), durable=st.booleans())
def test_killed_at_any_moment_it_is_the_old_file_or_the_new_one(tmp_path_factory, old, new, moment, durable):
    """Before each call that changes the disk; what is left half written goes with the next sweep."""
    folder = tmp_path_factory.mktemp("kill")
    path, calls = folder / "x.json", 0
    if old is not None:
        path.write_bytes(old)

    def until_killed(function):
        def call(*args, **kwargs):
            nonlocal calls
            if calls == moment:
                raise Killed
            calls += 1
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, until_killed(getattr(os, name)))
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)  # whoever is killed tidies nothing up
        try:
            atomic.write(path, new, durable)
        except Killed:
            assert (path.read_bytes() if path.exists() else None) in (old, new)
        else:
            assert path.read_bytes() == new
    atomic.sweep(folder, older_than=0)
    assert {p.name for p in folder.iterdir()} <= {"x.json"}
    atomic.write(path, new)
    assert path.read_bytes() == new and len(list(folder.iterdir())) == 1


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60))
def test_any_name_that_a_file_can_have(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("names")
    path = folder / name
    if name in (".", "..") or os.name != "posix":
        return
    assert atomic.write(path, b"x") == path and [p.name for p in folder.iterdir()] == [name]
    atomic.sweep(folder, older_than=0)
    assert path.exists() or atomic._PARTIAL.fullmatch(name)


def test_an_error_in_the_block_leaves_everything_as_it_was(tmp_path):
    atomic.write(tmp_path / "x", "old")
    with pytest.raises(ZeroDivisionError), atomic.replacing(tmp_path / "x") as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert tree(tmp_path) == {"x": b"old"}


@needs_links
def test_a_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    atomic.write(tmp_path / "new", b"")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_sweep_removes_only_what_is_half_written(tmp_path):
    names = {".hidden", "x.partial", ".x.partial", ".x.0123456789abcdef.partial.d"}
    for name in (*names, ".run.0123456789abcdef.partial.safetensors", "..0123456789abcdef.partial"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".x.0123456789abcdef.partial.d").unlink()
    (tmp_path / ".x.0123456789abcdef.partial.d").mkdir()
    before = set(tmp_path.iterdir())
    atomic.sweep(tmp_path)
    assert set(tmp_path.iterdir()) == before, "whoever writes them may be at work"
    atomic.sweep(tmp_path, older_than=0)
    assert {p.name for p in tmp_path.iterdir()} == names
