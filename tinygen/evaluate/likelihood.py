"""Negative log-likelihoods, their units, and the trivial densities to beat."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygen
from tinygen import backend, data, training
from tinygen.evaluate._arrays import as_numpy, chunks, covariance, rows, width


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over images.  error: its standard error, of the choice of the images.  per_image: (n,), their numbers."""

    value: float
    error: float
    per_image: np.ndarray


def negative_log_likelihood(
    log_prob: Callable[[Any], Any], x: Any, batch_size: int = 1000, device: str | backend.Device | None = None
) -> Estimate:
    """Mean of -log p(x) over the images x: (n, ...), for a model that knows its density.

    Unit: nats per image.  Lower is better.  Floor: the entropy of the data, for two moons `data.two_moons_entropy`; for
    images unknown.  Baselines: `gaussian_nll`, `bernoulli_nll`; for 8-bit images compare in bits/dim, by `bits_per_dim`
    and `histogram_bits`.  A model that knows only bounds: `importance_sampled_nll`.

    log_prob: takes a batch of x as a Tensor and returns (batch,), in nats; nothing is recorded.  A model with dropout
    or batch normalisation wants `model.eval()` first.
    batch_size: images at a time; device: where the batches go (by default where x is; arrays go to the default device).
    Raises ValueError for no images, and for log-probabilities of a wrong shape, NaN or +inf.  -inf is an answer: a NLL
    of inf, for images that the model thinks impossible.
    """
    if len(x) == 0:
        raise ValueError("negative_log_likelihood: at least one image is expected, got none")
    parts = []
    loader = data.DataLoader(x, batch_size, device=device)
    for batch in training.progress(loader, "negative log-likelihood", delay=1.0):
        with tinygen.no_grad():
            found = as_numpy(log_prob(batch)).astype(np.float64)
        if found.shape != (len(batch),):
            raise ValueError(
                f"negative_log_likelihood: log_prob should return one number per image, shape ({len(batch)},), "
                f"for a batch of shape {tuple(batch.shape)}, but returned shape {found.shape}"
            )
        if wrong := int((np.isnan(found) | (found == np.inf)).sum()):
            raise ValueError(f"negative_log_likelihood: {wrong} of {len(found)} log-probabilities are NaN or +inf")
        parts.append(-found)
    nll = np.concatenate(parts)
    mean = float(nll.mean())
    certain = len(nll) > 1 and math.isfinite(mean)
    return Estimate(mean, float(nll.std(ddof=1)) / math.sqrt(len(nll)) if certain else math.nan, nll)


# --- bits per dimension ----------------------------------------------------------------------------------------------


def bits_per_dim(nll: float, dims: int, levels: int = 256) -> float:
    """The negative log-likelihood of a density on [0, 1]^D as bits per dimension of the 8-bit data under it.

        bits/dim = (NLL / D + ln 256) / ln 2

    The density is one of dequantised data x = (k + u) / 256, u ~ U[0, 1)^D.  Averaged over u its logarithm is at most
    that of the probability which it gives to the bin of k (Jensen), so this is an upper bound on the bits that a
    lossless code by the model would take.

    Unit: bits per dimension (a grey value of one pixel).  Lower is better.  Floor: 0, of a model that knows every image
    by heart.  Baselines: 8, all values alike; `histogram_bits`, independent pixels: 1.690 on MNIST.  Published on
    MNIST: 1.06 (RealNVP), 0.81 (PixelCNN); NICE's 1980.5 nats of log-likelihood are 4.36, worse than independence.

    nll: nats per image.  dims: D, the grey values of an image (784 for MNIST).  levels: how many grey values there are.
    Raises ValueError for a NaN, and for what would come out negative.
    Source: Theis, van den Oord, Bethge 2016, section 3.1; deck D4.
    """
    _check_dims("bits_per_dim", dims, levels)
    bits = (nll / dims + math.log(levels)) / math.log(2)
    if not bits >= 0:
        raise ValueError(
            f"bits_per_dim: NLL {nll:g} nats over {dims} dimensions of {levels} levels would be {bits:.4g} bits/dim, and "
            "no density of dequantised data has fewer than 0\n"
            "    were the data dequantised, x = (k + u) / 256 with u ~ U[0, 1)?  a density of values k / 255 can be as "
            "high as it likes\n"
            "    is every log-determinant counted, with its sign, that of the logit transform too?\n"
            "    is nll in nats, summed over the dimensions, and minus the log-likelihood?"
        )
    return bits


def bits_to_nats(bits: float, dims: int, levels: int = 256) -> float:
    """The inverse of `bits_per_dim`: NLL = D (bits ln 2 - ln 256), nats per image of dequantised data in [0, 1]^D.

    Lower is better; it is negative below 8 bits, for densities may be greater than 1.  Floor: -D ln 256, at 0 bits
    (-4347 for MNIST).  Raises ValueError for bits < 0 or NaN.
    bits: per dimension.  dims: D, the number of dimensions.  levels: of grey.
    """
    _check_dims("bits_to_nats", dims, levels)
    if not bits >= 0:
        raise ValueError(f"bits_to_nats: bits/dim >= 0 are expected, got {bits}")
    return dims * (bits * math.log(2) - math.log(levels))


def histogram_bits(train: Any, test: Any, shared: bool = False, pseudocount: float = 1.0, levels: int = 256) -> float:
    """Bits/dim of `test` under independent pixels: every pixel has its own histogram of the grey values in `train`.

        p_d(k) = (n_dk + 1) / (N + 256),   n_dk: in how many of the N training images pixel d has the value k

    Unit: bits per dimension.  Lower is better.  This is a baseline for `bits_per_dim`: a model of images that scores
    worse knows less than one in which no pixel knows of another.  MNIST: 1.690; with one histogram for all pixels
    1.967.
    Floor: 0.

    train, test: (n, D), integers from 0 to 255, or floats k / 255, which are turned back into them exactly.
    shared: one histogram for all pixels.  pseudocount: imagined images of each grey value (1: Laplace's rule; from
    0.001 to 1 MNIST's number changes by 0.001).  levels: how many grey values there are; floats are k / (levels - 1).
    Raises ValueError for other values, such as dequantised ones, for two widths, and for a pseudocount of 0 or less, with
    which a value never seen in training would make the number infinite.
    """
    if not 0 < pseudocount < math.inf:
        raise ValueError(f"histogram_bits: a pseudocount > 0 is expected, got {pseudocount}")
    train, test = rows(train, "train"), rows(test, "test")
    dims = train.shape[1]
    _check_dims("histogram_bits", dims, levels)
    if test.shape[1] != dims:
        raise ValueError(f"histogram_bits: images of one size are expected, got {dims} and {test.shape[1]} pixels")
    offset = 0 if shared else levels * np.arange(dims)
    counts = np.zeros(levels if shared else dims * levels)
    for part in chunks(len(train), "histograms", dims):
        counts += np.bincount((_grey_levels(train[part], levels) + offset).ravel(), minlength=len(counts))
    counts = counts.reshape(-1, levels) + pseudocount
    bits = -np.log2(counts / counts.sum(axis=1, keepdims=True)).ravel()
    parts = chunks(len(test), "bits", dims)
    total = sum(float(bits[_grey_levels(test[part], levels) + offset].sum()) for part in parts)
    return total / test.size


def _grey_levels(x: np.ndarray, levels: int) -> np.ndarray:
    """Grey values as integers from 0 to levels - 1, int64."""
    scaled = x if x.dtype.kind in "iu" else x * float(levels - 1)
    whole = np.rint(scaled)
    # k / 255 in float32, times 255, is k up to two roundings
    exact = np.abs(scaled - whole) <= 4 * np.finfo(np.float32).eps * (levels - 1)
    if not (exact & (whole >= 0) & (whole < levels)).all():
        raise ValueError(
            f"histogram_bits: grey values 0 to {levels - 1}, or the floats k / {levels - 1}, are expected, got "
            f"{x.dtype} from {x.min():g} to {x.max():g}; dequantised or resized images have to be rounded first"
        )
    return whole.astype(np.int64)


def _check_dims(name: str, dims: int, levels: int) -> None:
    if dims < 1 or levels < 2:
        raise ValueError(f"{name}: dims >= 1 and levels >= 2 are expected, got dims={dims}, levels={levels}")


# --- trivial densities -----------------------------------------------------------------------------------------------


def gaussian_nll(train: Any, test: Any, full: bool = True) -> float:
    """Mean negative log-density of `test` under the Gaussian with the mean and covariance of `train`.

    Unit: nats per point.  Lower is better.  This is a baseline: the best density without any curve in it.
    Floor: the entropy of the data, for two moons `data.two_moons_entropy`.  Two moons with noise 0.1: 1.903, floor
    1.008.
    full: with the full covariance, whose D×D numbers take D³ steps; or with the variances alone, of independent columns.
    Raises numpy.linalg.LinAlgError when the training covariance is singular, as it is for n <= D (before it is made), and
    with a column that is constant.
    """
    train, test = rows(train, "train"), rows(test, "test")
    mean = train.mean(axis=0, dtype=np.float64)
    if not full:
        scale = np.sqrt(_column_variances(train, mean))
        if constant := (scale <= 1e-12 * np.abs(mean)).sum():  # but for the rounding of the mean
            raise np.linalg.LinAlgError(f"gaussian_nll: {constant} of {len(mean)} columns are constant; leave them out")
        parts = chunks(len(test), "Gaussian", len(mean))
        squares = sum(float(np.square((test[part] - mean) / scale).sum()) for part in parts) / len(test)
        return 0.5 * (squares + float(2 * np.log(scale).sum()) + len(mean) * math.log(2 * math.pi))
    if len(train) <= len(mean):
        raise np.linalg.LinAlgError(
            f"gaussian_nll: the covariance of {len(train)} points in {len(mean)} dimensions is singular; take more points, or "
            "full=False"
        )
    lower = np.linalg.cholesky(covariance(train, mean))
    white = np.linalg.solve(lower, (test - mean).T)
    log_det = 2 * np.log(np.diag(lower)).sum()
    return float(0.5 * (np.square(white).sum(axis=0).mean() + log_det + len(mean) * math.log(2 * math.pi)))


def bernoulli_nll(train: Any, test: Any, pseudocount: float = 1.0) -> float:
    """Mean cross-entropy of `test` under independent pixels, each 1 with its mean training value.

    Unit: nats per image.  Lower is better.  This is a baseline for a VAE's -ELBO on the same (grey or binary) images:
    the best model in which no pixel knows of another.  MNIST: 205.8.  Floor: `bernoulli_entropy`.
    pseudocount: imagined images, one black and one white, that keep the probabilities away from 0 and 1.
    train, test: (n, ...), in [0, 1].
    """
    train, test = rows(train, "train"), rows(test, "test")
    p = (train.sum(axis=0, dtype=np.float64) + pseudocount) / (len(train) + 2 * pseudocount)
    mean = test.mean(axis=0, dtype=np.float64)  # the cross-entropy is linear in the images
    return float(-(mean @ np.log(p) + (1 - mean) @ np.log1p(-p)))


def _column_variances(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    total = np.zeros(len(mean))
    for part in chunks(len(x), "variances", len(mean)):
        total += np.square(x[part] - mean).sum(axis=0)
    return total / len(x)


def bernoulli_entropy(x: Any) -> float:
    """Mean over the images of the entropy of their pixels, each read as the probability of a 1.

    Unit: nats per image.  This is a floor: with grey targets no model's cross-entropy, and so no -ELBO, can be lower,
    even if it predicts every image exactly.  MNIST's test set: 45.5.  0 for binary images.
    """
    from scipy.special import entr

    x, total = rows(x), 0.0
    for part in chunks(len(x), "entropy", width(x)):
        pixels = x[part].astype(np.float64)
        total += float(entr(pixels).sum() + entr(1 - pixels).sum())
    return total / len(x)
