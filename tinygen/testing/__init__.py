"""Tools to prove your own gradients: the same ones that prove tinygen's.

    from tinygen.testing import assert_gradients, gradcheck

    print(gradcheck(my_layer, tg.randn(5, 3)))     # what is wrong, where, in which rule, and what it looks like
    assert_gradients(my_layer, tg.randn(5, 3))     # for a test: first and second order, in inputs and parameters

docs/check_your_own_layer.md shows them at work.  Whole property tests in one line (these need hypothesis, and are imported
by their own names, so that this package does without it):

    from tinygen.testing.properties import check_bijection, check_linear_map, check_module, check_op
    from tinygen.testing import strategies         # tensors, shapes, convolution geometries, modules

    test_my_layer = check_module(lambda: MyLayer(3))

The pytest plugin is there wherever tinygen is installed: a fixture `device` that runs a test on the CPU, on "strict" (a
double of CuPy that fails where a GPU would, strict.py) and on a GPU if there is one; `--device cuda` for one of them; and
`--tinygen-profile quick` or `deep` for the number of examples.
"""

from tinygen.testing.gradcheck import assert_gradients, gradcheck
from tinygen.testing.report import Finding, GradientError, GradientReport

__all__ = ["Finding", "GradientError", "GradientReport", "assert_gradients", "gradcheck"]
