"""The transforms and densities of tinygen.nn.flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis.strategies import SearchStrategy

import tinygen as tg
from tests.ours.table import BATCH, Entry, bijection, enter, module, rows, trained
from tinygen import nn
from tinygen.nn import flows
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_op


def transform(
    name: str, make: Callable[[], nn.Module], x: SearchStrategy[Any], y: SearchStrategy[Any] | None = None
) -> None:
    """It is a smooth module, and it is a bijection."""
    module(name, make, x, kinks="raise")
    bijection(f"{name} inverse", make, x, outputs=y)


def net(n: int, out: int | None = None, last: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(nn.Linear(n, 4), nn.Tanh(), nn.Linear(4, out or n), last or nn.Tanh())


def affine() -> nn.Module:
    return nn.AffineCoupling([1, 0, 1], net(3), net(3, last=nn.Identity()))


def of_images() -> nn.Module:
    through = lambda: nn.Sequential(nn.Flatten(), net(4), nn.Unflatten(1, (2, 2)))
    return nn.AffineCoupling(flows.alternating_mask((2, 2)), through(), through())


def one_net() -> nn.Module:
    """Both s and t from one convolution, and s bounded with a learned factor per channel."""
    both = nn.utils.weight_norm(nn.Conv2d(2, 4, 3, padding=1))
    return nn.AffineCoupling(flows.checkerboard_mask((2, 2, 2)), both, bound=trained(flows.TanhScale(2)))


def clamped() -> nn.Module:
    return nn.AffineCoupling([1, 0], nn.Linear(2, 4), bound=flows.SoftClamp(0.5))


def set_norm(channels: int) -> nn.Module:
    """ActNorm after its first batch: what sets it is not differentiated."""
    layer = trained(flows.ActNorm(channels))
    layer.initialized.fill_(True)
    return layer


def spread(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A module whose parameters are all away from where they start."""

    def made() -> nn.Module:
        layer = make()
        with tg.no_grad():
            for p in layer.parameters():
                p += 0.3 * tg.randn(p.shape)
        return layer

    return made


def sequence() -> nn.Module:
    """Transforms of several kinds; the deep ones, of images, are in tests/nn/flows."""
    return flows.Composition(flows.Logit(0.05), clamped(), flows.Inverse(flows.Composition(flows.Scale(2))))


def factor_out() -> nn.Module:
    return flows.FactorOut((2, 1, 2), flows.Composition(flows.Reshape((1, 1, 2), (2,)), clamped()))


transform("AffineCoupling", affine, rows(3))
transform("AffineCoupling images", of_images, rows(2, 2))
transform("AffineCoupling one net", one_net, rows(2, 2, 2))
transform("AffineCoupling clamped", clamped, rows(2))
transform("AdditiveCoupling", lambda: nn.AdditiveCoupling([0, 1, 0], net(3, last=nn.Identity())), rows(3))
transform("Reshape", lambda: flows.Reshape((2, 3), (3, 2)), rows(2, 3), rows(3, 2))
transform("Scale", spread(lambda: flows.Scale((2, 2))), rows(2, 2))
# a step of the finite differences must not leave the interval: hence the margin, and values away from both ends
transform("Logit", lambda: flows.Logit(0.1), rows(3, low=0.1, high=0.9), rows(3))
transform("Logit open", lambda: flows.Logit(0.0), rows(2, low=0.1, high=0.9), rows(2))
transform("ActNorm", lambda: set_norm(2), rows(2))
transform("ActNorm images", lambda: set_norm(2), rows(2, 2, 1))
transform("InvertibleConv1x1", spread(lambda: flows.InvertibleConv1x1(3)), rows(3))
transform("InvertibleConv1x1 images", lambda: flows.InvertibleConv1x1(2), rows(2, 1, 2))
transform("Squeeze", flows.Squeeze, rows(1, 2, 4), rows(4, 1, 2))
transform("Squeeze 3", lambda: flows.Squeeze(3), rows(1, 3, 3), rows(9, 1, 1))
transform("FactorOut", factor_out, rows(2, 1, 2), rows(4))
transform("Inverse", lambda: flows.Inverse(clamped()), rows(2))
transform("Inverse folded", lambda: flows.Inverse(flows.Squeeze()), rows(4, 1, 1), rows(1, 2, 2))
transform("Composition", spread(sequence), rows(2, low=0.1, high=0.9), rows(2))
transform("Composition identity", flows.Composition, rows(3))

module("SoftClamp", lambda: flows.SoftClamp(0.7), rows(3), kinks="raise")
module("TanhScale", lambda: trained(flows.TanhScale(2)), rows(2, 3), kinks="raise")


class Dequantized(nn.Module):
    """Dequantize on grey levels: whole numbers, since nothing is to be differentiated in them."""

    def __init__(self, levels: int = 256):
        super().__init__()
        self.levels, self.dequantize = levels, flows.Dequantize(levels)

    def forward(self, k: Any) -> Any:
        return self.dequantize(k / (self.levels - 1))


module("Dequantize", Dequantized, rows(3, dtype="int64", low=0, high=255), order=0)
module("Dequantize 16", lambda: Dequantized(16), rows(1, 2, dtype="int64", low=0, high=15), order=0)

for base in (flows.StandardNormal, flows.StandardLogistic):
    enter(
        f"flows.{base.__name__}",
        Entry(check_op, base((2, 3)).log_prob, (ts.tensors(BATCH.map(lambda n: (n, 2, 3))),), {}),
    )
