"""Running averages of weights: often better than the last weights, because they average out the noise of the steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygen.backend import device_of, is_array, to_device
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole, note_change
from tinygen.tensor import Tensor


def move_towards(average: Tensor, value: Node, share: float) -> None:
    """avg ← avg + share · (value - avg), in place.  Integers, which have no shares, become the value."""
    if average.dtype.kind != "f":
        average.array[...] = value.array
    else:
        difference = value.array - average.array
        difference *= share
        average.array += difference
    note_change(average)


class ExponentialMovingAverage:
    """avg ← d avg + (1-d) θ, beside the parameters themselves.

        ema = EMA(model.parameters(), decay=0.999)
        for batch in data:
            ...
            optimizer.step()
            ema.update()
        with ema.apply():            # the model computes with the averages here
            samples = model.sample(64)

    parameters: tensors.  Buffers, such as the statistics of batch norm, stay the model's own.
    decay: d, from 0 to below 1: the average looks back about 1/(1-d) updates.

    `swa_utils.AveragedModel` is the same with PyTorch's names, as a second model.
    Source: Polyak, Juditsky 1992 for averaging; with exponential weights as in torch.optim.swa_utils.
    """

    def __init__(self, parameters: Iterable[Node], decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must be from 0 to below 1, got {decay}")
        if isinstance(parameters, Node) or not hasattr(parameters, "__iter__"):
            raise TypeError(
                f"EMA: a list of parameters is expected, got {type(parameters).__name__}; use module.parameters()"
            )
        self.decay: float = decay
        self.parameters: list[Node] = list(parameters)
        if not self.parameters:
            raise ValueError("EMA: got no parameters; pass the parameters() of a module that has some")
        self.averages: list[Tensor] = [Tensor(p.array.copy()) for p in self.parameters]
        self.updates: int = 0

    @as_a_whole
    def update(self) -> None:
        """Take the current values into the average: once after every step of the optimizer."""
        for p, average in zip(self.parameters, self.averages, strict=True):
            average.array = to_device(average.array, device_of(p.array)).astype(p.dtype, copy=False)
            move_towards(average, p, 1 - self.decay)
        self.updates += 1

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Inside `with ema.apply():` the parameters have the averaged values; afterwards their own again."""
        own = [p.array.copy() for p in self.parameters]
        try:
            self.copy_to_parameters()
            yield
        finally:
            for p, values in zip(self.parameters, own, strict=True):
                p.array[...] = values
                note_change(p)

    def copy_to_parameters(self) -> None:
        """Overwrite the parameters by their averages, for good."""
        for p, average in zip(self.parameters, self.averages, strict=True):
            p.array[...] = to_device(average.array, device_of(p.array))
            note_change(p)

    def state_dict(self) -> dict[str, Any]:
        """Decay, number of updates, and the averages in the order of the parameters (those in use, not copies)."""
        return {"decay": self.decay, "updates": self.updates, "averages": list(self.averages)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict; the values are copied.  Raises ValueError if they do not fit the parameters."""
        averages = [
            a.array if isinstance(a, Node) else a if is_array(a) else np.asarray(a) for a in state_dict["averages"]
        ]
        shapes, expected = [a.shape for a in averages], [p.shape for p in self.parameters]
        if shapes != expected:
            raise ShapeError(
                f"EMA.load_state_dict: averages of shapes {shapes} do not fit parameters of shapes {expected}"
            )
        self.decay, self.updates = float(state_dict["decay"]), int(state_dict["updates"])
        for p, average, array in zip(self.parameters, self.averages, averages, strict=True):
            average.array = to_device(array, device_of(p.array)).astype(p.dtype)
            note_change(average)


EMA = ExponentialMovingAverage
