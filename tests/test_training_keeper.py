"""A run that is stopped anywhere and goes on ends bit for bit where the uninterrupted one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.processes import SECONDS, program
from tinygen import checkpoint, data, nn, optim, training
from tinygen.training import Keeper

EPOCHS, BATCHES = 3, 4


class Killed(Exception):
    pass


class Program:
    """A whole little program: dropout and noise from the default generator, a schedule, an average, batch statistics, a
    loader that shuffles.  Everything is made anew by each call, as in a new process; it dies after `until` steps.
    """

    def __init__(
        self,
        optimizer: type = optim.Adam,
        own_generator: bool = True,
        device: str = "cpu",
        workers: int = 0,
        looks: bool = False,
    ):
        self.optimizer, self.own_generator, self.device = optimizer, own_generator, device
        self.workers, self.looks = workers, looks

    def run(self, folder: Path | None, until: int | None = None, every: float = 0.0) -> dict[str, Any]:
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 3)).to(
            self.device
        )
        kwargs = {"momentum": 0.9} if self.optimizer is optim.SGD else {}
        optimizer = self.optimizer(model.parameters(), lr=1e-2, **kwargs)
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * BATCHES)
        average = optim.EMA(model.parameters(), 0.9)
        noise = tg.Generator(self.device).manual_seed(5)
        images = np.random.default_rng(1).random((15, 3), np.float32)
        loader = data.DataLoader(
            data.DynamicBinarization(images, 5),  # draws, too
            4,
            shuffle=True,
            num_workers=self.workers,
            generator=3 if self.own_generator else None,
            device=self.device,
        )
        parts = dict(model=model, optimizer=optimizer, schedule=schedule, average=average, noise=noise)
        keeper = Keeper(folder, "run", {"lr": 1e-2}, every=every, **parts)
        fixed = tg.randn(2, 3, device=self.device)  # drawn before the loop: the same in every process
        keeper.log(begins=1.0)
        for epoch in keeper.epochs(EPOCHS):
            model.train()
            keeper.log(begins=epoch)
            for x in keeper.batches(loader):
                if until is not None and until == 0:
                    raise Killed
                optimizer.zero_grad()
                corrupted = x + 0.1 * tg.randn_like(x) + 0.1 * tg.randn(3, generator=noise, device=self.device)
                loss = ((model(corrupted) - x) ** 2).mean()
                keeper.check(loss)
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update()
                until = None if until is None else until - 1
                keeper.values.setdefault("losses", []).append(loss.item())
                keeper.log(loss=loss, rate=schedule.get_last_lr())
                if self.looks:
                    next(iter(loader))
            model.eval()
            end = float(tg.randn(1).item()) + loss.item()  # there was a batch in every process
            keeper.log(end=end)
            keeper.values.setdefault("ends", []).append([epoch, end, keeper.best(end), keeper.best(-(epoch**2))])
        return {
            "state": {k: v.tolist() for k, v in model.state_dict().items()},
            "averages": [a.tolist() for a in average.averages],
            "modes": [m.training for m in model.modules()],
            "rate": schedule.get_last_lr(),
            "fixed": fixed.tolist(),
            "next draw": tg.randn(2, device=self.device).tolist(),
            "values": keeper.values,
            "seconds": keeper.seconds,
            "log": folder and log(folder),
            "best": folder and checkpoint.load(folder / "run_best.safetensors")["parts"]["model"]["0.weight"].tolist(),
        }


def log(folder):
    """The lines of metrics.jsonl without their seconds."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert all(line.pop("seconds") >= 0 for line in lines)
    return lines


def without_time(result):
    return {name: value for name, value in result.items() if name != "seconds"}


OPTIMIZERS = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad]


@given(
    stops=st.lists(st.integers(0, EPOCHS * BATCHES), max_size=3),
    optimizer=st.sampled_from(OPTIMIZERS),
    own_generator=st.booleans(),
    every=st.sampled_from([0.0, 1e-3, 1e9]),
    workers=st.sampled_from([0, 2]),
    looks=st.booleans(),
)
def test_stopped_anywhere_it_ends_bit_for_bit_the_same(
    tmp_path_factory, stops, optimizer, own_generator, every, workers, looks
):
    """With threads that load ahead, and with looks at other batches on the way, too."""
    folder = tmp_path_factory.mktemp("run")
    whole = without_time(Program(optimizer, own_generator).run(folder / "whole", every=1e9))
    program = Program(optimizer, own_generator, workers=workers, looks=looks)
    for until in stops:
        try:
            program.run(folder, until, every)
        except Killed:
            tg.randn(7)  # a new process finds the generators in another state
    assert without_time(program.run(folder, every=every)) == whole
    assert without_time(program.run(folder)) == whole, "a run that is done is read, not trained again"


def test_on_every_device(device, tmp_path):
    program = Program(device=device)
    whole = without_time(program.run(tmp_path / "whole"))
    with pytest.raises(Killed):
        program.run(tmp_path, 6)
    assert without_time(program.run(tmp_path)) == whole


def test_without_a_folder_the_loops_are_plain_loops():
    keeper = Keeper(None)
    seen = [(epoch, x) for epoch in keeper.epochs(2) for x in keeper.batches("ab")]
    assert seen == [(0, "a"), (0, "b"), (1, "a"), (1, "b")] and keeper.seconds > 0
    assert len(Keeper(None).batches("abc")) == 3


def test_seconds_are_those_of_the_loops_over_batches_in_all_processes(tmp_path, monkeypatch):
    clock = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    save = checkpoint.save

    def slow_save(*args):
        nonlocal clock
        clock += 1000
        return save(*args)

    monkeypatch.setattr(checkpoint, "save", slow_save)

    def run(until):
        nonlocal clock
        keeper = Keeper(tmp_path, every=0, model=nn.Linear(1, 1))
        for _ in keeper.epochs(2):
            for i, _ in enumerate(keeper.batches(data.DataLoader(np.zeros(4)))):
                if i == until:
                    raise Killed
                clock += 1
                with keeper.pause():
                    clock += 10
                    assert keeper.seconds == keeper.step
            clock += 100  # evaluation does not count, nor does saving
        return keeper.seconds

    with pytest.raises(Killed):
        run(2)
    assert run(None) == 8


def test_the_progress_bar_has_the_length_of_what_is_left(tmp_path):
    loader = data.DataLoader(np.zeros(5))
    model = nn.Linear(1, 1)
    with pytest.raises(Killed):
        keeper = Keeper(tmp_path, every=0, model=model)
        for _ in keeper.epochs(1):
            for i, _ in enumerate(keeper.batches(loader)):
                if i == 3:
                    raise Killed
    keeper = Keeper(tmp_path, every=0, model=model)
    for _ in keeper.epochs(1):
        assert len(bar := training.progress(keeper.batches(loader), "epoch 1/1")) == 2
        assert len(list(bar)) == 2
    assert len(Keeper(tmp_path, model=model).epochs(3)) == 2, "epochs too"


def test_it_says_where_it_goes_on(tmp_path, capsys):
    program = Program()
    with pytest.raises(Killed):
        program.run(tmp_path, 6)
    assert capsys.readouterr().err == ""
    program.run(tmp_path)
    file = tmp_path / "run.safetensors"
    assert capsys.readouterr().err == f"{tmp_path.name}: going on with epoch 2/3 after 2 batches, from {file}\n"


def test_an_iterable_without_a_state_is_started_anew(tmp_path):
    seen: list[Any] = []

    def run(until):
        keeper = Keeper(tmp_path, every=0, model=nn.Linear(1, 1))
        for epoch in keeper.epochs(2):
            for i in keeper.batches(range(3)):
                if (epoch, i) == until:
                    raise Killed
                seen.append((epoch, i))

    with pytest.raises(Killed):
        run((1, 2))
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    seen.clear()
    run(None)
    assert seen == [(1, 0), (1, 1), (1, 2)]


def test_a_stream_goes_on_after_the_batches_that_were_given(tmp_path):
    def run(until):
        keeper, seen = Keeper(tmp_path, every=0.0), []
        loader = data.DataLoader(data.IterableDataset(lambda: iter(range(9))), 2)
        for _ in keeper.epochs(2):
            for batch in training.progress(keeper.batches(loader)):
                if len(seen) == until:
                    raise Killed
                seen.append(batch.tolist())
                keeper.values.setdefault("all", []).append(batch.tolist())
        return keeper.values["all"]

    with pytest.raises(Killed):
        run(3)
    with pytest.raises(Killed):
        run(4)
    assert run(None) == 2 * [[0, 1], [2, 3], [4, 5], [6, 7], [8]]


def test_a_loop_that_was_left_early_ends_its_epoch(tmp_path):
    def run(folder, until):
        tg.manual_seed(0)
        seen = []
        loader = data.DataLoader(np.arange(6), 2, shuffle=True, generator=0)
        keeper = Keeper(folder, every=0, model=nn.Linear(1, 1))
        for epoch in keeper.epochs(3):
            if epoch == until:
                raise Killed
            for x in keeper.batches(loader):
                seen.append(x.tolist())
                break
        return seen

    whole = run(None, None)
    with pytest.raises(Killed):
        run(tmp_path, 2)
    assert run(tmp_path, None) == whole[2:]


CTRL_C = """
import sys, pathlib
import numpy as np
from tinygen import data, nn, training

model = nn.Linear(1, 1)
keeper = training.Keeper(pathlib.Path(sys.argv[1]), "ctrl_c", every=1e9, model=model)
loader = data.DataLoader(np.zeros(10_000), 1)
for epoch in keeper.epochs(1):
    for i, x in enumerate(keeper.batches(loader)):
        keeper.values["steps"] = keeper.values.get("steps", 0) + 1
        if sys.argv[2] == "slow" and i == 5:
            print("now", flush=True)
            sys.stdin.readline()
print(keeper.values["steps"])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_finishes_the_step_saves_and_says_so(tmp_path, times, ctrl_c):
    command = ["-c", CTRL_C, str(tmp_path)]
    with program([*command, "slow"]) as process:
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGINT)
        assert "stopping" in process.stderr.readline() + process.stderr.readline()
        if times == 2:
            process.send_signal(signal.SIGINT)
        error = process.communicate("\n")[1]
    assert process.returncode != 0 and "KeyboardInterrupt" in error
    if times == 2:
        assert not list(tmp_path.iterdir())
        return
    assert "ctrl_c: stopped in epoch 1 after 6 batches, and saved in" in error
    done = subprocess.run(
        [sys.executable, *command, "fast"], capture_output=True, text=True, check=True, timeout=SECONDS
    )
    assert "going on with epoch 1/1 after 6 batches" in done.stderr and done.stdout == "10000\n"


def test_ctrl_c_at_the_last_batch_ends_the_epoch(tmp_path, capsys, ctrl_c):
    """What stands behind the loop may use its variables: it is done, and the run goes on with the next epoch."""

    def run(press):
        done = []
        keeper = Keeper(tmp_path, every=1e9, model=nn.Linear(1, 1))
        for epoch in keeper.epochs(2):
            for i, _ in enumerate(keeper.batches(data.DataLoader(np.zeros(3)))):
                if press and i == 2:
                    signal.raise_signal(signal.SIGINT)
                loss = i
            done.append((epoch, loss))
        return done

    with pytest.raises(KeyboardInterrupt):
        run(press=True)
    assert "stopped after epoch 1, and saved in" in capsys.readouterr().err
    assert run(press=False) == [(1, 2)]


def test_ctrl_c_is_ours_only_inside_the_loop(tmp_path, ctrl_c):
    loader = data.DataLoader(np.zeros(3))
    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(name) for name in names]
    keeper = Keeper(tmp_path, model=nn.Linear(1, 1))
    for _ in keeper.epochs(1):
        for _ in keeper.batches(loader):
            assert not any(signal.getsignal(name) is b for name, b in zip(names, before, strict=True))
    assert [signal.getsignal(name) for name in names] == before
    with pytest.raises(Killed):
        for _ in Keeper(tmp_path / "other", model=nn.Linear(1, 1)).epochs(1):
            raise Killed
    assert [signal.getsignal(name) for name in names] == before
    for _ in Keeper(None).epochs(1):
        assert [signal.getsignal(name) for name in names] == before


def finished(folder, **settings):
    keeper = Keeper(folder, settings=settings, model=nn.Linear(2, 3))
    for _ in keeper.epochs(2):
        pass


def test_another_run_is_refused_by_name(tmp_path):
    finished(tmp_path, lr=1e-3, hidden=(3, 4))
    assert Keeper(tmp_path, settings={"lr": 1e-3, "hidden": [3, 4]}, model=nn.Linear(2, 3)).values == {}
    with pytest.raises(ValueError, match=r"other settings: lr = 0.001 then, 0.002 now; .*remove .*run.safetensors"):
        Keeper(tmp_path, settings={"lr": 2e-3, "hidden": (3, 4)}, model=nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"hidden = \[3, 4\] then, 'not given' now; seed = 'not given' then, 0 now"):
        Keeper(tmp_path, settings={"lr": 1e-3, "seed": 0}, model=nn.Linear(2, 3))
    settings = {"lr": 1e-3, "hidden": (3, 4)}
    with pytest.raises(ValueError, match=r"other parts: missing \['average'\], unexpected \['model'\]"):
        list(Keeper(tmp_path, settings=settings, average=nn.Linear(2, 3)).epochs(2))
    with pytest.raises(ValueError, match=r"has come to epoch 3, and this call asks for 1 epochs"):
        list(Keeper(tmp_path, settings=settings, model=nn.Linear(2, 3)).epochs(1))
    with pytest.raises(RuntimeError, match=r"missing +0.bias|begin with '0.'") as caught:
        list(Keeper(tmp_path, settings=settings, model=nn.Sequential(nn.Linear(2, 3))).epochs(2))
    assert "model was loaded from" in caught.value.__notes__[0]


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"Keeper: model is a int; a part has state_dict"):
        Keeper(tmp_path, model=3)
    keeper = Keeper(None)
    for _ in keeper.epochs(1):
        keeper.batches([1])
        with pytest.raises(RuntimeError, match="this is a second one"):
            keeper.batches([1])
    checkpoint.save(tmp_path / "run.safetensors", {"model": {}})
    with pytest.raises(ValueError, match="but not a Keeper's"):
        Keeper(tmp_path, model=nn.Linear(1, 1))


@pytest.mark.parametrize("damage", [b"", None])
def test_a_damaged_file(tmp_path, damage):
    """The run goes on from the checkpoint before; without one it says what is wrong."""
    program, file = Program(), tmp_path / "run.safetensors"
    whole = without_time(program.run(tmp_path / "whole"))
    with pytest.raises(Killed):
        program.run(tmp_path, 6)
    file.write_bytes(file.read_bytes()[:-9] if damage is None else damage)
    with pytest.warns(UserWarning, match=r"run.safetensors is (empty|damaged).*going on from run.safetensors.previous"):
        assert without_time(program.run(tmp_path)) == whole
    for path in tmp_path.glob("run.safetensors*"):
        path.write_bytes(b"")
    with pytest.raises(checkpoint.CheckpointError, match="is empty"):
        program.run(tmp_path)
