"""One function for all images: a set by its name, or a learner's own file or folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import backend
from tinygen.data import folder
from tinygen.data.files import DataError, npz_names, read_npy, read_npz
from tinygen.data.image_dataset import ImageDataset, check_pixels
from tinygen.data.images import digits, fashion_mnist, frey_faces, mnist, olivetti_faces, usps

SETS: dict[str, Callable[[], tuple[ImageDataset, ImageDataset]]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion": fashion_mnist,
    "usps": usps,
    "frey": frey_faces,
    "olivetti": olivetti_faces,
}
"""What `load` knows by name."""


HELD_OUT = {"test", "val", "valid", "validation", "dev"}
"""Names of folders that, beside one called train, are not classes."""


def load(
    source: str | Path,
    size: int | tuple[int, int] | None = None,
    test: float = 0.2,
    seed: int = 0,
    grey: bool = False,
) -> tuple[ImageDataset, ImageDataset]:
    """Images for training and for testing, from anywhere: (train, test).

    source: a name in `data.SETS`: "digits", "mnist", "fashion", "usps", "frey" or "olivetti"; or a path to

        an .npz file   with the arrays train_images and test_images, or images; and train_labels and test_labels, or labels,
                       if there are labels
        an .npy file   one array of images
        a folder       of pictures: .png, .jpg, .gif (the first frame), .bmp.  Subfolders are classes, numbered in the order
                       of their names.  Subfolders `train` and `test`, with pictures or classes in them, are the split.

        Arrays are (N, H, W) or (N, 1, H, W) for grey images, (N, 3, H, W) or (N, H, W, 3) in colour; bytes, which are divided
        by 255, floats in [0, 1], or booleans.  Floats in [-1, 1] are refused: whether they are, one part of the data cannot
        know for the other.  Pictures are grey if all are, whatever their format; read `folder.read` for the rest.
    size: (H, W), or H = W, to which all images are brought (by Pillow): smaller by the mean over areas, larger linearly.
        The ratio of the sides is not kept.  None leaves them as they are.
    test, seed: the fraction and the random choice of the images for testing, where the source has no such split.  One seed
        gives one split, for ever.
    grey: colour becomes luminance, 0.299 R + 0.587 G + 0.114 B.

    Pixels that were resized or turned grey are rounded to bytes, k/255.  Without labels, `labels` is None.

    Raises DataError (a ValueError), naming the file, what is wrong and what to do, for files that are damaged, of another
    kind, or too large; for pixels outside [0, 1]; for pictures of different sizes without `size`, and for fewer than two
    images; FileNotFoundError when there is no such source; ImportError when Pillow is needed and not installed.
    """
    height_width = _size(size)
    if not 0 < test < 1:
        raise ValueError(f"data.load: 0 < test < 1 is expected, the fraction of the images for testing, got {test!r}")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"data.load: a seed in 0, ..., 2³² - 1 is expected, got {seed!r}")
    if str(source) in SETS:
        parts = SETS[str(source)]()
    else:
        path = Path(source).expanduser()
        if path.is_dir():
            parts = _from_folder(path, height_width, test, seed)
        elif not path.exists():
            raise FileNotFoundError(
                f"data.load: {source}: neither one of {', '.join(SETS)}, nor a file or folder that is there"
            )
        elif path.suffix.lower() == ".npz":
            parts = _from_npz(path, test, seed)
        elif path.suffix.lower() == ".npy":
            parts = _split(path, _images(read_npy(path), str(path)), None, test, seed)
        else:
            raise DataError(
                f"data.load: {path}: an .npz file, an .npy file or a folder of pictures is expected; "
                "a single picture is not enough to learn from"
            )
    return _finished(parts[0], height_width, grey), _finished(parts[1], height_width, grey)


def grey_levels(images: Any) -> int | None:
    """The smallest of 2, 17 and 256 such that all pixels are multiples k / (levels - 1); None if there is none.

    2 is black and white, 17 the embedded digits, 256 bytes: how many values a pixel has that is to be dequantised, and what
    bits per dimension count.  images: an array of any shape, in [0, 1], on any device.
    """
    xp = backend.array_module(images)
    for levels in (2, 17, 256):
        rows = (images[i : i + 1000] for i in range(0, len(images), 1000))  # bounds the memory
        # float32 rounds k/255 by at most 2⁻²⁵ and the product as much again: 255 times that is 2e-5.
        if all(bool((xp.abs((steps := (levels - 1) * part) - xp.round(steps)) < 1e-4).all()) for part in rows):
            return levels
    return None


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size) if isinstance(size, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and 1 <= n <= 4096 for n in pair):
        raise ValueError(
            f"data.load: size=(height, width), each in 1, ..., 4096, or one number, is expected, got {size!r}"
        )
    return int(pair[0]), int(pair[1])


def _from_folder(path: Path, size: tuple[int, int] | None, test: float, seed: int) -> tuple[ImageDataset, ImageDataset]:
    names = {sub.name for sub in folder.subfolders(path) if folder.has_pictures(sub)}
    if "train" in names and names & HELD_OUT and names != {"train", "test"}:
        raise DataError(
            f"data.load: {path}: folders {', '.join(sorted(names))}: as classes they would mix what is held out with what is "
            "learned from; keep train and test, and move the others away"
        )
    if names != {"train", "test"}:
        found = folder.find(path)
        return _split(path, _bytes(folder.read(found.files, size)), found.labels, test, seed)
    train, test_part = folder.find(path / "train"), folder.find(path / "test")
    classes = [sorted({f.parent.name for f in each.files}) for each in (train, test_part) if each.labels is not None]
    if classes and (len(classes) == 1 or classes[0] != classes[1]):
        raise DataError(
            f"data.load: {path}: train and test have different subfolders, {classes[0]} "
            f"and {classes[1] if len(classes) == 2 else 'none'}; both need the same classes"
        )
    images, n = _bytes(folder.read(train.files + test_part.files, size)), len(train.files)
    return _pair(path, images[:n], _labels(train.labels, n), images[n:], _labels(test_part.labels, len(images) - n))


def _from_npz(path: Path, test: float, seed: int) -> tuple[ImageDataset, ImageDataset]:
    names = npz_names(path)

    def part(prefix: str) -> tuple[np.ndarray, np.ndarray | None]:
        name, where = f"{prefix}labels", f"{path}: {prefix}"
        images = _images(read_npz(path, f"{prefix}images"), f"{where}images")
        return images, _labels(read_npz(path, name), len(images), f"{path}: {name}") if name in names else None

    if {"train_images", "test_images"} <= {*names}:
        (images, labels), (test_images, test_labels) = part("train_"), part("test_")
        if images.shape[1:] != test_images.shape[1:] or (labels is None) != (test_labels is None):
            raise DataError(
                f"data.load: {path}: train and test differ: images {images.shape} with{'out' * (labels is None)} labels, "
                f"and {test_images.shape} with{'out' * (test_labels is None)} labels; both need one shape, and both labels or none"
            )
        return _pair(path, images, labels, test_images, test_labels)
    if "images" not in names:
        raise DataError(
            f"data.load: {path}: arrays train_images and test_images, or images, are expected, found {names[:12] or 'none'}; "
            "write them with np.savez(file, images=..., labels=...)"
        )
    return _split(path, *part(""), test, seed)


def _images(array: np.ndarray, where: str) -> np.ndarray:
    """Float32 pixels (N, H, W) or (N, 3, H, W) of the array in a file."""
    shape = array.shape
    if array.ndim == 4 and (axis := next((i for i in (1, 3) if shape[i] in (1, 3)), None)):
        array = np.moveaxis(array, axis, 1)
        array = array[:, 0] if array.shape[1] == 1 else array
    elif array.ndim != 3 or shape[2] in (3, 4) and shape[1] != shape[2]:
        raise DataError(
            f"data.load: {where}: images of shape (N, H, W), (N, 3, H, W) or (N, H, W, 3) are expected, got {shape}; "
            "vectors want x.reshape(N, H, W), one image x[None]"
        )
    if array.size == 0:
        raise DataError(f"data.load: {where}: shape {shape}, there is no pixel in it")
    if array.dtype == np.uint8:
        return _bytes(array)
    if array.dtype.kind not in "fb":
        raise DataError(
            f"data.load: {where}: pixels as bytes, floats in [0, 1] or booleans are expected, got {array.dtype}; divide them by "
            "their greatest possible value"
        )
    check_pixels(array, f"data.load: {where}", DataError)
    return np.ascontiguousarray(array, np.float32)


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.divide(np.ascontiguousarray(array), 255, dtype=np.float32)


def _labels(labels: Any, n: int, where: str = "") -> np.ndarray | None:
    """int64, counted from 0.  Raises DataError for anything else."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    whole = labels.astype(np.int64) if labels.dtype.kind in "iu" else np.empty(0)
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or whole.min() < 0 or (whole != labels).any():
        raise DataError(
            f"data.load: {where}: {n} labels are expected, one per image, whole numbers from 0 on, "
            f"got {labels.dtype} {labels.shape}" + (f" from {labels.min()} to {labels.max()}" if labels.size else "")
        )
    return whole


def _split(path: Path, images: np.ndarray, labels: Any, test: float, seed: int) -> tuple[ImageDataset, ImageDataset]:
    n = len(images)
    if n < 2:
        raise DataError(
            f"data.load: {path}: {n} image is too few: at least one is needed to learn from and one to test"
        )
    labels = _labels(labels, n, f"{path}: labels")
    # RandomState's streams are frozen for ever, default_rng's may change with NumPy's version: the split must not.
    order = np.random.RandomState(seed).permutation(n)
    k = min(max(round(test * n), 1), n - 1)
    chosen = [(images[i], None if labels is None else labels[i]) for i in (order[k:], order[:k])]
    return _pair(path, *chosen[0], *chosen[1])


def _pair(
    path: Path, images: Any, labels: Any, test_images: Any, test_labels: Any
) -> tuple[ImageDataset, ImageDataset]:
    name = path.resolve().stem
    return ImageDataset(f"{name} train", images, labels), ImageDataset(f"{name} test", test_images, test_labels)


def _finished(part: ImageDataset, size: tuple[int, int] | None, grey: bool) -> ImageDataset:
    """The images at the size asked for, and in grey if asked for."""
    turn = grey and part.images.ndim == 4
    if not turn and (size is None or size == part.image_shape[-2:]):
        return part
    out = []
    for image in part.with_channels:
        pixels = np.round(255 * (np.tensordot([0.299, 0.587, 0.114], image, 1)[None] if turn else image)).astype(
            np.uint8
        )
        rows = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
        out.append(rows if size is None else folder.resize(rows, size))
    images = np.stack(out)
    return ImageDataset(part.name, _bytes(images if images.ndim == 3 else images.transpose(0, 3, 1, 2)), part.labels)
