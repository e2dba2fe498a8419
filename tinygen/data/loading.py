"""One function for all images: a set by its name, or a learner's own file or folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from tinygen import backend
from tinygen.data import folder
from tinygen.data.files import DataError, check_size, npz_sizes, read_npy, read_npz
from tinygen.data.image_dataset import ImageDataset, check_pixels
from tinygen.data.images import digits, fashion_mnist, frey_faces, mnist, olivetti_faces, usps
from tinygen.data.pixels import StoredImages, StoredPixels, Wanted

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
CLASSES = 1000
"""So many classes nobody doubts; more than there are images are no classes."""

Part = tuple[str, Any, np.ndarray | None, np.ndarray | None]
"""(name, images as the file has them, which of them, their labels)."""


@overload
def load(
    source: str | Path,
    size: int | tuple[int, int] | None = None,
    test: float = 0.2,
    seed: int = 0,
    grey: bool = False,
    *,
    crop: bool = False,
    max_bytes: int | None = None,
    mmap: Literal[False] = False,
) -> tuple[ImageDataset, ImageDataset]: ...


@overload
def load(
    source: str | Path,
    size: int | tuple[int, int] | None = None,
    test: float = 0.2,
    seed: int = 0,
    grey: bool = False,
    *,
    crop: bool = False,
    max_bytes: int | None = None,
    mmap: Literal[True],
) -> tuple[StoredImages, StoredImages]: ...


def load(
    source: str | Path,
    size: int | tuple[int, int] | None = None,
    test: float = 0.2,
    seed: int = 0,
    grey: bool = False,
    *,
    crop: bool = False,
    max_bytes: int | None = None,
    mmap: bool = False,
) -> Any:
    """Images for training and for testing, from anywhere: (train, test).

    source: a name in `data.SETS`: "digits", "mnist", "fashion", "usps", "frey" or "olivetti"; or a path to

        an .npz file   with the arrays train_images and test_images, or images; and train_labels and test_labels, or labels,
                       if there are labels
        an .npy file   one array of images
        a folder       of pictures: .png, .jpg, .gif (the first frame), .bmp, .webp, .tiff and what else decode.FORMATS has.
                       Subfolders are classes, numbered in the order of their names.  Subfolders `train` and `test`, with
                       pictures or classes in them, are the split.

        Arrays are (N, H, W) or (N, 1, H, W) for grey images, (N, 3, H, W) or (N, H, W, 3) in colour; bytes, which are divided
        by 255, floats in [0, 1], or booleans.  Floats in [-1, 1] are refused: whether they are, one part of the data cannot
        know for the other.  Pictures are grey if all are, whatever their format; read `folder.read` for the rest.
        Labels are integers from 0 on, below 1000 or the number of images, whichever is more.
    size: (H, W), or H = W, to which all images are brought (by Pillow): smaller by the mean over areas, larger linearly.
        None leaves them as they are.
    test, seed: the fraction and the random choice of the images for testing, where the source has no such split.  One seed
        gives one split, for ever.
    grey: colour becomes luminance, 0.299 R + 0.587 G + 0.114 B.
    crop: of every image, the largest part in the middle is taken that has the ratio of `size`.  Else its ratio is not kept; with
        one number as size, a warning says so when pictures of a folder are not square.
    max_bytes: the most that all images may take as float32, four bytes a pixel, and that is read of a file for them.  Default:
        2 GiB, and no more than a hundred times the size of a compressed file, if that is more than 64 MiB.
    mmap: the images stay in the file, an .npy or a folder, and are read when they are asked for, batch by batch: for data larger
        than the memory.  Pictures are in colour then (or grey=True), since not all have been looked at.  The result are two
        StoredImages; max_bytes has no meaning.

    Pixels that were resized or turned grey are rounded to bytes, k/255.  Without labels, `labels` is None.

    Raises DataError (a ValueError), naming the file, what is wrong and what to do, for files that are damaged, of another
    kind, or too large; for pixels outside [0, 1]; for pictures of different sizes without `size`, and for fewer than two
    images; all pictures that cannot be read are named at once.  FileNotFoundError when there is no such source, NotAFile (an
    OSError) for a pipe or a device; ImportError when Pillow is needed and not installed.
    """
    wanted = Wanted(_size(size), grey, crop)
    if crop and size is None:
        raise ValueError("data.load: crop=True cuts images to the ratio of a size; say which: size=32, or --size 32")
    if not 0 < test < 1:
        raise ValueError(f"data.load: 0 < test < 1 is expected, the fraction of the images for testing, got {test!r}")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"data.load: a seed in 0, ..., 2³² - 1 is expected, got {seed!r}")
    path = Path(source).expanduser()
    if str(source) in SETS:
        if mmap:
            raise ValueError(
                f"data.load: {source} is read into memory as it is; mmap=True is for an .npy file or a folder"
            )
        parts: Sequence[Part] = [(part.name, part.images, None, part.labels) for part in SETS[str(source)]()]
    elif path.is_dir():
        parts = _from_folder(path, wanted, test, seed, max_bytes, mmap)
    elif not path.exists():
        raise FileNotFoundError(
            f"data.load: {source}: neither one of {', '.join(SETS)}, nor a file or folder that is there"
        )
    elif path.suffix.lower() == ".npz":
        if mmap:
            raise ValueError(f"data.load: {path}: an archive is read as a whole; for mmap=True save the images as .npy")
        parts = _from_npz(path, test, seed, max_bytes)
    elif path.suffix.lower() == ".npy":
        # Left in the file: what is resized needs no room for what it was.
        parts = _split(path, _images(read_npy(path, mmap=True), str(path), check=not mmap), None, test, seed)
    else:
        raise DataError(
            f"data.load: {path}: an .npz file, an .npy file or a folder of pictures is expected; "
            "a single picture is not enough to learn from, and rows of numbers are read by data.load_points"
        )
    return tuple(_finished(parts, wanted, f"data.load: {source}", max_bytes, mmap))


def _finished(
    parts: Sequence[Part], wanted: Wanted, where: str, max_bytes: int | None, mmap: bool
) -> Iterator[ImageDataset | StoredImages]:
    """The images at the size asked for, and in grey if asked for."""
    counts = [len(raw) if index is None else len(index) for _, raw, index, _ in parts]
    shape = wanted.shape(tuple(parts[0][1].shape[1:]))
    if not mmap and any(math.prod(wanted.shape(raw.shape[1:])) > 0 for _, raw, _, _ in parts):
        what = (
            f"{sum(counts)} images of shape {shape} as float32 (a smaller size= takes less, on the command line --size)"
        )
        check_size(4 * sum(counts) * math.prod(shape), where, what, max_bytes)
    if wanted.size is not None and not wanted.crop:  # pictures of a folder have their size already
        folder.say_squashed({Path(name): raw.shape[-2:] for name, raw, _, _ in parts}, wanted.size)
    for name, raw, index, labels in parts:
        pixels = StoredPixels(raw, index, wanted, where)
        if mmap:
            yield StoredImages(name, pixels, labels)
        elif raw.dtype == np.float32 and index is None and pixels.shape == raw.shape and not isinstance(raw, np.memmap):
            yield ImageDataset(name, np.ascontiguousarray(raw), labels)
        else:
            yield ImageDataset(name, np.asarray(pixels), labels)


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


def _from_folder(
    path: Path, wanted: Wanted, test: float, seed: int, max_bytes: int | None, mmap: bool
) -> Sequence[Part]:
    def read(files: list[Path], problems: list[str]) -> Any:
        if mmap:
            return folder.Pictures(files, wanted.size, wanted.crop, problems)
        return folder.read(files, wanted.size, wanted.crop, max_bytes, problems)

    names = {sub.name for sub in folder.subfolders(path) if folder.has_pictures(sub)}
    if "train" in names and names & HELD_OUT and names != {"train", "test"}:
        raise DataError(
            f"data.load: {path}: folders {', '.join(sorted(names))}: as classes they would mix what is held out with what is "
            "learned from; keep train and test, and move the others away"
        )
    if names != {"train", "test"}:
        found = folder.find(path)
        return _split(path, read(found.files, found.problems), found.labels, test, seed)
    train, tests = folder.find(path / "train"), folder.find(path / "test")
    classes = [sorted({f.parent.name for f in each.files}) for each in (train, tests) if each.labels is not None]
    problems = train.problems + tests.problems
    if classes and (len(classes) == 1 or classes[0] != classes[1]):
        problems.append(
            f"{path}: train and test have different subfolders, {classes[0]} "
            f"and {classes[1] if len(classes) == 2 else 'none'}; both need the same classes"
        )
    images, n, total = read(train.files + tests.files, problems), len(train.files), len(train.files) + len(tests.files)
    chosen, name = np.arange(total), path.resolve().stem
    return [
        (f"{name} train", images, chosen[:n], _labels(train.labels, n, total)),
        (f"{name} test", images, chosen[n:], _labels(tests.labels, total - n, total)),
    ]


def _from_npz(path: Path, test: float, seed: int, max_bytes: int | None) -> Sequence[Part]:
    sizes = npz_sizes(path)
    has_both = {"train_images", "test_images"} <= {*sizes}
    prefixes = ("train_", "test_") if has_both else ("",)
    if not has_both and "images" not in sizes:
        raise DataError(
            f"data.load: {path}: arrays train_images and test_images, or images, are expected, found {list(sizes)[:12] or 'none'}; "
            "write them with np.savez(file, images=..., labels=...)"
        )
    needed = [p + kind for p in prefixes for kind in ("images", "labels") if p + kind in sizes]
    declared = sum(sizes[name] for name in needed)
    check_size(declared, f"data.load: {path}", f"{', '.join(needed)} declare", max_bytes, path.stat().st_size)
    images = [_images(read_npz(path, f"{p}images", max_bytes), f"{path}: {p}images", check=True) for p in prefixes]
    total = sum(map(len, images))
    labels = [
        _labels(read_npz(path, f"{p}labels", max_bytes), len(part), total, f"{path}: {p}labels")
        if f"{p}labels" in sizes
        else None
        for p, part in zip(prefixes, images, strict=True)
    ]
    if not has_both:
        return _split(path, images[0], labels[0], test, seed)
    if images[0].shape[1:] != images[1].shape[1:] or (labels[0] is None) != (labels[1] is None):
        raise DataError(
            f"data.load: {path}: train and test differ: images {images[0].shape} with{'out' * (labels[0] is None)} labels, and "
            f"{images[1].shape} with{'out' * (labels[1] is None)} labels; both need one shape, and both labels or none"
        )
    name = path.resolve().stem
    return [(f"{name} train", images[0], None, labels[0]), (f"{name} test", images[1], None, labels[1])]


def _images(array: np.ndarray, where: str, check: bool) -> np.ndarray:
    """The array in a file as pixels (N, H, W) or (N, 3, H, W).  check: floats are looked at, whether they are in [0, 1]."""
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
    if array.dtype.kind not in "fb" and array.dtype != np.uint8:
        raise DataError(
            f"data.load: {where}: pixels as bytes, floats in [0, 1] or booleans are expected, got {array.dtype}; divide them by "
            "their greatest possible value"
        )
    if check and array.dtype.kind == "f":
        check_pixels(array, f"data.load: {where}", DataError)
    return array


def _labels(labels: Any, n: int, images: int, where: str = "") -> np.ndarray | None:
    """int64, counted from 0.  Raises DataError for anything else.  n: how many; images: how many there are in all."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    whole = labels.astype(np.int64) if labels.dtype.kind in "iu" else np.empty(0)
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or whole.min() < 0 or (whole != labels).any():
        raise DataError(
            f"data.load: {where}: {n} labels are expected, one per image, whole numbers from 0 on, "
            f"got {labels.dtype} {labels.shape}" + (f" from {labels.min()} to {labels.max()}" if labels.size else "")
        )
    if whole.max() >= max(CLASSES, images):
        raise DataError(
            f"data.load: {where}: labels number the classes from 0 on, and {whole.max()} would be one of {whole.max() + 1} "
            f"classes of {images} images; renumber them: np.unique(labels, return_inverse=True)[1]"
        )
    return whole


def _split(path: Path, images: Any, labels: Any, test: float, seed: int) -> Sequence[Part]:
    n = len(images)
    if n < 2:
        raise DataError(
            f"data.load: {path}: {n} image is too few: at least one is needed to learn from and one to test"
        )
    labels = _labels(labels, n, n, f"{path}: labels")
    # RandomState's streams are frozen for ever, default_rng's may change with NumPy's version: the split must not.
    order = np.random.RandomState(seed).permutation(n)
    k = min(max(round(test * n), 1), n - 1)
    return [
        (f"{path.resolve().stem} {name}", images, part, None if labels is None else labels[part])
        for name, part in (("train", order[k:]), ("test", order[:k]))
    ]
