"""grid_sample and affine_grid: against interpolation, flips and shifts, which they can do too, and against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen.errors import ShapeError
from tinygen.nn import functional as F
from tinygen.testing import strategies as ts

MODES = st.sampled_from(["bilinear", "nearest", "bicubic"])
PADDING = st.sampled_from(["zeros", "border", "reflection"])
ROUNDING = (
    1e-12  # places are off by a few roundings of numbers up to 10, and the picture changes by 10 per pixel at most
)


def identity(n: int, batch: int = 2) -> tg.Tensor:
    return tg.tensor(np.tile(np.eye(n, n + 1), (batch, 1, 1)))


@given(st.sampled_from([2, 3]), MODES, PADDING, st.booleans(), st.data())
def test_the_identity_reads_every_pixel_where_it_is(n, mode, padding, align, data):
    if mode == "bicubic" and n == 3:
        mode = "bilinear"
    x = data.draw(ts.tensors((2, 2, *(data.draw(st.integers(1, 5)) for _ in range(n)))))
    y = F.grid_sample(x, F.affine_grid(identity(n), x.shape, align), mode, padding, align)
    np.testing.assert_allclose(y.numpy(), x.numpy(), atol=ROUNDING)


@given(ts.tensors((1, 2, 4, 5)), MODES, st.booleans())
def test_a_mirrored_grid_mirrors(x, mode, align):
    theta = identity(2, 1) * tg.tensor([[-1.0], [1.0]], dtype=tg.float64)
    y = F.grid_sample(x, F.affine_grid(theta, x.shape, align), mode, "border", align)
    np.testing.assert_allclose(y.numpy(), tg.flip(x, (3,)).numpy(), atol=ROUNDING)


@given(
    ts.tensors((2, 1, 4, 5)),
    st.sampled_from(["bilinear", "bicubic"]),
    st.booleans(),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_interpolation_is_the_identity_read_at_other_places(x, mode, align, height, width):
    """Pixels beyond the ends are copies of the last ones, in both."""
    if align and 1 in (height, width):
        height, width = height + 1, width + 1  # where interpolate reads the first pixel, and a grid the middle
    grid = F.affine_grid(identity(2), (2, 1, height, width), align)
    expected = F.interpolate(x, (height, width), mode=mode, align_corners=align)
    y = F.grid_sample(x, grid, mode, "border", align)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=100 * ROUNDING)


@given(ts.tensors((1, 2, 3, 4)), st.integers(-7, 7), PADDING)
def test_a_shift_by_whole_pixels_is_padding(x, shift, padding):
    """By up to almost two pictures; between the middles of its pixels a mirror does not repeat the border."""
    mode = {"zeros": "constant", "border": "edge", "reflection": "reflect"}[padding]
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, 0), (8, 8)), mode)
    theta = tg.tensor([[[1.0, 0, shift * 2 / 3], [0, 1, 0]]], dtype=tg.float64)  # 3: from the first pixel to the last
    y = F.grid_sample(x, F.affine_grid(theta, x.shape, True), "bilinear", padding, True)
    np.testing.assert_allclose(y.numpy(), padded[..., 8 + shift : 12 + shift], atol=100 * ROUNDING)


@given(st.sampled_from([2, 3]), MODES, PADDING, st.booleans(), ts.seeds(), st.data())
def test_against_torch(n, mode, padding, align, seed, data):
    torch = pytest.importorskip("torch")
    if mode == "bicubic" and n == 3:
        mode = "nearest"
    size, out = (tuple(data.draw(st.integers(1, 4)) for _ in range(n)) for _ in range(2))
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=(2, 3, *size)), rng.uniform(-2.5, 2.5, (2, *out, n))
    ours, theirs = (
        [tg.tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    y = F.grid_sample(*ours, mode, padding, align)
    z = torch.nn.functional.grid_sample(*theirs, mode, padding, align)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=ROUNDING)
    g = rng.normal(size=z.shape)
    found = tg.grad(y, ours, tg.tensor(g), allow_unused=True)
    for a, b in zip(found, torch.autograd.grad(z, theirs, torch.tensor(g)), strict=True):
        if a is None:
            assert mode == "nearest" and not b.numpy().any()
        else:
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=100 * ROUNDING)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_place_that_is_no_number_is_outside():
    grid = tg.tensor([[[[float("nan"), 0.0], [float("inf"), 0.0], [0.0, 0.0]]]])
    x = tg.ones(1, 1, 2, 2, requires_grad=True)
    y = F.grid_sample(x, grid)
    assert y.tolist() == [[[[0, 0, 1]]]]
    y.sum().backward()
    assert x.grad.tolist() == [[[[0.25, 0.25], [0.25, 0.25]]]]


WRONG: list[tuple[type[Exception], str, Any]] = [
    (
        ShapeError,
        "grid_sample: an input .* of one batch size",
        lambda: F.grid_sample(tg.ones(2, 1, 3, 3), tg.ones(1, 3, 3, 2)),
    ),
    (ShapeError, "grid_sample: an input", lambda: F.grid_sample(tg.ones(1, 1, 3, 3), tg.ones(1, 3, 3, 3))),
    (
        ValueError,
        "grid_sample: mode must be",
        lambda: F.grid_sample(tg.ones(1, 1, 3, 3), tg.ones(1, 3, 3, 2), "linear"),
    ),
    (
        ValueError,
        "grid_sample: padding_mode",
        lambda: F.grid_sample(tg.ones(1, 1, 3, 3), tg.ones(1, 3, 3, 2), "nearest", "zero"),
    ),
    (
        ValueError,
        "grid_sample: mode='bicubic'",
        lambda: F.grid_sample(tg.ones(1, 1, 1, 3, 3), tg.ones(1, 1, 1, 1, 3), "bicubic"),
    ),
    (
        TypeError,
        "grid_sample: floating",
        lambda: F.grid_sample(tg.ones(1, 1, 3, 3, dtype=tg.int64), tg.ones(1, 3, 3, 2)),
    ),
    (ShapeError, "affine_grid: theta", lambda: F.affine_grid(tg.ones(1, 3, 3), (1, 1, 4, 4))),
]


@pytest.mark.parametrize(("kind", "message", "call"), WRONG, ids=[m[:30] for _, m, _ in WRONG])
def test_errors_say_what_was_expected(kind, message, call):
    with pytest.raises(kind, match=message):
        call()
