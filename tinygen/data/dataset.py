"""Images with labels in memory, and their batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygen
from tinygen import backend
from tinygen.data.generators import AnyGenerator, library_generator


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and, where there are any, their labels.

    images: (N, H, W) in grey, (N, 3, H, W) in colour; float32 in [0, 1].
    labels: (N,), int64, counted from 0; None where nothing is known about the images, never a made-up 0.

    `dataset[index]` is the pair (images, labels) at an integer, slice or index array (only the images when there are
    no labels), so a DataLoader takes it as it is; `TensorDataset(train.flat)` makes batches of vectors.

    Raises ValueError for other shapes and dtypes, and for pixels that are NaN or outside [0, 1].
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.images.shape
        if not (len(shape) == 3 or len(shape) == 4 and shape[1] == 3) or self.images.dtype != np.float32:
            raise ValueError(
                f"Dataset {self.name}: float32 images of shape (N, H, W) are expected, or (N, 3, H, W) in colour, "
                f"got {self.images.dtype} {shape}"
            )
        check_pixels(self.images, f"Dataset {self.name}")
        if self.labels is not None and (self.labels.shape != shape[:1] or self.labels.dtype != np.int64):
            raise ValueError(
                f"Dataset {self.name}: int64 labels of shape ({len(self.images)},) are expected, one per image, "
                f"got {self.labels.dtype} {self.labels.shape}"
            )

    @property
    def flat(self) -> np.ndarray:
        """The images as vectors: (N, H·W), in colour (N, 3·H·W), float32, sharing memory with `images`."""
        return self.images.reshape(len(self.images), -1)

    @property
    def with_channels(self) -> np.ndarray:
        """The images as convolutions take them: (N, 1, H, W) in grey, (N, 3, H, W) in colour, sharing their memory."""
        return self.images[:, None] if self.images.ndim == 3 else self.images

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of one image: (H, W) in grey, (3, H, W) in colour."""
        return self.images.shape[1:]

    def subset(self, index: Any) -> Dataset:
        """The part at a slice or index array, as a Dataset: `train.subset(slice(1000))`."""
        return Dataset(self.name, self.images[index], None if self.labels is None else self.labels[index])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        return self.images[index] if self.labels is None else (self.images[index], self.labels[index])

    def __repr__(self) -> str:
        labels = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        size = "×".join(map(str, self.image_shape[-2:])) + (" in colour" if self.images.ndim == 4 else "")
        return f"Dataset({self.name}: {len(self)} images of {size}, {labels})"


def check_pixels(images: np.ndarray, where: str, error: type[ValueError] = ValueError) -> None:
    """Raise an error that begins with `where` unless all values are in [0, 1].  images: (N, ...)."""
    if images.size == 0:
        return
    low, high = images.min(), images.max()  # NaN if there is one
    if low >= 0 and high <= 1:
        return
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(images).reshape(len(images), -1).all(axis=1)
        raise error(
            f"{where}: {bad.sum()} of {len(images)} images have pixels that are NaN or infinite, the first is number "
            f"{bad.argmax()}; leave them out, or find out where they come from"
        )
    fix = (
        "undo 2x - 1 by (x + 1) / 2"
        if low >= -1 and high <= 1
        else "divide by the greatest possible value, as bytes by 255"
    )
    raise error(f"{where}: pixels in [0, 1] are expected, got values from {low:g} to {high:g}; {fix}")


class TensorDataset:
    """Arrays or Tensors of one length, indexed together (torch.utils.data.TensorDataset).

    `dataset[index]` is a tuple with every array at that index.  Tensors on a GPU stay there: batches are gathered on
    the device, without a copy from the host.

    Raises ValueError when there is no array, one has no dimension, or the lengths differ.
    """

    def __init__(self, *arrays: Any):
        if not arrays:
            raise ValueError("TensorDataset: at least one array is expected, got none")
        self.tensors = tuple(a if _is_array(a) else tinygen.tensor(a) for a in arrays)
        if any(len(a.shape) == 0 for a in self.tensors) or len({a.shape[0] for a in self.tensors}) != 1:
            raise ValueError(
                "TensorDataset: arrays with the same number of samples are expected, "
                f"got shapes {', '.join(str(tuple(a.shape)) for a in self.tensors)}"
            )

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(_at(array, index) for array in self.tensors)


class DataLoader:
    """The batches of a data set, as Tensors (torch.utils.data.DataLoader, for data in memory).

    dataset: a Dataset, a TensorDataset, a bare array or Tensor, or any object with a length whose `dataset[index]`
        takes an index array and returns an array or a tuple of arrays.  A whole batch is one such call.
    shuffle: every epoch in a new random order, drawn on the CPU from `generator`, so that it does not depend on the
        device; a seed gives the same sequence of epochs for every new loader, None is tinygen's default generator.
    drop_last: leave out the last batch when it is short.  It is kept otherwise.
    device: where the batches are to be; None leaves Tensors where they are and puts arrays on the default device.

    Each batch is a fresh copy: a Tensor for a data set of one array, otherwise a tuple of Tensors.
    `state_dict()` is the position inside the epoch; after `load_state_dict` the next loop gives the rest of that epoch.
    Raises ValueError for a batch_size < 1, TypeError for one that is no integer.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        generator: AnyGenerator = None,
        drop_last: bool = False,
        device: str | backend.Device | None = None,
    ):
        if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__"):
            raise TypeError(f"DataLoader: an integer batch_size is expected, got {batch_size!r}")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size >= 1 is expected, got {batch_size}")
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"DataLoader: a data set with a length and an index is expected, got {type(dataset).__name__}; "
                "wrap arrays in TensorDataset(...)"
            )
        if isinstance(dataset, (list, tuple)):
            raise TypeError(
                f"DataLoader: a {type(dataset).__name__} cannot be indexed by a whole batch; "
                "wrap its arrays in TensorDataset(...), or stack its samples to one array"
            )
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, int(batch_size), shuffle, drop_last
        self.device = None if device is None else backend.device(device)
        # None is looked up at every epoch, so that a later manual_seed counts; a seed becomes a generator once, here.
        self._random = None if generator is None else library_generator(generator)
        self._order: np.ndarray | None = None  # of the epoch under way
        self._given = 0  # how many of its batches have been handed out
        self._goes_on = False  # whether the next loop goes on with that epoch, which load_state_dict has set

    def __len__(self) -> int:
        """The number of batches."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if not self._goes_on:
            self._order = self._new_order() if self.shuffle else np.arange(len(self.dataset))
            self._given = 0
        self._goes_on = False
        order, n = self._order, self.batch_size
        assert order is not None
        try:
            for i in range(self._given, len(self)):
                self._given = i + 1
                yield self._tensors(_at(self.dataset, order[i * n : (i + 1) * n]))
        finally:  # the epoch is over, also when the loop was left early
            self._order, self._given = None, 0

    def _new_order(self) -> np.ndarray:
        return (self._random or library_generator(None)).permutation(len(self.dataset))

    def state_dict(self) -> dict[str, Any]:
        """Where it is: how many batches of the epoch under way were given, 0 between two epochs; the epoch's order, if it
        is a random one; and the state of its own generator and of the data set, if they have one.  (The default generator
        is not part of it: `get_rng_state`.)
        """
        return {
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
            "given": self._given,
            "order": self._order if self.shuffle else None,
            "generator": None if self._random is None else self._random.bit_generator.state,
            "dataset": self.dataset.state_dict() if hasattr(self.dataset, "state_dict") else None,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict of a loader of the same data: the next loop gives the batches that were still to come.

        Raises ValueError when the state is that of another data set, batch size or kind of generator.
        """
        own, given = self.state_dict(), int(state_dict["given"])
        differing = [name for name in ("samples", "batch_size") if state_dict[name] != own[name]]
        if differing or not 0 <= given <= len(self):
            was = ", ".join(f"{name} = {state_dict[name]}" for name in ("samples", "batch_size", "given"))
            raise ValueError(
                f"DataLoader.load_state_dict: the state was saved with {was}; this loader has "
                f"{own['samples']} samples in {len(self)} batches of {self.batch_size}; use the same data and batch size"
            )
        order, generator = state_dict["order"], state_dict["generator"]
        if (generator is None) != (self._random is None) or (given > 0 and (order is None) == self.shuffle):
            raise ValueError(
                "DataLoader.load_state_dict: the state is that of a loader with other arguments shuffle= or generator="
            )
        if (state_dict["dataset"] is None) != (own["dataset"] is None):
            raise ValueError("DataLoader.load_state_dict: the state is that of a loader with another kind of data set")
        if order is not None:
            order = np.asarray(order)
            if not np.array_equal(np.sort(order), np.arange(own["samples"])):
                raise ValueError("DataLoader.load_state_dict: the order is no permutation of the samples")
        if self._random is not None:
            self._random.bit_generator.state = generator
        if state_dict["dataset"] is not None:
            self.dataset.load_state_dict(state_dict["dataset"])
        self._order, self._given = (np.arange(own["samples"]) if order is None else order), given
        self._goes_on = given > 0

    def _tensors(self, batch: Any) -> Any:
        if isinstance(batch, (tuple, list)):
            return tuple(self._tensors(part) for part in batch)
        device = backend.get_default_device() if self.device is None and not _on_device(batch) else self.device
        return tinygen.as_tensor(batch, device=device)


def _is_array(x: Any) -> bool:
    return isinstance(x, tinygen.Tensor) or backend.is_array(x)


def _on_device(x: Any) -> bool:
    """Whether somebody chose where x is: Tensors and GPU arrays stay, NumPy arrays go to the default device."""
    return _is_array(x) and not isinstance(x, np.ndarray)


def _at(dataset: Any, index: Any) -> Any:
    """dataset[index]; for an array or Tensor on a GPU, an index array is moved there first."""
    if _is_array(dataset) and isinstance(index, np.ndarray):
        array = dataset.array if isinstance(dataset, tinygen.Tensor) else dataset
        index = backend.to_device(index, backend.device_of(array))
    return dataset[index]
