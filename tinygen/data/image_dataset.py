"""Images in memory, with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.data.dataset import Dataset


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset(Dataset[Any]):
    """Images and, where there are any, their labels.

    images: (N, H, W) in grey, (N, 3, H, W) in colour; float32 in [0, 1].
    labels: (N,), int64, counted from 0; None where nothing is known about the images, never a made-up 0.

    `dataset[index]` is the pair (images, labels) at an integer, slice or index array (only the images when there are
    no labels), so a DataLoader takes it as it is; `TensorDataset(train.flat)` makes batches of vectors.

    Raises ValueError for other shapes and dtypes, and for pixels that are NaN or outside [0, 1].
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.images.shape
        if not (len(shape) == 3 or len(shape) == 4 and shape[1] == 3) or self.images.dtype != np.float32:
            raise ValueError(
                f"ImageDataset {self.name}: float32 images of shape (N, H, W) are expected, or (N, 3, H, W) in colour, "
                f"got {self.images.dtype} {shape}"
            )
        check_pixels(self.images, f"ImageDataset {self.name}")
        if self.labels is not None and (self.labels.shape != shape[:1] or self.labels.dtype != np.int64):
            raise ValueError(
                f"ImageDataset {self.name}: int64 labels of shape ({len(self.images)},) are expected, one per image, "
                f"got {self.labels.dtype} {self.labels.shape}"
            )

    @property
    def flat(self) -> np.ndarray:
        """The images as vectors: (N, H·W), in colour (N, 3·H·W), float32, sharing memory with `images`."""
        return self.images.reshape(len(self.images), -1)

    @property
    def with_channels(self) -> np.ndarray:
        """The images as convolutions take them: (N, 1, H, W) in grey, (N, 3, H, W) in colour, sharing their memory."""
        return self.images[:, None] if self.images.ndim == 3 else self.images

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of one image: (H, W) in grey, (3, H, W) in colour."""
        return self.images.shape[1:]

    def subset(self, index: Any) -> ImageDataset:
        """The part at a slice or index array, as an ImageDataset: `train.subset(slice(1000))`."""
        return ImageDataset(self.name, self.images[index], None if self.labels is None else self.labels[index])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        return self.images[index] if self.labels is None else (self.images[index], self.labels[index])

    __getitems__ = __getitem__  # a whole batch at once

    def __repr__(self) -> str:
        labels = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        size = "×".join(map(str, self.image_shape[-2:])) + (" in colour" if self.images.ndim == 4 else "")
        return f"ImageDataset({self.name}: {len(self)} images of {size}, {labels})"


def check_pixels(images: np.ndarray, where: str, error: type[ValueError] = ValueError) -> None:
    """Raise an error that begins with `where` unless all values are in [0, 1].  images: (N, ...)."""
    if images.size == 0:
        return
    low, high = images.min(), images.max()  # NaN if there is one
    if low >= 0 and high <= 1:
        return
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(images).reshape(len(images), -1).all(axis=1)
        raise error(
            f"{where}: {bad.sum()} of {len(images)} images have pixels that are NaN or infinite, the first is number "
            f"{bad.argmax()}; leave them out, or find out where they come from"
        )
    fix = (
        "undo 2x - 1 by (x + 1) / 2"
        if low >= -1 and high <= 1
        else "divide by the greatest possible value, as bytes by 255"
    )
    raise error(f"{where}: pixels in [0, 1] are expected, got values from {low:g} to {high:g}; {fix}")
