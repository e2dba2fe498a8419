"""What the strategies draw is what they promise."""

from __future__ import annotations

import numpy as np
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.testing import assert_gradients, strategies


@given(g=strategies.conv_geometries(), seed=strategies.seeds())
def test_geometries_are_consistent(g, seed):
    """The kernel's last position lies inside the padded input, and the next one does not; the transposed formula goes back."""
    assert 1 <= g.ndim <= 3
    assert g.ndim == len(g.kernel) == len(g.stride) == len(g.padding) == len(g.dilation) == len(g.output_padding)
    for n, m, k, s, p, d, rest in zip(
        g.input, g.output, g.kernel, g.stride, g.padding, g.dilation, g.output_padding, strict=True
    ):
        positions = [start for start in range(-p, n + p) if (start + p) % s == 0 and start + d * (k - 1) < n + p]
        assert len(positions) == m >= 1 and n >= 1
        assert (m - 1) * s - 2 * p + d * (k - 1) + 1 + rest == n and 0 <= rest < s
    x, w, y = g.draw(seed)
    assert x.shape == (g.batch, g.in_channels, *g.input) and y.shape == (g.batch, g.out_channels, *g.output)
    assert w.shape == (g.out_channels, g.in_channels // g.groups, *g.kernel)
    assert g.in_channels % g.groups == 0 == g.out_channels % g.groups
    assert set(g.options) == {"stride", "padding", "dilation", "groups"}


@given(g=strategies.conv_geometries(2, max_stride=1, min_batch=0, max_batch=0))
def test_geometries_take_bounds(g):
    assert g.ndim == 2 and g.stride == (1, 1) and g.output_padding == (0, 0) and g.batch == 0


def test_geometries_reach_the_corners():
    """Padding, dilation, stride with a rest, groups and three dimensions, all in one example."""
    g = find(
        strategies.conv_geometries(),
        lambda g: (
            g.ndim == 3
            and g.groups > 1
            and min(g.padding) > 0
            and min(g.dilation) > 1
            and max(g.output_padding) > 0
            and min(g.kernel) > 1
        ),
        settings=settings(max_examples=20_000, database=None, derandomize=True),
    )
    assert g.channels_per_group == (1, 1)  # shrunk


@given(case=strategies.modules())
def test_modules_take_their_input_and_have_right_gradients(case):
    module, x = case
    assert x.dtype == np.float32 and module(x).shape[0] == x.shape[0]
    assert_gradients(module, x, order=1)


@given(case=strategies.modules(smooth=False, deterministic=True))
def test_deterministic_modules(case):
    module, x = case
    module.eval()
    assert np.array_equal(module(x).detach().numpy(), module(x).detach().numpy())
    assert not any(isinstance(m, nn.Dropout) for m in module.modules())


@given(data=st.data(), layout=strategies.layouts(), dtype=strategies.float_dtypes())
def test_tensors(data, layout, dtype):
    x = data.draw(
        strategies.tensors((3, 4), dtype, layout=layout, low=1.0, high=2.0, distinct=True, requires_grad=True)
    )
    assert x.shape == (3, 4) and x.dtype == dtype and x.requires_grad and x.is_leaf
    assert x.is_contiguous() == (layout == "contiguous")
    flat = np.sort(x.detach().cpu().numpy().ravel())
    assert 1 <= flat[0] and flat[-1] <= 2 and np.diff(flat).min() >= 1 / 24 * 0.99


@given(shapes=strategies.broadcastable_shapes(3))
def test_broadcastable_shapes(shapes):
    assert np.broadcast_shapes(*shapes) is not None


@given(x=strategies.tensors(strategies.shapes(), avoid=[0.0, 1.0], gap=0.1))
def test_values_stay_away_from_kinks(x):
    assert (tg.abs(x) >= 0.1).all() and (tg.abs(x - 1) >= 0.1).all()
