"""What a file declares is checked before it is believed: memory follows the data, and nothing is waited for."""

import ast
import json
import os
import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import data, interchange, serialization
from tinygen.data import DataError, files
from tinygen.regular import NotAFile, open_regular

READERS = {
    "npy": data.read_npy,
    "npz": lambda f: data.read_npz(f, "images"),
    "idx": data.read_idx,
    "csv": data.read_csv,
    "load .npy": data.load,
    "load .npz": data.load,
    "points .npy": data.load_points,
    "points .npz": data.load_points,
    "points .csv": data.load_points,
    "safetensors": interchange.load_file,
    "load .pt": serialization.load,
    "picture .png": data.folder.picture,
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("what", ["pipe", "device", "socket"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, name, what):
    import socket

    path = tmp_path / f"x.{name.rpartition('.')[2]}"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path = type(path)(f"/tmp/tinygen-{os.getpid()}-{name[:3]}{path.suffix}")  # the name of a socket is short
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
    result: list = []

    def attempt():
        try:
            result.append(READERS[name](path))
        except (OSError, ValueError) as error:
            result.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    if what == "socket":
        server.close(), path.unlink()
    assert result, "it waits for a pipe"
    assert isinstance(result[0], NotAFile | FileNotFoundError), result
    assert str(path) in str(result[0])


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(NotAFile, match=r"me: .*: a folder, not a file with data"), open_regular(tmp_path, "me"):
        pass
    (tmp_path / "x").write_bytes(b"abc")
    with open_regular(tmp_path / "x") as (stream, size):
        assert stream.read() == b"abc" and size == 3


@given(
    n=st.integers(2, 5),
    side=st.integers(1, 6),
    colour=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.float64, bool]),
    size=st.none() | st.integers(1, 6),
    suffix=st.sampled_from([".npy", ".npz", "both"]),
)
def test_the_limit_is_on_the_sum_of_all_images_as_float32(tmp_path_factory, n, side, colour, dtype, size, suffix):
    """And for what has to be read for it: an archive is unpacked as a whole."""
    images = np.zeros((n, 3, side, side) if colour else (n, side, side), dtype)
    file = tmp_path_factory.getbasetemp() / f"limit{suffix if suffix != 'both' else '.npz'}"
    if suffix == ".npy":
        np.save(file, images)
    elif suffix == ".npz":
        np.savez(file, images=images)
    else:
        np.savez(file, train_images=images[1:], test_images=images[:1])
    needed = 4 * (images.size if size is None else images.size // side**2 * size**2)
    if suffix != ".npy":
        with zipfile.ZipFile(file) as archive:
            needed = max(needed, sum(member.file_size for member in archive.infolist()))
    parts = data.load(file, size, max_bytes=needed)
    assert sum(map(len, parts)) == n and sum(part.images.nbytes for part in parts) <= needed
    with pytest.raises(DataError, match=f"refused above max_bytes={needed - 1}"):
        data.load(file, size, max_bytes=needed - 1)


def test_the_error_names_a_limit_with_which_it_works(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    np.save(tmp_path / "x.npy", np.zeros((10, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"--size.*2560 bytes; refused above 1000; .*max_bytes=2560"):
        data.load(tmp_path / "x.npy")
    assert len(data.load(tmp_path / "x.npy", max_bytes=2560)[0]) == 8
    assert len(data.load(tmp_path / "x.npy", size=4)[0]) == 8


@given(factor=st.integers(1, 300))
def test_what_unpacks_to_far_more_than_the_file_is_refused_unless_it_was_said(tmp_path_factory, factor):
    """The limit follows from the file itself, above what nobody runs out of."""
    file = tmp_path_factory.getbasetemp() / "bomb.npz"
    np.savez_compressed(file, images=np.zeros((factor, 100, 100), np.uint8))
    packed, declared = file.stat().st_size, 10_000 * factor
    before, files.SMALL = files.SMALL, 1000
    try:
        if declared > files.EXPANSION * packed:
            with pytest.raises(DataError, match=f"for a file of {packed} bytes; .*max_bytes={declared}"):
                data.read_npz(file, "images")
        else:
            assert data.read_npz(file, "images").size == 10_000 * factor
        assert data.read_npz(file, "images", max_bytes=declared).size == 10_000 * factor
    finally:
        files.SMALL = before


def test_images_that_are_made_smaller_are_never_there_as_floats(tmp_path):
    pytest.importorskip("PIL")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (100, 400, 400), np.uint8))
    data.load(tmp_path / "x.npy", size=4)
    tracemalloc.start()
    try:
        data.load(tmp_path / "x.npy", size=4)
        assert tracemalloc.get_traced_memory()[1] < 100 * 400 * 400 // 2  # of 16 MB of bytes, 64 MB as float32
    finally:
        tracemalloc.stop()


@given(n=st.integers(2, 8), far=st.integers(0, 2**62), near=st.integers(0, 999))
def test_labels_number_classes(tmp_path_factory, n, far, near):
    file = tmp_path_factory.getbasetemp() / "labels.npz"
    images = np.zeros((n, 2, 2), np.uint8)
    np.savez(file, images=images, labels=np.arange(n) % 2 * near)
    assert max(part.labels.max() for part in data.load(file)) == near
    far += 1000
    np.savez(file, images=images, labels=np.arange(n) % 2 * far)
    with pytest.raises(DataError, match=rf"{far} would be one of {far + 1} classes of {n} images; .*np\.unique"):
        data.load(file)
    np.savez(file, train_images=images, test_images=images, train_labels=np.arange(n), test_labels=np.full(n, far))
    with pytest.raises(DataError, match="test_labels: labels number the classes"):
        data.load(file)


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_the_line_that_is_offered_for_copying_holds_the_name_as_a_text(tmp_path_factory, name):
    """Whatever a file is called, the advice is one call, and its argument is that name."""
    file = tmp_path_factory.mktemp("pickle") / f"{name}.pt"
    try:
        file.write_bytes(b"\x80\x02}q\x00.")
    except (OSError, ValueError):
        return  # a name that this file system does not have
    with pytest.raises(ValueError) as error:
        interchange.load_file(file)
    code = str(error.value).split("in PyTorch: ", 1)[1]
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call) and isinstance(call.args[0], ast.Call)
    assert ast.literal_eval(call.args[0].args[0]) == str(file)


def test_weights_are_read_once(tmp_path):
    """The memory is that of the tensors, and a little: no second copy of the file, nor of one tensor."""
    tensors = {f"w{i}": np.ones((500, 1000), np.float32) for i in range(6)}
    interchange.save_file(tensors, tmp_path / "x")
    interchange.load_file(tmp_path / "x")
    tracemalloc.start()
    try:
        loaded = interchange.load_file(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    total = sum(t.nbytes for t in tensors.values())
    assert len(loaded) == 6 and total <= peak < 1.1 * total


@given(data_=st.data(), cut=st.integers(0, 200))
def test_a_header_that_says_something_else_than_the_file_is_refused(tmp_path_factory, data_, cut):
    """Offsets, shapes and dtypes of a safetensors file, changed or cut off."""
    file = tmp_path_factory.getbasetemp() / "header"
    interchange.save_file({"a": np.arange(6.0).reshape(2, 3), "b": np.arange(4, dtype=np.int8)}, file)
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    part = header[data_.draw(st.sampled_from(["a", "b"]))]
    field = data_.draw(st.sampled_from([*part]))
    small = st.integers(-3, 60) | st.sampled_from([2**31, 2**63, 2**64])
    other = st.lists(small, max_size=3) | small | st.sampled_from(["F64", "F32", "BF16", "BOOL", "F8_E4M3", "", None])
    before, part[field] = part[field], data_.draw(other)
    text = json.dumps(header).encode()
    file.write_bytes(
        len(text).to_bytes(8, "little") + text + content[8 + int.from_bytes(content[:8], "little") :][:cut]
    )
    try:
        loaded = interchange.load_file(file)
    except ValueError as error:
        assert str(file) in str(error)
    else:  # only if it says the same
        assert (part[field] == before or part["dtype"] == "BF16" or 0 in part["shape"]) and set(loaded) == {"a", "b"}


def test_weights_are_not_written_through_a_link(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "x.safetensors").symlink_to(tmp_path / "mine")
    interchange.save_file({"a": np.ones(3)}, tmp_path / "x.safetensors")
    assert (tmp_path / "mine").read_text() == "precious"
    assert interchange.load_file(tmp_path / "x.safetensors")["a"].tolist() == [1, 1, 1]
