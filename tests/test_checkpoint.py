"""A checkpoint comes back as it was saved, or is refused by name; whatever happens to the process, one is there."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygen as tg
from tinygen import checkpoint
from tinygen.checkpoint import CheckpointError
from tinygen.testing.devices import devices

numbers = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats() | st.text(max_size=8)
arrays = hnp.arrays(
    st.sampled_from(list(checkpoint.DTYPES.values()) + [">f4", ">i8"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
keys = st.text(max_size=6) | st.integers(-9, 9) | st.sampled_from(["$array", "$dict", "a/b", "a", "__metadata__"])
states = st.dictionaries(
    keys,
    st.recursive(
        numbers | arrays,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(a, b):
    """Equal in kind and in every bit; NaN equals NaN."""
    if isinstance(a, np.ndarray):
        native = a.astype(a.dtype.newbyteorder("="))
        return isinstance(b, np.ndarray) and (native.dtype, a.shape, native.tobytes()) == (
            b.dtype,
            b.shape,
            b.tobytes(),
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@given(state=states)
def test_what_was_saved_comes_back(tmp_path_factory, state):
    path = tmp_path_factory.getbasetemp() / "round_trip" / "x.safetensors"
    assert checkpoint.save(path, state) == path
    assert same(state, checkpoint.load(path))


@pytest.mark.parametrize("device", devices())
def test_tensors_views_and_numpy_scalars(device, tmp_path):
    x = tg.arange(12.0, device=device).reshape(3, 4)
    parameter = tg.nn.Parameter(tg.ones(2, device=device))
    state = {"whole": x, "view": x.T[::2], "array": x.array, "parameter": parameter, "number": np.float32(0.1)}
    checkpoint.save(tmp_path / "x", state)
    loaded = checkpoint.load(tmp_path / "x")
    for name in ("whole", "view", "array"):
        assert np.array_equal(loaded[name], tg.tensor(state[name]).cpu().numpy())
    assert loaded["parameter"].tolist() == [1, 1] and loaded["number"] == float(np.float32(0.1))


def test_any_program_for_safetensors_can_read_the_arrays(tmp_path):
    from safetensors.numpy import load_file

    model = tg.nn.Linear(2, 3)
    checkpoint.save(tmp_path / "x", {"model": model.state_dict(), "epoch": 3})
    found = load_file(tmp_path / "x")
    assert {name: a.shape for name, a in found.items()} == {"model/weight": (3, 2), "model/bias": (3,)}


STATE = {"weights": np.arange(50, dtype=np.float32), "epoch": 3, "nested": {"rate": 0.1, "m": np.ones((2, 3))}}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return checkpoint.save(tmp_path_factory.mktemp("whole") / "x", STATE).read_bytes()


@given(data=st.data())
def test_a_flipped_bit_is_noticed(tmp_path_factory, content, data):
    at = data.draw(st.integers(0, 8 * len(content) - 1), "bit")
    damaged = bytearray(content)
    damaged[at // 8] ^= 1 << at % 8
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(damaged)
    try:
        assert same(STATE, checkpoint.load(path))  # it was a blank between two words of the header
    except CheckpointError as error:
        assert "flipped" in str(error)


@given(data=st.data())
def test_a_file_that_was_cut_off_is_refused(tmp_path_factory, content, data):
    path = tmp_path_factory.getbasetemp() / "cut"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1), "length")])
    with pytest.raises(CheckpointError, match=r"cut is (empty|damaged or cut off)"):
        checkpoint.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match="cut is damaged"):
        checkpoint.load(path)


@given(noise=st.binary(max_size=200))
def test_noise_is_refused(tmp_path_factory, noise):
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(noise)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


@pytest.mark.parametrize("damage", ["empty", "cut off", "bit", "missing"])
def test_the_one_before_is_read_when_the_newest_is_damaged(tmp_path, damage):
    path = tmp_path / "run.safetensors"
    for epoch in (1, 2):
        checkpoint.save(path, {"epoch": epoch, "x": np.ones(20)})
    assert checkpoint.load(path)["epoch"] == 2
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut off": whole[:-5], "bit": whole[:-1] + b"\1"}[damage])
    with pytest.warns(UserWarning, match=rf"run.safetensors is .*{damage}|checksum.*going on from .*previous"):
        assert checkpoint.load(path)["epoch"] == 1
    assert checkpoint.exists(path)
    (tmp_path / "run.safetensors.previous").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"run.safetensors is .*; run.safetensors.previous is empty"):
        checkpoint.load(path)
    checkpoint.remove(path)
    assert not checkpoint.exists(path) and not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        checkpoint.load(path)


class Killed(BaseException):
    pass


@pytest.mark.filterwarnings("ignore:checkpoint.load")
@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("moment", range(7))
def test_killed_at_any_moment_a_whole_one_is_left(tmp_path, monkeypatch, moment, damaged, has_links):
    """Before each call that changes the disk; also when the newest had been damaged and the run went on from the other."""
    path = tmp_path / "x"
    checkpoint.save(path, {"epoch": 1})
    checkpoint.save(path, {"epoch": 2})
    if damaged:
        path.write_bytes(path.read_bytes()[:-3])
    calls, moved = 0, False

    def until_killed(function):
        def call(*args, **kwargs):
            nonlocal calls, moved
            if calls == moment:
                raise Killed
            calls += 1
            if function is link and not has_links:
                raise PermissionError("no hard links here")
            done = function(*args, **kwargs)
            assert path.exists(), "there is no moment without it"
            moved = moved or function is replace and args[1] == path
            return done

        return call

    link, replace = os.link, os.replace
    with monkeypatch.context() as patch:
        for name in ("fsync", "replace", "link"):
            patch.setattr(os, name, until_killed(getattr(os, name)))
        try:
            checkpoint.save(path, {"epoch": 3})
        except Killed:
            assert calls == moment
        else:
            assert moment == 6, "link, fsync, renaming, fsync of the folder, renaming, fsync of the folder"
    epoch = checkpoint.load(path)["epoch"]
    assert epoch == 3 if moved else epoch == (1 if damaged else 2)
    checkpoint.save(path, {"epoch": 4})
    assert checkpoint.load(path)["epoch"] == 4


def test_a_full_disk_leaves_the_last_one(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "x"
    checkpoint.save(path, {"epoch": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # a disk with room for 10 kB
    try:
        with pytest.raises(OSError, match=r"checkpoint.save: .*; 0.8 MB were to be written; .* still in x"):
            checkpoint.save(path, {"epoch": 2, "x": np.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.load(path)["epoch"] == 1 and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"checkpoint.save: .*there is no earlier checkpoint"):
        checkpoint.save(tmp_path / "file" / "x", {})
    folder = tmp_path / "read_only"
    checkpoint.save(folder / "x", {"epoch": 1})
    folder.chmod(0o500)
    try:
        if not os.access(folder, os.W_OK):  # nothing is forbidden to root
            with pytest.raises(PermissionError, match=r"still in x"):
                checkpoint.save(folder / "x", {"epoch": 2})
        assert checkpoint.load(folder / "x")["epoch"] == 1
    finally:
        folder.chmod(0o700)


def safetensors_file(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class Evil:
    def __reduce__(self):
        return (os._exit, (1,))


HUGE = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
EMPTY = {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}
METADATA = {"__metadata__": {"format": "1", "library": "tinygen", "state": "{}", "sha256": "0" * 64}}
NESTED = {"__metadata__": METADATA["__metadata__"] | {"state": "[" * 100_000}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (safetensors_file(METADATA | {"x": HUGE}), "damaged"),
        (safetensors_file(METADATA | {"x": EMPTY}), "which no checkpoint holds|damaged"),
        (safetensors_file(METADATA | {"x": HUGE | {"data_offsets": [0, 4]}}, b"1234"), "damaged"),
        (struct.pack("<Q", 2**60), "damaged"),
        (safetensors_file(METADATA), "checksum"),
        (safetensors_file(NESTED), "checksum"),
        (safetensors_file({"__metadata__": METADATA["__metadata__"] | {"format": "7"}}), "reads format 1; use the ver"),
        (safetensors_file({}), "no checkpoint of tinygen's"),
        (pickle.dumps(Evil()), "damaged"),
    ],
)
def test_malicious_and_foreign_files_are_refused_without_memory(tmp_path, content, words):
    path = tmp_path / "x"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=words):
            checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(content) + 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ["-1", "[" * 100_000, '{"x": {"$array": "y"}}', '{"x": {"$dict": [[[], 1]]}}', '{"x": {"$tuple": 3}}']
)
def test_a_right_checksum_does_not_make_a_state(tmp_path, text):
    header = {"format": "1", "library": "tinygen", "state": text}
    metadata = header | {"sha256": checkpoint._digest(header, {})}
    (tmp_path / "x").write_bytes(safetensors_file({"__metadata__": metadata}))
    with pytest.raises(CheckpointError, match=r"x is (no|not a) checkpoint"):
        checkpoint.load(tmp_path / "x")


@pytest.mark.parametrize(
    "change", [{"dtype": "I32"}, {"shape": [3, 2]}, {"shape": [6]}, {"dtype": "U8", "shape": [2, 12]}]
)
def test_the_checksum_covers_dtype_and_shape(tmp_path, change):
    """The same bytes, read as something else."""
    content = checkpoint.save(tmp_path / "x", {"m": np.arange(6, dtype=np.float32).reshape(2, 3)}).read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["m"] |= change
    (tmp_path / "x").write_bytes(safetensors_file(header, content[8 + length :]))
    with pytest.raises(CheckpointError, match="its checksum is wrong"):
        checkpoint.load(tmp_path / "x")


@pytest.mark.parametrize("piece", ["[]", "{}", '{"a":0}', "[0]", "0", "1.5", '"x"', "null"])
def test_a_small_file_does_not_take_much_memory(tmp_path_factory, piece):
    """With a right checksum, too: what the text becomes in Python is bounded before it is read."""
    path = tmp_path_factory.getbasetemp() / "small"
    text = '{"a":[' + ",".join([piece] * 20_000) + "]}"
    assert checkpoint._weight(text) < checkpoint.MAX_STATE
    header = {"format": "1", "library": "tinygen", "state": text}
    path.write_bytes(safetensors_file({"__metadata__": header | {"sha256": checkpoint._digest(header, {})}}))
    tracemalloc.start()
    try:
        checkpoint.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * checkpoint._weight(text) + 2e6, "reading, and once more while it is unpacked"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "MAX_STATE", checkpoint._weight(text) - 1)
        with pytest.raises(CheckpointError, match="more than any checkpoint does"):
            checkpoint.load(path)


def test_what_could_not_be_read_back_is_not_written(tmp_path, monkeypatch):
    state = {"values": [0.5] * 1000}
    weight = checkpoint._weight(json.dumps(state))
    monkeypatch.setattr(checkpoint, "MAX_STATE", weight)
    assert checkpoint.load(checkpoint.save(tmp_path / "x", state)) == state
    with pytest.raises(ValueError, match="turn long lists of numbers into arrays"):
        checkpoint.save(tmp_path / "y", {"values": [0.5] * 1001})
    assert not (tmp_path / "y").exists()


@given(depth=st.integers(1, 3000), kind=st.sampled_from(["list", "tuple", "dict", "odd key"]))
def test_a_nest_comes_back_or_is_refused_by_name(tmp_path_factory, depth, kind):
    value = 1
    for _ in range(depth):
        value = {"list": [value], "tuple": (value,), "dict": {"x": value}, "odd key": {3: value}}[kind]
    path = tmp_path_factory.getbasetemp() / "nest"
    try:
        checkpoint.save(path, {"v": value})
    except TypeError as error:
        assert depth > checkpoint.MAX_DEPTH / 3 and "v/" in str(error) and "deeper than" in str(error)
    else:
        assert depth < checkpoint.MAX_DEPTH and same({"v": value}, checkpoint.load(path))


@pytest.mark.parametrize(
    "state", [{"a": "x\udcff.png"}, {"a": {"\udcff": 1}}, {"\ud800": np.ones(2)}, {"a": {3: ["\udfff"]}}]
)
def test_a_text_that_is_no_unicode_is_refused_by_name(tmp_path, state):
    with pytest.raises(TypeError, match="lone surrogate at position"):
        checkpoint.save(tmp_path / "x", state)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_set_aside(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "thesis.txt").write_text("precious")
    with pytest.raises(IsADirectoryError, match=r"checkpoint.save: a folder stands there; .*no earlier checkpoint"):
        checkpoint.save(tmp_path / "runs", {"a": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["runs"] and (tmp_path / "runs" / "thesis.txt").exists()


def test_what_looks_like_one(tmp_path):
    """Whole, damaged, or cut off: yes; weights alone, pictures and folders: no."""
    from safetensors.numpy import save_file

    path = checkpoint.save(tmp_path / "run.safetensors", STATE)
    assert checkpoint.looks_like_one(path)
    path.write_bytes(path.read_bytes()[:30])
    assert checkpoint.looks_like_one(path)
    save_file({"w": np.ones(2)}, tmp_path / "weights.safetensors")
    assert not any(map(checkpoint.looks_like_one, (tmp_path / "weights.safetensors", tmp_path, tmp_path / "none")))


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"checkpoint.save: a/1/b is a set; numbers, texts"):
        checkpoint.save(tmp_path / "x", {"a": [1, {"b": {1, 2}}]})
    with pytest.raises(TypeError, match=r"checkpoint.save: a has dtype object"):
        checkpoint.save(tmp_path / "x", {"a": np.array([None])})
    with pytest.raises(TypeError, match=r"model is a Linear; .*save its state_dict\(\)"):
        checkpoint.save(tmp_path / "x", {"model": tg.nn.Linear(1, 1)})
    with pytest.raises(TypeError, match=r"got Linear; save its state_dict\(\)"):
        checkpoint.save(tmp_path / "x", tg.nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"the path comes first, got dict: checkpoint.save\(path, state\)"):
        checkpoint.save({"a": 1}, tmp_path / "x")
    assert not list(tmp_path.iterdir())
