"""The image data sets: (train, test), each an ImageDataset of float32 images in [0, 1]."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np

from tinygen.data.files import DataError, looks_like, read_npz, read_pieces
from tinygen.data.idx import read_idx
from tinygen.data.image_dataset import ImageDataset
from tinygen.data.sources import Source, find, local
from tinygen.regular import open_regular

_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx_sources(name: str, url: str, *sha256: str) -> list[Source]:
    return [Source(f"{name}/{file}", f"sha256:{one}", url + file) for file, one in zip(_IDX_FILES, sha256, strict=True)]


MNIST = _idx_sources(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
FASHION_MNIST = _idx_sources(
    "fashion_mnist",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
# Of these two files nobody publishes more than the MD5.  It keeps out what was damaged; what was changed on the way, https does.
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
        f"https://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/{file}",
    )
    for file, digest in (
        ("binarized_mnist_train.amat", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
        ("binarized_mnist_valid.amat", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
        ("binarized_mnist_test.amat", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
    )
]

OLIVETTI_FACES = Source(
    "olivetti_faces/olivettifaces.mat",
    "sha256:b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794",
    "https://ndownloader.figshare.com/files/5976027",
)


def digits() -> tuple[ImageDataset, ImageDataset]:
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
        ImageDataset("digits train", images[order[test:]], labels[order[test:]]),
        ImageDataset("digits test", images[order[:test]], labels[order[:test]]),
    )


def mnist() -> tuple[ImageDataset, ImageDataset]:
    """MNIST: 60,000 and 10,000 handwritten digits of 28×28 pixels, ten classes.

    Taken from TINYGEN_DATA, else from the cache, else downloaded (11 MB), with the SHA-256 of the published files verified.
    Source: LeCun, Bottou, Bengio, Haffner 1998; http://yann.lecun.com/exdb/mnist/.
    Raises FileNotFoundError when there is no copy and no network, DataError for a file that is not the published one.
    """
    return _from_idx("mnist", MNIST)


def fashion_mnist() -> tuple[ImageDataset, ImageDataset]:
    """Fashion-MNIST: 60,000 and 10,000 articles of clothing of 28×28 pixels, ten classes; found as `mnist` is (30 MB).

    Source: Xiao, Rasul, Vollgraf 2017; https://github.com/zalandoresearch/fashion-mnist.
    Raises FileNotFoundError when there is no copy and no network, DataError for a file that is not the published one.
    """
    return _from_idx("fashion_mnist", FASHION_MNIST)


def usps() -> tuple[ImageDataset, ImageDataset]:
    """USPS: 7291 and 2007 digits of 16×16 pixels from envelopes, ten classes, published in [-1, 1], here in [0, 1].

    Taken from usps/usps.npz in TINYGEN_DATA, else from the cache, else downloaded in the form of the LIBSVM
    collection, with the MD5 that torchvision pins (there is no published SHA-256).
    Source: Hull 1994; https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps.
    Raises FileNotFoundError when there is no copy and no network, DataError for a file of another content.
    """
    parts = []
    for split, n, source in zip(("train", "test"), (7291, 2007), USPS):
        if file := local("usps/usps.npz"):
            images = _npz_array(file, f"{split}_images", (n, 16, 16), np.float32)
            labels = _npz_array(file, f"{split}_labels", (n,), np.uint8)
        else:
            images, labels = _read_libsvm(find(source), n)
        parts.append(ImageDataset(f"usps {split}", (images + 1) / 2, labels.astype(np.int64)))
    return parts[0], parts[1]


def frey_faces() -> tuple[ImageDataset, ImageDataset]:
    """Frey faces: 1965 frames of a film of one man's face, 28×20 grey pixels: the first 1572, the last 393; no labels.

    Neighbouring frames are almost the same picture, so a random split would test the memory of a model.  This one is the
    course of time, and test scores are lower than those that are published for random splits.

    Taken from frey_faces/frey_faces.npz in TINYGEN_DATA: one array `images`, (1965, 28, 20), bytes.  It is not downloaded,
    because nobody publishes a checksum: the error says how to make that file from frey_rawface.mat.
    Source: Roweis, Saul, Hinton 2002; https://cs.nyu.edu/~roweis/data.html.
    Raises FileNotFoundError when there is no copy, DataError for a file of another content.
    """
    file = local("frey_faces/frey_faces.npz")
    if file is None:
        raise FileNotFoundError(
            "data.frey_faces: no file frey_faces/frey_faces.npz below the folder TINYGEN_DATA; get frey_rawface.mat from\n"
            "    https://cs.nyu.edu/~roweis/data.html, and make it with\n"
            "    faces = scipy.io.loadmat('frey_rawface.mat')['ff']                  # (560, 1965), bytes\n"
            "    np.savez('frey_faces.npz', images=faces.T.reshape(1965, 28, 20))"
        )
    images = np.divide(_npz_array(file, "images", (1965, 28, 20), np.uint8), 255, dtype=np.float32)
    return ImageDataset("frey_faces train", images[:1572]), ImageDataset("frey_faces test", images[1572:])


def olivetti_faces() -> tuple[ImageDataset, ImageDataset]:
    """Olivetti faces: 40 people, ten pictures of each, 64×64 grey pixels: the first eight for training (320), two to test (80).

    A test score says how well a model generalises to new pictures of known people.  The labels are the people.

    Taken from olivetti_faces/olivetti_faces.npz in TINYGEN_DATA (images, (400, 64, 64), labels, (400,), bytes), else
    olivettifaces.mat from there, from the cache or downloaded (4 MB), with the SHA-256 that scikit-learn pins.
    Source: Samaria, Harter 1994; AT&T Laboratories Cambridge.
    Raises FileNotFoundError when there is no copy and no network, DataError for a file of another content.
    """
    if file := local("olivetti_faces/olivetti_faces.npz"):
        images = _npz_array(file, "images", (400, 64, 64), np.uint8)
        labels = _npz_array(file, "labels", (400,), np.uint8)
    else:
        from scipy.io import loadmat

        faces = loadmat(find(OLIVETTI_FACES))["faces"].T.reshape(400, 64, 64)  # pictures lie on their side in it
        images = (faces - faces.min()).transpose(0, 2, 1)
        labels = np.arange(400) // 10
    tests = np.arange(400) % 10 >= 8
    whole = _grey("olivetti_faces", images, labels)
    return tuple(  # type: ignore[return-value]
        ImageDataset(f"{whole.name} {name}", whole.images[part], whole.labels[part])  # type: ignore[index]
        for name, part in (("train", ~tests), ("test", tests))
    )


def binarized_mnist() -> tuple[ImageDataset, ImageDataset, ImageDataset]:
    """Larochelle's fixed binarisation of MNIST: (train, valid, test) of 50,000, 10,000 and 10,000 images of 28×28.

    Every pixel is 0 or 1, drawn once with the grey value as its probability: the set behind the published likelihoods
    "on static MNIST".  There are no labels.  The test images are sorted by digit: shuffle before taking a part.

    Taken from binarized_mnist/binarized_mnist.npz in TINYGEN_DATA, else from the cache, else downloaded (110 MB of
    text), with the SHA-256 that TensorFlow Datasets pins.
    Source: Salakhutdinov, Murray 2008; Larochelle, Murray 2011.
    Raises FileNotFoundError when there is no copy and no network, DataError for a file of another content.
    """
    parts = []
    for split, n, source in zip(("train", "valid", "test"), (50_000, 10_000, 10_000), BINARIZED_MNIST):
        if file := local("binarized_mnist/binarized_mnist.npz"):
            bits = _npz_array(file, split, (n, 784), np.uint8)
        else:
            bits = _read_amat(find(source), n)
        parts.append(ImageDataset(f"binarized_mnist {split}", bits.reshape(n, 28, 28).astype(np.float32)))
    return parts[0], parts[1], parts[2]


def _from_idx(name: str, sources: list[Source]) -> tuple[ImageDataset, ImageDataset]:
    train_images, train_labels, test_images, test_labels = (read_idx(find(source)) for source in sources)
    return _grey(f"{name} train", train_images, train_labels), _grey(f"{name} test", test_images, test_labels)


def _grey(name: str, images: np.ndarray, labels: np.ndarray) -> ImageDataset:
    return ImageDataset(name, np.divide(images, 255, dtype=np.float32), labels.astype(np.int64))


def _npz_array(file: Path, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """One array of an .npz file, refused unless it has the shape and dtype of the published set."""
    array = read_npz(file, name)
    if array.shape != shape or array.dtype != dtype:
        raise DataError(f"{file}: {name} should be {np.dtype(dtype)} {shape}, but is {array.dtype} {array.shape}")
    return array


def _read_libsvm(file: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in [-1, 1] and labels 0-9 of lines "label 1:value ... 256:value", where the labels run from 1 to 10."""
    most = n * 257 * 16  # a number as "256:-0.123456" and a blank have 14 bytes
    try:
        with open_regular(file) as (raw, _), bz2.open(raw) as stream:
            text = read_pieces(stream, most + 1)
    except (OSError, EOFError) as error:
        with open_regular(file) as (raw, _):
            kind = looks_like(raw.read(64))
        raise DataError(f"{file}: no bzip2 file, or one that is damaged or cut off: it is {kind} ({error})") from None
    rows = [line.split() for line in bytes(text).splitlines()] if len(text) <= most else []
    if len(rows) != n or any(len(row) != 257 for row in rows):
        raise DataError(f"{file}: {n} lines of a label and 256 numbered values are expected; get the file anew")
    places = [b"%d" % i for i in range(1, 257)]
    try:
        labels = np.array([int(row[0]) for row in rows], np.int64) - 1
        pairs = [[value.split(b":") for value in row[1:]] for row in rows]
        images = np.array([[float(value) for _, value in row] for row in pairs], np.float32)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{file}: numbers are expected: {error}; get the file anew") from None
    if any([place for place, _ in row] != places for row in pairs):
        raise DataError(f"{file}: values numbered 1, ..., 256 are expected in every line; get the file anew")
    if not (np.abs(images) <= 1).all() or not ((labels >= 0) & (labels < 10)).all():
        raise DataError(f"{file}: values in [-1, 1] and labels from 1 to 10 are expected; get the file anew")
    return images.reshape(n, 16, 16), labels


def _read_amat(file: Path, n: int) -> np.ndarray:
    """The (n, 784) bits of n lines "0 1 0 ... 0": every second byte is a digit."""
    if (size := file.stat().st_size) != n * 2 * 784:
        raise DataError(f"{file}: {n} lines of 784 digits, {n * 2 * 784} bytes, are expected, got {size}; get it anew")
    bits = np.fromfile(file, np.uint8)[::2].reshape(n, 784) - ord("0")
    if bits.max() > 1:
        raise DataError(f"{file}: digits 0 and 1 with blanks between them are expected; get the file anew")
    return bits
