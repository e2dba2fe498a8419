"""What all models share: they remember what they were made with, so that one can be made again from a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

import tinygen as tg
from tinygen import nn

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
        """Put what the constructor chose by itself into the recipe, so that a version that chooses otherwise makes the same."""
        if self.recipe is not None:
            self.recipe["arguments"].update({name: _pack(value) for name, value in chosen.items()})


def rebuild(recipe: Mapping[str, Any]) -> Model:
    """The model of a recipe, with weights as they are at first.

    Only the models of `tinygen.models` are made, whatever the file says.  Raises ValueError for a recipe of anything else,
    and what the constructor raises for its arguments.
    """
    from tinygen import models

    try:
        name, arguments = recipe["model"], {key: _unpack(value) for key, value in recipe["arguments"].items()}
    except (KeyError, TypeError, AttributeError):
        raise ValueError(
            f"rebuild: a recipe {{'model': ..., 'arguments': {{...}}}} is expected, got {recipe!r}"
        ) from None
    known = [key for key in models.__all__ if _is_model(getattr(models, key))]
    if name not in known:
        raise ValueError(f"rebuild: {name!r} is none of the models {', '.join(known)}")
    return getattr(models, name)(**arguments)


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
