"""Random compositions of transforms that fit on each other, on small images and on vectors.

hypothesis draws a seed, and all comes from that: so every kind comes about as often.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.nn import flows
from tinygen.testing import strategies as ts
from tinygen.testing.maps import same_draws

Shape = tuple[int, ...]


class Net(nn.Module):
    """A smooth function that mixes all coordinates and keeps the shape, or doubles the channels; between -1 and 1."""

    def __init__(self, shape: Shape, times: int = 1):
        super().__init__()
        self.out = (times * shape[0], *shape[1:])
        self.inner = nn.Linear(math.prod(shape), math.prod(self.out))

    def forward(self, x: Any) -> Any:
        return self.inner(x.flatten(1)).tanh().reshape(x.shape[0], *self.out)


def moved(module: Any) -> Any:
    """With parameters away from where they start; activation norms as after their first batch."""
    for m in module.modules():
        if isinstance(m, flows.ActNorm):
            m.initialized.fill_(True)
    with tg.no_grad():
        for p in module.parameters():
            p += 0.2 * tg.randn(p.shape)
    return module


def coupling(rng: random.Random, shape: Shape) -> nn.Module:
    mask = tg.rand(shape) < 0.5
    kind = rng.choice(["affine", "one net", "additive"])
    if kind == "additive":
        return flows.AdditiveCoupling(mask, Net(shape))
    if kind == "affine":
        return flows.AffineCoupling(mask, Net(shape), Net(shape))
    bound = rng.choice([flows.SoftClamp(1.5), flows.TanhScale(shape[0])])
    return flows.AffineCoupling(mask, Net(shape, 2), bound=bound)


def one(rng: random.Random, shape: Shape, depth: int) -> tuple[nn.Module, Shape]:
    """A transform of a batch of that shape, and the shape that it leads to."""
    kinds = ["coupling", "coupling", "scale", "act norm", "conv 1x1", "reshape", "nested", "inverse"]
    if len(shape) == 3:
        channels, height, width = shape
        kinds += ["squeeze"] * 3 * (height % 2 == 0 and width % 2 == 0)
        kinds += ["unsqueeze"] * 2 * (channels % 4 == 0)
        kinds += ["factor out"] * 3 * (channels % 2 == 0)
    kind = rng.choice(kinds)
    if kind == "scale":
        return flows.Scale(shape), shape
    if kind == "act norm":
        return flows.ActNorm(shape[0]), shape
    if kind == "conv 1x1":
        return flows.InvertibleConv1x1(shape[0]), shape
    if kind == "reshape":
        end = rng.choice([s for s in SHAPES if math.prod(s) == math.prod(shape)])
        return flows.Reshape(shape, end), end
    if kind == "squeeze":
        return flows.Squeeze(), (4 * channels, height // 2, width // 2)
    if kind == "unsqueeze":
        return flows.Inverse(flows.Squeeze()), (channels // 4, 2 * height, 2 * width)
    if kind == "factor out":
        rest, end = stack(rng, (channels // 2, height, width), depth + 1)
        flat = flows.Reshape(end, (math.prod(end),))
        return flows.FactorOut(shape, flows.Composition(rest, flat)), (math.prod(shape),)
    if kind == "nested" and depth < 2:
        return stack(rng, shape, depth + 1)
    if kind == "inverse" and depth < 2:
        inner, end = one(rng, shape, depth + 1)
        return (flows.Inverse(inner) if end == shape else inner), end
    return coupling(rng, shape), shape


def stack(rng: random.Random, shape: Shape, depth: int, length: int | None = None) -> tuple[flows.Composition, Shape]:
    """`length` of them, one after the other."""
    layers = []
    for _ in range(rng.randint(1, 2) if length is None else length):
        layer, shape = one(rng, shape, depth)
        layers.append(layer)
    return flows.Composition(*layers), shape


SHAPES: Sequence[Shape] = [
    (1,),
    (2,),
    (3,),
    (4,),
    (8,),
    (2, 2),
    (2, 1, 2),
    (1, 2, 2),
    (2, 2, 2),
    (4, 1, 1),
    (8, 1, 1),
    (1, 2, 4),
    (4, 2, 1),
    (6,),
]


@st.composite
def stacks(draw: st.DrawFn, most: int = 5) -> tuple[flows.Composition, tg.Tensor, tg.Tensor]:
    """(flow, x, y): a composition of 1 to `most` transforms in float64, and batches of 1 to 3 at both of its ends."""
    seed = draw(ts.seeds())
    rng = random.Random(seed)
    start, batch, opened = rng.choice(SHAPES), rng.randint(1, 3), rng.random() < 0.3
    with same_draws(seed):
        flow, end = stack(rng, start, 0, rng.randint(1, most))
        flow = moved(flow).double()
    if opened:
        flow = flows.Composition(flows.Logit(0.05), flow)
    # away from the walls, which the steps of finite differences must not cross
    x = draw(ts.tensors((batch, *start), low=0.1, high=0.9) if opened else ts.tensors((batch, *start)))
    return flow, x, draw(ts.tensors((batch, *end)))


@st.composite
def triples(draw: st.DrawFn) -> tuple[list[nn.Module], tg.Tensor, tg.Tensor]:
    """Three transforms, each of which fits on the one before; and batches before the first and after the last."""
    seed = draw(ts.seeds())
    rng = random.Random(seed)
    start = rng.choice(SHAPES)
    with same_draws(seed):
        flow, end = stack(rng, start, 1, 3)
        flow = moved(flow).double()
    return list(flow), draw(ts.tensors((2, *start))), draw(ts.tensors((2, *end)))
