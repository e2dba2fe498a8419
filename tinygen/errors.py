"""Errors that teach: which function, what came, what was expected, what to do.

They are built only after something went wrong, so a correct program pays nothing for them.
"""

from __future__ import annotations

import dis
import os
import sys
import warnings
from types import CodeType
from typing import Any

import numpy as np

from tinygen.backend import device_of, is_array

_ROOT = os.path.dirname(os.path.abspath(__file__))


class ShapeError(ValueError, RuntimeError):
    """Shapes that do not fit.  PyTorch raises RuntimeError, Python's own word is ValueError: this is both."""


class UsageError(ValueError, RuntimeError):
    """What a program was asked for cannot be done: no such data, sizes that do not fit, a run that cannot go on like this.

    Programs that use `training.parser` show its message without a traceback: the mistake is not in the code.
    """


class _IsLibrary(dict):
    """Is a file part of the library's machinery?  Models and examples are not: a learner wants to see their lines."""

    def __missing__(self, filename: str) -> bool:
        path = os.path.abspath(filename)
        shown = tuple(os.path.join(_ROOT, folder) for folder in ("models", "examples"))
        inside = path.startswith(_ROOT + os.sep) and not path.startswith(shown)
        self[filename] = inside
        return inside


is_library = _IsLibrary()
"""File name of some code -> whether it belongs to the library; the answers are remembered."""


def source_line(line: tuple[CodeType, int] | None) -> tuple[str, int] | None:
    """(file, line number) from what a node remembers of its maker: (code, instruction); None for a leaf."""
    if line is None:
        return None
    code, instruction = line
    number = code.co_firstlineno
    for start, starts_line in dis.findlinestarts(code):
        if start > instruction:
            break
        number = starts_line or number
    return code.co_filename, number


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning that points to the user's line, however deep inside the library it is given."""
    frame, level = sys._getframe(1), 2
    while is_library[frame.f_code.co_filename] and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def at(node: Any) -> str:
    """' at file.py:12', or nothing for a leaf."""
    place = source_line(node.line)
    return f" at {os.path.basename(place[0])}:{place[1]}" if place else ""


def describe(x: Any) -> str:
    """An argument in a few words: float32 (64, 3) on cpu."""
    if is_array(x):
        return f"{x.dtype} {tuple(x.shape)} on {device_of(x)}"
    text = repr(x)
    return f"{type(x).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def expect_tensor(name: str, x: Any) -> None:
    """Raise TypeError for what is neither a tensor nor an array: a list, a number."""
    if not (hasattr(x, "dtype") and hasattr(x, "ndim")):
        raise TypeError(f"{name}: a tensor is expected, got {describe(x)}; make one with tinygen.tensor(...)")


def explain(name: str, error: Exception, arrays: list[Any], params: dict[str, Any]) -> Exception:
    """The error of an array library, retold with the operator's name and what it was called with."""
    message = str(error)
    if message.startswith(f"{name}:"):
        return error
    lines = [f"{name}: {message}", *(f"    argument {i}: {describe(x)}" for i, x in enumerate(arrays, 1))]
    if params:
        lines.append("    " + ", ".join(f"{key}={value!r}" for key, value in params.items()))
    indices = params.get("at")
    everything = [*arrays, *(indices if isinstance(indices, tuple) else (indices,))]
    devices = {str(device_of(x)) for x in everything if is_array(x)}
    if len(devices) > 1:
        lines[0] = f"{name}: the arguments are on different devices, {' and '.join(sorted(devices))}"
        lines.append(f"    move them to one, for instance with x.to({sorted(devices)[0]!r})")
        return RuntimeError("\n".join(lines))
    kinds = (TypeError, IndexError, NotImplementedError, OverflowError, MemoryError)
    kind: type[Exception] = next((k for k in kinds if isinstance(error, k)), RuntimeError)
    if isinstance(error, AttributeError | KeyError):  # an array was expected, and something else came
        kind = TypeError
    if isinstance(error, np.linalg.LinAlgError):  # it is a ValueError, but shapes are not what is wrong
        kind = type(error)
    elif isinstance(error, ValueError):
        kind = ShapeError
        if "broadcast" in message:
            shapes = " and ".join(str(tuple(x.shape)) for x in arrays if is_array(x))
            lines[0] = f"{name}: shapes {shapes} cannot be broadcast together"
            lines.append("    counted from the last axis, sizes must be equal or 1; use reshape or unsqueeze")
    return kind("\n".join(lines))


def explain_rule(name: str, node: Any, error: Exception) -> Exception:
    """An error inside a derivative rule, with the operator it belongs to."""
    text, left_the_graph, _ = str(error).partition("; use detach().numpy()")
    text, also, _ = (text, "", "") if left_the_graph else text.partition("; use np.")
    if left_the_graph or also:
        text += "; write the rule in tinygen's operators, which take arrays and tensors alike (tinygen.exp, not np.exp)"
    try:
        return type(error)(f"in the derivative of {name!r}{at(node)} (output shape {node.shape}): {text}")
    except TypeError:  # an exception class with other arguments
        return error


def check_gradient(name: str, g: Any, x: Any) -> None:
    """Raise if g is not a tensor of the shape, the dtype and the device of x."""
    if not hasattr(g, "array"):
        raise TypeError(f"{name}: a tensor or None is expected, got {type(g).__name__}; use tinygen.tensor(...)")
    if g.shape != x.shape:
        raise ShapeError(f"{name}: a gradient of shape {g.shape} does not fit a tensor of shape {x.shape}")
    if g.dtype != x.dtype:
        raise TypeError(
            f"{name}: a gradient of dtype {g.dtype} does not fit a tensor of dtype {x.dtype}; use .to({x.dtype})"
        )
    if type(g.array) is not type(x.array) or device_of(g.array) != device_of(x.array):
        here, there = device_of(x.array), device_of(g.array)
        raise RuntimeError(f"{name}: the gradient is on {there}, the tensor on {here}; use .to({str(here)!r})")
