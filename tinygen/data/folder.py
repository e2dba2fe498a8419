"""A folder of pictures as arrays: png, jpg, gif (the first frame), bmp, webp, tiff and what else Pillow reads, by Pillow.

Every picture is used, or named in the error that says why not: one error for all of them.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.data.decode import (
    MAX_PIXELS,
    SUFFIXES,
    fit,
    grey_if_it_is,
    looks_like_a_picture,
    picture,
    pillow,
    resize,
    size_of,
)
from tinygen.data.files import DataError, check_size
from tinygen.errors import warn

__all__ = [
    "MAX_PIXELS",
    "Found",
    "Pictures",
    "find",
    "has_pictures",
    "picture",
    "pillow",
    "read",
    "resize",
    "subfolders",
]

OTHER_SUFFIXES = {
    *(".heic", ".heif", ".psd", ".svg", ".eps", ".xcf", ".raw", ".cr2", ".nef", ".arw", ".dng"),
    *(".tga", ".pcx", ".ico", ".exr", ".hdr", ".jxl"),
}
"""Pictures too, which Pillow does not read, or not without running other programs; to leave them out without a word would be
wrong."""
NAMED = 20
"""So many problems are listed, and the others counted."""


@dataclass
class Found:
    """The files of a folder, in the order of their names."""

    files: list[Path] = field(default_factory=list)
    labels: list[int] | None = None
    """The number of each file's class: the place of its folder's name among the sorted names."""
    problems: list[str] = field(default_factory=list)
    """What keeps them from being used as they lie there, a line each."""


def find(root: Path) -> Found:
    """The pictures in a folder, or in its subfolders, which are the classes; what else is there is among the problems.

    Pictures are told by the ends of their names, and without such an end by how they begin.  Names that begin with a point are
    left out, and so is what a Mac packs beside them.
    """
    found = Found()
    here, below = _pictures(root, found), {sub: _pictures(sub, found) for sub in subfolders(root)}
    for sub in below:
        for deeper in _below(sub):
            if files := _pictures(deeper, found):
                found.problems.append(
                    f"{deeper}: a folder of pictures inside the class {sub.name!r}; move them up ({len(files)} pictures)"
                )
                found.files += files
    classes = [(sub, files) for sub, files in below.items() if files]
    if here and classes:
        found.problems.append(
            f"{root}: pictures beside folders of pictures ({here[0].name}, {classes[0][0].name}/); "
            "put each of them into the folder of its class, or all into one folder"
        )
    if not (here or classes or found.problems):
        found.problems.append(
            f"{root}: no picture in it; {', '.join(SUFFIXES)} are read, in the folder or in one subfolder per class"
        )
    found.files = here + [file for _, files in classes for file in files] + found.files
    if classes and not here:
        found.labels = [label for label, (_, files) in enumerate(classes) for _ in files]
    return found


def has_pictures(root: Path) -> bool:
    """Whether there is one in it, at any depth."""
    return any(_pictures(each, Found()) for each in (root, *_below(root)))


def subfolders(root: Path) -> list[Path]:
    """Those that count: not the hidden ones, nor what a Mac packs beside them."""
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))


def _below(root: Path) -> Iterator[Path]:
    """All folders in it, at any depth; a link that leads back to a folder that was seen is not followed."""
    seen, todo = {os.path.realpath(root)}, [root]
    while todo:
        for sub in subfolders(todo.pop()):
            if (place := os.path.realpath(sub)) not in seen:
                seen.add(place)
                todo.append(sub)
                yield sub


def _pictures(folder: Path, found: Found) -> list[Path]:
    files = []
    for file in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        suffix = file.suffix.lower()
        if suffix in OTHER_SUFFIXES:
            found.problems.append(f"{file}: pictures are read from {', '.join(SUFFIXES)}; convert it, or move it away")
        elif suffix in SUFFIXES or looks_like_a_picture(file):
            files.append(file)
    return files


def read(
    files: Sequence[Path],
    size: tuple[int, int] | None = None,
    crop: bool = False,
    max_bytes: int | None = None,
    problems: Sequence[str] = (),
) -> np.ndarray:
    """Pictures of one size, or brought to `size` = (H, W): (N, H, W) if all are grey, else (N, 3, H, W); uint8.

    Grey is a picture whose three colours are the same everywhere, however it was saved.  A camera's note on how it was held
    is obeyed, transparency is laid over white, 16 bits are rounded to 8.

    files: their names.  size, crop: what `decode.fit` takes.  max_bytes: the most that all may take as float32.  problems: what
    is known to be wrong already.

    Raises DataError that names every file that is not a readable picture, or larger than decode.MAX_PIXELS, and everything in
    `problems`; that counts the sizes when they differ; and that says so for more than max_bytes.
    """
    problems = list(problems)
    images: list[np.ndarray] = []
    shapes: dict[Path, tuple[int, int]] = {}
    colour = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on what it could put right
        for file in files:
            try:
                image = grey_if_it_is(picture(file))
            except DataError as error:
                problems.append(str(error))
                continue
            shapes[file] = image.shape[:2]  # type: ignore[assignment]
            image = image if size is None else fit(image, size, crop)
            colour = colour or image.ndim == 3
            shape = (len(files), 3, *image.shape[:2]) if colour else (len(files), *image.shape)
            check_size(
                4 * int(np.prod(shape, dtype=object)),
                f"data.load: {file.parent}",
                f"{len(files)} pictures like {file.name}, {image.shape[0]}×{image.shape[1]}, as float32 "
                "(a smaller size= takes less, on the command line --size)",
                max_bytes,
            )
            if not problems:
                images.append(image)
    if size is None and len(set(shapes.values())) > 1:
        problems.append(_different(shapes))
    refuse(problems)
    if size is not None and not crop:
        say_squashed(shapes, size)
    out = np.empty((len(images), *images[0].shape[:2], 3) if colour else (len(images), *images[0].shape), np.uint8)
    for i, image in enumerate(images):
        out[i] = image if image.ndim == out.ndim - 1 else image[..., None]
        images[i] = image[:0]  # its memory is free
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2)) if colour else out


class Pictures:
    """The pictures of files as an array that is never there as a whole: shape (N, 3, H, W), uint8; they are decoded when asked for.

    files, size, crop: as in `read`, but that size=None asks for one size in the files' own words, which are read without decoding.

    Raises DataError as `read` does, what is wrong inside a file when that one is asked for.
    """

    files: list[Path]
    shape: tuple[int, ...]
    size: tuple[int, int]
    crop: bool
    dtype: np.dtype
    ndim: int

    def __init__(
        self,
        files: Sequence[Path],
        size: tuple[int, int] | None = None,
        crop: bool = False,
        problems: Sequence[str] = (),
    ):
        problems, shapes = list(problems), {}
        for file in files:
            try:
                shapes[file] = size_of(file)
            except DataError as error:
                problems.append(str(error))
        if size is None and len(set(shapes.values())) > 1:
            problems.append(_different(shapes))
        refuse(problems)
        if size is not None and not crop:
            say_squashed(shapes, size)
        self.files, self.size, self.crop = list(files), size or next(iter(shapes.values())), crop
        self.shape, self.dtype, self.ndim = (len(self.files), 3, *self.size), np.dtype(np.uint8), 4

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> np.ndarray:
        chosen = np.arange(len(self.files))[index]
        out = np.empty((*chosen.shape, *self.shape[1:]), np.uint8)
        for place, i in np.ndenumerate(chosen):
            image = fit(picture(self.files[i]), self.size, self.crop)
            out[place] = image if image.ndim == 2 else image.transpose(2, 0, 1)
        return out


def refuse(problems: Sequence[str]) -> None:
    """One DataError for all problems, if there are any."""
    if len(problems) == 1:
        raise DataError(f"data.load: {problems[0].removeprefix('data.load: ')}")
    if problems:
        lines = [f"\n    {text.removeprefix('data.load: ')}" for text in problems[:NAMED]]
        more = f"\n    and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise DataError(f"data.load: {len(problems)} things stand in the way:{''.join(lines)}{more}")


def _different(shapes: dict[Path, tuple[int, int]]) -> str:
    """The sizes that there are, with an example of each."""
    counts = Counter(shapes.values())
    example = {shape: file for file, shape in reversed(shapes.items())}
    named = [f"{n} as {example[h, w]}, which is {h}×{w}" for (h, w), n in counts.most_common(3)]
    least = min(min(shape) for shape in counts)
    return (
        f"the pictures are of {len(counts)} different sizes: {', '.join(named)}{' ...' * (len(counts) > 3)} (height × width); "
        f"say which you want, for instance size={least}, on the command line --size {least}"
    )


def say_squashed(shapes: dict[Path, tuple[int, int]], size: tuple[int, int]) -> None:
    """A warning if pictures do not keep the ratio of their sides, unless the size's own sides differ: then it was asked for."""
    other = [file for file, (h, w) in shapes.items() if abs(h - w) > 0.02 * max(h, w)]
    if other and size[0] == size[1]:
        h, w = shapes[other[0]]
        warn(
            f"data.load: {len(other)} of {len(shapes)} are not square, as {other[0].name}, {h}×{w}, and are squashed to "
            f"{size[0]}×{size[1]}; crop=True, on the command line --crop, takes the square in the middle"
        )
