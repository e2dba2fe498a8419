"""The layers and containers of tinygen.nn."""

from __future__ import annotations

from typing import Any

from tests.ours.table import module, rows, several_rows, tensor, trained
from tinygen import nn
from tinygen.nn.layers.normalization import BatchNorm, InstanceNorm

# Elementwise, and what only rearranges.  Kinked ones are checked where they are smooth.
AWAY = rows(3, avoid=(0.0,), gap=0.2)
for activation in (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.ReLU6, nn.SELU, nn.CELU, nn.Softsign, nn.PReLU):
    module(activation.__name__, activation, AWAY, kinks="raise")
for activation in (
    *(nn.GELU, nn.Identity, nn.LogSigmoid, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh, nn.Mish, nn.Tanhshrink),
    *(nn.Hardsigmoid, nn.Hardswish),  # their kinks are at -3 and 3
):
    module(activation.__name__, activation, rows(3), kinks="raise")
for activation in (nn.Hardshrink, nn.Softshrink):
    module(activation.__name__, activation, rows(3, avoid=(-0.5, 0.5), gap=0.2))
module("Hardtanh", lambda: nn.Hardtanh(-0.5, 0.5), rows(3, avoid=(-0.5, 0.5), gap=0.2))
module("Threshold", lambda: nn.Threshold(0.0, 5.0), AWAY)
module("PReLU channels", lambda: nn.PReLU(3), rows(3, 2, avoid=(0.0,), gap=0.2))
module("GLU", lambda: nn.GLU(1), rows(4, 2))
module("Softmin", lambda: nn.Softmin(dim=1), rows(3, 2), kinks="raise")
module("Softmax2d", nn.Softmax2d, rows(2, 1, 2), kinks="raise")
module("LeakyReLU 0.2", lambda: nn.LeakyReLU(0.2), AWAY)
module("ELU 0.5", lambda: nn.ELU(0.5), AWAY)
module("GELU tanh", lambda: nn.GELU("tanh"), rows(3))
module("Softplus 2", lambda: nn.Softplus(2.0), rows(3))
module("Softmax", lambda: nn.Softmax(dim=1), rows(3, 2), kinks="raise")
module("LogSoftmax", lambda: nn.LogSoftmax(dim=-1), rows(3, 2), kinks="raise")
module("Flatten", nn.Flatten, rows(2, 3))
module("Unflatten", lambda: nn.Unflatten(1, (2, -1)), rows(6))
module("Dropout", lambda: nn.Dropout(0.4), rows(5))
module("Dropout1d", lambda: nn.Dropout1d(0.4), rows(3, 2))
module("Dropout1d single", lambda: nn.Dropout1d(0.4), rows(2))
module("Dropout2d", lambda: nn.Dropout2d(0.4), rows(3, 2, 1))
module("Dropout3d", lambda: nn.Dropout3d(0.4), rows(3, 2, 1, 1))

module("Linear", lambda: nn.Linear(3, 2), rows(3), kinks="raise")
module("Linear no bias", lambda: nn.Linear(3, 2, bias=False), rows(2, 3))
module("Bilinear", lambda: nn.Bilinear(3, 2, 2), rows(3), rows(2), kinks="raise")
module("Embedding", lambda: nn.Embedding(4, 2), rows(3, dtype="int64", low=0, high=3), kinks="raise")

# Where `buffers` is given, evaluation differentiates in the running moments too.
module("BatchNorm1d", lambda: trained(nn.BatchNorm1d(2)), several_rows(2), buffers=True, empty=False)
module("BatchNorm1d images", lambda: trained(nn.BatchNorm1d(2)), several_rows(2, 2), buffers=True, empty=False)
module("BatchNorm1d eval", lambda: trained(nn.BatchNorm1d(2)), rows(2), modes=("eval",))
module("BatchNorm1d plain", lambda: nn.BatchNorm1d(2, affine=False, momentum=None), several_rows(2), empty=False)
module("BatchNorm2d", lambda: trained(nn.BatchNorm2d(2)), several_rows(2, 1, 2), buffers=True, empty=False)
module("BatchNorm3d", lambda: trained(nn.BatchNorm3d(2)), several_rows(2, 1, 2, 1), buffers=True, empty=False)
module("BatchNorm", lambda: trained(BatchNorm(2)), several_rows(2, 1, 2), buffers=True, empty=False)
ALONE = rows(2, 3, distinct=True)  # enough positions for moments of every element's own
module("InstanceNorm", lambda: InstanceNorm(2), ALONE)
module("InstanceNorm1d", lambda: trained(nn.InstanceNorm1d(2, affine=True)), ALONE)
module(
    "InstanceNorm1d tracking",
    lambda: trained(nn.InstanceNorm1d(2, affine=True, track_running_stats=True)),
    ALONE,
    buffers=True,
)
module("InstanceNorm1d single", lambda: nn.InstanceNorm1d(2), tensor(2, 3, distinct=True), empty=False)
module("InstanceNorm2d", lambda: trained(nn.InstanceNorm2d(2, affine=True)), rows(2, 2, 2, distinct=True))
module("InstanceNorm3d", lambda: nn.InstanceNorm3d(1), rows(1, 2, 2, 1, distinct=True))
module("GroupNorm", lambda: trained(nn.GroupNorm(2, 4)), rows(4, 2, distinct=True))
module("GroupNorm vectors", lambda: nn.GroupNorm(1, 3, affine=False), rows(3, distinct=True))
module("GroupNorm no bias", lambda: trained(nn.GroupNorm(2, 4, bias=False)), rows(4, 2, distinct=True))
module("InstanceNorm1d no bias", lambda: trained(nn.InstanceNorm1d(2, affine=True, bias=False)), ALONE)
module("RMSNorm", lambda: trained(nn.RMSNorm((2, 3))), rows(2, 3, distinct=True))
module("RMSNorm plain", lambda: nn.RMSNorm(3, eps=0.1, elementwise_affine=False), rows(3))
module("LocalResponseNorm", lambda: nn.LocalResponseNorm(2, 0.5, k=2.0), rows(3, 2))
module("LayerNorm", lambda: trained(nn.LayerNorm(3)), rows(3, distinct=True))
module("LayerNorm two", lambda: trained(nn.LayerNorm((2, 3), bias=False)), rows(2, 3, distinct=True))


class Chain(nn.Module):
    """Layers of a ModuleList one after the other, one of a ModuleDict, and a sum with the weights of a ParameterList."""

    def __init__(self) -> None:
        super().__init__()
        self.list = nn.ModuleList([nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)])
        self.dict = nn.ModuleDict({"used": nn.Linear(3, 2, bias=False), "unused": nn.Linear(1, 1)})
        self.scales = nn.ParameterDict({"out": trained(nn.Linear(2, 1, bias=False)).weight})
        self.weights = nn.ParameterList([nn.Parameter(w) for w in trained(nn.Linear(2, 2)).parameters()])

    def forward(self, x: Any) -> Any:
        y = self.dict["used"](x)
        for layer in self.list:
            x = layer(x)
        return (x + y * self.scales["out"]) @ self.weights[0] + self.weights[1]


module("Sequential", lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 2)), rows(3))
for container in ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict"):
    module(container, Chain, rows(3))
module("ParametrizationList", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), rows(3), kinks="raise")
