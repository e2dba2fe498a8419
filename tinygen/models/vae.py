"""Variational autoencoders: a density over images, trained through a bound on it.

    z ~ N(0, I),   x ~ p(x|z)                                       the model: the decoder gives p(x|z)
    q(z|x) = N(μ(x), diag σ²(x))                                    the encoder: a guess at the posterior

    log p(x) ≥ ELBO(x) = E_{z~q(z|x)} log p(x|z) − KL(q(z|x) ‖ N(0, I))
    KL = −½ Σ_j (1 + log σ_j² − μ_j² − σ_j²)

The gap is KL(q(z|x) ‖ p(z|x)), so the bound is tight when the encoder's guess is right.  The expectation is estimated by
one sample, z = μ + σ ε with ε ~ N(0, I): written like this, z is a differentiable function of μ and σ.

The encoder returns log σ², any real number up to ±14 (`models/fitting.py`); σ = exp(½ log σ²).  All losses are sums over pixels and latents, averaged
over the batch, in nats: then −loss is the ELBO itself.

Sources: Kingma, Welling, "Auto-encoding variational Bayes", 2014, eq. 3, 10 and appendix B; decks D0, D2, D3, D4.
Errata: D4's slide 51 prints KL with the wrong sign (its code is right); D2 writes "=" for "≥".
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import tinygen as tg
from tinygen import data, evaluate, nn, optim, training
from tinygen.models.autoencoder import mlp
from tinygen.models.fitting import bounded, check_range
from tinygen.models.model import Model
from tinygen.models.result import Result

LOG_2PI = math.log(2 * math.pi)


def kl_to_standard_normal(mu: tg.Tensor, logvar: tg.Tensor) -> tg.Tensor:
    """KL(N(μ, diag exp(logvar)) ‖ N(0, I)): (batch, d), (batch, d) -> (batch,), in nats.  0 for μ = 0, logvar = 0."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)


def gaussian_log_prob(x: tg.Tensor, mu: tg.Tensor, logvar: tg.Tensor) -> tg.Tensor:
    """log N(x; μ, diag exp(logvar)), summed over the last axis: (..., d) -> (...,), in nats.

    The constant ½ log 2π counts once per dimension; deck D4's listing subtracts it once in all, which does not matter
    for training but makes a wrong likelihood.
    """
    return -0.5 * (LOG_2PI + logvar + (x - mu) ** 2 * (-logvar).exp()).sum(-1)


class VAE(Model):
    """What both VAEs share.  A subclass has an `encoder` (x -> μ and logvar side by side), and says what p(x|z) is:
    `decode(z)` returns its parameters, `log_prob_given(x, z)` is log p(x|z), `mean(z)` its mean.
    """

    latent: int
    encoder: Any
    decoder: Any

    def encode(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """The parameters of q(z|x): (batch, D) -> μ, log σ²: (batch, latent) each, log σ² within ±14 (`fitting.bounded`)."""
        mu, logvar = self.encoder(x).chunk(2, 1)
        return mu, bounded(logvar)

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        raise NotImplementedError

    def log_prob_given(self, x: tg.Tensor, z: tg.Tensor) -> tg.Tensor:
        raise NotImplementedError

    def mean(self, z: tg.Tensor) -> tg.Tensor:
        raise NotImplementedError

    def reparameterize(self, mu: tg.Tensor, logvar: tg.Tensor) -> tg.Tensor:
        """A sample z = μ + σ ε of q(z|x).  In eval mode its mean μ, as the decks do when they show reconstructions."""
        return _sample(mu, logvar) if self.training else mu

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        """(decode(z), μ, log σ²) with z from `reparameterize`."""
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar

    def elbo(self, x: tg.Tensor) -> tg.Tensor:
        """An unbiased estimate of ELBO(x) by one sample of z: (batch,), in nats.

        It samples in eval mode too: with the mean of q in place of a sample the number would not be a bound.
        """
        mu, logvar = self.encode(x)
        return self.log_prob_given(x, _sample(mu, logvar)) - kl_to_standard_normal(mu, logvar)

    def loss(self, x: tg.Tensor) -> tg.Tensor:
        """−ELBO, averaged over the batch: a number, in nats."""
        return -self.elbo(x).mean()

    def log_weights(self, x: tg.Tensor, k: int = 1, generator: tg.Generator | None = None) -> tg.Tensor:
        """log w_k = log p(x|z_k) + log p(z_k) − log q(z_k|x) for k draws z_k ~ q(z|x) per image: (k, batch), in nats.

        A weight is an unbiased estimate of p(x), and its logarithm one of the ELBO (by one sample, KL included).  At
        z = μ + σ ε the two Gaussians have −½ Σ_j (log 2π + z_j²) and −½ Σ_j (log 2π + log σ_j² + ε_j²).

        All draws are decoded at once: memory for k · batch images.  generator: of the model's device; None is the
        default one.  Raises ValueError for k < 1.
        """
        if k < 1:
            raise ValueError(f"log_weights: k >= 1 draws per image are expected, got {k}")
        mu, logvar = self.encode(x)
        noise = tg.randn(k, *mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
        z = mu + (0.5 * logvar).exp() * noise
        log_ratio = 0.5 * (noise**2 + logvar - z**2).sum(2)  # log p(z) − log q(z|x)
        images = x.expand(k, *x.shape).flatten(0, 1)
        return self.log_prob_given(images, z.flatten(0, 1)).reshape(k, len(x)) + log_ratio

    def log_prob(self, x: tg.Tensor, samples: int = 100) -> tg.Tensor:
        """A closer bound on log p(x) by importance sampling: (batch,), in nats.

            log (1/K) Σ_k w_k,   w_k = p(x|z_k) p(z_k) / q(z_k|x),   z_k ~ q(z|x)

        At most log p(x) on average, rises with K, and becomes exact for K → ∞; K = 1 is the ELBO.  Memory for
        samples · batch images: `evaluate.importance_sampled_nll` measures a whole test set a part at a time.
        Source: Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", 2016, eq. 8.
        """
        return self.log_weights(x, samples).logsumexp(0) - math.log(samples)

    def reconstruct(self, x: tg.Tensor) -> tg.Tensor:
        """The mean of p(x|z) at the mean of q(z|x), without recording: (batch, D)."""
        with tg.no_grad():
            return self.mean(self.encode(x)[0])

    def latents(self, n: int) -> tg.Tensor:
        """n draws of z ~ N(0, I), on the model's device."""
        parameter = next(self.parameters())
        return tg.randn(n, self.latent, dtype=parameter.dtype, device=parameter.device)


def _sample(mu: tg.Tensor, logvar: tg.Tensor) -> tg.Tensor:
    return mu + (0.5 * logvar).exp() * tg.randn_like(mu)


class BernoulliVAE(VAE):
    """Pixels that are 1 with probability sigmoid(logit): x_i | z ~ Bernoulli.

        encoder  Linear(784, 400), ReLU, Linear(400, 2·latent)       decoder  Linear(latent, 400), ReLU, Linear(400, 784)

    The decoder returns logits a; log p(x|z) = −Σ_i [softplus(a_i) − x_i a_i], the binary cross-entropy, never takes the
    logarithm of 0.  Grey pixels in [0, 1] are used as if they were probabilities, as everybody does: then −ELBO cannot
    fall below `evaluate.bernoulli_entropy` of the images.

    x: (batch, size), in [0, 1].  Raises ValueError for others (not checked on a GPU): real numbers are for `GaussianVAE`.
    Source: deck D0, latent 10; PyTorch's example, latent 20.
    size: of x.  hidden, latent: widths, by default those above.
    """

    def __init__(self, size: int = 784, hidden: int = 400, latent: int = 20):
        super().__init__()
        self.latent = latent
        self.encoder: nn.Sequential = mlp((size, hidden, 2 * latent))
        self.decoder: nn.Sequential = mlp((latent, hidden, size))

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        """The logits of the pixels: (batch, latent) -> (batch, size)."""
        return self.decoder(z)

    def log_prob_given(self, x: tg.Tensor, z: tg.Tensor) -> tg.Tensor:
        """log p(x|z): (batch,), in nats."""
        fix = "GaussianVAE is made for real numbers; or scale the data, as bytes by 255"
        check_range(f"{type(self).__name__}: x", x, 0.0, 1.0, fix)
        logits = self.decode(z)
        return -nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)

    def mean(self, z: tg.Tensor) -> tg.Tensor:
        """The probabilities of the pixels, which are also their means: (batch, size), in [0, 1]."""
        return self.decode(z).sigmoid()

    def sample(self, n: int) -> tg.Tensor:
        """The pixel probabilities at n latents z ~ N(0, I), without recording: (n, size).

        These are what is commonly shown as samples; `tinygen.bernoulli` of them draws the binary images themselves.
        """
        with tg.no_grad():
            return self.mean(self.latents(n))


class GaussianVAE(VAE):
    """Real numbers with a learned mean and variance: x | z ~ N(μ(z), diag σ²(z)).

        encoder  Linear(D, 100), ReLU, Linear(100, 2·latent)         decoder  Linear(latent, 100), ReLU, Linear(100, 2·D)

    q(z|x) starts narrow, σ = 0.1.  Started at σ = 1, the decoder learns to ignore a latent that is mostly noise, and KL
    then makes it nothing else: training on two moons stays at 1.60 nats, what one latent can do, instead of 1.3.
    (Deck D4 shifts log σ² by log 0.01 in its convolutional VAE, to the same end.)

    Both log σ² are bounded, smoothly and far out, so that one value of many deviations does not end in NaN.

    x: (batch, size), real numbers of a size of about 1: standardise columns first (`data.Standardizer`).
    Source: deck D4, the two-moons listing.
    size: D.  hidden, latent: widths, by default those above.
    """

    def __init__(self, size: int = 2, hidden: int = 100, latent: int = 2):
        super().__init__()
        self.latent = latent
        self.encoder: nn.Sequential = mlp((size, hidden, 2 * latent))
        self.decoder: nn.Sequential = mlp((latent, hidden, 2 * size))
        with tg.no_grad():
            self.encoder[-1].bias[latent:] = math.log(0.01)

    def decode(self, z: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:  # type: ignore[override]
        """The parameters of p(x|z): (batch, latent) -> μ, log σ²: (batch, size) each, log σ² within ±14."""
        mu, logvar = self.decoder(z).chunk(2, 1)
        return mu, bounded(logvar)

    def log_prob_given(self, x: tg.Tensor, z: tg.Tensor) -> tg.Tensor:
        """log p(x|z): (batch,), in nats."""
        return gaussian_log_prob(x, *self.decode(z))

    def mean(self, z: tg.Tensor) -> tg.Tensor:
        """E[x | z] = μ(z): (n, size) for z (n, latent)."""
        return self.decode(z)[0]

    def sample(self, n: int) -> tg.Tensor:
        """n draws of x, with the decoder's noise, without recording: (n, size)."""
        with tg.no_grad():
            return _sample(*self.decode(self.latents(n)))


def fit(
    model: VAE,
    loader: data.DataLoader[Any],
    epochs: int,
    lr: float,
    keeper: training.Keeper,
    cosine: bool = False,
    eps: float = 1e-8,
) -> None:
    """Minimise `model.loss` by Adam.  cosine: with a learning rate that falls to 0 along one."""
    optimizer = optim.Adam(model.parameters(), lr=lr, eps=eps)
    height = (lambda step: (1 + math.cos(math.pi * step / (epochs * len(loader)))) / 2) if cosine else (lambda _: 1.0)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, height)
    keeper.add(model=model, optimizer=optimizer, schedule=schedule)
    for epoch in keeper.epochs(epochs):
        for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.set("nats", loss=loss.item())
    model.eval()


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    hidden: int = 400,
    latent: int = 20,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Test −ELBO of the 784-400-20 VAE on MNIST with grey targets, in nats per image.  Lower is better.

    Published: 105.6 (PyTorch's example, 10 epochs, same settings).  Target: at most 107.  Floor: the entropy of the grey
    values, 45.5.  Baseline: independent pixels, 205.8.
    dataset: (train, test); MNIST by default.  keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    settings = dict(hidden=hidden, latent=latent, epochs=epochs, batch_size=batch_size, lr=lr)
    keeper = training.Keeper(keep, "vae", settings | {"seed": seed, "device": device})
    tg.manual_seed(seed)
    model = BernoulliVAE(train.flat.shape[1], hidden, latent).to(device)
    loader = data.DataLoader(train.flat, batch_size, shuffle=True, generator=seed, device=device)
    fit(model, loader, epochs, lr, keeper)
    value, on_train = (evaluate.negative_log_likelihood(model.elbo, x.flat, device=device) for x in (test, train))
    return Result(
        name=f"Bernoulli VAE {train.flat.shape[1]}-{hidden}-{latent}",
        metric="test −ELBO, grey targets",
        unit="nats per image",
        value=value.value,
        floor=evaluate.bernoulli_entropy(test.flat),
        baseline=evaluate.bernoulli_nll(train.flat, test.flat),
        published=105.6 if dataset is None else None,
        target="<= 107" if dataset is None else None,
        seed=seed,
        seconds=keeper.seconds,
        settings=settings,
        notes={
            "floor": "entropy of the grey values",
            "baseline": "independent pixels",
            "published": "PyTorch's example with latent 20, 10 epochs",
            "standard error, nats": round(value.error, 2),
            "train −ELBO, nats": round(on_train.value, 2),
        },
    )


def reproduce_gaussian(
    noise: float = 0.1,
    n: int = 5000,
    hidden: int = 100,
    latent: int = 2,
    epochs: int = 200,
    batch_size: int = 50,
    lr: float = 5e-3,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Test negative log-likelihood of D4's Gaussian VAE on two moons, in nats per point.  Lower is better.

    By importance sampling with 500 draws per point, an upper bound on average.  Floor: the exact entropy, 1.008 for
    noise 0.1.  Baseline: a Gaussian with full covariance, 1.903.  The deck prints no number.
    n: training points; as many again are tested.  keep: folder of `training.Keeper`.
    """
    generator = tg.Generator().manual_seed(seed)
    train, test = data.two_moons(n, noise, generator), data.two_moons(n, noise, generator)
    mean, scale = train.mean(axis=0), train.std()  # as the deck: one scale for both coordinates
    settings = dict(noise=noise, n=n, hidden=hidden, latent=latent, epochs=epochs, batch_size=batch_size, lr=lr)
    keeper = training.Keeper(keep, "gaussian_vae", settings | {"seed": seed, "device": device})
    tg.manual_seed(seed)
    model = GaussianVAE(2, hidden, latent).to(device)
    loader = data.DataLoader((train - mean) / scale, batch_size, shuffle=True, generator=seed, device=device)
    fit(model, loader, epochs, lr, keeper, cosine=True)
    x = (test - mean) / scale
    nll, elbo = evaluate.importance_sampled_nll(model, x, 500, seed), evaluate.elbo(model, x, 100, seed)
    units = 2 * math.log(scale)  # log |dx/du| of u = (x − mean)/scale
    return Result(
        name="Gaussian VAE, two moons",
        metric="test negative log-likelihood",
        unit="nats per point",
        value=units + nll.value,
        floor=data.two_moons_entropy(noise),
        baseline=evaluate.gaussian_nll(train, test),
        seed=seed,
        seconds=keeper.seconds,
        settings=settings,
        notes={
            "floor": "exact entropy of the data",
            "baseline": "a Gaussian with full covariance",
            "standard error, nats": round(nll.error, 3),
            "test −ELBO, nats": round(units - elbo.value, 3),
        },
    )
