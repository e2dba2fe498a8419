"""The convolutional autoencoder: an image becomes d numbers through convolutions, and an image again through their transposes.

    28 → 24 → 20 → 9 → 4 → 1    f: convolutions, kernels 5, 5, 4, 3, 4, strides 1, 1, 2, 2, 1; a ReLU between them
    1 → 4 → 9 → 20 → 24 → 28    g: transposed convolutions with the same kernels and strides, backwards

    L = mean over pixels and images of (x − g(f(x)))²

Nothing is pooled, and nothing bends the code or the output.  A convolution maps several sizes to one when its stride does not
divide the way its kernel moves; so that g ends where f began, every size on the way must be kernel + stride · q.

Those are the deck's layers, for 28×28.  Images of any other size are halved until 4 to 7 pixels are left (`models/fitting.py`):

    64 → 32 → 16 → 8 → 4 → 4 → 1    kernels 4 (3 where the side is odd), strides 2, a border of 1; then kernel 3; then all that is left

What the space of codes looks like can be asked in two ways.  Between two images: ξ(x, y, α) = g((1−α) f(x) + α f(y)).  As
a whole: fit a Gaussian with diagonal covariance to the codes of the training images, draw from it, decode.  Its samples
are poor: the codes of the digits lie in clusters with gaps between them, and the Gaussian fills the gaps too.

Sources: deck D4 (network, training, interpolation, density); deck D3 (the gaps); the baseline is PCA, `evaluate.PCA`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, nn, ops, optim, training
from tinygen.errors import ShapeError
from tinygen.models.autoencoder import Autoencoder
from tinygen.models.fitting import channels_of, check_image, halvings, pair, times
from tinygen.models.judge import judge
from tinygen.models.result import Result

Layers = Sequence[Sequence[Any]]
"""(channels out, kernel, stride) of each convolution of the encoder but the last, whose kernel covers what is left; or
(channels out, kernel, stride, padding), with a border of so many zeros.  Kernel, stride and padding may be pairs (height, width)."""

LAYERS: Layers = ((32, 5, 1), (32, 5, 1), (32, 4, 2), (32, 3, 2))
"""Deck D4's: 28 → 24 → 20 → 9 → 4, and with the last → 1.  Fit for sizes 16, 20, 24, 28, 32 and so on."""


def layers_for(image: Sequence[int]) -> Layers:
    """The deck's layers for images of 28×28; for others halvings until 4 to 7 pixels are left, and one convolution there.

    Channels: 32, 64, 128, 128, ...  No convolution has more than 262,144 weights, the last no more than 6,272 for each of
    its outputs, whatever the size.  image: (channels, height, width).  Raises ValueError for what is none.
    """
    sides = check_image("layers_for", image)[1:]
    if sides == (28, 28):
        return LAYERS
    steps = [*halvings(sides), (3, 1, 1)]
    return tuple((n, *step) for n, step in zip(channels_of(len(steps), first=32), steps, strict=True))


class ConvAutoencoder(Autoencoder):
    """Deck D4's convolutional autoencoder: 112,457 parameters for a code of 8 numbers and images of 28×28.

    code: how many numbers an image becomes.  image: (channels, height, width).
    layers: (channels, kernel, stride) of the convolutions before the last, or (channels, kernel, stride, padding); the decoder
        mirrors them.  By default those that suit the size: `layers_for(image)`, the deck's for 28×28.
    x: (batch, *image), pixels in [0, 1], not standardised -> (h, x̂): (batch, code) and (batch, *image).  As the output is
    linear, x̂ can leave [0, 1] a little.
    Raises ValueError when images of that size would not come back in the same size, ShapeError for images of another.

    The names of the parameters are those of the deck's listing in PyTorch, whose state dict can be loaded with strict=False.
    """

    code_mean: tg.Tensor
    code_std: tg.Tensor
    code: int
    image: tuple[int, ...]
    layout: str

    def __init__(self, code: int = 8, image: Sequence[int] = (1, 28, 28), layers: Layers | None = None):
        nn.Module.__init__(self)
        layers = layers_for(image) if layers is None else layers
        self.remember(layers=layers)
        self.code, self.image, self.layout = code, tuple(image), layout(image, code, layers)
        self.encoder: nn.Sequential = conv_encoder(self.image, code, layers)
        self.decoder: nn.Sequential = conv_decoder(code, self.image, layers)
        self.register_buffer("code_mean", tg.zeros(code))
        self.register_buffer("code_std", tg.zeros(code))  # 0: no density was fitted yet

    def extra_repr(self) -> str:
        return self.layout

    def encode(self, x: tg.Tensor) -> tg.Tensor:
        """f(x): (batch, *image) -> (batch, code)."""
        return self.encoder(check_images(self, x)).flatten(1)

    def decode(self, h: tg.Tensor) -> tg.Tensor:
        """g(h): (batch, code) -> (batch, *image)."""
        return self.decoder(h[:, :, None, None])

    def loss(self, x: tg.Tensor, target: tg.Tensor | None = None) -> tg.Tensor:
        """(x − g(f(x)))², averaged over the pixels and the batch as in the deck: a number, in squared grey levels per pixel.

        Times the number of pixels, 784, it is the squared error per image that `evaluate.squared_error` measures.
        target: what to predict, when it is not x itself; a denoising autoencoder passes (corrupted, clean).
        """
        return nn.functional.mse_loss(self.forward(x)[1], x if target is None else target)

    def interpolate(self, x: tg.Tensor, y: tg.Tensor, alphas: Any) -> tg.Tensor:
        """ξ(x, y, α) = g((1−α) f(x) + α f(y)) for every α, without recording.

        x, y: (batch, *image); alphas: k numbers -> (batch, k, *image).  α = 0 is the reconstruction of x, 1 that of y.
        """
        with tg.no_grad():
            start, end = self.encode(x).unsqueeze(1), self.encode(y).unsqueeze(1)
            a = tg.as_tensor(alphas, dtype=start.dtype, device=start.device).reshape(-1, 1)
            path = (1 - a) * start + a * end
            return self.decode(path.flatten(0, 1)).unflatten(0, path.shape[:2])

    def fit_density(self, images: Any) -> None:
        """Fit N(m, diag s²) to the codes of these images, as the density that `sample` draws from.

        images: (n, *image), an array or Tensor: the training images.  The fit is a part of the state dict.
        """
        codes = in_batches(self.encode, images, self.code_mean)
        self.code_mean.copy_(codes.mean(0))
        self.code_std.copy_(codes.std(0, correction=0))

    def sample(self, n: int) -> tg.Tensor:
        """g(h) for n codes h ~ N(m, diag s²), without recording, a few hundred at a time: (n, *image).

        Raises RuntimeError before `fit_density`.
        """
        if not bool((self.code_std > 0).any()):
            raise RuntimeError(
                f"{type(self).__name__}.sample: an autoencoder has no density of its own; call "
                "fit_density(training images) first, after training"
            )
        noise = tg.randn(n, self.code, dtype=self.code_mean.dtype, device=self.code_mean.device)
        return in_batches(self.decode, self.code_mean + self.code_std * noise, self.code_mean)


# --- the two halves, which the convolutional VAE shares ----------------------------------------------------------------


def conv_encoder(image: Sequence[int], outputs: int, layers: Layers = LAYERS) -> nn.Sequential:
    """Conv2d, ReLU, ..., Conv2d: (batch, *image) -> (batch, outputs, 1, 1).  Raises ValueError as `sizes` does."""
    modules: list[nn.Module] = []
    for n_in, n_out, kernel, stride, padding in _steps(image, outputs, layers):
        modules += [nn.Conv2d(n_in, n_out, kernel, stride, padding), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def conv_decoder(inputs: int, image: Sequence[int], layers: Layers = LAYERS) -> nn.Sequential:
    """The mirror image, of transposed convolutions: (batch, inputs, 1, 1) -> (batch, *image)."""
    modules: list[nn.Module] = []
    for n_out, n_in, kernel, stride, padding in reversed(_steps(image, inputs, layers)):
        modules += [nn.ConvTranspose2d(n_in, n_out, kernel, stride, padding), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def sizes(size: int, layers: Layers = LAYERS, axis: int = 0) -> list[int]:
    """The sizes along the encoder, 28 -> [28, 24, 20, 9, 4]; what is left at the end is the kernel of the last layer.

    axis: 0 for the height, 1 for the width, where the layers have pairs.
    Raises ValueError, naming sizes that do, unless every one of them, with its border, is kernel + stride · q, so that the
    transposed convolution gives it back.  Source: deck D4, "the composition of a convolution and a transposed convolution".
    """
    steps = [_along(row, axis) for row in layers]
    passed = [size]
    for i, (kernel, stride, padding) in enumerate(steps, 1):
        if (smaller := _through(passed[-1], kernel, stride, padding)) is None:
            near = [n for n in range(1, 2 * size + 200) if _admits(n, steps)]
            some = [n for n in near if n < size][-2:] + [n for n in near if n > size][:2]
            raise ValueError(
                f"conv_encoder: images of size {size} do not come back in the same size: convolution {i} would take "
                f"{passed[-1] + 2 * padding} pixels, and kernel {kernel} and stride {stride} need {kernel} + {stride}·q\n"
                f"    sizes that fit these layers: {', '.join(map(str, some))}; pad or crop the images, or use other layers "
                "(layers=None chooses)"
            )
        passed.append(smaller)
    return passed


def layout(image: Sequence[int], outputs: int, layers: Layers) -> str:
    """The way of an image through the encoder in words: "1×28×28 → 24×24 → 20×20 → 9×9 → 4×4 → 8 numbers"."""
    channels, height, width = check_image("conv_encoder", image)
    way = zip(sizes(height, layers, 0), sizes(width, layers, 1), strict=True)
    return " → ".join([f"{channels}×{times(next(way))}", *map(times, way), f"{outputs} numbers"])


def _along(row: Sequence[Any], axis: int) -> tuple[int, int, int]:
    """(kernel, stride, padding) of a layer along one axis."""
    _, kernel, stride, padding = (*row, 0)[:4]
    return pair(kernel)[axis], pair(stride)[axis], pair(padding)[axis]


def _through(size: int, kernel: int, stride: int, padding: int) -> int | None:
    """The size after a convolution, or None if its transpose would not give the size before."""
    q, rest = divmod(size + 2 * padding - kernel, stride)
    return None if q < 0 or rest else q + 1


def _admits(size: int | None, steps: Sequence[tuple[int, int, int]]) -> bool:
    for step in steps:
        if size is not None:
            size = _through(size, *step)
    return size is not None


def _steps(image: Sequence[int], outputs: int, layers: Layers) -> list[tuple[int, int, Any, Any, Any]]:
    """(channels in, channels out, kernel, stride, padding) of all convolutions of the encoder."""
    channels, height, width = check_image("conv_encoder", image)
    rest = (sizes(height, layers, 0)[-1], sizes(width, layers, 1)[-1])
    widths = pairwise([channels, *(row[0] for row in layers), outputs])
    steps = [
        tuple(zip(_along(row, 0), _along(row, 1), strict=True)) for row in layers
    ]  # pairs: kernel, stride, padding
    return [(n_in, n_out, *step) for (n_in, n_out), step in zip(widths, [*steps, (rest, 1, 0)], strict=True)]


def check_images(model: Any, x: tg.Tensor) -> tg.Tensor:
    """x, if it is a batch of the images that the model was made for.  Raises ShapeError."""
    if tuple(x.shape[1:]) != model.image:
        raise ShapeError(
            f"{type(model).__name__}: images of shape (batch, {', '.join(map(str, model.image))}) are expected, got "
            f"{tuple(x.shape)}\n    x.reshape(-1, {', '.join(map(str, model.image))}) if these are the same pixels; "
            "otherwise make the model for them: image=(channels, height, width)"
        )
    return x


def in_batches(function: Callable[[tg.Tensor], tg.Tensor], x: Any, like: tg.Tensor, size: int = 250) -> tg.Tensor:
    """function(x) a few rows at a time, without recording, on the device and in the dtype of `like`."""
    with tg.no_grad():
        parts = (x[i : i + size] for i in range(0, max(len(x), 1), size))
        return ops.cat([function(tg.as_tensor(part, dtype=like.dtype, device=like.device)) for part in parts])


def images_of(dataset: data.ImageDataset) -> np.ndarray:
    """The images with their channels: (N, 1, H, W), in colour (N, 3, H, W)."""
    return dataset.images[:, None] if dataset.images.ndim == 3 else dataset.images


def squared_error(model: Any, images: Any) -> float:
    """`evaluate.squared_error` of a model's reconstructions of images (n, *image): summed per image, in grey levels²."""
    like = next(model.parameters())
    return evaluate.squared_error(
        lambda rows: in_batches(model.reconstruct, rows.reshape(-1, *model.image), like).flatten(1).cpu(),
        np.asarray(images).reshape(len(images), -1),
    )


# --- the numbers -------------------------------------------------------------------------------------------------------


def train_epochs(
    model: Any,
    images: np.ndarray,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: str,
    keeper: training.Keeper | None = None,
) -> Iterator[int]:
    """Train with Adam, as deck D4 does, and yield the number of each epoch when it is done."""
    keeper = keeper or training.Keeper(None)
    loader = data.DataLoader(images, batch_size, shuffle=True, generator=seed, device=device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    keeper.add(model=model, optimizer=optimizer)
    for epoch in keeper.epochs(epochs):
        model.train()
        for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
            bar.set("", loss=loss.item())
        model.eval()
        yield epoch + 1


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    codes: Sequence[int] = (8, 16, 32),
    epochs: int = 10,
    early: int = 3,
    batch_size: int = 100,
    lr: float = 1e-3,
    samples: int = 10_000,
    layers: Layers = LAYERS,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Test error of D4's convolutional autoencoder on MNIST, summed over the pixels of an image.  Lower is better.

    Target: below 22 with a code of 8 numbers after `early` = 3 epochs.  Floor 0.  Baseline: PCA with as many components,
    29.35, 21.06 and 13.19 for 8, 16 and 32.  The deck shows pictures and no number.
    Also: the same after all epochs, for every code; and for samples of a Gaussian fitted to the codes, the Fréchet distance
    to the test images in the features of our own classifier (`evaluate.FeatureDistance`; it is no FID), beside its floor,
    real training images, and images of independent pixels.
    dataset: (train, test), with labels; MNIST by default.  keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    judged = judge(train, test, samples, device)
    distance = judged.distance
    settings = dict(epochs=epochs, batch_size=batch_size, lr=lr, samples=distance.n)
    errors: list[Result] = []
    densities: list[Result] = []
    for code in codes:
        pca = evaluate.PCA.fit(train.flat, code)
        baseline = evaluate.squared_error(pca.reconstruct, test.flat)
        tg.manual_seed(seed)
        model = ConvAutoencoder(code, images_of(train).shape[1:], layers).to(device)
        keeper = training.Keeper(keep, f"code_{code}", settings | {"seed": seed, "device": device})
        for epoch in train_epochs(model, images_of(train), epochs, batch_size, lr, seed, device, keeper):
            if epoch == epochs or (epoch == early and code == codes[0]):
                keeper.values[epoch] = squared_error(model, images_of(test)), keeper.seconds
        for rounds, (error, seconds) in keeper.values.items():
            errors.append(
                Result(
                    name=f"conv autoencoder: code {code}, {rounds} epochs",
                    metric="test squared error, summed per image",
                    unit="grey levels²",
                    value=error,
                    floor=0.0,
                    baseline=baseline,
                    target="< 22" if dataset is None and (rounds, code) == (3, 8) else None,
                    seed=seed,
                    seconds=seconds,
                    settings=settings | {"epochs": rounds},
                    notes={"baseline": f"PCA with {code} components"},
                )
            )
        model.fit_density(images_of(train))
        noise = np.random.default_rng(seed).standard_normal((distance.n, code)) * np.sqrt(pca.variances)
        linear = distance(pca.decode(noise).astype(np.float32))
        densities.append(
            Result(
                name=f"conv autoencoder: code {code}, Gaussian samples",
                metric="Fréchet distance in our classifier's features",
                unit="squared features",
                value=distance(model.sample(distance.n)),
                floor=distance.floor,
                baseline=judged.unrelated,
                seed=seed,
                seconds=errors[-1].seconds,
                settings=settings,
                notes=judged.notes | {"the same of a Gaussian on PCA's code": round(linear, 2)},
            )
        )
    first, *more = errors + densities
    return dataclasses.replace(first, more=tuple(more))
