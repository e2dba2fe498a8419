"""NumPy's files come back as they were written, or are refused by name: never unpickled, nothing allocated on their word."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen.data import DataError, files, read_npy, read_npz

arrays = hnp.arrays(
    st.sampled_from(["?", "u1", "<u2", ">i4", "<i8", "<f2", "<f4", ">f4", "<f8"]).map(np.dtype),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "mine"


def npy_bytes(array, version=None, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version, **options)
    return stream.getvalue()


def npz_bytes(compression=zipfile.ZIP_STORED, **members):
    """An archive with members of any bytes, whose checksums are right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name + ".npy", content)
    return stream.getvalue()


@given(array=arrays, turned=st.booleans(), version=st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_npy_comes_back(file, array, turned, version):
    array = array.T if turned else array  # in Fortran's order
    file.write_bytes(npy_bytes(array, version))
    found = read_npy(file)
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@given(array=arrays, other=arrays, save=st.sampled_from([np.savez, np.savez_compressed]))
def test_npz_comes_back(file, array, other, save):
    with file.open("wb") as stream:
        save(stream, images=array, labels=other)
    assert list(files.npz_sizes(file)) == ["images", "labels"]
    np.testing.assert_array_equal(read_npz(file, "images"), array)
    np.testing.assert_array_equal(read_npz(file, "labels"), other)


@given(array=arrays, data=st.data())
def test_truncated_files_are_refused(file, array, data):
    for content, read in (
        (npy_bytes(array), read_npy),
        (npz_bytes(images=npy_bytes(array)), lambda f: read_npz(f, "images")),
    ):
        file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(DataError, match="mine"):
            read(file)


@given(data=st.data())
def test_a_flipped_bit_in_the_numbers_of_an_npz_is_noticed(file, data):
    array = np.arange(40, dtype=np.uint8)
    content = bytearray(npz_bytes(images=npy_bytes(array)))
    start = content.index(array.tobytes())
    content[start + data.draw(st.integers(0, 39))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"mine.*CRC"):
        read_npz(file, "images")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"1 2 3\n", "text"),
        (pickle.dumps({"a": 1}), "a Python pickle"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\x1f\x8b\x08\0", "a gzip file"),
        (b"\xfe\xed\0\0", r"an unknown .*\[fe ed 00 00\]"),
    ],
)
def test_files_of_other_kinds_are_named(file, content, what):
    file.write_bytes(content)
    for read in (read_npy, lambda f: read_npz(f, "images")):
        with pytest.raises(DataError, match=f"mine: not an .np[yz] file: it is {what}"):
            read(file)


class Bomb:
    """Writes down that it was unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return open, (str(self.witness), "w")


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_nothing_is_ever_unpickled(file, tmp_path, kind):
    content = npy_bytes(np.array([Bomb(tmp_path / "ran")], object))
    file.write_bytes(content if kind == "npy" else npz_bytes(images=content))
    with pytest.raises(DataError, match=r"mine.*Python objects.*save plain numbers"):
        read_npy(file) if kind == "npy" else read_npz(file, "images")
    assert not (tmp_path / "ran").exists()


def header(text, version=1, length=None):
    raw = text.encode()
    size = struct.pack("<H" if version == 1 else "<I", len(raw) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw


ABSURD = {
    "huge": header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000), }"),
    "overflowing": header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2), }"),
    "many digits": header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({'9' * 3000},), }}"),
    "a little more": header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000,), }") + b"abc",
    "long header": header("{", 2, 2**32 - 1),
    "deep header": header("{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 3000 + ")" * 3000 + "}"),
    "code": header("{'descr': '<f8', 'fortran_order': False, 'shape': (print(1),), }"),
    "twice": header("{'descr': '<f8', 'descr': '<f8', 'shape': (), }") + bytes(8),
    "records": header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }") + bytes(8),
    "texts": npy_bytes(np.array(["a", "b"])),
    "dates": npy_bytes(np.array(["2020-01-01"], "M8[D]")),
    "no such dtype": header("{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }") + bytes(3),
    "dimensions": header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({'1, ' * 100}), }}") + b"a",
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_absurd_headers_are_refused_without_allocating(file, name, kind):
    file.write_bytes(ABSURD[name] if kind == "npy" else npz_bytes(images=ABSURD[name]))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="mine"):
            read_npy(file) if kind == "npy" else read_npz(file, "images")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_refused_by_what_it_declares(file, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 2**20)
    content = npy_bytes(np.zeros(2**24, np.uint8))
    file.write_bytes(npz_bytes(zipfile.ZIP_DEFLATED, images=content))
    assert file.stat().st_size < 2**15
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="refused above"):
            read_npz(file, "images")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_archive_that_declares_less_than_it_holds_is_refused(file):
    """The size stands in the directory at the end; the numbers go on longer than that."""
    content = npz_bytes(zipfile.ZIP_DEFLATED, images=npy_bytes(np.zeros(2**20, np.uint8)))
    size = struct.pack("<I", 128 + 2**20)
    assert content.count(size) == 2
    file.write_bytes(content.replace(size, struct.pack("<I", 128 + 4)))
    with pytest.raises(DataError, match="mine"):
        read_npz(file, "images")


@pytest.mark.parametrize("name", ["../images", "/etc/images", "a/../../images", "c:\\images", "..\\images"])
def test_names_that_lead_out_of_the_folder_are_refused(file, name):
    file.write_bytes(npz_bytes(**{name: npy_bytes(np.zeros(1)), "images": npy_bytes(np.zeros(1))}))
    with pytest.raises(DataError, match="leads out of a folder"):
        read_npz(file, "images")


def test_other_ways_to_compress_encryption_and_absent_names_are_refused(file):
    good = npy_bytes(np.zeros(3))
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file.write_bytes(npz_bytes(method, images=good))
        with pytest.raises(DataError, match=r"otherwise than NumPy does"):
            read_npz(file, "images")
    encrypted = bytearray(npz_bytes(images=good))
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    file.write_bytes(encrypted)
    with pytest.raises(DataError, match="encrypted"):
        read_npz(file, "images")
    file.write_bytes(npz_bytes(other=good))
    with pytest.raises(DataError, match=r"no array 'images' in it, only 'other'"):
        read_npz(file, "images")
    with pytest.warns(UserWarning, match="Duplicate name"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("images.npy", good)
            archive.writestr("images.npy", good)
    file.write_bytes(stream.getvalue())
    with pytest.raises(DataError, match="two arrays of the name 'images'"):
        read_npz(file, "images")


def test_no_file_at_all(tmp_path):
    for read in (read_npy, lambda f: read_npz(f, "images")):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "absent")
