"""Elementwise operators: the value, then one rule per argument.

A rule is given g = dL/d(out), the output and the inputs, and returns dL/d(input); the engine sums out broadcast axes.
An argument that a rule does not read begins with an underscore.  At kinks the rules follow PyTorch.
"""

from __future__ import annotations

import math

import numpy as np

from tinygen.backend import backend_of
from tinygen.engine import Op, name_operators
from tinygen.layout import in_a_line
from tinygen.ops.fused import Fused

_ROW = 2048  # numbers

# fmt: off

# Arithmetic
add        = Op(lambda xp, x, y: x + y,              lambda g, *_: g,                      lambda g, *_: g)
sub        = Op(lambda xp, x, y: x - y,              lambda g, *_: g,                      lambda g, *_: -g)
mul        = Op(lambda xp, x, y: x * y,              lambda g, _, _x, y: g * y,            lambda g, _, x, _y: g * x)
div        = Op(lambda xp, x, y: x / y,              lambda g, _, _x, y: g / y,            lambda g, out, _x, y: -g * out / y)
pow        = Op(lambda xp, x, y: x ** y,             lambda g, _, x, y: g * _slope(x, y),  lambda g, out, x, y: g * _times_log(out, x, y))
neg        = Op(lambda xp, x: -x,                    lambda g, *_: -g)
square     = Op(lambda xp, x: x * x,                 lambda g, _, x: g * (2 * x))
reciprocal = Op(lambda xp, x: 1 / x,                 lambda g, out, _x: -g * out * out)
sqrt       = Op(lambda xp, x: xp.sqrt(x),            lambda g, out, _x: g * 0.5 / out)
rsqrt      = Op(lambda xp, x: 1 / xp.sqrt(x),        lambda g, out, x: g * -0.5 * out / x)
abs        = Op(lambda xp, x: xp.abs(x),             lambda g, _, x: g * sign(x))

# Exponential and trigonometric functions
exp        = Op(lambda xp, x: xp.exp(x),             lambda g, out, _x: g * out)
expm1      = Op(lambda xp, x: xp.expm1(x),           lambda g, out, _x: g * (out + 1))
log        = Op(lambda xp, x: xp.log(x),             lambda g, _, x: g / x)
log1p      = Op(lambda xp, x: xp.log1p(x),           lambda g, _, x: g / (1 + x))
log2       = Op(lambda xp, x: xp.log2(x),            lambda g, _, x: g / (x * math.log(2)))
log10      = Op(lambda xp, x: xp.log10(x),           lambda g, _, x: g / (x * math.log(10)))
sin        = Op(lambda xp, x: xp.sin(x),             lambda g, _, x: g * cos(x))
cos        = Op(lambda xp, x: xp.cos(x),             lambda g, _, x: -g * sin(x))
tan        = Op(lambda xp, x: xp.tan(x),             lambda g, out, _x: g * (1 + out * out))
atan       = Op(lambda xp, x: xp.arctan(x),          lambda g, _, x: g / (1 + x * x))
sinh       = Op(lambda xp, x: xp.sinh(x),            lambda g, _, x: g * cosh(x))
cosh       = Op(lambda xp, x: xp.cosh(x),            lambda g, _, x: g * sinh(x))
tanh       = Fused(lambda xp, x: xp.tanh(x),         lambda g, out, _x: g * (1 - out * out))
sigmoid    = Fused(lambda xp, x: _sigmoid(xp, x),    lambda g, out, _x: g * (out * (1 - out)))
softplus   = Fused(lambda xp, x: _softplus(xp, x),   lambda g, _, x: g * sigmoid(x))
erf        = Op(lambda xp, x: backend_of(x).erf(x),  lambda g, _, x: g * (2 / math.sqrt(math.pi) * exp(-x * x)))
logaddexp  = Op(lambda xp, x, y: xp.logaddexp(x, y), lambda g, _, x, y: g * sigmoid(x - y),  lambda g, _, x, y: g * sigmoid(y - x))

# Selection: at a tie maximum and minimum share the gradient equally
relu       = Fused(lambda xp, x: _relu(xp, x),       lambda g, out, _x: g * (out > 0))
maximum    = Op(lambda xp, x, y: xp.maximum(x, y),   lambda g, _, x, y: _won(g, x, y),     lambda g, _, x, y: _won(g, y, x))
minimum    = Op(lambda xp, x, y: xp.minimum(x, y),   lambda g, _, x, y: _won(g, y, x),     lambda g, _, x, y: _won(g, x, y))
where      = Op(lambda xp, c, x, y: _where(xp, c, x, y),  None,  lambda g, _, c, _x, _y: where(c, g, 0.0),  lambda g, _, c, _x, _y: where(c, 0.0, g))
clip       = Op(lambda xp, x, low, high: _clip(xp, x, low, high),  lambda g, _, x, low, high: g * _within(x, low, high))

# Steps: their derivative is 0 wherever it exists
sign       = Op(lambda xp, x: xp.sign(x),            lambda g, *_: g * 0)
floor      = Op(lambda xp, x: xp.floor(x),           lambda g, *_: g * 0)
ceil       = Op(lambda xp, x: xp.ceil(x),            lambda g, *_: g * 0)
round      = Op(lambda xp, x: xp.round(x),           lambda g, *_: g * 0)

# Without derivative
eq = Op(lambda xp, x, y: x == y)
ne = Op(lambda xp, x, y: x != y)
lt = Op(lambda xp, x, y: x < y)
le = Op(lambda xp, x, y: x <= y)
gt = Op(lambda xp, x, y: x > y)
ge = Op(lambda xp, x, y: x >= y)
isnan    = Op(lambda xp, x: xp.isnan(x))
isinf    = Op(lambda xp, x: xp.isinf(x))
isfinite = Op(lambda xp, x: xp.isfinite(x))
logical_not = Op(lambda xp, x: xp.logical_not(x))
logical_and = Op(lambda xp, x, y: xp.logical_and(x, y))
logical_or  = Op(lambda xp, x, y: xp.logical_or(x, y))
logical_xor = Op(lambda xp, x, y: xp.logical_xor(x, y))
bitwise_not = Op(lambda xp, x: ~x)
bitwise_and = Op(lambda xp, x, y: x & y)
bitwise_or  = Op(lambda xp, x, y: x | y)
bitwise_xor = Op(lambda xp, x, y: x ^ y)
floor_divide = Op(lambda xp, x, y: x // y)
remainder    = Op(lambda xp, x, y: x % y,  lambda g, *_: g,  lambda g, _, x, y: -g * floor_divide(x, y))

# fmt: on


def _relu(xp, x):
    """max(x, 0).  NumPy's maximum is three times as quick with a row of zeros as with the number 0, from a few rows on."""
    line = in_a_line(x) if xp is np and getattr(x, "size", 0) >= 4 * _ROW and x.dtype.kind == "f" else None
    if line is None:
        return xp.maximum(x, 0)
    out = np.empty_like(x)
    end = x.size // _ROW * _ROW
    rows, rest = np.split(in_a_line(out), [end])
    np.maximum(line[:end].reshape(-1, _ROW), np.zeros(_ROW, x.dtype), out=rows.reshape(-1, _ROW))
    np.maximum(line[end:], 0, out=rest)
    return out


def _slope(x, y):
    """d(x^y)/dx = y x^(y-1), which is 0 for y = 0 also where x = 0."""
    if isinstance(y, int | float):
        return y * x ** (y - 1) if y else x * 0
    return where(y == 0, 0.0, y * x ** where(y == 0, 1.0, y - 1))


def _times_log(out, x, y):
    """d(x^y)/dy = x^y log x, which is 0 for x = 0 and y >= 0."""
    if isinstance(x, int | float):
        return out * (math.log(x) if x > 0 else where(y >= 0, 0.0, -math.inf) if x == 0 else math.nan)
    zero = (x == 0) & (y >= 0)
    return out * log(where(zero, 1.0, x)) * where(zero, 0.0, 1.0)


def _sigmoid(xp, x):
    """1 / (1 + exp(-x)), with full relative precision; exp may overflow to infinity, and 1 / infinity is the right 0."""
    with np.errstate(over="ignore"):
        return 1 / (1 + xp.exp(-x))


def _softplus(xp, x):
    """log(1 + exp x) = max(x, 0) + log(1 + exp(-|x|)), where nothing can overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def _won(g, x, y):
    """g where x > y, half of it where they are equal, 0 elsewhere."""
    return where(x > y, g, where(x == y, g * 0.5, 0.0))


def _within(x, low, high):
    inside = x == x if low is None else x >= low
    return inside if high is None else inside & (x <= high)


def _clip(xp, x, low, high):
    """x between two numbers, of which one may be None: then it is a maximum or a minimum, which are quicker."""
    if low is None:
        return xp.minimum(x, high)
    return xp.maximum(x, low) if high is None else xp.clip(x, low, high)


def _where(xp, condition, x, y):
    """xp.where, where a Python number takes the dtype of the other branch."""
    if isinstance(x, int | float) and hasattr(y, "dtype"):
        x = y.dtype.type(x)
    elif isinstance(y, int | float) and hasattr(x, "dtype"):
        y = x.dtype.type(y)
    return xp.where(condition, x, y)


name_operators(globals())
