"""PyTorch's address of some of our rooms: `from tinygen.utils.data import DataLoader, Dataset`."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from tinygen import missing as _missing
from tinygen.utils import data

__all__ = ["data"]

if not _TYPE_CHECKING:
    __getattr__ = _missing.attribute_of(__name__)
