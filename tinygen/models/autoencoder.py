"""Autoencoders: predict the input from a code that is too small to copy it.

    h = f(x),   x̂ = g(h),   L = (1/N) Σ_n ‖x_n − g(f(x_n))‖²

What survives the narrow code h is what the images have in common.  With linear f and g the best code is known in closed
form, PCA (`evaluate.PCA`); what a network adds are curved codes, and its error has to be held against PCA's.

Sources: decks D0 (network and experiment), D3, D4 (loss); Baldi, Hornik 1989 (linear case); Hinton, Salakhutdinov,
"Reducing the dimensionality of data with neural networks", Science 2006.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import tinygen as tg
from tinygen import data, evaluate, nn, optim, training
from tinygen.models.fitting import RANGES, check_range
from tinygen.models.model import Model
from tinygen.models.result import Result


class Autoencoder(Model):
    """A multi-layer perceptron in the shape of an hourglass: 784-256-10-256-784 for sizes=(784, 256, 10).

        f: Linear, ReLU, Linear, ReLU, ...      g: the same widths backwards, a sigmoid at the end

    As in the deck, the code has a ReLU too: it is never negative.

    sizes: the widths from the input to the code, at least two.
    code_activation: the non-linearity of the code; `nn.Identity()` lets it be any real number.
    output_activation: what the last layer ends in, so that it can say what the data say: `nn.Sigmoid()`, the default, for
        pixels in [0, 1]; `nn.Identity()` for real numbers, as the columns of a table.
    x: (batch, sizes[0]) -> (h, x̂): (batch, sizes[-1]) and (batch, sizes[0]).
    `loss` raises ValueError for values that the output cannot reach (not checked on a GPU).
    Source: deck D0, "non-linear autoencoder".
    """

    encoder: Any
    decoder: Any
    output_range: tuple[float, float] = (-math.inf, math.inf)
    """The least and the greatest value that `decode` can give."""

    def __init__(
        self,
        sizes: Sequence[int] = (784, 256, 10),
        code_activation: nn.Module | None = None,
        output_activation: nn.Module | None = None,
    ):
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"Autoencoder: at least the widths of input and code are expected, got sizes={sizes}")
        self.encoder: nn.Sequential = mlp(sizes, last=nn.ReLU() if code_activation is None else code_activation)
        output_activation = nn.Sigmoid() if output_activation is None else output_activation
        self.decoder: nn.Sequential = mlp(sizes[::-1], last=output_activation)
        self.output_range = RANGES.get(type(output_activation), self.output_range)

    def encode(self, x: tg.Tensor) -> tg.Tensor:
        """The codes (n, code) of rows x (n, size)."""
        return self.encoder(x)

    def decode(self, h: tg.Tensor) -> tg.Tensor:
        """The rows (n, size) that codes h (n, code) stand for."""
        return self.decoder(h)

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h = self.encode(x)
        return h, self.decode(h)

    def reconstruct(self, x: tg.Tensor) -> tg.Tensor:
        """g(f(x)), without recording."""
        with tg.no_grad():
            return self.forward(x)[1]

    def loss(self, x: tg.Tensor, target: tg.Tensor | None = None) -> tg.Tensor:
        """‖x − g(f(x))‖², summed over the pixels and averaged over the batch: a number, in squared grey levels.

        target: what to predict, when it is not x itself; a denoising autoencoder passes (corrupted, clean).
        """
        target = x if target is None else target
        fix = f"{type(self).__name__}(..., output_activation=nn.Identity()) learns any real number; or scale the data"
        check_range(f"{type(self).__name__}.loss", target, *self.output_range, fix)
        _, output = self.forward(x)
        return ((output - target) ** 2).sum(1).mean()


class LinearAutoencoder(Autoencoder):
    """x̂ = W₂ (W₁ x + b₁) + b₂: at its minimum, W₂'s columns span the subspace of the leading principal components.

    The subspace is all that is determined: W₂ A⁻¹ and A W₁ reconstruct the same for every invertible A.  The biases let
    it find the mean; without them it would have to spend a direction of the code on it.

    Source: Baldi, Hornik 1989; deck D0 ("same subspace as PCA"), deck D4.
    size: of x.  code: of the code.  bias: whether there are b₁ and b₂.
    """

    def __init__(self, size: int = 784, code: int = 8, bias: bool = True):
        nn.Module.__init__(self)
        self.encoder: nn.Linear = nn.Linear(size, code, bias=bias)
        self.decoder: nn.Linear = nn.Linear(code, size, bias=bias)


class TiedAutoencoder(Autoencoder):
    """A decoder that is the encoder's transpose: W₂ = W₁ᵀ, one shared parameter, half the numbers to learn.

        h = relu(W x + b),   x̂ = sigmoid(Wᵀ h + c)

    The gradient of W is the sum of what it receives in its two places.
    output_activation: see `Autoencoder`; in place of the sigmoid.

    Source: deck D0 ("often doesn't hurt performance"); Vincent et al. 2010.
    """

    def __init__(self, size: int = 784, code: int = 10, output_activation: nn.Module | None = None):
        nn.Module.__init__(self)
        self.encoder: nn.Linear = nn.Linear(size, code)
        self.output_activation: nn.Module = nn.Sigmoid() if output_activation is None else output_activation
        self.output_range: tuple[float, float] = RANGES.get(type(self.output_activation), self.output_range)
        self.visible_bias: nn.Parameter = nn.Parameter(tg.zeros(size))

    def encode(self, x: tg.Tensor) -> tg.Tensor:
        """The codes (n, code) of rows x (n, size)."""
        return nn.functional.relu(self.encoder(x))

    def decode(self, h: tg.Tensor) -> tg.Tensor:
        """The rows (n, size) that codes h (n, code) stand for."""
        return self.output_activation(nn.functional.linear(h, self.encoder.weight.T, self.visible_bias))


def mlp(
    sizes: Sequence[int], last: nn.Module | None = None, activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Linear layers of these widths with an activation between them, and `last` at the end."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(n_in, n_out), *([activation()] if i < len(sizes) - 2 else [])]
    return nn.Sequential(*layers, *([] if last is None else [last]))


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    hidden: int = 256,
    code: int = 10,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Test error of the 784-256-10-256-784 autoencoder on MNIST, summed over the pixels of an image.  Lower is better.

    Target: below PCA with as many components, 26.71.  Floor 0.  Nobody published a number for this network; for a much
    deeper one with 30 code units Hinton and Salakhutdinov have 3.00, PCA 13.87.
    Also: the same with a code that may take any value.  The deck's ReLU on so narrow a code costs much: a unit that is
    negative for all images passes no gradient and stays dead, and among ten units that happens to some.
    dataset: (train, test); MNIST by default.  keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    x_test = tg.as_tensor(test.flat, device=device)
    pca_error = evaluate.squared_error(evaluate.PCA.fit(train.flat, code).reconstruct, test.flat)
    settings = {"hidden": hidden, "code": code, "epochs": epochs, "batch_size": batch_size, "lr": lr}
    results = []
    for kind, code_activation in (("ReLU code, as in the deck", nn.ReLU()), ("free code", nn.Identity())):
        tg.manual_seed(seed)
        model = Autoencoder((train.flat.shape[1], hidden, code), code_activation).to(device)
        keeper = training.Keeper(
            keep, kind.partition(",")[0].replace(" ", "_"), settings | {"seed": seed, "device": device}
        )
        fit(model, train, epochs, batch_size, lr, seed, device, keeper)
        with tg.no_grad():
            alive = int((model.encode(x_test).std(0) > 0).sum().item())
        results.append(
            Result(
                name=f"MLP autoencoder, code {code}: {kind}",
                metric="test squared error, summed per image",
                unit="grey levels²",
                value=evaluate.squared_error(model.reconstruct, x_test),
                floor=0.0,
                baseline=pca_error,
                target="< 26.7 (PCA with 10 components)" if dataset is None else None,
                seed=seed,
                seconds=keeper.seconds,
                settings=settings,
                notes={
                    "baseline": f"PCA with {code} components",
                    "predicting the mean image": round(evaluate.variance(train.flat, test.flat), 2),
                    "code units that are not dead": alive,
                },
            )
        )
    return dataclasses.replace(results[0], more=(results[1],))


def reproduce_linear(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    code: int = 8,
    epochs: int = 60,
    batch_size: int = 256,
    lr: float = 1e-2,
    seed: int = 0,
    device: str = "cpu",
    keep: Path | None = None,
) -> Result:
    """Test error of a linear autoencoder on MNIST, summed over the pixels of an image: it must find PCA's.

    Target: within 0.5 % of PCA's 29.354 for 8 code units, and the same subspace: all principal angles below 5 degrees.
    PCA is baseline and floor at once (exactly so on the training set).  The error is found in a few epochs, the subspace
    takes longer: the 8th and the 9th component differ by 4 % in variance, so to mix them costs next to nothing.
    dataset: (train, test); MNIST by default.  keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    tg.manual_seed(seed)
    model = LinearAutoencoder(train.flat.shape[1], code).to(device)
    settings = {"code": code, "epochs": epochs, "batch_size": batch_size, "lr": lr}
    keeper = training.Keeper(keep, "linear", settings | {"seed": seed, "device": device})
    fit(model, train, epochs, batch_size, lr, seed, device, keeper)
    pca = evaluate.PCA.fit(train.flat, code)
    pca_error = evaluate.squared_error(pca.reconstruct, test.flat)
    value = evaluate.squared_error(model.reconstruct, tg.as_tensor(test.flat, device=device))
    angle = float(evaluate.principal_angles(model.decoder.weight.detach().T.cpu(), pca.components).max())
    return Result(
        name=f"linear autoencoder, code {code}",
        metric="test squared error, summed per image",
        unit="grey levels²",
        value=value,
        floor=pca_error,
        baseline=pca_error,
        target="within 0.5 % of PCA, principal angles < 5°" if dataset is None else None,
        seed=seed,
        seconds=keeper.seconds,
        settings=settings,
        notes={
            "baseline and floor": f"PCA with {code} components",
            "relative difference to PCA, %": round(100 * (value / pca_error - 1), 3) + 0.0,
            "largest principal angle to PCA, degrees": round(angle, 2),
        },
    )


def fit(
    model: Autoencoder,
    train: data.ImageDataset,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: str,
    keeper: training.Keeper | None = None,
) -> None:
    """Adam, its learning rate falling along a cosine to 0, so that the last steps no longer jitter."""
    keeper = keeper or training.Keeper(None)
    loader = data.DataLoader(train.flat, batch_size, shuffle=True, generator=seed, device=device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    keeper.add(model=model, optimizer=optimizer, schedule=schedule)
    for epoch in keeper.epochs(epochs):
        for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.set("grey levels²", error=loss.item())
