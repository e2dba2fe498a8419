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
    "poisson":     Loss(F.poisson_nll_loss, nn.PoissonNLLLoss,  lambda x, y: np.exp(x) - y * x,                                  (REAL, {"low": 0.0, "high": 3.0})),
    "poisson full": Loss(F.poisson_nll_loss, nn.PoissonNLLLoss, lambda l, y: l - y * np.log(l + 0.1) + np.where(y > 1, y * np.log(np.maximum(y, 1)) - y + 0.5 * np.log(2 * np.pi * np.maximum(y, 1)), 0),
                                                                ({"low": 0.3, "high": 2.0}, {"low": 0.2, "high": 3.0, "avoid": (1.0,), "gap": 0.1}), {"log_input": False, "full": True, "eps": 0.1}),
    "soft margin": Loss(F.soft_margin_loss, nn.SoftMarginLoss,  lambda x, y: np.logaddexp(0, -y * x),                            (NONZERO, NONZERO)),
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


def test_gaussian_nll_stretches_sizes_of_one():
    """A target or a variance with sizes of 1 is that number everywhere: as if it had been expanded."""
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(2, 3, 4)))
    for shape in [(2, 3, 1), (2, 1, 4), (1, 3, 4), (1, 1, 1), (2, 1, 1)]:
        y, v = tg.tensor(rng.normal(size=shape)), tg.tensor(rng.uniform(0.5, 2, size=shape))
        for a, b in ((x, v), (y, v)):  # the variance alone, and the target too
            out = F.gaussian_nll_loss(x, a, b, full=True, reduction="none")
            expected = -_log_gaussian(values(x), values(a), values(b)) + np.zeros(x.shape)
            np.testing.assert_allclose(values(out), expected, rtol=1e-12)
    with pytest.raises(tg.ShapeError, match="same shape"):
        F.gaussian_nll_loss(x, x[0], x)


def test_poisson_is_the_poisson_probability():
    """With Stirling's formula, whose error is below 1/(12 y), for counts above 1."""
    y = np.array([2.0, 5.0, 40.0])
    for x, log_input in ((np.log([3.0, 4.0, 50.0]), True), (np.array([3.0, 4.0, 50.0]), False)):
        out = F.poisson_nll_loss(tg.tensor(x), tg.tensor(y), log_input, full=True, reduction="none")
        error = values(out) + stats.poisson.logpmf(y, [3.0, 4.0, 50.0])
        assert np.all(np.abs(error) <= 1 / (12 * y))


# Distances and margins


@given(shape=ts.shapes(min_dims=1, min_side=1), seed=ts.seeds(), data=st.data())
def test_cosine_similarity_is_the_cosine_of_the_angle(shape, seed, data):
    """Its scale does not matter; vectors with themselves have 1, with their negatives -1, with zeros 0."""
    rng, dim = np.random.default_rng(seed), data.draw(ts.axes(len(shape)))
    x, y = tg.tensor(rng.normal(size=shape)), tg.tensor(rng.normal(size=shape))
    cosine = F.cosine_similarity(x, y, dim)
    expected = (values(x) * values(y)).sum(dim) / np.sqrt((values(x) ** 2).sum(dim) * (values(y) ** 2).sum(dim))
    np.testing.assert_allclose(values(cosine), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(values(F.cosine_similarity(3 * x, 0.5 * y, dim)), values(cosine), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(values(F.cosine_similarity(x, -x, dim)), -1, rtol=1e-12)
    assert not F.cosine_similarity(x, 0 * y, dim).any()
    assert tg.equal(nn.CosineSimilarity(dim)(x, y), cosine)


def test_cosine_similarity_of_zeros_has_finite_derivatives():
    x, y = tg.zeros(2, 3, dtype=tg.float64, requires_grad=True), tg.ones(2, 3, dtype=tg.float64, requires_grad=True)
    first = tg.grad(F.cosine_similarity(x, y).sum(), (x, y), create_graph=True)
    second = tg.grad(sum((g * g).sum() for g in first), (x, y), allow_unused=True)
    assert all(bool(g.isfinite().all()) for g in (*first, *second) if g is not None)


def test_half_precision_adds_up_in_single():
    """Squares of 300 are beyond float16's 65,504, and so are sums of a few thousand numbers; what is asked for is not."""
    x, y = tg.full((1, 4096, 1), 300.0, dtype=tg.float16), tg.full((1, 4096, 1), -300.0, dtype=tg.float16)
    results = {
        "cosine_similarity": (F.cosine_similarity(x, y), -1.0),
        "pairwise_distance": (F.pairwise_distance(x[..., 0], y[..., 0]), 600 * 64.0),
        "cosine_embedding_loss": (F.cosine_embedding_loss(x[..., 0], y[..., 0], tg.ones(1).long()), 2.0),
        "rms_norm": (F.rms_norm(x[..., 0], 4096), 1.0),
        "local_response_norm": (F.local_response_norm(x, 1, 1.0, 0.5, 0.0), 1.0),
        "gaussian_nll_loss": (F.gaussian_nll_loss(x, x, x.abs()), np.log(300) / 2),
    }
    for name, (out, expected) in results.items():
        assert out.dtype == np.float16, name
        np.testing.assert_allclose(values(out), expected, rtol=2e-3, err_msg=name)  # float16 has 1e-3


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
def test_pairwise_distance_is_a_norm(p):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 3)), rng.normal(size=(5, 3))
    out = F.pairwise_distance(tg.tensor(x), tg.tensor(y), p)
    np.testing.assert_allclose(values(out), np.linalg.norm(x - y + 1e-6, p, axis=-1), rtol=1e-13)
    assert nn.PairwiseDistance(p, keepdim=True)(tg.tensor(x), tg.tensor(y)).shape == (2, 5, 1)


def test_triplets_are_hinges_of_distances():
    rng = np.random.default_rng(0)
    a, p, n = (tg.tensor(rng.normal(size=(6, 3))) for _ in range(3))
    d = F.pairwise_distance
    plain = np.maximum(0, values(d(a, p) - d(a, n)) + 0.5)
    swapped = np.maximum(0, values(d(a, p)) - np.minimum(values(d(a, n)), values(d(p, n))) + 0.5)
    assert (plain > 0).any() and (plain == 0).any() and (plain != swapped).any()  # the example shows all cases
    for swap, expected in ((False, plain), (True, swapped)):
        for reduction, reduced in (("none", expected), ("sum", expected.sum()), ("mean", expected.mean())):
            options = {"margin": 0.5, "swap": swap, "reduction": reduction}
            outs = [
                F.triplet_margin_loss(a, p, n, **options),
                F.triplet_margin_with_distance_loss(a, p, n, **options),
                nn.TripletMarginLoss(**options)(a, p, n),
                nn.TripletMarginWithDistanceLoss(**options)(a, p, n),
            ]
            for out in outs:
                np.testing.assert_allclose(values(out), reduced, rtol=1e-13)
    squared = nn.TripletMarginWithDistanceLoss(distance_function=lambda x, y: (x - y).square().sum(-1))
    expected = np.maximum(0, ((a - p) ** 2 - (a - n) ** 2).sum(-1).numpy() + 1).mean()
    np.testing.assert_allclose(squared(a, p, n).item(), expected, rtol=1e-13)


def test_a_distance_with_parameters_is_trained():
    loss = nn.TripletMarginWithDistanceLoss(distance_function=nn.Bilinear(2, 2, 1))
    loss(*(tg.randn(3, 2) for _ in range(3))).backward()
    assert len(list(loss.parameters())) == 2 and all(p.grad is not None for p in loss.parameters())


@given(x=ts.tensors((5, 3)), seed=ts.seeds(), p=st.sampled_from([1, 2]), margin=st.sampled_from([0.25, 1.0]))
def test_multi_margin_is_a_sum_over_the_other_classes(device, x, seed, p, margin):
    rng = np.random.default_rng(seed)
    y, w = rng.integers(0, 3, 5), rng.uniform(0.5, 2, 3)
    rows = [
        w[k] * sum(max(0.0, margin - row[k] + row[c]) ** p for c in range(3) if c != k) / 3
        for row, k in zip(values(x), y, strict=True)
    ]
    out = F.multi_margin_loss(on(device, x), on(device, y), p, margin, on(device, w), reduction="none")
    np.testing.assert_allclose(values(out), rows, rtol=1e-12, atol=1e-14)
    single = F.multi_margin_loss(on(device, values(x)[0]), on(device, y[0]), p, margin, on(device, w))
    np.testing.assert_allclose(single.item(), rows[0], rtol=1e-12, atol=1e-14)


def test_labels_of_zero_and_one_are_not_taken_for_signs():
    for call in (
        lambda y: F.hinge_embedding_loss(tg.ones(2), y),
        lambda y: F.cosine_embedding_loss(tg.ones(2, 3), tg.ones(2, 3), y),
    ):
        with pytest.raises(ValueError, match=r"must consist of 1 and -1, got 0.*2 \* y - 1"):
            call(tg.tensor([0, 1]))


def test_smooth_l1_with_beta_zero_is_l1():
    x, y = tg.randn(5), tg.randn(5)
    assert tg.equal(F.smooth_l1_loss(x, y, beta=0.0), F.l1_loss(x, y))
