"""The sizes of a tensor."""

from __future__ import annotations

import math
from typing import Any


class Size(tuple):
    """What `x.shape` and `x.size()` are (torch.Size): a tuple of the sizes, and nothing but a tuple to look at.

    Its slices and sums are Sizes, too.

    >>> Size((2, 3)).numel()
    6
    iterable: the sizes.
    """

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        part = tuple.__getitem__(self, key)
        return Size(part) if type(part) is tuple else part

    def __add__(self, other: Any) -> Any:
        return Size(tuple.__add__(self, other))

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return math.prod(self)
