"""Weights go to PyTorch and come back: the same names, shapes and bits, and the same training from there on.

The first half needs no PyTorch: it holds our files against the format's specification, written and read by hand.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import checkpoint, nn
from tinygen.interchange import load_file, save_file
from tinygen.models import TiedAutoencoder
from tinygen.testing import strategies as ts

torch: Any
try:
    torch = importlib.import_module("torch")
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="needs PyTorch")


# --- The format, by hand -----------------------------------------------------------------------------------------------

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"} | {
    "BOOL": "?"
}


def file_of(tensors: dict[str, tuple[str, tuple[int, ...], bytes]], metadata: Any = None) -> bytes:
    """A safetensors file: the header's length (u64), the header (JSON, filled up with blanks to 8 bytes), the values."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    content = b""
    for name, (kind, shape, values) in tensors.items():
        header[name] = {
            "dtype": kind,
            "shape": shape,
            "data_offsets": [len(content), len(content) + len(values)],
        }
        content += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content


def content_of(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str] | None]:
    """(arrays, metadata) of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    arrays = {}
    for name, part in header.items():
        start, end = part["data_offsets"]
        values = data[8 + length + start : 8 + length + end]
        arrays[name] = np.frombuffer(values, KINDS[part["dtype"]]).reshape(part["shape"])
    return arrays, metadata


def test_a_file_as_pytorch_writes_it(tmp_path):
    """PyTorch's names, float32, little-endian, {"format": "pt"}; the counter of batches is an int64 without dimensions."""
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (4, 3), "0.bias": (4,)} | dict.fromkeys(
        ("1.weight", "1.bias", "1.running_mean", "1.running_var"), (4,)
    )
    arrays = {name: rng.random(shape).astype("<f4") for name, shape in shapes.items()}
    parts = {name: ("F32", a.shape, a.tobytes()) for name, a in arrays.items()}
    parts["1.num_batches_tracked"] = ("I64", (), struct.pack("<q", 7))
    (tmp_path / "x").write_bytes(file_of(parts, {"format": "pt"}))
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model.load_state_dict(load_file(tmp_path / "x"))
    state = model.state_dict()
    assert set(state) == set(parts) and state["1.num_batches_tracked"].item() == 7
    assert all(np.array_equal(state[name].numpy(), a) for name, a in arrays.items())
    x = rng.random((5, 3)).astype("f4")
    hidden = x @ arrays["0.weight"].T + arrays["0.bias"] - arrays["1.running_mean"]
    y = hidden / np.sqrt(arrays["1.running_var"] + 1e-5) * arrays["1.weight"] + arrays["1.bias"]
    np.testing.assert_allclose(model.eval()(tg.tensor(x)).detach().numpy(), y, rtol=1e-5, atol=1e-6)  # float32


@pytest.mark.parametrize("kind", KINDS)
def test_dtypes_are_kept(tmp_path, kind):
    a = np.random.default_rng(0).integers(0, 2, (2, 3)).astype(KINDS[kind])
    (tmp_path / "x").write_bytes(file_of({"a": (kind, a.shape, a.tobytes()), "none": (kind, (0, 2), b"")}))
    loaded = load_file(tmp_path / "x")
    assert loaded["a"].dtype == a.dtype and np.array_equal(loaded["a"].numpy(), a) and loaded["none"].shape == (0, 2)
    loaded["a"][0] = 0  # it is the caller's own memory
    save_file(load_file(tmp_path / "x"), tmp_path / "y")
    arrays, _ = content_of(tmp_path / "y")
    assert arrays["a"].dtype == a.dtype and np.array_equal(arrays["a"], a) and arrays["none"].shape == (0, 2)


def test_bfloat16_becomes_float32_with_the_same_value(tmp_path):
    """All 65,536 of them: (-1)^s · 2^(e - 127) · (1 + m/128), and below 2^-126 without the 1."""
    bits = np.arange(2**16)
    sign, e, m = np.where(bits >> 15, -1.0, 1.0), bits >> 7 & 0xFF, (bits & 0x7F) / 128
    value = sign * np.where(e == 0, np.ldexp(m, -126), np.ldexp(1 + m, e - 127))
    value = np.where(e == 255, np.where(m == 0, sign * np.inf, np.nan), value)
    (tmp_path / "x").write_bytes(file_of({"x": ("BF16", (256, 256), bits.astype("<u2").tobytes())}))
    x = load_file(tmp_path / "x")["x"]
    assert x.dtype == np.float32 and x.shape == (256, 256)
    np.testing.assert_array_equal(x.numpy().reshape(-1), value.astype(np.float32))
    assert np.array_equal(value.astype(np.float32).astype(float), value, equal_nan=True), "float32 has all these values"


@pytest.mark.parametrize("kind,shape", [("F8_E4M3", (4,)), ("F8_E5M2", (2, 2)), ("C64", ())])
def test_a_dtype_that_tinygen_does_not_have_is_named(tmp_path, kind, shape):
    (tmp_path / "x").write_bytes(file_of({"layer.weight": (kind, shape, bytes(8 if kind == "C64" else 4))}))
    with pytest.raises(ValueError, match=rf"load_file: layer.weight in .* has dtype {kind}.*tensor.float\(\)"):
        load_file(tmp_path / "x")


@given(x=ts.tensors(dtype=st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_])))
def test_memory_layouts_do_not_matter(tmp_path_factory, x):
    """Transposed, strided and reversed memory, as convolutions and views leave it, is written in the order of the indices."""
    path = tmp_path_factory.getbasetemp() / "layout"
    save_file({"x": x, "swapped": x.array.astype(x.dtype.newbyteorder(">"))}, path)
    for array in content_of(path)[0].values():
        assert array.shape == x.shape and array.dtype == x.dtype and np.array_equal(array, x.numpy())
    assert np.array_equal(load_file(path)["x"].numpy(), x.numpy())


def test_devices(device, tmp_path):
    x = tg.arange(12.0, device=device).reshape(3, 4).T
    save_file({"x": x}, tmp_path / "x")
    loaded = load_file(tmp_path / "x", device)["x"]
    assert loaded.device == x.device and bool((loaded == x).all())
    assert load_file(tmp_path / "x")["x"].device.type == "cpu"


def test_the_header_says_that_layouts_are_pytorchs(tmp_path):
    save_file({}, tmp_path / "x")
    assert content_of(tmp_path / "x") == ({}, {"format": "pt"})
    save_file({"x": tg.ones(1)}, tmp_path / "x", metadata={"made by": "me"})
    assert content_of(tmp_path / "x")[1] == {"made by": "me"}


def test_tied_weights_are_there_under_both_names(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save_file(model.state_dict(), tmp_path / "x")
    found = load_file(tmp_path / "x")
    assert found.keys() == model.state_dict().keys() and bool((found["0.weight"] == found["1.weight"]).all())
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    other.load_state_dict(found)
    assert bool((other[1].weight == model[0].weight).all())
    save_file(TiedAutoencoder(6, 2).state_dict(), tmp_path / "x")
    TiedAutoencoder(6, 2).load_state_dict(load_file(tmp_path / "x"))


def test_the_weights_in_a_checkpoint_can_be_taken_out(tmp_path):
    model = nn.Linear(2, 3)
    checkpoint.save(tmp_path / "x", {"model": model.state_dict(), "epoch": 3})
    found = {name.removeprefix("model/"): value for name, value in load_file(tmp_path / "x").items()}
    assert set(found) == {"weight", "bias"} and bool((found["weight"] == model.weight).all())


@pytest.mark.parametrize(
    "tensors,words",
    [
        (nn.Linear(2, 3), r"got Linear; pass model.state_dict\(\)"),
        ({"state": {0: {"step": 3}}}, "'state': dict; .*tinygen.checkpoint.save"),
        ({"lr": 0.1}, "'lr': float"),
        ({1: tg.ones(1)}, "1: Tensor"),
        ({"__metadata__": tg.ones(1)}, "'__metadata__'"),
        ({"z": np.ones(2, complex)}, "z has dtype complex128; expected one of bool, "),
        ({"t": np.array(["a"])}, "t has dtype <U1"),
        ("x.safetensors", r"the tensors come first, got 'x.safetensors': save_file\(model.state_dict\(\), filename\)"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, tensors, words):
    with pytest.raises(TypeError, match=f"save_file: .*{words}"):
        save_file(tensors, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_place_that_cannot_be_written_to(tmp_path):
    with pytest.raises(OSError, match=r"save_file: .*nowhere.*cannot be written"):
        save_file({"x": tg.ones(1)}, tmp_path / "nowhere" / "x")


HUGE = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
EMPTY = {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}
DEEP = {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}


class Evil:
    def __reduce__(self):
        return (os._exit, (1,))


def raw(header: dict, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content,words",
    [
        (b"", "no whole safetensors file"),
        (raw({"x": HUGE}), "no whole safetensors file"),
        (raw({"x": HUGE | {"data_offsets": [0, 4]}}, b"1234"), "no whole safetensors file"),
        (raw({"x": EMPTY}), "no whole safetensors file|which no array has"),
        (raw({"x": DEEP}, b"1234"), "which no array has"),
        (struct.pack("<Q", 2**60), "no whole safetensors file"),
        (pickle.dumps(Evil()), "is a pickle.*runs code.*safetensors.torch.save_file"),
        (b"PK\x03\x04 a zip file", "is a pickle"),
    ],
)
def test_malicious_and_foreign_files_are_refused_without_memory(tmp_path, content, words):
    (tmp_path / "x").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"load_file: .*x.*{words}"):
            load_file(tmp_path / "x")
        assert tracemalloc.get_traced_memory()[1] < 20 * len(content) + 1e6
    finally:
        tracemalloc.stop()


def test_a_file_that_begins_like_a_pickle_and_is_none(tmp_path):
    """The header's length can have the bytes 80 02 in front."""
    text = json.dumps({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode().ljust(0x280)
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(text)) + text + b"\7")
    assert load_file(tmp_path / "x")["x"].tolist() == [7]


@given(data=st.data())
def test_a_file_that_was_cut_off_and_noise_are_refused(tmp_path_factory, data):
    whole = file_of({"x": ("F32", (2, 3), bytes(24)), "y": ("BF16", (2,), bytes(4))}, {"format": "pt"})
    cut = st.integers(0, len(whole) - 1).map(lambda n: whole[:n])
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(data.draw(cut | st.binary(max_size=100)))
    with pytest.raises(ValueError, match=r"load_file: .*noise"):
        load_file(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_file(tmp_path / "nothing")


def test_the_example_is_polite_without_pytorch(tmp_path):
    """It says what is missing, and that is no failure."""
    (tmp_path / "torch.py").write_text("raise ImportError('not installed')")
    example = Path(__file__).resolve().parent.parent / "examples" / "from_pytorch.py"
    command = [sys.executable, str(example), "--dry-run", "--device", "cpu", "--out", str(tmp_path / "runs")]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "pip install torch" in done.stdout and not done.stderr and not (tmp_path / "runs").exists()


# --- PyTorch -----------------------------------------------------------------------------------------------------------

Spec = tuple[str, tuple, dict]  # the name of a layer, its arguments
ARGUMENTS: dict[str, list[Spec]] = {  # a few ways to make each layer that has a state
    name: [(name, positional, options) for positional, options in ways]
    for name, ways in {
        "Linear": [((3, 4), {}), ((3, 4), {"bias": False})],
        "Bilinear": [((2, 3, 4), {}), ((2, 3, 4), {"bias": False})],
        "Embedding": [((5, 3), {}), ((5, 3), {"padding_idx": 1})],
        **{
            f"{kind}{n}d": [((4, 6, 3), {}), ((4, 6, (1, 2, 3)[:n]), {"groups": 2, "bias": False})]
            for kind in ("Conv", "ConvTranspose")
            for n in (1, 2, 3)
        },
        **{
            f"BatchNorm{n}d": [((3,), {}), ((3,), {"affine": False}), ((3,), {"track_running_stats": False})]
            for n in (1, 2, 3)
        },
        **{f"InstanceNorm{n}d": [((3,), {}), ((3,), {"affine": True, "track_running_stats": True})] for n in (1, 2, 3)},
        "GroupNorm": [((2, 4), {}), ((2, 4), {"affine": False}), ((2, 4), {"bias": False})],
        "RMSNorm": [(((2, 3),), {}), ((3,), {"elementwise_affine": False})],
        "PReLU": [((), {}), ((3,), {})],
        "LayerNorm": [(((2, 3),), {}), ((3,), {"bias": False}), ((3,), {"elementwise_affine": False})],
        **{
            loss: [((), {"weight": [1.0, 2.0]})]
            for loss in (
                *("CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss"),
                *("MultiMarginLoss", "MultiLabelSoftMarginLoss"),
            )
        },
    }.items()
}
STATELESS = {  # arguments of those that cannot be made without
    **{name: (2,) for name in nn.__all__ if "pool" in name.lower()},
    **{name: (2.0, 2) for name in nn.__all__ if "LPPool" in name},
    **{name: (1,) for name in nn.__all__ if "Pad" in name},
    **{name: (1, 0.0) for name in nn.__all__ if "ConstantPad" in name},
    **{name: (2,) for name in ("PixelShuffle", "PixelUnshuffle", "ChannelShuffle", "LocalResponseNorm")},
    **{name: (3,) for name in nn.__all__ if "Upsampl" in name},
    **{"Threshold": (0.0, 1.0), "Fold": (3, 2), "Unfold": (1,), "Unflatten": (1, (2, 2))},
}


def make(library: Any, spec: Spec) -> Any:
    name, positional, options = spec
    if isinstance(options.get("weight"), list):
        options = options | {"weight": library.tensor(options["weight"])}
    return getattr(library.nn, name)(*positional, **options)


def to_tinygen(theirs: Any, ours: Any, path: Path) -> None:
    from safetensors.torch import save_file as save_in_pytorch

    save_in_pytorch(theirs.state_dict(), path)
    ours.load_state_dict(load_file(path))


def to_pytorch(ours: Any, theirs: Any, path: Path) -> None:
    from safetensors.torch import load_file as load_in_pytorch

    save_file(ours.state_dict(), path)
    theirs.load_state_dict(load_in_pytorch(path))


def assert_same_state(ours: Any, theirs: Any) -> None:
    """The same names in the same order, with the same shapes, dtypes and bits."""
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    for name, value in mine.items():
        expected = other[name].numpy()
        assert value.shape == expected.shape and value.dtype == expected.dtype
        assert np.array_equal(value.numpy(), expected), name


@needs_torch
@pytest.mark.parametrize("name", [n for n in nn.layers.__all__ if torch is None or hasattr(torch.nn, n)])
def test_every_layer_has_pytorchs_state(name, tmp_path):
    """Names, order, shapes, dtypes, and bit for bit the values, there and back."""
    for spec in ARGUMENTS.get(name, [(name, STATELESS.get(name, ()), {})]):
        ours, theirs = make(tg, spec), make(torch, spec)
        assert (name in ARGUMENTS) or not theirs.state_dict(), f"{name} has a state; add it to ARGUMENTS"
        with torch.no_grad():
            for value in theirs.state_dict().values():
                value.copy_(torch.arange(value.numel()).reshape(value.shape) / 3)
        to_tinygen(theirs, ours, tmp_path / "x")
        assert_same_state(ours, theirs)
        again = make(torch, spec)
        to_pytorch(ours, again, tmp_path / "x")
        assert_same_state(ours, again)


@needs_torch
@pytest.mark.parametrize("spec", [*ARGUMENTS["Linear"], *ARGUMENTS["Conv2d"]], ids=str)
def test_weight_normalisation_has_pytorchs_names(spec, tmp_path):
    ours = tg.nn.utils.weight_norm(make(tg, spec))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has a newer way to say it, with other names
        theirs, again = (torch.nn.utils.weight_norm(make(torch, spec)) for _ in range(2))
    to_tinygen(theirs, ours, tmp_path / "x")
    assert_same_state(ours, theirs)
    to_pytorch(ours, again, tmp_path / "x")
    assert_same_state(ours, again)


@needs_torch
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_weights_that_pytorch_saved_in_another_precision(dtype, tmp_path):
    """load_state_dict converts to the model's float32, as PyTorch's does."""
    spec = ("Linear", (20, 30), {})
    ours, theirs = make(tg, spec), make(torch, spec)
    to_tinygen(theirs.to(getattr(torch, dtype)), ours, tmp_path / "x")
    assert_same_state(ours, theirs.float())


# Architectures: layers by name, and the shape of a batch that they take.  They bend nowhere sharply except in ReLUs.

ACTIVATIONS = ["ReLU", "LeakyReLU", "Tanh", "Sigmoid", "SiLU", "GELU", "ELU", "Softplus"]


def layer(name: str, *positional: Any, **options: Any) -> Spec:
    return name, positional, options


@st.composite
def perceptrons(draw: st.DrawFn) -> tuple[list[Spec], tuple[int, ...]]:
    widths = draw(st.lists(st.integers(2, 6), min_size=2, max_size=4))
    layers = []
    for n_in, n_out in pairwise(widths):
        layers.append(layer("Linear", n_in, n_out, bias=draw(st.booleans())))
        norm = draw(st.sampled_from([None, "BatchNorm1d", "LayerNorm"]))
        layers += [layer(norm, n_out)] if norm else []
        layers.append(layer(draw(st.sampled_from(ACTIVATIONS))))
    return layers, (8, widths[0])


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[list[Spec], tuple[int, ...]]:
    channels, side = draw(st.sampled_from([2, 4])), 9
    layers = []
    for kind in draw(st.sampled_from([["Conv2d"], ["Conv2d", "ConvTranspose2d"], ["ConvTranspose2d", "Conv2d"]])):
        kernel, stride, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
        out = draw(st.sampled_from([2, 4]))
        groups = draw(st.sampled_from([1, 2]))
        options = {"stride": stride, "padding": min(padding, kernel - 1), "groups": groups, "bias": draw(st.booleans())}
        layers.append(layer(kind, channels, out, kernel, **options))
        norms = [None, layer("BatchNorm2d", out), layer("GroupNorm", 2, out), layer("InstanceNorm2d", out, affine=True)]
        norm = draw(st.sampled_from(norms))
        layers += [norm] if norm else []
        layers.append(layer(draw(st.sampled_from(ACTIVATIONS))))
        channels = out
    return [*layers, layer("Flatten")], (4, layers[0][1][0], side, side)


OPTIMIZERS = [
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "eps": 0.01}),
    ("Adagrad", {"lr": 0.01}),
]
STEPS = 10


def train(library: Any, model: Any, x: np.ndarray, optimizer: tuple[str, dict]) -> tuple[list[np.ndarray], ...]:
    """(gradients of the first step, parameters and buffers at the end) of ten steps that pull the output to 0.3."""
    name, options = optimizer
    stepper = getattr(library.optim, name)(model.parameters(), **options)
    data, first = library.tensor(x), []
    for _ in range(STEPS):
        stepper.zero_grad()
        ((model(data) - 0.3) ** 2).mean().backward()
        first = first or [np.array(p.grad.numpy()) for p in model.parameters()]
        stepper.step()
    return first, [np.array(value.detach().numpy()) for value in model.state_dict().values()]


@needs_torch
@given(
    network=perceptrons() | convolutions(),
    optimizer=st.sampled_from(OPTIMIZERS),
    seed=ts.seeds(),
    training=st.booleans(),
)
def test_the_same_training_from_the_same_weights(tmp_path_factory, network, optimizer, seed, training):
    """Outputs, gradients, and parameters and buffers after ten steps, in float64.

    A gradient is a sum of a few hundred terms, rounded: wrong by about 1e-14 of the largest.  The optimizers divide it by its
    size plus eps, so where it is nothing but such an error they make up to 1/eps of it, in learning rates: 1e8 for Adam and
    RMSprop, 1e10 for Adagrad.  Through v = E g² - (E g)² the centered one loses half of the digits: its eps is larger here.
    """
    specs, shape = network
    ours, theirs = (library.nn.Sequential(*(make(library, s) for s in specs)).double() for library in (tg, torch))
    to_tinygen(theirs, ours, tmp_path_factory.getbasetemp() / "weights")
    assert_same_state(ours, theirs)
    x = np.random.default_rng(seed).normal(size=shape)
    ours.train(training), theirs.train(training)
    y, z = (model(library.tensor(x)).detach().numpy() for model, library in ((ours, tg), (theirs, torch)))
    np.testing.assert_allclose(y, z, rtol=1e-11, atol=1e-12)
    mine, other = train(tg, ours, x, optimizer), train(torch, theirs, x, optimizer)
    scale = max(1.0, *(np.abs(g).max(initial=0.0) for g in other[0]))
    for a, b in zip(mine[0], other[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12 * scale)
    name, options = optimizer
    amplified = {"SGD": 1.0, "Adagrad": 1e10}.get(name, 1 / options.get("eps", 1e-8))
    for a, b in zip(mine[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10 + STEPS * options["lr"] * 1e-14 * scale * amplified)

    again = torch.nn.Sequential(*(make(torch, s) for s in specs)).double()
    to_pytorch(ours, again, tmp_path_factory.getbasetemp() / "weights")
    assert_same_state(ours, again)


@needs_torch
def test_a_model_of_tinygen_and_its_twin_written_in_pytorch(tmp_path):
    """A plain PyTorch module with the same names takes the weights of a model from tinygen.models, and computes the same."""
    ours, n = tg.models.Autoencoder((12, 6, 3)), torch.nn
    encoder = n.Sequential(n.Linear(12, 6), n.ReLU(), n.Linear(6, 3), n.ReLU())
    decoder = n.Sequential(n.Linear(3, 6), n.ReLU(), n.Linear(6, 12), n.Sigmoid())
    to_pytorch(ours, n.ModuleDict({"encoder": encoder, "decoder": decoder}), tmp_path / "x")
    x = np.random.default_rng(0).random((5, 12)).astype("f4")
    drawn = decoder(encoder(torch.tensor(x))).detach().numpy()
    np.testing.assert_allclose(ours.reconstruct(tg.tensor(x)).numpy(), drawn, rtol=1e-5)  # float32

    ours = tg.models.dcgan.ConvGenerator(5, (1, 8, 8), (4, 3))
    network = n.Sequential(
        *(n.Linear(5, 16, bias=False), n.Unflatten(1, (4, 2, 2)), n.BatchNorm2d(4), n.ReLU()),
        *(n.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), n.BatchNorm2d(3), n.ReLU()),
        *(n.ConvTranspose2d(3, 1, 4, 2, 1), n.Tanh()),
    )
    z = np.random.default_rng(1).normal(size=(6, 5)).astype("f4")
    ours(tg.tensor(z))  # it has seen a batch, so the running moments are not where they began
    to_pytorch(ours, n.ModuleDict({"network": network}), tmp_path / "x")
    assert network[2].num_batches_tracked.item() == 1
    drawn = network.eval()(torch.tensor(z)).detach().numpy()
    np.testing.assert_allclose(ours.eval()(tg.tensor(z)).detach().numpy(), drawn, rtol=1e-4, atol=1e-6)  # float32
