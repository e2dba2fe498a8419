"""The generative adversarial network: a forger and a detective, each the other's loss function.

    min_G max_D   V(D, G) = E log D(x) + E log(1 − D(G(z))),     z ~ N(0, I)

D(x) is the probability that x is real.  For the best D the value is 2 JSD(p_data, p_G) − log 4: the generator would
minimise the Jensen-Shannon divergence.  In practice the two take turns.

While D(G(z)) is near 0, log(1 − D(G(z))) is flat and teaches G nothing; so G maximises log D(G(z)) instead, which has
the same fixed points and a steep slope just there ("non-saturating").

With D = sigmoid(a): −log D = softplus(−a) and −log(1 − D) = softplus(a).  The discriminator returns the logit a, and no
logarithm of 0 can occur.

Sources: Goodfellow et al., "Generative adversarial nets", 2014, eq. 1 and algorithm 1; deck D0 (networks, losses), deck
D2 (both generator losses, k discriminator steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, nn, optim, training
from tinygen.models.autoencoder import mlp
from tinygen.models.classifier import train_classifier
from tinygen.models.fitting import check_range
from tinygen.models.judge import judge
from tinygen.models.model import Model
from tinygen.models.result import Result


class Generator(nn.Module):
    """z -> image: Linear and ReLU up to the image, then tanh.  Pixels in (−1, 1).

    z: (batch, latent) -> (batch, size).  Source: deck D0: 256, 512 and 1024 hidden units.
    """

    def __init__(self, latent: int = 100, size: int = 784, hidden: Sequence[int] = (256, 512, 1024)):
        super().__init__()
        self.network: nn.Module = initialize(mlp((latent, *hidden, size), last=nn.Tanh()))

    def forward(self, z: tg.Tensor) -> tg.Tensor:
        return self.network(z)


class Discriminator(nn.Module):
    """image -> logit of "real": Linear, ReLU, dropout 0.3, three times, then Linear.

    Dropout keeps the detective from winning at once.  Both players' steps run it in training mode.

    x: (batch, size), pixels in [−1, 1] -> logits (batch,).  Source: deck D0: 1024, 512 and 256 hidden units.
    """

    def __init__(self, size: int = 784, hidden: Sequence[int] = (1024, 512, 256), dropout: float = 0.3):
        super().__init__()
        self.network: nn.Module = initialize(
            mlp((size, *hidden, 1), activation=lambda: nn.Sequential(nn.ReLU(), nn.Dropout(dropout)))
        )

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.network(x).squeeze(1)


class GAN(Model):
    """The two networks and the game.

    latent: size of z; size: pixels of an image; hidden: the generator's widths, the discriminator's backwards.
    saturating: train the generator by the minimax loss, to see it fail.
    Images are in [0, 1] outside; the networks see 2x − 1.
    dropout: its probability in the discriminator.
    """

    generator: nn.Module
    discriminator: nn.Module
    latent: int
    saturating: bool

    def __init__(
        self,
        latent: int = 100,
        size: int = 784,
        hidden: Sequence[int] = (256, 512, 1024),
        dropout: float = 0.3,
        saturating: bool = False,
    ):
        super().__init__()
        self.latent, self.saturating = latent, saturating
        self.generator = Generator(latent, size, hidden)
        self.discriminator = Discriminator(size, hidden[::-1], dropout)

    def latents(self, n: int) -> tg.Tensor:
        """n draws of z ~ N(0, I), on the generator's device."""
        parameter = next(self.generator.parameters())
        return tg.randn(n, self.latent, dtype=parameter.dtype, device=parameter.device)

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        """The images of latents z: (n, latent) -> (n, size), pixels in [0, 1]."""
        return (self.generator(z) + 1) / 2

    def sample(self, n: int) -> tg.Tensor:
        """n images, (n, size), pixels in [0, 1], without recording."""
        with tg.no_grad():
            return self.decode(self.latents(n))

    def discriminator_loss(self, real: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        """(−E log D(x) − E log(1 − D(G(z))), mean D(x), mean D(G(z))) for a batch of real images and as many forged ones.

        In nats; log 4 = 1.386 when D cannot tell them apart.  The forged images are constants here: the step of one
        player must not move, nor spend time on, the other.
        real: (batch, size), pixels in [0, 1].  Noise may carry them out by 0.25; beyond, ValueError is raised (not on a GPU).
        """
        fix = "scale the images: bytes by 255, standardised ones back by x·std + mean, 2x − 1 by (x + 1)/2"
        check_range(f"{type(self).__name__}.discriminator_loss", real, 0.0, 1.0, fix, slack=0.25)
        with tg.no_grad():
            fake = self.generator(self.latents(len(real)))
        on_real, on_fake = self.discriminator(2 * real - 1), self.discriminator(fake)
        loss = tg.softplus(-on_real).mean() + tg.softplus(on_fake).mean()
        return loss, _mean_probability(on_real), _mean_probability(on_fake)

    def generator_loss(self, n: int) -> tg.Tensor:
        """−E log D(G(z)) over n forged images, or E log(1 − D(G(z))) when saturating; in nats.

        The gradient flows through the discriminator, but not to its weights.
        """
        with frozen(self.discriminator):
            logits = self.discriminator(self.generator(self.latents(n)))
        return -tg.softplus(logits).mean() if self.saturating else tg.softplus(-logits).mean()

    def play(self, d_optimizer: Any, g_optimizer: Any, *real: tg.Tensor) -> dict[str, list[tg.Tensor]]:
        """One round of the game: a discriminator step for each batch given, then one generator step.

        So k batches are k discriminator steps (Goodfellow's algorithm 1).  Returns what was seen in each of them, tensors of
        one number: "D loss" and "G loss" in nats, "D(x)" and "D(G(z))" as probabilities.
        d_optimizer, g_optimizer: of the two networks' parameters.  real: those batches.
        """
        seen = []
        for batch in real:
            d_optimizer.zero_grad()
            d_loss, on_real, on_fake = self.discriminator_loss(batch)
            d_loss.backward()
            d_optimizer.step()
            seen.append((d_loss.detach(), on_real, on_fake))
        g_optimizer.zero_grad()
        g_loss = self.generator_loss(len(real[-1]))
        g_loss.backward()
        g_optimizer.step()
        d_losses, on_reals, on_fakes = map(list, zip(*seen, strict=True))
        return {"D loss": d_losses, "D(x)": on_reals, "D(G(z))": on_fakes, "G loss": [g_loss.detach()]}

    def step(self, d_optimizer: Any, g_optimizer: Any, *real: tg.Tensor) -> dict[str, float]:
        """`play`, and the means of what was seen, as numbers to be logged.

        d_optimizer, g_optimizer, real: as for `play`.
        """
        seen = self.play(d_optimizer, g_optimizer, *real)
        return {name: float(np.mean([x.item() for x in values])) for name, values in seen.items()}


def initialize(network: nn.Module) -> nn.Module:
    """Weights that keep the size of what passes through: N(0, 2/n_in) before a ReLU (He et al. 2015), biases 0.

    It decides the game.  With the default of `nn.Linear`, made for other purposes, each layer shrinks the differences
    between inputs; the generator starts by forging one and the same image for every z, the discriminator learns that
    image by heart, and after six epochs on MNIST D(G(z)) was below 0.01 and had not recovered after nine.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.xavier_normal_(layers[-1].weight)  # no ReLU follows
    return network


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, the module's parameters count as constants: no gradient is computed for them."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


def _mean_probability(logits: tg.Tensor) -> tg.Tensor:
    return logits.detach().sigmoid().mean()


def reproduce(
    dataset: tuple[data.ImageDataset, data.ImageDataset] | None = None,
    latent: int = 100,
    hidden: Sequence[int] = (256, 512, 1024),
    epochs: int = 50,
    batch_size: int = 100,
    lr: float = 2e-4,
    k: int = 1,
    samples: int = 10_000,
    seed: int = 0,
    device: str = "cpu",
    watch: Callable[[int, GAN], None] | None = None,
    keep: Path | None = None,
) -> Result:
    """The share of the rarest class among 10,000 samples of D0's GAN on MNIST, in percent.  Higher is better.

    Target: every class at 3 % or more, by a classifier of at least 97 % test accuracy.  Ceiling: the rarest class of
    the test images, 8.9 %.  Baseline: images of independent pixels.
    Also: the Parzen log-likelihood in nats beside 225 ± 2 (Goodfellow et al. 2014) and real training images, 244; the
    Fréchet distance to the test images, which `dcgan.reproduce` has for the convolutional players.
    dataset: (train, test), with labels; MNIST by default.  watch: called with (epoch, model) after every epoch.
    keep: folder of `training.Keeper`.
    """
    train, test = data.mnist() if dataset is None else dataset
    classifier = train_classifier(train, device=device)  # which has a seed of its own: it measures
    tg.manual_seed(seed)
    model = GAN(latent, train.flat.shape[1], hidden).to(device)
    d_optimizer = optim.Adam(model.discriminator.parameters(), lr=lr, betas=(0.5, 0.999))
    g_optimizer = optim.Adam(model.generator.parameters(), lr=lr, betas=(0.5, 0.999))
    loader = data.DataLoader(train.flat, k * batch_size, shuffle=True, generator=seed, device=device, drop_last=True)
    settings = dict(
        latent=latent, hidden=list(hidden), epochs=epochs, batch_size=batch_size, lr=lr, k=k, samples=samples
    )
    players: dict[str, Any] = dict(model=model, d_optimizer=d_optimizer, g_optimizer=g_optimizer)
    keeper = training.Keeper(keep, "gan", settings | {"seed": seed, "device": device}, **players)
    for epoch in keeper.epochs(epochs):
        for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
            bar.set("", **model.step(d_optimizer, g_optimizer, *x.split(batch_size)))
        if watch is not None:
            watch(epoch + 1, model)
    seconds = keeper.seconds

    images = np.concatenate([model.sample(min(1000, samples - i)).cpu().numpy() for i in range(0, samples, 1000)])
    unrelated = evaluate.independent_pixels(train.flat, samples, 0)
    shares = evaluate.class_shares(images, classifier.predict)
    # Goodfellow chose sigma on held-out images of the training set; it is the last of it here.
    n_valid = min(1000, len(train) // 2)
    valid, real = train.flat[-n_valid:], train.flat[:-n_valid][:samples]
    scores = {
        name: evaluate.parzen(s, test.flat, valid) for name, s in (("G", images), ("real", real), ("pixels", unrelated))
    }
    judged = judge(train, test, samples, device)
    return Result(
        name="MLP GAN: classes",
        metric=f"share of the rarest class among {samples:,} samples",
        unit="%",
        value=100 * float(shares.min()),
        floor=100 * float(evaluate.class_shares(test.flat, classifier.predict).min()),
        baseline=100 * float(evaluate.class_shares(unrelated, classifier.predict).min()),
        target=">= 3 %, so that no digit is missing" if dataset is None else None,
        seed=seed,
        seconds=seconds,
        settings=settings,
        notes={
            "ceiling": "the rarest class of the test images, by the same classifier",
            "baseline": "images of independent pixels",
            "shares of the classes 0-9, %": [round(100 * float(s), 1) for s in shares],
            "test accuracy of the classifier, %": round(classifier.accuracy(test), 2),
        },
        more=(
            Result(
                name="MLP GAN: Parzen",
                metric="Parzen log-likelihood of the test images",
                unit="nats",
                value=scores["G"].log_likelihood,
                floor=scores["real"].log_likelihood,
                baseline=scores["pixels"].log_likelihood,
                published=225.0 if dataset is None else None,
                seed=seed,
                seconds=seconds,
                settings=settings,
                notes={
                    "ceiling": "real training images in place of the samples",
                    "baseline": "images of independent pixels",
                    "published": "225 ± 2, Goodfellow et al. 2014",
                    "standard error, nats": round(scores["G"].error, 2),
                    "sigma": {name: round(score.sigma, 3) for name, score in scores.items()},
                },
            ),
            Result(
                name="MLP GAN: samples",
                metric="Fréchet distance in our classifier's features",
                unit="squared features",
                value=judged.distance(images[: judged.distance.n]),
                floor=judged.distance.floor,
                baseline=judged.unrelated,
                seed=seed,
                seconds=seconds,
                settings=settings,
                notes=judged.notes,
            ),
        ),
    )
