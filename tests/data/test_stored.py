"""Images that stay in their file are the same as those in memory, however they are asked for; and what is not asked for is not read."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen import data

pytest.importorskip("PIL")
shapes = st.sampled_from([(6, 4, 5), (6, 1, 4, 5), (6, 4, 5, 1), (6, 3, 4, 5), (6, 4, 5, 3)])
arrays = st.tuples(shapes, st.sampled_from([np.uint8, np.float32, ">f8", np.bool_])).flatmap(
    lambda pair: hnp.arrays(
        pair[1], pair[0], elements={"min_value": 0, "max_value": 1} if "f" in np.dtype(pair[1]).str else None
    )
)
indices = st.integers(-4, 3) | st.lists(st.integers(-4, 3), min_size=1, max_size=4) | st.slices(4)


@pytest.mark.filterwarnings("ignore:data.load.*squashed")  # which it rightly says, and which is the same both ways
@given(array=arrays, size=st.sampled_from([None, 3, (5, 2)]), grey=st.booleans(), crop=st.booleans(), index=indices)
def test_they_are_those_in_memory(tmp_path_factory, array, size, grey, crop, index):
    file = tmp_path_factory.getbasetemp() / "stored.npy"
    np.save(file, array)
    options = {"grey": grey, "crop": crop and size is not None}
    for stored, held in zip(data.load(file, size, mmap=True, **options), data.load(file, size, **options), strict=True):
        assert isinstance(stored, data.StoredImages) and len(stored) == len(held)
        assert stored.image_shape == held.image_shape and stored.images.shape == held.images.shape
        np.testing.assert_array_equal(np.asarray(stored.images), held.images)
        assert data.checksum(stored) == data.checksum(held)
    train, held = data.load(file, size, mmap=True, **options)[0], data.load(file, size, **options)[0]
    index = [i % len(train) for i in index] if isinstance(index, list) else index
    np.testing.assert_array_equal(train[index], held[index])
    np.testing.assert_array_equal(train.subset(slice(1, 3))[1], held[2])
    np.testing.assert_array_equal(train.subset(slice(1, 3)).in_memory().images, held.images[1:3])
    for a, b in zip(
        data.DataLoader(train, 3, True, generator=0), data.DataLoader(held, 3, True, generator=0), strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_folder_too_with_its_classes(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(tmp_path / name / f"{i}.png")
    for options in ({}, {"size": (3, 4)}, {"size": 4, "crop": True}, {"grey": True}):
        for stored, held in zip(data.load(tmp_path, mmap=True, **options), data.load(tmp_path, **options), strict=True):
            np.testing.assert_array_equal(np.asarray(stored.images), held.images)
            np.testing.assert_array_equal(stored.labels, held.labels)
            assert repr(stored).endswith("in their file)")
            images, labels = stored[[0, 1]]
            np.testing.assert_array_equal(images, held.images[:2])
            np.testing.assert_array_equal(labels, held.labels[:2])


def test_nothing_is_read_whole(tmp_path):
    """An array of 64 MB, of which a batch is asked for: the memory is that of the batch."""
    array = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (64, 1000, 1000))
    array[3] = 255
    array.flush()
    data.load(tmp_path / "large.npy", mmap=True)
    tracemalloc.start()
    try:
        train, test = data.load(tmp_path / "large.npy", mmap=True)
        assert len(train) + len(test) == 64 and train[[0, 1]].shape == (2, 1000, 1000)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20, (
            "two images as float32 are 8 MB, and on the way a few times that"
        )
    finally:
        tracemalloc.stop()


def test_pixels_are_looked_at_when_they_are_read(tmp_path):
    array = np.zeros((4, 2, 2))
    array[2] = 7
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(data.DataError, match="from 7 to 7"), np.errstate(all="ignore"):
        parts = data.load(tmp_path / "x.npy", mmap=True)
        [part[i] for part in parts for i in range(len(part))]


def test_what_cannot_stay_in_its_file_says_so(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 2, 2)))
    with pytest.raises(
        ValueError, match=r"x\.npz: an archive is read as a whole; for mmap=True save the images as \.npy"
    ):
        data.load(tmp_path / "x.npz", mmap=True)
    with pytest.raises(ValueError, match="digits is read into memory as it is"):
        data.load("digits", mmap=True)
