"""`tinygen.data` under the name that it has in PyTorch, torch.utils.data."""

from tinygen.data import *  # noqa: F403
from tinygen.data import __all__ as __all__
