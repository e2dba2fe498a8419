"""The VAE's numbers on binarised MNIST: bounds on a likelihood that compares with other models' likelihoods.

With grey targets −ELBO is a cross-entropy above a floor of 45.5 nats, and no likelihood.  Binary pixels make it one.  They
come in two kinds whose numbers do not compare (`data.binarize`): drawn anew for every use, or once for everybody.

Both rows have the importance-weighted bound L_50 beside the ELBO: how much of −ELBO is the encoder's fault.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, training
from tinygen.models.result import Result
from tinygen.models.vae import VAE, BernoulliVAE, fit


def reproduce_dynamic(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    hidden: int = 400,
    latent: int = 20,
    epochs: int = 15,
    batch_size: int = 128,
    lr: float = 1e-3,
    samples: int = 50,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Test −ELBO and −L_50 of the same VAE on dynamically binarised MNIST, in nats per image.  Lower is better.

    Every pixel of a training image is drawn anew each time the image is used; the test images are drawn once, with `seed`.
    L_K is the importance-weighted bound (`evaluate.importance_weighted_bounds`), K = `samples`.
    Published: 101.07 and 96.87 (appleweiping/stat8201-dgm, same settings, 15 epochs).  Floor: the entropy of the grey
    values, 45.5.  Baseline: independent pixels, 205.8.
    dataset: (train, test), grey; MNIST by default.  keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    settings = dict(hidden=hidden, latent=latent, epochs=epochs, batch_size=batch_size, lr=lr, samples=samples)
    keeper = training.Keeper(keep, "vae_dynamic", settings | {"seed": seed, "device": device})
    tg.manual_seed(seed)
    model = BernoulliVAE(train.flat.shape[1], hidden, latent).to(device)
    draws = tg.Generator().manual_seed(seed)
    keeper.add(draws=draws)
    bits = data.DynamicBinarization(train.flat, draws)
    loader = data.DataLoader(bits, batch_size, shuffle=True, generator=seed, device=device)
    fit(model, loader, epochs, lr, keeper)
    return _of_bounds(
        model,
        data.binarize.dynamic(test.flat, seed),
        "dynamic binarisation",
        samples,
        published=(101.07, 96.87) if dataset is None else (None, None),
        floor=evaluate.bernoulli_entropy(test.flat),
        baseline=train.flat,
        seed=seed,
        seconds=keeper.seconds,
        settings=settings,
        notes={
            "floor": "entropy of the grey values",
            "published": "appleweiping/stat8201-dgm, same network, 15 epochs",
            "test images": f"drawn once, with seed {seed}",
        },
    )


def reproduce_static(
    dataset: tuple[data.ImageDataset, data.ImageDataset, data.ImageDataset] | None = None,
    hidden: int = 400,
    latent: int = 20,
    epochs: int = 50,
    batch_size: int = 128,
    lr: float = 1e-3,
    samples: int = 50,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Test −ELBO and −L_50 of the same VAE on statically binarised MNIST, in nats per image.  Lower is better.

    The pixels were drawn once, for everybody: `data.binarized_mnist`.  We train on its 50,000 training images alone, with
    a learning rate that falls to 0 along a cosine; the 10,000 validation images choose nothing, and are only reported.
    Published: 103.31 and 97.10 (altosaar/variational-autoencoder, a mean-field VAE, 65,000 steps; ours has 19,550).
    Floor: 0, as the pixels are binary.  Baseline: independent pixels, 206.
    dataset: (train, valid, test), binary.  keep: folder of `training.Keeper`.
    """
    train, valid, test = data.binarized_mnist() if dataset is None else dataset
    settings = dict(hidden=hidden, latent=latent, epochs=epochs, batch_size=batch_size, lr=lr, samples=samples)
    keeper = training.Keeper(keep, "vae_static", settings | {"seed": seed, "device": device})
    tg.manual_seed(seed)
    model = BernoulliVAE(train.flat.shape[1], hidden, latent).to(device)
    loader = data.DataLoader(train.flat, batch_size, shuffle=True, generator=seed, device=device)
    fit(model, loader, epochs, lr, keeper, cosine=True)
    return _of_bounds(
        model,
        test.flat,
        "static binarisation",
        samples,
        published=(103.31, 97.10) if dataset is None else (None, None),
        floor=evaluate.bernoulli_entropy(test.flat),
        baseline=train.flat,
        seed=seed,
        seconds=keeper.seconds,
        settings=settings,
        notes={
            "floor": "binary pixels may be certain",
            "published": "altosaar/variational-autoencoder, mean-field, 65,000 steps",
            "ours": f"{epochs * len(loader):,} steps, learning rate falling to 0 along a cosine",
            "train −ELBO, nats": round(-evaluate.elbo(model, train.flat, 1, seed).value, 2),
            "validation −ELBO, nats": round(-evaluate.elbo(model, valid.flat, 1, seed).value, 2),
        },
    )


def _of_bounds(
    model: VAE,
    test: np.ndarray,
    protocol: str,
    samples: int,
    published: tuple[float | None, float | None],
    baseline: np.ndarray,
    notes: dict[str, Any],
    **others: Any,
) -> Result:
    """The −ELBO, and with it −L_samples, of binary test images.  baseline: the images of which it takes the pixels."""
    bounds = evaluate.importance_weighted_bounds(model, test, (1, samples), others["seed"])
    first, last = (
        Result(
            name=f"Bernoulli VAE, {protocol}: {label}",
            metric=f"test −{label}, {protocol}",
            unit="nats per image",
            value=-bound.value,
            baseline=evaluate.bernoulli_nll(baseline, test),
            published=number,
            notes={"standard error, nats": round(bound.error, 2)},
            **others,
        )
        for bound, label, number in zip(bounds.values(), ("ELBO", f"L_{samples}"), published, strict=True)
    )
    notes = first.notes | {"baseline": "independent pixels"} | notes
    return dataclasses.replace(first, notes=notes, more=(last,))
