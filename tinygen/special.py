"""Special functions under the names of torch.special; most are in `tinygen` too."""

from tinygen.ops import (
    digamma,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    log1p,
    log_softmax,
    logit,
    logsumexp,
    polygamma,
    round,
    softmax,
    xlogy,
)
from tinygen.ops import lgamma as gammaln
from tinygen.ops import sigmoid as expit
from tinygen.ops.special import entr, erfcx, log_ndtr, ndtr, ndtri, xlog1py

psi = digamma

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "softmax",
    "xlog1py",
    "xlogy",
]
