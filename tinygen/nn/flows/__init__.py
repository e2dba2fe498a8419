"""Normalising flows: invertible maps with their log-determinants, and the densities that they end in.

    forward(x) -> (y, logdet)      from the data towards the noise, and log|det ∂y/∂x|
    inverse(y) -> (x, logdet)      from the noise towards the data, and log|det ∂x/∂y|

transform: the algebra (Composition, Inverse), Reshape, Scale, Logit, ActNorm.  coupling: affine and additive couplings.
masks: which coordinates pass.  images: Squeeze, FactorOut, InvertibleConv1x1, Dequantize.  density: the noise.
"""

from tinygen.nn.flows.coupling import AdditiveCoupling, AffineCoupling, SoftClamp, TanhScale
from tinygen.nn.flows.density import Density, StandardLogistic, StandardNormal
from tinygen.nn.flows.images import Dequantize, FactorOut, InvertibleConv1x1, Squeeze
from tinygen.nn.flows.masks import alternating_mask, channel_mask, checkerboard_mask, half_mask, random_half_mask
from tinygen.nn.flows.transform import ActNorm, Composition, Inverse, Logit, Reshape, Scale, Transform

__all__ = [
    "Transform",
    "Composition",
    "Inverse",
    "Reshape",
    "Scale",
    "Logit",
    "ActNorm",
    "AffineCoupling",
    "AdditiveCoupling",
    "SoftClamp",
    "TanhScale",
    "Squeeze",
    "FactorOut",
    "InvertibleConv1x1",
    "Dequantize",
    "Density",
    "StandardNormal",
    "StandardLogistic",
    "alternating_mask",
    "checkerboard_mask",
    "channel_mask",
    "half_mask",
    "random_half_mask",
]
