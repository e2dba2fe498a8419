"""Clipping of gradients."""

from math import inf

import numpy as np
import pytest

import tinygen as tg
from tests.optim.test_rules import draws, give, leaves
from tinygen.backend import to_numpy
from tinygen.nn import utils

SHAPES = [(3, 4), (4,), (), (2, 0)]


def with_gradients(gradients, device="cpu", dtype=np.float64):
    params = leaves([np.zeros_like(g) for g in gradients], device, dtype)
    give(params, gradients)
    return params


def gradients_of(params):
    return [to_numpy(p.grad.array) for p in params]


@pytest.mark.parametrize("order", [1, 2, 3.5, inf])
@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_clip_grad_norm(order, max_norm, device):
    gradients = draws(np.random.default_rng(0), SHAPES)
    params = [*with_gradients(gradients, device), tg.ones(3, device=device, requires_grad=True)]  # the last has none
    total = utils.clip_grad_norm_(params, max_norm, order)
    flat = np.concatenate([g.ravel() for g in gradients])
    norm = np.linalg.norm(flat, order)
    assert total.shape == () and total.item() == pytest.approx(norm, rel=1e-13)
    clipped = np.concatenate([g.ravel() for g in gradients_of(params[:-1])])
    np.testing.assert_allclose(clipped, flat * min(1, max_norm / (norm + 1e-6)), rtol=1e-13)
    if norm > max_norm:  # up to the 1e-6 in the denominator, as in PyTorch
        assert np.linalg.norm(clipped, order) == pytest.approx(max_norm, rel=1e-5)


@pytest.mark.parametrize("order", [2, 3.5, inf])
def test_agrees_with_pytorch(order):
    torch = pytest.importorskip("torch")
    gradients = [g.astype(np.float32) for g in draws(np.random.default_rng(1), SHAPES[:-1])]
    theirs = [torch.zeros(g.shape, requires_grad=True) for g in gradients]
    for p, g in zip(theirs, gradients, strict=True):
        p.grad = torch.tensor(g)
    params = with_gradients(gradients, dtype=np.float32)
    total, expected = utils.clip_grad_norm_(params, 0.7, order), torch.nn.utils.clip_grad_norm_(theirs, 0.7, order)
    # sums of 17 terms in float32
    assert total.dtype == np.float32 and total.item() == pytest.approx(expected.item(), rel=1e-6)
    for a, p in zip(gradients_of(params), theirs, strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), rtol=2e-6)


def test_gradients_that_are_not_finite():
    params = with_gradients([np.array([1.0, np.inf])])
    with pytest.raises(RuntimeError, match="the norm of the gradients is inf"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert gradients_of(params)[0].tolist() == [1.0, np.inf]


def test_one_parameter_and_none_at_all():
    (p,) = with_gradients([np.array([3.0, 4.0])])
    assert utils.clip_grad_norm_(p, 1.0).item() == 5.0
    assert utils.clip_grad_norm_([tg.ones(2, requires_grad=True)], 1.0).item() == 0.0


def test_clip_grad_value(device):
    params = with_gradients([np.array([-3.0, 0.5, 2.0]), np.array(7.0)], device)
    utils.clip_grad_value_(params, 1.5)
    assert [g.tolist() for g in gradients_of(params)] == [[-1.5, 0.5, 1.5], 1.5]


def test_errors():
    params = with_gradients([np.ones(2)])
    with pytest.raises(ValueError, match="norm_type must be positive, got 0"):
        utils.clip_grad_norm_(params, 1.0, 0)
    with pytest.raises(ValueError, match="clip_value must be >= 0, got -1"):
        utils.clip_grad_value_(params, -1)
