"""Ctrl-C and SIGTERM at any moment of a training lose nothing, and what a run cannot do without is all that can end it."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.processes import SECONDS, program
from tinygen import checkpoint, data, nn, optim, plot, training
from tinygen.cli import main
from tinygen.errors import UsageError
from tinygen.training import Keeper
from tinygen.training.folder import unlock
from tinygen.training.interrupts import say

EPOCHS, BATCHES = 3, 4
MOMENTS = EPOCHS * (BATCHES + 3)
"""A step each, and before the batches, after them, and after what follows them."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


def train(folder, moment=None, number=signal.SIGINT, resumable=True):
    """A training in which a signal comes at one of its moments: (all that can be compared, the steps that were done)."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    loader = data.DataLoader(
        np.random.default_rng(0).random((4 * BATCHES, 3), np.float32), 4, shuffle=True, generator=0
    )
    keeper, at = Keeper(folder, every=1e9, model=model, optimizer=optimizer), iter(range(1000))

    def now():
        if next(at) == moment:
            signal.raise_signal(number)

    for epoch in keeper.epochs(EPOCHS):
        now()
        for x in keeper.batches(loader if resumable else list(loader)):
            loss = (model(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            now()
            optimizer.step()
            keeper.log(loss=loss)
        now()
        keeper.values.setdefault("ends", []).append([epoch, loss.item()])
        keeper.best(loss.item())
        now()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return {
        "weights": {k: v.tolist() for k, v in model.state_dict().items()},
        "draw": tg.randn(3).tolist(),
        "values": keeper.values,
        "log": [{k: v for k, v in line.items() if k != "seconds"} for line in lines],
        "best": checkpoint.load(folder / "run_best.safetensors")["value"],
    }


@given(
    moments=st.lists(st.integers(0, MOMENTS - 1), min_size=1, max_size=3),
    number=st.sampled_from([signal.SIGINT, signal.SIGTERM]),
)
def test_a_signal_at_any_moment_loses_no_step(tmp_path_factory, moments, number):
    """And the run that goes on, however often, ends bit for bit as the one that nobody disturbed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tmp_path_factory.mktemp("run")
    try:
        whole = train(folder / "whole")
        for moment in moments:
            try:
                train(folder / "run", moment, number)
            except KeyboardInterrupt:
                stored = checkpoint.load(folder / "run" / "run.safetensors")["step"]
                assert stored == len((folder / "run" / "metrics.jsonl").read_text().splitlines()) > 0
        assert train(folder / "run") == whole
    finally:
        signal.signal(signal.SIGINT, before)


def test_batches_whose_place_nobody_knows_stop_at_once_and_go_on_with_their_epoch(tmp_path, ctrl_c):
    with suppress(KeyboardInterrupt):
        train(tmp_path, BATCHES + 5, resumable=False)  # in the second epoch, of which nothing is stored
    assert not checkpoint.exists(tmp_path / "run.safetensors") or train(tmp_path, resumable=False)


@pytest.mark.parametrize("where", ["step", "epoch"])
def test_it_says_when_it_will_stop_and_where_to_go_on(tmp_path, capsys, ctrl_c, where):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "vae", 1 if where == "step" else BATCHES + 1)
    said = capsys.readouterr().err
    assert ("stopping at the end of this step" if where == "step" else "stopping when this epoch is done") in said
    assert f"vae: stopped {'in epoch 1 after 1 batches' if where == 'step' else 'after epoch 1'}, and saved in" in said


def test_sigterm_ends_a_program_as_ctrl_c_does(tmp_path):
    text = """
import sys, time, pathlib
import numpy as np
from tinygen import data, nn, training
training.parser().parse_args()
keeper = training.Keeper(pathlib.Path(sys.stdin.readline().strip()), model=nn.Linear(1, 1))
for epoch in keeper.epochs(3):
    for x in keeper.batches(data.DataLoader(np.zeros(4))):
        pass
    print("between", flush=True)
    sys.stdin.readline()
"""
    with program(["-c", text]) as process:
        process.stdin.write(f"{tmp_path}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "between\n"
        process.send_signal(signal.SIGTERM)
        assert "stopping" in process.stderr.readline() + process.stderr.readline()
        error = process.communicate("\n")[1]
    assert process.returncode == 130 and "stopped after epoch 1, and saved in" in error and "Traceback" not in error
    assert checkpoint.load(tmp_path / "run.safetensors")["epoch"] == 1


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Some images without labels, to be learned in no time."""
    file = tmp_path_factory.mktemp("few") / "few.npz"
    np.savez(file, images=np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8))
    return file


def test_a_closed_terminal_ends_nothing(monkeypatch):
    class Closed:
        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")

        flush = isatty = write

    monkeypatch.setattr(sys, "stderr", Closed())
    say("nobody hears it\n")
    with training.attempt("draw"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_only_what_may_fail_may_fail(capsys):
    with training.attempt("the picture of epoch 3"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "the run goes on: the picture of epoch 3: [Errno 28] No space left" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt), training.attempt("draw"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError(), ValueError("no glyph")]
)
def test_a_picture_that_cannot_be_drawn_ends_no_training(tmp_path, monkeypatch, capsys, error, few):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(plot, "image_grid", fail)
    words = ["train", "vae", "--dry-run", "--data", str(few), "--hidden", "8", "--latent", "2", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert checkpoint.load(tmp_path / "vae_dry_run" / "run.safetensors")["epoch"] == 2
    assert capsys.readouterr().err.count("not done, the run goes on: the picture of epoch") == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_program_whose_pictures_find_no_place_says_so_in_a_line(number):
    text = f"from tinygen import training; training.parser().parse_args(); raise OSError({number}, 'No')"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2 and "choose another --out" in done.stderr and len(done.stderr.splitlines()) == 1


# What is stored


WRONG = {
    "epoch": [-1, -(10**9), 10**20, True],
    "step": [-1, 1.5],
    "seconds": [-1.0, math.nan, math.inf],
    "log": [-1, "3", None],
    "best": ["x", [1.0]],
    "loader": [{"given": -1}, {}, 3],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_numbers_that_no_run_has_are_refused(tmp_path, name, value):
    for _ in Keeper(tmp_path, model=nn.Linear(1, 1)).epochs(1):
        pass
    file = tmp_path / "run.safetensors"
    checkpoint.save(file, checkpoint.load(file) | {name: value})
    with pytest.raises(UsageError, match="but not a Keeper's"):
        Keeper(tmp_path, model=nn.Linear(1, 1))


def test_a_stored_best_that_is_no_number_is_no_best(tmp_path):
    for _ in Keeper(tmp_path, model=nn.Linear(1, 1)).epochs(1):
        pass
    file = tmp_path / "run.safetensors"
    checkpoint.save(file, checkpoint.load(file) | {"best": math.nan})
    keeper = Keeper(tmp_path, model=nn.Linear(1, 1))
    for _ in keeper.epochs(2):
        assert [keeper.best(value) for value in (math.nan, 5.0, 6.0, 4.0)] == [False, True, False, True]


@given(every=st.floats(max_value=-1e-9) | st.sampled_from([math.nan, math.inf]))
def test_seconds_between_two_savings_are_seconds(every):
    with pytest.raises(ValueError, match="every is a number of seconds, 0 or more"):
        Keeper(None, every=every)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGEN_SAVE_EVERY", repr(every))
        with pytest.raises(ValueError, match="TINYGEN_SAVE_EVERY: a number of seconds is expected"):
            Keeper(None)


def test_a_gan_is_trained_longer_and_what_follows_a_schedule_is_not(tmp_path, capsys, few):
    for model, more, status in (("gan", "--hidden 8 8 --latent 2", 0), ("vae", "--hidden 8 --latent 2", 2)):
        words = f"train {model} --data {few} --batch-size 50 {more} --device cpu --out {tmp_path}".split()
        assert main([*words, "--epochs", "1"]) == 0
        unlock(tmp_path / model)
        assert main([*words, "--epochs", "2", "--resume"]) == status
        unlock(tmp_path / model)
        assert checkpoint.load(tmp_path / model / "run.safetensors")["epoch"] == (2 if status == 0 else 1)
    assert "epochs = 1 then, 2 now (its learning rate falls over all epochs" in capsys.readouterr().err
    best = tmp_path / "vae" / "run_best.safetensors"
    assert checkpoint.load(best)["epoch"] == 1 and checkpoint.load(best)["seconds"] > 0
    assert main(["sample", str(best), "-n", "4", "--device", "cpu", "--out", str(tmp_path / "new" / "x.png")]) == 0
    assert (tmp_path / "new" / "x.png").is_file() and not (tmp_path / "vae" / "sample.png").exists()
