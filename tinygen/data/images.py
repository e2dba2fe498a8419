"""The image data sets: (train, test), each a Dataset of float32 images in [0, 1]."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np

from tinygen.data.dataset import Dataset
from tinygen.data.idx import read_idx
from tinygen.data.sources import Source, find, local

_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx_sources(name: str, url: str, *md5: str) -> list[Source]:
    return [Source(f"{name}/{file}", f"md5:{digest}", url + file) for file, digest in zip(_IDX_FILES, md5, strict=True)]


MNIST = _idx_sources(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
FASHION_MNIST = _idx_sources(
    "fashion_mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
USPS = [
    Source(f"usps/{file}", checksum, f"https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/{file}")
    for file, checksum in (
        ("usps.bz2", "md5:ec16c51db3855ca6c91edd34d0e9b197"),
        ("usps.t.bz2", "md5:8ea070ee2aca1ac39742fdd1ef5ed118"),
    )
]
BINARIZED_MNIST = [
    Source(
        f"binarized_mnist/{file}",
        f"sha256:{digest}",
        f"http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/{file}",
    )
    for file, digest in (
        ("binarized_mnist_train.amat", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
        ("binarized_mnist_valid.amat", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
        ("binarized_mnist_test.amat", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
    )
]


def digits() -> tuple[Dataset, Dataset]:
    """1797 real handwritten digits of 8×8 pixels, 17 grey levels: 1437 for training, 360 for testing, ten classes.

    They come with scikit-learn, so nothing is downloaded.  The split is fixed and its halves share writers, so a test
    score says how well a model generalises to new digits, not to new hands.

    Source: Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI, 1998.
    Raises ImportError when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("data.digits: the digits come with scikit-learn: pip install scikit-learn") from None
    bunch = load_digits()
    images = (bunch.images / 16).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    # RandomState's streams are frozen for ever, default_rng's may change with NumPy's version: the split must not.
    order = np.random.RandomState(0).permutation(len(images))
    test = 360  # a fifth
    return (
        Dataset("digits train", images[order[test:]], labels[order[test:]]),
        Dataset("digits test", images[order[:test]], labels[order[:test]]),
    )


def mnist() -> tuple[Dataset, Dataset]:
    """MNIST: 60,000 and 10,000 handwritten digits of 28×28 pixels, ten classes.

    Taken from TINYGEN_DATA, else from the cache, else downloaded (11 MB), with the published MD5 verified.
    Source: LeCun, Bottou, Bengio, Haffner 1998; http://yann.lecun.com/exdb/mnist/.
    Raises FileNotFoundError when there is no copy and no network, ValueError for a file that is not the published one.
    """
    return _from_idx("mnist", MNIST)


def fashion_mnist() -> tuple[Dataset, Dataset]:
    """Fashion-MNIST: 60,000 and 10,000 articles of clothing of 28×28 pixels, ten classes; found as `mnist` is (30 MB).

    Source: Xiao, Rasul, Vollgraf 2017; https://github.com/zalandoresearch/fashion-mnist.
    Raises FileNotFoundError when there is no copy and no network, ValueError for a file that is not the published one.
    """
    return _from_idx("fashion_mnist", FASHION_MNIST)


def usps() -> tuple[Dataset, Dataset]:
    """USPS: 7291 and 2007 digits of 16×16 pixels from envelopes, ten classes, published in [-1, 1], here in [0, 1].

    Taken from usps/usps.npz in TINYGEN_DATA, else from the cache, else downloaded in the form of the LIBSVM
    collection, with the MD5 that torchvision pins.
    Source: Hull 1994; https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps.
    Raises FileNotFoundError when there is no copy and no network, ValueError for a file of another content.
    """
    parts = []
    for split, n, source in zip(("train", "test"), (7291, 2007), USPS):
        if file := local("usps/usps.npz"):
            images = _npz_array(file, f"{split}_images", (n, 16, 16), np.float32)
            labels = _npz_array(file, f"{split}_labels", (n,), np.uint8)
        else:
            images, labels = _read_libsvm(find(source), n)
        parts.append(Dataset(f"usps {split}", (images + 1) / 2, labels.astype(np.int64)))
    return parts[0], parts[1]


def binarized_mnist() -> tuple[Dataset, Dataset, Dataset]:
    """Larochelle's fixed binarisation of MNIST: (train, valid, test) of 50,000, 10,000 and 10,000 images of 28×28.

    Every pixel is 0 or 1, drawn once with the grey value as its probability: the set behind the published likelihoods
    "on static MNIST".  There are no labels.  The test images are sorted by digit: shuffle before taking a part.

    Taken from binarized_mnist/binarized_mnist.npz in TINYGEN_DATA, else from the cache, else downloaded (110 MB of
    text), with the SHA-256 that TensorFlow Datasets pins.
    Source: Salakhutdinov, Murray 2008; Larochelle, Murray 2011.
    Raises FileNotFoundError when there is no copy and no network, ValueError for a file of another content.
    """
    parts = []
    for split, n, source in zip(("train", "valid", "test"), (50_000, 10_000, 10_000), BINARIZED_MNIST):
        if file := local("binarized_mnist/binarized_mnist.npz"):
            bits = _npz_array(file, split, (n, 784), np.uint8)
        else:
            bits = _read_amat(find(source), n)
        parts.append(Dataset(f"binarized_mnist {split}", bits.reshape(n, 28, 28).astype(np.float32)))
    return parts[0], parts[1], parts[2]


def _from_idx(name: str, sources: list[Source]) -> tuple[Dataset, Dataset]:
    train_images, train_labels, test_images, test_labels = (read_idx(find(source)) for source in sources)
    return _grey(f"{name} train", train_images, train_labels), _grey(f"{name} test", test_images, test_labels)


def _grey(name: str, images: np.ndarray, labels: np.ndarray) -> Dataset:
    return Dataset(name, np.divide(images, 255, dtype=np.float32), labels.astype(np.int64))


def _npz_array(file: Path, key: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """One array of an .npz file, never unpickled, refused unless it has the shape and dtype of the published set."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            array = archive[key]
    except KeyError:
        raise ValueError(f"{file}: there is no array {key!r} in it") from None
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{file}: not a readable .npz file ({error})") from None
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{file}: {key} should be {np.dtype(dtype)} {shape}, but is {array.dtype} {array.shape}")
    return array


def _read_libsvm(file: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in [-1, 1] and labels 0-9 of lines "label 1:value ... 256:value", where the labels run from 1 to 10."""
    rows = [line.split() for line in bz2.decompress(file.read_bytes()).decode("ascii").splitlines()]
    if len(rows) != n or any(len(row) != 257 for row in rows):
        raise ValueError(f"{file}: {n} lines of a label and 256 numbered values are expected")
    images = np.array([[value.partition(":")[2] for value in row[1:]] for row in rows], np.float32)
    return images.reshape(n, 16, 16), np.array([row[0] for row in rows], np.int64) - 1


def _read_amat(file: Path, n: int) -> np.ndarray:
    """The (n, 784) bits of n lines "0 1 0 ... 0": every second byte is a digit."""
    text = np.frombuffer(file.read_bytes(), np.uint8)
    if text.size != n * 2 * 784:
        raise ValueError(f"{file}: {n} lines of 784 digits, {n * 2 * 784} bytes, are expected, got {text.size}")
    return text[::2].reshape(n, 784) - ord("0")
