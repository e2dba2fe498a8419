"""Two-dimensional densities that are known exactly, so that a model's likelihood can be held against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.data.generators import AnyGenerator, library_generator

LEAST_NOISE = 0.005
"""The quadratures refuse less noise: their grids grow with 1/noise²."""


def two_moons(n: int, noise: float = 0.1, generator: AnyGenerator = None) -> np.ndarray:
    """n independent points on two interlocking half circles with Gaussian noise: (n, 2), float32.

        upper (cos t, sin t)   or   lower (1 - cos t, 1/2 - sin t),   t ~ U[0, π],   plus N(0, noise² I)

    Each moon is chosen with probability 1/2 for every point, so this is a sample of exactly the density that
    `two_moons_log_prob` evaluates.  Raises ValueError for n < 0 or noise < 0.
    """
    _check("two_moons", n=n, noise=noise)
    rng = library_generator(generator)
    t = np.pi * rng.random(n)
    lower = rng.integers(0, 2, n) == 1
    x = np.where(lower, 1 - np.cos(t), np.cos(t))
    y = np.where(lower, 0.5 - np.sin(t), np.sin(t))
    return (np.stack([x, y], axis=1) + noise * rng.standard_normal((n, 2))).astype(np.float32)


def two_moons_log_prob(points: np.ndarray, noise: float = 0.1) -> np.ndarray:
    """The exact log-density of `two_moons`, in nats: points (n, 2) -> (n,), float64.

    The integral over the arcs is Gauss-Legendre quadrature, 16 nodes to every four standard deviations of the noise.
    Data that were standardised as u = (x - mean) / scale have the log-density of x plus 2 log(scale).
    """
    _check("two_moons_log_prob", n=0, noise=noise, least_noise=LEAST_NOISE)
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"two_moons_log_prob: points of shape (n, 2) are expected, got {points.shape}")
    cos, sin, weight = _arc(noise)
    log_weight = np.log(weight / (4 * math.pi * noise**2))  # 1/2 for the choice of the moon, 1/(2 π σ²) for the noise
    out = np.empty(len(points))
    for start in range(0, len(points), 1024):  # (1024, nodes) at a time bounds the memory
        x, y = points[start : start + 1024].T[..., None]
        upper = log_weight - ((x - cos) ** 2 + (y - sin) ** 2) / (2 * noise**2)
        lower = log_weight - ((1 - x - cos) ** 2 + (0.5 - y - sin) ** 2) / (2 * noise**2)  # the upper one, turned by π
        both = np.concatenate([upper, lower], axis=1)
        top = both.max(axis=1)
        out[start : start + 1024] = top + np.log(np.exp(both - top[:, None]).sum(axis=1))
    return out


def two_moons_entropy(noise: float = 0.1) -> float:
    """-∫ p log p of `two_moons`, in nats per point: the floor under every model's test negative log-likelihood.

    0.2895 at noise 0.05, 1.0084 at 0.1, 1.6742 at 0.2.  Computed by quadrature: the trapezoidal rule on a grid of a
    quarter of the noise, which for a density as smooth as a Gaussian is exact to many digits.  Data that were
    standardised as u = (x - mean) / scale have this entropy minus 2 log(scale).
    """
    _check("two_moons_entropy", n=0, noise=noise, least_noise=LEAST_NOISE)
    step = noise / 4
    # A grid symmetric about (1/2, 1/4), the point about which one moon turns into the other.
    x = 0.5 + step * np.arange(-math.ceil((1.5 + 8 * noise) / step), math.ceil((1.5 + 8 * noise) / step) + 1)
    y = 0.25 + step * np.arange(-math.ceil((0.75 + 8 * noise) / step), math.ceil((0.75 + 8 * noise) / step) + 1)
    cos, sin, weight = _arc(noise)
    # A Gaussian is a product of one factor in x and one in y, so the sum over the arc is a matrix product.
    along_x = np.exp(-((x[:, None] - cos) ** 2) / (2 * noise**2))
    along_y = np.exp(-((y[:, None] - sin) ** 2) / (2 * noise**2))
    upper = (along_x * weight / (2 * math.pi * noise**2)) @ along_y.T
    density = (upper + upper[::-1, ::-1]) / 2
    return float(-np.sum(density * np.log(np.maximum(density, np.finfo(np.float64).tiny))) * step**2)


def gaussian_mixture(
    n: int,
    means: Sequence[Sequence[float]] | np.ndarray,
    std: float = 0.1,
    weights: Sequence[float] | np.ndarray | None = None,
    generator: AnyGenerator = None,
) -> np.ndarray:
    """n independent points of Σ_k weights_k N(means_k, std² I): means (K, D) -> (n, D), float32.

    Equal weights by default; they are normalised to sum 1.  Raises ValueError for shapes that do not match, negative
    weights, n < 0 or std < 0.
    """
    _check("gaussian_mixture", n=n, std=std)
    means, probabilities = _mixture("gaussian_mixture", means, weights)
    rng = library_generator(generator)
    component = rng.choice(len(means), size=n, p=probabilities)
    return (means[component] + std * rng.standard_normal((n, means.shape[1]))).astype(np.float32)


def gaussian_mixture_log_prob(
    points: np.ndarray,
    means: Sequence[Sequence[float]] | np.ndarray,
    std: float = 0.1,
    weights: Sequence[float] | np.ndarray | None = None,
) -> np.ndarray:
    """The exact log-density of `gaussian_mixture`, and so of `ring` and `grid`, in nats: points (n, D) -> (n,), float64.

    Raises ValueError for shapes that do not match, negative weights, std <= 0.
    means: (K, D), the centres.  weights: (K,); equal ones by default.
    """
    from scipy.special import logsumexp

    means, probabilities = _mixture("gaussian_mixture_log_prob", means, weights)
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != means.shape[1]:
        raise ValueError(
            f"gaussian_mixture_log_prob: points of shape (n, {means.shape[1]}) are expected, got {points.shape}"
        )
    if not 0 < std < math.inf:
        raise ValueError(f"gaussian_mixture_log_prob: a finite std > 0 is expected, got {std}")
    out = np.empty(len(points))
    for start in range(0, len(points), 1024):  # (1024, K, D) at a time bounds the memory
        away = np.square(points[start : start + 1024, None] - means).sum(axis=2)
        out[start : start + 1024] = logsumexp(-away / (2 * std**2), axis=1, b=probabilities)
    return out - means.shape[1] * math.log(math.sqrt(2 * math.pi) * std)


def ring_means(modes: int = 8, radius: float = 1.0) -> np.ndarray:
    """The centres of `ring`, counter-clockwise from (radius, 0): (modes, 2), float64."""
    if modes < 1:
        raise ValueError(f"ring_means: modes >= 1 is expected, got {modes}")
    angle = 2 * np.pi * np.arange(modes) / modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ring(n: int, modes: int = 8, radius: float = 1.0, std: float = 0.05, generator: AnyGenerator = None) -> np.ndarray:
    """n points of `modes` equal Gaussians on a circle, the classic test for a GAN that drops modes: (n, 2), float32.

    radius: of the circle.  std: of each Gaussian.
    """
    return gaussian_mixture(n, ring_means(modes, radius), std, generator=generator)


def grid_means(side: int = 5, spacing: float = 2.0) -> np.ndarray:
    """The centres of `grid`, row by row from the lower left, around 0: (side², 2), float64.

    side, spacing: as for `grid`.
    """
    if side < 1:
        raise ValueError(f"grid_means: side >= 1 is expected, got {side}")
    line = spacing * (np.arange(side) - (side - 1) / 2)
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def grid(n: int, side: int = 5, spacing: float = 2.0, std: float = 0.05, generator: AnyGenerator = None) -> np.ndarray:
    """n points of side² equal Gaussians on a square grid, by default the usual 25 modes: (n, 2), float32.

    side: centres per row.  spacing: between neighbours.  std: of each Gaussian.
    """
    return gaussian_mixture(n, grid_means(side, spacing), std, generator=generator)


def rings(
    n: int, radii: Sequence[float] = (0.5, 1.0), noise: float = 0.05, generator: AnyGenerator = None
) -> np.ndarray:
    """n points on concentric circles, each circle equally likely, plus N(0, noise² I): (n, 2), float32.

    radii: of the circles.  noise: its standard deviation.
    """
    _check("rings", n=n, noise=noise)
    if len(radii) == 0:
        raise ValueError("rings: at least one radius is expected, got none")
    rng = library_generator(generator)
    radius = np.asarray(radii, np.float64)[rng.integers(0, len(radii), n)]
    angle = 2 * np.pi * rng.random(n)
    circle = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return (circle + noise * rng.standard_normal((n, 2))).astype(np.float32)


def _mixture(function: str, means: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means (K, D) and weights (K,) of sum 1, as float64."""
    means = np.asarray(means, np.float64)
    if means.ndim != 2 or len(means) == 0:
        raise ValueError(f"{function}: means of shape (K, D), K >= 1, are expected, got {means.shape}")
    probabilities = np.ones(len(means)) if weights is None else np.asarray(weights, np.float64)
    if probabilities.shape != (len(means),) or not (probabilities >= 0).all() or not 0 < probabilities.sum() < np.inf:
        raise ValueError(
            f"{function}: {len(means)} weights >= 0 of positive sum are expected, one per mean, got {weights!r}"
        )
    return means, probabilities / probabilities.sum()


def _arc(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """cos t, sin t and the weights (of sum 1) of a quadrature over t ~ U[0, π]."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    panels = math.ceil(math.pi / (4 * noise))  # none wider than four standard deviations
    t = ((np.arange(panels)[:, None] + (nodes + 1) / 2) * (math.pi / panels)).ravel()
    return np.cos(t), np.sin(t), np.tile(weights / 2, panels) / panels


def _check(function: str, n: int, least_noise: float = 0.0, **spread: float) -> None:
    if n < 0:
        raise ValueError(f"{function}: n >= 0 is expected, got {n}")
    for name, value in spread.items():
        if not least_noise <= value < math.inf:
            raise ValueError(f"{function}: {name} >= {least_noise:g} and finite is expected, got {value}")
