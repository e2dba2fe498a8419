"""Averaged models, the schedule that goes with them, and statistics of batch norm: means that can be written down."""

import copy
import pickle
from math import cos, pi

import numpy as np
import pytest

import tinygen as tg
from tests.optim.test_lr_scheduler import advance, optimizer
from tests.optim.test_rules import arrays
from tinygen import checkpoint, nn, optim
from tinygen.optim.lr_scheduler import ExponentialLR
from tinygen.optim.swa_utils import (
    SWALR,
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)

WAYS = {
    "mean": {},
    "mean by function": {"avg_fn": get_swa_avg_fn()},
    "mean of lists": {"multi_avg_fn": get_swa_multi_avg_fn()},
    "exponential": {"avg_fn": get_ema_avg_fn(0.7)},
    "exponential of lists": {"multi_avg_fn": get_ema_multi_avg_fn(0.7)},
}


def net(device="cpu"):
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(np.float64).to(device)


def shake(model):
    """New values everywhere, buffers too."""
    with tg.no_grad():
        for x in [*model.parameters(), *model.buffers()]:
            x.copy_(tg.randn(*x.shape, dtype=np.float64, device=x.device) * 5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_the_average_is_that_of_all_values(way, use_buffers, device):
    model = net(device)
    averaged = AveragedModel(model, **WAYS[way], use_buffers=use_buffers)
    history, buffers = [], []
    for n in range(5):
        shake(model)
        averaged.update_parameters(model)
        assert averaged.n_averaged.item() == n + 1
        history.append(arrays(model.parameters()))
        buffers.append(arrays(model.buffers()))
    weights = [0.2] * 5 if way.startswith("mean") else [0.7**4, *(0.3 * 0.7 ** (4 - k) for k in range(1, 5))]

    def mean(values):
        return [sum(w * v for w, v in zip(weights, vs, strict=True)) for vs in zip(*values, strict=True)]

    for a, b in zip(arrays(averaged.module.parameters()), mean(history), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)  # five roundings
    for a, b, last in zip(arrays(averaged.module.buffers()), mean(buffers), buffers[-1], strict=True):
        np.testing.assert_allclose(a, b if use_buffers and a.dtype.kind == "f" else last, rtol=1e-13, atol=1e-13)


def test_a_copy_that_computes_saves_and_loads(tmp_path):
    model = net()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5)).eval()
    x = tg.randn(6, 3, dtype=np.float64)
    np.testing.assert_array_equal(averaged(x).detach().numpy(), model.eval()(x).detach().numpy())
    for _ in range(2):
        shake(model)
        averaged.update_parameters(model)
    checkpoint.save(tmp_path / "state", averaged.state_dict())
    other = AveragedModel(net(), multi_avg_fn=get_ema_multi_avg_fn(0.5))
    other.load_state_dict(checkpoint.load(tmp_path / "state"))
    shake(model)
    for copied in (other, copy.deepcopy(averaged)):
        assert copied.n_averaged.item() == 2
        copied.update_parameters(model)
        assert copied.n_averaged.item() == 3
    averaged.update_parameters(model)
    for a, b in zip(arrays(averaged.parameters()), arrays(other.parameters()), strict=True):
        np.testing.assert_array_equal(a, b)
    assert isinstance(pickle.loads(pickle.dumps(AveragedModel(net()))), AveragedModel)


def test_averages_are_those_of_ema():
    """EMA and AveragedModel are one formula; only their starts differ: EMA's is the value at construction."""
    model = net()
    ema, averaged = optim.EMA(model.parameters(), 0.9), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(model)
    for _ in range(3):
        shake(model)
        ema.update()
        averaged.update_parameters(model)
    for a, b in zip(arrays(ema.averages), arrays(averaged.parameters()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_graph_of_the_average_notices_an_update():
    model = nn.Linear(2, 1)
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    loss = averaged(tg.ones(1, 2, requires_grad=True)).sum()
    averaged.update_parameters(model)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 4])
def test_the_rate_goes_to_a_constant(strategy, epochs):
    def closed(a, n):
        x = min(n / epochs, 1) if epochs else 1
        share = (1 - cos(pi * x)) / 2 if strategy == "cos" else x
        return 0.05 * share + a * (1 - share)

    sgd = optimizer()
    scheduler = SWALR(sgd, 0.05, epochs, strategy)
    for n in range(8):
        assert scheduler.get_last_lr() == pytest.approx([closed(0.5, n), closed(3.0, n)], rel=1e-12)
        assert scheduler.closed_form() == pytest.approx([closed(0.5, n), closed(3.0, n)], rel=1e-12)
        advance(sgd, scheduler)


def test_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    from torch.optim import swa_utils as theirs

    sgd, other = (
        optimizer(),
        torch.optim.SGD([{"params": [torch.ones(2)]}, {"params": [torch.ones(2)], "lr": 3.0}], lr=0.5),
    )
    mine = [ExponentialLR(sgd, 0.9), SWALR(sgd, [0.05, 0.1], 5)]
    those = [torch.optim.lr_scheduler.ExponentialLR(other, 0.9), theirs.SWALR(other, [0.05, 0.1], 5)]
    for _ in range(9):
        assert mine[1].get_last_lr() == pytest.approx(those[1].get_last_lr(), rel=1e-12)
        advance(sgd, *mine)
        other.step()
        for s in those:
            s.step()
    for use_buffers in (False, True):
        model, twin = net(), torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        twin.double()
        a, b = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.6), use_buffers=use_buffers),
            theirs.AveragedModel(twin, multi_avg_fn=theirs.get_ema_multi_avg_fn(0.6), use_buffers=use_buffers),
        )
        for _ in range(3):
            shake(model)
            twin.load_state_dict({k: torch.tensor(v.detach().numpy()) for k, v in model.state_dict().items()})
            a.update_parameters(model)
            b.update_parameters(twin)
        assert set(a.state_dict()) == set(b.state_dict())
        for name, value in b.state_dict().items():
            if "num_batches" not in name:
                np.testing.assert_allclose(a.state_dict()[name].detach().numpy(), value.numpy(), rtol=1e-12, atol=1e-12)


def test_update_bn_gives_the_means_over_the_batches():
    model = net()
    model[2].eval()
    model[1].momentum = 0.3
    batches = [tg.randn(5, 3, dtype=np.float64) for _ in range(4)]
    shake(model)
    update_bn([(x, None) for x in batches], model)
    hidden = [x.numpy() @ model[0].weight.detach().numpy().T + model[0].bias.detach().numpy() for x in batches]
    norm = model[1]
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean([h.mean(0) for h in hidden], 0), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.numpy(), np.mean([h.var(0, ddof=1) for h in hidden], 0), rtol=1e-12)
    assert norm.num_batches_tracked.item() == 4 and norm.momentum == 0.3
    assert [m.training for m in model] == [True, True, False] and model.training
    with pytest.raises(ZeroDivisionError):
        update_bn((1 / 0 for _ in range(1)), model.eval())
    assert not any(m.training for m in model.modules()) and norm.momentum == 0.3
    update_bn(iter([]), nn.Linear(1, 1))  # nothing to do


def test_errors():
    with pytest.raises(ValueError, match="pass avg_fn or multi_avg_fn, not both"):
        AveragedModel(net(), avg_fn=get_swa_avg_fn(), multi_avg_fn=get_swa_multi_avg_fn())
    with pytest.raises(ValueError, match=r"decay must be from 0 to 1, got 1\.5"):
        get_ema_multi_avg_fn(1.5)
    with pytest.raises(ValueError, match="pass a model like the one that was copied"):
        AveragedModel(net()).update_parameters(nn.Linear(3, 4))
    with pytest.raises(ValueError, match="must be 'cos' or 'linear', got 'x'"):
        SWALR(optimizer(), 0.1, anneal_strategy="x")
    with pytest.raises(ValueError, match="whole number from 0, got -1"):
        SWALR(optimizer(), 0.1, anneal_epochs=-1)
