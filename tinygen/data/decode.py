"""One picture of a file as bytes, by Pillow, and at another size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinygen.data.files import DataError, looks_like
from tinygen.regular import open_regular

FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k"),
    "AVIF": (".avif",),
    "QOI": (".qoi",),
}
"""What Pillow reads by itself; others, such as .eps, it gives to other programs."""
SUFFIXES: dict[str, str] = {suffix: kind for kind, suffixes in FORMATS.items() for suffix in suffixes}
MAX_PIXELS = 2**26
"""A picture that declares more than 67 million pixels is refused before it is decoded."""
_STARTS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")


def looks_like_a_picture(file: Path) -> bool:
    """Whether a file whose name does not say so begins as a picture does."""
    if file.suffix and not file.suffix[1:].isdigit():  # named as something else
        return False
    try:
        with open_regular(file) as (stream, _):
            start = stream.read(16)
    except OSError:
        return False
    return start.startswith(_STARTS) or start[:4] == b"RIFF" and start[8:12] == b"WEBP"


def picture(file: Path) -> np.ndarray:
    """One picture: (H, W) if it is saved as grey, else (H, W, 3); uint8.

    Raises DataError, naming the file, for what is not a readable picture, and for one of more than MAX_PIXELS.
    """
    pixels = _opened(file, _pixels)
    if 0 in pixels.shape:
        raise DataError(f"data.load: {file}: a picture without a pixel; remove it")
    return pixels


def grey_if_it_is(pixels: np.ndarray) -> np.ndarray:
    """A picture whose three colours are the same everywhere as (H, W), any other as it is."""
    return pixels[..., 0] if pixels.ndim == 3 and (pixels == pixels[..., :1]).all() else pixels


def size_of(file: Path) -> tuple[int, int]:
    """(height, width) of a picture as `picture` gives it, without decoding it.  Raises what that raises."""

    def turned(image: Any) -> tuple[int, int]:
        return image.size if _turn(image) in (5, 6, 7, 8) else image.size[::-1]

    return _opened(file, turned)


def _turn(image: Any) -> int:
    """The camera's note on how it was held, 1 ... 8; 1 is upright.  Of a PNG, Pillow would decode it all to look for one."""
    return 1 if image.format == "PNG" and "exif" not in image.info else image.getexif().get(0x0112, 1)


class _Within:
    """A file of which no more is read than there is: asked for the 4 GB that a chunk declares, a plain one makes room for them first."""

    def __init__(self, stream: BinaryIO, size: int):
        self._stream, self._size = stream, size

    def read(self, n: int | None = -1) -> bytes:
        left = max(0, self._size - self._stream.tell())
        return self._stream.read(left if n is None or n < 0 else min(n, left))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _opened(file: Path, use: Any) -> Any:
    Image = pillow()
    Image.init()
    formats = [kind for kind in FORMATS if kind in Image.OPEN]  # those of this Pillow
    try:
        with (
            open_regular(file, "data.load") as (stream, size),
            Image.open(_Within(stream, size), formats=formats) as image,
        ):
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"data.load: {file}: it declares {image.height}×{image.width} pixels; refused above {MAX_PIXELS}; "
                    "make it smaller, or remove it"
                )
            return use(image)
    except (DataError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        with open_regular(file, "data.load") as (stream, _):
            kind = looks_like(stream.read(64))
        named = SUFFIXES.get(file.suffix.lower(), "picture")
        if kind.endswith(f"{named} image") or kind.startswith("an unknown file"):
            kind += f" that is damaged or cut off ({type(error).__name__}: {str(error)[:200]})"
        raise DataError(f"data.load: {file}: no readable picture: it is {kind}; repair it, or remove it") from None


def _pixels(image: Any) -> np.ndarray:
    from PIL import Image, ImageOps

    turn = _turn(image)
    deep = _sixteen_bits(image)
    if deep is not None:
        pixels = _to_bytes(deep, image.info.get("transparency"))
        pixels = pixels[:, ::-1] if turn in (2, 3, 7, 8) else pixels
        pixels = pixels[::-1] if turn in (3, 4, 6, 7) else pixels
        return pixels.swapaxes(0, 1) if turn in (5, 6, 7, 8) else pixels
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _sixteen_bits(image: Any) -> np.ndarray | None:
    """The numbers of a picture of 16 bits, (H, W) or (H, W, channels), 0 ... 65535; None if it has 8, or cannot be had so.

    Pillow keeps 16 bits of grey.  Of colours it keeps the first byte and drops the second; told that the bytes come in the other
    order, it keeps that one.  Grey with transparency are four bytes, as those of a pixel of four channels.
    """
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int64).clip(0, 65535).astype(np.uint16)
    tiles = list(image.tile)
    raws = {tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in tiles if tile[3]}
    if image.format not in ("PNG", "TIFF") or len(raws) != 1 or ";16" not in (raw := raws.pop()):
        return None
    swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    stream = image.fp

    def read(mode: str, raw: str) -> np.ndarray:
        from PIL import Image

        stream.seek(0)
        with Image.open(stream, formats=[image.format]) as again:
            again._mode = mode
            again.tile = [
                tile[:3] + ((raw,) if isinstance(tile[3], str) else ((raw, *tile[3][1:]),)) for tile in again.tile
            ]
            return np.asarray(again).copy()

    try:
        if raw == "LA;16B":
            bytes_ = read("RGBA", "RGBA").astype(np.uint16)
            return bytes_[..., 0::2] << 8 | bytes_[..., 1::2]
        high, low = read(image.mode, raw), read(image.mode, raw[:-1] + swapped[raw[-1]])
        return high.astype(np.uint16) << 8 | low
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):  # another Pillow; its own way is close to it
        return None


def _to_bytes(deep: np.ndarray, transparent: Any = None) -> np.ndarray:
    """16 bits rounded to 8: k of 65535 is k/257 of 255; transparency lies over white.

    deep: (H, W) or (H, W, channels), the last of two or four being opacity.  transparent: the one colour that is none.
    """
    channels = 1 if deep.ndim == 2 else deep.shape[2]
    if channels in (2, 4):
        alpha = deep[..., -1:].astype(np.float32) / np.float32(65535)
        deep = deep[..., 0] if channels == 2 else deep[..., :3]
        alpha = alpha[..., 0] if channels == 2 else alpha
        white = np.round(deep * alpha + np.float32(65535) * (1 - alpha))
        deep = white.astype(np.uint16)
    elif transparent is not None and not isinstance(transparent, bytes):
        gone = deep == np.asarray(transparent, np.int64)
        gone = gone if deep.ndim == 2 else gone.all(-1, keepdims=True)
        deep = np.where(gone, np.uint16(65535), deep)
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)


def fit(image: np.ndarray, size: tuple[int, int], crop: bool = False) -> np.ndarray:
    """One picture (H, W) or (H, W, 3), uint8, at another size, (H, W).

    crop: first the largest part in the middle is cut out that has the ratio of its sides; else that of the picture is not kept.
    Smaller: each pixel is the mean of the area that it covers; larger in either direction: linear between pixels.
    """
    if crop:
        (h, w), (height, width) = image.shape[:2], size
        rows, columns = min(h, max(1, round(w * height / width))), min(w, max(1, round(h * width / height)))
        top, left = (h - rows) // 2, (w - columns) // 2
        image = image[top : top + rows, left : left + columns]
    return resize(image, size)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`fit` without crop."""
    if image.shape[:2] == size:
        return image
    Image = pillow()
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((size[1], size[0]), how))


def pillow() -> Any:
    """PIL.Image.  Raises ImportError that says what to install."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("data.load: pictures are read and resized by Pillow: pip install pillow") from None
    return Image
