"""A training step that runs on a GPU leaves nothing to wait for: no number goes there or comes back until one is read.

The strict double counts.  It stands for CuPy: what is a transfer here is one there.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tests.training_steps import OPTIMIZERS, STEPS, training_step
from tinygen.nn import flows
from tinygen.nn import functional as F
from tinygen.testing.strict import counted

every_step = pytest.mark.parametrize("name", STEPS)


@every_step
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_transfers_nothing(name, optimizer):
    """Forward and backward pass, clipping, the optimizer, and all random draws."""
    step, batch = training_step(name, optimizer, "strict")
    step(batch(0))  # buffers are made, and constants may be
    x = batch(1)
    with counted() as counts:
        loss = step(x)
    assert not counts.to_host and not counts.to_device
    with counted() as counts:
        assert np.isfinite(loss.item())
    assert counts.to_host == ["item"] and not counts.to_device


@every_step
def test_a_step_of_adam_is_one_kernel_for_all_parameters(name):
    """And one that lays the gradients end to end."""
    step, batch = training_step(name, "Adam", "strict")
    step(batch(0))
    for optimizer in step.optimizers:
        with counted() as counts:
            optimizer.step()
        assert counts.kernels == ["concatenate", "tinygen_adam"]


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool(x.sum() > 0),
        lambda x: float(x.sum()),
        lambda x: int(x.sum()),
        lambda x: [1, 2, 3, 4][x.sum().long()],
        lambda x: x.cpu(),
        lambda x: x.cpu().numpy(),
        lambda x: x[x > 0],
        lambda x: x.equal(x),
        lambda x: tg.allclose(x, x),
    ],
)
def test_what_reads_a_number_is_counted(read):
    """Else a count of 0 would say nothing."""
    x = tg.ones(3, device="strict")
    with counted() as counts:
        read(x)
    assert counts.to_host


@pytest.mark.parametrize(
    "write",
    [
        lambda x: tg.tensor([1.0, 2.0], device="strict"),
        lambda x: tg.ones(3).to("strict"),
        lambda x: x[[0, 2]],
    ],
)
def test_what_writes_numbers_is_counted(write):
    x = tg.ones(3, device="strict")
    with counted() as counts:
        write(x)
    assert counts.to_device


def test_views_and_fresh_memory_are_no_kernels():
    x = tg.rand(3, 4, device="strict")
    with counted() as counts:
        x.reshape(4, 3).T.unsqueeze(0)[:, 1:].expand(5, 2, 4)
    assert not counts.kernels
    with counted() as counts:
        x + 1
        x.sum()
        x.array[...] = 2
    assert len(counts.kernels) == 3


@pytest.mark.parametrize(
    "layer, right, wrong",
    [(flows.Dequantize(), 1.0, 0.5), (flows.Logit(0.0), 0.5, 1.0), (flows.Logit(0.1), 0.5, -1.0)],
)
def test_where_a_check_would_wait_the_result_is_not_finite(layer, right, wrong):
    """On the CPU it is an error.  Elsewhere the result cannot be mistaken for a number."""
    x = tg.tensor([[right, wrong]])
    with pytest.raises(ValueError):
        layer(x)
    x = x.to("strict")
    with counted() as counts:
        out = layer(x)
    out = out if isinstance(out, tg.Tensor) else out[0]
    finite = np.isfinite(out.cpu().numpy())
    assert finite[0, 0] and not finite[0, 1] and not counts.to_host


LOSSES = {
    "cross entropy": (lambda x, y: F.cross_entropy(x, y.long(), reduction="none"), [0.0, -1.0, 2.0, 3.0]),
    "negative log-likelihood": (lambda x, y: F.nll_loss(x, y.long(), reduction="none"), [0.0, -1.0, 2.0, 3.0]),
    "Gaussian": (lambda x, y: F.gaussian_nll_loss(x[:, 0], x[:, 1], y, reduction="none"), [0.0, -1e-30, 2.0, -3.0]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_where_a_check_would_wait_the_loss_is_nan(name):
    """Of the elements that are wrong, every second one: no class has the number -1 or 3, no variance is negative."""
    loss, y = LOSSES[name]
    x, y = tg.randn(4, 3, requires_grad=True), tg.tensor(y)
    with pytest.raises((IndexError, ValueError)):
        loss(x, y)
    expected = loss(x[::2], y[::2])
    x_there, y_there = x.detach().to("strict"), y.to("strict")
    with counted() as counts:
        values = loss(x_there, y_there)
        total = values.sum()
    values = values.cpu().numpy()
    assert np.isnan(values[1::2]).all() and np.isnan(total.item()) and not counts.to_host
    np.testing.assert_allclose(values[::2], expected.tolist(), rtol=1e-6)  # a few roundings of float32


def test_an_impossible_class_costs_infinitely_much_where_it_occurs():
    """Others do not notice: 0 · ∞ is nowhere."""
    log_p = tg.tensor([[0.0, -np.inf], [-np.inf, 0.0], [0.0, -np.inf]]).to("strict")
    assert F.nll_loss(log_p, tg.tensor([0, 0, -100]).to("strict"), reduction="none").tolist() == [0.0, np.inf, 0.0]


def test_activation_norm_asks_again_when_its_state_was_loaded():
    """It remembers that it has seen a batch; a state from before the first one makes it forget."""
    layer = flows.ActNorm(3).to("strict")
    fresh = {k: x.clone() for k, x in layer.state_dict().items()}
    x = 5 * tg.randn(100, 3, device="strict") + 2
    for state in (fresh, fresh):
        layer.load_state_dict(state)
        y = layer(x)[0].detach()
        assert y.mean().abs().item() < 1e-5 and abs(y.std(unbiased=False).item() - 1) < 1e-5  # float32
        with counted() as counts:
            layer(-x)
        assert not counts.to_host
    layer.initialized.fill_(False)
    assert layer(x + 1)[0].mean().abs().item() < 1e-5
