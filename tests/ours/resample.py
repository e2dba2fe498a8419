"""Pooling, resampling and padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygen as tg
from tests.ours.table import BATCH, ENTRIES, function, module, rows, tensor
from tinygen import nn
from tinygen.testing import strategies as ts

IMAGES = tensor(2, 2, 3, 4) | tensor(2, 4, 3)
SIGNALS = tensor(2, 2, 5) | tensor(2, 5)

# No difference lifts one value over another.
APART = ts.tensors((2, 2, 4, 5), distinct=True) | ts.tensors((2, 5, 3), distinct=True)
APART_SIGNALS = ts.tensors((2, 2, 5), distinct=True)

function("max_pool1d", APART_SIGNALS, st.just(2))
function("max_pool1d all", APART_SIGNALS, st.just(3), stride=1, padding=1, dilation=2, ceil_mode=True)
function("max_pool2d", APART, st.just(2))
function("max_pool2d all", APART, st.just((3, 2)), stride=(1, 2), padding=(1, 0), ceil_mode=True)
function("max_pool2d indices", APART, st.just(2), return_indices=True)
function("avg_pool1d", SIGNALS, st.just(2))
function("avg_pool2d", IMAGES, st.just(2))
function("avg_pool2d all", IMAGES, st.just(3), stride=2, padding=1, ceil_mode=True, count_include_pad=False)
function("avg_pool2d divisor", IMAGES, st.just((2, 3)), divisor_override=5)
function("adaptive_avg_pool1d", SIGNALS, st.sampled_from([1, 3, 5, 7]))
function("adaptive_avg_pool2d", IMAGES, st.sampled_from([1, (2, 3), (None, 2), 5]))
# every window of 2 × 3 pixels has its value at a place of its own
CORNERS = np.array([[0, 3, 6], [18, 21, 24]])
WITHIN = ts.values((2, 2, 2, 3), np.int64, low=0, high=2)
function("max_unpool2d", tensor(2, 2, 2, 3), WITHIN.map(lambda k: tg.tensor(CORNERS + k)), st.just((2, 3)))
function("max_unpool1d", tensor(2, 2, 3), WITHIN.map(lambda k: tg.tensor(CORNERS[0] + k[0])), st.just(3))

function("interpolate", IMAGES.filter(lambda x: x.ndim == 4), st.sampled_from([(6, 8), (2, 7), 3]))
function("interpolate factor", tensor(1, 2, 3, 2), scale_factor=(2, 1.6))
for corners in (None, True):
    name = f"interpolate{' corners' if corners else ''}"
    function(f"{name} linear", tensor(2, 2, 3), st.sampled_from([1, 2, 7]), mode="linear", align_corners=corners)
    function(
        f"{name} bilinear", tensor(2, 1, 2, 3), st.sampled_from([(5, 2), 4]), mode="bilinear", align_corners=corners
    )
function("interpolate trilinear", tensor(1, 2, 2, 1, 3), scale_factor=2, mode="trilinear")
function("interpolate exact", tensor(1, 2, 3, 2), st.just((5, 3)), mode="nearest-exact")
function("interpolate bicubic", tensor(2, 1, 2, 3), st.sampled_from([(5, 2), 4]), mode="bicubic")
function("interpolate area", tensor(2, 1, 2, 3), st.sampled_from([(5, 2), 4]), mode="area")
function("interpolate antialias", tensor(2, 1, 5, 3), st.just((2, 4)), mode="bicubic", antialias=True)
function("channel_shuffle", tensor(2, 6, 2) | tensor(1, 4, 2, 3), st.just(2))
function("pixel_shuffle", tensor(2, 8, 2, 3) | tensor(4, 1, 2), st.just(2))
function("pixel_unshuffle", tensor(2, 2, 4, 2) | tensor(1, 2, 6), st.just(2))
function("unfold", IMAGES, st.just((2, 3)), dilation=(2, 1), padding=(0, 1), stride=(1, 2))
function("fold", tensor(2, 8, 6) | tensor(4, 6), st.just((3, 4)), st.just(2))
function("fold all", tensor(1, 6, 4), st.just((3, 4)), st.just((2, 3)), padding=(1, 2), stride=(2, 3))

function("pad", ts.tensors(ts.shapes(min_dims=1)), st.just((1, 2)))
function("pad value", ts.tensors(ts.shapes(min_dims=2)), st.just((0, 1, 2, 0)), value=1.5)
function("pad negative", ts.tensors(ts.shapes(min_dims=1, min_side=2)), st.just((-1, 2)))
for mode in ("reflect", "replicate", "circular"):
    function(f"pad {mode}", IMAGES, st.just((2, 1, 0, 2)), mode=mode)
    function(f"pad {mode} signal", tensor(2, 3), st.just((2, 2)), mode=mode)

FOUR = rows(2, 4, 4)
DISTINCT = ts.tensors(BATCH.map(lambda n: (n, 2, 4, 4)), distinct=True)
module("MaxPool1d", lambda: nn.MaxPool1d(2), ts.tensors(BATCH.map(lambda n: (n, 2, 5)), distinct=True), kinks="raise")
module("MaxPool2d", lambda: nn.MaxPool2d(3, 2, 1), DISTINCT, kinks="raise")
module("AvgPool1d", lambda: nn.AvgPool1d(2), rows(2, 5), kinks="raise")
module("AvgPool2d", lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), FOUR, kinks="raise")
module("AdaptiveAvgPool1d", lambda: nn.AdaptiveAvgPool1d(3), rows(2, 5), kinks="raise")
module("AdaptiveAvgPool2d", lambda: nn.AdaptiveAvgPool2d((3, None)), FOUR, kinks="raise")
module("Upsample", lambda: nn.Upsample(scale_factor=2), FOUR, kinks="raise")
module("Upsample bilinear", lambda: nn.Upsample((5, 6), mode="bilinear", align_corners=True), FOUR, kinks="raise")
module("PixelShuffle", lambda: nn.PixelShuffle(2), rows(4, 2, 3), kinks="raise")
module("PixelUnshuffle", lambda: nn.PixelUnshuffle(2), FOUR, kinks="raise")
module("ConstantPad2d", lambda: nn.ConstantPad2d((1, 0, -1, 2), 1.5), FOUR, kinks="raise")
module("ZeroPad2d", lambda: nn.ZeroPad2d(1), FOUR, kinks="raise")
module("ReflectionPad2d", lambda: nn.ReflectionPad2d((1, 2, 3, 0)), FOUR, kinks="raise")
module("ReplicationPad2d", lambda: nn.ReplicationPad2d((1, 2, 5, 0)), FOUR, kinks="raise")
module("Unfold", lambda: nn.Unfold(2, stride=2), FOUR, kinks="raise")
module("Fold", lambda: nn.Fold((4, 4), 2, stride=2), rows(8, 4), kinks="raise")


class Unpooled(nn.Module):
    """The largest value of every window, at its place; elsewhere 0."""

    def __init__(self, pool: nn.Module, unpool: nn.Module):
        super().__init__()
        self.pool, self.unpool = pool, unpool

    def forward(self, x: Any) -> Any:
        return self.unpool(*self.pool(x))


module("MaxUnpool1d", lambda: Unpooled(nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2)),
       ts.tensors(BATCH.map(lambda n: (n, 2, 4)), distinct=True), kinks="raise")  # fmt: skip
module(
    "MaxUnpool2d", lambda: Unpooled(nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)), DISTINCT, kinks="raise"
)

# Further dimensions, and the paddings
VOLUMES = tensor(2, 2, 2, 3, 2) | tensor(1, 3, 2, 4)
APART_VOLUMES = ts.tensors((1, 2, 3, 2, 4), distinct=True) | ts.tensors((1, 2, 3, 5), distinct=True)
POSITIVE = ts.tensors((2, 2, 4, 5), low=0.5, high=2.0)
function("max_pool3d", APART_VOLUMES, st.just(2))
function("max_pool3d all", APART_VOLUMES, st.just((2, 1, 3)), stride=(1, 2, 1), padding=(1, 0, 1), return_indices=True)
function("avg_pool3d", VOLUMES, st.just((2, 1, 2)), count_include_pad=False, padding=(1, 0, 1))
function("adaptive_avg_pool3d", VOLUMES, st.sampled_from([1, (3, 2, None)]))
function("adaptive_max_pool1d", APART_SIGNALS, st.sampled_from([1, 3, 5, 7]))
function("adaptive_max_pool2d", APART, st.sampled_from([1, (2, 3), (None, 2), 3]))
function("adaptive_max_pool2d indices", APART, st.just((3, 2)), return_indices=True)
function("adaptive_max_pool3d", APART_VOLUMES, st.sampled_from([1, (2, 3, None)]))
function("lp_pool1d", ts.tensors((2, 2, 5), low=0.5, high=2.0), st.sampled_from([1, 2, 3.5]), st.just(2))
function("lp_pool2d", POSITIVE, st.sampled_from([1, 2.5]), st.just((3, 2)), stride=2, ceil_mode=True)
function("lp_pool3d", ts.tensors((1, 2, 2, 3, 4), low=0.5, high=2.0), st.just(3), st.just((2, 3, 2)))
CORNERS_OF_VOLUMES = np.array([[[0, 2], [8, 10]], [[32, 34], [40, 42]]])
function("max_unpool3d", tensor(1, 1, 2, 2, 2), st.integers(0, 1).map(lambda k: tg.tensor((CORNERS_OF_VOLUMES + k)[None, None])),
         st.just(2))  # fmt: skip

module(
    "MaxPool3d",
    lambda: nn.MaxPool3d(2, padding=1),
    ts.tensors(BATCH.map(lambda n: (n, 1, 2, 3, 2)), distinct=True),
    kinks="raise",
)
module("AvgPool3d", lambda: nn.AvgPool3d(2), rows(2, 2, 3, 2), kinks="raise")
module("AdaptiveAvgPool3d", lambda: nn.AdaptiveAvgPool3d((3, None, 1)), rows(2, 2, 3, 2), kinks="raise")
module(
    "AdaptiveMaxPool1d",
    lambda: nn.AdaptiveMaxPool1d(3),
    ts.tensors(BATCH.map(lambda n: (n, 2, 5)), distinct=True),
    kinks="raise",
)
module("AdaptiveMaxPool2d", lambda: nn.AdaptiveMaxPool2d((3, None)), DISTINCT, kinks="raise")
module("AdaptiveMaxPool3d", lambda: nn.AdaptiveMaxPool3d(2), ts.tensors(BATCH.map(lambda n: (n, 1, 2, 3, 2)), distinct=True),
       kinks="raise")  # fmt: skip
for n, sizes in enumerate(((5,), (3, 4), (2, 3, 3)), 1):
    around = tuple(range(1, 2 * n + 1)) if n < 2 else (1, 2, 1, 1, 0, 1)[: 2 * n]
    positive = rows(2, *sizes, low=0.5, high=2.0)
    module(f"LPPool{n}d", lambda n=n: getattr(nn, f"LPPool{n}d")(3, 2), positive, kinks="raise")
    for kind in ("Zero", "Reflection", "Replication", "Circular"):
        name = f"{kind}Pad{n}d"
        if name not in ENTRIES:
            module(name, lambda name=name, around=around: getattr(nn, name)(around), rows(2, *sizes), kinks="raise")
    if n != 2:
        module(
            f"ConstantPad{n}d",
            lambda n=n: getattr(nn, f"ConstantPad{n}d")((-1, 2) * n, 1.5),
            rows(2, *sizes),
            kinks="raise",
        )
module("MaxUnpool3d", lambda: Unpooled(nn.MaxPool3d(2, return_indices=True), nn.MaxUnpool3d(2)),
       ts.tensors(BATCH.map(lambda n: (n, 1, 2, 4, 2)), distinct=True), kinks="raise")  # fmt: skip
module("UpsamplingNearest2d", lambda: nn.UpsamplingNearest2d(scale_factor=2), FOUR, kinks="raise")
module("UpsamplingBilinear2d", lambda: nn.UpsamplingBilinear2d((3, 6)), FOUR, kinks="raise")
module("ChannelShuffle", lambda: nn.ChannelShuffle(2), rows(4, 3), kinks="raise")

# Places between pixels, a fifth of one away from them at least: multiples of 1/5, and what reflection maps these to
BETWEEN = st.lists(st.sampled_from([-9, -4, -2, -1, 1, 2, 3, 4, 6, 7, 8, 9, 11, 13]), min_size=12, max_size=12)


def grids(size: tuple[int, ...], *out: int) -> Any:
    """Places in pixels, as grid_sample wants them with align_corners=False."""
    n = len(size)

    def grid(numbers: list[int]) -> tg.Tensor:
        places = np.resize(np.array(numbers) / 5 + 0.04, (2, *out, n))
        return tg.tensor((2 * places + 1) / np.array(size[::-1]) - 1)

    return BETWEEN.map(grid)


for padding in ("zeros", "border", "reflection"):
    function(f"grid_sample {padding}", tensor(2, 2, 3, 4), grids((3, 4), 2, 3), padding_mode=padding)
function("grid_sample volumes", tensor(2, 1, 2, 3, 2), grids((2, 3, 2), 1, 2, 2))
function("grid_sample nearest", tensor(2, 2, 3, 4), grids((3, 4), 2, 3), mode="nearest")
function("grid_sample bicubic", tensor(2, 2, 3, 4), grids((3, 4), 2, 3), mode="bicubic", padding_mode="border")
function("affine_grid", tensor(2, 2, 3), st.just((2, 1, 3, 2)))
function("affine_grid corners", tensor(1, 3, 4), st.just((1, 2, 2, 1, 3)), align_corners=True)
