"""Only the folder of a run is taken; an earlier run is moved aside and never lost; what is stored says nothing about its place."""

from __future__ import annotations

import json
import os
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.test_atomic import needs_links, tree
from tinygen import checkpoint, data, nn, training
from tinygen.cli import main
from tinygen.errors import UsageError
from tinygen.training import folder as folders
from tinygen.training.folder import unlock


def arguments(out, *words):
    return training.parser(epochs=1, lr=1e-3, images=True).parse_args(["--out", str(out), "--device", "cpu", *words])


def a_run(out, value, *words):
    """A run whose one weight has that value."""
    run = training.start("vae", arguments(out, *words))
    model = nn.Linear(1, 1)
    for _ in run.keeper(model=model).epochs(1):
        with tg.no_grad():
            model.weight.fill_(value)
    unlock(run.folder)
    return run.folder


def value_of(folder):
    return checkpoint.load(folder / "run.safetensors")["parts"]["model"]["weight"].item()


@given(
    others=st.lists(st.sampled_from(["", ".2", ".3", ".7", ".old", ".02"]), unique=True, max_size=3),
    times=st.integers(1, 4),
)
def test_every_earlier_run_stays_beside_and_so_does_what_is_no_run(tmp_path_factory, others, times):
    out = tmp_path_factory.mktemp("out")
    for name in others:  # somebody's own folders, that happen to be called so
        (out / f"vae.previous{name}").mkdir()
        (out / f"vae.previous{name}" / "thesis.txt").write_text("precious")
    for value in range(times):
        a_run(out, value)
    assert sorted(value_of(p) for p in out.glob("vae*") if (p / "run.safetensors").exists()) == list(range(times))
    assert value_of(out / "vae") == times - 1
    for name in others:
        assert (out / f"vae.previous{name}" / "thesis.txt").read_text() == "precious"


names = st.text(string.ascii_letters + "._", min_size=1, max_size=12).filter(lambda n: n.strip("."))
files = st.dictionaries(names, st.binary(max_size=20), min_size=1, max_size=4)


@given(
    files=files,
    resume=st.booleans(),
    config=st.sampled_from([None, b"{}", b"[]", b'{"name": 1, "arguments": {}}', b"\xff"]),
)
def test_a_folder_of_somebodys_own_is_refused_and_left_as_it_is(tmp_path_factory, files, resume, config):
    out = tmp_path_factory.mktemp("out")
    (out / "vae").mkdir()
    (out / "vae" / "model.safetensors").write_bytes(b"downloaded")
    for name, content in files.items():
        if name not in ("lock", "run.safetensors", "config.json"):
            (out / "vae" / name).write_bytes(content)
    if config is not None:
        (out / "vae" / "config.json").write_bytes(config)
    before = tree(out)
    with pytest.raises(UsageError, match=r"holds files, and is not the folder of a run.*--out"):
        training.start("vae", arguments(out, *["--resume"] * resume))
    unlock(out / "vae")
    (out / ".vae.lock").unlink(missing_ok=True)
    assert tree(out) == before


def test_what_file_managers_leave_does_not_count(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / ".DS_Store").write_bytes(b"")
    assert value_of(a_run(tmp_path, 3.0)) == 3


def test_a_program_that_only_draws_runs_again_in_its_folder(tmp_path):
    """And weights alone, as an example writes them, are no run that has to be set aside."""
    for _ in range(2):
        run = training.start("pictures", arguments(tmp_path))
        (run.path("loss.png")).write_bytes(b"png")
        tg.interchange.save_file({"w": tg.ones(1)}, run.path("weights.safetensors"))
        unlock(run.folder)
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"pictures"}


def test_the_lock_is_held_while_the_folder_is_moved(tmp_path, monkeypatch):
    """Another process that starts at any moment of `start` is refused; here another handle, which is the same."""
    from filelock import FileLock, Timeout

    a_run(tmp_path, 1.0)
    moments = []

    def watched(function):
        def call(*args, **kwargs):
            with pytest.raises(Timeout):
                FileLock(tmp_path / ".vae.lock").acquire(timeout=0)
            moments.append(function.__name__)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(folders, "is_run", watched(folders.is_run))
    monkeypatch.setattr(folders.os, "rename", watched(os.rename))
    a_run(tmp_path, 2.0)
    assert moments == ["is_run", "rename"] and value_of(tmp_path / "vae.previous") == 1


@pytest.mark.parametrize("kind", ["out", "name"])
def test_a_place_where_nothing_can_be_written_is_said_in_a_line(tmp_path, kind, capsys):
    """A file where a folder should be fails as a read-only folder does, for root too."""
    (tmp_path / "x").write_text("precious")
    out, name = (tmp_path / "x", "vae") if kind == "out" else (tmp_path, "x")
    with pytest.raises(UsageError, match="choose another --out"):
        training.start(name, arguments(out))
    words = ["train", "realnvp", "--dry-run", "--device", "cpu", "--hidden", "4", "--out", str(out)]
    assert kind == "name" or main(words) == 2
    assert "Traceback" not in capsys.readouterr().err and (tmp_path / "x").read_text() == "precious"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(37, "No locks available"), NotImplementedError()]
)
def test_a_folder_that_cannot_be_locked_is_said_in_a_line(tmp_path, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(folders.FileLock, "acquire", refuse)
    with pytest.raises(UsageError, match="choose another --out"):
        training.start("vae", arguments(tmp_path))


@needs_links
def test_a_link_on_the_way_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    run = training.Run("vae", tmp_path / "out")
    (run.folder / "epochs").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="epochs is a link; nothing is written outside"):
        run.path("epochs/epoch_001.png")
    assert run.path("loss.png") == run.folder / "loss.png"


@needs_links
def test_training_goes_on_in_a_folder_full_of_links(tmp_path):
    """A run that somebody else has made, with a link at every name that is written."""
    words = ["train", "realnvp", "--dry-run", "--device", "cpu", "--hidden", "4", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    folder, mine = tmp_path / "out" / "realnvp_dry_run", tmp_path / "mine"
    unlock(folder)
    mine.mkdir()
    written = {p.name for p in folder.iterdir() if p.is_file()}
    assert written >= {"config.json", "metrics.json", "metrics.jsonl", "run.safetensors", "run_best.safetensors"}
    for name in written - {"config.json"} | {"run.safetensors.partial", "config.json.partial", "sample.png"}:
        (mine / name).write_text("{}")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(mine / name)
    before = tree(mine)
    for more in ([], ["--resume"]):
        main([*words, *more])
        unlock(folder)
    assert main(["sample", str(folder), "--device", "cpu"]) == 0
    assert tree(mine) == before


@given(name=st.text(string.ascii_letters + "ä ", min_size=5, max_size=9).filter(str.strip))
def test_nothing_that_is_stored_says_where_it_was_made(tmp_path_factory, name):
    home = tmp_path_factory.mktemp("home") / f"{name} smith"
    home.mkdir()
    np.savez(home / "x.npz", images=np.zeros((20, 4, 4), np.uint8))
    args = arguments(home / "runs", "--data", str(home / "x.npz"))
    training.load_images(args)
    run = training.start("vae", args)
    keeper = run.keeper(model=nn.Linear(1, 1))
    for _ in keeper.epochs(1):
        keeper.best(1.0)
    run.save_metrics(loss=1.0)
    unlock(run.folder)
    for file in run.folder.rglob("*"):
        content = file.read_bytes()
        assert home.name.encode() not in content and json.dumps(home.name)[1:-1].encode() not in content, file.name
    assert training.config(run.folder)["arguments"]["data"] == "x.npz"


def test_a_run_goes_on_with_the_same_data_only_wherever_they_are(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4), np.uint8)
    for folder, content in (("a", images), ("b", images), ("c", images[::-1])):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "x.npz", images=content)

    def go_on(path):
        args = arguments(tmp_path / "out", "--resume", "--data", path)
        training.load_images(args)
        run = training.start("vae", args)
        for _ in run.keeper(model=nn.Linear(1, 1)).epochs(1):
            pass
        return training.config(run.folder)["arguments"]

    monkeypatch.chdir(tmp_path)
    assert go_on("a/x.npz")["data"] == "a/x.npz"
    stored = go_on(str(tmp_path / "b" / "x.npz"))
    assert stored["data"] == "x.npz"
    assert stored["data_checksum"] == data.checksum(*data.load("a/x.npz"))
    with pytest.raises(UsageError, match=r"data_checksum = .* then, .* now"):
        go_on("c/x.npz")
