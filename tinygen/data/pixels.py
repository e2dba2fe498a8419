"""Pixels as files have them, made float32 in [0, 1] at the size that was asked for: a part at a time, so that nothing is there twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.data.dataset import Dataset
from tinygen.data.decode import fit
from tinygen.data.files import DataError
from tinygen.data.image_dataset import ImageDataset, check_pixels

PIECE = 2**22
"""Pixels that are converted at a time."""


@dataclass(frozen=True)
class Wanted:
    """What is to become of images: their (height, width), or None; luminance in place of colours; cut to the ratio of size."""

    size: tuple[int, int] | None = None
    grey: bool = False
    crop: bool = False

    def shape(self, one: tuple[int, ...]) -> tuple[int, ...]:
        """Of an image (H, W) or (3, H, W) afterwards."""
        channels = () if self.grey else one[:-2]
        return (*channels, *(self.size or one[-2:]))

    def __call__(self, block: np.ndarray, where: str) -> np.ndarray:
        """Images (n, H, W) or (n, 3, H, W), bytes, floats in [0, 1] or truth values, as they are wanted: float32.

        Those that are resized or turned grey are rounded to bytes.  Raises DataError, which begins with `where`, for floats that
        are no pixels.
        """
        if block.dtype == np.bool_:
            block = (np.ascontiguousarray(block).view(np.uint8) != 0).astype(np.float32)  # any byte may stand in a file
        elif block.dtype != np.uint8:
            block = block.astype(np.float32, copy=False)
            check_pixels(block, where, DataError)
        turn = self.grey and block.ndim == 4
        if not turn and self.size in (None, block.shape[-2:]):
            return np.divide(block, 255, dtype=np.float32) if block.dtype == np.uint8 else block
        out = np.empty((len(block), *self.shape(block.shape[1:])), np.float32)
        for i, image in enumerate(block):
            if turn:
                image = np.tensordot([0.299, 0.587, 0.114], image, 1)
            if image.dtype != np.uint8:
                image = np.round(image if turn and block.dtype == np.uint8 else 255 * image).astype(np.uint8)
            if self.size is not None:
                colour = image.ndim == 3
                rows = fit(image.transpose(1, 2, 0) if colour else image, self.size, self.crop)
                image = rows.transpose(2, 0, 1) if colour else rows
            np.divide(image, 255, out=out[i], dtype=np.float32)
        return out


class StoredPixels:
    """Images in a file as an array that is never there as a whole: what is asked for is read, and made float32 in [0, 1].

    raw: the array or pictures in the file, (N, H, W) or (N, 3, H, W).  index: which of them, in which order; None is all.
    wanted: what becomes of them.  where: how errors begin.

    shape, dtype, ndim, nbytes, len and indexing by integers, slices and index arrays along the first axis are those of an array.
    """

    dtype: np.dtype = np.dtype(np.float32)
    raw: Any
    wanted: Wanted
    where: str
    ndim: int
    nbytes: int

    def __init__(self, raw: Any, index: np.ndarray | None, wanted: Wanted, where: str):
        self.raw, self.wanted, self.where = raw, wanted, where
        self.index: np.ndarray = np.arange(len(raw)) if index is None else np.asarray(index)
        self.shape: tuple[int, ...] = (len(self.index), *wanted.shape(tuple(raw.shape[1:])))
        self.ndim, self.nbytes = len(self.shape), 4 * math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):
            first, *rest = index
            return self[first][(slice(None), *rest) if np.ndim(self.index[first]) else tuple(rest)]
        chosen = self.index[np.asarray(index) if isinstance(index, list) else index]
        if chosen.ndim == 0:
            return self.wanted(np.asarray(self.raw[int(chosen)])[None], self.where)[0]
        return self._read(chosen)

    def _read(self, chosen: np.ndarray) -> np.ndarray:
        out = np.empty((len(chosen), *self.shape[1:]), np.float32)
        n = max(1, PIECE // math.prod(self.raw.shape[1:]))
        for i in range(0, len(chosen), n):
            out[i : i + n] = self.wanted(np.asarray(self.raw[chosen[i : i + n]]), self.where)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._read(self.index), dtype)

    def __repr__(self) -> str:
        return f"StoredPixels({self.where}: float32 {self.shape})"


class StoredImages(Dataset[Any]):
    """Images that stay in their file, and where there are any, their labels: what `data.load(..., mmap=True)` returns.

    Used as an ImageDataset is: `dataset[index]` is the pair (images, labels) at an integer, slice or index array (only the images
    when there are no labels), float32 in [0, 1]; a DataLoader takes it as it is, and reads a batch at a time.

    name: of the set.  images: StoredPixels, an array that is read when it is indexed.  labels: (N,), int64, or None.
    """

    name: str
    images: StoredPixels
    labels: np.ndarray | None

    def __init__(self, name: str, images: StoredPixels, labels: np.ndarray | None = None):
        self.name, self.images, self.labels = name, images, labels

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of one image: (H, W) in grey, (3, H, W) in colour."""
        return self.images.shape[1:]

    def subset(self, index: Any) -> StoredImages:
        """The part at a slice or index array; nothing is read."""
        images = self.images
        part = StoredPixels(images.raw, images.index[index], images.wanted, images.where)
        return StoredImages(self.name, part, None if self.labels is None else self.labels[index])

    def in_memory(self) -> ImageDataset:
        """All of it, read: `train.subset(slice(1000)).in_memory()`."""
        return ImageDataset(self.name, np.asarray(self.images), self.labels)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        images = self.images[index]
        return images if self.labels is None else (images, self.labels[index])

    __getitems__ = __getitem__  # a whole batch at once

    def __repr__(self) -> str:
        size = "×".join(map(str, self.image_shape[-2:])) + (" in colour" if self.images.ndim == 4 else "")
        labels = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        return f"StoredImages({self.name}: {len(self)} images of {size}, {labels}, in their file)"
