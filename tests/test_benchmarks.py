"""The benchmarks' workloads run on tinygen and PyTorch from one source, and do the same work."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

import tinygen as tg


def load(name, monkeypatch):
    """A file of benchmarks/, which import each other as scripts do."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module(name)


def noise_for(T):
    rng = np.random.default_rng(1)
    return lambda *shape: T.tensor(rng.standard_normal(shape).astype(np.float32))


def check(workload, T, batch=3):
    return workload(T, np.random.default_rng(0), batch).check(noise_for(T))


MODELS = ["ae", "vae", "gan", "realnvp", "realnvp-layers", "conv-ae", "dcgan"]


def test_the_models_are_these(monkeypatch):
    assert list(load("models", monkeypatch).WORKLOADS) == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_is_trained(name, monkeypatch):
    workload = load("models", monkeypatch).WORKLOADS[name](tg, np.random.default_rng(0), 3)
    parameters = [p for module in workload.modules for p in module.parameters()]
    before = [p.array.copy() for p in parameters]
    assert np.isfinite(workload.check(noise_for(tg))).all()
    assert all((p.array != old).any() for p, old in zip(parameters, before, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_both_libraries_train_alike(name, monkeypatch):
    torch = pytest.importorskip("torch")
    workload = load("models", monkeypatch).WORKLOADS[name]
    # float32 sums of 3 · 784 terms, and what four steps of Adam make of the difference
    np.testing.assert_allclose(check(workload, tg), check(workload, torch), rtol=1e-4)


def test_the_convolutional_autoencoder_is_the_decks(monkeypatch):
    model = load("models", monkeypatch).WORKLOADS["conv-ae"](tg, np.random.default_rng(0), 2).model
    assert sum(math.prod(p.shape) for p in model.parameters()) == 112_457
    x, sizes = tg.zeros(2, 1, 28, 28), []
    for layer in model:
        x = layer(x)
        if not isinstance(layer, tg.nn.ReLU):
            sizes.append(x.shape[-1])
    assert sizes == [24, 20, 9, 4, 1, 4, 9, 20, 24, 28]
