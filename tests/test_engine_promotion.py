"""Which dtype comes out: float64 only where a float64 tensor goes in, and never by accident."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg

f16, f32, f64, i64, u8, boolean = tg.float16, tg.float32, tg.float64, tg.int64, tg.uint8, tg.bool


def of(dtype, device="cpu") -> tg.Tensor:
    return tg.tensor([1, 0, 2], dtype=dtype, device=device)


WEAK = [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2)]
BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("scalar", WEAK, ids=lambda s: f"{type(s).__name__}")
def test_numbers_follow_tensors(name, scalar, device):
    op = getattr(tg, name)
    for dtype in (f32, f64):
        with np.errstate(divide="ignore"):
            assert op(of(dtype, device), scalar).dtype == dtype
            assert op(scalar, of(dtype, device)).dtype == dtype


@pytest.mark.parametrize("name", BINARY)
def test_two_tensors(name, device):
    op = getattr(tg, name)
    for left, right, expected in [
        (f32, f32, f32),
        (f32, f64, f64),
        (f32, i64, f32),
        (f32, boolean, f32),
        (f16, f32, f32),
        (f16, i64, f16),
        (f64, i64, f64),
    ]:
        with np.errstate(divide="ignore", invalid="ignore"):
            assert op(of(left, device), of(right, device)).dtype == expected
            assert op(of(right, device), of(left, device)).dtype == expected


def test_functions_of_truth_values(device):
    x = of(boolean, device)
    assert x.exp().dtype == x.sqrt().dtype == x.mean().dtype == f32
    assert x.exp().equal(x.to(f32).exp()), "not in half precision"


def test_integers(device):
    x = of(i64, device)
    assert (x + x).dtype == (x * 2).dtype == (x - 1).dtype == (x // 2).dtype == (x % 2).dtype == i64
    assert (x / 3).dtype == (x / 2).dtype == (x + 2.5).dtype == (x * 0.5).dtype == f32
    assert (of(u8, device) + of(u8, device)).dtype == u8
    assert (of(boolean, device) + of(i64, device)).dtype == i64
    assert (of(boolean, device) * 2.5).dtype == f32


@pytest.mark.parametrize(
    "name", ["exp", "log", "sqrt", "sin", "tanh", "sigmoid", "reciprocal", "rsqrt", "erf", "log1p", "softplus"]
)
def test_functions_of_integers_are_float32(name, device):
    with np.errstate(all="ignore"):
        for dtype in (i64, u8, tg.int8):
            x = of(dtype, device)
            y = getattr(tg, name)(x)
            assert y.dtype == f32
            assert y.allclose(getattr(tg, name)(x.to(f32)), rtol=1e-6), "not in half precision"


def test_the_default_dtype_is_what_integers_become():
    tg.set_default_dtype(tg.float64)
    assert tg.arange(3).exp().dtype == (tg.arange(3) / 2).dtype == tg.zeros(3).dtype == tg.tensor([1.5]).dtype == f64
    with pytest.raises(TypeError, match=r"set_default_dtype: a floating-point dtype.*int64"):
        tg.set_default_dtype(tg.int64)


def test_reductions(device):
    for dtype in (f16, f32, f64):
        x = of(dtype, device)
        for name in ("sum", "mean", "prod", "amax", "var", "std", "logsumexp", "norm"):
            assert getattr(x, name)().dtype == dtype, name
        for name in ("cumsum", "softmax", "log_softmax"):
            assert getattr(x, name)(0).dtype == dtype, name
    assert of(i64, device).sum().dtype == of(boolean, device).sum().dtype == of(i64, device).prod().dtype == i64
    assert of(u8, device).sum().dtype == of(u8, device).prod().dtype == of(u8, device).cumsum(0).dtype == i64
    assert of(i64, device).cumsum(0).dtype == i64
    assert of(i64, device).amax().dtype == i64
    assert of(f32, device).argmax().dtype == of(f32, device).argsort().dtype == i64
    assert (of(f32, device) > 1).dtype == of(f32, device).any().dtype == of(f32, device).isnan().dtype == boolean
    assert of(f32, device).sum(dtype=f64).dtype == f64


def test_where_and_masked_fill(device):
    c, x = of(boolean, device), of(f32, device)
    assert tg.where(c, x, 0.5).dtype == tg.where(c, 0.5, x).dtype == tg.where(c, x, 2).dtype == f32
    assert tg.where(c, 0.5, 1.5).dtype == f32 and tg.where(c, 1, 2).dtype == i64
    assert tg.where(c, x, of(f64, device)).dtype == f64
    assert x.masked_fill(c, 0.5).dtype == x.clamp(0.5, 1).dtype == x.lerp(x, 0.3).dtype == f32
    assert x.clamp(min=of(f32, device)).dtype == f32


def test_a_float32_computation_stays_float32_through_second_derivatives(device):
    """Every operator of a small network, with Python and NumPy numbers mixed in."""
    x = tg.randn(4, 3, device=device, requires_grad=True)
    w = tg.randn(3, 2, device=device, requires_grad=True)
    h = ((x @ w) * 0.5 + np.float64(1.0)).tanh() / 3
    y = (h.softmax(1) * h.exp()).sum() * np.float64(0.1) - h.std() ** 2 + h.norm() ** 0.5 + h.logsumexp(0).mean()
    gx, gw = tg.grad(y, (x, w), create_graph=True)
    (second,) = tg.grad((gx**2).sum() + gw.abs().sum(), x)
    assert {t.dtype for t in (h, y, gx, gw, second)} == {f32}


def test_objects_are_refused():
    with pytest.raises(TypeError, match=r"(?s)add: .*str"):
        tg.ones(2) + "a"
    with pytest.raises(TypeError):
        tg.ones(2) + None


def test_numpy_arrays_mix_in_and_stay_what_they_are():
    """An array takes part as a constant tensor of its own dtype."""
    x = tg.ones(3, requires_grad=True)
    y = np.arange(3, dtype=np.float32) * x + np.ones(3, np.float32)
    assert isinstance(y, tg.Tensor) and y.requires_grad and y.dtype == f32
    assert isinstance(x * np.ones(3), tg.Tensor) and (x * np.ones(3)).dtype == f64
    x.sum().backward()
    assert x.grad.dtype == f32
