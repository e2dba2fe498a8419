"""The sizes of a tensor."""

from __future__ import annotations

import math


class Size(tuple):
    """What `x.shape` and `x.size()` are (torch.Size): a tuple of the sizes, and nothing but a tuple to look at.

    >>> Size((2, 3)).numel()
    6
    """

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return math.prod(self)
