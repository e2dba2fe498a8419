"""Convolutions and their transposes, functions and layers; the operators behind them have tests of their own."""

from __future__ import annotations

from tests.ours.table import function, module, rows, tensor
from tinygen import nn

# fmt: off
function("conv1d",           rows(2, 5),       tensor(3, 2, 3),       tensor(3))
function("conv1d unbatched", tensor(4, 6),     tensor(6, 2, 2),       stride=2, padding=1, dilation=2, groups=2)
function("conv2d",           rows(2, 4, 3),    tensor(2, 2, 3, 2),    tensor(2), stride=(2, 1), padding=(1, 0))
function("conv2d same",      rows(1, 3, 4),    tensor(2, 1, 2, 3),    padding="same")
function("conv2d depthwise", rows(3, 3, 3),    tensor(3, 1, 2, 2),    tensor(3), groups=3)
function("conv3d",           rows(1, 3, 2, 3), tensor(2, 1, 2, 2, 2), tensor(2), padding=(0, 1, 0))

function("conv_transpose1d",           rows(2, 3),       tensor(2, 3, 3),       tensor(3))
function("conv_transpose1d unbatched", tensor(4, 3),     tensor(4, 1, 2),       stride=3, padding=1, output_padding=2, groups=2)
function("conv_transpose1d dilated",   rows(1, 2),       tensor(1, 1, 2),       dilation=3, output_padding=2)
function("conv_transpose2d",           rows(2, 2, 3),    tensor(2, 2, 3, 2),    tensor(2), stride=(2, 1), padding=(1, 0))
function("conv_transpose3d",           rows(1, 2, 1, 2), tensor(1, 2, 2, 2, 2), tensor(2), stride=2, output_padding=(0, 1, 0))

module("Conv1d",             lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1),                        rows(2, 5))
module("Conv1d circular",    lambda: nn.Conv1d(1, 2, 4, padding="same", padding_mode="circular"),    rows(1, 5))
module("Conv2d",             lambda: nn.Conv2d(2, 2, (3, 2), padding=(1, 0)),                        rows(2, 4, 3))
module("Conv2d grouped",     lambda: nn.Conv2d(4, 2, 2, dilation=2, groups=2, bias=False),           rows(4, 3, 4))
module("Conv2d reflect",     lambda: nn.Conv2d(1, 2, 3, padding=(2, 1), padding_mode="reflect"),     rows(1, 3, 3))
module("Conv3d",             lambda: nn.Conv3d(1, 2, 2),                                             rows(1, 2, 3, 2))
module("ConvTranspose1d",    lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1),               rows(2, 3))
module("ConvTranspose2d",    lambda: nn.ConvTranspose2d(2, 2, 2, stride=2, output_padding=(0, 1)),   rows(2, 2, 2))
module("ConvTranspose2d grouped", lambda: nn.ConvTranspose2d(2, 4, 2, groups=2, bias=False),         rows(2, 2, 2))
module("ConvTranspose3d",    lambda: nn.ConvTranspose3d(1, 2, 2),                                    rows(1, 2, 1, 2))
# fmt: on
