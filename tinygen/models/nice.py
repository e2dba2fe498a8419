"""NICE: couplings that only add, so that volumes stay, and one diagonal scaling at the end.

    y = b⊙x + (1−b)⊙(x + t(b⊙x)),   z = y⊙exp(s),   log|det ∂z/∂x| = Σ s
    log p_Z(z) = −Σ [softplus(z_i) + softplus(−z_i)]             independent logistic densities

The first of the line: RealNVP's couplings also scale.  Masks are every second coordinate, in turn with their complement.

Source: Dinh, Krueger, Bengio, "NICE: non-linear independent components estimation", 2014, sections 3.2-3.4, 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygen.models.autoencoder import mlp
from tinygen.models.flow import Flow, ImageFlow, check_dim
from tinygen.nn import flows


def additive_couplings(name: str, dim: int, hidden: Sequence[int], depth: int) -> list[flows.Transform]:
    """`depth` additive couplings of dim coordinates, whose t is an MLP with these hidden layers of ReLU units, and a Scale."""
    check_dim(name, dim, depth)
    couplings = [flows.AdditiveCoupling(flows.alternating_mask(dim, i), mlp((dim, *hidden, dim))) for i in range(depth)]
    return [*couplings, flows.Scale(dim)]


class NICE(Flow):
    """`depth` additive couplings and a scaling over logistic densities.

    dim: coordinates; hidden: hidden units of t; depth: number of couplings, at least 2, so that every coordinate is changed.
    """

    def __init__(self, dim: int = 2, hidden: int = 64, depth: int = 4):
        layers = additive_couplings("NICE", dim, (hidden,), depth)
        super().__init__(flows.Composition(*layers), flows.StandardLogistic(dim))


class ImageNICE(ImageFlow):
    """The same for images, on all pixels as one vector, with t of several hidden layers.

    image: (channels, height, width).  hidden: units of each hidden layer.  The paper's for MNIST are five of 1000.
    """

    def __init__(self, image: Sequence[int] = (1, 28, 28), hidden: Sequence[int] = (1000,) * 5, depth: int = 4):
        dim = math.prod(image)
        layers = additive_couplings("ImageNICE", dim, hidden, depth)
        super().__init__(image, flows.Composition(flows.Reshape(image, (dim,)), *layers), flows.StandardLogistic(dim))
