"""What lets a model fit the data at hand: values that it can reach, variances that stay finite, layers for any size.

**Values.**  A sigmoid never leaves [0, 1], and Bernoulli pixels are probabilities.  Trained on values outside, such a model
ends somewhere and says nothing: `check_range` does.

**Variances.**  An encoder or a decoder returns log σ² as any real number, and one value far out among standardised columns is
enough for exp(−log σ²) to become infinite, and with it every parameter.  `bounded` keeps log σ² finite.

**Sizes.**  A convolution of stride 2 halves an image: kernel 4 where a side is even, kernel 3 where it is odd, and a border of
one pixel.  The transposed convolution with the same numbers undoes both exactly:

    s even:  s → (s + 2 − 4)/2 + 1 = s/2            back: 2 (s/2 − 1) − 2 + 4 = s
    s odd:   s → (s + 2 − 3)/2 + 1 = (s + 1)/2      back: 2 (s + 1)/2 − 2 − 2 + 3 = s

Halved as often as it takes, an image of any size ends with sides of 4 to 7, and what sees all of that at once is a small
layer.  (With a number of layers that does not depend on the size, it grows with the image: 29×29 pixels, 13 million
parameters at 128×128.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tinygen as tg
from tinygen import nn
from tinygen.memory import as_a_whole

MAX_CHANNELS = 128
"""Of the layers that are chosen here.  So no convolution has more than 128·128·4·4 = 262,144 weights, and the layer between
4 to 7 pixels squared and the code no more than 128·7·7 = 6,272 for each of the code's numbers."""

FREE, BEYOND = 10.0, 4.0
"""`bounded` leaves log σ² alone up to ±10, and lets it come to ±14 at most."""


def bounded(logvar: tg.Tensor) -> tg.Tensor:
    """log σ² where it is within ±10, which is what data of a size of about 1 need; beyond, it bends and stays within ±14.

        c = clamp(l, −10, 10),   c + 4 tanh((l − c)/4)          its slope is 1 within ±10, and falls to 0 outside

    ±10 are deviations from 0.0067 to 148, so a model of standardised data is the same with it and without, bit for bit.
    ±14 are 0.0009 and 1,097: a value 100 deviations out costs at most 100² e¹⁴ / 2 = 6·10⁹ nats, and the square of its
    gradient, which Adam takes, is still a number in float32.
    """
    core = logvar.clamp(-FREE, FREE)
    return core + BEYOND * ((logvar - core) / BEYOND).tanh()


RANGES: dict[type[nn.Module], tuple[float, float]] = {
    nn.Sigmoid: (0.0, 1.0),
    nn.Tanh: (-1.0, 1.0),
    nn.ReLU: (0.0, math.inf),
    nn.Softplus: (0.0, math.inf),
}
"""What comes out of a layer; of any other, every number may."""


@as_a_whole
def check_range(name: str, x: tg.Tensor, low: float, high: float, fix: str, slack: float = 0.0) -> None:
    """Raise ValueError, with the fix, if the data x leave [low, high] by more than `slack`.  name: of the model.

    NaN passes: the loss becomes NaN, and `Keeper.check` says where from.  Not checked on a GPU, where the host would have to
    wait for the answer.
    """
    if x.device.type != "cpu" or not x.numel() or (low, high) == (-math.inf, math.inf):
        return
    least, greatest = x.array.min().item(), x.array.max().item()
    if least < low - slack or greatest > high + slack:
        raise ValueError(
            f"{name}: values in [{low:g}, {high:g}] are expected, as the model gives no others, got {least:.4g} to "
            f"{greatest:.4g}\n    {fix}"
        )


Pair = Any
"""One integer for both sides, or (height, width)."""


def pair(value: Pair) -> tuple[int, int]:
    """(height, width) of what may be one number for both."""
    height, width = value if isinstance(value, Sequence) else (value, value)
    return int(height), int(width)


def either(height: int, width: int) -> Pair:
    """The same number once, if it is the same."""
    return height if height == width else (height, width)


def check_image(name: str, image: Sequence[int]) -> tuple[int, int, int]:
    """(channels, height, width), positive.  Raises ValueError that begins with `name`."""
    if len(image) != 3 or min(image) < 1:
        raise ValueError(f"{name}: image=(channels, height, width) is expected, got {tuple(image)}")
    channels, height, width = (int(n) for n in image)
    return channels, height, width


def halvings(sides: Sequence[int], n: int | None = None) -> list[tuple[Pair, int, int]]:
    """(kernel, stride, padding) of n convolutions that halve images with these sides (1 stays 1).

    n: by default as many as it takes until no side is longer than 7.
    """
    steps: list[tuple[Pair, int, int]] = []
    while max(sides) > 7 if n is None else len(steps) < n:
        steps.append((either(*(3 if side % 2 else 4 for side in sides)), 2, 1))
        sides = halved(sides)
    return steps


def halved(sides: Sequence[int], n: int = 1) -> tuple[int, ...]:
    """The sides after n of them."""
    for _ in range(n):
        sides = [(side + 1) // 2 for side in sides]
    return tuple(sides)


def channels_of(n: int, first: int) -> tuple[int, ...]:
    """The channels of n maps, each half the size of the one before: twice as many every time, up to 128."""
    return tuple(min(first * 2**i, MAX_CHANNELS) for i in range(n))


def times(sides: Sequence[int]) -> str:
    """4×4."""
    return "×".join(map(str, sides))
