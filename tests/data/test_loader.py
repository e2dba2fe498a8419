"""A DataLoader is a loop over dataset[i], collated: with any data set, sampler, batch size, number of threads."""

from __future__ import annotations

import collections
import copy
import pickle
import threading
import time
import traceback
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import data
from tinygen.data import DataLoader, Dataset, IterableDataset, TensorDataset

sizes, batch_sizes, seeds = st.integers(0, 23), st.integers(1, 7), st.integers(0, 2**32 - 1)
Pair = collections.namedtuple("Pair", "x y")


class Samples(Dataset):
    """A data set of one's own: a sample is a function of its number, which must be a Python int."""

    def __init__(self, n, kind, seed=0):
        self.values = np.random.default_rng(seed).random((n, 2, 3)).astype(np.float32)
        self.kind = kind

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        assert type(i) is int
        if not 0 <= i < len(self):
            raise IndexError(i)
        x = self.values[i]
        return {
            "array": lambda: (x - x.mean()) / x.std(),  # over the sample: over a batch it is another number
            "tensor": lambda: tg.tensor(x).flip(0),
            "number": lambda: i / 2,
            "integer": lambda: i,
            "bool": lambda: i % 2 == 0,
            "scalar": lambda: x[0, 0],
            "text": lambda: f"number {i}",
            "tuple": lambda: (x, i),
            "dict": lambda: {"image": tg.tensor(x), "more": {"label": i, "name": str(i)}},
            "named": lambda: Pair(x, [i, (i / 2, x[0])]),
        }[self.kind]()


KINDS = ["array", "tensor", "number", "integer", "bool", "scalar", "text", "tuple", "dict", "named"]


def plain(batch):
    """A batch as nested lists, with the dtypes and shapes of its Tensors."""
    if isinstance(batch, tg.Tensor):
        return (str(batch.dtype), tuple(batch.shape), batch.tolist())
    if isinstance(batch, dict):
        return {key: plain(x) for key, x in batch.items()}
    if isinstance(batch, (tuple, list)):
        return [type(batch).__name__, *map(plain, batch)]
    return batch


def reference(samples):
    """The batch that is written by hand, place by place."""
    first = samples[0]
    if isinstance(first, (np.ndarray, tg.Tensor, np.generic)):
        array = np.array([np.asarray(x) for x in samples])
        return (str(array.dtype), array.shape, array.tolist())
    if isinstance(first, (bool, int, float)):
        dtype = {bool: "bool", int: "int64", float: "float64"}[type(first)]
        return (dtype, (len(samples),), samples)
    if isinstance(first, dict):
        return {key: reference([x[key] for x in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        kind = type(first).__name__ if hasattr(first, "_fields") else "list"
        return [kind, *(reference([x[i] for x in samples]) for i in range(len(first)))]
    return ["list", *samples]


def chunks(indices, n, drop_last=False):
    parts = [indices[i : i + n] for i in range(0, len(indices), n)]
    return [part for part in parts if len(part) == n or not drop_last]


@given(
    kind=st.sampled_from(KINDS),
    n=sizes,
    batch_size=batch_sizes,
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    workers=st.sampled_from([0, 1, 3]),
    seed=seeds,
)
def test_it_is_a_loop_over_the_samples(kind, n, batch_size, shuffle, drop_last, workers, seed):
    dataset = Samples(n, kind, seed)
    loader = DataLoader(
        dataset,
        batch_size,
        shuffle,
        num_workers=workers,
        drop_last=drop_last,
        generator=seed,
        prefetch_factor=workers or None,
    )
    rng = np.random.default_rng(seed)
    for _ in range(2):
        order = rng.permutation(n).tolist() if shuffle else list(range(n))
        expected = [reference([dataset[i] for i in part]) for part in chunks(order, batch_size, drop_last)]
        assert [plain(batch) for batch in loader] == expected
        assert len(loader) == len(expected)


@given(n=st.integers(1, 20), batch_size=batch_sizes, seed=seeds, workers=st.sampled_from([0, 2]))
def test_whole_batches_are_what_single_samples_make(n, batch_size, seed, workers):
    """Data sets that gather many samples at once give the batches that they give without it, only faster."""
    x, y = np.random.default_rng(seed).random((n, 3, 2), np.float32), np.arange(n)
    fast = TensorDataset(tg.tensor(x), y)
    indices = np.random.default_rng(seed).integers(0, n, 9).tolist()

    class Slow:  # the same without __getitems__
        def __init__(self, dataset):
            self.dataset = dataset

        def __len__(self):
            return len(self.dataset)

        def __getitem__(self, i):
            return self.dataset[i]

    for dataset in (
        fast,
        data.Subset(fast, indices),
        x,
        tg.tensor(x),
        data.ImageDataset("x", x, y),
        data.ImageDataset("x", x),
    ):
        one, other = (
            DataLoader(d, batch_size, shuffle=True, num_workers=workers, generator=seed)
            for d in (dataset, Slow(dataset))
        )
        assert [plain(b) for b in one] == [plain(b) for b in other]
        calls = []
        with_own = DataLoader(dataset, batch_size, collate_fn=lambda samples: calls.append(samples) or len(samples))  # noqa: B023
        assert list(with_own) == [len(part) for part in chunks(list(range(len(dataset))), batch_size)]
        assert [plain(data.default_collate(samples)) for samples in calls] == [
            plain(b) for b in DataLoader(dataset, batch_size)
        ]


def test_a_subclass_with_a_sample_of_its_own_is_asked_for_it():
    class Doubled(TensorDataset):
        def __getitem__(self, i):
            (x,) = super().__getitem__(i)
            return 2 * x, i

    (batch,) = DataLoader(Doubled(np.arange(3.0)), 3)
    assert plain(batch) == ["list", ("float64", (3,), [0.0, 2.0, 4.0]), ("int64", (3,), [0, 1, 2])]


@pytest.mark.parametrize(
    "wrong", [lambda i: np.zeros((1, 2)), lambda i: [0], lambda i: (np.zeros(len(i)), np.zeros(9)), len]
)
def test_what_getitems_returns_is_counted(wrong):
    class Many(Samples):
        __getitems__ = staticmethod(wrong)

    with pytest.raises(ValueError, match=r"Many.__getitems__ was called with 4 indices, and returned"):
        next(iter(DataLoader(Many(8, "array"), 4)))


@given(seed=seeds, n=st.integers(1, 12), data_=st.data())
def test_samplers(seed, n, data_):
    dataset = list(range(n))
    k = data_.draw(st.integers(0, 30))
    reference = np.random.default_rng(seed)
    for sampler, check in (
        (data.SequentialSampler(dataset), lambda i: i == dataset),
        (data.RandomSampler(dataset, generator=seed), lambda i: i == reference.permutation(n).tolist()),
        (data.RandomSampler(dataset, True, k, seed), lambda i: len(i) == k and set(i) <= set(dataset)),
        (
            data.RandomSampler(dataset, False, k, seed),  # whole orders one after another, the last one cut off
            lambda i: len(i) == k and all(len(set(c)) == len(c) for c in chunks(i, n)),
        ),
        (data.SubsetRandomSampler(dataset[::2], seed), lambda i: sorted(i) == dataset[::2]),
        (data.WeightedRandomSampler([0.0] + [1.0] * n, k, True, seed), lambda i: len(i) == k and 0 not in i),
        (data.WeightedRandomSampler([1.0] * n, n, False, seed), lambda i: sorted(i) == dataset),
    ):
        indices = list(sampler)
        assert check(indices) and len(sampler) == len(indices) and all(type(i) is int for i in indices)
        again = list(sampler)
        sampler_2 = copy.deepcopy(sampler)
        assert list(sampler) == list(sampler_2) and len(again) == len(indices)
    assert list(data.BatchSampler(dataset, 3, True)) == chunks(dataset, 3, True)
    assert len(data.BatchSampler(dataset, 3, False)) == len(chunks(dataset, 3))


def test_with_replacement_the_draws_are_independent():
    drawn = list(data.RandomSampler(range(1000), True, 1000, generator=0))
    # Of n draws from n, n/e are expected to be missing, with a standard deviation below sqrt(n)/3: six of them.
    assert abs(1000 - len(set(drawn)) - 1000 / np.e) < 6 * np.sqrt(1000) / 3


def test_the_weights_are_the_probabilities():
    weights = np.array([1.0, 2.0, 0.0, 5.0])
    counts = np.bincount(list(data.WeightedRandomSampler(weights, 20_000, generator=1)), minlength=4) / 20_000
    p = weights / 8
    assert (np.abs(counts - p) <= 6 * np.sqrt(p * (1 - p) / 20_000)).all()  # six standard errors


@given(n=st.integers(1, 15), batch_size=batch_sizes, seed=seeds, workers=st.sampled_from([0, 2]))
def test_indices_come_from_the_sampler(n, batch_size, seed, workers):
    chosen = np.random.default_rng(seed).integers(0, n, 10).tolist()
    dataset = Samples(n, "integer")
    by_sampler = DataLoader(dataset, batch_size, sampler=chosen, num_workers=workers)
    assert [b.tolist() for b in by_sampler] == chunks(chosen, batch_size) and len(by_sampler) == len(
        chunks(chosen, batch_size)
    )
    lists = [chosen[:1], [], chosen[1:4], chosen[4:]][:: 1 if n % 2 else -1]
    lists = [part for part in lists if part]
    by_batches = DataLoader(dataset, batch_sampler=lists, num_workers=workers)
    assert [b.tolist() for b in by_batches] == lists and len(by_batches) == len(lists)
    single = DataLoader(dataset, batch_size=None, sampler=chosen, num_workers=workers)
    assert list(single) == chosen and len(single) == len(chosen)
    (x, y), *_ = DataLoader(TensorDataset(np.zeros((n, 2)), np.arange(n)), batch_size=None)
    assert x.shape == (2,) and isinstance(x, tg.Tensor) and y.shape == ()


@pytest.mark.parametrize("wrap", [np.array, tg.tensor, list])
def test_an_index_is_a_python_int_whatever_the_sampler_gives(wrap):
    names = {2: "two", 0: "zero"}  # where no other kind of number is found

    class Named(Samples):
        def __getitem__(self, i):
            return names[i] if type(i) is int else i.upper()

    dataset = Named(3, "integer")
    assert list(DataLoader(dataset, 2, sampler=wrap([2, 0]))) == [["two", "zero"]]
    assert list(DataLoader(dataset, batch_sampler=[wrap([2]), wrap([0, 2])])) == [["two"], ["zero", "two"]]
    assert list(DataLoader(dataset, None, sampler=["a", "b"])) == [
        "A",
        "B",
    ]  # a data set may have other names for its samples


def test_an_endless_sampler():
    class Endless(data.Sampler):
        def __iter__(self):
            while True:
                yield from (2, 0)

    loader = DataLoader(Samples(3, "integer"), 3, sampler=Endless(), num_workers=2)
    batches = iter(loader)
    assert [next(batches).tolist() for _ in range(3)] == [[2, 0, 2], [0, 2, 0], [2, 0, 2]]
    with pytest.raises(TypeError):
        len(loader)


@given(
    n=sizes,
    batch_size=st.one_of(st.none(), batch_sizes),
    drop_last=st.booleans(),
    workers=st.sampled_from([0, 2]),
    at=st.integers(0, 8),
)
def test_streams(n, batch_size, drop_last, workers, at):
    drop_last = drop_last and batch_size is not None

    class Stream(IterableDataset):
        def __iter__(self):
            info = data.get_worker_info()
            yield from range(0 if info is None else info.id, n, 1 if info is None else info.num_workers)

    expected = list(range(n)) if batch_size is None else chunks(list(range(n)), batch_size, drop_last)
    for dataset in (Stream(), IterableDataset(lambda: iter(range(n))), IterableDataset(lambda: (i for i in range(n)))):

        def new(dataset=dataset):
            return DataLoader(dataset, batch_size, drop_last=drop_last, num_workers=workers)

        loader = new()
        for _ in range(2):
            assert [b if batch_size is None else b.tolist() for b in loader] == expected
        with pytest.raises(TypeError, match="no length"):
            len(loader)
        epoch = iter(loader)
        for _ in range(min(at, len(expected))):
            next(epoch)
        other = new()
        other.load_state_dict(loader.state_dict())
        assert [plain(b) for b in other] == [plain(b) for b in epoch]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("draws", [False, True])
@given(
    n=st.integers(1, 20),
    batch_size=batch_sizes,
    own=st.booleans(),
    kind=st.sampled_from(["shuffle", "sequential", "weighted", "user", "batch_sampler"]),
    seed=seeds,
    data_=st.data(),
)
def test_looks_move_nothing_and_a_state_goes_on(workers, draws, n, batch_size, own, kind, seed, data_):
    """With looks at other batches while the loop is under way, and stopped anywhere: the same batches, in all epochs."""

    class Noisy(Samples):  # draws from the default generator
        def __getitem__(self, i):
            return super().__getitem__(i), tg.rand(1).item()

    def new():
        dataset = Noisy(n, "integer") if draws else data.DynamicBinarization(np.full((n, 2), 0.5), seed)
        arguments = {
            "shuffle": lambda: {"shuffle": True},
            "sequential": dict,
            "weighted": lambda: {"sampler": data.WeightedRandomSampler(range(1, n + 1), 9, True, seed)},
            "user": lambda: {"sampler": [(7 * i) % n for i in range(n)]},
            "batch_sampler": lambda: {
                "batch_sampler": data.BatchSampler(data.RandomSampler(range(n), generator=seed), 3, False)
            },
        }[kind]()
        size = {} if kind == "batch_sampler" else {"batch_size": batch_size}
        return DataLoader(dataset, **size, **arguments, num_workers=workers, generator=seed if own else None)

    tg.manual_seed(seed)
    loader = new()
    expected = [[plain(b) for b in loader] for _ in range(3)]

    tg.manual_seed(seed)
    loader = new()
    at = data_.draw(st.integers(0, len(loader)))
    looks = data_.draw(st.lists(st.integers(1, len(loader)), max_size=3))
    found = [[plain(b) for b in loader], []]
    epoch = iter(loader)
    for i in range(1, at + 1):
        found[1].append(plain(next(epoch)))
        for _ in range(looks.count(i)):
            next(iter(loader))
        assert loader.state_dict()["given"] == epoch.state_dict()["given"] == i
    state, default = copy.deepcopy(loader.state_dict()), tg.get_rng_state()
    del epoch
    tg.randn(3)
    other = new()
    if looks:
        next(iter(other))  # whatever it did before
    tg.set_rng_state(default)
    other.load_state_dict(state)
    found[1] += [plain(b) for b in other] if at < len(loader) or not at else []
    if at == len(loader):
        assert list(other) == []
    found.append([plain(b) for b in other])
    assert found == expected


@given(n=st.integers(1, 20), batch_size=batch_sizes, seed=seeds, left=st.integers(0, 6))
def test_what_threads_loaded_ahead_is_forgotten_when_a_loop_is_left(n, batch_size, seed, left):
    """The draws of a data set with a stream of its own are those of a loop without threads, also after a loop that was left."""

    def drawn(workers):
        images = data.DynamicBinarization(np.full((n, 3), 0.5), seed)
        loader = DataLoader(images, batch_size, num_workers=workers)
        for i, _ in enumerate(loader, 1):
            if i >= left:
                break
        return [plain(b) for _ in range(2) for b in loader]

    assert drawn(0) == drawn(1) == drawn(3)


def test_looks_before_a_loop_show_new_batches():
    loader = DataLoader(np.arange(1000), 2, shuffle=True, generator=0)
    seen = {tuple(next(iter(loader)).tolist()) for _ in range(20)}
    assert len(seen) > 15
    first = iter(loader)
    next(first)
    assert len({tuple(next(iter(loader)).tolist()) for _ in range(20)}) > 15


def test_a_look_that_is_kept_does_not_stand_for_the_loop():
    loader = DataLoader(np.arange(10), 3)
    kept = iter(loader)
    next(kept)
    for i, _ in enumerate(loader, 1):
        assert loader.state_dict()["given"] == i
    assert kept.state_dict()["given"] == 1 and len(kept) == 3


# Workers


def test_what_is_drawn_does_not_depend_on_the_number_of_threads():
    class Noisy(Samples):
        def __getitem__(self, i):
            time.sleep(0.002 * (i % 3))  # in another order than they were asked for
            return tg.rand(2)

    def drawn(workers):
        tg.manual_seed(3)
        loader = DataLoader(Noisy(12, "array"), 2, num_workers=workers)
        epochs = [[plain(b) for b in loader] for _ in range(2)]
        assert len({str(batch) for epoch in epochs for batch in epoch}) == 12, "a batch was drawn twice"
        return epochs, tg.rand(1).item()

    assert drawn(1) == drawn(4)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("tinygen-data")]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_thread_is_left(workers):
    loader = DataLoader(Samples(100, "array"), 2, num_workers=workers, persistent_workers=True)
    for i, _ in enumerate(loader):
        if i == 2:
            break
    assert not threads()
    epoch = iter(loader)
    next(epoch)
    assert threads()
    del epoch
    assert not threads()
    list(loader)
    assert not threads()


@pytest.mark.parametrize("error", [KeyError, StopIteration, TimeoutError, SystemExit])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_exception_reaches_the_loop_with_its_traceback(error, workers, is_stream):
    class Broken(Samples):
        def __getitem__(self, i):
            if i == 5:
                raise error(7)
            return i

    class Stream(IterableDataset):
        def __iter__(self):
            return map(Broken(8, "array").__getitem__, range(8))

    if is_stream and error is StopIteration:
        return  # the end of a stream
    loader = DataLoader(Stream() if is_stream else Broken(8, "array"), 2, num_workers=workers)
    epoch, seen = iter(loader), []
    with pytest.raises(RuntimeError if error is StopIteration else error) as caught:
        for batch in epoch:
            seen.append(batch.tolist())
    assert seen == [[0, 1], [2, 3]]
    text = "".join(traceback.format_exception(caught.value))
    assert "raise error(7)" in text and ("in worker " in text) == bool(workers)
    if not is_stream:
        assert next(epoch).tolist() == [6, 7]
    epoch.close()
    assert not threads()


def test_each_thread_begins_with_its_number():
    seen = []

    def init(i):
        seen.append((i, data.get_worker_info().id, data.get_worker_info().num_workers, threading.current_thread().name))

    class Slow(Samples):
        def __getitem__(self, i):
            time.sleep(0.01)
            return data.get_worker_info().id

    loader = DataLoader(Slow(12, "array"), 2, num_workers=3, worker_init_fn=init)
    ids = {i for b in loader for i in b.tolist()}
    assert sorted(s[:3] for s in seen) == [(0, 0, 3), (1, 1, 3), (2, 2, 3)] and ids <= {0, 1, 2}
    assert len({s[3] for s in seen}) == 3 and data.get_worker_info() is None
    with pytest.raises(ZeroDivisionError):
        list(DataLoader(Slow(2, "array"), 2, num_workers=1, worker_init_fn=lambda i: 1 / 0))


def test_loading_ahead_is_bounded():
    started = []

    class Counting(Samples):
        def __getitem__(self, i):
            started.append(i)
            return i

    epoch = iter(DataLoader(Counting(100, "array"), 1, num_workers=2, prefetch_factor=3))
    for n in range(1, 5):
        next(epoch)
        time.sleep(0.02)
        assert len(started) <= n + 5  # 6 at once, one of which was just given


def test_timeout():
    release = threading.Event()

    class Hanging(Samples):
        def __getitem__(self, i):
            release.wait(20)
            return i

    with pytest.raises(RuntimeError, match=r"no batch within timeout=0.05 seconds"):
        next(iter(DataLoader(Hanging(4, "array"), 2, num_workers=1, timeout=0.05)))
    release.set()


def test_the_grad_mode_is_that_of_the_loop():
    weight = tg.ones(1, requires_grad=True)

    class Graph(Samples):
        def __getitem__(self, i):
            return weight * i

    for workers in (0, 2):
        loader = DataLoader(Graph(4, "array"), 2, num_workers=workers)
        assert all(b.requires_grad for b in loader)
        with tg.no_grad():
            assert not any(b.requires_grad for b in loader)


def test_a_loader_can_be_copied_and_pickled():
    loader = DataLoader(np.arange(20), 3, shuffle=True, generator=1)
    epoch = iter(loader)
    next(epoch)
    for copied in (copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert [b.tolist() for b in copied] == [b.tolist() for b in copy.deepcopy(loader)]


# Memory


def test_of_a_file_only_what_is_asked_for_is_read(tmp_path):
    shape = (2000, 64, 64, 8)  # 65 MB of holes
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, shape).flush()
    import tracemalloc

    tracemalloc.start()
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    for dataset in (x, TensorDataset(x, np.arange(2000)), data.Subset(TensorDataset(x), range(100))):
        next(iter(DataLoader(dataset, 4, shuffle=True)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # a batch has 131 kB
    with pytest.raises(TypeError, match="mask"):
        TensorDataset(np.ma.masked_array([1.0, 2.0], [True, False]))


# Parts and wholes


@given(n=sizes, m=sizes, seed=seeds)
def test_parts_and_wholes(n, m, seed):
    a, b = list(range(n)), list(range(100, 100 + m))
    whole = data.ConcatDataset([a, b])
    assert [whole[i] for i in range(len(whole))] == a + b and [whole[-i - 1] for i in range(len(whole))] == (a + b)[
        ::-1
    ]
    for i in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError):
            whole[i]
    parts = data.random_split(whole, [n, m], generator=seed)
    assert [len(p) for p in parts] == [n, m]
    assert sorted(p[i] for p in parts for i in range(len(p))) == a + b
    again = data.random_split(whole, [n, m], tg.Generator().manual_seed(seed))
    assert [list(p.indices) for p in parts] == [list(p.indices) for p in again]
    thirds = data.random_split(whole, [1 / 3, 1 / 3, 1 / 3], seed)
    sizes_ = [len(p) for p in thirds]
    assert sum(sizes_) == n + m and max(sizes_) - min(sizes_) <= 1 and sizes_ == sorted(sizes_, reverse=True)
    if n == m and n:
        assert data.StackDataset(a, b)[n - 1] == (a[-1], b[-1])
        assert data.StackDataset(x=a, y=b)[0] == {"x": 0, "y": 100} and len(data.StackDataset(x=a)) == n
    assert list(data.ChainDataset([a, b])) == a + b
    assert (Samples(2, "integer") + Samples(1, "integer"))[2] == 0


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: data.random_split([1, 2], [1, 2]), ValueError, r"the sum 2, .* or fractions with the sum 1"),
        (lambda: data.random_split([1, 2], [3, -1]), ValueError, "sum 2"),
        (lambda: data.random_split([1, 2], [0.5, 0.2]), ValueError, "sum 1"),
        (lambda: data.random_split([1, 2], [1.5, -0.5]), ValueError, r"fractions in \[0, 1\]"),
        (lambda: data.ConcatDataset([]), ValueError, "at least one"),
        (lambda: data.ConcatDataset([IterableDataset(list)]), TypeError, "ChainDataset"),
        (lambda: data.StackDataset(), ValueError, "all with a name or all without"),
        (lambda: data.StackDataset([1], [1, 2]), ValueError, r"lengths \[1, 2\]"),
        (lambda: IterableDataset(iter([1])), TypeError, "pass the function that makes it"),
        (lambda: next(iter(IterableDataset())), NotImplementedError, "define __iter__"),
        (
            lambda: Dataset("x", np.zeros((1, 2, 2))),
            TypeError,
            r"the base to derive from; .*ImageDataset\(name, images",
        ),
        (lambda: Dataset()[0], NotImplementedError, "define __getitem__"),
        (lambda: data.RandomSampler([1], num_samples=-1), ValueError, "num_samples >= 0"),
        (lambda: list(data.RandomSampler([], num_samples=2)), ValueError, "empty data set"),
        (lambda: data.WeightedRandomSampler([1.0, -1.0], 2), ValueError, "finite weight >= 0"),
        (lambda: data.WeightedRandomSampler([1.0, np.nan], 2), ValueError, "finite weight >= 0"),
        (lambda: data.WeightedRandomSampler([1.0, 0.0], 2, False), ValueError, "2 draws without replacement from 1"),
        (lambda: data.WeightedRandomSampler([0.0], 1), ValueError, "from 0 positive weights"),
        (lambda: DataLoader(iter([1])), TypeError, r"used up after one epoch; .*IterableDataset\(function\)"),
        (lambda: DataLoader({"a": 1}), TypeError, "StackDataset"),
        (
            lambda: DataLoader(type("Frame", (list,), {"to_numpy": None})()),
            TypeError,
            r"TensorDataset\(x.to_numpy\(\)\)",
        ),
        (lambda: DataLoader([1], num_workers=1.5), ValueError, "num_workers >= 0 is expected, got 1.5"),
        (lambda: DataLoader(Samples), TypeError, r"got the class Samples; make one: Samples\(...\)"),
        (lambda: DataLoader(type("D", (Dataset,), {})()), TypeError, "define __len__"),
        (lambda: DataLoader(np.array(1)), TypeError, r"shape \(\)"),
        (lambda: DataLoader([1], shuffle=True, sampler=[0]), ValueError, "leave out shuffle"),
        (lambda: DataLoader([1], 1, True, 3), TypeError, "a seed is given as generator="),
        (lambda: DataLoader([1], sampler=iter([0])), TypeError, "used up after one epoch"),
        (lambda: DataLoader([1], 2, batch_sampler=[[0]]), ValueError, "leave out batch_size"),
        (lambda: DataLoader([1], None, drop_last=True), ValueError, "drop_last"),
        (lambda: DataLoader(IterableDataset(list), shuffle=True), ValueError, "a stream is read as it comes"),
        (lambda: DataLoader([1], num_workers=-1), ValueError, "num_workers >= 0"),
        (lambda: DataLoader([1], num_workers=1, prefetch_factor=0), ValueError, "prefetch_factor >= 1"),
        (lambda: DataLoader([1], timeout=-1), ValueError, "timeout >= 0"),
        (lambda: data.default_collate([]), ValueError, "at least one sample"),
        (lambda: data.default_collate([None]), TypeError, "sample is NoneType; .*collate_fn="),
        (lambda: data.default_collate([(1, None)]), TypeError, r"sample\[1\] is NoneType"),
        (lambda: data.default_collate([1, "a"]), TypeError, "sample is int once and str once"),
        (lambda: data.default_collate([10**30, 1]), TypeError, "no dtype holds"),
        (lambda: data.default_collate([np.array(["a"])] * 2), TypeError, "array of <U1"),
        (lambda: data.default_collate([{"a": 1}, {"b": 1}]), ValueError, r"\['a'\] once and \['b'\] once"),
        (lambda: data.default_collate([[1], [1, 2]]), ValueError, "length 1 once and of 2 once"),
        (
            lambda: data.default_collate([{"x": np.zeros((3, 4))}, {"x": np.zeros((3, 5))}]),
            tg.ShapeError,
            r"sample\['x'\] has the shape \(3, 4\) in one sample and \(3, 5\) in another(.|\n)*crop, resize or pad",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_devices(device):
    x = tg.ones(6, 2, device=device)
    for dataset in (TensorDataset(x), [x[i] for i in range(6)], x, [(x[i], i) for i in range(6)]):
        for batch in DataLoader(dataset, 4, shuffle=True):
            assert (batch if isinstance(batch, tg.Tensor) else batch[0]).device == tg.device(device)
    for dataset in ([(np.zeros(2), 1, {"a": 2.0})] * 3, TensorDataset(np.zeros((3, 2)), np.zeros(3), np.zeros(3))):
        for workers in (0, 2):
            x, y, z = next(iter(DataLoader(dataset, 2, device=device, num_workers=workers)))
            assert {t.device for t in (x, y, z["a"] if isinstance(z, dict) else z)} == {tg.device(device)}
    (batch,) = DataLoader([1.0, 2.0], 2, device=device, collate_fn=lambda s: {"sum": tg.tensor(sum(s))})
    assert batch["sum"].device == tg.device(device) and batch["sum"].item() == 3.0


def test_the_module_has_pytorchs_address():
    import tinygen.utils.data
    from tinygen.utils.data import DataLoader as same

    assert same is DataLoader and tinygen.utils.data.Dataset is Dataset


def test_batches_have_pytorchs_form():
    """The optional oracle: the same nesting, kinds, dtypes and values."""
    torch = pytest.importorskip("torch")

    def form(x):
        if isinstance(x, (tg.Tensor, torch.Tensor)):
            return (str(x.dtype).removeprefix("torch."), tuple(x.shape), x.tolist())
        if isinstance(x, dict):
            return {key: form(v) for key, v in x.items()}
        if isinstance(x, (list, tuple)):  # of texts PyTorch makes lists and tuples, we make lists
            return [type(x).__name__ if hasattr(x, "_fields") else "list", *map(form, x)]
        return x

    half = np.float32(0.5)
    for samples in (
        [0.5, 1.5],
        [1, 2],
        [True, False],
        ["a", "b"],
        [b"a", b"b"],
        [half, half],
        [np.int64(1), np.int64(2)],
        [np.ones((2, 1), np.float32)] * 3,
        [np.array(2.0), np.array(3.0)],
        [(half, 1), (half, 2)],
        [[1, "x"], [2, "y"]],
        [{"a": half, "b": {"c": 1}}] * 2,
        [Pair(half, (1, 2.5))] * 2,
        [()],
    ):
        assert form(data.default_collate(samples)) == form(torch.utils.data.default_collate(samples))
        for sample in samples:
            assert form(data.default_convert(sample)) == form(torch.utils.data.default_convert(sample))
            theirs = torch.tensor(sample) if isinstance(sample, np.ndarray) else None
            assert theirs is None or form(data.default_convert(theirs)) == form(theirs)  # and their tensors are taken
    mixed = data.default_collate([(torch.ones(2), 1), (torch.zeros(2), 2)])
    assert all(isinstance(x, tg.Tensor) for x in mixed) and form(mixed[0]) == ("float32", (2, 2), [[1, 1], [0, 0]])
    tensors = [tg.ones(2), tg.zeros(2)]
    theirs = torch.utils.data.default_collate([torch.ones(2), torch.zeros(2)])
    assert form(data.default_collate(tensors)) == form(theirs)


@given(n=sizes, parts=st.lists(st.integers(0, 10), min_size=1, max_size=4))
def test_fractions_are_split_as_pytorch_splits_them(n, parts):
    torch = pytest.importorskip("torch")
    if not sum(parts):
        return
    fractions = [p / sum(parts) for p in parts]
    if n == 0 or abs(sum(fractions) - 1) > 1e-12 or sum(fractions) > 1:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about empty parts
        theirs = torch.utils.data.random_split(range(n), fractions)
    ours = data.random_split(range(n), fractions, 0)
    assert [len(p) for p in ours] == [len(p) for p in theirs]


@given(n=sizes, batch_size=st.one_of(st.none(), batch_sizes), drop_last=st.booleans())
def test_a_stream_may_know_its_length(n, batch_size, drop_last):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(n))

        def __len__(self):
            return n

    loader = DataLoader(Stream(), batch_size, drop_last=drop_last and batch_size is not None)
    assert len(loader) == len(list(loader))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_is_that_of_its_moment(workers):
    """Of a data set that hands out its own dict, and of a loader whose loop is still there."""

    class Counting(Samples):
        counts = None

        def __getitem__(self, i):
            self.counts["calls"] += 1
            return self.counts["calls"]

        def state_dict(self):
            return self.counts

        def load_state_dict(self, state):
            self.counts = dict(state)

    dataset = Counting(8, "integer")
    dataset.counts = {"calls": 0}
    loader = DataLoader(dataset, 2, num_workers=workers)
    epoch = iter(loader)
    assert [next(epoch).tolist() for _ in range(2)] == [[1, 2], [3, 4]]
    time.sleep(0.05 * bool(workers))  # the threads are ahead
    state = copy.deepcopy(loader.state_dict())
    assert state["given"] == 2 and state["dataset"] == {"calls": 4}
    loader.load_state_dict({**state, "given": 1, "dataset": {"calls": 2}})
    assert loader.state_dict()["given"] == 1, "the loop that is still there is of another time"
    assert list(epoch) == []
    assert next(iter(loader)).tolist() == [3, 4]
