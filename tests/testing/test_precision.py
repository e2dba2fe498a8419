"""float32 against float64: what rounding explains passes, what loses more digits is named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.engine import Op
from tinygen.testing import GradientError, assert_gradients, check_module, check_op, strategies
from tinygen.testing.precision import assert_precision

FUNCTIONS = [tg.tanh, tg.exp, tg.sin, tg.square, tg.sigmoid, tg.atan]


def numbers(seed, low=-2.0, high=2.0, shape=(4, 3)):
    return tg.tensor(np.random.default_rng(seed).uniform(low, high, shape))


def differences(f, h, points):
    """f as an operator whose rule takes differences of f."""
    weights = {2: {1: 1 / 2}, 4: {1: 2 / 3, 2: -1 / 12}}[points]

    def rule(g, out, x):
        return g * sum(w * (f(x + k * h) - f(x - k * h)) for k, w in weights.items()) / h

    return Op(lambda xp, x: f(tg.Tensor(x)).array, rule, name="by_differences")


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.name)
@pytest.mark.parametrize("points, h", [(2, 1e-4), (2, 1e-5), (4, 2e-3), (4, 1e-3)])
def test_differences_inside_a_rule_are_found(f, points, h):
    """In float64 they pass: the five-point formula is off by h⁴ f⁽⁵⁾ / 30, which is 1e-12 here."""
    cheat = differences(f, h, points)
    if points == 4:
        assert_gradients(cheat, numbers(0))
    with pytest.raises(GradientError) as caught:
        for seed in range(10):  # each has a chance of a half at the least to show it
            assert_precision(cheat, numbers(seed, shape=(10, 10)), seed=seed)
    (finding,) = caught.value.report.findings
    assert finding.kind == "imprecise" and finding.suspect == "the rule of 'by_differences' for its argument 1"
    assert "sum(w * (f(x + k * h)" in finding.rule and "differences" in finding.mistake


@given(f=st.sampled_from(FUNCTIONS), seed=st.integers(0, 1000), scale=st.integers(-3, 3))
def test_what_rounding_explains_passes(f, seed, scale):
    """Also where the function is steep, and where its gradient cancels: no rule could do better with such arguments."""
    x = numbers(seed)
    assert_precision(lambda x: f(10.0**scale * x) if f is not tg.exp else f(x), x, seed=seed)
    assert_precision(lambda x: f(x) - f(x), x, seed=seed)  # its gradient is 0
    assert_precision(lambda x: tg.softmax(f(x), 1).sum(), x, seed=seed)  # here too, and not exactly
    assert_precision(lambda x: f(x) / (x * x), x, seed=seed)


@pytest.mark.parametrize(
    "unstable, stable",
    [
        (lambda x: tg.log(1 + tg.exp(100 * x)), lambda x: tg.softplus(100 * x)),  # overflows above 0.88
        (lambda x: (1 - tg.cos(x / 100)) * 1e4, lambda x: 2e4 * tg.sin(x / 200) ** 2),
        (lambda x: ((x + 1e3) ** 2).mean() - (x + 1e3).mean() ** 2, lambda x: (x + 1e3).var(correction=0)),
        (lambda x: tg.log(tg.exp(60 * x).sum(1)), lambda x: tg.logsumexp(60 * x, 1)),
        (lambda x: x / (1e9 + x) * 1e9 + 1e9 - 1e9, lambda x: x / (1 + x * 1e-9)),
    ],
)
def test_unstable_formulas_are_found_and_stable_ones_pass(unstable, stable):
    x = numbers(0)
    np.testing.assert_allclose(
        unstable(x).numpy(), stable(x).numpy(), rtol=1e-6, atol=1e-6
    )  # in float64 they are equal
    assert_precision(stable, x)
    with pytest.raises(GradientError, match="imprecise in float32"):
        assert_precision(unstable, x)


def test_a_value_and_its_operator_are_named():
    naive = Op(lambda xp, x: xp.log(1 + xp.exp(x)), lambda g, out, x: g * tg.sigmoid(x), name="naive")
    with pytest.raises(GradientError) as caught:
        assert_precision(lambda x: naive(100 * x), numbers(0))  # named here
    (finding,) = caught.value.report.findings
    assert (finding.order, finding.suspect, finding.analytic) == (0, "the value of 'naive'", math.inf)
    assert "named here" in finding.line
    assert str(caught.value).startswith("function: the value is imprecise in float32: the value of 'naive'\n")


def test_the_factories_look_at_float32():
    cheat = differences(tg.tanh, 2e-3, 4)

    class Layer(nn.Module):
        def forward(self, x):
            return cheat(x)

    for test in (
        check_op(cheat, strategies.tensors((10, 10)), devices=["cpu"], order=1),
        check_module(Layer, strategies.tensors((10, 10)), devices=["cpu"], order=1),
    ):
        with pytest.raises(AssertionError, match="imprecise in float32: the rule of 'by_differences'"):
            test()
    check_op(cheat, strategies.tensors((10, 10)), devices=["cpu"], order=1, precision=None)()


def test_functions_without_derivatives_are_left_alone():
    assert_precision(lambda x: x + 1, tg.arange(3))
    assert_precision(lambda x: x.argmax(), numbers(0))
