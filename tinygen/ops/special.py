"""More elementwise operators: inverse trigonometric functions, the gamma and error functions, remainders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.backend import backend_for, backend_of, device, is_array
from tinygen.engine import Op, name_operators
from tinygen.errors import expect_tensor
from tinygen.ops import elementwise
from tinygen.ops.elementwise import exp, log, mul, rsqrt, where, zero
from tinygen.ops.functions import clamp, div
from tinygen.ops.shape import clone

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

# Inverses of trigonometric and hyperbolic functions
asin  = Op(lambda xp, x: xp.arcsin(x),        lambda g, _, x: g * rsqrt(1 - x * x),
           doc="The angle from -π/2 to π/2 whose sine is x; nan outside [-1, 1].")
acos  = Op(lambda xp, x: xp.arccos(x),        lambda g, _, x: -g * rsqrt(1 - x * x),
           doc="The angle from 0 to π whose cosine is x; nan outside [-1, 1].")
asinh = Op(lambda xp, x: xp.arcsinh(x),       lambda g, _, x: g * rsqrt(x * x + 1),
           doc="The number whose hyperbolic sine is x.")
acosh = Op(lambda xp, x: xp.arccosh(x),       lambda g, _, x: g * rsqrt(x * x - 1),
           doc="The number >= 0 whose hyperbolic cosine is x; nan below 1.")
atanh = Op(lambda xp, x: xp.arctanh(x),       lambda g, _, x: g / (1 - x * x),
           doc="The number whose hyperbolic tangent is x: infinite at -1 and 1, nan outside.")
atan2 = Op(lambda xp, x, y: xp.arctan2(x, y), lambda g, _, x, y: g * (y / _square_sum(x, y)),   lambda g, _, x, y: -g * (x / _square_sum(x, y)),
           doc="The angle from -π to π of the point that lies x above and y to the right of the origin, where its gradient is 0.")

# The error function and its relatives: the normal distribution's
erfc     = Op(lambda xp, x: _special(x, "erfc"),      lambda g, _, x: g * (-2 / math.sqrt(math.pi) * exp(-x * x)),
              doc="1 - erf(x), with full relative precision where x is large.")
erfcx    = Op(lambda xp, x: _special(x, "erfcx"),     lambda g, out, x: g * (2 * x * out - 2 / math.sqrt(math.pi)),
              doc="exp(x²) erfc(x), which does not underflow.")
erfinv   = Op(lambda xp, x: _special(x, "erfinv"),    lambda g, out, _x: g * (math.sqrt(math.pi) / 2 * exp(out * out)),
              doc="The number whose error function is x: infinite at -1 and 1, nan outside.")
log_ndtr = Op(lambda xp, x: _special(x, "log_ndtr"),  lambda g, out, x: g * exp(-0.5 * x * x - out - 0.5 * math.log(2 * math.pi)),
              doc="The logarithm of the standard normal distribution function, without underflow.")
ndtri    = Op(lambda xp, x: _special(x, "ndtri"),     lambda g, out, _x: g * (math.sqrt(2 * math.pi) * exp(0.5 * out * out)),
              doc="The quantile function of the standard normal distribution, the inverse of ndtr.")

# The gamma function's
lgamma     = Op(lambda xp, x: _special(x, "gammaln"),      lambda g, _, x: g * digamma(x),
                doc="log |Γ(x)|; infinite at 0, -1, -2, ...")
digamma    = Op(lambda xp, x: _special(x, "digamma"),      lambda g, _, x: g * polygamma(1, x),
                doc="Γ'(x) / Γ(x), the derivative of lgamma.")
_polygamma = Op(lambda xp, x, n: _derivative_of_digamma(x, n),  lambda g, _, x, n: g * _polygamma(x, n=n + 1))

# Exponentials and logarithms
exp2    = Op(lambda xp, x: xp.exp2(x),                lambda g, out, _x: g * (math.log(2) * out),
             doc="2 to the power of x.")
_logit  = Op(lambda xp, x: _special(x, "logit"),      lambda g, _, x: g / (x * (1 - x)))
xlogy   = Op(lambda xp, x, y: _special(x, "xlogy", y),    lambda g, _, x, y: g * log(_unless_nothing(x, y, y)),         lambda g, _, x, y: g * (x / y),
             doc="x log y, which is 0 for x = 0 (unless y is nan).")
xlog1py = Op(lambda xp, x, y: _special(x, "xlog1py", y),  lambda g, _, x, y: g * log(_unless_nothing(x, 1 + y, 1 + y)), lambda g, _, x, y: g * (x / (1 + y)),
             doc="x log(1 + y), which is 0 for x = 0 (unless y is nan).")
entr    = Op(lambda xp, x: _special(x, "entr"),       lambda g, _, x: -g * (log(x) + 1),
             doc="-x log x, which is 0 for x = 0 and -inf below: a term of an entropy.")

# Between two numbers
_lerp = Op(lambda xp, x, y, w: _straight(xp, x, y, w),  lambda g, _, _x, _y, w: g * (1 - w),  lambda g, _, _x, _y, w: g * w,  lambda g, _, x, y, _w: g * (y - x))

# Whole parts and remainders
trunc = Op(lambda xp, x: xp.trunc(x),         lambda g, *_: zero(g),
           doc="x without the digits after the point: rounded towards zero.")
fmod  = Op(lambda xp, x, y: xp.fmod(x, y),    lambda g, *_: g,                  lambda g, _, x, y: -g * div(x, y, rounding_mode="trunc"),
           doc="x - y trunc(x / y): the remainder with the sign of x (that of `remainder` has the sign of y).")

# fmt: on


def _straight(xp: Any, x: Any, y: Any, w: Any) -> Any:
    """From the nearer end: so that rounding cannot miss it."""
    if isinstance(w, int | float):
        return x + w * (y - x) if w < 0.5 else y - (y - x) * (1 - w)
    return xp.where(w < 0.5, x + w * (y - x), y - (y - x) * (1 - w))


def _special(x: Any, name: str, *others: Any) -> Any:
    """scipy.special's function of that name, in the dtype that x has."""
    numbers = [x, *others]
    library = next((backend_of(v) for v in numbers if is_array(v)), None) or backend_for(device("cpu"))
    out = getattr(library.special, name)(*numbers)
    floating = [v.dtype for v in numbers if getattr(v, "dtype", np.dtype(bool)).kind == "f"]
    wanted = max(floating, key=lambda d: d.itemsize, default=out.dtype)
    return out if out.dtype == wanted else out.astype(wanted)  # SciPy computes float16 in float32


def _derivative_of_digamma(x: Any, n: int) -> Any:
    """The n-th derivative of digamma: (-1)^(n+1) n! ζ(n + 1, x)."""
    values = backend_of(x).special.zeta(float(n + 1), x) * float((-1) ** (n + 1) * math.factorial(n))
    return values.astype(x.dtype) if x.dtype.kind == "f" else values


def _square_sum(x: Any, y: Any) -> Any:
    """x² + y², and 1 instead of 0: where both are 0 the slopes of the angle are 0, PyTorch's choice."""
    total = x * x + y * y
    return where(total == 0, 1.0, total)


def _unless_nothing(x: Any, y: Any, otherwise: Any) -> Any:
    """1 where x is 0 and log y is not finite, so that its logarithm is 0."""
    return where((x == 0) & (y <= 0), 1.0, otherwise)


name_operators(globals())


def polygamma(n: int, input: Any) -> Tensor:
    """The n-th derivative of digamma, n >= 0: polygamma(1, x) is its first one, called trigamma."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"polygamma: the order n must be an integer >= 0, got {n!r}; it comes first: polygamma(1, x)")
    return _polygamma(input, n=n) if n else digamma(input)


def logit(input: Any, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of `sigmoid`: infinite at 0 and 1, nan outside.

    eps: x is clamped to [eps, 1 - eps] first; then the gradient is 0 outside of that interval.
    """
    return _logit(input if eps is None else clamp(input, eps, 1 - eps))


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight * (end - input): the straight line from input, exactly for weight 0, to end, exactly for weight 1."""
    return _lerp(input, end, weight)


def ndtr(input: Any) -> Tensor:
    """The standard normal distribution function: the probability of a draw below x."""
    return mul(erfc(input * -math.sqrt(0.5)), 0.5)


def frac(input: Any) -> Tensor:
    """The digits after the point, with the sign of x: x - trunc(x)."""
    return input - trunc(input)


def round(input: Any, *, decimals: int = 0) -> Tensor:
    """The nearest integer, of two the even one; with `decimals` the nearest multiple of 10^-decimals.  The gradient is 0."""
    if not decimals:
        return elementwise.round(input)
    scale = 10.0 ** abs(decimals)
    return (
        div(elementwise.round(input * scale), scale) if decimals > 0 else elementwise.round(div(input, scale)) * scale
    )


def nan_to_num(input: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """nan and the infinities replaced by numbers: by default by 0 and by the dtype's largest and smallest one.

    The gradient is 0 where something was replaced.
    nan, posinf, neginf: what takes their places.
    """
    expect_tensor("nan_to_num", input)
    if input.dtype.kind != "f":
        return clone(input)
    limit = np.finfo(input.dtype)
    input = where(input != input, nan, input)
    input = where(input == math.inf, float(limit.max) if posinf is None else posinf, input)
    return where(input == -math.inf, float(limit.min) if neginf is None else neginf, input)


def clamp_min(input: Any, min: Any) -> Tensor:
    """Values below `min` (a number or a tensor) become min."""
    return clamp(input, min=min)


def clamp_max(input: Any, max: Any) -> Tensor:
    """Values above `max` (a number or a tensor) become max."""
    return clamp(input, max=max)


__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan2",
    "atanh",
    "clamp_max",
    "clamp_min",
    "digamma",
    "entr",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "fmod",
    "frac",
    "lerp",
    "lgamma",
    "log_ndtr",
    "logit",
    "nan_to_num",
    "ndtr",
    "ndtri",
    "polygamma",
    "round",
    "trunc",
    "xlog1py",
    "xlogy",
]
