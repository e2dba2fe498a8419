"""Parameter: a tensor that a module trains."""

from __future__ import annotations

from typing import Any

from tinygen.backend import is_array
from tinygen.creation import tensor
from tinygen.engine import Node
from tinygen.tensor import Tensor


class Parameter(Tensor):
    """A leaf that requires a gradient.  As an attribute of a Module it is one of the module's parameters.

    data: a tensor or an array, whose memory it shares, or numbers in lists.
    requires_grad: False for one that is not trained.
    """

    __slots__ = ()

    def __init__(self, data: Any = (), requires_grad: bool = True):
        if isinstance(data, Node):
            data = data.array
        super().__init__(data if is_array(data) else tensor(data).array)
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
