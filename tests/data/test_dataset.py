"""The laws of batching: every sample exactly once, an order that belongs to its seed, the short batch kept."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen
from tinygen.data import DataLoader, ImageDataset, TensorDataset, binarize

sizes = st.integers(0, 40)
batch_sizes = st.integers(1, 12)
seeds = st.integers(0, 2**32 - 1)


def values(batches):
    return [x for batch in batches for x in batch.tolist()]


@given(n=sizes, batch_size=batch_sizes, shuffle=st.booleans(), seed=seeds)
def test_every_sample_exactly_once_per_epoch_and_the_short_batch_last(n, batch_size, shuffle, seed):
    loader = DataLoader(np.arange(n), batch_size, shuffle, generator=seed)
    for _ in range(2):
        batches = list(loader)
        assert sorted(values(batches)) == list(range(n))
        assert len(batches) == len(loader)
        assert all(len(batch) == batch_size for batch in batches[:-1])
        assert not batches or 1 <= len(batches[-1]) <= batch_size
        assert shuffle or values(batches) == list(range(n))


@given(n=sizes, batch_size=batch_sizes, shuffle=st.booleans(), seed=seeds)
def test_drop_last_leaves_out_the_short_batch_only(n, batch_size, shuffle, seed):
    whole = DataLoader(np.arange(n), batch_size, shuffle, generator=seed)
    full = DataLoader(np.arange(n), batch_size, shuffle, generator=seed, drop_last=True)
    assert len(full) == n // batch_size
    assert values(full) == values(list(whole)[: n // batch_size])


@given(n=sizes, batch_size=batch_sizes, seed=seeds)
def test_the_order_belongs_to_the_seed_and_not_to_the_batch_size(n, batch_size, seed):
    one, two = (
        DataLoader(np.arange(n), batch_size, True, generator=seed),
        DataLoader(np.arange(n), 1, True, generator=seed),
    )
    for _ in range(2):
        assert values(one) == values(two)
    reference = np.random.default_rng(seed)
    assert values(DataLoader(np.arange(n), batch_size, True, generator=seed)) == reference.permutation(n).tolist()


def test_epochs_differ_and_a_generator_is_shared():
    loader = DataLoader(np.arange(100), 10, shuffle=True, generator=0)
    first, second = values(loader), values(loader)
    assert first != second
    generator = tinygen.Generator().manual_seed(0)
    assert values(DataLoader(np.arange(100), 10, shuffle=True, generator=generator)) == first
    assert values(DataLoader(np.arange(100), 10, shuffle=True, generator=generator)) == second


def test_without_a_generator_manual_seed_decides():
    loader = DataLoader(np.arange(100), 10, shuffle=True)
    tinygen.manual_seed(3)
    first = values(loader)
    tinygen.manual_seed(3)
    assert values(loader) == first


@given(n=sizes, batch_size=batch_sizes, seed=seeds)
def test_arrays_stay_together(n, batch_size, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.random((n, 2, 3), np.float32), rng.integers(0, 10, n)
    for dataset in (TensorDataset(x, y), TensorDataset(tinygen.tensor(x), y), ImageDataset("d", x, y)):
        batches = list(DataLoader(dataset, batch_size, shuffle=True, generator=seed))
        order = np.random.default_rng(seed).permutation(n)
        for i, (xs, ys) in enumerate(batches):
            chosen = order[i * batch_size : (i + 1) * batch_size]
            np.testing.assert_array_equal(xs.numpy(), x[chosen])
            np.testing.assert_array_equal(ys.numpy(), y[chosen])
            assert xs.numpy().dtype == np.float32 and ys.numpy().dtype == np.int64


def test_one_array_in_a_dataset_gives_tuples_and_a_bare_array_gives_tensors():
    (only,) = next(iter(DataLoader(TensorDataset(np.zeros((4, 2))), 3)))
    assert only.shape == (3, 2)
    assert next(iter(DataLoader(np.zeros((4, 2)), 3))).shape == (3, 2)
    assert next(iter(DataLoader(tinygen.zeros(4, 2), 3))).shape == (3, 2)
    unlabelled = ImageDataset("d", np.zeros((4, 2, 2), np.float32))
    assert next(iter(DataLoader(unlabelled, 3))).shape == (3, 2, 2)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("wrap", [np.array, tinygen.tensor])
def test_a_batch_is_a_copy(shuffle, wrap):
    data = wrap([1.0, 2.0, 3.0])
    for batch in DataLoader(data, 3, shuffle, generator=0):
        batch.zero_()
    assert data.tolist() == [1.0, 2.0, 3.0]


@given(
    n=sizes,
    batch_size=batch_sizes,
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    own=st.booleans(),
    seed=seeds,
    data=st.data(),
)
def test_a_loader_goes_on_from_its_state(n, batch_size, shuffle, drop_last, own, seed, data):
    """Another loader of the same data gives what the first one was still to give, in this epoch and in the next."""

    def new():
        return DataLoader(np.arange(n), batch_size, shuffle, generator=seed if own else None, drop_last=drop_last)

    tinygen.manual_seed(seed)
    first = new()
    list(first)
    at = data.draw(st.integers(0, len(first)), "batches before the state is taken")
    epoch = iter(first)
    for _ in range(at):
        next(epoch)
    state, default = first.state_dict(), tinygen.get_rng_state()
    assert state["given"] == at
    expected = values(epoch), values(first)
    tinygen.manual_seed(1)
    second = new()
    if at % 2:
        next(iter(second), None)  # whatever it did before
    tinygen.set_rng_state(default)
    second.load_state_dict(state)
    assert (values(second), values(second)) == expected


@pytest.mark.parametrize(
    "generator", [0, None, tinygen.Generator(), np.random.default_rng(0)], ids=["seed", "default", "own", "numpy"]
)
def test_the_draws_of_the_data_set_go_on_too(generator):
    grey = np.full((20, 3), 0.5, np.float32)

    def new(generator):
        return DataLoader(binarize.DynamicBinarization(grey, generator), 4, shuffle=True, generator=1)

    first = new(generator)
    epoch = iter(first)
    next(epoch), next(epoch)
    state, default = copy.deepcopy(first.state_dict()), tinygen.get_rng_state()
    expected = values(epoch), values(first)
    tinygen.randn(5)
    tinygen.set_rng_state(default)
    second = new(5 if generator == 0 else generator)
    second.load_state_dict(state)
    assert (values(second), values(second)) == expected
    with pytest.raises(ValueError, match="another argument generator="):
        new(None if generator is not None else 0).load_state_dict(state)
    with pytest.raises(ValueError, match="another kind of data set"):
        DataLoader(np.arange(20), 4, shuffle=True, generator=1).load_state_dict(state)


def test_a_loop_that_was_left_is_an_epoch_that_is_over():
    loader = DataLoader(np.arange(10), 3)
    for _ in loader:
        assert loader.state_dict()["given"] == 1
        break
    assert loader.state_dict()["given"] == 0


def test_a_state_that_does_not_fit_is_refused():
    loader = DataLoader(np.arange(10), 3, shuffle=True, generator=0)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    for other in (np.arange(9), 3), (np.arange(10), 4):
        with pytest.raises(ValueError, match=r"saved with samples = 10, batch_size = 3, given = 1; this loader has"):
            DataLoader(*other, shuffle=True, generator=0).load_state_dict(state)
    for options in ({}, {"shuffle": True}, {"generator": 0}):
        with pytest.raises(ValueError, match="other arguments shuffle= or generator="):
            DataLoader(np.arange(10), 3, **options).load_state_dict(state)
    with pytest.raises(ValueError, match="no permutation"):
        loader.load_state_dict(state | {"order": np.zeros(10, int)})
    with pytest.raises(ValueError, match="given = 5"):
        loader.load_state_dict(state | {"given": 5})


def test_leaving_an_epoch_early_starts_a_new_one():
    loader = DataLoader(np.arange(10), 3)
    for _ in loader:
        break
    assert values(loader) == list(range(10))


def test_tensor_dataset_indexes_like_its_arrays():
    dataset = TensorDataset([1.0, 2.0, 3.0], np.arange(3))
    assert len(dataset) == 3
    x, y = dataset[1]
    assert float(x) == 2.0 and y == 1
    x, y = dataset[1:]
    assert x.tolist() == [2.0, 3.0] and y.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: DataLoader(np.arange(3), 0), ValueError, "batch_size >= 1 is expected, got 0"),
        (lambda: DataLoader(np.arange(3), -2), ValueError, "batch_size >= 1 is expected, got -2"),
        (lambda: DataLoader(np.arange(3), 2.0), TypeError, "integer batch_size is expected, got 2.0"),
        (lambda: DataLoader(np.arange(3), True), TypeError, "integer batch_size is expected, got True"),
        (lambda: DataLoader(3), TypeError, r"got int; wrap arrays in TensorDataset"),
        (lambda: DataLoader(np.arange(3), generator="0"), TypeError, "generator: .* expected, got '0'"),
        (lambda: DataLoader(np.arange(3), device="tpu"), ValueError, "tpu"),
        (lambda: TensorDataset(), ValueError, "at least one array is expected"),
        (lambda: TensorDataset(np.zeros((3, 2)), np.zeros(4)), ValueError, r"got shapes \(3, 2\), \(4,\)"),
        (lambda: TensorDataset(np.array(1.0)), ValueError, r"got shapes \(\)"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
