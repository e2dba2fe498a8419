"""Layers, losses and what they are built from, with PyTorch's names: `from tinygen import nn`.

functional: the functions behind the layers, as in `from tinygen.nn import functional as F`.
init: starting values of parameters.
flows: invertible layers with their log-determinants.
"""

import typing as _typing

from tinygen import missing as _missing
from tinygen.nn import flows, functional, init, utils
from tinygen.nn.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from tinygen.nn.flows import AdditiveCoupling, AffineCoupling
from tinygen.nn.layers import *  # noqa: F403
from tinygen.nn.layers import __all__ as _layers
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter

__all__ = [
    "AdditiveCoupling",
    "AffineCoupling",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "Sequential",
    "flows",
    "functional",
    "init",
    "utils",
    *_layers,
]

if not _typing.TYPE_CHECKING:
    __getattr__ = _missing.attribute_of(__name__)
