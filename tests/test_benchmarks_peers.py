"""benchmarks/peers.py, floor.py, limits.py: every peer trains the same model, and what a step costs is counted rightly."""

import importlib
import math
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

import tinygen as tg
from tests.processes import program

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = ["ae", "vae", "conv-ae"]

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(FOLDER))
    floor, limits, models, peers, tuned, workers = map(
        importlib.import_module, ("floor", "limits", "models", "peers", "tuned", "workers")
    )


def losses(workload, T, batch=3):
    rng = np.random.default_rng(1)
    noise = lambda *shape: T.tensor(rng.standard_normal(shape).astype(np.float32))
    return workload(T, np.random.default_rng(0), batch).check(noise)


# The floor


@st.composite
def geometries(draw):
    """Whole numbers of float32, whose sums are exact: x, w, g and the stride."""
    k, stride, n = (draw(st.integers(1, 3)) for _ in range(3))
    batch, channels, out = (draw(st.integers(1, 3)) for _ in range(3))
    size = (n - 1) * stride + k + draw(st.integers(0, stride - 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = (size, size, batch, channels), (k, k, channels, out), (n, n, batch, out)
    return *(rng.integers(-9, 10, shape).astype(np.float32) for shape in shapes), stride


@given(geometries())
def test_the_three_convolutions_are_derivatives_of_one_form(geometry):
    """⟨conv(x, w), g⟩ = ⟨x, conv_input(g, w)⟩ = ⟨w, conv_weight(x, g)⟩."""
    x, w, g, stride = geometry
    form = np.vdot(floor.conv(x, w, stride), g)
    assert np.vdot(x, floor.conv_input(g, w, stride, len(x))) == form
    gw = np.full_like(w, np.nan)
    floor.conv_weight(x, g, stride, gw)
    assert np.vdot(w, gw) == form


@given(geometries())
def test_the_convolution_is_scipys(geometry):
    x, w, g, stride = geometry
    y = floor.conv(x, w, stride)
    assert y.shape == g.shape
    for sample, out in np.ndindex(y.shape[2:]):
        full = sum(correlate(x[..., sample, c], w[:, :, c, out], "valid") for c in range(x.shape[3]))
        np.testing.assert_array_equal(y[..., sample, out], full[::stride, ::stride])


def test_adam_starts_with_the_sign_and_reaches_every_block():
    """The first step is -rate · g / (|g| + ε) whatever the size of g, in arrays that do not end where blocks do."""
    rng = np.random.default_rng(0)
    arrays = [rng.random(shape, np.float32) for shape in ((300, 300), (7,), (floor.BLOCK,))]
    gradients = [rng.standard_normal(a.shape).astype(np.float32) for a in arrays]
    adam = floor.Adam(arrays)
    adam.step(gradients)
    for before, after, g in zip(arrays, adam.parameters, gradients, strict=True):
        moved = before - floor.RATE * g / (np.abs(g) + floor.EPSILON)
        np.testing.assert_allclose(after, moved, atol=1e-6)  # a few roundings of numbers up to 1


def test_gradients_in_a_list_or_in_the_buffer_are_the_same():
    rng = np.random.default_rng(0)
    arrays = [rng.random((3, 2), np.float32), rng.random(5, np.float32)]
    given_, written = floor.Adam(arrays), floor.Adam(arrays)
    for _ in range(3):
        gradients = [rng.random(a.shape, np.float32) for a in arrays]
        given_.step(gradients)
        for view, g in zip(written.gradients, gradients, strict=True):
            view[...] = g
        written.step()
    for a, b in zip(given_.parameters, written.parameters, strict=True):
        np.testing.assert_array_equal(a, b)


# The peers


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_and_data_are_those_of_the_models(name):
    work, rng = models.WORKLOADS[name](tg, np.random.default_rng(0), 3), np.random.default_rng(0)
    expected = [p for module in work.modules for p in module.parameters()]
    for p, a in zip(expected, peers.initial(rng, peers.SHAPES[name]), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), a)
    np.testing.assert_array_equal(work.x.numpy().ravel(), models.pixels(rng, 3).ravel())


def test_the_models_are_these():
    assert list(peers.WORKLOADS) == NAMES
    assert set(peers.PEERS) == set(peers.TITLES)
    assert all(peer in peers.PEERS and name in NAMES for peer, name in peers.LEFT_OUT)


@pytest.mark.parametrize("name", NAMES)
def test_the_floor_trains_as_tinygen_does(name):
    floors = losses(peers.WORKLOADS[name], peers.Arrays("numpy"))
    np.testing.assert_allclose(floors, losses(models.WORKLOADS[name], tg), rtol=1e-4)  # what workers.agree asks for


@pytest.mark.slow
@pytest.mark.parametrize("peer", [p for p in peers.PEERS if p != "numpy"])
def test_a_peer_trains_as_tinygen_does(peer):
    """In a process of its own: the libraries' warnings and threads stay there."""
    if why := peers.missing(peer):
        pytest.skip(f"{peer}: {why}")
    with workers.Worker(peer, "peers", 1) as worker:
        for name in NAMES:
            if (peer, name) not in peers.LEFT_OUT:
                theirs = worker.ask("check", name, 3)
                np.testing.assert_allclose(theirs, losses(models.WORKLOADS[name], tg), rtol=1e-4)


@pytest.fixture
def torch():
    """PyTorch on one thread: several wait for each other when the tests share the machine."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", models.WORKLOADS)
def test_tuning_pytorch_changes_its_speed_alone(name, torch):
    quick = losses(tuned.WORKLOADS[name], torch)
    np.testing.assert_allclose(quick, losses(models.WORKLOADS[name], torch), rtol=1e-4)


def test_who_is_missing_is_told_why(monkeypatch):
    assert peers.missing("numpy") is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peers.missing("jax") == "not installed: pip install jax"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    assert "clang" in peers.missing("tinygrad") and peers.missing("jax") is None


class Says:
    """A worker that always takes so many milliseconds."""

    pid = os.getpid()

    def __init__(self, library, milliseconds):
        self.library, self.milliseconds = library, milliseconds

    def ask(self, request, *_):
        return {"check": [1.0], "build": None, "times": [self.milliseconds]}[request]


def test_a_row_holds_times_as_multiples_of_pytorchs():
    said = {"tinygen": Says("tinygen", 2.0), "autograd": Says("autograd", 6.0), "PyTorch": Says("torch", 4.0)}
    assert peers.row("ae", said, 4, 3, 0.1) == (
        4.0,
        {"tinygen": 0.5, "autograd": 1.5},
        {"tinygen": 0.0, "autograd": 0.0},
    )
    assert list(peers.row("conv-ae", said, 4, 3, 0.1)[1]) == ["tinygen"]  # autograd is left out


# The limits


@pytest.mark.parametrize("name", list(limits.PRODUCTS))
def test_operations_are_those_that_pytorch_counts(name, torch):
    from torch.utils.flop_counter import FlopCounterMode

    work = models.WORKLOADS[name](torch, np.random.default_rng(0), 3)
    with FlopCounterMode(display=False) as counter:
        work.step(torch.randn)
    assert sum(layer.operations for layer, _ in limits.PRODUCTS[name](3)) == counter.get_total_flops()


@pytest.mark.parametrize("name", list(limits.PRODUCTS))
def test_operations_grow_with_the_batch(name):
    one, four = (sum(layer.operations for layer, _ in limits.PRODUCTS[name](b)) for b in (1, 4))
    assert four == 4 * one


def test_a_layers_three_products_do_the_same_work():
    layer = limits.conv(2, 3, 5, 3, 8, 6)
    assert all(2 * math.prod(layer.product(which)) == layer.operations for which in "ywx")
    assert layer.bytes == 4 * (2 * 3 * 8 * 8 + 5 * 3 * 3 * 3 + 2 * 5 * 6 * 6)


def test_parameters_are_those_of_the_decks():
    assert limits.parameters("conv-ae") == 112_457
    widths = (784, 256, 10, 256, 784)
    assert limits.parameters("ae") == sum((n + 1) * m for n, m in pairwise(widths))


class Ideal:
    """A machine with one rate and one bandwidth."""

    def __init__(self, rate, bandwidth):
        self.peak, self.rate, self.bandwidth = rate, lambda size: rate, lambda count: bandwidth


@pytest.mark.parametrize("name", ["ae", "conv-ae"])
def test_the_limit_is_that_of_what_is_scarce(name):
    products = limits.PRODUCTS[name](10)
    slow = limits.bound(Ideal(1e3, math.inf), products, 5)
    assert slow.limit == pytest.approx(slow.operations / 1e3) == pytest.approx(slow.products)
    far = limits.bound(Ideal(math.inf, 1e3), products, 5)
    assert far.limit == pytest.approx(far.bytes / 1e3)
    both = limits.bound(Ideal(1e3, 1e3), products, 5)
    assert max(slow.limit, far.limit) <= both.limit <= slow.limit + far.limit


def test_bandwidth_is_read_at_the_next_size():
    machine = object.__new__(limits.Machine)
    machine.copy, machine.triad = list(range(10, 16)), [20, 0, 0, 0, 0, 0]
    first, second, *_, last = (k * 1024 for k in limits.KIBIBYTES)
    assert [machine.bandwidth(b) for b in (1, first, first + 1, second, last, 10 * last)] == [20, 20, 11, 11, 15, 15]


def test_a_machine_is_measured(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(limits, "SQUARES", (8, 16))
    monkeypatch.setattr(limits, "KIBIBYTES", (16, 64))
    with ExitStack() as stack:
        machine = limits.Machine(stack, 1, 0.002)
        assert machine.peak >= machine.rate((8, 8, 8)) > 0
        assert machine.rates((2, 3, 10**6)) == machine.rates((2, 3, limits.ROWS))
        assert min(machine.copy + machine.triad) > 0
        text = "\n".join(limits.show_machine(machine, 1))
    assert "NumPy, GFLOP/s" in text and "triad, GB/s" in text


def test_a_product_and_a_triad_are_what_they_say(torch):
    for T in (peers.Arrays("numpy"), torch):
        work = limits.Product(T, np.random.default_rng(0), (3, 4, 5))
        work.step(None)
        np.testing.assert_allclose(work.out, np.asarray(work.a) @ np.asarray(work.b), rtol=1e-6)
    triad = limits.Triad(torch, np.random.default_rng(0), 3)
    triad.step(None)
    assert 3 * triad.a.nbytes == 3 * 1024
    np.testing.assert_allclose(triad.a, triad.others[0] + 0.5 * triad.others[1], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["peers", "limits"])
def test_a_quick_run_prints_a_row_for_every_model(script):
    pytest.importorskip("torch")
    command = [sys.executable, str(FOLDER / f"{script}.py"), "--quick", "ae", "vae"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280).stdout
    assert [line.split()[0] for line in printed.splitlines() if line.split()[1:2] == ["1"]] == ["ae", "vae"]


# Turns


class Pretending:
    """A worker whose turns take no time."""

    pid = 1

    def __init__(self):
        self.turns = 0

    def ask(self, *_):
        self.turns += 1
        return [float(self.turns)]


@pytest.mark.parametrize("disturbed, turns", [(0, 1), (2, 3), (99, 5)])
def test_a_disturbed_turn_is_taken_again(disturbed, turns, monkeypatch):
    ticks = iter(x for i in range(99) for x in (0, 1000 if i < disturbed else 0))
    monkeypatch.setattr(workers, "others_ticks", lambda pid: next(ticks))
    monkeypatch.setattr(workers.time, "sleep", lambda seconds: None)
    assert workers.quietly(Pretending(), 0.3, attempts=5) == [turns]


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux counts there")
def test_others_are_told_from_a_process_of_ours():
    with program(["-c", "while True: pass"]) as process:
        pids = process.pid, os.getpid()
        before = list(map(workers.others_ticks, pids))
        ticks = lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        end = time.monotonic() + 20
        while sum(map(int, ticks())) < 25 and time.monotonic() < end:
            time.sleep(0.02)
        without_it, without_us = (after - b for after, b in zip(map(workers.others_ticks, pids), before))
        process.kill()
    assert without_us - without_it >= 15  # it took 25 or more, we only looked; everybody else is in both counts


def test_where_nobody_counts_every_turn_is_good(monkeypatch):
    monkeypatch.setattr(workers, "others_ticks", lambda pid: None)
    assert workers.quietly(Pretending(), 0.3) == [1.0]
