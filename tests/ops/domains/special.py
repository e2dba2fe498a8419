"""More elementwise operators."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import special

import tinygen as tg
from tests.ops.domains.elementwise import ANY, NEAR_HALVES, NEAR_INTEGERS, NONZERO, POSITIVE
from tests.ops.domains.table import Example, broadcast, call, domain, unary
from tinygen import ops
from tinygen.testing import strategies as ts

INSIDE = {"low": -0.8, "high": 0.8}
SHARE = {"low": 0.1, "high": 0.9}
GAMMA = {"low": 0.5, "high": 4.0}

# fmt: off
domain("asin arcsin",     unary(**INSIDE),            np.arcsin)
domain("acos arccos",     unary(**INSIDE),            np.arccos)
domain("asinh arcsinh",   unary(**ANY),               np.arcsinh)
domain("acosh arccosh",   unary(low=1.3, high=3.0),   np.arccosh)
domain("atanh arctanh",   unary(**INSIDE),            np.arctanh)
domain("atan2 arctan2",   broadcast(ANY, NONZERO),    np.arctan2)
domain("erfc",            unary(**ANY),               special.erfc)
domain("erfinv",          unary(**INSIDE),            special.erfinv)
domain("lgamma",  unary(**GAMMA),             special.gammaln)
domain("digamma",     unary(**GAMMA),             special.digamma)
domain("exp2",            unary(**ANY),               np.exp2)
domain("xlogy",           broadcast(ANY, POSITIVE),   special.xlogy)
domain("trunc fix",       unary(**NEAR_HALVES, ),     np.trunc)
domain("fmod",            broadcast({**NONZERO, "low": -1.8, "high": 1.8}, {"low": 2.0, "high": 3.0}), np.fmod)
domain("erfcx",           unary(**ANY),               special.erfcx,     tg.special.erfcx)
domain("entr",            unary(**POSITIVE),          special.entr,      tg.special.entr)
domain("log_ndtr",        unary(**ANY),               special.log_ndtr,  tg.special.log_ndtr)
domain("ndtri",           unary(**SHARE),             special.ndtri,     tg.special.ndtri)
domain("xlog1py",         broadcast(ANY, POSITIVE),   special.xlog1py,   tg.special.xlog1py)
domain("ndtr",            unary(**ANY),               special.ndtr,      tg.special.ndtr, composed=True)
domain("frac",            unary(**NEAR_HALVES),       lambda x: np.modf(x)[0],  composed=True)
domain("clamp_min",       unary(**NEAR_HALVES),       lambda x: np.maximum(x, 0.0),  lambda x: ops.clamp_min(x, 0),   composed=True)
domain("clamp_max",       unary(**NEAR_HALVES),       lambda x: np.minimum(x, 0.0),  lambda x: ops.clamp_max(x, 0.0), composed=True)
# fmt: on

domain(
    "polygamma",
    st.builds(lambda e, n: Example(e.arrays, {"n": n}), unary(**GAMMA), st.integers(0, 3)),
    lambda x, n: special.polygamma(n, x),
    lambda x, n: ops.polygamma(n, x),
)
domain(
    "logit",
    st.builds(lambda e, eps: Example(e.arrays, {"eps": eps}), unary(**SHARE), st.sampled_from([None, 0.05])),
    lambda x, eps: special.logit(x),
)


# with decimals, whose kinks are nearer than a step: test_surface.py
domain("round", unary(**NEAR_INTEGERS), np.round)
WEIGHTS = {"low": -0.5, "high": 1.5, "avoid": (0.5,), "gap": 0.05}
domain(
    "lerp",
    broadcast(ANY, ANY, WEIGHTS)
    | st.builds(lambda e, w: Example(e.arrays, {"w": w}), broadcast(ANY, ANY), st.sampled_from([0, 0.25, 0.75, 1.0])),
    lambda x, y, w: x + w * (y - x),
    lambda x, y, w: ops.lerp(x, y, w),
)


@st.composite
def with_holes(draw) -> Example:
    """An array in which some elements are nan or infinite."""
    (x,) = draw(unary(**ANY)).arrays
    rng = np.random.default_rng(draw(ts.seeds()))
    holes = rng.choice([np.nan, np.inf, -np.inf], x.shape)
    chosen = np.where(rng.random(x.shape) < 0.3, holes, x)
    return Example((np.asarray(chosen),), {"nan": 0.5, "posinf": draw(st.sampled_from([None, 2.0])), "neginf": -3})


domain("nan_to_num", with_holes(), np.nan_to_num, smooth=False)
domain("isclose", call(*[ts.values((3,), avoid=(0.0,))] * 2), lambda x, y: np.isclose(x, y), smooth=False)
