"""PyTorch's address of some of our rooms: `from tinygen.utils.data import DataLoader, Dataset`."""

import typing as _typing

from tinygen import missing as _missing
from tinygen.utils import data

__all__ = ["data"]

if not _typing.TYPE_CHECKING:
    __getattr__ = _missing.attribute_of(__name__)
