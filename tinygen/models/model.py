"""What all models share: they remember what they were made with, so that one can be made again from a file."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

import tinygen as tg
from tinygen import allowance, nn

Recipe = dict[str, Any]
"""{"model": the name of its class, "arguments": {...}}: numbers, texts, arrays and lists of them."""


class Model(nn.Module):
    """A module that remembers the arguments of its constructor."""

    recipe: Recipe | None = None
    """What `rebuild` makes the same model of, with other weights; None if it was made with what no file can hold."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        model = super().__new__(cls)
        with suppress(TypeError):  # for arguments that are wrong, as __init__ is about to say, or that no file can hold
            bound = inspect.signature(cls).bind(*args, **kwargs)
            bound.apply_defaults()  # which may be others in another version
            arguments = {name: _pack(value) for name, value in bound.arguments.items()}
            model.__dict__["recipe"] = {"model": cls.__name__, "arguments": arguments}
        return model

    def remember(self, **chosen: Any) -> None:
        """Put what the constructor chose by itself into the recipe, so that a version that chooses otherwise makes the same.

        chosen: arguments of the constructor, by name.
        """
        if self.recipe is not None:
            self.recipe["arguments"].update({name: _pack(value) for name, value in chosen.items()})


def rebuild(recipe: Mapping[str, Any], weights: Mapping[str, Any] | None = None) -> Model:
    """The model of a recipe, with weights as they are at first, or with those that are stored beside it.

    recipe: what `Model.recipe` was.  weights: what its state_dict() was, arrays or Tensors.  A recipe from a file may say anything:
    a layer of a billion units, or a hundred thousand layers.  With `weights`, nothing is built that these could not fill.

    Only the models of `tinygen.models` are made, whatever the file says.  Raises ValueError for a recipe of anything else, or of
    more than the weights; what the constructor raises for its arguments, and load_state_dict for weights that do not fit.
    """
    from tinygen import models

    try:
        name, packed = recipe["model"], dict(recipe["arguments"])
        known = [key for key in models.__all__ if _is_model(getattr(models, key))]
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"rebuild: {str(name)[:60]!r} is none of the models {', '.join(known)}")
        if weights is None:
            return getattr(models, name)(**{key: _unpack(value) for key, value in packed.items()})
        shapes = [tuple(value.shape) for value in weights.values()]
    except (KeyError, TypeError, AttributeError):
        what = str(recipe)[:200] if isinstance(recipe, Mapping) and len(recipe) < 10 else f"a {type(recipe).__name__}"
        raise ValueError(
            f"rebuild: a recipe {{'model': ..., 'arguments': {{...}}}}, and weights by name, are expected, got {what}"
        ) from None
    numbers = sum(map(math.prod, shapes))
    try:
        _check_arguments(packed, numbers)
        # Every weight is made, and drawn, once or twice; masks and constants are no more than weights.
        with allowance.of(SLACK * len(shapes) + 64, SLACK * numbers + 2**16):
            model = getattr(models, name)(**{key: _unpack(value) for key, value in packed.items()})
    except (allowance.TooMuch, MemoryError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"rebuild: the recipe of a {name} does not belong to these {len(shapes)} arrays of {numbers:,} numbers: {error}"
        ) from None
    model.load_state_dict(weights)
    return model


SLACK = 8
"""How many times the stored weights may be made while a model is built: as zeros, as draws, as masks."""


def _check_arguments(value: Any, numbers: int) -> None:
    """Raise TooMuch for integers and lists that a model of so many weights cannot have been made with."""
    most = max(numbers, 2**16)
    if isinstance(value, bool | float | str) or value is None or hasattr(value, "dtype"):
        return
    if isinstance(value, int):
        if abs(value) > most:
            raise allowance.TooMuch(f"{value:.4g} is more than there are")
        return
    items = list(value.values()) if isinstance(value, Mapping) else value
    if len(items) > most:
        raise allowance.TooMuch(f"{len(items)} are more than there are")
    for item in items:
        _check_arguments(item, numbers)


def _is_model(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Model)


def _pack(value: Any) -> Any:
    """A constructor's argument as a checkpoint holds it.  Of modules, those made without arguments that have no parameters."""
    if isinstance(value, nn.Module):
        plain = type(value)
        if getattr(nn, plain.__name__, None) is not plain or value.state_dict() or vars(value) != vars(plain()):
            raise TypeError
        return {"nn": plain.__name__}
    if isinstance(value, list | tuple):
        return [_pack(v) for v in value]
    if isinstance(value, tg.Tensor):
        return value.detach().cpu().numpy()
    if value is None or isinstance(value, bool | int | float | str) or hasattr(value, "dtype"):
        return value
    raise TypeError


def _unpack(value: Any) -> Any:
    if isinstance(value, Mapping):
        plain = getattr(nn, value["nn"], None) if value.keys() == {"nn"} and value["nn"] in nn.__all__ else None
        if not (isinstance(plain, type) and issubclass(plain, nn.Module)):
            raise TypeError
        return plain()
    return [_unpack(v) for v in value] if isinstance(value, list | tuple) else value
