"""Four ways to read a grey image as the data of a model of binary pixels.  They are four different tables of numbers.

    grey        the grey values themselves, as targets of the cross-entropy        floor: `evaluate.bernoulli_entropy`
    threshold   1 where the grey value is above 1/2                                floor: 0
    static      every pixel drawn once, for ever: Larochelle's files               floor: 0
    dynamic     every pixel drawn anew each time the image is used                 floor: 0

A likelihood under one of them says nothing about a likelihood under another, even of the same model on the same images:
a table that names no protocol is worthless.  A trap is that the baseline does not tell them apart: independent pixels
have 205.8 nats per image on MNIST in all four.  Models do tell: a thresholded image has no noise that nobody could
predict, the others have up to 45.5 nats of it; and dynamic draws, of which no two are the same, cannot be learnt by
heart.

    loader = data.DataLoader(data.DynamicBinarization(train.flat, generator=0), 100, shuffle=True)
    test_bits = data.binarize.dynamic(test.flat, generator=0)                 # one draw, the same for every model
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import tinygen
from tinygen import backend
from tinygen.data.corrupt import corrupted, uniform
from tinygen.data.dataset import Dataset, TensorDataset
from tinygen.data.generators import AnyGenerator, library_generator
from tinygen.data.image_dataset import ImageDataset
from tinygen.data.images import binarized_mnist


def grey(x: Any) -> Any:
    """x itself: every grey value is the target, as if the model's Bernoulli were seen infinitely often.

    The cross-entropy with a grey target is the mean over all binary images that the pixels could be drawn as.  It is no
    likelihood of the grey image, and no model's can be lower than `evaluate.bernoulli_entropy` (MNIST: 45.5 nats per
    image).  This is not the number of threshold, static or dynamic images.

    x: array or Tensor of floats in [0, 1], any shape.  Raises ValueError for values outside, TypeError for integers.
    """
    return _binarized("grey", x, None, lambda xp, a, rng: a)


def threshold(x: Any) -> Any:
    """1 where x > 1/2, else 0: the same bits every time, with less noise than a draw, so likelihoods are higher.

    This is not the number of grey, static or dynamic images.

    x: array or Tensor of floats in [0, 1], any shape.  Returns the same kind, dtype and device.
    Raises ValueError for values outside, TypeError for integers.
    """
    return _binarized("threshold", x, None, lambda xp, a, rng: a > 0.5)


def static() -> tuple[ImageDataset, ImageDataset, ImageDataset]:
    """The one published draw of MNIST, (train, valid, test): `data.binarized_mnist`, which says where it is from.

    Nobody's own draw with a fixed seed is this set.  This is not the number of grey, threshold or dynamic images.
    """
    return binarized_mnist()


def dynamic(x: Any, generator: AnyGenerator = None) -> Any:
    """A draw of binary pixels, each 1 with its grey value as the probability: u < x with u ~ U[0, 1).

    For training draw anew for every use: `DynamicBinarization` does so.  For a test set draw once and say the seed: the
    mean over MNIST's 10,000 test images changes with the seed, for independent pixels by a tenth of a nat.
    This is not the number of grey, threshold or static images.

    x: array or Tensor of floats in [0, 1], any shape.  Returns the same kind, dtype and device.
    Raises ValueError for values outside, TypeError for integers.
    Source: Salakhutdinov, Murray 2008; Burda, Grosse, Salakhutdinov 2016, section 5 (drawn anew in every epoch).
    """
    return _binarized("dynamic", x, generator, lambda xp, a, rng: uniform(rng, a) < a)


class DynamicBinarization(Dataset[Any]):
    """A data set for DataLoader whose every access draws its images' pixels anew with `dynamic`.

    images: an array or Tensor (N, ...), or an ImageDataset, whose labels then come along as they are.
    generator: a seed starts one stream of draws here, so two epochs differ and two data sets of one seed agree;
        None is tinygen's default generator.
    Raises ValueError for grey values outside [0, 1], TypeError for integers, when they are used.
    """

    def __init__(self, images: Any, generator: AnyGenerator = None):
        self._dataset = images if isinstance(images, ImageDataset) else TensorDataset(images)
        array = images.array if isinstance(images, tinygen.Tensor) else images
        self._device = device = backend.device_of(array) if backend.is_array(array) else backend.device("cpu")
        library_generator(generator, device)  # whether it is one, and of this device, is said here
        # None is looked up at every access, so that a later manual_seed counts; a seed becomes a generator once, here.
        if isinstance(generator, (int, np.integer)):
            generator = backend.Generator(device).manual_seed(int(generator))
        self._generator = generator

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        batch = self._dataset[index]
        if not isinstance(batch, tuple):  # an ImageDataset without labels
            return dynamic(batch, self._generator)
        images, *labels = batch
        bits = dynamic(images, self._generator)
        return (bits, *labels) if labels else bits

    __getitems__ = __getitem__  # a whole batch at once

    def state_dict(self) -> dict[str, Any]:
        """Where its own stream of draws is, if it has one; a DataLoader's state includes it."""
        if self._generator is None:
            return {"generator": None}
        return {"generator": library_generator(self._generator, self._device).bit_generator.state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict.  Raises ValueError if that is of a data set with another kind of generator."""
        state = state_dict["generator"]
        if (state is None) != (self._generator is None):
            raise ValueError(
                "DynamicBinarization.load_state_dict: the state is of one with another argument generator="
            )
        if state is not None:
            library_generator(self._generator, self._device).bit_generator.state = state


def _binarized(name: str, x: Any, generator: AnyGenerator, bits: Any) -> Any:
    def checked(xp: Any, a: Any, rng: Any) -> Any:
        if not bool(((a >= 0) & (a <= 1)).all()):
            raise ValueError(
                f"{name}: grey values in [0, 1] are expected, got values from {float(a.min()):g} to {float(a.max()):g}; "
                "divide bytes by 255, and undo 2x - 1 by (x + 1) / 2"
            )
        return bits(xp, a, rng)

    return corrupted(name, x, generator, checked)
