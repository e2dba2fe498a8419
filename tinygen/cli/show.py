"""Pictures of a trained model: what it draws, and the way from one image to another."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import harmless, models, plot, training
from tinygen.cli import runs
from tinygen.cli.kinds import Samples
from tinygen.models.conv_autoencoder import in_batches


def images(model: Any, codes: tg.Tensor) -> np.ndarray:
    """What the model makes of codes, rows of numbers: (n, size) or (n, *image)."""
    decode = model.mean if isinstance(model, models.vae.VAE) else model.decode
    return in_batches(decode, codes, codes).cpu().numpy()


def codes_of(model: Any, x: np.ndarray) -> tg.Tensor:
    """The codes of images, without recording; of a VAE the means.  Raises ValueError for a GAN, which has none."""
    if isinstance(model, models.GAN):
        raise ValueError("a GAN goes from latents to images only, and knows no way back")

    def encode(part: tg.Tensor) -> tg.Tensor:
        codes = model.encode(part)
        return codes[0] if isinstance(codes, tuple) else codes

    rows = runs.rows_of(model, x)
    return in_batches(encode, rows, next(model.parameters()))


def draws(model: Any, n: int, train: Samples) -> np.ndarray:
    """n samples of the model, by tinygen's generator.

    An autoencoder has no density of its own: codes are drawn from N(m, diag s²), fitted to those of the training images.
    """
    if isinstance(model, models.Autoencoder):
        codes = codes_of(model, train.x[:10_000])
        noise = tg.randn(n, codes.shape[1], dtype=codes.dtype, device=codes.device)
        return images(model, codes.mean(0) + codes.std(0, correction=0) * noise)
    if isinstance(model, models.GaussianVAE):
        return model.sample(n).cpu().numpy()
    return images(model, model.latents(n))


def path_between(model: Any, start: tg.Tensor, end: tg.Tensor, steps: int) -> tg.Tensor:
    """(n, d), (n, d) -> (n, steps, d): straight lines between codes; great circles where codes are noise.

    Noise N(0, I) in d dimensions lies at a distance of √d from 0, and halfway along a straight line that of no draw.
    """
    t = tg.linspace(0, 1, steps, dtype=start.dtype, device=start.device).reshape(1, -1, 1)
    start, end = start.unsqueeze(1), end.unsqueeze(1)
    if not isinstance(model, models.GAN | models.Flow):
        return (1 - t) * start + t * end
    cosine = (start * end).sum(2, keepdim=True) / (start.norm(dim=2, keepdim=True) * end.norm(dim=2, keepdim=True))
    angle = tg.tensor(np.arccos(cosine.clamp(-0.9999, 0.9999).cpu().numpy()), device=start.device)
    return (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / angle.sin()


def as_images(x: np.ndarray, like: Samples) -> np.ndarray:
    """Rows of pixels as images that can be drawn: (..., channels, height, width), in [0, 1]."""
    return x.reshape(-1, *like.image).clip(0, 1)


def sample(trained: runs.Trained, n: int, out: Path, like: Samples) -> Path:
    """n draws, as a picture: images, or points over the density."""
    model = trained.model
    title = harmless.title(f"{trained.name}: {n} samples after {trained.epochs} epochs")
    if trained.on_points:
        columns = like.x.shape[1]
        title += f"; columns 1 and 2 of {columns}" if columns > 2 else ""
        panels = {f"{n} samples": draws(model, n, like), "new points": like.x[:n]}
        plot.panels2d({name: _in_the_plane(x) for name, x in panels.items()}, out, title=title)
    else:
        ncols = math.isqrt(n - 1) + 1
        plot.image_grid(as_images(draws(model, n, like), like), out, ncols=ncols, title=title)
    return out


def _in_the_plane(x: np.ndarray) -> np.ndarray:
    """The first two columns of points; beside a single one, zeros."""
    return x[:, :2] if x.shape[1] > 1 else np.concatenate([x, np.zeros_like(x)], 1)


def interpolate(trained: runs.Trained, pairs: int, steps: int, out: Path, train: Samples, test: Samples) -> Path:
    """From one test image to another through their codes, `pairs` times; of a GAN, from one sample to another."""
    model = trained.model
    if trained.on_points:
        raise ValueError(f"{trained.name} has learned points in the plane; there is nothing to see between two of them")
    if isinstance(model, models.GAN):
        codes = model.latents(2 * pairs)
    else:
        codes = codes_of(model, test.x[: 2 * pairs])
    if len(codes) < 2 * pairs:
        raise ValueError(
            f"interpolate: {2 * pairs} test images are needed for {pairs} ways, and there are {len(codes)}"
        )
    with tg.no_grad():
        path = path_between(model, codes[:pairs], codes[pairs:], steps)
    shown = as_images(images(model, path.flatten(0, 1)), test)
    plot.image_grid(
        shown,
        out,
        ncols=steps,
        title=harmless.title(
            f"{trained.name}: from one {'sample' if isinstance(model, models.GAN) else 'test image'} to another"
        ),
    )
    return out


def every_epoch(model: Any, test: Samples, run: training.Run, seed: int) -> Callable[[int], None]:
    """A function that draws, after an epoch, the same latents (of an autoencoder: test images) as after every other."""
    if isinstance(model, models.GaussianVAE) or len(test.image) != 3:
        return lambda epoch: None
    fixed = None
    if not isinstance(model, models.Autoencoder):
        state = tg.get_rng_state()  # training goes on as if nothing had been drawn
        tg.manual_seed(seed)
        fixed = model.latents(64)
        tg.set_rng_state(state)

    def draw(epoch: int) -> None:
        file = run.path(f"epochs/epoch_{epoch:03d}.png")
        if fixed is not None:
            plot.image_grid(as_images(images(model, fixed), test), file, title=f"after {epoch} epochs")
            return
        x = test.x[:8]
        again = images(model, codes_of(model, x))
        plot.rows({"test image": as_images(x, test), f"epoch {epoch}": as_images(again, test)}, file)

    return draw
