"""Activations as layers: the functions of `nn.functional` with their options fixed.

All take a tensor of any shape and return one of the same shape, but for PReLU, GLU and Softmax2d, which say what they take.
`inplace=True` writes the result over the input, under the rules of in-place methods; it saves no memory here.
"""

from __future__ import annotations

from typing import Any

from tinygen.creation import empty
from tinygen.errors import ShapeError
from tinygen.nn import functional as F
from tinygen.nn import init as initial
from tinygen.nn.layers.linear import positive
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Rectifier(Module):
    """What has no option but `inplace`."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace: bool = bool(inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Rectifier):
    """max(x, 0).

    inplace: write the result over the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


class ReLU6(_Rectifier):
    """min(max(x, 0), 6).  Source: Krizhevsky 2010.

    inplace: write the result over the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, inplace=self.inplace)


class LeakyReLU(_Rectifier):
    """x where x > 0, negative_slope · x elsewhere.  Source: Maas, Hannun, Ng 2013.

    inplace: write the result over the input.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where x > 0, weight · x elsewhere, with learned slopes.  Source: He et al. 2015, eq. 1.

    x: (N, num_parameters, d1, ...), or of any shape with num_parameters=1.
    num_parameters: how many slopes: one, or one for each channel.  init: where they start.
    device, dtype: of the weight, (num_parameters,).  Raises ValueError for a num_parameters that is not a positive integer.
    """

    num_parameters: int
    init: float

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None):
        super().__init__()
        positive(self, num_parameters=num_parameters)
        self.num_parameters, self.init = num_parameters, init
        self.weight: Parameter = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes to what they start with."""
        initial.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Hardtanh(_Rectifier):
    """x between min_val and max_val, which it becomes where it is less or more; with slope 0 at both.

    inplace: write the result over the input.  min_value, max_value: older names of min_val and max_val.
    Raises ValueError unless min_val < max_val.
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ):
        super().__init__(inplace)
        self.min_val: float = min_val if min_value is None else min_value
        self.max_val: float = max_val if max_value is None else max_value
        if not self.min_val < self.max_val:
            raise ValueError(f"Hardtanh: min_val < max_val is needed, got {self.min_val} and {self.max_val}")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class Hardsigmoid(_Rectifier):
    """x/6 + 1/2, at least 0 and at most 1.

    inplace: write the result over the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, inplace=self.inplace)


class Hardswish(_Rectifier):
    """x · hardsigmoid(x).  Source: Howard et al. 2019.

    inplace: write the result over the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, inplace=self.inplace)


class Threshold(_Rectifier):
    """x where x > threshold, `value` elsewhere.

    inplace: write the result over the input.
    """

    threshold: float
    value: float

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__(inplace)
        self.threshold, self.value = threshold, value

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class Hardshrink(Module):
    """x where |x| > lambd, 0 elsewhere."""

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """x - lambd where x > lambd, x + lambd where x < -lambd, 0 between.

    Raises ValueError when called with a negative lambd.
    """

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class ELU(_Rectifier):
    """x where x > 0, alpha (exp x - 1) elsewhere.  Source: Clevert, Unterthiner, Hochreiter 2015.

    inplace: write the result over the input.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class SELU(_Rectifier):
    """1.0507 · elu(x, alpha=1.6733), which keeps mean 0 and variance 1.  Source: Klambauer et al. 2017.

    inplace: write the result over the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, inplace=self.inplace)


class CELU(_Rectifier):
    """x where x > 0, alpha (exp(x / alpha) - 1) elsewhere.  Source: Barron 2017.

    inplace: write the result over the input.  Raises ValueError when called with alpha <= 0.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class SiLU(_Rectifier):
    """x · sigmoid(x).  Source: Elfwing, Uchibe, Doya 2017.

    inplace: write the result over the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, inplace=self.inplace)


class Mish(_Rectifier):
    """x · tanh(softplus(x)).  Source: Misra 2019.

    inplace: write the result over the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, inplace=self.inplace)


class GELU(Module):
    """x · Φ(x), with the distribution function Φ of N(0, 1).  Source: Hendrycks, Gimpel 2016.

    approximate: "none", or "tanh" for the formula with tanh.
    """

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x)))."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta where beta x <= threshold, x itself beyond."""

    beta: float
    threshold: float

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class GLU(Module):
    """a · sigmoid(b), where a and b are the two halves of x along `dim`.  Source: Dauphin et al. 2016.

    Half of the size along dim is returned.  Raises ShapeError when it is odd.
    """

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(Module):
    """exp x / Σ exp x along `dim`; None: see nn.functional.softmax."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """exp(-x) / Σ exp(-x) along `dim`; None: see nn.functional.softmax."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x - log Σ exp x along `dim`; None: see nn.functional.softmax."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """softmax over the channels at every position.

    x: (N, C, H, W) or (C, H, W); raises ShapeError for others.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(
                f"Softmax2d: an input of shape (N, C, H, W) or (C, H, W) is expected, got {tuple(input.shape)}"
            )
        return F.softmax(input, -3)
