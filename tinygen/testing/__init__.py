"""Tools to prove your own gradients: the same ones that prove tinygen's.

    from tinygen.testing import assert_gradients, gradcheck

    print(gradcheck(my_layer, tg.randn(5, 3)))     # what is wrong, where, in which rule, and what it looks like
    assert_gradients(my_layer, tg.randn(5, 3))     # for a test: first and second order, in inputs and parameters

docs/check_your_own_layer.md shows them at work.  Whole property tests in one line (these need hypothesis, which is imported
with the first of them, so that the others do without it):

    from tinygen.testing import check_bijection, check_linear_map, check_module, check_op
    from tinygen.testing import strategies         # tensors, shapes, convolution geometries, modules

    test_my_layer = check_module(lambda: MyLayer(3))

The pytest plugin is there wherever tinygen is installed: a fixture `device` that runs a test on the CPU, on "strict" (a
double of CuPy that fails where a GPU would, strict.py) and on a GPU if there is one; `--device cuda` for one of them; and
`--tinygen-profile quick` or `deep` for the number of examples.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tinygen.missing import attribute_of
from tinygen.testing.gradcheck import assert_gradients, gradcheck
from tinygen.testing.report import Finding, GradientError, GradientReport

if TYPE_CHECKING:
    from tinygen.testing import strategies
    from tinygen.testing.properties import check_bijection, check_linear_map, check_module, check_op

__all__ = ["Finding", "GradientError", "GradientReport", "assert_gradients", "gradcheck"]

_WITH_HYPOTHESIS = ["check_bijection", "check_linear_map", "check_module", "check_op"]

if not TYPE_CHECKING:  # misspelt names are to be noticed by type checkers
    _missing = attribute_of(__name__)

    def __getattr__(name: str) -> object:
        """The property factories and their strategies, imported when they are first asked for."""
        if name in _WITH_HYPOTHESIS:
            return getattr(import_module("tinygen.testing.properties"), name)
        if name in ("properties", "strategies"):
            return import_module(f"tinygen.testing.{name}")
        return _missing(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WITH_HYPOTHESIS, "properties", "strategies"])
