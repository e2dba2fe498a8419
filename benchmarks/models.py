"""Training steps written once, against `T`, which is tinygen or torch: the two have the same interface.

Every class below is a workload: T, the batch size and the optimizer's options go in; `step(noise)` does one whole training
step (forward, backward, Adam) and returns the loss as a number.  `noise(*shape)` draws from N(0, 1).  What is trained in a step
is `update`, a function of tensors alone, which tinygen can compile.
"""

import math
from itertools import pairwise

import numpy as np


class Training:
    """What all workloads here have in common."""

    checked_steps = 5

    def draw(self, noise):
        """The noise that one update takes."""
        return ()

    def step(self, noise):
        return sum(loss.item() for loss in self.update(*self.draw(noise)))

    def check(self, noise):
        """The first losses, without dropout: for it the two libraries draw different random numbers."""
        for module in self.modules:
            for part in module.modules():
                if type(part).__name__ == "Dropout":
                    part.eval()
        return [self.step(noise) for _ in range(self.checked_steps)]


def pixels(rng, batch):
    """Like MNIST: 784 grey values in [0, 1], four of five of them 0."""
    return (rng.random((batch, 784)) * (rng.random((batch, 784)) < 0.2)).astype(np.float32)


def mlp(T, *sizes, dropout=0.0, last=None):
    """Linear layers of these sizes, with ReLU and perhaps dropout in between, and perhaps a last module."""
    layers = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        if i:
            layers += [T.nn.ReLU()] + [T.nn.Dropout(dropout)] * (dropout > 0)
        layers.append(T.nn.Linear(n, m))
    return T.nn.Sequential(*layers, *([last] if last else []))


class Autoencoder(Training):
    """Deck D0's MLP autoencoder, 784-256-10-256-784: the squared error, summed."""

    title = "MLP AE 784-256-10-256-784"
    target = 0.65
    widths = (256, 10, 256)

    def __init__(self, T, rng, batch, **options):
        self.model = mlp(T, 784, *self.widths, 784, last=T.nn.Sigmoid())
        self.modules = [self.model]
        fill(T, rng, self.modules)
        self.optimizer = T.optim.Adam(self.model.parameters(), lr=1e-3, **options)
        self.mse = T.nn.functional.mse_loss
        self.x = T.tensor(pixels(rng, batch))

    def update(self):
        self.optimizer.zero_grad()
        loss = self.mse(self.model(self.x), self.x, reduction="sum")
        loss.backward()
        self.optimizer.step()
        return (loss,)


class ConvAutoencoder(Training):
    """Deck D4's convolutional autoencoder, 28-24-20-9-4-1 pixels and back, d = 8: the mean squared error."""

    title = "D4's conv AE, 112,457 parameters"
    target = 0.5

    def __init__(self, T, rng, batch, **options):
        conv, transposed, R = T.nn.Conv2d, T.nn.ConvTranspose2d, T.nn.ReLU
        self.model = T.nn.Sequential(
            *(conv(1, 32, 5), R(), conv(32, 32, 5), R(), conv(32, 32, 4, 2), R(), conv(32, 32, 3, 2), R()),
            *(conv(32, 8, 4), transposed(8, 32, 4), R()),
            *(transposed(32, 32, 3, 2), R(), transposed(32, 32, 4, 2), R(), transposed(32, 32, 5), R()),
            transposed(32, 1, 5),
        )
        self.modules = [self.model]
        fill(T, rng, self.modules)
        self.optimizer = T.optim.Adam(self.model.parameters(), lr=1e-3, **options)
        self.mse = T.nn.functional.mse_loss
        self.x = T.tensor(pixels(rng, batch).reshape(batch, 1, 28, 28))

    def update(self):
        self.optimizer.zero_grad()
        loss = self.mse(self.model(self.x), self.x)
        loss.backward()
        self.optimizer.step()
        return (loss,)


class VAE(Training):
    """The Bernoulli MLP VAE 784-400-20: binary cross-entropy plus KL divergence, summed."""

    title = "VAE 784-400-20"
    target = 0.5
    widths = (400, 20)

    def __init__(self, T, rng, batch, **options):
        nn, (hidden, latent) = T.nn, self.widths
        self.hidden = nn.Linear(784, hidden)
        self.mean, self.log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = mlp(T, latent, hidden, 784)
        self.modules = [self.hidden, self.mean, self.log_var, self.decoder]
        fill(T, rng, self.modules)
        self.optimizer = T.optim.Adam([p for m in self.modules for p in m.parameters()], lr=1e-3, **options)
        self.F = T.nn.functional
        self.x = T.tensor(pixels(rng, batch))

    def draw(self, noise):
        return (noise(len(self.x), self.widths[-1]),)

    def update(self, epsilon):
        self.optimizer.zero_grad()
        h = self.F.relu(self.hidden(self.x))
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + (0.5 * log_var).exp() * epsilon
        error = self.F.binary_cross_entropy_with_logits(self.decoder(z), self.x, reduction="sum")
        divergence = -0.5 * (1 + log_var - mean * mean - log_var.exp()).sum()
        loss = error + divergence
        loss.backward()
        self.optimizer.step()
        return (loss,)


class GAN(Training):
    """Deck D0's MLP GAN: one step of the discriminator and one of the generator, each with a batch of its own."""

    title = "MLP GAN, one D and one G step"
    target = 0.7
    latent = 100
    widths = (256, 512, 1024)
    image = (784,)
    adam = {"lr": 2e-4}

    def __init__(self, T, rng, batch, **options):
        self.generator, self.discriminator = self.modules = self.players(T)
        fill(T, rng, self.modules)
        self.optimizer_d = T.optim.Adam(self.discriminator.parameters(), **self.adam, **options)
        self.optimizer_g = T.optim.Adam(self.generator.parameters(), **self.adam, **options)
        self.bce = T.nn.functional.binary_cross_entropy_with_logits
        self.x = T.tensor((2 * pixels(rng, batch) - 1).reshape(batch, *self.image))
        self.is_real, self.is_fake = T.ones(batch, 1), T.zeros(batch, 1)

    def players(self, T):
        generator = mlp(T, self.latent, *self.widths, 784, last=T.nn.Tanh())
        return generator, mlp(T, 784, *self.widths[::-1], 1, dropout=0.3)

    def draw(self, noise):
        return noise(len(self.x), self.latent), noise(len(self.x), self.latent)

    def update(self, z_d, z_g):
        return self.discriminator_step(z_d), self.generator_step(z_g)

    def discriminator_step(self, z):
        self.optimizer_d.zero_grad()
        fake = self.generator(z).detach()
        loss = self.bce(self.discriminator(self.x), self.is_real) + self.bce(self.discriminator(fake), self.is_fake)
        loss.backward()
        self.optimizer_d.step()
        return loss

    def generator_step(self, z):
        self.optimizer_g.zero_grad()
        loss = self.bce(self.discriminator(self.generator(z)), self.is_real)
        loss.backward()
        self.optimizer_g.step()
        return loss


class DCGAN(GAN):
    """The same game between convolutional players, 28x28 pixels, 64 and 128 channels, batch normalisation."""

    checked_steps = 3  # Adam's first steps are the signs of gradients: batch norm makes rounding grow tenfold in each

    title = "DCGAN 28x28, one D and one G step"
    target = 0.8
    image = (1, 28, 28)
    adam = {"lr": 2e-4, "betas": (0.5, 0.999)}

    def players(self, T):
        nn = T.nn
        generator = nn.Sequential(
            *(nn.Linear(self.latent, 128 * 7 * 7), nn.Unflatten(1, (128, 7, 7)), nn.BatchNorm2d(128), nn.ReLU()),
            *(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Tanh()),
        )
        discriminator = nn.Sequential(
            *(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
            *(nn.Flatten(), nn.Linear(128 * 7 * 7, 1)),
        )
        return generator, discriminator


class RealNVP(Training):
    """Deck D4's fully connected RealNVP on points in the plane: depth 8, hidden 16; the negative log-likelihood in nats.

    The coupling is written out: c(x) = b⊙x + (1-b)⊙(x⊙exp s(b⊙x) + t(b⊙x)), log-determinant Σ (1-b)⊙s.
    """

    title = "RealNVP 2-D, depth 8, hidden 16"
    target = 0.12
    depth, width = 8, 16

    def __init__(self, T, rng, batch, **options):
        nn = T.nn

        def net():
            return nn.Sequential(nn.Linear(2, self.width), nn.Tanh(), nn.Linear(self.width, 2))

        self.scales, self.shifts = ([net() for _ in range(self.depth)] for _ in range(2))
        self.modules = [*self.scales, *self.shifts]
        fill(T, rng, self.modules)
        masks = [np.array([i % 2, 1 - i % 2], np.float32) for i in range(self.depth)]
        self.couplings = [
            self.coupling(T, T.tensor(b), T.tensor(1 - b), s, t)
            for b, s, t in zip(masks, self.scales, self.shifts, strict=True)
        ]
        self.optimizer = T.optim.Adam([p for m in self.modules for p in m.parameters()], lr=1e-3, **options)
        self.x = T.tensor(rng.standard_normal((batch, 2)).astype(np.float32))

    def coupling(self, T, passing, moving, scale, shift):
        def forward(x):
            kept = passing * x
            s, t = scale(kept), shift(kept)
            return kept + moving * (x * s.exp() + t), (moving * s).sum(1)

        return forward

    def update(self):
        self.optimizer.zero_grad()
        x, log_det = self.x, 0
        for coupling in self.couplings:
            x, change = coupling(x)
            log_det = log_det + change
        loss = ((x * x).sum(1) / 2 + math.log(2 * math.pi) - log_det).mean()
        loss.backward()
        self.optimizer.step()
        return (loss,)


class RealNVPLayers(RealNVP):
    """The same with nn.AffineCoupling, the layer that tinygen has; PyTorch has none, and keeps the formula."""

    title = "  the same, nn.AffineCoupling"

    def coupling(self, T, passing, moving, scale, shift):
        if hasattr(T.nn, "AffineCoupling"):
            return T.nn.AffineCoupling(passing, scale, shift)
        return super().coupling(T, passing, moving, scale, shift)


class ImageRealNVP(Training):
    """Deck D4's RealNVP on images of 28x28: couplings by convolutions at two scales, 32 channels; the loss in nats per pixel.

    3 couplings with checkerboard masks, squeeze, 3 with channel masks, half of the channels done, the same again, and 4 last.
    """

    title = "image RealNVP, 16 couplings"
    target = 0.9
    hidden = 32

    def __init__(self, T, rng, batch, **options):
        self.T, self.modules, self.plan = T, [], []
        channels, side = 1, 28
        for _ in range(2):
            self.plan += [self.coupling(channels, side, i, True) for i in range(3)] + ["squeeze"]
            channels, side = 4 * channels, side // 2
            self.plan += [self.coupling(channels, side, i, False) for i in range(3)] + ["factor out"]
            channels //= 2
        self.plan += [self.coupling(channels, side, i, True) for i in range(4)]
        fill(T, rng, self.modules)
        self.optimizer = T.optim.Adam([p for m in self.modules for p in m.parameters()], lr=1e-3, **options)
        self.x = T.tensor(rng.standard_normal((batch, 1, 28, 28)).astype(np.float32))

    def coupling(self, channels, side, i, checkerboard):
        """(mask, network): the network's output is s and t."""
        nn = self.T.nn
        grid = np.indices((channels, side, side))
        mask = (grid[1] + grid[2] + i) % 2 if checkerboard else (grid[0] * 2 // channels + i) % 2
        net = nn.Sequential(
            *(nn.Conv2d(channels, self.hidden, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(self.hidden, self.hidden, 3, padding=1), nn.ReLU()),
            nn.Conv2d(self.hidden, 2 * channels, 3, padding=1),
        )
        self.modules.append(net)
        return self.T.tensor(mask.astype(np.float32)), self.T.tensor(1 - mask.astype(np.float32)), net

    def update(self):
        self.optimizer.zero_grad()
        x, total = self.x, 0
        for part in self.plan:
            if part == "squeeze":
                x = self.T.nn.functional.pixel_unshuffle(x, 2)
            elif part == "factor out":
                x, done = x.chunk(2, 1)
                total = total + (done * done).sum() / 2
            else:
                passing, moving, net = part
                kept = passing * x
                s, t = net(kept).chunk(2, 1)
                s = moving * s.tanh()
                x = kept + moving * (x * s.exp() + t)
                total = total - s.sum()
        loss = (total + (x * x).sum() / 2) / self.x.numel()
        loss.backward()
        self.optimizer.step()
        return (loss,)


def fill(T, rng, modules):
    """Weights as both libraries draw them, U(-1/√in, 1/√in), but the same numbers in both; a normalisation's are around 1."""
    for module in modules:
        state = dict(module.state_dict())
        for name, p in module.named_parameters():
            if p.ndim > 1:
                bound = 1 / math.sqrt(math.prod(p.shape[1:]))
            centre = p.ndim == 1 and name.endswith("weight")
            state[name] = T.tensor((centre + rng.uniform(-bound, bound, tuple(p.shape))).astype(np.float32))
        module.load_state_dict(state)


WORKLOADS = {
    "ae": Autoencoder,
    "vae": VAE,
    "gan": GAN,
    "realnvp": RealNVP,
    "realnvp-layers": RealNVPLayers,
    "conv-ae": ConvAutoencoder,
    "dcgan": DCGAN,
    "image-realnvp": ImageRealNVP,
}
