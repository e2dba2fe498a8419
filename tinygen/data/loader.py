"""The DataLoader: batches of a data set, as Tensors."""

from __future__ import annotations

import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from tinygen import backend
from tinygen.data.collate import collate, convert, lengths, moved, split
from tinygen.data.dataset import Dataset, gather, is_array, is_stream, plain
from tinygen.data.generators import AnyGenerator, library_generator
from tinygen.data.sampler import BatchSampler, Drawing, RandomSampler, SequentialSampler
from tinygen.data.workers import Workers

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

    def __init__(
        self,
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
            if value is not None and (isinstance(value, bool) or not value >= least):
                raise ValueError(f"DataLoader: {name} >= {least} is expected, got {value}")
        self.dataset = plain(dataset)
        self.batch_size = None if batch_sampler is not None else batch_size
        self.shuffle, self.drop_last, self.num_workers, self.collate_fn = (
            bool(shuffle),
            drop_last,
            num_workers,
            collate_fn,
        )
        self.pin_memory, self.timeout, self.worker_init_fn = pin_memory, timeout, worker_init_fn
        self.prefetch_factor, self.persistent_workers = prefetch_factor, persistent_workers
        self.device = None if device is None else backend.device(device)
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
            "sampler": sampler or (None if self._own_sampler or self._is_stream else of(_base(self))),
            "dataset": other["dataset"] if "dataset" in other else of(self.dataset),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict of a loader of the same data: the next loop gives the batches that were still to come.

        Raises ValueError when the state is that of another data set, batch size or kind of generator.
        """
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
        draws = not self._is_stream and _draws(_base(self))
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
            _base(self).load_state_dict(state_dict["sampler"])
        if own["dataset"] is not None:
            self.dataset.load_state_dict(state_dict["dataset"])
        self._epochs = int(state_dict.get("epochs", 0))
        self._live.clear()  # a loop that is still there is of another time
        self._pending = {"given": given, "order": order, "seed": state_dict.get("seed")} if given > 0 else None

    def _under_way(self) -> Epoch | None:
        self._live = [ref for ref in self._live if (epoch := ref()) is not None and not epoch.is_over]
        return self._live[-1]() if self._live else None


class Epoch:
    """One pass over a DataLoader: an iterator over its batches, with a position of its own.

    It begins with its first batch: then the order is drawn.  `close()`, or letting go of it, ends its threads.
    """

    def __init__(self, loader: DataLoader[Any]):
        self._loader, self._given, self._begun, self._over = loader, 0, False, False
        self._order: np.ndarray | None = None
        self._seed: int | None = None  # of the draws in workers
        self._sampler: Any = None  # the state of the sampler before it gave the order
        self._left: dict[str, Any] | None = (
            None  # the state of the data set after the latest batch, if that was loaded ahead
        )
        self._is_peek = False
        self._workers: Workers | None = None

    @property
    def is_over(self) -> bool:
        """Whether all batches were given, or it was closed."""
        return self._over

    @property
    def given(self) -> int:
        """How many batches of the epoch were given."""
        return 0 if self._over else self._given

    def __len__(self) -> int:
        return 0 if self._over else len(self._loader) - self._given

    def __iter__(self) -> Epoch:
        return self

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        if not self._begun:
            self._begin()
        try:
            batch = self._next()
        except StopIteration:
            self.close()
            raise
        self._given += 1
        self._is_peek = False  # who asks for a second batch is not just looking
        live = self._loader._live
        live[:] = [ref for ref in live if ref() not in (None, self)] + [weakref.ref(self)]
        return batch

    def _begin(self) -> None:
        loader = self._loader
        pending, loader._pending = loader._pending, None
        self._is_peek = pending is None and loader._under_way() is not None
        if pending is not None:
            self._given, self._order, self._seed = pending["given"], pending["order"], pending["seed"]
        if self._is_peek:
            loader._peeks += 1
        else:
            loader._epochs += 1
        if loader.num_workers and self._seed is None:
            self._seed = self._fork(loader._epochs).integers(2**62).item()
        self._items = self._stream() if loader._is_stream else self._indices()
        self._begun = True

    def _indices(self) -> Iterator[Any]:
        """The indices of the batches that are to come, or of the samples if there are no batches."""
        loader, base = self._loader, _base(self._loader)
        plan = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        if _draws(base):
            if self._order is None:
                self._order = base.draw(self._fork(loader._peeks, base.random()) if self._is_peek else base.random())
            order: Any = self._order.tolist()
        elif type(base) is SequentialSampler:
            order = range(len(base))
        else:
            self._sampler = base.state_dict() if hasattr(base, "state_dict") else None
            return itertools.islice(plan, self._given, None)
        if base is plan:
            return iter(order[self._given :])
        return iter(BatchSampler(order[self._given * plan.batch_size :], plan.batch_size, plan.drop_last))

    def _stream(self) -> Iterator[Any]:
        loader, stream = self._loader, iter(self._loader.dataset)
        if self._given and not hasattr(loader.dataset, "state_dict"):
            next(itertools.islice(stream, self._given * (loader.batch_size or 1) - 1, None), None)
        if loader.batch_size is None:
            return stream
        return iter(BatchSampler(stream, loader.batch_size, loader.drop_last))

    def _fork(self, number: int, random: Any = None) -> np.random.Generator:
        """A generator whose draws belong to where another one is, which stays there, and to a number."""
        random = random or self._loader._random or library_generator(None)
        return np.random.default_rng([copy.deepcopy(random).integers(2**62).item(), number])

    def _next(self) -> Any:
        loader = self._loader
        if self._is_peek:
            return self._looked()
        if not loader.num_workers:
            return _load(loader, next(self._items))
        if self._workers is None:
            is_alone = loader._is_stream or hasattr(loader.dataset, "state_dict")
            self._workers = Workers(
                _Ahead(loader, self._items) if is_alone else partial(_load, loader),
                itertools.repeat(None) if is_alone else self._items,
                first=self._given,
                threads=1 if is_alone else loader.num_workers,
                ahead=(loader.prefetch_factor or 2) * loader.num_workers,
                seed=self._seed or 0,
                timeout=loader.timeout,
                dataset=loader.dataset,
                init=loader.worker_init_fn,
            )
        batch = next(self._workers)
        if isinstance(batch, _Loaded):
            if batch.is_end:
                raise StopIteration
            self._left, batch = batch.state, batch.batch
        return batch

    def _looked(self) -> Any:
        """The first batch, while the draws of the data set, and its own state, stay where another loop needs them."""
        loader = self._loader
        dataset, has_state = loader.dataset, hasattr(loader.dataset, "state_dict")
        with backend.own_generators(self._fork(loader._peeks).integers(2**62).item()):
            if not has_state:
                return _load(loader, next(self._items))
            with loader._lock:
                state = copy.deepcopy(dataset.state_dict())
                try:
                    return _load(loader, next(self._items))
                finally:
                    dataset.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """The position of this epoch; between two epochs if it is over.  See DataLoader.state_dict."""
        if not self.given:
            return self._loader._state(**(self._loader._pending or {}))
        left = {} if self._left is None else {"dataset": self._left}
        return self._loader._state(self._given, self._order, self._seed, self._sampler, **left)

    def close(self) -> None:
        """End it: its threads, and what the data set had loaded ahead."""
        if self._over:
            return
        self._over = True
        if self._workers is not None and self._workers.close() and self._left is not None:
            self._loader.dataset.load_state_dict(self._left)

    def __del__(self) -> None:
        self.close()


@dataclass
class _Loaded:
    batch: Any = None
    state: Any = None
    """Of the data set, after this batch."""
    is_end: bool = False


class _Ahead:
    """What one thread does for a data set that must be read in order: a stream, or one with a state."""

    def __init__(self, loader: DataLoader[Any], items: Iterator[Any]):
        self._loader, self._items = loader, items

    def __call__(self, _: None, number: int) -> _Loaded:
        dataset = self._loader.dataset
        with self._loader._lock:
            try:
                item = next(self._items)
            except StopIteration:
                return _Loaded(is_end=True)
            batch = _load(self._loader, item)
            return _Loaded(batch, copy.deepcopy(dataset.state_dict()) if hasattr(dataset, "state_dict") else None)


def _load(loader: DataLoader[Any], item: Any, number: int = 0) -> Any:
    """A batch, of its indices, or of a stream's samples; or a single sample, if there are no batches."""
    dataset, device, is_single = (
        loader.dataset,
        loader.device,
        loader.batch_size is None and loader.batch_sampler is None,
    )
    try:
        found = item if loader._is_stream else dataset[item] if is_single else gather(dataset, item)
        if not is_single and not loader._is_stream:
            found = _samples(dataset, found, item, loader.collate_fn is not None)
        if loader.collate_fn is not None:
            found = loader.collate_fn(found)
    except StopIteration as error:  # it would end the loop without a word
        raise RuntimeError(
            f"DataLoader: the data set {type(dataset).__name__} raised StopIteration for {item}"
        ) from error
    if loader.collate_fn is None:
        found = collate(found, device) if isinstance(found, list) and not is_single else convert(found, device)
    return found if device is None else moved(found, device)


def _samples(dataset: Any, found: Any, indices: list[int], apart: bool) -> Any:
    """What `gather` found: a list of samples, or what they make together, which is taken apart if need be."""
    n = len(indices)
    sizes = {len(found)} if isinstance(found, list) else lengths(found)
    if sizes != {n}:
        raise ValueError(
            f"DataLoader: {type(dataset).__name__}.__getitems__ was called with {n} indices, and returned "
            f"{' and '.join(map(str, sorted(sizes))) or 'no'} samples; return a list of {n} samples, or arrays of that length"
        )
    return split(found, n) if apart and not isinstance(found, list) else found


def length(batches: Any) -> int | None:
    """How many there are, or None if nobody knows."""
    try:
        return len(batches)
    except TypeError:
        return None


def _base(loader: DataLoader[Any]) -> Any:
    """Where a loader's indices come from: the sampler below batches that are ours."""
    plan = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    return plan.sampler if type(plan) is BatchSampler else plan


def _draws(sampler: Any) -> bool:
    return isinstance(sampler, Drawing) and type(sampler).__iter__ is Drawing.__iter__


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
