"""save and load: what went in comes out, in PyTorch's order, and nothing else is written in silence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import checkpoint, interchange, nn, optim
from tinygen.testing import strategies as ts
from tinygen.testing.devices import devices

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | ts.tensors()
    | ts.tensors().map(lambda x: x.detach().numpy())
)
keys = st.text(max_size=5) | st.integers(-3, 3) | st.sampled_from(["$tensor", "$array", "a/b"])
objects = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a, b):
    if isinstance(a, tg.Tensor):
        return isinstance(b, tg.Tensor) and not b.requires_grad and same(a.detach().numpy(), b.numpy())
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@given(obj=objects)
def test_what_was_saved_comes_back(tmp_path_factory, obj):
    path = tmp_path_factory.getbasetemp() / "saved" / "x.pt"
    tg.save(obj, path)
    assert same(obj, tg.load(path)) and same(obj, tg.load(str(path), weights_only=True))
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]
    stream = io.BytesIO()
    tg.save(obj, stream)
    stream.seek(0)
    assert same(obj, tg.load(stream))


OPTIMIZERS = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("device", devices())
def test_a_training_goes_on(kind, device, tmp_path):
    def new():
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(device)
        return model, kind(model.parameters(), lr=0.1)

    def train(model, optimizer, steps):
        for i in range(steps):
            x = tg.tensor(np.sin(np.arange(12.0) + i), dtype=tg.float32, device=device).reshape(4, 3)
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()

    model, optimizer = new()
    train(model, optimizer, 3)
    tg.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "run.pt")
    train(model, optimizer, 3)
    other, its_optimizer = new()
    state = tg.load(tmp_path / "run.pt", map_location=device)
    assert all(w.device == tg.device(device) for w in state["model"].values())
    other.load_state_dict(state["model"])
    its_optimizer.load_state_dict(state["optimizer"])
    train(other, its_optimizer, 3)
    for a, b in zip(model.state_dict().values(), other.state_dict().values()):
        assert a.tolist() == b.tolist()


def test_other_files(tmp_path):
    model = nn.Linear(2, 3)
    interchange.save_file(model.state_dict(), tmp_path / "weights")
    assert same(dict(sorted(model.state_dict().items())), dict(sorted(tg.load(tmp_path / "weights").items())))
    checkpoint.save(tmp_path / "checkpoint", {"a": np.ones(2), "b": (1, "x")})
    assert same({"a": np.ones(2), "b": (1, "x")}, tg.load(tmp_path / "checkpoint"))
    tg.save({"a": tg.ones(2)}, tmp_path / "saved")
    assert same({"a": np.ones(2, np.float32)}, checkpoint.load(tmp_path / "saved"))
    tg.save([1], tmp_path / "list")
    with pytest.raises(checkpoint.CheckpointError, match=r"its state is a list, not a dict; tinygen.load reads it"):
        checkpoint.load(tmp_path / "list")
    (tmp_path / "pickle").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ValueError, match=r"is a pickle, PyTorch's own kind of file.*torch.load"):
        tg.load(tmp_path / "pickle")
    content = bytearray((tmp_path / "saved").read_bytes())
    content[-1] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    for broken in ("damaged", "empty"):
        (tmp_path / "empty").touch()
        with pytest.raises(ValueError, match=f"{broken} is (damaged|empty)"):
            tg.load(tmp_path / broken)
    with pytest.raises(FileNotFoundError, match="load: there is no file"):
        tg.load(tmp_path / "nothing")
    assert same(tg.load(tmp_path / "saved", map_location=lambda storage, _: storage), {"a": tg.ones(2)})
    with pytest.raises(TypeError, match="name the device"):
        tg.load(tmp_path / "saved", map_location={"cuda:0": "cpu"})


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda p: tg.save(p / "x", {"a": 1}), TypeError, r"the object comes first, .*: tinygen.save\(state, '.*x'\)"),
        (lambda p: tg.save(str(p / "x"), nn.Linear(1, 1)), TypeError, "the object comes first"),
        (lambda p: tg.load({"a": 1}), TypeError, "load: a path, or a file .* got dict"),
        (lambda p: tg.save({"a": 1}, 3), TypeError, "a path, or a file .* got int"),
        (
            lambda p: tg.save(nn.Linear(1, 1), p / "x"),
            TypeError,
            r"save: the state is a Linear; .*save its state_dict\(\)",
        ),
        (lambda p: tg.save({"m": [nn.Linear(1, 1)]}, p / "x"), TypeError, r"save: m/0 is a Linear"),
        (lambda p: tg.save({"f": len}, p / "x"), TypeError, "save: f is a builtin_function"),
        (lambda p: tg.save({"z": np.ones(2, complex)}, p / "x"), TypeError, "z has dtype complex128"),
        (lambda p: tg.save(1, p), IsADirectoryError, "is a folder; name a file in it"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_name(tmp_path, call, kind, message):
    with pytest.raises(kind, match=message):
        call(tmp_path)
    assert not list(Path(tmp_path).iterdir())
