"""hypothesis strategies: tensors (shapes, empty and zero-dimensional ones too, dtypes, memory layouts), the sizes of
convolutions, and modules with an input that they take.

    from hypothesis import given
    from tinygen.testing import assert_gradients, strategies

    @given(x=strategies.tensors(strategies.shapes(min_dims=1)))
    def test_my_function(x):
        assert_gradients(my_function, x)

Only shapes, dtypes, layouts and a seed are drawn; the values come from a generator with that seed.  That is fast, never
degenerates to all zeros, and a failure still shrinks to a small shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise ImportError("tinygen.testing.strategies needs hypothesis: pip install hypothesis") from error

from tinygen import backend, nn
from tinygen.tensor import Tensor
from tinygen.testing.geometry import ConvGeometry
from tinygen.testing.layouts import LAYOUTS
from tinygen.testing.maps import same_draws

Shape = tuple[int, ...]


def seeds() -> SearchStrategy[int]:
    """Seeds of random generators."""
    return st.integers(0, 2**32 - 1)


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> SearchStrategy[Shape]:
    """Shapes with min_dims to max_dims dimensions; sizes from min_side (0: empty tensors too) to max_side.

    The simplest one, which hypothesis tries most often and shrinks to, is (2,): it has more to show than () and (1,), which
    come too.  0 comes less often than the other sizes: one of them empties the whole tensor.
    """
    dims = st.sampled_from(_within([1, 2, 3, 0], min_dims, max_dims))
    side = st.sampled_from(_within([2, 3, 1] + [2, 3, 4, 1] * 2 + [0], min_side, max_side))
    return dims.flatmap(lambda n: st.tuples(*[side] * n))


def _within(numbers: list[int], low: int, high: int) -> list[int]:
    """Those of the numbers that lie between the bounds, and then what is missing up to `high`."""
    return [n for n in numbers if low <= n <= high] + [n for n in range(low, high + 1) if n not in numbers]


@st.composite
def broadcastable_shapes(
    draw: st.DrawFn, count: int, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> tuple[Shape, ...]:
    """`count` shapes that broadcast together: their dimensions, counted from the last, are equal or 1.

    min_dims, max_dims, min_side, max_side: of the shape that they broadcast to; see shapes.

    In most examples every one of them is stretched somewhere, as (2, 1) and (1, 3) are, or (2, 1) and (3,).
    """
    dims = draw(st.sampled_from(_within([2, 3, 1, 0], min_dims, max_dims)))
    full = draw(shapes(dims, dims, min_side, max_side))
    everyone = tuple(range(count))
    smaller = draw(st.sampled_from([everyone] * count + [(i,) for i in everyone] + [()]))

    def shape(i: int) -> Shape:
        if i not in smaller or not full:
            return full
        ones = missing = 0
        if draw(st.sampled_from([False, False, True])) and dims > min_dims:
            missing = draw(st.integers(1, dims - min_dims))
        elif min_side <= 1:  # one bit per dimension; not the same ones for all
            ones = (draw(st.integers(0, 2**dims - 2)) + i) % (2**dims - 1) + 1
        return tuple(1 if ones >> k & 1 else n for k, n in enumerate(full))[missing:]

    return tuple(shape(i) for i in everyone)


def float_dtypes() -> SearchStrategy[np.dtype]:
    """float32 and float64."""
    return st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])


def layouts() -> SearchStrategy[str]:
    """Names of memory layouts: contiguous, transposed, strided, reversed (tinygen.testing.layouts)."""
    return st.sampled_from(list(LAYOUTS))


def axes(ndim: int) -> SearchStrategy[int]:
    """A dimension of a tensor with ndim > 0 dimensions, counted from either end."""
    return st.integers(-ndim, ndim - 1)


def values(
    shape: Shape,
    dtype: Any = np.float64,
    *,
    low: float = -2.0,
    high: float = 2.0,
    avoid: Sequence[float] = (),
    gap: float = 0.05,
    distinct: bool = False,
) -> SearchStrategy[np.ndarray]:
    """NumPy arrays of one shape and dtype, with values between low and high.

    avoid: places (kinks, poles) that no value comes closer to than `gap`.
    distinct: no two values are closer than (high - low) / (2 size), so that no maximum is a tie.
    Integer and bool dtypes: integers from low, ..., high.
    """

    def make(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        if np.dtype(dtype).kind == "b":
            return np.asarray(rng.random(shape) < 0.5)
        if np.dtype(dtype).kind in "iu":
            return np.asarray(rng.integers(int(low), int(high), shape, endpoint=True), dtype=dtype)
        if distinct:
            n = int(np.prod(shape))
            places = (rng.permutation(n) + 0.25 + 0.5 * rng.random(n)).reshape(shape) / max(n, 1)
        else:
            places = rng.random(shape)
        x = np.asarray(low + (high - low) * places)
        for kink in avoid:
            near = np.abs(x - kink) < gap
            x = np.where(near, kink + np.where(x < kink, -gap, gap) * (1 + np.abs(x - kink)), x)
        return np.asarray(x, dtype=dtype)

    return seeds().map(make)


@st.composite
def tensors(
    draw: st.DrawFn,
    shape: Shape | SearchStrategy[Shape] | None = None,
    dtype: Any = np.float64,
    *,
    device: str = "cpu",
    layout: str | SearchStrategy[str] | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Tensors of a drawn (or given) shape, dtype and memory layout.

    shape, dtype, layout: one of them, or a strategy for it; by default shapes(), float64, layouts().
    device, requires_grad: of the tensor.
    options: those of `values`: low, high, avoid, gap, distinct.
    """
    chosen = draw(shapes() if shape is None else shape) if not isinstance(shape, tuple) else shape
    kind = draw(dtype) if isinstance(dtype, SearchStrategy) else dtype
    name = layout if isinstance(layout, str) else draw(layout or layouts())
    array = draw(values(chosen, kind, **options))
    x = LAYOUTS[name](Tensor(backend.to_device(array, backend.device(device))))
    return Tensor(x.array).requires_grad_(requires_grad)


@st.composite
def conv_geometries(
    draw: st.DrawFn,
    ndim: int | None = None,
    *,
    max_output: int = 4,
    max_kernel: int = 3,
    max_stride: int = 3,
    max_padding: int = 2,
    max_dilation: int = 3,
    max_groups: int = 3,
    max_channels: int = 2,
    min_batch: int = 1,
    max_batch: int = 2,
) -> ConvGeometry:
    """Sizes of convolutions in 1, 2 or 3 spatial dimensions (or ndim), with at least one output.

    max_output, max_kernel, max_stride, max_padding, max_dilation: the largest in any dimension.
    max_groups; max_channels: per group.  min_batch, max_batch: images in a batch.

    The input size follows from the output's, so that nothing has to be thrown away; every
    combination of kernel, stride, padding and dilation that gives at least one output of an input of at least one can occur.
    """
    ndim = draw(st.integers(1, 3)) if ndim is None else ndim
    axes = []
    for _ in range(ndim):
        k, s, d = (draw(st.integers(1, most)) for most in (max_kernel, max_stride, max_dilation))
        rest = draw(st.integers(0, s - 1))  # what the last stride does not reach
        padded = (draw(st.integers(1, max_output)) - 1) * s + d * (k - 1) + 1 + rest
        p = draw(st.integers(0, min(max_padding, (padded - 1) // 2)))
        axes.append((padded - 2 * p, k, s, p, d, rest))
    channels = (draw(st.integers(1, max_channels)), draw(st.integers(1, max_channels)))
    batch, groups = draw(st.integers(min_batch, max_batch)), draw(st.integers(1, max_groups))
    return ConvGeometry(batch, groups, channels, *zip(*axes, strict=True))


_SMOOTH = [nn.Tanh, nn.Sigmoid, nn.SiLU, nn.GELU, nn.Softplus, nn.LogSigmoid, nn.Identity]
_KINKED = [nn.ReLU, nn.LeakyReLU]


@st.composite
def modules(
    draw: st.DrawFn,
    *,
    max_layers: int = 4,
    max_features: int = 5,
    smooth: bool = True,
    deterministic: bool = False,
) -> tuple[nn.Module, Tensor]:
    """(module, input): a small random stack of layers, in training or evaluation mode, and an input that it takes.

    input: (batch, features).  Batches have 3 to 5 elements, and layers at least 3 features: two values normalised by their
        own moments are +1 and -1 whatever they were, and one is 0.
    max_layers: of a stack, which may hold others.  max_features: of every layer.
    smooth: no ReLU and LeakyReLU.  deterministic: no dropout.
    """
    seed, batch = draw(seeds()), draw(st.integers(3, 5))
    kinds = ["linear", "activation", "layer norm", "batch norm", "nested"] + ["dropout"] * (not deterministic)

    def layer(n: int, depth: int) -> tuple[nn.Module, int]:
        kind = draw(st.sampled_from(kinds))
        if kind == "linear":
            m = draw(st.integers(3, max_features))
            return nn.Linear(n, m, bias=draw(st.booleans())), m
        if kind == "layer norm":
            return nn.LayerNorm(n), n
        if kind == "batch norm":
            return nn.BatchNorm1d(n), n
        if kind == "dropout":
            return nn.Dropout(draw(st.sampled_from([0.0, 0.25, 0.5]))), n
        if kind == "nested" and depth < 2:
            return stack(n, depth + 1)
        return draw(st.sampled_from(_SMOOTH if smooth else _SMOOTH + _KINKED))(), n

    def stack(n: int, depth: int) -> tuple[nn.Module, int]:
        layers = []
        for _ in range(draw(st.integers(1, max_layers))):
            made, n = layer(n, depth)
            layers.append(made)
        return nn.Sequential(*layers), n

    features = draw(st.integers(3, max_features))
    with same_draws(seed):
        module, _ = stack(features, 0)
    rng = np.random.default_rng(seed)
    for b in module.buffers():  # running moments as if after some training
        if b.dtype.kind == "f":
            b.array = (0.5 + rng.random(b.shape)).astype(b.dtype)
    x = Tensor(rng.normal(size=(batch, features)).astype(np.float32))
    return module.train(draw(st.booleans())), x
