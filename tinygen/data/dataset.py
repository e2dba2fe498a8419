"""Data sets: what has samples.  One's own is a subclass of Dataset with __len__ and __getitem__, as in PyTorch.

class Sines(data.Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, i):                       # i is an int, what is returned is one sample
        x = np.linspace(0, 6.28, 32, dtype=np.float32)
        return np.sin((i % 10) * x), i % 10
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

import tinygen
from tinygen import backend
from tinygen.data.generators import AnyGenerator, library_generator

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """The base of data sets with numbered samples (torch.utils.data.Dataset).

    A subclass defines `__getitem__(self, i)`, the sample of an integer 0 <= i < len(self), and `__len__`.  A sample is
    an array, a Tensor, a number, a text, or a tuple, list or dict of those.

    A data set that can gather many samples at once may say so with `__getitems__(self, indices)`, a list of integers.
    It returns a list of samples, or (faster) what the samples make together: arrays whose first dimension counts them.
    A DataLoader then calls it once per batch, unless a subclass defines a `__getitem__` of its own.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Dataset and args:
            raise TypeError(
                "Dataset is the base to derive from; images in memory are an ImageDataset(name, images, labels)"
            )
        return super().__new__(cls)

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__}: define __getitem__(self, index), which returns one sample")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """The base of streams, whose samples come one after another (torch.utils.data.IterableDataset).

    A subclass defines `__iter__(self)`, often as a generator; `__len__` if the number is known.  Every epoch calls
    `iter(dataset)` anew.  `IterableDataset(make)` is the stream of a function that returns an iterable when it is called,
    such as a generator function; the call is made in every epoch.

    Raises TypeError for what is not a function; a generator itself would be empty in the second epoch.
    """

    def __init__(self, make: Any = None):
        if make is not None and not callable(make):
            hint = "pass the function that makes it" if isinstance(make, Iterator) else "pass lambda: that"
            raise TypeError(
                f"IterableDataset: a function that returns an iterable is expected, got {type(make).__name__}; {hint}"
            )
        self._make = make

    def __iter__(self) -> Iterator[T_co]:
        if getattr(self, "_make", None) is None:
            raise NotImplementedError(f"{type(self).__name__}: define __iter__(self), which yields the samples")
        return iter(self._make())

    def __getitem__(self, index: Any) -> T_co:
        raise TypeError(f"{type(self).__name__}: a stream has no sample number {index!r}; loop over it")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Arrays or Tensors of one length, indexed together (torch.utils.data.TensorDataset).

    `dataset[index]` is a tuple with every array at that index.  Tensors on a GPU stay there: batches are gathered on
    the device, without a copy from the host.  Of an array in a file (np.memmap) only what is asked for is read.

    Raises ValueError when there is no array, one has no dimension, or the lengths differ.
    arrays: those; the first dimension counts the samples.
    """

    def __init__(self, *arrays: Any):
        if not arrays:
            raise ValueError("TensorDataset: at least one array is expected, got none")
        self.tensors: tuple[Any, ...] = tuple(plain(a) if is_array(a) else tinygen.tensor(a) for a in arrays)
        if any(len(a.shape) == 0 for a in self.tensors) or len({a.shape[0] for a in self.tensors}) != 1:
            raise ValueError(
                "TensorDataset: arrays with the same number of samples are expected, "
                f"got shapes {', '.join(str(tuple(a.shape)) for a in self.tensors)}"
            )

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(at(array, index) for array in self.tensors)

    __getitems__ = __getitem__  # a whole batch at once


class StackDataset(Dataset[Any]):
    """Several data sets side by side (torch.utils.data.StackDataset).

    StackDataset(a, b)[i] is (a[i], b[i]); StackDataset(image=a, label=b)[i] is {"image": a[i], "label": b[i]}.
    Raises ValueError when there is none, when they are both named and not, or when their lengths differ.
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any):
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset: data sets are expected, either all with a name or all without")
        self.datasets = args or kwargs
        lengths = [len(d) for d in args or kwargs.values()]
        if len(set(lengths)) != 1:
            raise ValueError(f"StackDataset: data sets of one length are expected, got lengths {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)))

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)


class ConcatDataset(Dataset[Any]):
    """Data sets one after another (torch.utils.data.ConcatDataset); negative indices count from the end.

    Raises ValueError when there is none, TypeError for a stream: see ChainDataset.
    datasets: those, in this order.
    """

    def __init__(self, datasets: Iterable[Any]):
        self.datasets: list[Any] = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: at least one data set is expected, got none")
        if any(is_stream(d) for d in self.datasets):
            raise TypeError("ConcatDataset: a stream has no length; use ChainDataset")
        self.cumulative_sizes: list[int] = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        i = index + len(self) if index < 0 else index
        if not 0 <= i < len(self):
            raise IndexError(f"ConcatDataset: there is no sample {index}, there are {len(self)}")
        part = bisect.bisect_right(self.cumulative_sizes, i)
        return self.datasets[part][i - (self.cumulative_sizes[part - 1] if part else 0)]


class ChainDataset(IterableDataset[Any]):
    """Streams one after another (torch.utils.data.ChainDataset).  datasets: streams, in this order."""

    def __init__(self, datasets: Iterable[Any]):
        super().__init__()
        self.datasets: list[Any] = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


class Subset(Dataset[T_co]):
    """The samples of a data set at some indices (torch.utils.data.Subset): Subset(train, range(1000))."""

    dataset: Any
    indices: Sequence[int]

    def __init__(self, dataset: Any, indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[int(self.indices[i]) for i in index]]
        return self.dataset[int(self.indices[index])]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        return gather(self.dataset, [int(self.indices[i]) for i in indices])


def random_split(dataset: Any, lengths: Sequence[int | float], generator: AnyGenerator = None) -> list[Subset[Any]]:
    """The data set in random parts that have no sample in common (torch.utils.data.random_split).

    lengths: numbers of samples with the sum len(dataset), or fractions with the sum 1: random_split(d, [0.8, 0.2]).
        Fractions are rounded down, and what is left goes to the first parts, one sample each.
    generator: a Generator or a seed; None is tinygen's default generator.

    Raises ValueError for other sums, and for negative lengths.
    """
    n = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1 + 1e-9 and any(not isinstance(k, int) for k in lengths):
        if any(not 0 <= fraction <= 1 for fraction in lengths):
            raise ValueError(f"random_split: fractions in [0, 1] are expected, got {list(lengths)}")
        counts = [math.floor(n * fraction) for fraction in lengths]
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(k) for k in lengths]
        if sum(counts) != n or any(k < 0 or k != given for k, given in zip(counts, lengths)):
            raise ValueError(
                f"random_split: lengths with the sum {n}, the number of samples, or fractions with the sum 1 are expected, "
                f"got {list(lengths)}"
            )
    order = library_generator(generator).permutation(n).tolist()
    ends = itertools.accumulate(counts)
    return [Subset(dataset, order[end - k : end]) for k, end in zip(counts, ends)]


def gather(dataset: Any, indices: Sequence[int]) -> Any:
    """A list of the samples, one call of dataset[i] each; or what `__getitems__` returns, if the data set has it."""
    if is_array(dataset):
        return at(dataset, np.asarray(indices, np.int64))
    many = getattr(dataset, "__getitems__", None) if _gathers(type(dataset)) else None
    return [dataset[i] for i in indices] if many is None else many(indices)


def _gathers(kind: type) -> bool:
    """Whether `__getitems__` speaks for the class: a subclass with a `__getitem__` of its own means that one."""
    return next(
        ("__getitems__" in vars(c) for c in kind.__mro__ if {"__getitem__", "__getitems__"} & vars(c).keys()), True
    )


def is_array(x: Any) -> bool:
    """Whether x is a Tensor or an array of any library, also one of NumPy's subclasses such as np.memmap."""
    return isinstance(x, tinygen.Tensor | np.ndarray) or backend.is_array(x)


def is_stream(dataset: Any) -> bool:
    """Whether a data set has samples that come one after another, instead of numbered ones."""
    return isinstance(dataset, IterableDataset) or (
        hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__")
    )


def plain(array: Any) -> Any:
    """An array of one of NumPy's subclasses as NumPy's own, in the same memory (or file); anything else itself.

    Raises TypeError for a masked array, whose mask would be lost.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a masked array's mask would be lost; use x.filled(value), or leave the masked samples out")
    return array.view(np.ndarray) if isinstance(array, np.ndarray) else array


def at(array: Any, index: Any) -> Any:
    """array[index]; for an array or Tensor on a GPU, an index list or array is moved there first."""
    if is_array(array) and isinstance(index, list | np.ndarray):
        index = np.asarray(index) if len(index) else np.empty(0, np.int64)
        raw = array.array if isinstance(array, tinygen.Tensor) else plain(array)
        index = backend.to_device(index, backend.device_of(raw))
    return array[index]
