"""Folders of pictures: read exactly, resized by the mean over areas; a bad picture is refused by name."""

import re
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen import data
from tinygen.data import DataError, folder

Image = pytest.importorskip("PIL.Image")

bytes_of = lambda *shape: hnp.arrays(np.uint8, shape)


def save(file, array, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(file, **options)
    return file


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@given(array=bytes_of(4, 5) | bytes_of(4, 5, 3), suffix=st.sampled_from([".png", ".bmp", ".PNG"]))
def test_pictures_without_loss_come_back(tmp_path_factory, array, suffix):
    file = save(tmp_path_factory.getbasetemp() / f"picture{suffix}", array)
    found = folder.picture(file)
    if array.ndim == 3 and not (array == array[..., :1]).all():
        np.testing.assert_array_equal(found, array)
    else:
        np.testing.assert_array_equal(found, array if array.ndim == 2 else array[..., 0])


def test_jpg_and_gif(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8) * 3
    found = folder.picture(save(tmp_path / "a.jpg", smooth, quality=95))
    assert np.abs(found.astype(int) - smooth).max() <= 4, "JPEG's rounding of a smooth picture"
    first, second = Image.fromarray(smooth), Image.fromarray(255 - smooth)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(folder.picture(tmp_path / "a.gif"), smooth)


def test_kinds_of_pixels(tmp_path):
    grey = noise(3, 4)
    for mode in ("1", "P", "RGB", "CMYK"):
        file = tmp_path / (f"{mode}.jpg" if mode == "CMYK" else f"{mode}.png")
        Image.new("L", (4, 3), 255).convert(mode).save(file)
        assert (folder.picture(file) == 255).all() and folder.picture(file).shape == (3, 4), mode
    deep = tmp_path / "deep.png"
    Image.fromarray(grey.astype(np.uint16) * 257).save(deep)  # 16 bits: 255 -> 65535
    np.testing.assert_array_equal(folder.picture(deep), grey)
    alpha = np.stack([grey, grey, grey, np.zeros_like(grey)], -1)  # nothing can be seen of it
    assert (folder.picture(save(tmp_path / "alpha.png", alpha)) == 255).all(), "white lies behind"


def test_the_cameras_note_on_how_it_was_held_is_obeyed(tmp_path):
    array = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    np.testing.assert_array_equal(folder.picture(save(tmp_path / "a.png", array, exif=exif)), np.rot90(array, -1))


@given(array=bytes_of(6, 8) | bytes_of(6, 8, 3))
def test_smaller_is_the_mean_of_areas(array):
    found = folder.resize(array, (3, 2))
    blocks = array.reshape(3, 2, 2, 4, *array.shape[2:]).mean((1, 3))
    # Pillow rounds after the rows and after the columns: half a level each.
    assert np.abs(found - blocks).max() <= 1 + 1e-9


@given(value=st.integers(0, 255), h=st.integers(1, 9), w=st.integers(1, 9))
def test_one_colour_stays_at_any_size(value, h, w):
    assert (folder.resize(np.full((4, 5), value, np.uint8), (h, w)) == value).all()
    assert folder.resize(np.full((4, 5, 3), value, np.uint8), (h, w)).shape == (h, w, 3)


def test_a_folder_of_classes(tmp_path):
    for i, name in enumerate(("cats", "dogs", "dogs", "dogs")):
        save(tmp_path / name / f"{i}.png", np.full((4, 4), 10 * i))
    (tmp_path / "cats" / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty").mkdir()
    train, test = data.load(tmp_path, test=0.25)
    values = np.concatenate([train.images, test.images])[:, 0, 0] * 255
    labels = np.concatenate([train.labels, test.labels])
    assert {(round(float(v)), int(k)) for v, k in zip(values, labels, strict=True)} == {
        (0, 0),
        (10, 1),
        (20, 1),
        (30, 1),
    }
    assert len(test) == 1 and "2 classes" in repr(train) or "1 classes" in repr(train)


def test_grey_if_all_are_grey(tmp_path):
    grey = noise(5, 4, 4)
    for i, g in enumerate(grey):
        save(tmp_path / f"{i}.png", np.stack([g] * 3, -1) if i % 2 else g)
    train, test = data.load(tmp_path)
    assert train.image_shape == (4, 4) and train.labels is None and len(train) == 4 and len(test) == 1
    save(tmp_path / "colour.png", noise(4, 4, 3))
    train, test = data.load(tmp_path)
    assert train.images.shape == (5, 3, 4, 4) and train.flat.shape == (5, 48)
    assert data.load(tmp_path, grey=True)[0].image_shape == (4, 4)
    assert data.load(tmp_path, size=(2, 3))[0].image_shape == (3, 2, 3)


def test_the_colours_go_where_they_belong(tmp_path):
    array = noise(4, 5, 3)
    for i in range(2):
        save(tmp_path / f"{i}.png", array)
    train, _ = data.load(tmp_path)
    np.testing.assert_array_equal(np.round(255 * train.images[0]), array.transpose(2, 0, 1))
    luminance = 255 * data.load(tmp_path, grey=True)[0].images[0]
    assert np.abs(luminance - array @ np.array([0.299, 0.587, 0.114])).max() <= 0.5 + 1e-4  # rounded to bytes


def test_train_and_test_folders_are_the_split(tmp_path):
    for part, n in (("train", 3), ("test", 2)):
        for i in range(n):
            save(tmp_path / part / f"class{i % 2}" / f"{i}.png", np.full((4, 4), 100 * (part == "test") + i))
    train, test = data.load(tmp_path)
    assert (len(train), len(test)) == (3, 2) and test.images.min() * 255 == 100
    assert train.labels.tolist() == [0, 0, 1]
    save(tmp_path / "train" / "class2" / "0.png", noise(4, 4))
    with pytest.raises(DataError, match=r"different subfolders, .*class2.*the same classes"):
        data.load(tmp_path)


def test_sizes_that_differ_are_an_error_that_says_what_to_do(tmp_path):
    save(tmp_path / "a.png", noise(6, 4)), save(tmp_path / "b.png", noise(5, 8))
    with pytest.raises(DataError, match=r"a.png is 6×4 and .*b.png is 5×8 .*size=\(5, 4\)"):
        data.load(tmp_path)
    assert data.load(tmp_path, size=(5, 4))[0].image_shape == (5, 4)


PNG = (lambda stream: Image.fromarray(noise(9, 9)).save(stream, "png") or stream.getvalue())(__import__("io").BytesIO())


def png_of(width, height, numbers=b""):
    """A PNG whose header declares so many pixels."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(numbers)) + chunk(b"IEND", b"")


BAD = {
    "empty": (b"", "an empty file"),
    "text renamed": (b"hello, world\n", "it is text"),
    "html": (b"<html>404 not found</html>", "a web page"),
    "npy renamed": (b"\x93NUMPY\1\0", "an .npy file"),
    "cut off": (PNG[:70], "a PNG image that is damaged or cut off"),
    "too little": (png_of(50, 50, b"abc"), "damaged or cut off"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is text"),
    "no pixel": (png_of(0, 0), "."),
    "large": (png_of(8193, 8192), "refused above 67108864"),
    "bomb": (png_of(2**20, 2**20), "bomb"),
    "larger": (png_of(2**31 - 1, 2**31 - 1), "."),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_are_refused_by_name_and_without_allocating(tmp_path, name):
    content, what = BAD[name]
    (tmp_path / "bad.png").write_bytes(content)
    data.folder.pillow()
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=re.escape(str(tmp_path)) + rf"/bad\.png: .*{what}"):
            data.load(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_folders_that_cannot_be_meant(tmp_path):
    with pytest.raises(DataError, match=r"no picture in it; \.png"):
        data.load(tmp_path)
    save(tmp_path / "a.png", noise(4, 4))
    with pytest.raises(DataError, match="1 image is too few"):
        data.load(tmp_path)
    save(tmp_path / "sub" / "b.png", noise(4, 4))
    with pytest.raises(DataError, match=r"pictures beside folders of pictures \(a.png, sub/\)"):
        data.load(tmp_path)
    (tmp_path / "a.png").rename(tmp_path / "sub" / "a.png")
    assert data.load(tmp_path)[0].labels.tolist() == [0]
    save(tmp_path / "sub" / "deeper" / "c.png", noise(4, 4))
    with pytest.raises(DataError, match="inside the class 'sub'"):
        data.load(tmp_path)
    (tmp_path / "sub" / "deeper" / "c.png").unlink()
    (tmp_path / "sub" / "c.webp").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"c\.webp: pictures are read from .*convert it"):
        data.load(tmp_path)


def test_too_many_pixels_in_all_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MAX_BYTES", 1000)
    for i in range(8):
        save(tmp_path / f"{i}.png", noise(8, 8))
    with pytest.raises(DataError, match=r"8 pictures like .*8×8, are more than 1000 bytes; ask for a smaller size="):
        data.load(tmp_path)
    assert data.load(tmp_path, size=4)[0].image_shape == (4, 4)


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    save(tmp_path / "a.png", noise(4, 4))
    monkeypatch.setitem(sys.modules, "PIL", None)  # makes `from PIL import Image` fail
    with pytest.raises(ImportError, match="pip install pillow"):
        data.load(tmp_path)


@given(
    inside=st.sampled_from([("",), ("a", "b"), ("train", "test"), ("train/a", "train/b", "test/a", "test/b")]),
    beside=st.lists(
        st.sampled_from(["__MACOSX", ".git", "__MACOSX/train", ".hidden/a", "empty", "empty/er"]), max_size=3
    ),
    where=st.integers(0, 3),
)
def test_what_is_not_a_picture_of_the_set_changes_nothing(tmp_path_factory, inside, beside, where):
    """Hidden folders, those of a Mac's archive, and empty ones, wherever they are."""
    one, other = tmp_path_factory.mktemp("set"), tmp_path_factory.mktemp("set")
    for root in (one, other):
        for j, sub in enumerate(inside):
            for i in range(3):
                save(root / sub / f"{i}.png", np.full((2, 2), 10 * j + i))
    for sub in beside:
        root = other / inside[where % len(inside)] if where else other
        (root / sub).mkdir(parents=True, exist_ok=True)
        if not sub.startswith("empty"):
            save(root / sub / "x.png", np.zeros((2, 2)))
    for a, b in zip(data.load(one), data.load(other)):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)


@given(depth=st.integers(2, 5), others=st.booleans())
def test_pictures_that_lie_too_deep_are_an_error_at_any_depth(tmp_path_factory, depth, others):
    root = tmp_path_factory.mktemp("deep")
    for i in range(3):
        save(root.joinpath(*"abcdef"[:depth], f"{i}.png"), noise(2, 2))
        if others:
            save(root / "a" / f"{i}.png", noise(2, 2))
    with pytest.raises(DataError, match="a folder of pictures inside the class 'a'; move them up"):
        data.load(root)


@pytest.mark.parametrize("names", [("train", "val"), ("train", "test", "valid"), ("dev", "train", "extra")])
def test_parts_that_are_held_out_are_not_classes(tmp_path, names):
    for name in names:
        save(tmp_path / name / "0.png", noise(2, 2))
    with pytest.raises(DataError, match=f"folders {', '.join(sorted(names))}: .*keep train and test"):
        data.load(tmp_path)
