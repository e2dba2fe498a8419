"""Small classifiers: the measuring device for generated images, and the first models to train.

    p(y | x) = softmax(W₂ relu(W₁ x + b₁) + b₂),   L = −(1/N) Σ_n log p(y_n | x_n)

Without hidden layers this is logistic regression, to which deck D0 compares it.  What the last layer sees of an image,
`features`, is a description of it in which likeness means more than in pixels: `evaluate.FeatureDistance` compares
generated images with real ones there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

import tinygen as tg
from tinygen import data, nn, optim, training
from tinygen.errors import ShapeError
from tinygen.models.autoencoder import mlp
from tinygen.models.model import Model
from tinygen.models.result import Result


class Classifier(Model):
    """A multi-layer perceptron with one logit per class: 784-256-10 for sizes=(784, 256, 10).

    x: images with sizes[0] pixels, (batch, ...) in any shape -> logits (batch, sizes[-1]).
    """

    network: Any

    def __init__(self, sizes: Sequence[int] = (784, 256, 10)):
        super().__init__()
        self.shape: tuple[int, ...] = (sizes[0],)  # of one image, as the first layer takes it
        self.network: nn.Module = mlp(sizes)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.network(self._images(x))

    def loss(self, x: tg.Tensor, labels: tg.Tensor) -> tg.Tensor:
        """Mean cross-entropy, in nats per image; log 10 = 2.303 for guessing among ten classes.

        labels: (n,), the classes of the images x.
        """
        return nn.functional.cross_entropy(self(x), labels)

    def predict(self, x: Any) -> tg.Tensor:
        """The most probable class of each image, an array or Tensor: (batch,), int64."""
        with tg.no_grad():
            return self(self._here(x)).argmax(1)

    def features(self, x: Any) -> tg.Tensor:
        """What the last layer sees of each image, an array or Tensor: (batch, width of the last hidden layer)."""
        with tg.no_grad():
            return self.network[:-1](self._images(self._here(x)))

    def accuracy(self, dataset: data.ImageDataset) -> float:
        """The share of images that are classified right, in percent.  dataset: images with labels."""
        loader = data.DataLoader(data.TensorDataset(dataset.flat, _labels(dataset)), 1000)
        right = sum((self.predict(x).cpu() == y.cpu()).sum().item() for x, y in loader)
        return 100 * right / len(dataset)

    def _here(self, x: Any) -> tg.Tensor:
        return tg.as_tensor(x, device=next(self.parameters()).device)

    def _images(self, x: tg.Tensor) -> tg.Tensor:
        """x in the shape that the first layer takes.  Raises ShapeError for images with another number of pixels."""
        if math.prod(x.shape[1:]) != math.prod(self.shape):
            raise ShapeError(
                f"{type(self).__name__}: images of {math.prod(self.shape)} pixels are expected, a batch of shape "
                f"{('n', *self.shape)}, got {tuple(x.shape)}".replace("'n'", "n")
            )
        return x.reshape(len(x), *self.shape)


class ConvClassifier(Classifier):
    """Two convolutions that halve the image, then a hidden layer: a better judge of images than a perceptron.

        Conv(1, 32, 4, stride 2) ReLU   Conv(32, 64, 4, stride 2) ReLU   Linear(64·7·7, 128) ReLU   Linear(128, 10)

    size: (H, W), at least 4·pool each, or (3, H, W) for images in colour; channels: of the two convolutions; hidden: the number
    of `features`.  pool: images are averaged over squares of so many pixels first, so that large ones cost no more.
    x: images with H·W pixels, (batch, ...) in any shape, (batch, 1, H, W) for one -> logits (batch, classes).
    """

    def __init__(
        self,
        size: Sequence[int] = (28, 28),
        channels: tuple[int, int] = (32, 64),
        hidden: int = 128,
        classes: int = 10,
        pool: int = 1,
    ):
        nn.Module.__init__(self)
        colours, height, width = shape = (1,) * (3 - len(size)) + tuple(size)
        if min(height, width) < 4 * pool:
            raise ValueError(
                f"ConvClassifier: images of at least {4 * pool}×{4 * pool} pixels are expected, got size={tuple(size)}"
            )
        self.shape = shape
        self.network: nn.Sequential = nn.Sequential(
            *([nn.AvgPool2d(pool)] if pool > 1 else []),
            nn.Conv2d(colours, channels[0], 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels[0], channels[1], 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels[1] * (height // pool // 4) * (width // pool // 4), hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )


C = TypeVar("C", bound=Classifier)


def _labels(dataset: data.ImageDataset) -> np.ndarray:
    if dataset.labels is None:
        raise ValueError(f"Classifier: a data set with labels is expected, and {dataset.name} has none")
    return dataset.labels


def train_classifier(
    train: data.ImageDataset,
    hidden: int = 256,
    epochs: int = 8,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> Classifier:
    """A Classifier trained with Adam; the learning rate falls along a cosine to 0."""
    tg.manual_seed(seed)
    model = Classifier((train.flat.shape[1], hidden, int(_labels(train).max()) + 1)).to(device)
    return _fit(model, train, epochs, batch_size, lr, seed, device)


def train_conv_classifier(
    train: data.ImageDataset,
    hidden: int = 128,
    epochs: int | None = None,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> ConvClassifier:
    """A ConvClassifier trained in the same way.  Test accuracy: 98.5 % on MNIST.

    epochs: by default 3, or for a small data set as many as make 300 steps.
    """
    tg.manual_seed(seed)
    model = new_conv_classifier(train, hidden).to(device)
    if epochs is None:
        epochs = max(3, math.ceil(300 / math.ceil(len(train) / batch_size)))
    return _fit(model, train, epochs, batch_size, lr, seed, device)


def new_conv_classifier(train: data.ImageDataset, hidden: int = 128) -> ConvClassifier:
    """Untrained, for the images and classes of a data set; of sides beyond 48 pixels it sees means over squares, 32 a side."""
    sides, classes = train.image_shape[-2:], int(_labels(train).max()) + 1
    pool = max(1, min(round(max(sides) / 32), min(sides) // 4))
    return ConvClassifier(train.image_shape, hidden=hidden, classes=classes, pool=pool)


def _fit(model: C, train: data.ImageDataset, epochs: int, batch_size: int, lr: float, seed: int, device: str) -> C:
    pairs = data.TensorDataset(train.flat, _labels(train))
    loader = data.DataLoader(pairs, batch_size, shuffle=True, generator=seed, device=device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    for _ in (bar := training.progress(range(epochs), "classifier")):
        for x, y in loader:
            optimizer.zero_grad()
            loss = model.loss(x, y)
            loss.backward()
            optimizer.step()
            schedule.step()
        bar.set("nats", loss=loss.item())
    return model


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    hidden: int = 256,
    epochs: int = 8,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> Result:
    """Test accuracy of the 784-256-10 classifier on MNIST, in percent.  Higher is better.

    Target: 97 %, so that it can count a generator's classes.  Ceiling 100.  Baseline: always the most frequent class.
    Published: 98.4 % for a network with one hidden layer of 800 units (Simard, Steinkraus, Platt 2003, undistorted
    images).
    dataset: (train, test), with labels; MNIST by default.
    """
    train, test = data.mnist() if dataset is None else dataset
    start = time.perf_counter()
    model = train_classifier(train, hidden, epochs, batch_size, lr, seed, device)
    seconds = time.perf_counter() - start
    most_frequent = np.bincount(_labels(train)).argmax()
    return Result(
        name=f"MLP classifier, {hidden} hidden units",
        metric="test accuracy",
        unit="%",
        value=model.accuracy(test),
        floor=100.0,
        baseline=100 * float((_labels(test) == most_frequent).mean()),
        published=98.4 if dataset is None else None,
        target=">= 97 %" if dataset is None else None,
        seed=seed,
        seconds=seconds,
        settings={"hidden": hidden, "epochs": epochs, "batch_size": batch_size, "lr": lr},
        notes={"baseline": "always the most frequent class", "published": "800 hidden units, Simard et al. 2003"},
    )
