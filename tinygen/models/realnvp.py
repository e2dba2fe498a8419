"""Normalising flows: an invertible map from data to noise, and with it an exact density.

    z = f(x),   log p(x) = log p_Z(f(x)) + log |det ∂f/∂x|            z ~ p_Z, x = f⁻¹(z): sampling

f is a stack of coupling layers (`nn.AffineCoupling`, `nn.AdditiveCoupling`): half of the dimensions pass through and
decide how the other half is changed.  So each is inverted without inverting any network, its Jacobian is triangular, and
the log-determinants of a stack add up.

Names: `forward(x) -> (z, logdet)` from data to noise, `inverse(z) -> (x, logdet)` from noise to data; each logdet is that
of the direction it comes with, (batch,), in nats.

Sources: Dinh, Krueger, Bengio, "NICE", 2014; Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016,
eq. 3-8; deck D4 (`NVPNet`, whose training line says hidden_dim where the class says hdim).
"""

from __future__ import annotations

import math
import time

import tinygen as tg
from tinygen import data, evaluate, nn, optim, training
from tinygen.models.autoencoder import mlp
from tinygen.models.result import Result


class Flow(nn.Module):
    """A stack of invertible layers over a simple density.  A subclass sets `layers` and may change the prior.

    dim: number of coordinates; x, z: (batch, dim).
    """

    def __init__(self, dim: int, layers: list[nn.Module]):
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList(layers)

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """(z, log|det ∂z/∂x|): data to noise."""
        logdet = tg.zeros(x.shape[0], dtype=x.dtype, device=x.device)
        for layer in self.layers:
            x, change = layer(x)
            logdet = logdet + change
        return x, logdet

    def inverse(self, z: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """(x, log|det ∂x/∂z|): noise to data."""
        logdet = tg.zeros(z.shape[0], dtype=z.dtype, device=z.device)
        for layer in reversed(list(self.layers)):
            z, change = layer.inverse(z)
            logdet = logdet + change
        return z, logdet

    def prior_log_prob(self, z: tg.Tensor) -> tg.Tensor:
        """log p_Z(z) of N(0, I): (batch,), in nats."""
        return -0.5 * (z**2 + math.log(2 * math.pi)).sum(1)

    def prior_sample(self, n: int) -> tg.Tensor:
        """n draws of z: (n, dim), on the model's device."""
        parameter = next(self.parameters())
        return tg.randn(n, self.dim, dtype=parameter.dtype, device=parameter.device)

    def log_prob(self, x: tg.Tensor) -> tg.Tensor:
        """log p(x), exact: (batch,), in nats."""
        z, logdet = self.forward(x)
        return self.prior_log_prob(z) + logdet

    def loss(self, x: tg.Tensor) -> tg.Tensor:
        """−log p(x), averaged over the batch: a number, in nats."""
        return -self.log_prob(x).mean()

    def sample(self, n: int) -> tg.Tensor:
        """n draws of x, without recording: (n, dim)."""
        with tg.no_grad():
            return self.inverse(self.prior_sample(n))[0]

    def encode(self, x: tg.Tensor) -> tg.Tensor:
        """z = f(x)."""
        return self.forward(x)[0]

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        """x = f⁻¹(z)."""
        return self.inverse(z)[0]

    def reconstruct(self, x: tg.Tensor) -> tg.Tensor:
        """f⁻¹(f(x)), which is x up to rounding: nothing is lost in the code of a flow.  Without recording."""
        with tg.no_grad():
            return self.decode(self.encode(x))


def alternating_masks(dim: int, depth: int) -> list[tg.Tensor]:
    """`depth` masks of 0 and 1, (dim,) each: a random half of the dimensions, its complement, a new random half, ...

    1 marks what passes through.  The draws come from the default generator.
    """
    masks: list[tg.Tensor] = []
    for i in range(depth):
        masks.append(1 - masks[-1] if i % 2 else nn.flows.random_half_mask(dim))
    return masks


class RealNVP(Flow):
    """`depth` affine couplings, y = b⊙x + (1−b)⊙(x⊙exp s(b⊙x) + t(b⊙x)), over N(0, I).

    s and t have one hidden layer of tanh units, and s ends in a tanh, so that no layer scales by more than e.

    dim: coordinates; hidden: hidden units of s and of t; depth: number of couplings, at least 2, so that every
    coordinate is changed.
    Source: Dinh et al. 2016; deck D4, `NVPNet(dim, hdim, depth)`.
    """

    def __init__(self, dim: int = 2, hidden: int = 32, depth: int = 8):
        _check("RealNVP", dim, depth)
        super().__init__(
            dim,
            [
                nn.AffineCoupling(
                    mask,
                    scale_net=mlp((dim, hidden, dim), last=nn.Tanh(), activation=nn.Tanh),
                    translate_net=mlp((dim, hidden, dim), activation=nn.Tanh),
                )
                for mask in alternating_masks(dim, depth)
            ],
        )


class NICE(Flow):
    """`depth` additive couplings, y = b⊙x + (1−b)⊙(x + t(b⊙x)), then z = y⊙exp(s), over independent logistic densities.

        log p_Z(z) = −Σ_i [softplus(z_i) + softplus(−z_i)],     log|det| = Σ_i s_i

    The couplings keep volumes; only the last, diagonal scaling can squeeze or stretch.

    dim, hidden, depth: as for RealNVP; t has one hidden layer of ReLU units.
    Source: Dinh, Krueger, Bengio 2014, sections 3.2-3.4.
    """

    def __init__(self, dim: int = 2, hidden: int = 64, depth: int = 4):
        _check("NICE", dim, depth)
        masks = alternating_masks(dim, depth)
        super().__init__(dim, [nn.AdditiveCoupling(mask, mlp((dim, hidden, dim))) for mask in masks])
        self.log_scale = nn.Parameter(tg.zeros(dim))

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        y, logdet = super().forward(x)
        return y * self.log_scale.exp(), logdet + self.log_scale.sum()

    def inverse(self, z: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        x, logdet = super().inverse(z * (-self.log_scale).exp())
        return x, logdet - self.log_scale.sum()

    def prior_log_prob(self, z: tg.Tensor) -> tg.Tensor:
        """log p_Z(z) of independent standard logistic variables: (batch,), in nats."""
        return -(nn.functional.softplus(z) + nn.functional.softplus(-z)).sum(1)

    def prior_sample(self, n: int) -> tg.Tensor:
        """n draws of z by inverting the logistic distribution function, z = log u − log(1 − u)."""
        u = tg.rand(n, self.dim, dtype=self.log_scale.dtype, device=self.log_scale.device).clamp(1e-6, 1 - 1e-6)
        return u.log() - (-u).log1p()


def _check(name: str, dim: int, depth: int) -> None:
    if dim < 2 or depth < 2:
        raise ValueError(
            f"{name}: dim >= 2 and depth >= 2 are expected, got dim={dim}, depth={depth}; a coupling changes only half of "
            "the coordinates, given the other half"
        )


def reproduce(
    noise: float = 0.1,
    n: int = 5000,
    hidden: int = 32,
    depth: int = 8,
    epochs: int = 100,
    batch_size: int = 100,
    lr: float = 5e-3,
    seed: int = 0,
    device: str = "cpu",
) -> Result:
    """Test negative log-likelihood of a fully connected RealNVP on two moons, in nats per point.  Lower is better.

    Target for noise 0.1: at most 1.10.  Floor: the exact entropy of the density, 1.008.  Baseline: a Gaussian with full
    covariance, 1.903.  Nobody published a number for this toy; D4's own network of 2 hidden units reaches about 1.5.
    n: training points; twice as many are tested.
    """
    generator = tg.Generator().manual_seed(seed)
    train, test = data.two_moons(n, noise, generator), data.two_moons(2 * n, noise, generator)
    tg.manual_seed(seed)
    model = RealNVP(2, hidden, depth).to(device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    loader = data.DataLoader(train, batch_size, shuffle=True, generator=seed, device=device)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    start = time.perf_counter()
    for _ in (bar := training.progress(range(epochs), "RealNVP")):
        total = 0.0
        for x in loader:
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        bar.set("nats", loss=total / len(loader))
    seconds = time.perf_counter() - start
    with tg.no_grad():
        value = model.loss(tg.as_tensor(test, device=device)).item()
        on_train = model.loss(tg.as_tensor(train, device=device)).item()
    return Result(
        name="RealNVP, two moons",
        metric="test negative log-likelihood",
        unit="nats per point",
        value=value,
        floor=data.two_moons_entropy(noise),
        baseline=evaluate.gaussian_nll(train, test),
        target="<= 1.10" if noise == 0.1 and n >= 5000 else None,
        seed=seed,
        seconds=seconds,
        settings=dict(noise=noise, n=n, hidden=hidden, depth=depth, epochs=epochs, batch_size=batch_size, lr=lr),
        notes={
            "floor": "exact entropy of the data",
            "baseline": "a Gaussian with full covariance",
            "true density on the same test points, nats": round(float(-data.two_moons_log_prob(test, noise).mean()), 3),
            "train negative log-likelihood, nats": round(on_train, 3),
        },
    )
