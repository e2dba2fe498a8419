"""The running average of weights."""

import copy

import numpy as np
import pytest

import tinygen as tg
from tests.optim.test_rules import arrays, assert_same, draws, leaves
from tinygen import nn, optim


def test_is_the_weighted_sum_of_the_past(device):
    """avg_n = dⁿ θ₀ + (1-d) Σ dⁿ⁻ᵏ θ_k."""
    rng = np.random.default_rng(0)
    history = [draws(rng) for _ in range(6)]
    params = leaves(history[0], device)
    ema = optim.EMA(params, decay=0.7)
    for values in history[1:]:
        with tg.no_grad():
            for p, v in zip(params, values, strict=True):
                p.copy_(tg.tensor(v, device=device))
        ema.update()
    weights = [0.7**5] + [0.3 * 0.7 ** (5 - k) for k in range(1, 6)]
    expected = [sum(w * h[i] for w, h in zip(weights, history, strict=True)) for i in range(len(params))]
    assert_same(ema.averages, expected, rtol=1e-13, atol=1e-15)
    assert_same(params, history[-1])


def test_apply_swaps_the_averages_in_and_out_again(device):
    params = leaves([[1.0, 2.0], [3.0]], device)
    ema = optim.ExponentialMovingAverage(params, decay=0.5)
    optimizer = optim.SGD(params, lr=1.0)
    for p in params:
        p.grad = tg.ones(*p.shape, dtype=p.dtype, device=device)
    optimizer.step()
    ema.update()
    with ema.apply():
        assert [p.tolist() for p in params] == [[0.5, 1.5], [2.5]]
    assert [p.tolist() for p in params] == [[0.0, 1.0], [2.0]]
    with pytest.raises(ZeroDivisionError), ema.apply():
        raise ZeroDivisionError
    assert [p.tolist() for p in params] == [[0.0, 1.0], [2.0]]  # also after an error
    optimizer.step()
    assert [p.tolist() for p in params] == [[-1.0, 0.0], [1.0]]  # the optimizer still holds them
    ema.copy_to_parameters()
    assert [p.tolist() for p in params] == [[0.5, 1.5], [2.5]]


def test_a_graph_from_before_the_swap_is_not_differentiated_with_the_wrong_weights():
    (p,) = leaves([[1.0, 2.0]])
    ema = optim.EMA([p])
    loss = (p * p).sum()
    with ema.apply(), pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_follows_a_module_that_changes_its_dtype():
    layer = nn.Linear(2, 3)
    ema = optim.EMA(layer.parameters(), decay=0.5)
    layer.double()
    ema.update()
    assert all(a.dtype == np.float64 for a in ema.averages)
    with ema.apply():
        assert layer.weight.dtype == np.float64


def test_state_round_trip():
    rng = np.random.default_rng(1)
    params, others = leaves(draws(rng)), leaves(draws(rng))
    ema, other = optim.EMA(params, decay=0.9), optim.EMA(others)
    ema.update()
    saved = copy.deepcopy(ema.state_dict())
    other.load_state_dict(saved)
    assert (other.decay, other.updates) == (0.9, 1)
    assert_same(other.averages, arrays(ema.averages))
    other.update()
    assert_same(ema.averages, arrays(saved["averages"]))


def test_errors():
    with pytest.raises(ValueError, match="decay must be from 0 to below 1, got 1"):
        optim.EMA(leaves([[1.0]]), decay=1)
    with pytest.raises(ValueError, match="got no parameters"):
        optim.EMA([])
    with pytest.raises(TypeError, match=r"got Linear; use module.parameters\(\)"):
        optim.EMA(nn.Linear(1, 1))
    ema = optim.EMA(leaves([[1.0]]))
    with pytest.raises(tg.ShapeError, match=r"averages of shapes \[\(2,\)\]"):
        ema.load_state_dict({"decay": 0.5, "updates": 0, "averages": [np.ones(2)]})
