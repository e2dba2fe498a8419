"""Tests of tinygen.evaluate, and the points that they share."""

import numpy as np


def blob(n=400, d=5, seed=0):
    """Correlated Gaussian points with a mean, float32."""
    r = np.random.default_rng(seed)
    return (r.standard_normal((n, d)) @ r.standard_normal((d, d)) + r.standard_normal(d)).astype(np.float32)
