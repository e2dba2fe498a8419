"""Everything public in tinygen.nn and tinygen.models, as data: how each is made, what it takes, how it is checked."""

from tests.ours import conv, flows, functions, layers, losses, models, resample
from tests.ours.table import ENTRIES, Entry

__all__ = ["ENTRIES", "Entry"]
