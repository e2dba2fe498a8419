"""Bounds on the likelihood of a model with latent variables, which itself is an integral that nobody can compute.

    log p(x) = log ∫ p(x, z) dz = log E_{z~q(z|x)} w,   w = p(x, z) / q(z|x)

    L_K(x) = E log (1/K) Σ_k w_k,   z_1, ..., z_K ~ q(z|x)

    ELBO = L_1 ≤ L_2 ≤ ... ≤ log p(x),   L_K → log p(x) for K → ∞

by Jensen's inequality: the mean of K weights is an unbiased estimate of p(x), the logarithm of an estimate is too small on
average, and the less so the better the estimate.  The gap of L_1 is KL(q(z|x) ‖ p(z|x)); with the exact posterior as q
every weight is p(x), and there is no gap at any K.

All need of the model one method, `log_weights`: see `LatentVariableModel`.  All work on a part of the images and draws at
a time and record nothing.  A model with dropout or batch normalisation wants `model.eval()` first.

Unit: nats per image.  Bounds: higher is better.  Negative log-likelihood: lower is better.  Floor of the latter: the
entropy of the data, which for images nobody knows; at least `bernoulli_entropy` when grey values are binarised anew at
each use.  Baseline: `bernoulli_nll`, independent pixels: 205.8 nats on binarised MNIST.  Numbers compare only between
models of the same binarisation.

Sources: Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", 2016, eq. 8 and theorem 1; Kingma, Welling 2014.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import tinygen
from tinygen import backend, data, nn, training
from tinygen.evaluate.likelihood import Estimate

DRAWS = 2000
"""Draws (images × samples) that are decoded at a time: for MNIST 6 MB per array."""

LOWEST = np.finfo(np.float64).min


class LatentVariableModel(Protocol):
    """What the functions here ask of a model: `VAE` and all made from it have it."""

    def log_weights(self, x: Any, k: int, generator: backend.Generator | None = None) -> Any:
        """log p(x, z_k) − log q(z_k|x) for k independent draws z_k ~ q(z|x) per image: (batch, ...) -> (k, batch)."""


@dataclass(frozen=True, eq=False)
class Bound(Estimate):
    """A lower bound on the mean log-likelihood, in nats per image; higher is better.

    value, error, per_image: see `Estimate`; the error is that of the draws too.  k: draws inside the logarithm.
    """

    k: int


@dataclass(frozen=True, eq=False)
class SampledNLL(Estimate):
    """A mean negative log-likelihood by importance sampling, in nats per image, too large on average; lower is better.

    value, error, per_image: see `Estimate`; the error is that of the draws too.  samples: draws per image.
    effective_samples: how many of them counted, on average over the images (see `importance_sampled_nll`).
    """

    samples: int
    effective_samples: float


def elbo(
    model: LatentVariableModel, x: Any, samples: int = 1, generator: backend.Generator | int | None = None
) -> Bound:
    """The evidence lower bound E_{z~q} log w: the bound with K = 1, averaged over `samples` draws per image.

    Unit: nats per image.  Higher is better.  One draw per image suffices for thousands of images.
    x, generator, errors: see `importance_weighted_bounds`.
    """
    blocks = _log_weights(model, x, samples, generator, "ELBO")
    return _bound([log_w.mean(axis=0) for log_w in blocks], 1)


def importance_weighted_bound(
    model: LatentVariableModel, x: Any, k: int = 50, generator: backend.Generator | int | None = None
) -> Bound:
    """The importance-weighted bound L_K with K = k, by k draws per image.  See `importance_weighted_bounds`."""
    return importance_weighted_bounds(model, x, (k,), generator)[k]


def importance_weighted_bounds(
    model: LatentVariableModel,
    x: Any,
    ks: Sequence[int] = (1, 5, 50),
    generator: backend.Generator | int | None = None,
) -> dict[int, Bound]:
    """The bounds L_K for several K, from the same draws: {k: bound}.

    Of max(ks) draws per image L_K takes groups of K, and averages over the groups.  So every L_K uses every draw, and when
    one k divides the next, the bounds rise with k not only on average but on these very draws: the logarithm of a mean is
    at least the mean of the logarithms of its parts.

    Unit: nats per image.  Higher is better.  Ceiling: minus the entropy of the data.  Baseline: −`bernoulli_nll`.
    x: images, (n, ...), as the model takes them; array or Tensor.
    generator: a Generator of the model's device, a seed, or None for the default generator.
    Raises ValueError unless all of ks are at least 1 and divide the largest, for no images, for log-weights of a wrong
    shape, NaN or +inf.
    """
    if not ks or min(ks) < 1 or any(max(ks) % k for k in ks):
        raise ValueError(
            f"importance_weighted_bounds: ks >= 1 that divide the largest of them are expected, so that the draws fall "
            f"into groups of each size, got ks={tuple(ks)}; (1, 5, 50) will do"
        )
    found: dict[int, list[np.ndarray]] = {k: [] for k in ks}
    for log_w in _log_weights(model, x, max(ks), generator, "importance-weighted bounds"):
        for k, per_image in found.items():
            groups = log_w.reshape(-1, k, log_w.shape[1])
            per_image.append((np.logaddexp.reduce(groups, axis=1) - math.log(k)).mean(axis=0))
    return {k: _bound(per_image, k) for k, per_image in found.items()}


def importance_sampled_nll(
    model: LatentVariableModel, x: Any, samples: int = 500, generator: backend.Generator | int | None = None
) -> SampledNLL:
    """−log p(x) by importance sampling, −log (1/S) Σ_s w_s with S = `samples` draws: `importance_weighted_bound`, negated.

    Unit: nats per image.  Lower is better.  Too large on average, never too small, and right for S → ∞.  Baseline:
    `bernoulli_nll`.  Papers take 200 to 5000 draws; say how many.

    Whether they were enough: the effective sample size (Σ w)² / Σ w² is S when all weights are equal, and 1 when one draw
    outweighs all others, and 0 when all are 0.  Near 1 the number is still a bound, but more draws would lower it.

    x, generator, errors: see `importance_weighted_bounds`.  Source of the effective sample size: Kong 1992.
    """
    log_p, effective = [], []
    for log_w in _log_weights(model, x, samples, generator, f"NLL by {samples} draws"):
        log_p.append(np.logaddexp.reduce(log_w) - math.log(samples))
        w = np.exp(log_w - np.maximum(log_w.max(axis=0), LOWEST))  # the largest is 1, or all are 0
        effective.append(w.sum(axis=0) ** 2 / np.maximum(np.square(w).sum(axis=0), 1))
    bound = _bound(log_p, samples)
    effective_samples = float(np.concatenate(effective).mean())
    return SampledNLL(-bound.value, bound.error, -bound.per_image, samples, effective_samples)


def _bound(parts: list[np.ndarray], k: int) -> Bound:
    per_image = np.concatenate(parts)
    mean = float(per_image.mean())
    certain = len(per_image) > 1 and math.isfinite(mean)
    return Bound(mean, float(per_image.std(ddof=1)) / math.sqrt(len(per_image)) if certain else math.nan, per_image, k)


def _log_weights(
    model: LatentVariableModel, x: Any, k: int, generator: backend.Generator | int | None, title: str
) -> Iterator[np.ndarray]:
    """The model's log-weights, (k, rows) in float64 for some images at a time, of at most DRAWS draws at a time."""
    if k < 1 or len(x) == 0:
        raise ValueError(f"{title}: at least one image and one draw are expected, got {len(x)} images and {k} draws")
    parameter = next(iter(model.parameters()), None) if isinstance(model, nn.Module) else None
    device = backend.get_default_device() if parameter is None else parameter.device
    if isinstance(generator, int):
        generator = backend.Generator(device).manual_seed(generator)
    draws = min(k, DRAWS)
    for images in training.progress(data.DataLoader(x, DRAWS // draws, device=device), title, delay=1.0):
        with tinygen.no_grad():
            counts = [min(draws, k - start) for start in range(0, k, draws)]
            block = np.concatenate([_checked(model, images, count, generator) for count in counts])
        yield block


def _checked(model: LatentVariableModel, x: Any, k: int, generator: backend.Generator | None) -> np.ndarray:
    log_w = backend.to_numpy(model.log_weights(x, k, generator).array).astype(np.float64)
    name = f"{type(model).__name__}.log_weights"
    if log_w.shape != (k, len(x)):
        raise ValueError(f"{name}: one number per draw and image is expected, {(k, len(x))}, got shape {log_w.shape}")
    if wrong := int((np.isnan(log_w) | (log_w == np.inf)).sum()):
        raise ValueError(f"{name}: {wrong:,} of {log_w.size:,} log-weights are NaN or +inf")
    return log_w
