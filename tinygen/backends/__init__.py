"""Settings that programs for PyTorch make, torch.backends: accepted, so that such a program runs, and without effect here.

What there is to set is in `tinygen.backend`: `allow_tf32`.
"""

from tinygen.backends import cudnn, mps

__all__ = ["cudnn", "mps"]
