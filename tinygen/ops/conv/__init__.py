"""Convolution, its transpose and its weight gradient: three operators that are each other's derivatives.

family.py    the idea: one trilinear form, three partial derivatives, six rules                <- start here
geometry.py  the sizes that the three share, and the order of pixels in memory
taps.py      the three sums as loops over the kernel: short, and what the faster ways are tested against

The same sums, faster, where the sizes suit them:

rows.py       the same loops in the order that a CPU's cache likes
columns.py    one matrix product for all taps: few channels on one side ("im2col")
depthwise.py  no matrix at all: one input channel per group
winograd.py   fewer multiplications for kernels of two or three taps in a row, as 3x3, or 4x4 with stride 2
fourier.py    the convolution theorem, by matrix products: large kernels and many channels
fft.py        the same by fast Fourier transforms: kernels as large as the image
choose.py     which of them, by an estimate of their time
evenness.py   for which images winograd, fourier and fft will do: their rounding errors spread
"""

from tinygen.ops.conv.family import conv, conv_bias, conv_transpose, conv_transpose_bias, conv_weight
from tinygen.ops.conv.geometry import Geometry

__all__ = ["Geometry", "conv", "conv_bias", "conv_transpose", "conv_transpose_bias", "conv_weight"]
