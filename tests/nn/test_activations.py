"""Activations, softmax, normalize, embedding, bilinear: values against NumPy and SciPy, derivatives against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import tinygen as tg
from tinygen import backend, nn
from tinygen.nn import functional as F
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts

SQRT_2_OVER_PI = np.sqrt(2 / np.pi)

# fmt: off
# name -> (function, oracle in float64)
ELEMENTWISE: dict[str, tuple[Callable, Callable]] = {
    "relu":          (F.relu,                              lambda x: np.where(x > 0, x, 0)),
    "leaky_relu":    (F.leaky_relu,                        lambda x: np.where(x > 0, x, 0.01 * x)),
    "leaky_relu .2": (lambda x: F.leaky_relu(x, 0.2),      lambda x: np.where(x > 0, x, 0.2 * x)),
    "elu":           (F.elu,                               lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "elu 0.5":       (lambda x: F.elu(x, 0.5),             lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0)))),
    "silu":          (F.silu,                              lambda x: x * special.expit(x)),
    "gelu":          (F.gelu,                              lambda x: x * special.ndtr(x)),
    "gelu tanh":     (lambda x: F.gelu(x, "tanh"),         lambda x: 0.5 * x * (1 + np.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x**3)))),
    "tanh":          (F.tanh,                              np.tanh),
    "sigmoid":       (F.sigmoid,                           special.expit),
    "softplus":      (F.softplus,                          lambda x: np.logaddexp(0, x)),
    "softplus 3":    (lambda x: F.softplus(x, beta=3),     lambda x: np.logaddexp(0, 3 * x) / 3),
    "logsigmoid":    (F.logsigmoid,                        special.log_expit),
    "softplus low":  (lambda x: F.softplus(x, 2, 1),       lambda x: np.where(2 * x > 1, x, np.logaddexp(0, 2 * x) / 2)),
    "prelu":         (lambda x: F.prelu(x, tg.tensor(0.3, device=x.device, dtype=x.dtype)), lambda x: np.where(x > 0, x, np.float32(0.3) * x if x.dtype == np.float32 else 0.3 * x)),
    "relu6":         (F.relu6,                             lambda x: np.clip(x, 0, 6)),
    "hardtanh":      (lambda x: F.hardtanh(x, -0.1, 0.1),  lambda x: np.clip(x, -0.1, 0.1)),
    "hardsigmoid":   (F.hardsigmoid,                       lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "hardswish":     (F.hardswish,                         lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "threshold":     (lambda x: F.threshold(x, 0, -3),     lambda x: np.where(x > 0, x, -3)),
    "hardshrink":    (lambda x: F.hardshrink(x, 0.1),      lambda x: np.where(np.abs(x) > 0.1, x, 0)),
    "softshrink":    (lambda x: F.softshrink(x, 0.1),      lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.1, 0)),
    "selu":          (F.selu,                              lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))),
    "celu":          (lambda x: F.celu(x, 0.5),            lambda x: np.maximum(x, 0) + 0.5 * np.expm1(np.minimum(x, 0) / 0.5)),
    "mish":          (F.mish,                              lambda x: x * np.tanh(np.logaddexp(0, x))),
    "softsign":      (F.softsign,                          lambda x: x / (1 + np.abs(x))),
    "tanhshrink":    (F.tanhshrink,                        lambda x: x - np.tanh(x)),
}
ALONG_A_DIMENSION: dict[str, tuple[Callable, Callable]] = {
    "softmax":     (F.softmax,      lambda x, dim: special.softmax(x, axis=dim)),
    "log_softmax": (F.log_softmax,  lambda x, dim: special.log_softmax(x, axis=dim)),
    "softmin":     (F.softmin,      lambda x, dim: special.softmax(-x, axis=dim)),
    "normalize":   (lambda x, dim: F.normalize(x, dim=dim),  lambda x, dim: x / np.linalg.norm(x, axis=dim, keepdims=True)),
}
# fmt: on

elementwise = pytest.mark.parametrize("name", ELEMENTWISE)
along = pytest.mark.parametrize("name", ALONG_A_DIMENSION)
away_from_the_kink = ts.tensors(avoid=(0.0,), gap=0.2)


def on(device: str, x: Any, dtype: Any = None, requires_grad: bool = False) -> tg.Tensor:
    """A tensor with a NumPy array's (or a tensor's) values on a device."""
    return tg.tensor(np.asarray(x), dtype=dtype, device=device, requires_grad=requires_grad)


def values(x: tg.Tensor) -> np.ndarray:
    return backend.to_numpy(x.array)


@elementwise
@given(x=away_from_the_kink)
def test_elementwise_values(name, device, x):
    f, oracle = ELEMENTWISE[name]
    out = f(on(device, x))
    assert out.dtype == np.float64 and out.device.type == device
    # a handful of operations, each right to an ulp
    np.testing.assert_allclose(values(out), oracle(values(x)), rtol=1e-13, atol=1e-14)


@elementwise
@given(x=away_from_the_kink, seed=ts.seeds())
def test_elementwise_gradients(name, x, seed):
    assert_gradients(ELEMENTWISE[name][0], x, seed=seed)


@elementwise
def test_elementwise_in_float32_over_the_whole_range(name, device):
    """Right, finite and without overflow up to ±1000; the gradient too."""
    f, oracle = ELEMENTWISE[name]
    x = np.concatenate([np.linspace(-1000, 1000, 81), np.linspace(-12, 12, 97)]).astype(np.float32)
    t = on(device, x, requires_grad=True)
    with np.errstate(all="raise", under="ignore"):  # no step on the way overflows, divides by 0 or is invalid
        out = f(t)
        (g,) = tg.grad(out.sum(), t)
    assert out.dtype == g.dtype == np.float32
    # float32 has 6e-8; gelu is x Φ(x) with Φ to 1e-7 absolutely, which is what PyTorch's float32 gives too
    absolute = 1e-7 * (np.abs(x) if "gelu" in name else 1)
    assert np.all(np.abs(values(out) - oracle(x.astype(np.float64))) <= 1e-6 * np.abs(values(out)) + absolute)
    assert np.isfinite(values(g)).all()


KINKS = [
    (F.relu, 0.0, 0.0),
    (F.leaky_relu, 0.0, 0.01),
    (lambda x: F.prelu(x, tg.tensor([0.25, 0.25, 0.25])), 0.0, 0.25),
    (lambda x: F.elu(x, 0.5), 0.0, 0.5),
    (lambda x: F.celu(x, 0.5), 0.0, 1.0),
    (F.relu6, 0.0, 0.0),
    (F.relu6, 6.0, 0.0),
    (F.hardtanh, -1.0, 0.0),
    (F.hardtanh, 1.0, 0.0),
    (F.hardsigmoid, 3.0, 0.0),
    (F.hardswish, -3.0, 0.0),
    (F.hardswish, 3.0, 1.0),
    (lambda x: F.threshold(x, 1.0, 5.0), 1.0, 0.0),
    (F.hardshrink, 0.5, 0.0),
    (F.softshrink, -0.5, 0.0),
    (F.softsign, 0.0, 1.0),
]


@pytest.mark.parametrize(("f", "at", "slope"), KINKS)
def test_slope_at_the_kink(f, at, slope):
    """PyTorch's: that of the side where less is going on (tests/nn/test_torch.py compares them)."""
    x = tg.full((1, 3), at, dtype=tg.float64, requires_grad=True)
    assert tg.grad(f(x).sum(), x)[0].tolist() == [[slope] * 3]


@pytest.mark.parametrize("name", ["celu", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "relu6", "selu", "silu"])  # fmt: skip
@given(x=ts.tensors(avoid=(0.0,)), recorded=st.booleans(), viewed=st.booleans())
def test_inplace_overwrites_the_input(name, device, x, recorded, viewed):
    """The input becomes the result, is what is returned, and passes on the same gradient."""
    f = getattr(F, name)
    leaf = on(device, x, requires_grad=recorded)
    expected = f(leaf * 2)
    y = leaf * 2
    view = y.reshape(-1) if viewed else None
    if recorded and viewed:
        with pytest.raises(RuntimeError, match="shares its memory with a view"):
            f(y, inplace=True)
        return
    assert f(y, inplace=True) is y and np.array_equal(values(y), values(expected))
    assert view is None or np.array_equal(values(view), values(expected).reshape(-1))
    if recorded:
        assert np.array_equal(values(tg.grad(y.sum(), leaf)[0]), values(tg.grad(expected.sum(), leaf)[0]))


def test_inplace_and_compile_agree():
    """A recorded step either does what the plain one does, or says that it is not replayed."""
    net = nn.Sequential(nn.Linear(2, 3, dtype=tg.float64), nn.ReLU(True), nn.Linear(3, 1, dtype=tg.float64))
    step = tg.compile(lambda x: net(x).sum())
    x = tg.randn(4, 2, dtype=tg.float64)
    with pytest.warns(UserWarning, match="in place"):
        results = [step(x).item() for _ in range(3)]
    assert results == [net(x).sum().item()] * 3


def test_inplace_on_a_leaf_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"relu_: a leaf that requires a gradient"):
        F.relu(tg.ones(2, requires_grad=True), inplace=True)
    with tg.no_grad():
        x = tg.tensor([-1.0, 2.0], requires_grad=True)
        assert F.relu(x, inplace=True) is x and x.tolist() == [0.0, 2.0]


# Gumbel softmax


def test_gumbel_softmax_draws_each_class_with_its_probability(device):
    """The largest of logits + Gumbel noise is class c with probability softmax(logits)[c], whatever tau is."""
    p = np.array([0.5, 0.2, 0.2, 0.1])
    logits = on(device, np.tile(np.log(p), (20000, 1)))
    generator = tg.Generator(device).manual_seed(0)
    for tau in (0.1, 5.0):
        counts = values(F.gumbel_softmax(logits, tau, hard=True, generator=generator)).mean(0)
        np.testing.assert_allclose(counts, p, atol=4 * np.sqrt(0.25 / 20000))  # four standard deviations


@given(x=ts.tensors(ts.shapes(min_dims=1, min_side=1)), seed=ts.seeds(), data=st.data())
def test_hard_gumbel_softmax_is_one_hot_with_the_soft_gradient(x, seed, data):
    dim = data.draw(ts.axes(x.ndim))
    x = on("cpu", x, requires_grad=True)
    w = tg.tensor(np.random.default_rng(seed).normal(size=x.shape))
    soft, hard = (
        F.gumbel_softmax(x, 0.7, h, dim=dim, generator=tg.Generator().manual_seed(seed)) for h in (False, True)
    )
    np.testing.assert_allclose(values(soft.sum(dim)), 1, rtol=1e-14)
    one_hot = np.arange(x.shape[dim]).reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)]) == values(
        soft
    ).argmax(dim, keepdims=True)
    np.testing.assert_allclose(values(hard), one_hot, atol=1e-15)  # 1 - y + y
    np.testing.assert_array_equal(values(tg.grad((hard * w).sum(), x)[0]), values(tg.grad((soft * w).sum(), x)[0]))


def test_gumbel_softmax_is_decided_by_the_seed(device):
    x = on(device, np.zeros((3, 4), np.float32))
    tg.manual_seed(1)
    first, second = F.gumbel_softmax(x), F.gumbel_softmax(x)
    tg.manual_seed(1)
    assert tg.equal(F.gumbel_softmax(x), first) and not tg.equal(first, second)
    assert first.dtype == np.float32 and first.device.type == device


def test_glu_gates_one_half_with_the_other(device):
    x = on(device, np.random.default_rng(0).normal(size=(3, 4, 2)))
    for dim in (1, -1, 2):
        a, b = np.split(values(x), 2, dim)
        np.testing.assert_allclose(values(F.glu(x, dim)), a * special.expit(b), rtol=1e-14)


@st.composite
def with_dim(draw: st.DrawFn, min_side: int = 1) -> tuple[tg.Tensor, int]:
    shape = draw(ts.shapes(min_dims=1, min_side=min_side))
    return draw(ts.tensors(shape, avoid=(0.0,))), draw(ts.axes(len(shape)))


@along
@given(case=with_dim())
def test_values_along_a_dimension(name, device, case):
    x, dim = case
    f, oracle = ALONG_A_DIMENSION[name]
    np.testing.assert_allclose(values(f(on(device, x), dim=dim)), oracle(values(x), dim), rtol=1e-13, atol=1e-14)


@along
@given(case=with_dim(min_side=2), seed=ts.seeds())
def test_gradients_along_a_dimension(name, case, seed):
    x, dim = case
    assert_gradients(lambda x: ALONG_A_DIMENSION[name][0](x, dim=dim), x, seed=seed)


def test_softmax_sums_to_one_at_the_ends_of_float32(device):
    x = on(device, [[1000.0, -1000.0, 999.0], [-1000.0, -1000.0, -1000.0], [1e38, -1e38, 0.0]], dtype=tg.float32)
    p = F.softmax(x, dim=1)
    np.testing.assert_allclose(values(p.sum(1)), 1, rtol=1e-6)
    np.testing.assert_allclose(values(p[1]), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(
        values(F.log_softmax(x, dim=1))[0],
        [np.log(special.expit(1)), -2000 + np.log(special.expit(1)), np.log(special.expit(-1))],
        rtol=1e-6,
    )


@pytest.mark.parametrize(("shape", "dim"), [((4,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)])
def test_softmax_without_dim_takes_pytorchs(shape, dim):
    """And warns at the caller's line, as it does."""
    x = tg.randn(*shape)
    for f in (F.softmax, F.softmin, F.log_softmax):
        with pytest.warns(UserWarning, match=rf"{f.__name__}: no dim was given, so dim={dim} is taken") as caught:
            assert tg.equal(f(x), f(x, dim=dim))
        assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="write dim") as caught:
        nn.Softmax()(x)
    assert caught[0].filename == __file__


def test_normalize_leaves_zero_alone_and_scales_away():
    x = tg.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    out = F.normalize(x)
    assert out.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert tg.grad(out.sum(), x)[0].isfinite().all()
    np.testing.assert_allclose(F.normalize(5 * x, p=1).tolist(), [[3 / 7, 4 / 7], [0, 0]], rtol=1e-6)


# Linear maps of one and two arguments


@given(sizes=st.tuples(*[st.integers(1, 4)] * 3), leading=ts.shapes(max_dims=2), bias=st.booleans(), seed=ts.seeds())
def test_bilinear_is_a_form_per_output(sizes, leading, bias, seed):
    rng = np.random.default_rng(seed)
    n, m, k = sizes
    x, y, w, b = (
        rng.normal(size=(*leading, n)),
        rng.normal(size=(*leading, m)),
        rng.normal(size=(k, n, m)),
        rng.normal(size=k),
    )
    args = [tg.tensor(a) for a in ((x, y, w, b) if bias else (x, y, w))]
    expected = np.stack([np.sum((x @ w[i]) * y, -1) + bias * b[i] for i in range(k)], -1)
    np.testing.assert_allclose(F.bilinear(*args).numpy(), expected, rtol=1e-12, atol=1e-12)  # sums of at most 16 terms
    assert_gradients(F.bilinear, *args, seed=seed)


@given(indices=ts.shapes(max_dims=2).flatmap(lambda s: ts.values(s, np.int64, low=0, high=4)), seed=ts.seeds())
def test_embedding_is_a_linear_map_of_one_hot_vectors(device, indices, seed):
    w = np.random.default_rng(seed).normal(size=(5, 3))
    out = F.embedding(on(device, indices), on(device, w))
    np.testing.assert_array_equal(values(out), np.eye(5)[indices] @ w)
    assert_gradients(lambda w: F.embedding(tg.tensor(indices), w), tg.tensor(w), seed=seed)


def test_embedding_adds_the_gradients_of_repeated_rows_and_skips_padding(device):
    w = on(device, np.ones((4, 2)), requires_grad=True)
    out = F.embedding(on(device, [1, 1, 3, 1]), w, padding_idx=3)
    (g,) = tg.grad(out.sum(), w)
    assert g.tolist() == [[0, 0], [3, 3], [0, 0], [0, 0]]
    assert out.tolist() == [[1, 1]] * 4


def test_one_hot(device):
    out = F.one_hot(on(device, [[0, 2], [1, 1]]), 4)
    assert out.dtype == tg.int64 and out.tolist() == np.eye(4, dtype=int)[[[0, 2], [1, 1]]].tolist()
