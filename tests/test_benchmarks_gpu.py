"""benchmarks/gpu.py, as far as it can be tried without a GPU: on the strict double, and on the CPU."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinygen as tg
from tests.test_benchmarks import MODELS, load, noise_for
from tinygen import backend
from tinygen.testing.strict import counted

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(backend.registry, "_tf32", None)  # and back
    yield load("gpu", monkeypatch)
    tg.set_default_device("cpu")


@pytest.mark.parametrize("name", MODELS)
def test_a_step_transfers_nothing_and_is_captured(name, gpu):
    """What is timed: the plain step and the captured one.  Both lose the same, and as much as on the CPU."""
    losses = []
    for device, compiled in (("cpu", False), ("strict", False), ("strict", True)):
        work = gpu.WORKLOADS[name](tg, np.random.default_rng(0), 3, device=device, compiled=compiled)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a step that is not captured says so
            losses.append(work.check(noise_for(tg)))
            for _ in range(4):  # other modes than in the check
                work.step(tg.randn)
        with counted() as counts:
            work.step(tg.randn)
        assert not counts.to_host and not counts.to_device
        assert bool(counts.launched) == compiled
    plain, there, captured = losses
    assert there == captured
    np.testing.assert_allclose(plain, there, rtol=1e-3)  # float32, of which Adam magnifies the rounding in every step


def test_ten_times_as_wide(gpu):
    assert list(gpu.MODELS) == [*MODELS, "ae-x10", "vae-x10", "gan-x10"]
    assert gpu.MODELS["gan"].widths == (256, 512, 1024) and gpu.MODELS["gan-x10"].widths == (2560, 5120, 10240)


@pytest.mark.parametrize("name", ["ae", "vae", "gan"])
def test_the_limit_counts_products_that_grow_as_much(name, gpu):
    """Between hidden layers a hundred times as many operations, to the pixels and the noise ten times as many."""
    widths = gpu.MODELS[name].widths
    one, ten = ([x for x, _ in gpu.limits.PRODUCTS[name](7, tuple(k * n for n in widths))] for k in (1, 10))
    growth = {b.operations / a.operations for a, b in zip(one, ten, strict=True)}
    assert growth == {10.0, 100.0}


def test_the_card_is_asked_for_the_best_that_was_measured(gpu):
    """Small arrays are limited by what starts a copy, not by the memory: they count as fast as larger ones."""

    class Clock:
        def __init__(self, factor):
            self.factor = factor

        def ask(self, request, name=None, size=None):
            if request == "build":
                work = {"product": 2 * size**3 / 1e12, "copy": 1e-6 + 2 * (size << 20) / 1e12, "kernel": 1e-6}[name]
                self.ms = 1e3 * work * self.factor * gpu.REPEATED
            return [self.ms]

    card = gpu.Card([Clock(2.0), Clock(1.0)], (64, 128), (1, 64), 0.1)
    assert card.peak == pytest.approx(1e12) and card.kernels == pytest.approx([2e-6, 1e-6])
    largest = 2 * (64 << 20) / (1e-6 + 2 * (64 << 20) / 1e12)
    assert card.bandwidth(100) == card.bandwidth(1 << 40) == pytest.approx(largest)


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120)


def test_without_a_gpu_it_says_so():
    if backend.cuda_available():
        pytest.skip("there is one")
    done = run("ae")
    assert done.returncode == 1 and "nothing to measure: device 'cuda'" in done.stderr and not done.stdout


def test_a_round_on_the_cpu():
    pytest.importorskip("torch")
    done = run("ae", "realnvp", "--device", "cpu", "--quick", "--skip", "torch-compiled")
    assert done.returncode == 0, done.stderr
    *_, header, ae, realnvp, _, end = done.stdout.splitlines()
    assert (
        header.split()[:2] == ["model", "batch"] and ae.split()[:2] == ["ae", "4"] and realnvp.split()[0] == "realnvp"
    )
    assert "differs" not in done.stdout and "ended" not in done.stdout and end.startswith("load")
    assert all(float(x) > 0 for x in ae.split()[-3:-1])
