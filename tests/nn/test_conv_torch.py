"""The second opinion on convolutions: values, gradients, names, layouts and starting ranges are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.nn import functional as F
from tinygen.testing import strategies as ts

torch = pytest.importorskip("torch")
TF, tnn = torch.nn.functional, torch.nn


def agree(call: Any, *arrays: np.ndarray) -> None:
    """Values and gradients of call(functional, *tensors), in float64."""
    ours, theirs = (
        [tg.tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    y, z = call(F, *ours), call(TF, *theirs)
    assert tuple(y.shape) == tuple(z.shape)
    np.testing.assert_allclose(
        y.detach().numpy(), z.detach().numpy(), rtol=1e-11, atol=1e-12
    )  # sums of a few hundred terms
    g = np.random.default_rng(1).normal(size=y.shape)
    y.backward(tg.tensor(g))
    z.backward(torch.tensor(g))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
@settings(max_examples=15)
@given(data=st.data())
def test_functions(n: int, data: st.DataObject) -> None:
    g = data.draw(ts.conv_geometries(n, max_output=3))
    x, w, y = (t.numpy() for t in g.draw(data.draw(ts.seeds())))
    if data.draw(st.booleans()):
        x, y = x[0], y[0]  # without a batch
    rng = np.random.default_rng(0)
    b, c = rng.normal(size=g.out_channels), rng.normal(size=g.in_channels)
    more = {**g.options, "output_padding": g.output_padding}
    agree(lambda f, x, w, b: getattr(f, f"conv{n}d")(x, w, b, **g.options), x, w, b)
    agree(lambda f, y, w, c: getattr(f, f"conv_transpose{n}d")(y, w, c, **more), y, w, c)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_and_valid(kernel, dilation):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 2, 7, 8)), rng.normal(size=(3, 2, kernel, 2))
    for padding in ("same", "valid"):
        agree(lambda f, x, w, padding=padding: f.conv2d(x, w, padding=padding, dilation=dilation), x, w)


def test_output_padding_beyond_the_stride():
    rng = np.random.default_rng(0)
    y, w = rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 2, 3))
    for padding in range(4):
        agree(lambda f, y, w, p=padding: f.conv_transpose1d(y, w, padding=p, dilation=4, output_padding=3), y, w)


LAYERS = [
    (lambda n: n.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (2, 4, 9)),
    (lambda n: n.Conv1d(1, 2, 4, padding="same", bias=False), (2, 1, 5)),
    (lambda n: n.Conv1d(1, 2, 4, padding="same", padding_mode="circular"), (2, 1, 5)),
    (lambda n: n.Conv2d(3, 4, (3, 2), stride=(2, 1)), (3, 7, 6)),
    (lambda n: n.Conv2d(3, 4, 3, padding=(2, 1), padding_mode="reflect"), (2, 3, 5, 6)),
    (lambda n: n.Conv2d(3, 4, 3, padding=(2, 1), padding_mode="replicate"), (2, 3, 5, 6)),
    (lambda n: n.Conv2d(3, 4, 3, padding=(2, 1), padding_mode="circular"), (2, 3, 5, 6)),
    (lambda n: n.Conv2d(4, 8, 3, groups=4), (2, 4, 5, 6)),
    (lambda n: n.Conv3d(2, 3, 2, padding=1, padding_mode="circular"), (2, 2, 3, 4, 3)),
    (lambda n: n.Conv3d(2, 3, (1, 2, 3)), (2, 2, 3, 4, 3)),
    (lambda n: n.ConvTranspose1d(4, 6, 3, stride=3, padding=1, output_padding=2, groups=2), (2, 4, 5)),
    (lambda n: n.ConvTranspose2d(3, 4, (3, 2), stride=(2, 1), dilation=(1, 2), bias=False), (2, 3, 4, 4)),
    (lambda n: n.ConvTranspose3d(2, 3, 2, stride=2, output_padding=1), (2, 2, 2, 3, 2)),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(LAYERS)))
def test_layers(i):
    """One state dict for both, with the same keys, shapes and order; the same text; the same values and gradients."""
    make, shape = LAYERS[i]
    ours, theirs = make(nn), make(tnn)
    assert repr(ours) == repr(theirs)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    ours, theirs = ours.double(), theirs.double()
    x = np.random.default_rng(0).normal(size=shape)
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-11, atol=1e-12)
    y.square().sum().backward()
    z.square().sum().backward()
    for p, q in zip([a, *ours.parameters()], [b, *theirs.parameters()], strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_output_size(stride):
    """Every size that is allowed, as the spatial size or as the whole shape."""
    ours = nn.ConvTranspose2d(2, 3, 3, stride=stride, padding=1)
    theirs = tnn.ConvTranspose2d(2, 3, 3, stride=stride, padding=1)
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 5)).astype("float32")
    for i in range(stride):
        size = [3 * stride + 1 + i, 4 * stride + 1]
        for wanted in (size, [2, 3, *size]):
            y, z = ours(tg.tensor(x), output_size=wanted), theirs(torch.tensor(x), output_size=wanted)
            assert list(y.shape[2:]) == size
            np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-5)  # float32


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_where_layers_start(kind, n, groups):
    """Uniform within ± 1 / √fan_in, by the definition and as PyTorch has it.

    The largest of m uniform draws falls short of the bound by 1/m of it on average, by more than 20/m in e⁻²⁰ of the cases.
    The mean square is a third of the bound's, ± 0.9/√m of that (one standard deviation); 5 of them are allowed.
    """
    tg.manual_seed(0)
    torch.manual_seed(0)
    sizes = {"Conv": (8, 64 * 8), "ConvTranspose": (64 * 8, 8)}[kind]
    ours, theirs = (getattr(library, f"{kind}{n}d")(*sizes, 3, groups=groups) for library in (nn, tnn))
    bound = (8 // groups * 3**n) ** -0.5
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        for p in (mine.detach().numpy(), other.detach().numpy()):
            assert 1 - 20 / p.size <= np.abs(p).max() / bound <= 1 + 1e-6
            assert abs(3 * np.square(p / bound).mean() - 1) <= 5 * 0.9 / p.size**0.5


@pytest.mark.parametrize("i", range(6))
def test_what_torch_refuses_is_refused(i):
    """The same kinds of calls raise in both, and ours are RuntimeErrors or ValueErrors too."""
    calls = [
        lambda f, z: f.conv2d(z(2, 3, 5, 5), z(4, 2, 3, 3)),
        lambda f, z: f.conv2d(z(5, 5), z(4, 2, 3, 3)),
        lambda f, z: f.conv2d(z(2, 3, 2, 5), z(4, 3, 3, 3)),
        lambda f, z: f.conv1d(z(2, 3, 5), z(4, 3, 2), padding="same", stride=2),
        lambda f, z: f.conv_transpose1d(z(2, 3, 5), z(3, 3, 2), stride=2, output_padding=2),
        lambda f, z: f.conv_transpose1d(z(2, 3, 5), z(4, 3, 2)),
    ]
    for f, z in ((F, tg.zeros), (TF, torch.zeros)):
        with pytest.raises((RuntimeError, ValueError)):
            calls[i](f, z)
