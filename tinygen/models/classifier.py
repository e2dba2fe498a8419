"""A small classifier: the measuring device for generated digits, and the first model to train.

    p(y | x) = softmax(W₂ relu(W₁ x + b₁) + b₂),   L = −(1/N) Σ_n log p(y_n | x_n)

Without hidden layers this is logistic regression, to which deck D0 compares it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

import tinygen as tg
from tinygen import data, nn, optim, training
from tinygen.models.autoencoder import mlp
from tinygen.models.result import Result


class Classifier(nn.Module):
    """A multi-layer perceptron with one logit per class: 784-256-10 for sizes=(784, 256, 10).

    x: (batch, sizes[0]) -> logits (batch, sizes[-1]).
    """

    def __init__(self, sizes: Sequence[int] = (784, 256, 10)):
        super().__init__()
        self.network = mlp(sizes)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.network(x)

    def loss(self, x: tg.Tensor, labels: tg.Tensor) -> tg.Tensor:
        """Mean cross-entropy, in nats per image; log 10 = 2.303 for guessing among ten classes."""
        return nn.functional.cross_entropy(self(x), labels)

    def predict(self, x: tg.Tensor) -> tg.Tensor:
        """The most probable class: (batch,), int64."""
        with tg.no_grad():
            return self(tg.as_tensor(x, device=next(self.parameters()).device)).argmax(1)

    def accuracy(self, dataset: data.Dataset) -> float:
        """The share of images that are classified right, in percent."""
        loader = data.DataLoader(data.TensorDataset(dataset.flat, _labels(dataset)), 1000)
        right = sum((self.predict(x).cpu() == y.cpu()).sum().item() for x, y in loader)
        return 100 * right / len(dataset)


def _labels(dataset: data.Dataset) -> np.ndarray:
    if dataset.labels is None:
        raise ValueError(f"Classifier: a data set with labels is expected, and {dataset.name} has none")
    return dataset.labels


def train_classifier(
    train: data.Dataset,
    hidden: int = 256,
    epochs: int = 8,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> Classifier:
    """A Classifier trained with Adam; the learning rate falls along a cosine to 0."""
    labels = _labels(train)
    tg.manual_seed(seed)
    model = Classifier((train.flat.shape[1], hidden, int(labels.max()) + 1)).to(device)
    pairs = data.TensorDataset(train.flat, labels)
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
    dataset: tuple[data.Dataset, data.Dataset] | None = None,
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
