"""Every layer: it is its function, it differentiates in inputs and parameters, and it prints its arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tinygen import backend, nn
from tinygen.nn import functional as F
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts

F64 = {"dtype": tg.float64}

# fmt: off
# layer, the same as a function of (layer, input), shape of the input, repr
LAYERS: dict[str, tuple[nn.Module, Any, tuple[int, ...], str]] = {
    "Linear":       (nn.Linear(3, 2, **F64),           lambda m, x: x @ m.weight.T + m.bias,      (4, 3),    "Linear(in_features=3, out_features=2, bias=True)"),
    "no bias":      (nn.Linear(3, 2, bias=False, **F64), lambda m, x: x @ m.weight.T,             (2, 4, 3), "Linear(in_features=3, out_features=2, bias=False)"),
    "Identity":     (nn.Identity(54, unused=1),        lambda m, x: x,                            (2, 3),    "Identity()"),
    "Flatten":      (nn.Flatten(),                     lambda m, x: x.reshape(2, 12),             (2, 3, 4), "Flatten(start_dim=1, end_dim=-1)"),
    "Flatten 0-1":  (nn.Flatten(0, 1),                 lambda m, x: x.reshape(6, 4),              (2, 3, 4), "Flatten(start_dim=0, end_dim=1)"),
    "Unflatten":    (nn.Unflatten(1, (2, 3)),          lambda m, x: x.reshape(2, 2, 3),           (2, 6),    "Unflatten(dim=1, unflattened_size=(2, 3))"),
    "Dropout":      (nn.Dropout(0.3).eval(),           lambda m, x: x,                            (2, 3),    "Dropout(p=0.3)"),
    "ReLU":         (nn.ReLU(),                        lambda m, x: F.relu(x),                    (2, 3),    "ReLU()"),
    "LeakyReLU":    (nn.LeakyReLU(0.2),                lambda m, x: F.leaky_relu(x, 0.2),         (2, 3),    "LeakyReLU(negative_slope=0.2)"),
    "ELU":          (nn.ELU(0.5),                      lambda m, x: F.elu(x, 0.5),                (2, 3),    "ELU(alpha=0.5)"),
    "SiLU":         (nn.SiLU(),                        lambda m, x: F.silu(x),                    (2, 3),    "SiLU()"),
    "GELU":         (nn.GELU(),                        lambda m, x: F.gelu(x),                    (2, 3),    "GELU(approximate='none')"),
    "GELU tanh":    (nn.GELU("tanh"),                  lambda m, x: F.gelu(x, "tanh"),            (2, 3),    "GELU(approximate='tanh')"),
    "Tanh":         (nn.Tanh(),                        lambda m, x: x.tanh(),                     (2, 3),    "Tanh()"),
    "Sigmoid":      (nn.Sigmoid(),                     lambda m, x: x.sigmoid(),                  (2, 3),    "Sigmoid()"),
    "LogSigmoid":   (nn.LogSigmoid(),                  lambda m, x: F.logsigmoid(x),              (2, 3),    "LogSigmoid()"),
    "Softplus":     (nn.Softplus(2.0),                 lambda m, x: F.softplus(x, 2.0),           (2, 3),    "Softplus(beta=2.0, threshold=20.0)"),
    "Softmax":      (nn.Softmax(dim=0),                lambda m, x: x.softmax(0),                 (2, 3),    "Softmax(dim=0)"),
    "LogSoftmax":   (nn.LogSoftmax(1),                 lambda m, x: x.log_softmax(1),             (2, 3),    "LogSoftmax(dim=1)"),
    "BatchNorm1d":  (nn.BatchNorm1d(3, **F64),         lambda m, x: F.batch_norm(x, None, None, m.weight, m.bias, True),  (4, 3),
                     "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"),
    "BatchNorm1d eval": (nn.BatchNorm1d(3, **F64).eval(), lambda m, x: F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias),  (2, 3, 2),
                     "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"),
    "BatchNorm2d":  (nn.BatchNorm2d(3, **F64),         lambda m, x: F.batch_norm(x, None, None, m.weight, m.bias, True),  (4, 3, 1, 2),
                     "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"),
    "InstanceNorm1d": (nn.InstanceNorm1d(2, affine=True, **F64), lambda m, x: F.instance_norm(x, None, None, m.weight, m.bias),  (2, 2, 3),
                     "InstanceNorm1d(2, eps=1e-05, momentum=0.1, affine=True, track_running_stats=False)"),
    "InstanceNorm2d": (nn.InstanceNorm2d(2),           lambda m, x: F.instance_norm(x[None])[0],  (2, 3, 2),
                     "InstanceNorm2d(2, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False)"),
    "GroupNorm":    (nn.GroupNorm(2, 4, **F64),        lambda m, x: F.group_norm(x, 2, m.weight, m.bias),  (2, 4, 2),
                     "GroupNorm(2, 4, eps=1e-05, affine=True)"),
    "LayerNorm":    (nn.LayerNorm((2, 3), **F64),      lambda m, x: F.layer_norm(x, (2, 3), m.weight, m.bias),  (4, 2, 3),
                     "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True)"),
}
# fmt: on
every = pytest.mark.parametrize("name", LAYERS)


def inputs(name: str) -> Any:
    """Away from 0, where some of the layers have a kink."""
    return ts.tensors(LAYERS[name][2], avoid=(0.0,), gap=0.2, distinct=True)


@every
@given(data=st.data(), seed=ts.seeds())
def test_it_is_its_function_and_differentiates(name, data, seed):
    layer, function, _, _ = LAYERS[name]
    x = data.draw(inputs(name))
    out, expected = layer(x), function(layer, x)
    assert out.shape == expected.shape
    np.testing.assert_allclose(
        out.detach().numpy(), expected.detach().numpy(), rtol=1e-14, atol=1e-14
    )  # the same formulas
    assert_gradients(layer, x, seed=seed)


@every
def test_repr(name):
    assert repr(LAYERS[name][0]) == LAYERS[name][3]


def test_bilinear():
    layer = nn.Bilinear(2, 3, 4, dtype=tg.float64)
    x, y = tg.randn(5, 2, dtype=tg.float64), tg.randn(5, 3, dtype=tg.float64)
    assert tg.equal(layer(x, y), F.bilinear(x, y, layer.weight, layer.bias))
    assert list(layer.state_dict()) == ["weight", "bias"] and layer.weight.shape == (4, 2, 3)
    assert repr(layer) == "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=True)"
    assert nn.Bilinear(2, 3, 4, bias=False).bias is None
    assert_gradients(layer, x, y)


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4 and not layer.weight[4].any() and layer.weight[:4].all()
    i = tg.tensor([[0, 4], [2, 2]])
    assert tg.equal(layer(i), F.embedding(i, layer.weight)) and layer(i).shape == (2, 2, 3)
    layer(i).sum().backward()
    assert layer.weight.grad.tolist() == [[1] * 3, [0] * 3, [2] * 3, [0] * 3, [0] * 3]
    assert repr(layer) == "Embedding(5, 3, padding_idx=4)" and repr(nn.Embedding(5, 3)) == "Embedding(5, 3)"
    assert_gradients(lambda w: F.embedding(i, w), nn.Embedding(5, 3, dtype=tg.float64).weight)


def test_embedding_from_given_rows():
    rows = tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    frozen, trained = (
        nn.Embedding.from_pretrained(rows),
        nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=-1),
    )
    assert frozen.weight.array is rows.array and not frozen.weight.requires_grad and trained.weight.requires_grad
    assert (frozen.num_embeddings, frozen.embedding_dim) == (3, 2) and trained.padding_idx == 2
    assert trained(tg.tensor([2, 0])).tolist() == [[5, 6], [1, 2]]  # padding_idx leaves given values alone


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_embedding_shortens_the_rows_it_uses(device, norm_type):
    layer = nn.Embedding(4, 3, max_norm=1.0, norm_type=norm_type, device=device, dtype=tg.float64)
    start = 5 * np.random.default_rng(0).normal(size=(4, 3))
    start[2] *= 0.01
    layer.load_state_dict({"weight": start})
    out = layer(tg.tensor([[1, 2], [1, 1]], device=device))
    lengths = np.linalg.norm(start, norm_type, axis=1, keepdims=True)
    expected = np.where((np.arange(4)[:, None] == 1) & (lengths > 1), start / (lengths + 1e-7), start)
    np.testing.assert_allclose(
        layer.weight.detach().cpu().numpy(), expected, rtol=1e-14
    )  # of the others none is touched
    np.testing.assert_allclose(out.detach().cpu().numpy(), expected[[[1, 2], [1, 1]]], rtol=1e-14)
    out.sum().backward()
    assert layer.weight.grad.sum(1).tolist() == [0, 9, 3, 0]


STARTS = [
    (lambda: nn.Linear(100, 300), 1 / math.sqrt(100)),
    (lambda: nn.Linear(400, 200), 1 / math.sqrt(400)),
    (lambda: nn.Bilinear(25, 30, 40), 1 / math.sqrt(25)),
]


@pytest.mark.parametrize(("make", "bound"), STARTS)
def test_where_linear_layers_start(make, bound):
    """Uniform within ±1/√fan_in, weights and biases: Kolmogorov and Smirnov do not object at one in a thousand."""
    layer = make()
    for p in (layer.weight, layer.bias):
        assert stats.kstest(p.detach().numpy().ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


def test_where_embeddings_start():
    w = nn.Embedding(200, 50).weight.detach().numpy()
    assert stats.kstest(w.ravel(), stats.norm.cdf).pvalue > 1e-3


def test_the_seed_decides_where_layers_start(device):
    def weights() -> list:
        tg.manual_seed(5)
        layers = nn.Linear(2, 3, device=device), nn.Embedding(2, 2, device=device), nn.Bilinear(2, 2, 1, device=device)
        return [backend.to_numpy(p.array).tolist() for m in layers for p in m.parameters()]

    assert weights() == weights()


MAKERS = [
    (nn.Linear, 2, 3),
    (nn.BatchNorm1d, 3),
    (nn.LayerNorm, 3),
    (nn.GroupNorm, 2, 4),
    (nn.Embedding, 2, 3),
    (nn.Bilinear, 2, 2, 3),
]


@pytest.mark.parametrize(("make", "sizes"), [(m, s) for m, *s in MAKERS])
def test_layers_are_made_where_and_as_asked(make, sizes, device):
    layer = make(*sizes, device=device, dtype=tg.float64)
    for p in [*layer.parameters(), *layer.buffers()]:
        assert p.device.type == device and (p.dtype == tg.float64 or p.dtype == tg.int64)
    assert all(p.dtype == tg.float32 and p.device.type == "cpu" for p in make(*sizes).parameters())


def test_a_network_on_a_device(device):
    """Forward, loss, backward, with everything there is, in float32 on one device."""
    net = nn.Sequential(
        nn.Unflatten(1, (2, 3)),
        nn.LayerNorm(3),
        nn.Flatten(),
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(8, 8),
        nn.ELU(),
        nn.SiLU(),
        nn.GELU(),
        nn.Tanh(),
        nn.Linear(8, 4),
    ).to(device)
    x, y = tg.randn(5, 6, device=device), tg.tensor([0, 1, 2, 3, 0], device=device)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)(net(x), y)
    loss.backward()
    assert loss.dtype == tg.float32 and loss.device.type == device
    for p in net.parameters():
        assert p.grad.device.type == device and p.grad.dtype == tg.float32 and bool(p.grad.isfinite().all())
