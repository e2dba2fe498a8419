"""Half precision: updated in float32, rounded to float16 at the end."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, optim

OPTIMIZERS = {
    name: cls
    for name, cls in vars(optim).items()
    if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer and name != "LBFGS"
}
HALF = 2.0**-10


def parameter(values: np.ndarray, dtype: type, device: str) -> nn.Parameter:
    return nn.Parameter(tg.tensor(values.astype(dtype), device=device))


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_in_half_precision_is_that_of_float32_rounded(name, device):
    """Gradients of 0, of 1e-4, whose square is 0 in float16, and of 300, whose square is infinite there: three steps of each."""
    gradients = np.array([0.0, 1e-4, -1e-4, 1.0, 300.0])
    ends = []
    for dtype in (np.float16, np.float32):
        p = parameter(np.full(5, 0.5), dtype, device)
        optimizer = OPTIMIZERS[name]([p], lr=1e-3)
        for _ in range(3):
            p.grad = tg.tensor(gradients.astype(np.float16).astype(dtype), device=device)
            optimizer.step()
        ends.append(p.detach().cpu().numpy().astype(np.float64))
    half, single = ends
    assert half.dtype == np.float64 and np.isfinite(half).all()
    np.testing.assert_allclose(half, single, rtol=3 * HALF)  # three steps, each rounded once


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adagrad"])
def test_without_a_gradient_nothing_moves(name):
    """eps is 1e-8: in float16 that is 0, and 0/0 is nan."""
    p = parameter(np.ones(2), np.float16, "cpu")
    p.grad = tg.zeros(2, dtype=tg.float16)
    OPTIMIZERS[name]([p], lr=0.1).step()
    assert p.tolist() == [1, 1]


def test_the_state_of_half_precision_survives_a_state_dict():
    p = parameter(np.ones(2), np.float16, "cpu")
    optimizer = optim.Adam([p])
    p.grad = tg.tensor(np.full(2, 1e-4, np.float16))
    optimizer.step()
    before = optimizer.state[p]["exp_avg_sq"].numpy().copy()
    assert before.dtype == np.float32 and (before > 0).all()
    again = optim.Adam([p])
    again.load_state_dict(optimizer.state_dict())
    optimizer.step(), again.step()
    np.testing.assert_array_equal(again.state[p]["exp_avg_sq"].numpy(), optimizer.state[p]["exp_avg_sq"].numpy())
