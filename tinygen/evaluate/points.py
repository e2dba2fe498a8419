"""Scores for samples in the plane, where the truth is known: modes of a mixture, and the Wasserstein distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.evaluate._arrays import chunks, rows

LARGEST = 5000  # points of which `wasserstein` takes two clouds: 200 MB of distances, some seconds


@dataclass(frozen=True, eq=False)
class ModeCoverage:
    """modes: how many have a sample; share: of the samples that are at a mode; counts: (K,), samples at each mode."""

    modes: int
    share: float
    counts: np.ndarray


def modes_covered(samples: Any, centres: Any, radius: float) -> ModeCoverage:
    """How many modes of a mixture the samples reach, and the share of the samples that are at one ("high quality").

    A sample is at the mode whose centre is nearest, if it is no farther than `radius`, by convention three standard
    deviations of a component.

    Unit: modes, and a share from 0 to 1.  Both: higher is better, and neither says much without the other: noise
    reaches all modes with a low share, a collapsed generator one mode with a share of 1.
    Ceiling: K modes; the share of real points, for Gaussians in the plane 1 - exp(-radius²/2σ²): 0.989 for three standard
    deviations.  Baseline: the Gaussian with the data's mean and covariance.  Published: PacGAN and VEEGAN count among 2500
    samples of `data.ring` (8 modes, σ 0.01) and of `data.grid` (25 modes, σ 0.05).

    samples: (n, D).  centres: (K, D), such as `data.ring_means()`.
    Raises ValueError for different D, radius <= 0, and for a value that is not finite.
    Source: Srivastava et al., "VEEGAN", 2017, section 4.1; Lin, Khetan, Fanti, Oh, "PacGAN", 2018, section 4.1.
    """
    samples, centres = rows(samples, "samples"), rows(centres, "centres").astype(np.float64)
    _check_pair("modes_covered", samples, "samples", centres, "centres")
    if not radius > 0:
        raise ValueError(f"modes_covered: a radius > 0 is expected, three standard deviations of a mode, got {radius}")
    counts = np.zeros(len(centres), np.int64)
    for part in chunks(len(samples), "modes"):
        x = samples[part].astype(np.float64)
        squared = np.square(x[:, None] - centres).sum(axis=2)
        nearest = squared.argmin(axis=1)
        at_a_mode = squared.min(axis=1) <= radius**2
        counts += np.bincount(nearest[at_a_mode], minlength=len(centres))
    return ModeCoverage(int((counts > 0).sum()), float(counts.sum() / len(samples)), counts)


def wasserstein(a: Any, b: Any, p: float = 1) -> float:
    """The exact p-Wasserstein distance of two clouds of equally many points: the cheapest way from one to the other.

        W_p = min over permutations π of  ( (1/n) Σ_i ‖a_i - b_π(i)‖^p )^(1/p)

    Unit: that of the coordinates.  Lower is better.  Floor: not 0 but what two sets of n real points have: in the plane
    it falls about like 1/√n, for `data.two_moons` with noise 0.1 and p = 1 from 0.13 at n = 500 to 0.05 at 2000.  So
    print it beside the distance, for the same n.  Baseline: the Gaussian with the data's mean and covariance (there
    0.23).  In many dimensions the floor hardly falls with n, and hides all that is below it: use it in the plane.

    a, b: (n, D).  p >= 1.  The matrix of distances has n² doubles (200 MB for the most that is allowed, 5000 points),
    and the matching takes up to n³ steps: half a second for 2000 points, six for 5000.
    Raises ValueError for different numbers of points (take as many of each), more than 5000 (take some at random),
    different D, p < 1, and for a value that is not finite.
    Source: Villani 2009; matching: Crouse 2016, as scipy.optimize.linear_sum_assignment.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    a, b = rows(a, "a"), rows(b, "b")
    _check_pair("wasserstein", a, "a", b, "b")
    if len(a) != len(b):
        raise ValueError(
            f"wasserstein: as many points on both sides are expected, got {len(a):,} and {len(b):,}; "
            f"take {min(len(a), len(b)):,} of each"
        )
    if len(a) > LARGEST:
        raise ValueError(
            f"wasserstein: at most {LARGEST:,} points are expected, got {len(a):,}, whose distances would take "
            f"{8e-9 * len(a) ** 2:.1f} GB; take {LARGEST:,} of them at random, on both sides and for the floor"
        )
    if not 1 <= p < math.inf:
        raise ValueError(f"wasserstein: a finite p >= 1 is expected, got {p}")
    distances = cdist(a.astype(np.float64), b.astype(np.float64))
    longest = float(distances.max()) or 1.0  # so that no power of a distance overflows
    costs = (distances / longest) ** p
    return longest * float(costs[linear_sum_assignment(costs)].mean() ** (1 / p))


def _check_pair(function: str, a: np.ndarray, name_a: str, b: np.ndarray, name_b: str) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{function}: {name_a} and {name_b} of one dimension are expected, got shapes {a.shape} and {b.shape}"
        )
    for name, x in ((name_a, a), (name_b, b)):
        if wrong := int((~np.isfinite(x)).any(axis=1).sum()):
            raise ValueError(f"{function}: {wrong} of the {len(x)} rows of {name} hold a NaN or an infinity")
