"""One pass over a DataLoader: its position, its threads, and how a batch is made."""

from __future__ import annotations

import copy
import itertools
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen import backend
from tinygen.data.collate import collate, convert, lengths, moved, split
from tinygen.data.dataset import gather
from tinygen.data.generators import library_generator
from tinygen.data.sampler import BatchSampler, Drawing, SequentialSampler
from tinygen.data.workers import Workers
from tinygen.tensor import Tensor

if TYPE_CHECKING:
    from tinygen.data.loader import DataLoader


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
            None  # the state of the data set after the latest batch, if threads load ahead
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
        elif self._is_peek:
            loader._peeks += 1
        else:
            loader._epochs += 1
        if loader.num_workers and self._seed is None:
            self._seed = self._fork(loader._epochs).integers(2**62).item()
        self._items = self._stream() if loader._is_stream else self._indices()
        self._begun = True

    def _indices(self) -> Iterator[Any]:
        """The indices of the batches that are to come, or of the samples if there are no batches."""
        loader, source = self._loader, source_of(self._loader)
        plan = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        if is_drawing(source):
            if self._order is None:
                self._order = source.draw(
                    self._fork(loader._peeks, source.random()) if self._is_peek else source.random()
                )
            order: Any = self._order.tolist()
        elif type(source) is SequentialSampler:
            order = range(len(source))
        else:
            self._sampler = source.state_dict() if hasattr(source, "state_dict") else None
            return itertools.islice(plan, self._given, None)
        if source is plan:
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
    if not loader._is_stream:
        item = _whole(item) if is_single else [_whole(i) for i in item]
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


def _whole(index: Any) -> Any:
    """An index as a Python int, if a sampler gave a number of NumPy's or a Tensor; others, as texts, stay."""
    return int(index) if isinstance(index, np.integer | Tensor) else index


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


def source_of(loader: DataLoader[Any]) -> Any:
    """Where a loader's indices come from: the sampler below batches that are ours."""
    plan = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    return plan.sampler if type(plan) is BatchSampler else plan


def is_drawing(sampler: Any) -> bool:
    """Whether its indices are those that its `draw` returns: a subclass may have an `__iter__` of its own."""
    return isinstance(sampler, Drawing) and type(sampler).__iter__ is Drawing.__iter__
