"""Activations that are one operator because it is quicker or more accurate than the composition."""

from __future__ import annotations

import math

from tinygen.backend import backend_of
from tinygen.engine import name_operators
from tinygen.ops.elementwise import _softplus, exp, minimum, only, sigmoid, where
from tinygen.ops.fused import Fused

# fmt: off

leaky_relu = Fused(lambda xp, x, slope: _leaky_relu(xp, x, slope),     lambda g, _, x, slope: leaky_step(g, x, slope=slope))
# g where x > 0, slope·g elsewhere: linear in g, and constant in x but for the kink
leaky_step = Fused(lambda xp, g, x, slope: _leaky_step(g, x, slope),   lambda h, _, _g, x, slope: leaky_step(h, x, slope=slope))
elu        = Fused(lambda xp, x, alpha: _elu(xp, x, alpha),            lambda g, out, x, alpha: g * _elu_slope(x, out, alpha))
# between two numbers; at either of them the slope is 0, where that of `clip` is 1: so PyTorch has it
hardtanh   = Fused(lambda xp, x, low, high: xp.clip(x, low, high),     lambda g, _, x, low, high: where((x <= low) | (x >= high), 0.0, g))
logsigmoid = Fused(lambda xp, x: -_softplus(xp, -x),                   lambda g, _, x: g * sigmoid(-x))
# Φ, the distribution function of N(0, 1)
normal_cdf = Fused(lambda xp, x: 0.5 * (1 + backend_of(x).erf(x * math.sqrt(0.5))),
                                                                       lambda g, _, x: g * (exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))))

# fmt: on


def _leaky_relu(xp, x, slope):
    if slope == 0:  # 0 · inf would be nan
        return xp.maximum(x, 0)
    scaled = x * slope
    choose = xp.maximum if slope <= 1 else xp.minimum
    return choose(x, scaled, out=scaled) if scaled.ndim and scaled.dtype == x.dtype else choose(x, scaled)


def _leaky_step(g, x, slope):
    """Arithmetic on the truth values, because it is ten times quicker than `where` (NumPy, random signs)."""
    if slope == 0:
        return only(g, x > 0)
    one = g.dtype.type
    steps = (x > 0).astype(g.dtype)
    steps *= one(1 - slope)
    steps += one(slope)
    return g * steps


def _elu(xp, x, alpha):
    return xp.maximum(x, 0) + alpha * xp.expm1(xp.minimum(x, 0))


def _elu_slope(x, out, alpha):
    """1 where x > 0, alpha exp x = out + alpha elsewhere; for alpha = 1 without the slow `where`."""
    return minimum(out, 0.0) + 1.0 if alpha == 1 else where(x > 0, 1.0, out + alpha)


name_operators(globals())
