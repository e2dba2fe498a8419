"""read_idx gives back what was written, and nothing but ValueError for anything else."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen.data import DataError, read_idx
from tinygen.data.idx import DTYPES

arrays = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


def idx_bytes(array):
    code = {dtype: code for code, dtype in DTYPES.items()}[array.dtype.newbyteorder(">").str.replace("|", ">")]
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file-idx"


def read(file, content):
    file.write_bytes(content)
    return read_idx(file)


@given(array=arrays, compress=st.booleans())
def test_reads_what_was_written(file, array, compress):
    content = idx_bytes(array)
    found = read(file, gzip.compress(content) if compress else content)
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@given(array=arrays, compress=st.booleans(), data=st.data())
def test_a_truncated_file_is_refused(file, array, compress, data):
    content = gzip.compress(idx_bytes(array)) if compress else idx_bytes(array)
    end = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match="file-idx"):
        read(file, content[:end])


@given(array=arrays, data=st.data())
def test_a_changed_byte_is_refused_by_the_compressed_streams_checksum_or_harmless(file, array, data):
    content = bytearray(gzip.compress(idx_bytes(array)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(file, bytes(content))
    except ValueError as error:
        assert "file-idx" in str(error)
    else:  # bytes of gzip's own header (time stamp, system) carry no data
        np.testing.assert_array_equal(found, array)


@given(content=st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\0\0\x08" + tail))
def test_any_bytes_give_an_array_or_a_value_error(file, content):
    for variant in (content, gzip.compress(content)):
        try:
            assert isinstance(read(file, variant), np.ndarray)
        except ValueError as error:
            assert "file-idx" in str(error)


def test_bytes_after_the_numbers_are_refused(file):
    with pytest.raises(ValueError, match=r"shape \(2, 2\), 4 bytes, but more follow"):
        read(file, idx_bytes(np.zeros((2, 2), np.uint8)) + b"\0")


@pytest.mark.parametrize("sizes", [(1000, 1000, 1000), (2**32 - 1,) * 5])
def test_memory_follows_the_file_not_its_header(file, sizes):
    content = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + b"abc"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="declares shape"):
            read(file, gzip.compress(content))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html>\n<html>404</html>", "a web page, as a failed download leaves it"),
        (b"PK\3\4", "a zip archive"),
        (b"1,2,3\n", "text"),
        (b"\0\0\x07\1", r"an unknown file that starts with the bytes \[00 00 07 01\]"),
    ],
)
def test_files_of_other_kinds_are_named(file, content, what):
    for variant in (content, gzip.compress(content)):
        with pytest.raises(DataError, match=f"file-idx: not an idx file: it is {what}"):
            read(file, variant)


def test_no_file_at_all(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "absent")
