"""Losses: values against SciPy, derivatives against differences, reductions, and the ends of float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import tinygen as tg
from tinygen import backend, nn
from tinygen.nn import functional as F
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts

REAL = {"low": -2.0, "high": 2.0}
NONZERO = {"low": -2.0, "high": 2.0, "avoid": (0.0,), "gap": 0.2}
NEAR_ZERO = {"low": -0.1, "high": 0.1}
PROBABILITY = {"low": 0.25, "high": 0.75}  # differences step a little aside, and must not leave [0, 1]


@dataclass(frozen=True)
class Loss:
    """An elementwise loss: its function, a layer that does the same, SciPy's value, and where its arguments lie."""

    function: Callable[..., Any]
    layer: Callable[..., nn.Module]
    oracle: Callable[..., Any]
    arguments: tuple[dict, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *args: Any, **more: Any) -> Any:
        return self.function(*args, **self.options, **more)


def _log_gaussian(x, y, var):
    return stats.norm.logpdf(y, x, np.sqrt(var))


# fmt: off
LOSSES = {
    "mse":         Loss(F.mse_loss, nn.MSELoss,                 lambda x, y: (x - y) ** 2,                                       (REAL, REAL)),
    "l1":          Loss(F.l1_loss, nn.L1Loss,                   lambda x, y: np.abs(x - y),                                      (NONZERO, NEAR_ZERO)),
    # x stays away from where |x - y| is delta
    "huber":       Loss(F.huber_loss, nn.HuberLoss,             lambda x, y: special.huber(1.0, x - y),                          ({**REAL, "avoid": (-1.0, 1.0), "gap": 0.25}, NEAR_ZERO)),
    "huber 0.5":   Loss(F.huber_loss, nn.HuberLoss,             lambda x, y: special.huber(0.5, x - y),                          ({**REAL, "avoid": (-0.5, 0.5), "gap": 0.25}, NEAR_ZERO), {"delta": 0.5}),
    "smooth l1":   Loss(F.smooth_l1_loss, nn.SmoothL1Loss,      lambda x, y: special.huber(0.5, x - y) / 0.5,                    ({**REAL, "avoid": (-0.5, 0.5), "gap": 0.25}, NEAR_ZERO), {"beta": 0.5}),
    "bce":         Loss(F.binary_cross_entropy, nn.BCELoss,     lambda p, y: -special.xlogy(y, p) - special.xlog1py(1 - y, -p),  (PROBABILITY, PROBABILITY)),
    "bce logits":  Loss(F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss,
                                                                lambda x, y: -y * special.log_expit(x) - (1 - y) * special.log_expit(-x), (NONZERO, PROBABILITY)),
    "gaussian":    Loss(F.gaussian_nll_loss, nn.GaussianNLLLoss, lambda x, y, v: -_log_gaussian(x, y, v) - 0.5 * np.log(2 * np.pi), (REAL, REAL, {"low": 0.2, "high": 2.0})),
    "gaussian full": Loss(F.gaussian_nll_loss, nn.GaussianNLLLoss, lambda x, y, v: -_log_gaussian(x, y, v),                      (REAL, REAL, {"low": 0.2, "high": 2.0}), {"full": True}),
    "kl":          Loss(F.kl_div, nn.KLDivLoss,                 lambda x, t: special.rel_entr(t, np.exp(x)),                     (REAL, PROBABILITY)),
    "kl log":      Loss(F.kl_div, nn.KLDivLoss,                 lambda x, t: special.rel_entr(np.exp(t), np.exp(x)),             (REAL, REAL), {"log_target": True}),
}
# fmt: on
every = pytest.mark.parametrize("name", LOSSES)


@st.composite
def arguments(draw: st.DrawFn, name: str, shape: Any = None) -> list[tg.Tensor]:
    shape = draw(ts.shapes() if shape is None else shape)
    return [draw(ts.tensors(shape, **where)) for where in LOSSES[name].arguments]


def on(device: str, x: Any, **options: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(x), device=device, **options)


def values(x: tg.Tensor) -> np.ndarray:
    return backend.to_numpy(x.array)


@every
@given(data=st.data())
def test_values_and_reductions(name, device, data):
    loss = LOSSES[name]
    xs = data.draw(arguments(name))
    expected = loss.oracle(*(values(x) for x in xs))
    moved = [on(device, x) for x in xs]
    out = loss(*moved, reduction="none")
    assert out.device.type == device and out.shape == xs[0].shape
    # logarithms and squares of numbers of size 1, each right to an ulp or two
    np.testing.assert_allclose(values(out), expected, rtol=1e-12, atol=1e-14)
    total = loss(*moved, reduction="sum")
    assert total.shape == ()
    np.testing.assert_allclose(total.item(), np.sum(expected), rtol=1e-12, atol=1e-13)  # at most 64 terms
    if expected.size:
        np.testing.assert_allclose(loss(*moved).item(), np.mean(expected), rtol=1e-12, atol=1e-13)
    else:
        assert np.isnan(loss(*moved).item())


@every
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@given(data=st.data(), seed=ts.seeds())
def test_gradients(name, reduction, data, seed):
    """In the input, the target and the variance."""
    xs = data.draw(arguments(name, ts.shapes(min_side=1)))
    assert_gradients(lambda *xs: LOSSES[name](*xs, reduction=reduction), *xs, name=name, seed=seed)


@every
@given(data=st.data())
def test_the_layer_does_the_same(name, data):
    loss = LOSSES[name]
    xs = data.draw(arguments(name, ts.shapes(min_side=1)))
    for reduction in ("none", "sum", "mean"):
        layer = loss.layer(**loss.options, reduction=reduction)
        assert tg.equal(layer(*xs), loss(*xs, reduction=reduction))


@every
def test_float32_stays_float32(name, device):
    xs = [on(device, np.full((2, 3), 0.3, np.float32), requires_grad=True) for _ in LOSSES[name].arguments]
    out = LOSSES[name](*xs)
    assert out.dtype == np.float32
    assert all(g.dtype == np.float32 for g in tg.grad(out, xs, allow_unused=True))


@pytest.mark.parametrize("name", ["mse", "l1", "huber", "smooth l1", "bce logits", "gaussian", "kl"])
def test_at_a_thousand_in_float32(name, device):
    """Value and gradients are finite, and the value is the float64 one."""
    grid = np.array([-1000.0, -100.0, -1.0, 0.0, 1.0, 100.0, 1000.0], np.float32)
    x, y = (g.reshape(-1) for g in np.meshgrid(grid, np.array([0.0, 0.25, 1.0], np.float32)))
    xs = [x, y] + ([np.full_like(x, 1e-6)] if name == "gaussian" else [])
    ts_ = [on(device, a, requires_grad=True) for a in xs]
    out = LOSSES[name](*ts_, reduction="none")
    with np.errstate(divide="ignore", over="ignore"):
        expected = (
            LOSSES[name].oracle(*(a.astype(np.float64) for a in xs))
            if name != "kl"
            else special.xlogy(y, y) - y * np.float64(x)
        )
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(values(out), expected, rtol=1e-6, atol=1e-6)
    assert all(bool(g.isfinite().all()) for g in tg.grad(out.sum(), ts_))


def test_bce_of_certain_predictions_is_finite(device):
    """As in PyTorch: the logarithms stop at -100, the gradient at 1e12."""
    p = on(device, np.array([0.0, 0.0, 1.0, 1.0], np.float32), requires_grad=True)
    y = on(device, np.array([0.0, 1.0, 0.0, 1.0], np.float32))
    out = F.binary_cross_entropy(p, y, reduction="none")
    assert out.tolist() == [0.0, 100.0, 100.0, 0.0]
    (g,) = tg.grad(out.sum(), p)
    np.testing.assert_allclose(values(g), [0.0, -1e12, 1e12, 0.0], rtol=1e-6)


@given(data=st.data(), seed=ts.seeds())
def test_weights_multiply(data, seed):
    p, y = data.draw(arguments("bce", ts.shapes(min_side=1)))
    x = tg.log(p) - tg.log(1 - p)
    w = tg.tensor(np.random.default_rng(seed).uniform(0.1, 2, p.shape[-1:]))
    pos = tg.tensor(np.random.default_rng(seed + 1).uniform(0.1, 2, p.shape[-1:]))
    log_p, log_q = np.log(values(p)), np.log1p(-values(p))
    expected = -values(w) * (values(y) * log_p + (1 - values(y)) * log_q)
    np.testing.assert_allclose(values(F.binary_cross_entropy(p, y, w, reduction="none")), expected, rtol=1e-12)
    np.testing.assert_allclose(
        values(F.binary_cross_entropy_with_logits(x, y, w, reduction="none")), expected, rtol=1e-12
    )
    expected = -values(w) * (values(pos) * values(y) * log_p + (1 - values(y)) * log_q)
    out = F.binary_cross_entropy_with_logits(x, y, w, reduction="none", pos_weight=pos)
    np.testing.assert_allclose(values(out), expected, rtol=1e-12)
    assert tg.equal(nn.BCEWithLogitsLoss(w, pos_weight=pos, reduction="none")(x, y), out)
    assert tg.equal(nn.BCELoss(w, reduction="none")(p, y), F.binary_cross_entropy(p, y, w, reduction="none"))
    assert_gradients(
        lambda x, y, w, pos: F.binary_cross_entropy_with_logits(x, y, w, pos_weight=pos), x, y, w, pos, seed=seed
    )


def test_pos_weight_at_a_thousand_in_float32():
    x = tg.tensor([-1000.0, 1000.0, -1000.0, 1000.0], requires_grad=True)
    out = F.binary_cross_entropy_with_logits(
        x, tg.tensor([0.0, 0.0, 1.0, 1.0]), reduction="none", pos_weight=tg.tensor([3.0])
    )
    assert out.tolist() == [0.0, 1000.0, 3000.0, 0.0]
    assert tg.grad(out.sum(), x)[0].tolist() == [0.0, 1.0, -3.0, 0.0]


def test_gaussian_nll_is_the_density_of_one_dimension_per_element():
    """½ log 2π once per dimension: two dimensions, one shared variance, in each of the three shapes it may have."""
    x, y, v = tg.zeros(3, 2), tg.ones(3, 2), tg.tensor([0.5, 1.0, 2.0])
    expected = -stats.norm.logpdf(1, 0, np.sqrt(v.numpy()))[:, None] * np.ones(2)
    for var in (v, v.unsqueeze(1), v.unsqueeze(1).expand(3, 2)):
        np.testing.assert_allclose(
            F.gaussian_nll_loss(x, y, var, full=True, reduction="none").numpy(), expected, rtol=1e-6
        )
    np.testing.assert_allclose(F.gaussian_nll_loss(x, y, 0.5, full=True).item(), expected[0, 0], rtol=1e-6)


def test_gaussian_nll_passes_the_gradient_of_a_variance_below_eps():
    """The value is that of eps; the gradient ½ (1/eps - d²/eps²) still says which way to go.  As in PyTorch."""
    v = tg.tensor([0.0], dtype=tg.float64, requires_grad=True)
    out = F.gaussian_nll_loss(tg.zeros(1, dtype=tg.float64), tg.ones(1, dtype=tg.float64), v, eps=0.1)
    np.testing.assert_allclose(out.item(), 0.5 * (np.log(0.1) + 10), rtol=1e-14)
    np.testing.assert_allclose(tg.grad(out, v)[0].item(), 0.5 * (10 - 100), rtol=1e-14)


def test_kl_div_of_distributions():
    """batchmean is the mean divergence; a class without probability costs nothing; KL(p ‖ p) = 0."""
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    q = np.array([[0.25, 0.5, 0.25], [0.2, 0.3, 0.5]])
    t = tg.tensor(p, requires_grad=True)
    out = F.kl_div(tg.tensor(np.log(q)), t, reduction="batchmean")
    np.testing.assert_allclose(out.item(), (0.5 * np.log(2) + 0) / 2, rtol=1e-14)
    assert bool(tg.grad(out, t)[0].isfinite().all())
    assert nn.KLDivLoss(reduction="batchmean")(tg.tensor(np.log(q)), t).item() == out.item()


def test_smooth_l1_with_beta_zero_is_l1():
    x, y = tg.randn(5), tg.randn(5)
    assert tg.equal(F.smooth_l1_loss(x, y, beta=0.0), F.l1_loss(x, y))
