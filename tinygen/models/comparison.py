"""Three generators under the same measures: what a score says about a model shows beside other scores and other models.

    GAN   the MLP GAN                    sharp samples, of the modes that it has found
    AE    an autoencoder, and a Gaussian fitted to its codes: a density made after the event
    VAE   the Bernoulli VAE              a code that was trained to be Gaussian; its samples are means: blurred

Every score stands beside that of real training images and of images of independent pixels (`evaluate.SampleMetrics`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, nn, training
from tinygen.models import autoencoder, conv_autoencoder, dcgan
from tinygen.models.autoencoder import Autoencoder
from tinygen.models.gan import GAN
from tinygen.models.judge import classifier_of
from tinygen.models.result import Result
from tinygen.models.vae import BernoulliVAE

Sampler = Callable[[int], tg.Tensor]
"""n -> n images, (n, size), pixels in [0, 1], without recording."""


def gaussian_on_codes(model: Autoencoder, images: np.ndarray) -> Sampler:
    """Samples of an autoencoder: g(h), h ~ N(m, S) with mean and covariance of the codes of images (n, size).

    An autoencoder has no density; this gives it one.  Where the codes are far from Gaussian, h comes to lie where the
    decoder has never been.
    """
    like = next(model.parameters())
    codes = conv_autoencoder.in_batches(model.encode, images, like).cpu().numpy().astype(np.float64)
    # The eigenvectors, for a code unit that is dead makes the covariance singular.
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(codes.T, bias=True)))
    root = tg.as_tensor((axes * np.sqrt(np.maximum(variances, 0))).T, dtype=like.dtype, device=like.device)
    mean = tg.as_tensor(codes.mean(axis=0), dtype=like.dtype, device=like.device)

    def sample(n: int) -> tg.Tensor:
        with tg.no_grad():
            return model.decode(mean + tg.randn(n, len(mean), dtype=like.dtype, device=like.device) @ root)

    return sample


# --- each trained as by the `reproduce` of its file ------------------------------------------------------------------


def train_gan(
    train: data.ImageDataset, epochs: int, seed: int, device: str, keeper: training.Keeper, **sizes: Any
) -> Sampler:
    """Deck D0's GAN.  sizes: latent, hidden."""
    model = GAN(size=train.flat.shape[1], **sizes).to(device)
    for _ in dcgan.train_epochs(model, train.flat, epochs, seed=seed, keeper=keeper):
        pass
    return model.sample


def train_autoencoder(
    train: data.ImageDataset,
    epochs: int,
    seed: int,
    device: str,
    keeper: training.Keeper,
    hidden: int = 256,
    code: int = 10,
) -> Sampler:
    """784-256-10-256-784 with a code that may take any value, and the Gaussian on it."""
    model = Autoencoder((train.flat.shape[1], hidden, code), code_activation=nn.Identity()).to(device)
    autoencoder.fit(model, train, epochs, batch_size=128, lr=1e-3, seed=seed, device=device, keeper=keeper)
    return gaussian_on_codes(model, train.flat)


def train_vae(
    train: data.ImageDataset, epochs: int, seed: int, device: str, keeper: training.Keeper, **sizes: Any
) -> Sampler:
    """784-400-20 with grey targets; its samples are the means of the pixels.  sizes: hidden, latent."""
    model = BernoulliVAE(train.flat.shape[1], **sizes).to(device)
    for _ in conv_autoencoder.train_epochs(model, train.flat, epochs, 128, 1e-3, seed, device, keeper):
        pass
    return model.sample


MODELS: dict[str, tuple[Callable[..., Sampler], int]] = {
    "GAN": (train_gan, 50),
    "AE": (train_autoencoder, 20),
    "VAE": (train_vae, 10),
}
"""How each is trained, and for how many epochs."""


def reproduce_samples(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    epochs: int | None = None,
    samples: int = 10_000,
    sizes: dict[str, dict[str, Any]] | None = None,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Every score for samples of the MLP GAN, of the autoencoder with a Gaussian on its code, and of the Bernoulli VAE.

    On MNIST, 10,000 samples each.  The scores are those of `evaluate.SampleMetrics`: Fréchet distance (lower is
    better), precision, recall, Parzen log-likelihood, share of the rarest class (higher is better).  Floor or ceiling:
    real training images in place of the samples.  Baseline: images of independent pixels.  Published: Parzen 225 ± 2
    nats for a GAN (Goodfellow et al. 2014); features of our own classifier compare with nobody else's.
    dataset: (train, test), with labels; MNIST by default.  epochs: of all three; by default 50, 20 and 10, as in the
    `reproduce` of their files.  sizes: other widths than theirs, {"GAN": {"latent": ...}, ...}.
    keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    classifier = classifier_of(train, device)
    labels = np.asarray(train.labels)
    n_valid = min(1000, len(train) // 2)  # Goodfellow chose sigma on held-out training images
    metrics = evaluate.SampleMetrics(
        classifier.features,
        classifier.predict,
        train.flat[:-n_valid],
        train.flat[-n_valid:],
        test.flat,
        samples,
        classes=int(labels.max()) + 1,
    )
    notes = {
        "floor or ceiling": "real training images in place of the samples",
        "baseline": "images of independent pixels; all alike to a classifier, they lie near a few outliers "
        "among the real images, so their precision is high and their recall is 0: the two count only together",
        "test accuracy of the classifier, %": round(classifier.accuracy(test), 2),
        "GAN": "MLP, as in its own row",
        "AE": "code of 10 numbers, Gaussian with full covariance fitted to the training codes",
        "VAE": "20 latents, grey targets; samples are the means of the pixels",
    }
    rows: list[Result] = []
    for model, (train_it, rounds) in MODELS.items():
        rounds, widths = epochs or rounds, (sizes or {}).get(model, {})
        settings = {"epochs": rounds, "samples": metrics.n, **widths}
        keeper = training.Keeper(keep, model, settings | {"seed": seed, "device": device})
        tg.manual_seed(seed)
        sample = train_it(train, rounds, seed, device, keeper, **widths)
        parts = [sample(min(1000, metrics.n - i)).cpu().numpy() for i in range(0, metrics.n, 1000)]
        scores = metrics(np.concatenate(parts))
        rows += [
            Result(
                name=f"samples: {model}, {measure.name}",
                metric=measure.title,
                unit=measure.unit,
                value=getattr(scores, field),
                floor=getattr(metrics.real, field),
                baseline=getattr(metrics.trivial, field),
                published=225.0 if dataset is None and (model, field) == ("GAN", "parzen") else None,
                seed=seed,
                seconds=keeper.seconds,
                settings=settings,
            )
            for field, measure in evaluate.MEASURES.items()
        ]
    first, *more = rows
    return dataclasses.replace(first, notes=notes, more=tuple(more))
