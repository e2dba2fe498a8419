"""A checksum is that of the numbers: the same however they lie in memory, another as soon as one of them is another."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygen as tg
from tinygen import data
from tinygen.data import checksums
from tinygen.testing.devices import devices

numbers = hnp.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=4, max_side=4, min_side=0),
    elements={"allow_nan": False},
)


def laid_out(array, how):
    """The same numbers, otherwise in memory."""
    if how == "big-endian":
        return array.astype(array.dtype.newbyteorder(">"))
    if how == "Fortran" or array.ndim == 0:
        return np.array(array, order="F")
    return np.repeat(array, 2, axis=0)[::2]


@given(array=numbers, how=st.sampled_from(["big-endian", "Fortran", "strided"]), piece=st.integers(1, 64))
def test_it_is_that_of_the_numbers_wherever_they_lie(array, how, piece):
    whole = data.checksum(array)
    assert len(whole) == 64 and set(whole) <= set("0123456789abcdef")
    before, checksums.PIECE = checksums.PIECE, piece
    try:
        assert data.checksum(laid_out(array, how)) == whole
    finally:
        checksums.PIECE = before


@given(array=numbers.filter(lambda a: a.size), place=st.integers(0), data_=st.data())
def test_one_other_number_makes_another(array, place, data_):
    other = array.copy()
    i = place % array.size
    other.flat[i] = not array.flat[i] if array.dtype == bool else array.flat[i] * 0 + (array.flat[i] == 0)
    assert data.checksum(other) != data.checksum(array)
    assert data.checksum(array[None]) != data.checksum(array), "the shape counts"


def test_data_sets_are_known_by_pixels_labels_and_their_order_not_by_their_names():
    x, y = np.random.default_rng(0).random((5, 2, 3), np.float32), np.arange(5)
    one = data.checksum(data.ImageDataset("one", x, y))
    assert one == data.checksum(data.ImageDataset("other", x.copy(), y.copy()))
    others = [
        data.checksum(data.ImageDataset("one", x, y[::-1].copy())),
        data.checksum(data.ImageDataset("one", x[::-1].copy(), y[::-1].copy())),
        data.checksum(data.ImageDataset("one", x)),
        data.checksum(data.ImageDataset("one", x.reshape(5, 3, 2), y)),
        data.checksum(data.ImageDataset("one", x[:4], y[:4])),
        data.checksum(x),
        data.checksum([x], x),
        data.checksum(x, [x]),
        data.checksum(x[:2], x[2:]),
    ]
    assert len({one, *others}) == len(others) + 1
    assert data.checksum(data.TensorDataset(x, y)) == data.checksum(data.TensorDataset(tg.tensor(x), tg.tensor(y)))


@pytest.mark.parametrize("device", devices())
def test_a_tensor_has_the_same_one_on_every_device(device):
    x = np.random.default_rng(0).random((4, 3), np.float32)
    assert data.checksum(tg.tensor(x, device=device)) == data.checksum(x)


def test_an_array_in_a_file_is_read_piece_by_piece(tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (1000, 1000), np.uint8)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(checksums, "PIECE", 10_000)
    pieces = []
    sha256 = hashlib.sha256()

    class Watched:
        hexdigest = sha256.hexdigest

        def update(self, piece):
            pieces.append(len(piece))
            sha256.update(piece)

    whole = data.checksum(x)
    monkeypatch.setattr(checksums.hashlib, "sha256", Watched)
    assert data.checksum(np.load(tmp_path / "x.npy", mmap_mode="r")) == whole
    assert max(pieces) <= 10_000


@pytest.mark.parametrize("what", [np.array(["a"]), np.zeros(2, "M8[s]"), np.ma.array([1.0]), object(), iter([1])])
def test_what_is_no_array_of_numbers_is_refused(what):
    with pytest.raises(TypeError, match=r"data\.checksum: .* expected, got"):
        data.checksum(what)
