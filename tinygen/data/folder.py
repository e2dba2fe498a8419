"""A folder of pictures as arrays: png, jpg, gif (the first frame) and bmp, by Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.data.files import MAX_BYTES, DataError, looks_like

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".gif": "GIF", ".bmp": "BMP"}
OTHER_SUFFIXES = {".webp", ".tif", ".tiff", ".heic", ".avif", ".jp2", ".psd", ".svg"}
"""Pictures too; to leave them out without a word would be wrong."""
MAX_PIXELS = 2**26
"""A picture that declares more than 67 million pixels is refused before it is decoded."""


@dataclass
class Found:
    """The files of a folder, in the order of their names."""

    files: list[Path]
    labels: list[int] | None
    """The number of each file's class: the place of its folder's name among the sorted names."""


def find(folder: Path) -> Found:
    """The pictures in a folder, or in its subfolders, which are the classes.  Names that begin with a point are left out.

    Raises DataError if there is none, if there are pictures beside subfolders with pictures, or of other formats.
    """
    here, below = _pictures(folder), {sub: _pictures(sub) for sub in subfolders(folder)}
    for sub in below:
        if deeper := next((each for each in _below(sub) if _pictures(each)), None):
            raise DataError(f"data.load: {deeper}: a folder of pictures inside the class {sub.name!r}; move them up")
    classes = [(sub, files) for sub, files in below.items() if files]
    if here and classes:
        raise DataError(
            f"data.load: {folder}: pictures beside folders of pictures ({here[0].name}, {classes[0][0].name}/); "
            "put each of them into the folder of its class, or all into one folder"
        )
    if here:
        return Found(here, None)
    if not classes:
        raise DataError(
            f"data.load: {folder}: no picture in it; {', '.join(SUFFIXES)} are read, in the folder or in one subfolder per class"
        )
    files = [file for _, files in classes for file in files]
    return Found(files, [label for label, (_, files) in enumerate(classes) for _ in files])


def has_pictures(folder: Path) -> bool:
    """Whether there is one in it, at any depth."""
    return bool(_pictures(folder)) or any(map(has_pictures, subfolders(folder)))


def _below(folder: Path) -> Iterator[Path]:
    """All folders in it, at any depth."""
    for sub in subfolders(folder):
        yield sub
        yield from _below(sub)


def subfolders(folder: Path) -> list[Path]:
    """Those that count: not the hidden ones, nor what a Mac packs beside them."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))


def _pictures(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    if other := [p for p in files if p.suffix.lower() in OTHER_SUFFIXES]:
        raise DataError(
            f"data.load: {other[0]}: pictures are read from {', '.join(SUFFIXES)}; convert it, or move it away"
        )
    return [p for p in files if p.suffix.lower() in SUFFIXES]


def read(files: Sequence[Path], size: tuple[int, int] | None = None) -> np.ndarray:
    """Pictures of one size, or brought to `size` = (H, W): (N, H, W) if all are grey, else (N, 3, H, W); uint8.

    Grey is a picture whose three colours are the same everywhere, however it was saved.  A camera's note on how it was held
    is obeyed, transparency is laid over white, 16 bits are rounded to 8.

    Raises DataError that names the file when it is not a readable picture, or larger than MAX_PIXELS; when the sizes
    differ, naming two; and for more than MAX_BYTES in all.
    """
    found: list[np.ndarray] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on what it could put right
        for file in files:
            image = picture(file)
            if size is not None:
                image = resize(image, size)
            elif found and image.shape[:2] != found[0].shape[:2]:
                (h, w), (h0, w0) = image.shape[:2], found[0].shape[:2]
                raise DataError(
                    f"data.load: the pictures are of different sizes: {files[0]} is {h0}×{w0} and {file} is {h}×{w} (height × "
                    f"width); say which you want, for instance size=({min(h, h0)}, {min(w, w0)})"
                )
            found.append(image)
            if 3 * image.shape[0] * image.shape[1] * len(found) > MAX_BYTES:
                raise DataError(
                    f"data.load: {file.parent}: {len(files)} pictures like {file.name}, {image.shape[0]}×{image.shape[1]}, are "
                    f"more than {MAX_BYTES} bytes; ask for a smaller size="
                )
    if any(image.ndim == 3 for image in found):
        images = np.stack([np.broadcast_to(i[..., None], (*i.shape, 3)) if i.ndim == 2 else i for i in found])
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return np.stack(found)


def picture(file: Path) -> np.ndarray:
    """One picture: (H, W) if it is grey, else (H, W, 3); uint8."""
    Image = pillow()
    from PIL import ImageOps

    try:
        with Image.open(file, formats=sorted(set(SUFFIXES.values()))) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"data.load: {file}: it declares {image.height}×{image.width} pixels; refused above {MAX_PIXELS}; "
                    "make it smaller, or remove it"
                )
            pixels = _pixels(ImageOps.exif_transpose(image), Image)
    except (DataError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        with file.open("rb") as stream:
            kind = looks_like(stream.read(64))
        if kind.endswith(f"{SUFFIXES[file.suffix.lower()]} image"):
            kind += f" that is damaged or cut off ({type(error).__name__}: {error})"
        raise DataError(f"data.load: {file}: no readable picture: it is {kind}; repair it, or remove it") from None
    if 0 in pixels.shape:
        raise DataError(f"data.load: {file}: a picture without a pixel; remove it")
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    return pixels


def _pixels(image: Any, Image: Any) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would cut off, not scale
        return np.round(np.asarray(image).astype(np.float64).clip(0, 65535) / 257).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One picture (H, W) or (H, W, 3), uint8, at another size; the ratio of its sides is not kept.

    Smaller: each pixel is the mean of the area that it covers; larger in either direction: linear between pixels.
    """
    if image.shape[:2] == size:
        return image
    Image = pillow()
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), how))


def pillow() -> Any:
    """PIL.Image.  Raises ImportError that says what to install."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("data.load: pictures are read and resized by Pillow: pip install pillow") from None
    return Image
