"""The functions of tinygen.nn.functional.  Losses: losses.py."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.ours.table import SHAPE, Entry, enter, function, rows, several_rows, tensor
from tinygen import nn
from tinygen.nn import functional as F
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_module

X = ts.tensors(SHAPE)
AWAY = ts.tensors(SHAPE, avoid=(0.0,), gap=0.2)  # from the kink at 0
POSITIVE = {"low": 0.5, "high": 2.0}  # differences step aside, and must not reach 0

for name in ("relu", "leaky_relu", "elu", "relu6", "selu", "celu", "softsign"):
    function(name, AWAY)
for name in (
    "gelu",
    "logsigmoid",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
    "mish",
    "tanhshrink",
    "hardsigmoid",
    "hardswish",
):
    function(name, X)  # the last two have their kinks at -3 and 3
for name in ("softmax", "softmin", "log_softmax"):
    function(name, X, dim=-1)
    function(f"{name} dim", ts.tensors(ts.shapes(min_dims=1)), dim=0)
ONES = ts.tensors(SHAPE, avoid=(-1.0, 1.0), gap=0.2)  # away from there
HALVES = ts.tensors(SHAPE, avoid=(-0.5, 0.5), gap=0.2)
function("hardtanh", ONES)
function("threshold", ONES, threshold=1.0, value=-3.0)
function("hardshrink", HALVES)
function("softshrink", HALVES)
function("celu 0.5", AWAY, alpha=0.5)
function("softplus low", HALVES, threshold=0.5)
function("glu", ts.tensors(SHAPE.map(lambda s: (*s, 4))))
function("glu dim", ts.tensors(SHAPE.map(lambda s: (2, *s))), dim=0)
function("prelu", AWAY, tensor())
function("prelu channels", rows(2, 3, avoid=(0.0,), gap=0.2), tensor(2))
function("leaky_relu 0.2", AWAY, negative_slope=0.2)
function("elu 0.5", AWAY, alpha=0.5)
function("gelu tanh", X, approximate="tanh")
function("softplus 2", X, beta=2.0)

function("linear", ts.tensors(ts.shapes().map(lambda s: (*s, 3))), tensor(2, 3), tensor(2))
function("linear no bias", tensor(0, 3), tensor(2, 3))
LEADING = st.shared(ts.shapes(max_dims=2), key="leading")
function(
    "bilinear",
    ts.tensors(LEADING.map(lambda s: (*s, 3))),
    ts.tensors(LEADING.map(lambda s: (*s, 2))),
    tensor(4, 3, 2),
    tensor(4),
)
function("embedding", ts.tensors(ts.shapes(), "int64", low=0, high=3), tensor(4, 2))
# the row of padding_idx gets no gradient, although the value depends on it: that row is not asked for
function("embedding padding", ts.tensors(ts.shapes(), "int64", low=1, high=3), tensor(4, 2), padding_idx=0)
function("one_hot", ts.tensors(ts.shapes(), "int64", low=0, high=3), num_classes=4, order=0)

PER_CHANNEL = (tensor(2), tensor(2))
for name, x in {"": several_rows(2), " images": several_rows(2, 2, 3), " empty": tensor(3, 2, 0)}.items():
    function(f"batch_norm{name}", x, tensor(2), tensor(2, **POSITIVE), *PER_CHANNEL)
for name, x in {"": several_rows(2), " images": several_rows(2, 2, 3)}.items():
    function(f"batch_norm training{name}", x, st.none(), st.none(), *PER_CHANNEL, training=True)
ALONE = rows(2, 3, distinct=True)
function("instance_norm", ALONE, st.none(), st.none(), *PER_CHANNEL)
function("instance_norm running", ALONE, tensor(2), tensor(2, **POSITIVE), *PER_CHANNEL, use_input_stats=False)
function("instance_norm plain", rows(2, 2, 2, distinct=True))
function("group_norm", rows(4, 2, distinct=True), st.just(2), tensor(4), tensor(4))
function("group_norm no weight", rows(3, distinct=True), st.just(1), st.none(), tensor(3))
function("group_norm empty", tensor(2, 2, 0), st.just(2))
LAST = ts.tensors(ts.shapes(max_dims=2).map(lambda s: (*s, 2, 3)), distinct=True)
function("layer_norm", LAST, st.just((2, 3)), tensor(2, 3), tensor(2, 3))
function("layer_norm last", LAST, st.just(3))
function(
    "rms_norm",
    ts.tensors(ts.shapes(max_dims=2).map(lambda s: (*s, 2, 3)), distinct=True),
    st.just((2, 3)),
    tensor(2, 3),
    eps=0.1,
)
function("rms_norm last", ts.tensors(ts.shapes(max_dims=2).map(lambda s: (*s, 3)), low=0.5, high=2.0), st.just(3))
function("local_response_norm", rows(4, 2), st.just(3), alpha=0.5, k=2.0)
function("local_response_norm even", rows(3, 1, 2), st.just(4))
# a number divided by its own length is 1, and its slope nothing but rounding: at least two of them
LONG = ts.tensors(ts.shapes(min_dims=2, min_side=2), **POSITIVE)
function("normalize", LONG)
function("normalize p", LONG, p=3.0, dim=0)
function("normalize empty", tensor(0, 2) | tensor(2, 0))
function("normalize empty p", tensor(0, 2) | tensor(2, 0), p=3.0)


class Drawing(nn.Module):
    """A function that draws at random, as a module: check_module seeds it, and does not compare devices."""

    def __init__(self, f: Any, **options: Any):
        super().__init__()
        self.f, self.options = f, options

    def forward(self, x: Any) -> Any:
        return self.f(x, **self.options)


drawing = lambda: Drawing(F.gumbel_softmax, tau=2.0)
enter("functional.gumbel_softmax", Entry(check_module, drawing, (rows(3),), {"modes": ["train"]}))
enter("functional.dropout", Entry(check_module, lambda: Drawing(F.dropout, p=0.3), (X,), {"modes": ["train"]}))
for name, sizes in (("dropout1d", (2, 3)), ("dropout2d", (2, 3, 1)), ("dropout3d", (2, 1, 3, 1))):
    drawing = lambda name=name: Drawing(getattr(F, name), p=0.3)
    enter(f"functional.{name}", Entry(check_module, drawing, (rows(*sizes),), {"modes": ["train"]}))
function("dropout off", X, training=False)
function("dropout all", X, p=1.0)
