"""Folders of pictures: read exactly, resized by the mean over areas; a bad picture is refused by name."""

import re
import struct
import sys
import tracemalloc
import zlib
from contextlib import suppress

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
    np.testing.assert_array_equal(folder.picture(file), array)
    is_grey = array.ndim == 2 or (array == array[..., :1]).all()
    grey = array if array.ndim == 2 else array[..., 0]
    np.testing.assert_array_equal(folder.read([file])[0], grey if is_grey else array.transpose(2, 0, 1))


def test_jpg_and_gif(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8) * 3
    found = folder.picture(save(tmp_path / "a.jpg", smooth, quality=95))
    assert np.abs(found.astype(int) - smooth).max() <= 4, "JPEG's rounding of a smooth picture"
    first, second = Image.fromarray(smooth), Image.fromarray(255 - smooth)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(folder.read([tmp_path / "a.gif"])[0], smooth)


def test_kinds_of_pixels(tmp_path):
    grey = noise(3, 4)
    for mode in ("1", "P", "RGB", "CMYK"):
        file = tmp_path / (f"{mode}.jpg" if mode == "CMYK" else f"{mode}.png")
        Image.new("L", (4, 3), 255).convert(mode).save(file)
        assert (folder.read([file]) == 255).all() and folder.read([file]).shape == (1, 3, 4), mode
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
    with pytest.raises(
        DataError, match=r"2 different sizes: .*a.png, which is 6×4, .*b.png, which is 5×8 .*size=4, .*--size 4"
    ):
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
    (tmp_path / "sub" / "c.heic").write_bytes(b"ftyp")
    with pytest.raises(DataError, match=r"c\.heic: pictures are read from .*convert it"):
        data.load(tmp_path)


@given(n=st.integers(2, 6), colour=st.booleans(), side=st.integers(1, 12), size=st.none() | st.integers(1, 12))
def test_the_limit_counts_what_all_pictures_take_as_float32(tmp_path_factory, n, colour, side, size):
    root = tmp_path_factory.mktemp("limit")
    for i in range(n):
        save(root / f"{i}.png", noise(side, side, 3, seed=i) if colour else noise(side, side, seed=i))
    channels = 3 if colour and any((folder.picture(f).ndim == 3) for f in root.iterdir()) else 1
    needed = 4 * n * channels * (side if size is None else size) ** 2
    parts = data.load(root, size, max_bytes=needed)
    assert sum(part.images.nbytes for part in parts) == needed
    with pytest.raises(DataError, match=rf"{n} pictures like .*smaller size=.*refused above max_bytes={needed - 1}"):
        data.load(root, size, max_bytes=needed - 1)


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


WITHOUT_LOSS = [".png", ".bmp", ".tif", ".tiff", ".ppm", ".webp", ".jp2"]


@pytest.mark.parametrize("suffix", [*WITHOUT_LOSS, ".gif", ".jpeg", ".jfif", ".avif"])
def test_what_pillow_reads_is_read(tmp_path, suffix):
    from PIL import features

    if suffix in (".webp", ".avif", ".jp2") and not features.check(suffix[1:] if suffix != ".jp2" else "jpg_2000"):
        pytest.skip(f"this Pillow has no {suffix}")
    smooth = 3 * np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    for i in range(2):
        if suffix == ".ppm":
            Image.fromarray(smooth).convert("RGB").save(tmp_path / f"{i}.ppm")
        else:
            options = (
                {"lossless": True} if suffix == ".webp" else {"quality": 95} if suffix in (".avif", ".jpeg") else {}
            )
            save(tmp_path / f"{i}{suffix}", smooth, **options)
    train, _ = data.load(tmp_path)
    assert train.image_shape == (32, 32)
    assert np.abs(255 * train.images[0] - smooth).max() <= (1e-4 if suffix in WITHOUT_LOSS else 6)


def png16(kind, values, transparent=None):
    """A PNG of 16 bits.  kind: 0 grey, 2 RGB, 4 grey with opacity, 6 RGB with opacity; values: (H, W, channels)."""
    chunk = lambda name, body: struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    h, w, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    gone = b"" if transparent is None else chunk(b"tRNS", np.asarray(transparent, ">u2").tobytes())
    head = struct.pack(">IIBBBBB", w, h, 16, kind, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + gone + body + chunk(b"IEND", b"")


@given(
    kind=st.sampled_from([(0, 1), (2, 3), (4, 2), (6, 4)]),
    seed=st.integers(0, 2**32 - 1),
    few=st.booleans(),
    hole=st.booleans(),
)
def test_sixteen_bits_are_rounded_and_lie_over_white(tmp_path_factory, kind, seed, few, hole):
    """k of 65535 is the nearest of 0 ... 255; opacity a is a k + (1 - a) white; the colour that is called transparent is white."""
    code, channels = kind
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2 if few else 65536, (5, 4, channels)) * (65535 if few else 1)
    hole = hole and channels in (1, 3)
    file = tmp_path_factory.getbasetemp() / "sixteen.png"
    file.write_bytes(png16(code, values, values[0, 0] if hole else None))
    exact = values.astype(float)
    if channels in (2, 4):
        alpha = exact[..., -1:] / 65535
        exact = exact[..., :-1] * alpha + 65535 * (1 - alpha)
    if hole:
        exact[(values == values[0, 0]).all(-1)] = 65535
    found = folder.picture(file).astype(float)
    found = found if found.ndim == 3 else found[..., None]
    assert np.abs(found - exact / 257).max() <= (
        0.5 if channels in (1, 3) else 0.5 + 1 / 257
    )  # opacity rounds once more


@pytest.mark.parametrize("turn", range(1, 9))
def test_sixteen_bits_are_turned_as_eight_are(tmp_path, turn):
    array = noise(3, 5)
    exif = Image.Exif()
    exif[0x0112] = turn
    eight = folder.picture(save(tmp_path / "eight.png", array, exif=exif))
    deep = Image.fromarray(array.astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png", exif=exif)
    np.testing.assert_array_equal(folder.picture(tmp_path / "deep.png"), eight)


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    save(tmp_path / "a.png", noise(4, 4)), save(tmp_path / "b.png", noise(4, 5))
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.jpg").write_bytes(b"hello")
    (tmp_path / "e.psd").write_bytes(b"8BPS")
    save(tmp_path / "class" / "f.png", noise(4, 4)), save(tmp_path / "class" / "deep" / "g.png", noise(4, 4))
    with pytest.raises(DataError) as error:
        data.load(tmp_path)
    text = str(error.value)
    expected = (
        r"6 things stand in the way",
        r"e\.psd: pictures are read from",
        r"deep: a folder of pictures inside the class 'class'; move them up \(1 pictures\)",
        r"pictures beside folders of pictures \(a\.png, class/\)",
        r"c\.png: .* an empty file",
        r"d\.jpg: .* it is text",
        r"2 different sizes",
    )
    for what in expected:
        assert re.search(what, text), what


@given(n=st.integers(2, 5), named=st.integers(0, 5))
def test_every_picture_is_used_whatever_it_is_called(tmp_path_factory, n, named):
    """By its name, or, without an ending, by how it begins; what a folder holds besides is not a picture."""
    root = tmp_path_factory.mktemp("names")
    for i in range(n):
        file = save(root / f"{i}.png", np.full((2, 2), i))
        if i < named:
            file.rename(root / f"picture {i}")
    (root / "notes").write_text("hello")
    (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    parts = data.load(root)
    assert sorted(round(255 * float(x)) for part in parts for x in part.images[:, 0, 0]) == list(range(n))


def test_links_that_lead_back_end(tmp_path):
    for i in range(2):
        save(tmp_path / "a" / f"{i}.png", noise(2, 2))
    for name in ("one", "two"):
        (tmp_path / "a" / name).symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "back").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(DataError, match="inside the class"):  # as the files lie there; and soon
        data.load(tmp_path)


@given(
    h=st.integers(1, 12), w=st.integers(1, 12), height=st.integers(1, 8), width=st.integers(1, 8), colour=st.booleans()
)
def test_a_crop_is_the_middle_of_the_picture_with_the_ratio_of_the_size(h, w, height, width, colour):
    """Whatever grows to the right grows to the left; and what is cut is all there is in one direction."""
    from tinygen.data.decode import fit

    rows, columns = np.indices((h, w))
    image = np.stack([10 * rows, 10 * columns, 10 * columns], -1).astype(np.uint8)
    image = image if colour else image[..., 0]
    found = fit(image, (height, width), crop=True)
    assert found.shape[:2] == (height, width)
    scale = min(h / height, w / width)
    cut = [max(1, round(scale * n)) for n in (height, width)]
    assert min(h - cut[0], w - cut[1]) == 0, "one side is whole"
    top, left = (h - cut[0]) // 2, (w - cut[1]) // 2
    np.testing.assert_array_equal(found, fit(image[top : top + cut[0], left : left + cut[1]], (height, width)))


def test_pictures_are_not_squashed_without_a_word(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", np.repeat(np.array([[0] * 2 + [9] * 4 + [0] * 2], np.uint8), 4, axis=0))
    with pytest.warns(UserWarning, match=r"3 of 3 are not square, as 0\.png, 4×8, .*crop=True, .* --crop"):
        squashed, _ = data.load(tmp_path, size=4)
    assert squashed.images[0].min() == 0
    cropped, _ = data.load(tmp_path, size=4, crop=True)
    assert (np.round(255 * cropped.images) == 9).all()
    data.load(tmp_path, size=(4, 2))  # taken at its word
    with pytest.raises(ValueError, match="crop=True cuts images to the ratio of a size; say which"):
        data.load(tmp_path, crop=True)
    np.save(tmp_path / "x.npy", np.zeros((3, 4, 8), np.uint8))
    with pytest.warns(UserWarning, match=r"as x train, 4×8, .* --crop"):
        data.load(tmp_path / "x.npy", size=4)
    data.load(tmp_path / "x.npy", size=4, crop=True)


def test_no_room_is_made_for_what_a_chunk_declares(tmp_path):
    """The pixels of a small PNG, said to be 2 GB; they are all there, so it may be read or refused."""
    assert PNG[37:41] == b"IDAT"
    (tmp_path / "a.png").write_bytes(PNG[:33] + b"\x7f\xff\xff\xff" + PNG[37:])
    folder.pillow()
    tracemalloc.start()
    try:
        with suppress(DataError):
            folder.picture(tmp_path / "a.png")
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
