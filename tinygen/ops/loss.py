"""Losses that are one operator: fewer passes over the data, and formulas that cannot overflow.

x is the prediction, y the target, of one shape.  All are elementwise but for the sum of squares, which autoencoders live on;
`nn.functional` reduces the others.
"""

from __future__ import annotations

import numpy as np

from tinygen.engine import name_operators
from tinygen.layout import inner
from tinygen.ops.elementwise import _only, log, only, sigmoid, where
from tinygen.ops.functions import clamp
from tinygen.ops.fused import Fused

# fmt: off

squared_error = Fused(lambda xp, x, y: _squared_error(x, y),         lambda g, _, x, y: (x - y) * 2 * g,           lambda g, _, x, y: (y - x) * 2 * g)
# Σ (x - y)²
squared_distance = Fused(lambda xp, x, y: _squared_distance(x, y),   lambda g, _, x, y: (x - y) * (2 * g),         lambda g, _, x, y: (y - x) * (2 * g),  fuse_value=False)
# d²/2 for |d| <= delta, straight lines beyond, d = x - y
huber         = Fused(lambda xp, x, y, delta: _huber(xp, x, y, delta),  lambda g, _, x, y, delta: g * clamp(x - y, -delta, delta),
                                                                     lambda g, _, x, y, delta: g * clamp(y - x, -delta, delta))
# -y log p - (1 - y) log(1 - p)
bernoulli_nll = Fused(lambda xp, p, y: _bernoulli_nll(xp, p, y),     lambda g, _, p, y: g * (p - y) / clamp(p * (1 - p), min=1e-12),
                                                                     lambda g, _, p, _y: g * (log_at_least(1 - p, low=-100.0) - log_at_least(p, low=-100.0)))
log_at_least  = Fused(lambda xp, x, low: _log_at_least(xp, x, low),     lambda g, out, x, low: only(g, out > low) / where(out > low, x, 1.0))
# the same with p = sigmoid(x): log(1 + exp x) - x y
bernoulli_nll_of_logits = Fused(lambda xp, x, y: _of_logits(xp, x, y),  lambda g, _, x, y: (sigmoid(x) - y) * g,   lambda g, _, x, _y: -x * g)
# w x, which is 0 for w = 0, whatever x is: what does not count may be infinite
weighted      = Fused(lambda xp, w, x: _only(xp, w * x, w != 0),     lambda g, _, _w, x: g * x,                    lambda g, _, w, _x: weighted(w, g))
# t log t, which is 0 for t = 0, where its slope is taken as 0
negentropy    = Fused(lambda xp, t: _negentropy(xp, t),              lambda g, _, t: only(g, t > 0) * (log(where(t > 0, t, 1.0)) + 1))

# fmt: on


def _squared_error(x, y):
    d = x - y
    return d * d


def _squared_distance(x, y):
    d = (x - y).reshape(-1)
    return inner(d, d).astype(d.dtype)


def _huber(xp, x, y, delta):
    d = xp.abs(x - y)
    m = xp.minimum(d, delta)
    return m * (d - 0.5 * m)


def _log_at_least(xp, x, low):
    with np.errstate(divide="ignore"):  # log 0 = -inf becomes `low`
        return xp.maximum(xp.log(x), low)


def _bernoulli_nll(xp, p, y):
    return -y * _log_at_least(xp, p, -100.0) - (1 - y) * _log_at_least(xp, 1 - p, -100.0)


def _of_logits(xp, x, y):
    """log(1 + exp(-|x|)) + x ([x > 0] - y), where the factor is 0 the certain answer is right: also for infinite x."""
    share = (x > 0).astype(x.dtype) - y
    return xp.log1p(xp.exp(-xp.abs(x))) + _only(xp, x * share, share != 0)


def _negentropy(xp, t):
    return t * xp.log(xp.where(t > 0, t, t.dtype.type(1)))


name_operators(globals())
