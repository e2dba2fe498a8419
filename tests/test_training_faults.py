"""What can happen to a run: NaN, a full disk, files of another run, SIGKILL.  The last good checkpoint stays."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.processes import program
from tinygen import anomaly, checkpoint, data, nn, optim
from tinygen.training import Keeper
from tinygen.training.log import Log

STEPS = 4
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own word on NaN


def network():
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def train(folder, spoil=None, model=None, images=None, every=0.0, epochs=1, best=False):
    """A run of `epochs` epochs of 4 steps each; spoil(keeper, output) is added to the loss."""
    model = model or network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loader = data.DataLoader(np.ones((4 * STEPS, 3), np.float32) if images is None else images, 4)
    keeper = Keeper(folder, every=every, model=model, optimizer=optimizer)
    for epoch in keeper.epochs(epochs):
        for x in keeper.batches(loader):
            y = model(x)
            loss = ((y - 1) ** 2).mean()
            if spoil:
                loss = loss + spoil(keeper, y)
            optimizer.zero_grad()
            keeper.check(loss)
            loss.backward()
            optimizer.step()
            keeper.log(loss=loss)
        if best:
            keeper.best(-epoch)
    return keeper


def kept(folder):
    return checkpoint.load(folder / "run.safetensors")


# NaN and infinities

ORIGINS = {
    "log": (lambda y: (y - y).log().sum(), "log made 4 infinities from finite numbers", "is -inf"),
    "sqrt": (lambda y: (-y.abs() - 1).sqrt().sum(), "sqrt made 4 NaN from finite numbers", "is nan"),
    "exp, before the NaN": (lambda y: ((e := (y + 1e3).exp()) - e).mean(), "exp made 4 infinities from", "is nan"),
    "a constant": (
        lambda y: ((y / (y - y)).tanh() * math.inf).mean(),
        "mul made 4 infinities with the constant inf",
        "is inf",
    ),
}


@pytest.mark.parametrize("case", ORIGINS)
def test_the_first_operator_that_is_not_finite_is_named_with_its_line(tmp_path, case):
    function, words, value = ORIGINS[case]
    with pytest.raises(FloatingPointError) as caught:
        train(tmp_path, lambda keeper, y: function(y) if keeper.step == 3 else 0.0)
    text = str(caught.value)
    assert words in text and "argument 1" in text and f"the loss {value}, in epoch 1, step 3" in text
    assert f"at {__file__}:{function.__code__.co_firstlineno}" in text
    assert f"the state after step 2 is in {tmp_path / 'run.safetensors'}" in text and "learning rate" in text
    assert kept(tmp_path)["step"] == 2, "the last good one"


def test_what_was_masked_away_is_not_to_blame():
    x = tg.tensor([0.0, -1.0], requires_grad=True)
    fine = tg.where(x > 0, x.log(), x)  # log(0) and log(-1), of which nothing is left
    assert anomaly.origin(fine.sum()) == []
    lines = anomaly.origin((fine.sum() + (x + 1).log()).sum())
    assert lines[0].startswith("log made 1 infinity") and f":{_line() - 1}" in lines[0]


def test_the_earliest_of_several_is_named():
    x = tg.tensor([0.0, -1.0], requires_grad=True)
    y = x.log()
    assert anomaly.origin(x.sqrt() + y.exp() + x.sqrt() + y)[0].startswith("log made")


def _line():
    return sys._getframe(1).f_lineno


@given(place=st.sampled_from(["batch", "parameter", "buffer", "several"]), value=st.sampled_from([math.nan, math.inf]))
def test_a_batch_or_a_parameter_that_is_not_finite_is_named(place, value):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).eval()
    x = np.zeros((8, 3), np.float32)
    expected = []
    if place in ("batch", "several"):
        x[5, 1] = value
        expected.append(r"an input has 1 (NaN|infinity): argument 1 of linear at .*\n +values +float32 \(4, 3\) on cpu")
    if place in ("parameter", "several"):
        with tg.no_grad():
            model[2].bias.fill_(value)
        expected.append(r"the parameter model.2.bias has 1 (NaN|infinity)")
    if place == "buffer":
        model[1].running_mean.fill_(value)
        expected.append(r"the buffer model.1.running_mean has 4 (NaN|infinities)")
    keeper = Keeper(None, model=model)
    for _ in keeper.epochs(1):
        for i, batch in enumerate(keeper.batches(data.DataLoader(x, 4))):
            loss = (model(batch) ** 2).mean()
            if i == 0 and place == "batch":
                keeper.check(loss)  # this one is fine
                continue
            for words in expected if i else ():
                with pytest.raises(FloatingPointError, match=words):
                    keeper.check(loss)


def test_a_loss_without_a_graph_or_whose_graph_is_gone():
    with pytest.raises(FloatingPointError, match=r"the loss is nan, in epoch 1, step 0\n +nothing was saved before"):
        Keeper(None).check(math.nan)
    with tg.no_grad(), pytest.raises(FloatingPointError, match="an input has 1 NaN\n"):
        Keeper(None).check(tg.tensor(math.nan))
    x = tg.tensor(math.inf, requires_grad=True)
    loss = x * 2
    loss.backward()
    with pytest.raises(FloatingPointError, match=r"mul made 1 infinity at .*has let go of what came before"):
        Keeper(None).check(loss)
    Keeper(None).check(1.0)


def test_origin_on_every_device(device):
    x = tg.tensor([1.0, -1.0], device=device, requires_grad=True)
    assert anomaly.origin((x * 2).sum()) == []
    with np.errstate(all="ignore"):
        assert anomaly.origin((x.sqrt() * 2).sum())[0].startswith("sqrt made 1 NaN")


@pytest.mark.parametrize("where", ["on the way", "at the end", "best"])
def test_parameters_that_are_not_finite_never_replace_good_ones(tmp_path, where):
    train(tmp_path, best=True)
    model, broken = network(), 6 if where == "on the way" else 2 * STEPS

    def spoil(keeper, y):
        if keeper.step == broken:
            model[2].bias.data.fill_(math.nan)  # as a step does whose gradient has a NaN; this loss is still finite
        return 0.0

    words = (
        r"the parameters cannot be saved, in epoch 2, step \d\n +the parameter model.2.bias has 1 NaN\n(.*\n)+ +lower"
    )
    with pytest.raises(FloatingPointError, match=words):
        every = 0.0 if where == "on the way" else 1e9
        train(tmp_path, spoil, model, every=every, epochs=2, best=where == "best")
    assert kept(tmp_path)["step"] == (5 if where == "on the way" else STEPS)
    for file in tmp_path.glob("*.safetensors*"):
        assert all(np.isfinite(a).all() for a in checkpoint.load(file)["parts"]["model"].values())


# Disks


class Disk:
    """checkpoint.save and the log fail between two steps, as on a full disk; what is written reaches a real one otherwise."""

    def __init__(self, monkeypatch, full_from, full_until=10**9):
        self.steps = (full_from, full_until)
        self.keeper = None
        whole_save, whole_open = checkpoint.save, open

        def save(path, state):
            self.fail_if_full()
            return whole_save(path, state)

        def open_log(*args, **kwargs):
            self.fail_if_full()
            return whole_open(*args, **kwargs)

        monkeypatch.setattr(checkpoint, "save", save)
        monkeypatch.setattr("tinygen.training.log.open", open_log, raising=False)

    def fail_if_full(self):
        if self.keeper and self.steps[0] <= self.keeper.step < self.steps[1]:
            raise OSError(errno.ENOSPC, "No space left on device")

    def watch(self, keeper, y):
        self.keeper = keeper
        return 0.0


def lines(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]


def test_a_disk_that_is_full_for_a_while(tmp_path, monkeypatch, capsys):
    """The run says so, goes on, saves again when there is room, and loses no line of the log."""
    disk = Disk(monkeypatch, 3, 6)
    train(tmp_path, disk.watch, epochs=2, best=True)
    error = capsys.readouterr().err
    assert error.count(f"{tmp_path.name}: not saved, the run goes on: [Errno {errno.ENOSPC}]") >= 3
    assert kept(tmp_path)["step"] == 2 * STEPS
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 2 * STEPS + 1))
    assert checkpoint.load(tmp_path / "run_best.safetensors")["value"] == -1, "the first could not be written"


def test_a_disk_that_stays_full(tmp_path, monkeypatch):
    """The run goes on to its end, which cannot be kept: an error; the last good checkpoint is there, and resumes."""
    with monkeypatch.context() as patch:
        disk = Disk(patch, 3)
        with pytest.raises(OSError, match="No space left"):
            train(tmp_path, disk.watch)
    assert kept(tmp_path)["step"] == 2
    train(tmp_path)
    assert kept(tmp_path)["step"] == STEPS and [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]


def test_a_folder_that_cannot_be_written_to_is_noticed_at_the_first_saving(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    seen = []
    with pytest.raises(OSError, match=r"\[Errno"):
        train(tmp_path / "file" / "run", lambda keeper, y: seen.append(1) or 0.0)
    assert len(seen) == 1
    read_only = tmp_path / "read_only"
    read_only.mkdir(0o500)
    if not os.access(read_only, os.W_OK):  # nothing is forbidden to root
        with pytest.raises(PermissionError):
            train(read_only)
    read_only.chmod(0o700)


# The log


@given(numbers=st.lists(st.floats() | st.integers(), min_size=1, max_size=5), cut=st.integers(0, 5))
def test_a_log_goes_on_at_any_of_its_lines(tmp_path_factory, numbers, cut):
    file = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    log, positions = Log(file), [0]
    for x in numbers:
        log.write({"x": x})
        positions.append(log.sync())
    whole = file.read_text()
    cut = min(cut, len(numbers))
    again = Log(file)
    again.go_on(positions[cut])
    for x in numbers[cut:]:
        again.write({"x": np.float64(x) if isinstance(x, float) else x})
    again.sync()
    assert file.read_text() == whole
    for x, line in zip(numbers, whole.splitlines(), strict=True):
        found = json.loads(line, parse_constant=pytest.fail)["x"]
        assert found == (str(x) if isinstance(x, float) and not math.isfinite(x) else x)


def test_a_log_that_has_lost_lines_says_so_and_goes_on(tmp_path):
    log = Log(tmp_path / "metrics.jsonl")
    log.go_on(100)
    with pytest.warns(UserWarning, match="has lost lines: 0 bytes, and 100 were written"):
        log.write({"x": 1})
    assert log.sync() == len('{"x": 1}\n') and lines(tmp_path) == [{"x": 1}]


def test_the_log_of_a_run_that_begins_anew_begins_anew(tmp_path):
    train(tmp_path, epochs=2)
    (tmp_path / "run.safetensors").unlink()
    (tmp_path / "run.safetensors.previous").unlink()
    train(tmp_path)
    assert [(line["epoch"], line["step"]) for line in lines(tmp_path)] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert all(line["loss"] > 0 and line["seconds"] >= 0 for line in lines(tmp_path))


def test_names_that_the_log_writes_itself_are_refused():
    with pytest.raises(ValueError, match=r"Keeper.log: epoch, step is written by itself; choose another name"):
        Keeper(None).log(step=1, epoch=2, loss=3)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(None, best=True)
    assert not list(tmp_path.iterdir())


def test_two_runs_in_one_folder_have_two_logs(tmp_path):
    for name in ("run", "ae"):
        keeper = Keeper(tmp_path, name)
        keeper.log(loss=1.0)
        keeper.best(1.0)
    names = {"metrics.jsonl", "run_best.safetensors", "ae_metrics.jsonl", "ae_best.safetensors"}
    assert {p.name for p in tmp_path.iterdir()} == names


# The best


@given(values=st.lists(st.floats(-3, 3) | st.just(math.nan), max_size=6), higher=st.booleans())
def test_best_is_a_running_minimum_or_maximum(values, higher):
    keeper = Keeper(None)
    told = [keeper.best(v, higher) for v in values]
    sign = -1 if higher else 1
    record, expected = math.inf, []
    for v in values:
        expected.append(sign * v < record)
        record = sign * v if expected[-1] else record
    assert told == expected


def test_the_best_file_holds_the_parts_of_that_moment(tmp_path):
    model = network()
    keeper, seen = Keeper(tmp_path, model=model), []
    for value in (2.0, 1.0, 3.0):
        model[0].bias.data.fill_(value)
        seen.append(keeper.best(value))
    stored = checkpoint.load(tmp_path / "run_best.safetensors")
    assert seen == [True, True, False] and stored["value"] == 1.0
    assert stored["parts"]["model"]["0.bias"].tolist() == [1.0] * 4


def test_what_is_executed_again_is_no_new_best(tmp_path):
    """The test loss of the untrained model, measured once more when a run goes on, is neither a best nor a line."""

    def run(before, until):
        keeper = Keeper(tmp_path, every=0, model=nn.Linear(1, 1))
        assert keeper.best(before) == (until is not None)
        keeper.log(test=before)
        for _ in keeper.epochs(1):
            for i, _ in enumerate(keeper.batches(data.DataLoader(np.zeros(3)))):
                if i == until:
                    return
        assert keeper.best(2.0)

    run(3.0, 2)
    run(1.0, None)
    assert [line["test"] for line in lines(tmp_path)] == [3.0]


# Checkpoints of something else


def test_all_that_does_not_fit_is_named_at_once(tmp_path):
    ours = dict(g=nn.Sequential(nn.Linear(2, 3)), d=nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 1)))
    theirs = dict(g=nn.Sequential(nn.Linear(2, 4)), d=nn.Sequential(nn.Linear(3, 1, bias=False), nn.BatchNorm1d(1)))
    for _ in Keeper(tmp_path, **theirs).epochs(1):
        pass
    with pytest.raises(ValueError) as caught:
        list(Keeper(tmp_path, **ours).epochs(2))
    text = str(caught.value) + "".join(caught.value.__notes__)
    for words in (
        "shape       0.weight: (4, 2) given, (3, 2) needed",
        "shape       0.bias: (4,) given, (3,) needed",
        "missing     0.bias (1,)",
        "unexpected  1.running_mean (1,)",
        "unexpected  1.num_batches_tracked ()",
        "shape       1.weight: (1,) given, (1, 1) needed",
        "while g and d was loaded from",
    ):
        assert words in text, words


WRONG = {"epoch": "3", "inside": 1, "step": None, "seconds": [], "values": 3, "settings": [], "parts": 0, "random": "x"}


@pytest.mark.parametrize("name", WRONG)
def test_a_checkpoint_that_only_looks_like_a_run_is_refused(tmp_path, name):
    train(tmp_path)
    checkpoint.save(tmp_path / "run.safetensors", kept(tmp_path) | {name: WRONG[name]})
    with pytest.raises(ValueError, match="is a checkpoint, but not a Keeper's"):
        Keeper(tmp_path, model=network())


def test_names_are_never_paths(tmp_path):
    """Keys that would lead out of the folder stay keys."""
    folder = tmp_path / "inside"
    state = {"../../evil": np.ones(2), "/tmp/evil": {"..": np.zeros(3)}, "a/../b": 1}
    loaded = checkpoint.load(checkpoint.save(folder / "x", state))
    assert list(loaded) == list(state) and loaded["/tmp/evil"][".."].shape == (3,)
    assert [p.name for p in tmp_path.rglob("*")] == ["inside", "x"]


def test_a_checkpoint_is_read_with_memory_for_what_is_in_it(tmp_path):
    """A hundred names for one array are one array."""
    array = np.zeros(100_000, np.float32)
    path = checkpoint.save(tmp_path / "x", {"x": array})
    tracemalloc.start()
    try:
        checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * array.nbytes
    finally:
        tracemalloc.stop()


# SIGKILL

PROGRAM = """
import pathlib, sys, time
import numpy as np
import tinygen as tg
from tinygen import checkpoint, data, nn, optim, training

folder = pathlib.Path(sys.argv[1])
tg.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 4))
optimizer = optim.Adam(model.parameters(), 1e-2)
loader = data.DataLoader(np.random.default_rng(0).random((64, 4), np.float32), 4, shuffle=True, generator=1)
keeper = training.Keeper(folder, every=float(sys.argv[2]), model=model, optimizer=optimizer)
print("ready", flush=True)
for epoch in keeper.epochs(6):
    for x in keeper.batches(loader):
        loss = ((model(x + 0.1 * tg.randn_like(x)) - x) ** 2).mean()
        optimizer.zero_grad()
        keeper.check(loss)
        loss.backward()
        optimizer.step()
        keeper.log(loss=loss.item())
        time.sleep(float(sys.argv[3]))
    keeper.best(loss.item())
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_three_times_it_ends_bit_for_bit_the_same(tmp_path):
    random = np.random.default_rng(0)

    def start(folder, every, sleep):
        return program(["-c", PROGRAM, str(folder), str(every), str(sleep)])

    def ends(folder):
        state = checkpoint.load(folder / "run.safetensors")
        log = [{k: v for k, v in line.items() if k != "seconds"} for line in lines(folder)]
        best = checkpoint.load(folder / "run_best.safetensors")
        return log, best["value"], _bits([state["parts"], best["parts"], state["random"]])

    with start(tmp_path / "whole", 1e9, 0) as whole:
        for _ in range(3):  # 96 steps of at least 5 ms
            with start(tmp_path / "killed", 0, 0.005) as process:
                ready = process.stdout.readline()
                time.sleep(random.uniform(0.05, 0.2))
                process.send_signal(signal.SIGKILL)
                error = process.communicate()[1]
            assert (ready, process.returncode) == ("ready\n", -signal.SIGKILL), error
        with start(tmp_path / "killed", 1e9, 0) as last:
            error = last.communicate()[1]
        assert last.returncode == 0 and "going on with epoch" in error, error
        assert whole.wait() == 0
    assert ends(tmp_path / "killed") == ends(tmp_path / "whole")


def _bits(value):
    if isinstance(value, dict):
        return {k: _bits(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_bits(v) for v in value]
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
