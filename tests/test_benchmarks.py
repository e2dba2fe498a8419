"""The benchmark's models run on tinygen and PyTorch from one source, and train alike."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygen as tg

_path = Path(__file__).parents[1] / "benchmarks" / "models.py"
_spec = importlib.util.spec_from_file_location("benchmark_models", _path)
models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(models)


@pytest.mark.parametrize("name", models.WORKLOADS)
def test_both_libraries_train_alike(name):
    torch = pytest.importorskip("torch")
    losses = []
    for T in (tg, torch):
        workload, rng = models.WORKLOADS[name](T, np.random.default_rng(0), batch=3), np.random.default_rng(1)
        for module in workload.modules:
            module.eval()  # no dropout: the two draw different random numbers
        losses.append(
            [workload.step(lambda *s, T=T, r=rng: T.tensor(r.standard_normal(s).astype(np.float32))) for _ in range(4)]
        )
    assert losses[0][0] != losses[0][-1]
    # float32 sums of 3 · 784 terms, and what four steps of Adam make of the difference
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
