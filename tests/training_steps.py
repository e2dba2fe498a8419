"""Whole training steps of every model family, small, for tests of what a step costs a GPU and of how it is replayed.

STEPS: {name: (make the model, shape of a batch)}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygen as tg
from tinygen import models, nn, optim
from tinygen.nn import functional as F


class Network(nn.Module):
    """Dropout and a normalisation with running statistics in one network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Linear(12, 6), nn.BatchNorm1d(6), nn.LeakyReLU(0.1), nn.Dropout(0.3)),
            *(nn.Linear(6, 5), nn.LayerNorm(5), nn.ELU(), nn.Linear(5, 12)),
        )

    def loss(self, x: tg.Tensor) -> tg.Tensor:
        return F.binary_cross_entropy_with_logits(self.net(x), x)


class Classifier(models.Classifier):
    """Cross-entropy with labels, some of which are to be ignored, smoothing and weights."""

    def loss(self, x: tg.Tensor) -> tg.Tensor:  # type: ignore[override]
        labels = (x.sum(1) % 4).long() - 1
        weight = tg.arange(1, 4, device=x.device).float()
        return F.cross_entropy(self(x), labels, weight, ignore_index=-1, label_smoothing=0.1)


class MeanAndVariance(nn.Module):
    """A Gaussian with a mean and a variance that are both learned, behind a normalisation with a mean over all batches."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 6), nn.BatchNorm1d(6, momentum=None), nn.Tanh(), nn.Linear(6, 24))

    def loss(self, x: tg.Tensor) -> tg.Tensor:
        mean, var = self.net(x).chunk(2, 1)
        return F.gaussian_nll_loss(mean, x, F.softplus(var))


class Played:
    """The game of two players: one round, as a step."""

    def __init__(self, model: Any, kind: Callable, **options: Any):
        self.model = model
        self.optimizers = [kind(p.parameters(), **options) for p in (model.discriminator, model.generator)]

    def __call__(self, x: tg.Tensor) -> tg.Tensor:
        return self.model.play(*self.optimizers, x)["G loss"][0]


class Trained:
    """zero_grad, loss, backward, clipping, step."""

    def __init__(self, model: Any, kind: Callable, **options: Any):
        self.model = model
        self.optimizers = [kind(model.parameters(), **options)]

    def __call__(self, x: tg.Tensor) -> tg.Tensor:
        self.optimizers[0].zero_grad()
        loss = self.model.loss(x)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizers[0].step()
        return loss


STEPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP autoencoder": (lambda: models.Autoencoder((12, 7, 3)), (6, 12)),
    "VAE": (lambda: models.BernoulliVAE(12, 8, 3), (6, 12)),
    "GAN": (lambda: models.GAN(3, 12, (5, 6, 7)), (6, 12)),
    "RealNVP": (lambda: models.RealNVP(3, 4, 4), (6, 3)),
    "conv autoencoder": (lambda: models.ConvAutoencoder(2, (1, 6, 6), ((4, 3, 1),)), (3, 1, 6, 6)),
    "DCGAN": (lambda: models.DCGAN(3, (1, 8, 8), (4, 3)), (4, 1, 8, 8)),
    "image RealNVP": (lambda: models.ImageRealNVP((1, 4, 4), scales=1, hidden=2, levels=2), (2, 1, 4, 4)),
    "dropout and normalisation": (Network, (6, 12)),
    "classifier": (lambda: Classifier((12, 7, 3)), (6, 12)),
    "mean and variance": (MeanAndVariance, (6, 12)),
    "Gaussian VAE": (lambda: models.GaussianVAE(12, 8, 3), (6, 12)),
    "Glow": (lambda: models.Glow((1, 4, 4), scales=1, steps=2, hidden=2, levels=2), (2, 1, 4, 4)),
}

OPTIMIZERS: dict[str, Callable] = {
    "SGD": lambda params: optim.SGD(params, lr=1e-2, momentum=0.9),
    "Adam": lambda params: optim.Adam(params, lr=1e-2),
}


def training_step(name: str, optimizer: str, device: str) -> tuple[Any, Callable[[int], tg.Tensor]]:
    """A step, and a function that gives its i-th batch; both from the seed 0."""
    make, shape = STEPS[name]
    tg.manual_seed(0)
    model = make().to(device)
    kind = Played if hasattr(model, "play") else Trained

    def batch(i: int) -> tg.Tensor:
        """Pixels of two grey levels, which all of the models take."""
        return tg.rand(*shape, generator=tg.Generator(device).manual_seed(1000 + i)).round()

    return kind(model, OPTIMIZERS[optimizer]), batch
