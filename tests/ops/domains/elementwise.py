"""Elementwise operators."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import special

from tests.ops.domains.table import Example, broadcast, call, domain, unary
from tinygen import ops
from tinygen.testing import strategies as ts

ANY = {"low": -2.0, "high": 2.0}
POSITIVE = {"low": 0.2, "high": 2.0}
NONZERO = {**ANY, "avoid": (0.0,), "gap": 0.2}
# Near integers, and near half integers: two arrays whose elements are never equal.
NEAR_INTEGERS = {**ANY, "avoid": (-1.5, -0.5, 0.5, 1.5), "gap": 0.3}
NEAR_HALVES = {**ANY, "avoid": (-2.0, -1.0, 0.0, 1.0, 2.0), "gap": 0.3}
INTEGERS = {"dtype": np.int64, "low": -2, "high": 2}
BOOLEANS = {"dtype": np.bool_}

# fmt: off
domain("abs absolute",  unary(**NONZERO),   np.abs)
domain("neg negative",  unary(**ANY),       np.negative)
domain("square",        unary(**ANY),       np.square)
domain("reciprocal",    unary(**NONZERO),   np.reciprocal)
domain("sqrt",          unary(**POSITIVE),  np.sqrt)
domain("rsqrt",         unary(**POSITIVE),  lambda x: x**-0.5)
domain("exp",           unary(**ANY),       np.exp)
domain("expm1",         unary(**ANY),       np.expm1)
domain("log",           unary(**POSITIVE),  np.log)
domain("log1p",         unary(low=-0.8, high=2.0), np.log1p)
domain("log2",          unary(**POSITIVE),  np.log2)
domain("log10",         unary(**POSITIVE),  np.log10)
domain("sin",           unary(low=-4.0, high=4.0), np.sin)
domain("cos",           unary(low=-4.0, high=4.0), np.cos)
domain("tan",           unary(low=-1.2, high=1.2), np.tan)
domain("atan arctan",   unary(**ANY),       np.arctan)
domain("sinh",          unary(**ANY),       np.sinh)
domain("cosh",          unary(**ANY),       np.cosh)
domain("tanh",          unary(**ANY),       np.tanh)
domain("sigmoid",       unary(**ANY),       special.expit)
domain("softplus",      unary(**NONZERO),   lambda x: np.logaddexp(0, x))
domain("erf",           unary(**ANY),       special.erf)
domain("relu",          unary(**NONZERO),   lambda x: np.where(x > 0, x, 0))
domain("sign",          unary(**NONZERO),   np.sign)
domain("floor",         unary(**NEAR_HALVES),   np.floor)
domain("ceil",          unary(**NEAR_HALVES),   np.ceil)

domain("add",                broadcast(ANY, ANY),            lambda x, y: x + y)
domain("mul multiply",       broadcast(ANY, ANY),            lambda x, y: x * y)
domain("logaddexp",          broadcast(ANY, ANY),            np.logaddexp)
domain("maximum",            broadcast(NEAR_INTEGERS, NEAR_HALVES), np.maximum)
domain("minimum",            broadcast(NEAR_INTEGERS, NEAR_HALVES), np.minimum)
domain("remainder",          broadcast({**NONZERO, "low": -1.8, "high": 1.8}, {"low": 2.0, "high": 3.0}), np.mod)
domain("where",              broadcast(BOOLEANS, ANY, ANY),  np.where)
domain("only",               broadcast(ANY, BOOLEANS),       lambda x, c: np.where(c, x, 0))
domain("unless",             broadcast(ANY, BOOLEANS),       lambda x, c: np.where(c, 0, x))
domain("zero",               unary(**ANY),                   np.zeros_like)
# fmt: on


def scaled(*values: dict, option: str) -> st.SearchStrategy[Example]:
    """Arrays that broadcast, and one number by keyword."""
    return st.builds(lambda e, k: Example(e.arrays, {option: k}), broadcast(*values), st.sampled_from([1, 2, -0.5]))


domain("sub subtract", scaled(ANY, ANY, option="alpha"), lambda x, y, alpha: x - alpha * y)
domain("addcmul", scaled(ANY, ANY, ANY, option="value"), lambda x, y, z, value: x + value * y * z)
domain("addcdiv", scaled(ANY, ANY, NONZERO, option="value"), lambda x, y, z, value: x + value * y / z)


def _rounded(x, y, rounding_mode):
    quotient = x / y
    return {None: quotient, "floor": np.floor(quotient), "trunc": np.trunc(quotient)}[rounding_mode]


domain(
    "div divide",
    # 0.3 to 0.8 divided by 1 to 3.5: no quotient is near an integer
    st.builds(
        lambda e, mode: Example(e.arrays, {"rounding_mode": mode}),
        broadcast({"low": 0.3, "high": 0.8}, {"low": 1.0, "high": 3.5})
        | broadcast({"low": -0.8, "high": -0.3}, {"low": 1.0, "high": 3.5}),
        st.sampled_from([None, "floor", "trunc"]),
    ),
    _rounded,
)

# Exponents: an array with a positive base; a number with a base of any sign; a number as the base.
domain(
    "pow",
    broadcast(POSITIVE, ANY)
    | st.builds(lambda e, p: Example(e.arrays, {"y": p}), unary(**NONZERO), st.sampled_from([-2, -1, 0, 1, 2, 3, 2.0]))
    | st.builds(lambda e, p: Example(e.arrays, {"y": p}), unary(**POSITIVE), st.sampled_from([-0.5, 0.5, 1.5, 0.0]))
    | st.builds(lambda e, b: Example(e.arrays, {"base": b}), unary(**ANY), st.sampled_from([0.5, 2])),
    lambda x, y=None, base=None: np.power(base, x) if base else np.power(x, float(y) if isinstance(y, int) else y),
    lambda x, y=None, base=None: ops.pow(base, x) if base else ops.pow(x, y),
)


@st.composite
def bounded(draw) -> Example:
    """clamp with numbers or arrays as bounds; values near integers, bounds near half integers."""
    if draw(st.booleans()):
        low, high = draw(st.sampled_from([(-0.5, 0.5), (None, 1.5), (-1.5, None), (0.5, 0.5)]))
        return Example(draw(unary(**NEAR_INTEGERS)).arrays, {"min": low, "max": high})
    (x, low) = draw(broadcast(NEAR_INTEGERS, NEAR_HALVES)).arrays
    return Example((x, low, np.asarray(low + 1)), {})


domain("clamp clip", bounded(), lambda x, min=None, max=None: np.clip(x, min, max))

# Without gradients.  Integers, so that equality happens.
for name in "eq ne lt le gt ge".split():
    numpy_name = {
        "eq": "equal",
        "ne": "not_equal",
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
    }
    alias = "" if name == "eq" else f" {numpy_name[name]}"  # PyTorch's eq has none
    domain(name + alias, broadcast(INTEGERS, INTEGERS), getattr(np, numpy_name[name]), smooth=False)
for name in "logical_and logical_or logical_xor".split():
    domain(name, broadcast(INTEGERS, BOOLEANS), getattr(np, name), smooth=False)
for name in "bitwise_and bitwise_or bitwise_xor".split():
    domain(name, broadcast(INTEGERS, INTEGERS) | broadcast(BOOLEANS, BOOLEANS), getattr(np, name), smooth=False)
domain("logical_not", unary(**INTEGERS), np.logical_not, smooth=False)
domain("bitwise_not", unary(**INTEGERS) | unary(**BOOLEANS), np.bitwise_not, smooth=False)
domain("floor_divide", broadcast(ANY, NONZERO), np.floor_divide, smooth=False)

_SPECIAL = st.sampled_from(
    [np.array(v) for v in (np.nan, np.inf, -np.inf, 0.0, 1.0)] + [np.array([np.nan, 1.0, np.inf, -np.inf])]
)
for name in "isnan isinf isfinite".split():
    domain(name, call(_SPECIAL), getattr(np, name), smooth=False)


@st.composite
def nearly_equal(draw) -> Example:
    (x,) = draw(unary(**ANY)).arrays
    factor = draw(st.sampled_from([1.0, 1 + 1e-9, 1 + 1e-3, np.nan]))
    return Example((x, np.asarray(x * factor)), {})


domain("allclose", nearly_equal(), np.allclose, smooth=False)
domain("equal", nearly_equal() | call(ts.values((2,)), ts.values((2, 1))), np.array_equal, smooth=False)
