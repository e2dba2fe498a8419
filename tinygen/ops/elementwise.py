"""Elementwise operators: the value, then one rule per argument.

A rule is given g = dL/d(out), the output and the inputs, and returns dL/d(input); the engine sums out broadcast axes.
An argument that a rule does not read begins with an underscore.  At kinks the rules follow PyTorch.

Where a rule cuts the gradient off it selects, by `selected`, `only` or `where`, and does not multiply by 0: 0 · inf would be nan, and what
comes from further on may well be infinite (√x at the 0 of a relu).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.backend import ARRAY_MODULES, backend_of
from tinygen.engine import Node, Op, name_operators
from tinygen.layout import in_a_line
from tinygen.op_help import inputs_of
from tinygen.ops.fused import Fused
from tinygen.promotion import get_default_dtype

_ROW = 2048  # numbers

# fmt: off

# Arithmetic
add        = Op(lambda xp, x, y: x + y,              lambda g, *_: g,                      lambda g, *_: g,  doc="x + y.")
sub        = Op(lambda xp, x, y: x - y,              lambda g, *_: g,                      lambda g, *_: -g,  doc="x - y.")
mul        = Op(lambda xp, x, y: x * y,              lambda g, _, _x, y: g * y,            lambda g, _, x, _y: g * x,  doc="x · y, element by element; `matmul` is the product of matrices.")
div        = Op(lambda xp, x, y: x / y,              lambda g, _, _x, y: g / y,            lambda g, out, _x, y: -g * out / y,  doc="x / y; a quotient of integers is a floating-point number.")
pow        = Op(lambda xp, x, y: x ** y,             lambda g, _, x, y: _to_base(g, x, y),  lambda g, out, x, y: _to_exponent(g, out, x, y),  doc="x to the power y; its derivative in x is 0 for y = 0, also at x = 0.")
neg        = Op(lambda xp, x: -x,                    lambda g, *_: -g,  doc="-x.")
square     = Op(lambda xp, x: x * x,                 lambda g, _, x: g * (2 * x),  doc="x².")
reciprocal = Op(lambda xp, x: 1 / x,                 lambda g, out, _x: -g * out * out,  doc="1 / x.")
sqrt       = Op(lambda xp, x: xp.sqrt(x),            lambda g, out, _x: g * 0.5 / out,  doc="√x; nan for x < 0, and an infinite derivative at 0.")
rsqrt      = Op(lambda xp, x: 1 / xp.sqrt(x),        lambda g, out, x: g * -0.5 * out / x,  doc="1 / √x; infinite at 0, nan for x < 0.")
abs        = Op(lambda xp, x: xp.abs(x),             lambda g, _, x: selected(g, x != 0) * sign(x),  doc="|x|, with derivative 0 at 0.")

# Exponential and trigonometric functions
exp        = Op(lambda xp, x: xp.exp(x),             lambda g, out, _x: g * out,  doc="e to the power x; infinite where it overflows (float32: above 88.7).")
expm1      = Op(lambda xp, x: xp.expm1(x),           lambda g, out, _x: g * (out + 1),  doc="exp(x) - 1, without the loss of digits near 0.")
log        = Op(lambda xp, x: xp.log(x),             lambda g, _, x: g / x,  doc="The natural logarithm; -inf at 0, nan for x < 0.")
log1p      = Op(lambda xp, x: xp.log1p(x),           lambda g, _, x: g / (1 + x),  doc="log(1 + x), without the loss of digits near 0.")
log2       = Op(lambda xp, x: xp.log2(x),            lambda g, _, x: g / (x * math.log(2)),  doc="The logarithm to base 2; -inf at 0, nan for x < 0.")
log10      = Op(lambda xp, x: xp.log10(x),           lambda g, _, x: g / (x * math.log(10)),  doc="The logarithm to base 10; -inf at 0, nan for x < 0.")
sin        = Op(lambda xp, x: xp.sin(x),             lambda g, _, x: g * cos(x),  doc="The sine of x in radians.")
cos        = Op(lambda xp, x: xp.cos(x),             lambda g, _, x: -g * sin(x),  doc="The cosine of x in radians.")
tan        = Op(lambda xp, x: xp.tan(x),             lambda g, out, _x: g * (1 + out * out),  doc="The tangent of x in radians.")
atan       = Op(lambda xp, x: xp.arctan(x),          lambda g, _, x: g / (1 + x * x),  doc="The angle from -π/2 to π/2, in radians, whose tangent is x.")
sinh       = Op(lambda xp, x: xp.sinh(x),            lambda g, _, x: g * cosh(x),  doc="The hyperbolic sine, (exp(x) - exp(-x)) / 2.")
cosh       = Op(lambda xp, x: xp.cosh(x),            lambda g, _, x: g * sinh(x),  doc="The hyperbolic cosine, (exp(x) + exp(-x)) / 2.")
tanh       = Fused(lambda xp, x: xp.tanh(x),         lambda g, out, _x: g * (1 - out * out),  doc="The hyperbolic tangent of x.")
sigmoid    = Fused(lambda xp, x: _sigmoid(xp, x),    lambda g, out, _x: g * (out * (1 - out)),  doc="1 / (1 + exp(-x)), from 0 to 1, with full relative precision for very negative x.")
softplus   = Fused(lambda xp, x: _softplus(xp, x),   lambda g, _, x: g * sigmoid(x),  doc="log(1 + exp(x)), a smooth max(x, 0), computed without overflow.")
erf        = Op(lambda xp, x: backend_of(x).erf(x),  lambda g, _, x: g * (2 / math.sqrt(math.pi) * exp(-x * x)),  doc="The error function, 2/√π ∫₀ˣ exp(-t²) dt, from -1 to 1.")
logaddexp  = Op(lambda xp, x, y: xp.logaddexp(x, y), lambda g, _, x, y: _to_likely(g, x, y),  lambda g, _, x, y: _to_likely(g, y, x),  doc="log(exp(x) + exp(y)), computed without overflow; where both are -inf the gradients are 0.")

# Selection: at a tie maximum and minimum share the gradient equally
relu       = Fused(lambda xp, x: _relu(xp, x),       lambda g, out, _x: selected(g, out > 0),  doc="max(x, 0), with derivative 0 at 0.")
maximum    = Op(lambda xp, x, y: xp.maximum(x, y),   lambda g, _, x, y: _won(g, x, y),     lambda g, _, x, y: _won(g, y, x),  doc="The larger of x and y; nan where one of them is nan.  At a tie each gets half of the gradient.")
minimum    = Op(lambda xp, x, y: xp.minimum(x, y),   lambda g, _, x, y: _won(g, y, x),     lambda g, _, x, y: _won(g, x, y),  doc="The smaller of x and y; nan where one of them is nan.  At a tie each gets half of the gradient.")
where      = Op(lambda xp, c, x, y: _where(xp, c, x, y),  None,  lambda g, _, c, _x, _y: where(c, g, 0.0),  lambda g, _, c, _x, _y: where(c, 0.0, g),  doc="x where the condition c holds, y elsewhere.  c: truth values; what is not chosen gets the gradient 0.")
clip       = Op(lambda xp, x, low, high: _clip(xp, x, low, high),  lambda g, _, x, low, high: selected(g, _within(x, low, high)),  doc="x, but at least `low` and at most `high`; None for no bound.")
only       = Op(lambda xp, x, c: _only(xp, x, c),    lambda g, _, _x, c: selected(g, c),  None,  doc="x where the condition c holds, 0 elsewhere, whatever x is there.  c: truth values; the same for the gradient.")
unless     = Op(lambda xp, x, c: _unless(xp, x, c),  lambda g, _, _x, c: unselected(g, c),  None,  doc="x where the condition c does not hold, 0 elsewhere, whatever x is there.  c: truth values; the same for the gradient.")
zero       = Op(lambda xp, x: xp.zeros_like(x),      lambda g, *_: zero(g),  doc="Zeros like x, whatever x is.  Their derivative is 0.")

# Steps: their derivative is 0 wherever it exists
sign       = Op(lambda xp, x: xp.sign(x),            lambda g, *_: zero(g),  doc="-1, 0 or 1: the sign of x.  Its derivative is 0.")
floor      = Op(lambda xp, x: xp.floor(x),           lambda g, *_: zero(g),  doc="The largest integer that is not above x.  Its derivative is 0.")
ceil       = Op(lambda xp, x: xp.ceil(x),            lambda g, *_: zero(g),  doc="The smallest integer that is not below x.  Its derivative is 0.")
round      = Op(lambda xp, x: xp.round(x),           lambda g, *_: zero(g),  doc="The nearest integer, the even one for halves.  Its derivative is 0.")

# Without derivative
eq = Op(lambda xp, x, y: x == y,  doc="Whether x = y, as truth values.")
ne = Op(lambda xp, x, y: x != y,  doc="Whether x ≠ y, as truth values.")
lt = Op(lambda xp, x, y: x < y,  doc="Whether x < y, as truth values.")
le = Op(lambda xp, x, y: x <= y,  doc="Whether x ≤ y, as truth values.")
gt = Op(lambda xp, x, y: x > y,  doc="Whether x > y, as truth values.")
ge = Op(lambda xp, x, y: x >= y,  doc="Whether x ≥ y, as truth values.")
isnan    = Op(lambda xp, x: xp.isnan(x),  doc="Whether x is nan (not a number), as truth values.")
isinf    = Op(lambda xp, x: xp.isinf(x),  doc="Whether x is infinite, of either sign, as truth values.")
isfinite = Op(lambda xp, x: xp.isfinite(x),  doc="Whether x is neither nan nor infinite, as truth values.")
logical_not = Op(lambda xp, x: xp.logical_not(x),  doc="Whether x is 0 (false), as truth values.")
logical_and = Op(lambda xp, x, y: xp.logical_and(x, y),  doc="Whether both are true (not 0), as truth values.")
logical_or  = Op(lambda xp, x, y: xp.logical_or(x, y),  doc="Whether at least one is true (not 0), as truth values.")
logical_xor = Op(lambda xp, x, y: xp.logical_xor(x, y),  doc="Whether exactly one is true (not 0), as truth values.")
bitwise_not = Op(lambda xp, x: ~x,  doc="Every bit inverted: of integers or truth values.  Raises TypeError for floating-point numbers.")
bitwise_and = Op(lambda xp, x, y: x & y,  doc="The bits that are set in both: of integers or truth values.  Raises TypeError for floating-point numbers.")
bitwise_or  = Op(lambda xp, x, y: x | y,  doc="The bits that are set in at least one: of integers or truth values.  Raises TypeError for floating-point numbers.")
bitwise_xor = Op(lambda xp, x, y: x ^ y,  doc="The bits that are set in exactly one: of integers or truth values.  Raises TypeError for floating-point numbers.")
floor_divide = Op(lambda xp, x, y: x // y,  doc="x / y, rounded down to an integer.  No derivative.")
remainder    = Op(lambda xp, x, y: x % y,  lambda g, *_: g,  lambda g, _, x, y: -g * floor_divide(x, y),  doc="x - y · floor(x / y): what is left after division, with the sign of y.")

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


def _to_base(g, x, y):
    """g d(x^y)/dx = g y x^(y-1), which is 0 for y = 0 wherever x is."""
    if isinstance(y, int | float):
        return g * (y * x ** (y - 1)) if y else zero(g)
    zeroth = y == 0
    return only(g, ~zeroth) * (y * where(zeroth, 1.0, x) ** where(zeroth, 1.0, y - 1))


def _to_exponent(g, out, x, y):
    """g d(x^y)/dy = g x^y log x, which is 0 for x = 0 and y >= 0."""
    if isinstance(x, int | float):
        if x == 0:
            return where(y >= 0, 0.0, -math.inf * g)
        return g * (out * (math.log(x) if x > 0 else math.nan))
    flat = (x == 0) & (y >= 0)
    return only(g, ~flat) * out * log(where(flat, 1.0, x))


def _sigmoid(xp, x):
    """1 / (1 + exp(-x)), with full relative precision; exp may overflow to infinity, and 1 / infinity is the right 0."""
    with np.errstate(over="ignore"):
        return 1 / (1 + xp.exp(-x))


def _softplus(xp, x):
    """log(1 + exp x) = max(x, 0) + log(1 + exp(-|x|)), where nothing can overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def _to_likely(g, x, y):
    """g exp x / (exp x + exp y), and 0 for x = -inf, even if y is too: then x - y is no number."""
    return only(g, x != -math.inf) * sigmoid(where(x == y, 0.0, x - y))


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


def selected(g: Any, c: Any) -> Any:
    """`only`, without calling an operator for arrays: what it takes is longer than the work when there is little."""
    if type(g) is np.ndarray:
        return _only(np, g, c)
    return only(g, c) if isinstance(g, Node) else _only(ARRAY_MODULES.get(type(g), np), g, c)


def unselected(g, c):
    """`unless`, without calling an operator for arrays."""
    return unless(g, c) if isinstance(g, Node) else _unless(ARRAY_MODULES.get(type(g), np), g, c)


_BITS = {np.dtype(f): (np.dtype(i), np.zeros((), f)) for f, i in (("f2", "i2"), ("f4", "i4"), ("f8", "i8"))}
_SMALL, _MIDDLE = 512, 4096  # numbers, of which `where` is as quick, and of which a copy costs little


def _only(xp, x, c):
    """x where c is true, 0 elsewhere.  On NumPy the bits of x times 0 or 1: as quick as x * c, where `where` takes ten times as long."""
    known = _BITS.get(x.dtype)
    if known is None or type(c) is not np.ndarray:
        return xp.where(c, x, x.dtype.type(0))
    bits, zero = known
    size = x.size
    if size < _SMALL:
        return xp.where(c, x, zero)  # an array without dimensions: a NumPy scalar would take a third longer
    if size < _MIDDLE or x.shape != c.shape:
        return (x.view(bits) * c).view(x.dtype)
    out = np.empty_like(x)  # which is nobody's view: a gradient that may be added to
    np.multiply(x.view(bits), c, out=out.view(bits))
    return out


def _unless(xp, x, c):
    """x where c is false, 0 elsewhere: `_only` of ~c, which few numbers do without."""
    known = _BITS.get(x.dtype)
    if known is None or type(c) is not np.ndarray:
        return xp.where(c, x.dtype.type(0), x)
    return xp.where(c, known[1], x) if x.size < _SMALL else _only(xp, x, ~c)


def _where(xp, condition, x, y):
    """xp.where, in which a Python number is as weak as in arithmetic."""
    x, y = _as_typed(x, y), _as_typed(y, x)
    return xp.where(condition, x, y)


def _as_typed(x, other):
    """A Python number in the dtype of the other branch, if it holds numbers of that kind, else in the default one."""
    if not isinstance(x, int | float) or hasattr(x, "dtype"):
        return x
    kind = "bif"[(type(x) is not bool) + isinstance(x, float)]
    if hasattr(other, "dtype") and "biuf".index(kind) <= "biuf".index(other.dtype.kind):
        return other.dtype.type(x)
    return (np.bool_ if kind == "b" else np.int64 if kind == "i" else get_default_dtype().type)(x)


name_operators(globals())

_SHAPES = {
    1: "input: a tensor of any shape, or a number.  Returns the same shape, a floating-point one in the input's dtype.",
    2: "input, other: tensors whose shapes broadcast, or numbers.  Returns the common shape; ShapeError where there is none.",
    3: "condition, input, other: tensors whose shapes broadcast, or numbers.  Returns the common shape; ShapeError where there is none.",
}
for _op in [value for value in globals().values() if isinstance(value, Op) and value.doc]:
    _op.doc = f"{_op.doc}\n\n{_SHAPES[min(len(inputs_of(_op.forward)[0]), 3)]}"
