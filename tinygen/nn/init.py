"""Where parameters start: functions that overwrite a tensor in place, outside of any graph (torch.nn.init).

All return the tensor.  The random ones take `generator=`; without it they use the default generator of the tensor's device.
For weights of shape (out, in, *kernel): fan_in = in · kernel size, fan_out = out · kernel size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.backend import Generator, default_generator, to_device, to_numpy
from tinygen.engine import no_grad
from tinygen.errors import ShapeError
from tinygen.inplace import write

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks the standard deviation, to be made up for by the weights before it.

    nonlinearity: "linear", "conv2d", ..., "sigmoid", "tanh", "relu", "selu", or "leaky_relu" with param its negative slope.
    Raises ValueError for another.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity not in _GAINS:
        raise ValueError(
            f"calculate_gain: unknown nonlinearity {nonlinearity!r}; known are {', '.join(_GAINS)}, leaky_relu, conv2d"
        )
    return _GAINS[nonlinearity]


def fans(name: str, tensor: Any) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight.

    name: of the function that asks, for its error.  tensor: the weight, (out, in, *kernel).
    Raises ShapeError for fewer than two dimensions.
    """
    if tensor.ndim < 2:
        raise ShapeError(
            f"{name}: fan_in and fan_out need a weight of at least 2 dimensions, got shape {tuple(tensor.shape)}"
        )
    kernel = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel, tensor.shape[0] * kernel


@no_grad()
def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Any:
    """Draws from [a, b).

    tensor: is overwritten, whatever its shape, and returned.
    generator: where the draws come from; None: the default one of the tensor's device.
    """
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Any:
    """Draws from N(mean, std²), with the standard deviation std.

    tensor, generator: as uniform_ has them.
    """
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def constant_(tensor: Any, val: float) -> Any:
    """`val` everywhere.

    tensor: is overwritten, whatever its shape, and returned.
    """
    return tensor.fill_(val)


def zeros_(tensor: Any) -> Any:
    """0 everywhere in the tensor."""
    return constant_(tensor, 0.0)


def ones_(tensor: Any) -> Any:
    """1 everywhere in the tensor."""
    return constant_(tensor, 1.0)


def _write(tensor: Any, values: np.ndarray) -> Any:
    """Overwrite the tensor with values that were computed on the CPU."""
    write(tensor, to_device(values.astype(tensor.dtype), tensor.device))
    return tensor


def eye_(tensor: Any) -> Any:
    """The identity, for a tensor that is a matrix (ShapeError otherwise): ones on the diagonal, also of one that is not square."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: a matrix is expected, got shape {tuple(tensor.shape)}")
    return _write(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """The kernel of a convolution that hands its input on: channel i of every group of outputs is channel i of the input.

    tensor: the weight of a convolution, (out, in, *kernel) with 1 to 3 spatial dimensions; the 1 is in the middle of the kernel.
        Outputs beyond the inputs are 0.
    groups: how many parts of equal size the outputs have.
    Raises ShapeError for other dimensions, ValueError if groups does not divide the outputs.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_: a tensor of 3, 4 or 5 dimensions is expected, got shape {tuple(tensor.shape)}")
    outputs, inputs, *kernel = tensor.shape
    if groups < 1 or outputs % groups:
        raise ValueError(f"dirac_: {outputs} outputs cannot be divided into {groups} groups of one size")
    values = np.zeros(tensor.shape)
    for i in range(outputs):
        channel = i % (outputs // groups)
        if channel < inputs:
            values[(i, channel, *(k // 2 for k in kernel))] = 1.0
    return _write(tensor, values)


def sparse_(tensor: Any, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Any:
    """Draws from N(0, std²), of which in every column a share of `sparsity`, rounded up, is 0, at random places.

    tensor: a matrix (ShapeError otherwise), (out, in): every input reaches equally many outputs.
    std: the standard deviation of those that are not 0.
    generator: where the draws come from; None: the default one of the tensor's device.
    Raises ValueError unless 0 <= sparsity <= 1.  Source: Martens 2010, "Deep learning via Hessian-free optimization", section 5.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: a matrix is expected, got shape {tuple(tensor.shape)}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity must be between 0 and 1, got {sparsity}")
    source = _generator(tensor, generator)
    shape = tuple(tensor.shape)
    values = std * to_numpy(source.normal(shape, np.float64))
    places = np.argsort(
        to_numpy(source.uniform(shape, np.float64)), axis=0
    )  # of every column a permutation of its rows
    np.put_along_axis(values, places[: math.ceil(sparsity * shape[0])], 0.0, axis=0)
    return _write(tensor, values)


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """Uniform with standard deviation gain · √(2 / (fan_in + fan_out)).  Source: Glorot, Bengio 2010, eq. 16.

    tensor: a weight of at least two dimensions (ShapeError otherwise).  gain: of the nonlinearity that follows: calculate_gain.
    generator: where the draws come from; None: the default one of the tensor's device.
    """
    bound = gain * math.sqrt(6 / sum(fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """Normal with standard deviation gain · √(2 / (fan_in + fan_out)).  Source: Glorot, Bengio 2010, eq. 12.

    tensor: a weight of at least two dimensions (ShapeError otherwise).  gain: of the nonlinearity that follows: calculate_gain.
    generator: where the draws come from; None: the default one of the tensor's device.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans("xavier_normal_", tensor))), generator)


def kaiming_uniform_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """Uniform with standard deviation gain / √fan, where a is the slope of a leaky ReLU.  Source: He et al. 2015, eq. 14.

    tensor: a weight of at least two dimensions (ShapeError otherwise).
    mode: "fan_in" keeps the variance of the values on the way forward, "fan_out" that of the gradients on the way back.
    nonlinearity: the one that follows, as calculate_gain knows it.
    generator: where the draws come from; None: the default one of the tensor's device.
    Raises ValueError for another mode or nonlinearity.
    """
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """Normal with standard deviation gain / √fan, where a is the slope of a leaky ReLU.  Source: He et al. 2015, eq. 14.

    tensor: a weight of at least two dimensions (ShapeError otherwise).
    mode: "fan_in" keeps the variance of the values on the way forward, "fan_out" that of the gradients on the way back.
    nonlinearity: the one that follows, as calculate_gain knows it.
    generator: where the draws come from; None: the default one of the tensor's device.
    Raises ValueError for another mode or nonlinearity.
    """
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def _kaiming_std(name: str, tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(name, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def orthogonal_(tensor: Any, gain: float = 1, generator: Generator | None = None) -> Any:
    """gain times a random matrix with orthonormal rows or columns, whichever are fewer; (out, in, ...) counts as (out, in·...).

    tensor: of at least two dimensions (ShapeError otherwise).  generator: where the draws come from; None: the default one of the tensor's device.
    Uniform over all such matrices.  Source: Saxe, McClelland, Ganguli 2013; Mezzadri 2007 for the signs.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: a tensor of at least 2 dimensions is expected, got shape {tuple(tensor.shape)}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    shape = (max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(to_numpy(_generator(tensor, generator).normal(shape, np.float64)))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Any:
    """Draws from N(mean, std²) given that they lie in [a, b]: the inverse distribution function of uniform draws.

    tensor: is overwritten, whatever its shape, and returned.  std: the standard deviation, before it is cut off.
    generator: where the draws come from; None: the default one of the tensor's device.
    Raises ValueError unless a < b and std > 0.
    """
    from scipy.special import ndtr, ndtri  # imported at first use: it would double the time of `import tinygen`

    if not (a < b and std > 0):
        raise ValueError(f"trunc_normal_: a < b and std > 0 are needed, got a={a}, b={b}, std={std}")
    low, high = (a - mean) / std, (b - mean) / std
    flip = (
        low > 0
    )  # the distribution function resolves the lower tail, where it is near 0, much better than the upper one
    low, high = (-high, -low) if flip else (low, high)
    u = to_numpy(_generator(tensor, generator).uniform(tuple(tensor.shape), np.float64))
    z = np.clip(ndtri(ndtr(low) + u * (ndtr(high) - ndtr(low))), low, high)
    return _write(tensor, np.clip(mean + std * (-z if flip else z), a, b))


def _generator(tensor: Any, generator: Generator | None) -> Generator:
    return generator or default_generator(tensor.device)
