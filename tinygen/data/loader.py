"""The DataLoader: batches of a data set, as Tensors."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from tinygen import backend
from tinygen.data.dataset import Dataset, is_array, is_stream, plain
from tinygen.data.epoch import Epoch, is_drawing, source_of
from tinygen.data.generators import AnyGenerator, library_generator
from tinygen.data.sampler import BatchSampler, RandomSampler, SequentialSampler

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """The batches of a data set, as Tensors (torch.utils.data.DataLoader).

    dataset: anything with a length whose `dataset[i]` is a sample (a Dataset, a list), which is called with one integer per
        sample, and the samples are collated; a data set with `__getitems__`, an array or a Tensor, which are asked for a whole
        batch at once; or a stream, an IterableDataset.
    batch_size: None gives the samples themselves, one after another, with their arrays as Tensors in the same memory.
    shuffle: every epoch in a new random order, drawn on the CPU from `generator`, so that it does not depend on the device.
    sampler, batch_sampler: where the indices, or lists of indices, come from, instead of shuffle (or all that makes batches).
    num_workers: threads that load ahead, while the batches are used.  Neither the order nor the samples depend on how many they
        are.  What a data set draws from tinygen's default generators comes, with workers, from a stream for each batch: the same
        for any number of them, but not that without.  (Those of `random` and `numpy.random` are shared by all threads.)  A stream
        is read by one thread, and so is a data set with a `state_dict`.  Threads share the data set, and Python code runs in
        one at a time: they are for reading and decoding files.
    collate_fn: makes a batch of a list of samples; by default `default_collate`.
    pin_memory: accepted, and without effect: what a GPU copies from is not pinned here.
    drop_last: leave out the last batch when it is short.  It is kept otherwise.
    timeout: seconds to wait for a batch of the workers; 0 waits for ever.
    worker_init_fn: called in each thread with its number, before it loads.
    multiprocessing_context, persistent_workers, pin_memory_device, in_order: accepted, for threads they make no difference.
    generator: a Generator or a seed, which gives the same sequence of epochs for every new loader; None is the default one.
    prefetch_factor: how many batches per worker are loaded ahead; by default 2.
    device: where the batches are to be; None leaves Tensors where they are and puts arrays on the default device.  (Not PyTorch's.)

    Each batch is a fresh copy: a Tensor for a data set of one array, a list of Tensors if a sample is a tuple, a dict if it is one.
    Dtypes are kept: of float64 data, as NumPy's are, everything is computed in float64, at half the speed; use x.astype("float32").

    `state_dict()` is the position inside the epoch; after `load_state_dict` the next loop gives the rest of that epoch.  A look at
    a batch while a loop is under way, next(iter(loader)), moves neither that position nor any order, nor what the data set draws.

    Raises ValueError for arguments that exclude each other or a batch_size < 1, TypeError for what is no data set.
    """

    shuffle: bool
    drop_last: bool
    num_workers: int
    pin_memory: bool
    timeout: float
    prefetch_factor: int | None
    persistent_workers: bool
    collate_fn: Callable[[list[Any]], Any] | None
    worker_init_fn: Callable[[int], Any] | None

    def __init__(
        self: DataLoader[Any],  # a checker need not ask for the kind of batches
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: AnyGenerator = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        device: str | backend.Device | None = None,
    ):
        self._is_stream = _checked(dataset, sampler is not None or batch_sampler is not None)
        _check_arguments(self._is_stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        for name, value, least in (
            ("num_workers", num_workers, 0),
            ("prefetch_factor", prefetch_factor, 1),
            ("timeout", timeout, 0),
        ):
            is_number = hasattr(value, "__index__") or name == "timeout" and isinstance(value, float)
            if value is not None and (isinstance(value, bool) or not is_number or value < least):
                raise ValueError(f"DataLoader: {name} >= {least} is expected, got {value!r}")
        self.dataset: Any = plain(dataset)
        self.batch_size: int | None = None if batch_sampler is not None else batch_size
        self.shuffle, self.drop_last, self.num_workers, self.collate_fn = (
            bool(shuffle),
            drop_last,
            num_workers,
            collate_fn,
        )
        self.pin_memory, self.timeout, self.worker_init_fn = pin_memory, timeout, worker_init_fn
        self.prefetch_factor, self.persistent_workers = prefetch_factor, persistent_workers
        self.device: backend.Device | None = None if device is None else backend.device(device)
        self.generator = generator
        # None is looked up at every epoch, so that a later manual_seed counts; a seed becomes a generator once, here.
        self._random = None if generator is None else library_generator(generator)
        self._own_sampler = sampler is None and batch_sampler is None
        self.sampler: Any = sampler
        self.batch_sampler: Any = batch_sampler
        if not self._is_stream and batch_sampler is None:
            if sampler is None:
                self.sampler = RandomSampler(dataset, generator=self._random) if shuffle else SequentialSampler(dataset)
            if batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self._live: list[weakref.ref[Epoch]] = []  # those that are under way; the last one gave the latest batch
        self._pending: dict[str, Any] | None = None  # where the next loop goes on, which load_state_dict has set
        self._epochs = self._peeks = 0
        self._lock = threading.Lock()  # for a data set with a state

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_live": [], "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def __len__(self) -> int:
        """The number of batches.  Raises TypeError if nobody knows it: a stream or a sampler without a length."""
        if not self._is_stream:
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)
        if not hasattr(self.dataset, "__len__"):
            raise TypeError("DataLoader: this stream has no length; define __len__ in its data set if it is known")
        n, k = len(self.dataset), self.batch_size
        return n if k is None else n // k if self.drop_last else -(-n // k)

    def __iter__(self) -> Epoch:
        return Epoch(self)

    def state_dict(self) -> dict[str, Any]:
        """Where it is: how many batches of the epoch under way were given, 0 between two epochs; the epoch's order, if it
        is a random one; and the state of its own generator, of the sampler and of the data set, if they have one.  (The default
        generator is not part of it: `get_rng_state`.)

        Of two loops at once it is the position of the one that gave the latest batch; `iter(loader).state_dict()` is that of
        one loop.  A stream or a sampler without a state of its own is read again from its beginning up to the position.
        """
        epoch = self._under_way()
        if epoch is not None:
            return epoch.state_dict()
        return self._state(**(self._pending or {}))

    def _state(
        self, given: int = 0, order: Any = None, seed: int | None = None, sampler: Any = None, **other: Any
    ) -> dict[str, Any]:
        def of(part: Any) -> Any:
            return part.state_dict() if hasattr(part, "state_dict") else None

        random = None if self._random is None else self._random.bit_generator.state
        kept = {
            "samples": len(self.dataset) if hasattr(self.dataset, "__len__") else None,
            "batch_size": self.batch_size,
        }
        return {
            **kept,
            **{"given": given, "order": order, "seed": seed, "epochs": self._epochs, "generator": random},
            "sampler": sampler or (None if self._own_sampler or self._is_stream else of(source_of(self))),
            "dataset": other["dataset"] if "dataset" in other else of(self.dataset),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict of a loader of the same data: the next loop gives the batches that were still to come.

        A loop that is under way ends.

        Raises ValueError when the state is that of another data set, batch size or kind of generator.
        """
        while (epoch := self._under_way()) is not None:  # it is of another time
            epoch.close()
        own, given = self._state(), int(state_dict["given"])
        differing = [name for name in ("samples", "batch_size") if state_dict[name] != own[name]]
        n = length(self)
        if differing or given < 0 or n is not None and given > n:
            was = ", ".join(f"{name} = {state_dict[name]}" for name in ("samples", "batch_size", "given"))
            raise ValueError(
                f"DataLoader.load_state_dict: the state was saved with {was}; this loader has "
                f"{own['samples']} samples in {n} batches of {self.batch_size}; use the same data and batch size"
            )
        order, generator = state_dict["order"], state_dict["generator"]
        draws = not self._is_stream and is_drawing(source_of(self))
        if (generator is None) != (self._random is None) or given > 0 and (order is None) == draws:
            raise ValueError(
                "DataLoader.load_state_dict: the state is that of a loader with other arguments shuffle= or generator="
            )
        if (state_dict["dataset"] is None) != (own["dataset"] is None):
            raise ValueError("DataLoader.load_state_dict: the state is that of a loader with another kind of data set")
        if (state_dict.get("sampler") is None) != (own["sampler"] is None):
            raise ValueError("DataLoader.load_state_dict: the state is that of a loader with another kind of sampler")
        if order is not None:
            order = np.asarray(order)
            if self.shuffle and not np.array_equal(np.sort(order), np.arange(own["samples"])):
                raise ValueError("DataLoader.load_state_dict: the order is no permutation of the samples")
        if self._random is not None:
            self._random.bit_generator.state = generator
        if own["sampler"] is not None:
            source_of(self).load_state_dict(state_dict["sampler"])
        if own["dataset"] is not None:
            self.dataset.load_state_dict(state_dict["dataset"])
        self._epochs = int(state_dict.get("epochs", 0))
        self._pending = {"given": given, "order": order, "seed": state_dict.get("seed")} if given > 0 else None

    def _under_way(self) -> Epoch | None:
        self._live = [ref for ref in self._live if (epoch := ref()) is not None and not epoch.is_over]
        return self._live[-1]() if self._live else None


def length(batches: Any) -> int | None:
    """How many there are, or None if nobody knows."""
    try:
        return len(batches)
    except TypeError:
        return None


def _checked(dataset: Any, has_sampler: bool) -> bool:
    """Whether it is a stream.  Raises TypeError if it is no data set."""
    if is_stream(dataset) and not hasattr(dataset, "__next__"):
        return True
    kind = type(dataset).__name__
    if hasattr(dataset, "__next__"):
        raise TypeError(
            f"DataLoader: a data set is expected, got a {kind}, which is used up after one epoch; wrap the function that "
            "makes it: IterableDataset(function)"
        )
    if isinstance(dataset, type):
        raise TypeError(
            f"DataLoader: a data set is expected, got the class {dataset.__name__}; make one: {dataset.__name__}(...)"
        )
    if hasattr(dataset, "to_numpy"):  # of pandas and polars, whose index is a column's name
        raise TypeError(f"DataLoader: the rows of a {kind} have no numbers; use TensorDataset(x.to_numpy())")
    if isinstance(dataset, Mapping):
        raise TypeError(
            "DataLoader: a dict has no numbered samples; wrap its arrays in TensorDataset(...) or StackDataset(**arrays)"
        )
    if not hasattr(dataset, "__getitem__") or not (has_sampler or hasattr(dataset, "__len__")):
        missing = "; define __len__" if isinstance(dataset, Dataset) else "; wrap arrays in TensorDataset(...)"
        raise TypeError(f"DataLoader: a data set with a length and an index is expected, got {kind}{missing}")
    if is_array(dataset) and len(dataset.shape) == 0:
        raise TypeError("DataLoader: an array with a dimension for the samples is expected, got one of shape ()")
    return False


def _check_arguments(
    is_stream: bool, batch_size: Any, shuffle: bool | None, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if isinstance(batch_size, bool) or batch_size is not None and not hasattr(batch_size, "__index__"):
        raise TypeError(f"DataLoader: an integer batch_size is expected, got {batch_size!r}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"DataLoader: batch_size >= 1 is expected, got {batch_size}")
    if is_stream and (shuffle or sampler is not None or batch_sampler is not None):
        raise ValueError("DataLoader: a stream is read as it comes; leave out shuffle, sampler and batch_sampler")
    for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None and not hasattr(value, "__iter__"):
            hint = "; a seed is given as generator=" if isinstance(value, int) else ""
            raise TypeError(f"DataLoader: {name} must be an iterable of indices, got {value!r}{hint}")
        if hasattr(value, "__next__"):
            raise TypeError(
                f"DataLoader: {name} is a {type(value).__name__}, which is used up after one epoch; pass a list"
            )
    if sampler is not None and shuffle:
        raise ValueError("DataLoader: sampler= decides the order, leave out shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError(
            "DataLoader: batch_sampler= makes the batches, leave out batch_size, shuffle, sampler and drop_last"
        )
    if batch_size is None and drop_last:
        raise ValueError("DataLoader: without batches (batch_size=None) there is no last one to leave out: drop_last")
