"""The image sets: their published sizes, ranges and splits; foreign files are refused."""

import bz2
import os

import numpy as np
import pytest

from tinygen import data
from tinygen.data import ImageDataset, images

needs_data = pytest.mark.skipif(
    not os.environ.get("TINYGEN_DATA"), reason="TINYGEN_DATA is not set: no folder with the real data sets"
)


def check(dataset, n, size, labelled=True):
    assert dataset.images.shape == (n, *size) and dataset.images.dtype == np.float32
    assert dataset.images.min() == 0 and dataset.images.max() == 1
    assert dataset.flat.shape == (n, size[0] * size[1]) and np.shares_memory(dataset.flat, dataset.images)
    if labelled:
        assert dataset.labels.shape == (n,) and dataset.labels.dtype == np.int64
        assert set(dataset.labels) == set(range(10))
    else:
        assert dataset.labels is None


def test_digits():
    pytest.importorskip("sklearn")
    train, test = data.digits()
    check(train, 1437, (8, 8))
    check(test, 360, (8, 8))
    everything = np.concatenate([train.flat, test.flat])
    from sklearn.datasets import load_digits

    # The same images, each exactly once: rows sorted, so that the order does not matter.
    whole = (load_digits().data / 16).astype(np.float32)
    np.testing.assert_array_equal(everything[np.lexsort(everything.T)], whole[np.lexsort(whole.T)])
    for part in (train, test):
        assert np.bincount(part.labels).min() > 0.07 * len(part), "every class is well represented"


def test_digits_split_is_the_same_for_ever():
    pytest.importorskip("sklearn")
    _, test = data.digits()
    assert test.labels[:12].tolist() == data.digits()[1].labels[:12].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]


@needs_data
@pytest.mark.parametrize("load", [data.mnist, data.fashion_mnist])
def test_mnist_and_fashion(load):
    train, test = load()
    check(train, 60_000, (28, 28))
    check(test, 10_000, (28, 28))


@needs_data
def test_mnist_is_the_known_one():
    train, test = data.mnist()
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9] and test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert float(train.images.mean(dtype=np.float64)) == pytest.approx(0.1307, abs=5e-5)  # the usual constants
    assert float(train.images.std(dtype=np.float64)) == pytest.approx(0.3081, abs=5e-5)


@needs_data
def test_usps():
    train, test = data.usps()
    check(train, 7291, (16, 16))
    check(test, 2007, (16, 16))


@needs_data
def test_binarized_mnist():
    for part, n in zip(data.binarized_mnist(), (50_000, 10_000, 10_000), strict=True):
        check(part, n, (28, 28), labelled=False)
        assert set(np.unique(part.images[:1000])) == {0.0, 1.0}


def test_the_text_form_of_usps_is_read_as_the_array_form(tmp_path):
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(-1000, 1001, (5, 256)) / 1000, rng.integers(0, 10, 5)
    lines = [f"{d + 1} " + " ".join(f"{i + 1}:{v:g}" for i, v in enumerate(row)) for row, d in zip(pixels, labels)]
    file = tmp_path / "usps.bz2"
    file.write_bytes(bz2.compress("\n".join(lines).encode()))
    found_images, found_labels = images._read_libsvm(file, 5)
    np.testing.assert_array_equal(found_images.reshape(5, 256), pixels.astype(np.float32))
    np.testing.assert_array_equal(found_labels, labels)
    with pytest.raises(ValueError, match=r"usps\.bz2"):
        images._read_libsvm(file, 6)


def test_the_text_form_of_binarized_mnist_is_read_as_the_array_form(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (3, 784))
    file = tmp_path / "bits.amat"
    file.write_text("".join(" ".join(map(str, row)) + "\n" for row in bits))
    np.testing.assert_array_equal(images._read_amat(file, 3), bits)
    with pytest.raises(ValueError, match=r"bits\.amat"):
        images._read_amat(file, 4)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_bytes(b"not a zip file"),
        lambda file: np.savez(file, other=np.zeros(1)),
        lambda file: np.savez(file, train=np.zeros((50_000, 784), np.uint8)[:10]),
        lambda file: np.savez(file, train=np.array([{"a": "pickle"}], dtype=object)),
    ],
    ids=["no zip", "no such array", "wrong shape", "a pickle"],
)
def test_a_foreign_npz_is_refused_and_never_unpickled(monkeypatch, tmp_path, write):
    file = tmp_path / "binarized_mnist" / "binarized_mnist.npz"
    file.parent.mkdir()
    write(file)
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"binarized_mnist\.npz"):
        data.binarized_mnist()


def test_dataset_checks_its_parts():
    pixels, labels = np.zeros((3, 2, 2), np.float32), np.zeros(3, np.int64)
    assert len(ImageDataset("x", pixels, labels)) == 3
    for bad_images, bad_labels in (
        (pixels.astype(np.float64), labels),
        (pixels[0], labels),
        (pixels, labels[:2]),
        (pixels, labels.astype(np.int32)),
    ):
        with pytest.raises(ValueError, match="ImageDataset x"):
            ImageDataset("x", bad_images, bad_labels)


def test_dataset_subset_and_index():
    pixels = np.arange(12, dtype=np.float32).reshape(3, 2, 2) / 11
    part = ImageDataset("x", pixels, np.arange(3)).subset([2, 0])
    np.testing.assert_array_equal(part.images, pixels[[2, 0]])
    image, label = part[0]
    np.testing.assert_array_equal(image, pixels[2])
    assert label == 2 and "2 images of 2×2" in repr(part)
    np.testing.assert_array_equal(ImageDataset("y", pixels)[1], pixels[1])
