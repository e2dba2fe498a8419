"""Tools to prove your own gradients: the same ones that prove tinygen's.

    from tinygen.testing import assert_gradients

    assert_gradients(my_layer, tg.randn(5, 3))     # first and second order, in inputs and parameters

`strategies` draws tensors for property tests; it needs hypothesis and is imported by its own name.
"""

from tinygen.testing.gradcheck import assert_gradients, gradcheck
from tinygen.testing.report import Finding, GradientError, GradientReport

__all__ = ["Finding", "GradientError", "GradientReport", "assert_gradients", "gradcheck"]
