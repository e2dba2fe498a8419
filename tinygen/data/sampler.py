"""Samplers: in which order, and how often, a data set's samples are used (torch.utils.data's)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from tinygen import backend
from tinygen.data.generators import AnyGenerator, library_generator

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """The base of samplers: `__iter__` gives the indices of one epoch, `__len__` says how many, if that is known.

    A subclass need not call `super().__init__()`.  An iterable without this base will do as well.
    data_source: accepted, and not used.
    """

    def __init__(self, data_source: Any = None):
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: define __iter__(self), which yields indices")


class SequentialSampler(Sampler[int]):
    """0, 1, ..., len(data_source) - 1."""

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class Drawing(Sampler[int]):
    """The base of those that draw.  Its generator is a stream: every epoch goes on with it.

    generator: a seed starts one stream here, so two samplers of one seed agree; None is tinygen's default generator, looked up
        in every epoch, so that a later manual_seed counts.
    """

    def __init__(self, generator: AnyGenerator = None):
        self.generator = generator
        self._random = None if generator is None else library_generator(generator)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of one epoch, drawn with this generator of NumPy's."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw(self.random()).tolist())

    def random(self) -> Any:
        """NumPy's generator that the next epoch draws from."""
        return library_generator(None) if self._random is None else self._random

    def state_dict(self) -> dict[str, Any]:
        """Where its own generator is, if it has one.  (The default generator is not part of it: `get_rng_state`.)"""
        return {"generator": None if self._random is None else self._random.bit_generator.state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state_dict.  Raises ValueError if that is of a sampler with another kind of generator."""
        state = state_dict["generator"]
        if (state is None) != (self._random is None):
            raise ValueError(f"{type(self).__name__}: the state is that of one with another argument generator=")
        if self._random is not None:
            self._random.bit_generator.state = state


class RandomSampler(Drawing):
    """All samples in random order; or num_samples draws with replacement (torch.utils.data.RandomSampler).

    num_samples: how many an epoch has; None is len(data_source).  Without replacement, more than that is several orders one
        after another.
    Raises ValueError for num_samples < 0, or draws from an empty data set.
    """

    data_source: Sized
    replacement: bool

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: AnyGenerator = None,
    ):
        super().__init__(generator)
        self.data_source, self.replacement = data_source, replacement
        self._num_samples = None if num_samples is None else _count("RandomSampler", num_samples)

    @property
    def num_samples(self) -> int:
        """How many indices an epoch has."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __len__(self) -> int:
        return self.num_samples

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of one epoch, drawn with this generator of NumPy's, rng."""
        n, k = len(self.data_source), self.num_samples
        if n == 0 and k > 0:
            raise ValueError(f"RandomSampler: {k} samples cannot be drawn from an empty data set")
        if self.replacement:
            return rng.integers(0, max(n, 1), k)
        if k == n:
            return rng.permutation(n)
        return np.concatenate([np.empty(0, np.int64), *(rng.permutation(n) for _ in range(-(-k // max(n, 1))))])[:k]


class SubsetRandomSampler(Drawing):
    """The given indices in random order (torch.utils.data.SubsetRandomSampler)."""

    def __init__(self, indices: Sequence[int], generator: AnyGenerator = None):
        super().__init__(generator)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of one epoch, drawn with this generator of NumPy's, rng."""
        return np.asarray([int(i) for i in self.indices], np.int64)[rng.permutation(len(self.indices))]


class WeightedRandomSampler(Drawing):
    """num_samples draws of 0, ..., len(weights) - 1, each with a probability proportional to its weight.

    With it classes of different sizes are drawn alike: weights = 1 / counts[labels] (torch.utils.data.WeightedRandomSampler).
    replacement: False draws every index at most once.
    Raises ValueError for weights that are negative, not finite or all 0, and for more draws than positive weights without
    replacement.
    """

    num_samples: int
    replacement: bool

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: AnyGenerator = None
    ):
        super().__init__(generator)
        raw = getattr(weights, "array", weights)
        self.weights: np.ndarray = np.asarray(backend.to_numpy(raw) if backend.is_array(raw) else raw, np.float64)
        self.num_samples, self.replacement = _count("WeightedRandomSampler", num_samples), replacement
        if self.weights.ndim != 1 or not np.isfinite(self.weights).all() or (self.weights < 0).any():
            raise ValueError(
                "WeightedRandomSampler: one finite weight >= 0 per sample is expected, "
                f"got shape {self.weights.shape}, from {self.weights.min(initial=0):g} to {self.weights.max(initial=0):g}"
            )
        positive = int((self.weights > 0).sum())
        if positive == 0 or not replacement and positive < num_samples:
            raise ValueError(
                f"WeightedRandomSampler: {num_samples} draws with{'' if replacement else 'out'} replacement "
                f"from {positive} positive weights"
            )

    def __len__(self) -> int:
        return self.num_samples

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of one epoch, drawn with this generator of NumPy's, rng."""
        return rng.choice(len(self.weights), self.num_samples, self.replacement, self.weights / self.weights.sum())


class BatchSampler(Sampler[list[int]]):
    """Lists of batch_size indices each, made of a sampler's (torch.utils.data.BatchSampler).

    drop_last: leave out the last list when it is short.
    """

    sampler: Iterable[int]
    batch_size: int
    drop_last: bool

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__"):
            raise TypeError(f"BatchSampler: an integer batch_size is expected, got {batch_size!r}")
        if batch_size < 1:
            raise ValueError(f"BatchSampler: batch_size >= 1 is expected, got {batch_size}")
        self.sampler, self.batch_size, self.drop_last = sampler, int(batch_size), drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _count(name: str, n: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__") or int(n) < 0:
        raise ValueError(f"{name}: an integer num_samples >= 0 is expected, got {n!r}")
    return int(n)
