"""Wrong calls of the convolutions: the right exception, which says what came, what was expected, and how to go on."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import tinygen as tg
from tinygen import nn
from tinygen.nn import functional as F

z = tg.zeros
image, kernel = z(2, 3, 8, 8), z(4, 3, 5, 5)

# fmt: off
WRONG: list[tuple[Callable, type[Exception], str]] = [
    # channels
    (lambda: F.conv2d(z(64, 3, 28, 28), z(32, 1, 5, 5)),          tg.ShapeError, "conv2d: the input has 3 channels, but the weight takes 1 | input (64, 3, 28, 28) | weight (32, 1, 5, 5) | use a weight (out, in / groups, *kernel) of shape (32, 3, 5, 5)"),
    (lambda: F.conv2d(z(64, 4, 28, 28), z(32, 1, 5, 5)),          tg.ShapeError, "of shape (32, 4, 5, 5), or groups=4"),
    (lambda: F.conv2d(z(60, 28, 28), z(32, 1, 5, 5)),             tg.ShapeError, "the input has 60 channels | input (60, 28, 28) | or x.unsqueeze(1) if these are 60 images of one channel"),
    (lambda: F.conv1d(z(1, 5, 9), z(4, 2, 3), groups=2),          tg.ShapeError, "conv1d: the input has 5 channels, but the weight takes 4 (= 2 × 2 groups) | use an input of 4 channels"),
    (lambda: F.conv3d(z(1, 2, 4, 4, 4), z(3, 1, 2, 2, 2)),        tg.ShapeError, "conv3d: the input has 2 channels | of shape (3, 2, 2, 2, 2)"),
    (lambda: F.conv_transpose2d(image, z(4, 3, 5, 5)),            tg.ShapeError, "conv_transpose2d: the input has 3 channels, but the weight takes 4 | a weight (in, out / groups, *kernel) of shape (3, 3, 5, 5)"),
    (lambda: F.conv_transpose1d(z(3, 8), z(4, 3, 5)),             tg.ShapeError, "conv_transpose1d: the input has 3 channels | x.unsqueeze(1)"),
    (lambda: nn.Conv2d(1, 4, 3)(image),                           tg.ShapeError, "conv2d: the input has 3 channels, but the weight takes 1"),
    # dimensions
    (lambda: F.conv2d(z(28, 28), z(32, 1, 5, 5)),                 tg.ShapeError, "conv2d: an input of shape (N, C, H, W) or (C, H, W) and a weight with 4 dimensions are expected, got | input (28, 28) | use x.unsqueeze(0)"),
    (lambda: F.conv1d(z(9), z(1, 1, 3)),                          tg.ShapeError, "conv1d: an input of shape (N, C, L) or (C, L) and a weight with 3 dimensions"),
    (lambda: F.conv3d(image, z(4, 3, 2, 2)),                      tg.ShapeError, "conv3d: an input of shape (N, C, D, H, W) or (C, D, H, W) and a weight with 5 dimensions"),
    (lambda: F.conv_transpose2d(image, z(3, 3, 5)),               tg.ShapeError, "conv_transpose2d: an input | weight (3, 3, 5)"),
    (lambda: F.conv1d([1, 2, 3], z(1, 1, 3)),                     TypeError,     "conv1d: the input must be a tensor, got list; make one with tinygen.tensor"),
    (lambda: F.conv_transpose1d(z(1, 1, 3), [1, 2, 3]),           TypeError,     "conv_transpose1d: the weight must be a tensor, got list"),
    (lambda: F.conv2d(image, z(0, 3, 5, 5)),                      tg.ShapeError, "conv2d: the weight of shape (0, 3, 5, 5) is empty"),
    (lambda: F.conv2d(image, kernel, z(3)),                       tg.ShapeError, "conv2d: a bias of shape (4,) is expected, one number per output channel, got (3,)"),
    (lambda: F.conv_transpose2d(image, z(3, 2, 5, 5), z(3)),      tg.ShapeError, "conv_transpose2d: a bias of shape (2,) is expected"),
    (lambda: F.conv2d(image, kernel, [1.0, 2.0, 3.0, 4.0]),       TypeError,     "conv2d: the bias must be a tensor of shape (4,) or None, got list; make one with tinygen.tensor"),
    (lambda: F.conv_transpose1d(z(1, 1, 3), z(1, 2, 3), 1.0),     TypeError,     "conv_transpose1d: the bias must be a tensor of shape (2,) or None, got float"),
    (lambda: F.conv2d(image, kernel.to("strict")),                RuntimeError,  "conv: the arguments are on different devices, cpu and strict | move them to one"),
    # sizes
    (lambda: F.conv2d(z(1, 3, 4, 8), kernel),                     tg.ShapeError, "conv2d: the kernel reaches over [5, 5] pixels, and the input with its padding has [4, 8] | use a smaller kernel or dilation, or more padding"),
    (lambda: F.conv1d(z(1, 1, 4), z(1, 1, 3), dilation=2),        tg.ShapeError, "conv1d: the kernel reaches over [5] pixels, and the input with its padding has [4]"),
    (lambda: F.conv2d(z(2, 3, 0, 8), kernel, padding=4),          tg.ShapeError, "conv2d: an input with pixels is expected, got | input (2, 3, 0, 8) | weight (4, 3, 5, 5)"),
    (lambda: F.conv_transpose1d(z(1, 3, 2), z(3, 2, 3), padding=2), tg.ShapeError, "conv_transpose1d: the output would have the size [0] | padding [2] is cut off from both sides of the output: use less, or a larger input"),
    (lambda: F.conv_transpose1d(z(1, 3, 0), z(3, 2, 3)),          tg.ShapeError, "conv_transpose1d: the output would have the size [2] | input (1, 3, 0) | or a larger input"),
    # numbers that make no sense
    (lambda: F.conv2d(image, kernel, stride=0),                   ValueError,    "conv2d: stride must be one whole number or 2, at least 1, got 0"),
    (lambda: F.conv2d(image, kernel, stride=(1, 2, 3)),           ValueError,    "conv2d: stride must be one whole number or 2, at least 1, got (1, 2, 3)"),
    (lambda: F.conv1d(z(1, 1, 4), z(1, 1, 3), stride=1.5),        ValueError,    "conv1d: stride must be one whole number, at least 1, got 1.5"),
    (lambda: F.conv2d(image, kernel, dilation=-1),                ValueError,    "conv2d: dilation must be one whole number or 2, at least 1, got -1"),
    (lambda: F.conv2d(image, kernel, padding=-1),                 ValueError,    "conv2d: padding must be one whole number or 2, at least 0, got -1"),
    (lambda: F.conv2d(image, kernel, padding="full"),             ValueError,    "conv2d: padding must be whole numbers, 'same' or 'valid', got 'full'"),
    (lambda: F.conv2d(image, kernel, padding="same", stride=2),   ValueError,    "conv2d: padding='same' keeps the size, which a stride of [2, 2] cannot; use whole numbers, such as padding=[2, 2]"),
    (lambda: F.conv_transpose2d(image, z(3, 1, 2, 2), padding="same"), ValueError, "conv_transpose2d: padding must be one whole number or 2, at least 0, got 'same'"),
    (lambda: F.conv2d(image, kernel, groups=3),                   ValueError,    "conv2d: groups must be a whole number that divides the 4 out channels, got 3"),
    (lambda: F.conv2d(image, kernel, groups=0),                   ValueError,    "conv2d: groups must be a whole number that divides"),
    (lambda: F.conv_transpose2d(image, z(3, 1, 2, 2), groups=2),  ValueError,    "conv_transpose2d: groups must be a whole number that divides the 3 in channels, got 2"),
    (lambda: F.conv_transpose1d(z(1, 1, 3), z(1, 1, 2), stride=2, output_padding=2), ValueError, "conv_transpose1d: output_padding [2] must be smaller than stride [2] or dilation [1]"),
    # layers notice when they are made
    (lambda: nn.Conv2d(3, 4, 5, padding="full"),                  ValueError,    "Conv2d: padding must be whole numbers, 'same' or 'valid', got 'full'"),
    (lambda: nn.Conv2d(3, 4, 5, stride=2, padding="same"),        ValueError,    "Conv2d: padding='same' keeps the size"),
    (lambda: nn.Conv2d(3, 4, 5, padding_mode="mirror"),           ValueError,    "Conv2d: padding_mode must be one of zeros, reflect, replicate, circular, got 'mirror'"),
    (lambda: nn.Conv2d(3, 4, 0),                                  ValueError,    "Conv2d: kernel_size must be one whole number or 2, at least 1, got 0"),
    (lambda: nn.Conv1d(0, 4, 3),                                  ValueError,    "Conv1d: in_channels must be a positive integer, got 0"),
    (lambda: nn.Conv1d(4, 6, 3, groups=3),                        ValueError,    "Conv1d: groups=3 must divide in_channels=4 and out_channels=6"),
    (lambda: nn.ConvTranspose2d(3, 4, 5, padding="same"),         ValueError,    "ConvTranspose2d: padding must be whole numbers, got 'same'"),
    (lambda: nn.ConvTranspose2d(3, 4, 5, padding_mode="reflect"), ValueError,    "ConvTranspose2d: padding_mode must be one of zeros, got 'reflect'"),
    (lambda: nn.ConvTranspose1d(1, 1, 3, stride=2)(z(1, 1, 5), output_size=[13]), ValueError, "ConvTranspose1d: for an input of shape (1, 1, 5) output_size must lie between [11] and [12], got [13]"),
    (lambda: nn.ConvTranspose1d(1, 1, 3, stride=2)(z(1, 1, 5), output_size=[11, 11]), ValueError, "output_size must lie between [11] and [12], got [11, 11]"),
    # the matrix
    (lambda: F.conv_matrix(z(3, 2, 5), (1, 2, 9)),                tg.ShapeError, "conv_matrix: a weight (out, in / groups, *kernel) and an input_shape (channels, *size), without the batch, are expected, got | weight (3, 2, 5) | input_shape (1, 2, 9)"),
    (lambda: F.conv_matrix(z(3, 2, 5), (3, 9)),                   tg.ShapeError, "conv_matrix: the input has 3 channels, but the weight takes 2"),
    (lambda: F.conv_matrix(z(3, 2, 5), (2, 4)),                   tg.ShapeError, "conv_matrix: the kernel reaches over [5] pixels"),
    (lambda: F.conv_matrix(z(3, 2, 5), (2, 9), padding="same", stride=2), ValueError, "conv_matrix: padding='same'"),
    (lambda: F.conv_matrix([1, 2, 3], (1, 7)),                    tg.ShapeError, "conv_matrix: a weight (out, in / groups, *kernel) | weight (3,) | input_shape (1, 7)"),
]
# fmt: on


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_calls(case):
    call, kind, parts = WRONG[case]
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind
    message, position = re.sub(r"\s+", " ", str(error.value)), 0
    for part in parts.split(" | "):
        found = message.find(part, position)
        assert found >= 0, f"{part!r} is missing in, or out of order: {message}"
        position = found
