"""A model with latent variables whose likelihood is known: what bounds on likelihoods are held against."""

import math

import numpy as np
from scipy import stats

import tinygen as tg
from tinygen import nn
from tinygen.models.vae import VAE, gaussian_log_prob


class LinearGaussian(VAE):
    """z ~ N(0, I), x | z ~ N(Wz, s² I) with orthogonal columns of W, so x ~ N(0, WWᵀ + s² I).

    The posterior is N(V Wᵀx / s², V) with the diagonal V = (I + WᵀW / s²)⁻¹: the encoder has it for error = 0.
    """

    def __init__(self, seed: int, latent: int = 2, size: int = 4, error: float = 0.0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.latent, self.noise = latent, 0.5 + rng.random()
        w = np.linalg.qr(rng.standard_normal((size, latent)))[0] * (0.5 + rng.random(latent))
        self.marginal = stats.multivariate_normal(np.zeros(size), w @ w.T + self.noise**2 * np.eye(size))
        variance = 1 / (1 + np.square(w).sum(0) / self.noise**2)
        self.w = nn.Parameter(tg.tensor(w))
        self.to_mu = nn.Parameter(tg.tensor(w * variance / self.noise**2 + error * rng.standard_normal(w.shape)))
        self.logvar = nn.Parameter(tg.tensor(np.log(variance) + error * rng.standard_normal(latent)))

    def encode(self, x):
        return x @ self.to_mu, self.logvar.expand(len(x), self.latent)

    def log_prob_given(self, x, z):
        return gaussian_log_prob(x, z @ self.w.T, tg.full_like(x, 2 * math.log(self.noise)))

    def images(self, n, seed):
        return np.atleast_2d(self.marginal.rvs(n, random_state=np.random.default_rng(seed)))
