"""The models: their outputs, and their losses, which average over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import tinygen as tg
from tests.ours.table import Method, bijection, labels, module, rows, several_rows, trained
from tinygen import models, nn
from tinygen.nn import flows

PIXELS = rows(4, low=0.25, high=0.75)  # models refuse what is outside [0, 1], and finite differences take steps of 0.1


def model(
    make: Callable[[], nn.Module],
    x: SearchStrategy[Any],
    *more: SearchStrategy[Any],
    losses: tuple[str, ...] = ("loss",),
    **of_losses: Any,
) -> None:
    """Its forward pass, and each of the losses; options for these."""
    name = make().__class__.__name__
    module(name, make, x)
    for loss in losses:
        module(f"{name} {loss}", lambda loss=loss: Method(make(), loss), x, *more, empty=loss == "elbo", **of_losses)


model(lambda: models.Autoencoder((4, 3, 2)), PIXELS)
model(lambda: models.LinearAutoencoder(4, 2), PIXELS)
model(lambda: models.TiedAutoencoder(4, 2), PIXELS)
module("Autoencoder denoising", lambda: Method(models.Autoencoder((4, 2)), "loss"), PIXELS, PIXELS, empty=False)
IMAGES = rows(1, 3, 3, low=0.0, high=1.0)
HALVES = ((2, 2, 1),)  # one hidden convolution: 3×3 -> 2×2 -> 1
ONE_MODE = {"modes": ("train",)}  # for losses that are the same in both; their layers go through both in other entries
model(lambda: models.ConvAutoencoder(2, (1, 3, 3), HALVES), IMAGES, **ONE_MODE)
model(lambda: models.ConvVAE(1, (1, 3, 3), HALVES), IMAGES, **ONE_MODE)
model(lambda: models.Classifier((4, 3, 3)), PIXELS, labels(3))
model(
    lambda: models.ConvClassifier((4, 4), (2, 2), 3, classes=3),
    rows(1, 4, 4, low=0.0, high=1.0),
    labels(3),
    **ONE_MODE,
)

model(lambda: models.BernoulliVAE(4, 3, 2), PIXELS, losses=("loss", "elbo"))
model(lambda: models.GaussianVAE(3, 3, 2), rows(3), losses=("loss", "elbo"))


def importance_sampled(make: Callable[[], nn.Module]) -> nn.Module:
    return Method(make(), "log_prob")


module("BernoulliVAE log_prob", lambda: importance_sampled(lambda: models.BernoulliVAE(4, 3, 2)), PIXELS, st.just(3))
module("GaussianVAE log_prob", lambda: importance_sampled(lambda: models.GaussianVAE(2, 3, 2)), rows(2), st.just(3))
module(
    "GaussianVAE log_weights",
    lambda: Method(models.GaussianVAE(2, 3, 2), "log_weights"),
    rows(2),
    st.integers(1, 3),
    empty=False,
)
model(lambda: models.IWAE(4, 3, 2, 3), PIXELS)


class Loss(Method):
    """The first of what a player's loss returns; the others are for being looked at, and have no derivative."""

    def forward(self, *args: Any) -> Any:
        out = super().forward(*args)
        return out[0] if isinstance(out, tuple) else out


def gan(loss: str, constant: str, **options: Any) -> nn.Module:
    """One player's loss; the other player is a constant in it, as it says itself."""
    game = models.GAN(2, 4, (3, 4), **options)
    getattr(game, constant).requires_grad_(False)
    return Loss(game, loss)


model(lambda: models.Generator(2, 4, (3,)), rows(2), losses=())
model(lambda: models.Discriminator(4, (5, 3)), rows(4), losses=())
module("GAN discriminator", lambda: gan("discriminator_loss", "generator"), PIXELS, empty=False)
for kind, saturating in (("", False), (" saturating", True)):
    module(
        f"GAN generator{kind}",
        lambda saturating=saturating: gan("generator_loss", "discriminator", saturating=saturating),
        st.integers(1, 3),
        empty=False,
    )


def dcgan(loss: str, constant: str) -> nn.Module:
    """As `gan`, with weights far from the start, where the logits are nearly 0 and the normalisation divides by little.

    Derivatives in the player's first and last parameter; its own entry has all of them.
    """
    game = trained(models.DCGAN(2, (1, 4, 4), (2, 1)))
    with tg.no_grad():
        for p in game.parameters():
            p.sub_(1)
    getattr(game, constant).requires_grad_(False)
    for p in [p for p in game.parameters() if p.requires_grad][1:-1]:
        p.requires_grad_(False)
    return Loss(game, loss)


module("ConvGenerator", lambda: trained(models.ConvGenerator(2, (1, 4, 4), (2, 1))), several_rows(2), empty=False)
module(
    "ConvDiscriminator",
    lambda: trained(models.ConvDiscriminator((1, 4, 4), (1, 2))),
    several_rows(1, 4, 4),
    empty=False,
)
# In training, where the game is played; the two players, above, go through both modes.
PLAYED = {"empty": False, "modes": ("train",)}
GREY = several_rows(1, 4, 4, low=0.25, high=0.75)
module("DCGAN discriminator", lambda: dcgan("discriminator_loss", "generator"), GREY, **PLAYED)
module("DCGAN generator", lambda: dcgan("generator_loss", "discriminator"), st.integers(3, 4), **PLAYED)


def nice() -> nn.Module:
    return trained(models.NICE(3, 4, 2))


def flow() -> nn.Module:
    couplings = [nn.AdditiveCoupling(mask, nn.Linear(2, 2)) for mask in ([1, 0], [0, 1])]
    return models.Flow(flows.Composition(*couplings), flows.StandardNormal(2))


for make, n in ((lambda: models.RealNVP(3, 4, 2), 3), (nice, 3), (flow, 2)):
    model(make, rows(n))
    bijection(f"{make().__class__.__name__} inverse", make, rows(n))


# Images: the density is that of dequantised ones, v in [0, 1); the loss draws them, and has no derivative in grey levels.
DEQUANTISED = rows(1, 2, 2, low=0.0, high=0.99)


def residual_net() -> nn.Module:
    return trained(models.image_realnvp.ResidualNet(2, 2))


def image_flow() -> nn.Module:
    layers = (flows.Reshape((1, 2, 2), (4,)), trained(flows.Scale(4)))
    return models.ImageFlow((1, 2, 2), flows.Composition(*layers), flows.StandardNormal(4))


def glow() -> nn.Module:
    """After its first batch, which sets the activation norms."""
    flow = trained(models.Glow((1, 2, 2), scales=1, steps=1, hidden=1))
    for layer in flow.modules():
        if isinstance(layer, flows.ActNorm):
            layer.initialized.fill_(True)
        if isinstance(layer, flows.InvertibleConv1x1):
            layer.permutation.copy_(tg.eye(4))
            layer.sign.fill_(1.0)
    return flow


def image_realnvp() -> nn.Module:
    """ResidualNet and the couplings have entries of their own: here few parameters of the first and the innermost."""
    flow = trained(models.ImageRealNVP((1, 2, 2), scales=1, hidden=1)).requires_grad_(False)
    scale = flow.transform[1]
    for coupling in (scale[0], scale[7].rest[3]):
        coupling.bound.requires_grad_()
        coupling.scale_net.last.bias.requires_grad_()
    return flow


module("ResidualNet", residual_net, rows(2, 2, 2))
for make in (
    image_flow,
    lambda: models.ImageNICE((1, 2, 2), (3,), 2),
    image_realnvp,
    glow,
):
    name = make().__class__.__name__
    # the transforms' own entries go to second order
    module(f"{name} log_prob", lambda make=make: Method(make(), "log_prob"), DEQUANTISED, order=1, **ONE_MODE)
    bijection(f"{name} inverse", make, DEQUANTISED, outputs=rows(4, low=-0.5, high=0.5), order=1)
