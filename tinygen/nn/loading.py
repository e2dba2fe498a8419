"""Whether the values of a state dict fit a module: everything that does not is said at once, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinygen.backend import to_numpy
from tinygen.creation import tensor
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.harmless import text
from tinygen.tensor import Tensor

__all__ = ["fitting"]

_KINDS = {
    "c": "complex numbers, which would lose their imaginary part",
    "M": "dates",
    "m": "time spans",
    "U": "text",
    "S": "bytes",
    "V": "records",
    "O": "Python objects",
}


def fitting(
    kind: str, own: Mapping[str, Tensor], state_dict: Mapping[str, Any], strict: bool
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """(path -> value with the dtype and on the device of the module's own, missing keys, unexpected keys).

    kind: the name of the module's class.  Raises as `Module.load_state_dict` does.
    """
    missing = [k for k in own if k not in state_dict]
    unexpected = sorted((k for k in state_dict if k not in own), key=str)
    values, shapes, others = {}, [], []
    for key, target in own.items():
        if key in state_dict:
            value = state_dict[key]
            try:
                value = value if isinstance(value, Node) else _array(value)
                if tuple(value.shape) != tuple(target.shape):
                    shapes.append(f"{text(key)}: {tuple(value.shape)} given, {tuple(target.shape)} needed")
                else:
                    values[key] = _converted(value, target)
            except ValueError as error:
                others.append(f"{text(key)}: {error}")
    if not (shapes or others or strict and (missing or unexpected)):
        return values, missing, unexpected
    lines = [f"load_state_dict: the values do not fit this {kind}"]
    sentence = _renamed(list(own), list(state_dict)) if missing and unexpected else ""
    if sentence:
        lines += [f"    {sentence}"]
    else:
        lines += [f"    missing     {text(k)} {tuple(own[k].shape)}" for k in missing]
        lines += [f"    unexpected  {text(k)} {tuple(np.shape(state_dict[k]))}" for k in unexpected]
    lines += [f"    shape       {line}" for line in shapes]
    lines += [f"    values      {line}" for line in others]
    if not (shapes or others or sentence):
        lines.append("    strict=False loads what fits by name")
    raise (ShapeError if shapes else ValueError if others else RuntimeError)("\n".join(lines))


def _array(value: Any) -> np.ndarray:
    """The value as an array of numbers or truth values; ValueError if it is none."""
    if np.ma.is_masked(value):
        raise ValueError("some values are masked, and have no number; use .filled(...)")
    try:
        array = np.asarray(value)
    except Exception as error:
        raise ValueError(f"cannot be read as an array: {error}") from error
    if array.dtype.kind in _KINDS:
        raise ValueError(f"{_KINDS[array.dtype.kind]} given (dtype {array.dtype}), numbers needed")
    return array


def _converted(value: Any, target: Tensor) -> Tensor:
    """The value in the target's dtype and on its device; ValueError if a number would become another one."""
    with np.errstate(over="ignore", invalid="ignore"):
        new = tensor(value, dtype=target.dtype, device=target.device)
    if value.dtype == target.dtype:
        return new
    before, after = (to_numpy(x.array) if isinstance(x, Node) else x for x in (value, new))
    if target.dtype.kind == "f":  # rounding is what a change of dtype means, infinity is not
        lost = np.isfinite(before) & ~np.isfinite(after)
    else:
        lost = before != after
    if lost.any():
        raise ValueError(f"{before[lost][0]} of {value.dtype} is not a value of {target.dtype}")
    return new


def _renamed(own: list[str], given: list[str]) -> str:
    """What to do if all keys are right but for something before them, as "module." by DataParallel; "" if it is not that."""
    for names, others, advice in (
        (given, own, "load {{k.removeprefix({0!r}): v for k, v in state_dict.items()}}"),
        (own, given, "load {{{0!r} + k: v for k, v in state_dict.items()}}"),
    ):
        prefix = _common_prefix(names)
        if prefix and {name.removeprefix(prefix) for name in names} & set(others):
            whose = "the state dict's" if names is given else "the module's"
            by = ", as DataParallel saves them" if prefix == "module." else ""
            return f"all of {whose} keys begin with {prefix!r}{by}, and the others do not: {advice.format(prefix)}"
    return ""


def _common_prefix(names: Iterable[Any]) -> str:
    """What all names begin with, up to a dot: "module." of "module.0.weight" and "module.1.weight"."""
    split = [str(name).split(".")[:-1] for name in names]
    common: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return "".join(f"{part}." for part in common)
