"""data.load: the same images whatever they come as; every split is a partition; what is no image is refused."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygen as tg
from tinygen import data
from tinygen.data import DataError, ImageDataset, images
from tinygen.testing.devices import devices

needs_data = pytest.mark.skipif(
    not os.environ.get("TINYGEN_DATA"), reason="TINYGEN_DATA is not set: no folder with the real data sets"
)
shapes = st.sampled_from([(5, 4, 6), (5, 1, 4, 6), (5, 4, 6, 1), (5, 3, 4, 6), (5, 4, 6, 3)])
colour_last = lambda array: array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("loading") / "mine.npz"


def joined(train, test):
    return np.concatenate([train.images, test.images])


@given(
    array=shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape)),
    test=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
    suffix=st.sampled_from([".npy", ".npz"]),
)
def test_a_split_is_a_partition_that_belongs_to_its_seed(file, array, test, seed, suffix):
    file = file.with_suffix(suffix)
    np.save(file, array) if suffix == ".npy" else np.savez(file, images=array, labels=np.arange(5))
    parts = data.load(file, test=test, seed=seed)
    assert len(parts[1]) == min(max(round(5 * test), 1), 4) and len(parts[0]) + len(parts[1]) == 5
    channels = next((axis for axis in (1, 3) if array.ndim == 4 and array.shape[axis] in (1, 3)), None)
    expected = array if channels is None else np.moveaxis(array, channels, 1)
    expected = (expected[:, 0] if expected.shape[1] == 1 else expected).reshape(5, -1)
    if suffix == ".npz":  # the labels go with their images
        order = np.concatenate([part.labels for part in parts])
        assert sorted(order) == list(range(5))
        np.testing.assert_array_equal(np.round(255 * joined(*parts)).reshape(5, -1), expected[order])
    else:
        assert parts[0].labels is None
        rows = lambda a: sorted(map(tuple, a.reshape(5, -1)))
        assert rows(np.round(255 * joined(*parts))) == rows(expected)
    again = data.load(file, test=test, seed=seed)
    np.testing.assert_array_equal(joined(*parts), joined(*again))
    if 255 in array or 0 in array:
        assert joined(*parts).min() >= 0 and joined(*parts).max() <= 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float16, np.float32, np.float64, ">f4"])
def test_pixels_of_any_type_are_the_same(file, dtype):
    bits = np.random.default_rng(0).integers(0, 2, (6, 3, 5))
    np.savez(
        file, train_images=(255 * bits if dtype == np.uint8 else bits).astype(dtype), test_images=bits.astype(bool)
    )
    train, test = data.load(file)
    np.testing.assert_array_equal(train.images, bits)
    np.testing.assert_array_equal(test.images, bits)
    assert (
        train.images.dtype == np.float32
        and train.images.flags.c_contiguous
        and repr(train).startswith("ImageDataset(mine train")
    )


def test_a_files_own_split_is_kept(file):
    rng = np.random.default_rng(0)
    arrays = {f"{p}_images": rng.integers(0, 256, (n, 4, 4), np.uint8) for p, n in (("train", 7), ("test", 3))}
    np.savez(
        file, **arrays, train_labels=np.arange(7, dtype=np.uint8), test_labels=np.arange(3), names=np.array(["a", "b"])
    )
    train, test = data.load(str(file), test=0.9, seed=5)
    for part, name in ((train, "train"), (test, "test")):
        np.testing.assert_array_equal(np.round(255 * part.images), arrays[f"{name}_images"])
        assert part.labels.tolist() == list(range(len(part))) and part.labels.dtype == np.int64


GOOD = np.zeros((4, 5, 5), np.float32)
REFUSED = {
    "NaN": (
        {"images": np.where(np.arange(100).reshape(4, 5, 5) == 60, np.nan, GOOD)},
        "1 of 4 images .*NaN.* number 2",
    ),
    "infinity": ({"images": GOOD - np.inf}, "4 of 4 images .*infinite"),
    "bytes as floats": ({"images": GOOD + 255}, r"from 255 to 255; divide .*bytes by 255"),
    "both signs": ({"images": GOOD - 1}, r"from -1 to -1; undo 2x - 1 by \(x \+ 1\) / 2"),
    "a test part alone": ({"train_images": GOOD, "test_images": GOOD + 2}, "test_images: pixels in"),
    "integers": ({"images": GOOD.astype(np.int32)}, "got int32; divide"),
    "complex": ({"images": GOOD.astype(complex)}, "dtype '<c16'"),
    "vectors": ({"images": np.zeros((4, 25))}, r"got \(4, 25\); vectors want"),
    "one image in colour": ({"images": np.zeros((5, 6, 3))}, r"got \(5, 6, 3\); .*one image x\[None\]"),
    "four channels": ({"images": np.zeros((2, 4, 8, 8))}, r"got \(2, 4, 8, 8\)"),
    "nothing": ({"images": np.zeros((0, 5, 5))}, "there is no pixel"),
    "no width": ({"images": np.zeros((5, 5, 0))}, "there is no pixel"),
    "one image": ({"images": GOOD[:1]}, "1 image is too few"),
    "other names": ({"x": GOOD}, r"found \['x'\]; write them with np.savez"),
    "labels too few": ({"images": GOOD, "labels": np.arange(3)}, r"4 labels .* got int64 \(3,\)"),
    "labels below 0": ({"images": GOOD, "labels": np.arange(4) - 1}, "from -1 to 2"),
    "labels as floats": ({"images": GOOD, "labels": np.arange(4.0)}, "got float64"),
    "labels too large": ({"images": GOOD, "labels": np.full(4, 2**64 - 1, np.uint64)}, "whole numbers from 0 on"),
    "one part labelled": (
        {"train_images": GOOD, "test_images": GOOD, "test_labels": np.zeros(4, int)},
        "both labels or none",
    ),
    "two sizes": ({"train_images": GOOD, "test_images": np.zeros((4, 6, 6))}, r"\(4, 5, 5\) without .* \(4, 6, 6\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_or_label_is_refused(file, name):
    arrays, what = REFUSED[name]
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=rf"mine\.npz.*{what}"):
        data.load(file)


def test_arguments_are_checked(tmp_path):
    for options, what in (
        ({"size": 0}, "size=.* got 0"),
        ({"size": (4,)}, r"got \(4,\)"),
        ({"size": (4, 10**9)}, r"1, \.\.\., 4096"),
        ({"size": "28"}, "got '28'"),
        ({"test": 0}, "0 < test < 1"),
        ({"test": 30}, "got 30"),
        ({"seed": -1}, "got -1"),
    ):
        with pytest.raises(ValueError, match=f"data.load: .*{what}"):
            data.load("digits", **options)
    with pytest.raises(FileNotFoundError, match=r"nowhere: neither one of digits, mnist, .* nor a file or folder"):
        data.load("nowhere")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"a\.csv: an \.npz file, an \.npy file or a folder"):
        data.load(tmp_path / "a.csv")


def test_the_sets_by_name():
    pytest.importorskip("sklearn")
    train, _ = data.load("digits")
    np.testing.assert_array_equal(train.images, data.digits()[0].images)
    pytest.importorskip("PIL")
    larger, _ = data.load("digits", size=(16, 12))
    assert larger.image_shape == (16, 12) and data.grey_levels(larger.images) == 256
    # What is linear between pixels is the same picture to the eye: the means of all agree to a few grey levels of 255.
    assert np.abs(larger.images.mean((1, 2)) - train.images.mean((1, 2))).max() < 0.05


@needs_data
@pytest.mark.parametrize("name", data.SETS)
def test_every_set_is_there(name):
    train, test = data.load(name)
    sizes = {"frey": (1572, 393), "olivetti": (320, 80)}
    assert (len(train), len(test)) == sizes.get(name, (len(train), len(test)))
    assert data.grey_levels(test.images) == {"digits": 17, "usps": None}.get(name, 256)


@needs_data
def test_faces():
    train, test = data.frey_faces()
    assert train.image_shape == (28, 20) and train.labels is None
    train, test = data.olivetti_faces()
    assert train.image_shape == (64, 64)
    assert np.bincount(train.labels).tolist() == [8] * 40 and np.bincount(test.labels).tolist() == [2] * 40


def test_olivetti_from_the_published_form(tmp_path, monkeypatch):
    """MATLAB's file has one picture per column, each by columns, and its darkest pixel need not be 0."""
    from scipy.io import savemat

    pictures = np.random.default_rng(0).integers(3, 240, (400, 64, 64), np.uint8)
    savemat(tmp_path / "faces.mat", {"faces": pictures.transpose(0, 2, 1).reshape(400, -1).T})
    monkeypatch.delenv("TINYGEN_DATA", raising=False)
    monkeypatch.setattr(images, "find", lambda source: tmp_path / "faces.mat")
    train, _ = data.olivetti_faces()
    np.testing.assert_array_equal(np.round(255 * train.images[:8]), pictures[:8] - pictures.min())


def test_faces_that_are_not_here_say_where_to_get_them(monkeypatch):
    monkeypatch.delenv("TINYGEN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"frey_faces\.npz below the folder TINYGEN_DATA; get frey_rawface.mat"):
        data.frey_faces()


@pytest.mark.parametrize("device", devices())
@pytest.mark.parametrize(("levels", "expected"), [(2, 2), (17, 17), (256, 256), (7, None), (1000, None)])
def test_grey_levels(device, levels, expected):
    k = np.random.default_rng(0).integers(0, levels, (1200, 5, 5))
    pixels = tg.tensor(k.astype(np.float32) / np.float32(levels - 1), device=device).array
    assert data.grey_levels(pixels) == expected
    assert data.grey_levels(0 * pixels) == 2


def test_a_dataset_in_colour():
    pixels = np.random.default_rng(0).random((3, 3, 4, 5), np.float32)
    dataset = ImageDataset("x", pixels)
    assert dataset.flat.shape == (3, 60) and np.shares_memory(dataset.flat, pixels)
    assert dataset.image_shape == (3, 4, 5) and dataset.with_channels is pixels
    assert repr(dataset) == "ImageDataset(x: 3 images of 4×5 in colour, no labels)"
    np.testing.assert_array_equal(dataset.subset([2]).images, pixels[2:])
    grey = ImageDataset("x", pixels[:, 0])
    assert grey.with_channels.shape == (3, 1, 4, 5) and np.shares_memory(grey.with_channels, pixels)
    for bad in (pixels[:, :2], pixels - 1, pixels * np.nan, pixels[0, 0]):
        with pytest.raises(ValueError, match="ImageDataset x: "):
            ImageDataset("x", bad)
