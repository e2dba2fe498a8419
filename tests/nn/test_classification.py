"""cross_entropy and nll_loss against a loop over the samples."""

from __future__ import annotations

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


def values(x: tg.Tensor) -> np.ndarray:
    return backend.to_numpy(x.array)


def one_by_one(x: np.ndarray, y: np.ndarray, weight: Any, ignored: int, smoothing: float, reduction: str) -> Any:
    """-Σ_c w_c q_c log softmax(x)_c, with q the smoothed one-hot vector of the class y, sample by sample."""
    classes = x.shape[0] if x.ndim == 1 else x.shape[1]
    rows = np.moveaxis(x, 1, -1).reshape(-1, classes) if x.ndim > 1 else x.reshape(1, -1)
    w = np.ones(classes) if weight is None else weight
    losses, shares = [], []
    for row, label in zip(rows, y.reshape(-1), strict=True):
        if label == ignored:
            losses.append(0.0)
            continue
        q = np.full(classes, smoothing / classes)
        q[label] += 1 - smoothing
        losses.append(-np.sum(w * q * special.log_softmax(row)))
        shares.append(w[label])
    losses = np.array(losses).reshape(y.shape)
    if reduction == "mean":
        return losses.sum() / np.sum(shares) if shares else np.nan
    return losses.sum() if reduction == "sum" else losses


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Any, dict]:
    """Logits and labels of any of the allowed shapes; weights, ignored labels, smoothing."""
    classes = draw(st.integers(1, 4))
    single = draw(st.booleans())
    where = () if single else (draw(st.integers(1, 3)), *draw(ts.shapes(max_dims=2, min_side=1, max_side=3)))
    shape = (classes,) if single else (where[0], classes, *where[1:])
    x = draw(ts.values(shape))
    y = draw(ts.values(where, np.int64, low=0, high=classes - 1))
    ignore = draw(st.sampled_from([-100, 0]))
    if y.size > 1 and draw(st.booleans()):
        y.reshape(-1)[0] = ignore
    weight = draw(ts.values((classes,), low=0.2, high=2.0)) if draw(st.booleans()) else None
    return x, y, weight, {"ignore_index": ignore, "reduction": draw(st.sampled_from(["none", "sum", "mean"]))}


@given(problem=problems(), smoothing=st.sampled_from([0.0, 0.1, 1.0]))
def test_cross_entropy(device, problem, smoothing):
    x, y, weight, options = problem
    expected = one_by_one(x, y, weight, options["ignore_index"], smoothing, options["reduction"])
    args = [None if a is None else tg.tensor(a, device=device) for a in (x, y, weight)]
    with np.errstate(invalid="ignore"):  # the mean over no samples is nan, as in PyTorch
        out = F.cross_entropy(*args, **options, label_smoothing=smoothing)
        layer = nn.CrossEntropyLoss(args[2], **options, label_smoothing=smoothing)
        np.testing.assert_allclose(values(out), expected, rtol=1e-12, atol=1e-14)
        assert np.array_equal(values(layer(*args[:2])), values(out), equal_nan=True)


@given(problem=problems())
def test_nll_loss_is_cross_entropy_of_log_probabilities(device, problem):
    x, y, weight, options = problem
    log_p = special.log_softmax(x, axis=0 if x.ndim == 1 else 1)
    args = [None if a is None else tg.tensor(a, device=device) for a in (log_p, y, weight)]
    with np.errstate(invalid="ignore"):
        out = F.nll_loss(*args, **options)
        expected = one_by_one(x, y, weight, options["ignore_index"], 0.0, options["reduction"])
        np.testing.assert_allclose(values(out), expected, rtol=1e-12, atol=1e-14)
        assert np.array_equal(values(nn.NLLLoss(args[2], **options)(*args[:2])), values(out), equal_nan=True)


@given(problem=problems(), smoothing=st.sampled_from([0.0, 0.1]), seed=ts.seeds())
def test_gradients(problem, smoothing, seed):
    x, y, weight, options = problem
    if np.all(y == options["ignore_index"]):
        return
    t, labels = tg.tensor(x), tg.tensor(y)
    if weight is None:
        assert_gradients(lambda t: F.cross_entropy(t, labels, label_smoothing=smoothing, **options), t, seed=seed)
        assert_gradients(lambda t: F.nll_loss(t, labels, **options), t, seed=seed)
    else:
        w = tg.tensor(weight)
        assert_gradients(
            lambda t, w: F.cross_entropy(t, labels, w, label_smoothing=smoothing, **options), t, w, seed=seed
        )


@given(problem=problems(), smoothing=st.sampled_from([0.0, 0.1]), seed=ts.seeds())
def test_probabilities_as_target(problem, smoothing, seed):
    x, _, weight, options = problem
    axis = 0 if x.ndim == 1 else 1
    q = special.softmax(np.random.default_rng(seed).normal(size=x.shape), axis=axis)
    w = np.ones(x.shape[axis]) if weight is None else weight
    w_shaped = w.reshape(tuple(-1 if i == axis else 1 for i in range(x.ndim)))
    smoothed = (1 - smoothing) * q + smoothing / x.shape[axis]
    expected = -(w_shaped * smoothed * special.log_softmax(x, axis=axis)).sum(axis)
    reduce = {"none": lambda v: v, "sum": np.sum, "mean": np.mean}[options["reduction"]]
    args = [tg.tensor(x), tg.tensor(q)] + ([] if weight is None else [tg.tensor(weight)])
    kept = {"reduction": options["reduction"], "label_smoothing": smoothing}
    np.testing.assert_allclose(values(F.cross_entropy(*args, **kept)), reduce(expected), rtol=1e-12, atol=1e-14)
    assert_gradients(lambda *a: F.cross_entropy(*a, **kept), *args, seed=seed)


def test_at_a_thousand_in_float32(device):
    x = tg.tensor([[1000.0, -1000.0], [-1000.0, 1000.0], [0.0, 1000.0]], device=device, requires_grad=True)
    out = F.cross_entropy(x, tg.tensor([0, 0, 0], device=device), reduction="none")
    assert out.dtype == tg.float32 and out.tolist() == [0.0, 2000.0, 1000.0]
    assert tg.grad(out.sum(), x)[0].tolist() == [[0.0, 0.0], [-1.0, 1.0], [-1.0, 1.0]]


def test_the_mean_over_ignored_samples_only_is_nan():
    with np.errstate(invalid="ignore"):
        assert np.isnan(F.cross_entropy(tg.zeros(2, 3), tg.tensor([-100, -100])).item())
    assert F.cross_entropy(tg.zeros(2, 3), tg.tensor([-100, -100]), reduction="sum").item() == 0


def test_labels_of_any_integer_type():
    x = tg.randn(3, 4)
    expected = F.cross_entropy(x, tg.tensor([0, 3, 1])).item()
    for dtype in (tg.int32, tg.uint8, tg.int8):
        assert F.cross_entropy(x, tg.tensor([0, 3, 1], dtype=dtype)).item() == expected


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_sample_that_is_ignored_gets_no_gradient(smoothing):
    x = tg.randn(3, 4, requires_grad=True)
    (g,) = tg.grad(F.cross_entropy(x, tg.tensor([1, -100, 2]), label_smoothing=smoothing), x)
    assert not g[1].any() and g[0].any() and g[2].any()
