"""What is public says what it is: words, every argument, and types.

For every public function and class of the modules in MODULES, and for the public methods of those classes: a docstring; each
argument is named in it (a method's in its own, in its class's, or in that of the method that it overrides), or in that of a
function that it refers to in the words "as f" or "see f", or in that of its module or of tinygen, which say what the arguments
are that mean the same everywhere; each argument and each result has a type.
To hold a further module to it, add it to MODULES.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tinygen
from tinygen.engine import Op

MODULES = [
    "tinygen",
    "tinygen.autograd",
    "tinygen.backend",
    "tinygen.checkpoint",
    "tinygen.cuda",
    "tinygen.data",
    "tinygen.evaluate",
    "tinygen.interchange",
    "tinygen.linalg",
    "tinygen.models",
    "tinygen.plot",
    "tinygen.special",
    "tinygen.training",
    "tinygen.nn",
    "tinygen.nn.flows",
    "tinygen.nn.functional",
    "tinygen.nn.init",
    "tinygen.nn.utils",
    "tinygen.nn.utils.parametrize",
    "tinygen.nn.utils.parametrizations",
    "tinygen.optim",
    "tinygen.optim.lr_scheduler",
    "tinygen.optim.swa_utils",
    "tinygen.distributions",
    "tinygen.distributions.constraints",
    "tinygen.distributions.transforms",
    "tinygen.testing",
    "tinygen.testing.devices",
    "tinygen.testing.properties",
    "tinygen.testing.strategies",
]
FORMULAS = {"rule"}
"""Functions that are a formula on arrays, with one convention for all: that of FlatBuffer.update (optim)."""
OF_A_LAYER = {"forward", "extra_repr"}
"""Methods that every layer has: what forward takes is told by the words of its class, where it is called x."""


def public(module: str) -> dict[str, Any]:
    """name -> what a module offers: what it lists in __all__, else what is defined in it."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [
        name for name, value in vars(found).items() if getattr(value, "__module__", "") == module
    ]
    return {name: getattr(found, name) for name in names if not name.startswith("_")}


def methods(cls: type) -> Iterator[tuple[str, Callable]]:
    """The public methods that the class itself defines, properties too."""
    for name, value in vars(cls).items():
        if name.startswith("_") or name in OF_A_LAYER | FORMULAS:
            continue
        value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(value) and value.__qualname__.endswith(
            f"{cls.__name__}.{name}"
        ):  # others are listed themselves
            yield name, value


def words(text: str | None, depth: int = 3) -> set[str]:
    """The words of a docstring, and of those that it refers to."""
    found = set(re.findall(r"\w+", text or ""))
    for name in re.findall(r"\b(?:as for|[Aa]s|[Ss]ee) `?(?:nn\.)?(?:functional\.)?(\w+)", text or ""):
        if depth and name in REFERENCES:
            found |= words(REFERENCES[name], depth - 1)
    return found


def unsaid(name: str, f: Any, *more: str | None) -> Iterator[str]:
    """What is missing in the docstring of a callable; `more` are other texts in which an argument may be named."""
    doc = inspect.getdoc(f) if not inspect.isclass(f) else f.__doc__
    named = words(doc).union(*map(words, more))
    for p in inspect.signature(f).parameters.values():
        any_number = p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name.strip("_") in ("", "args", "kwargs")
        if p.name not in ("self", "cls") and p.name not in named and not any_number:
            yield f"{name}: the argument {p.name!r} is not explained"


def untyped(name: str, f: Callable, result: bool = True) -> Iterator[str]:
    signature = inspect.signature(f)
    for p in signature.parameters.values():
        if p.annotation is p.empty and p.name not in ("self", "cls"):
            yield f"{name}: the argument {p.name!r} has no type"
    if result and signature.return_annotation is signature.empty:
        yield f"{name}: the result has no type"


def gaps(name: str, value: Any, everywhere: str | None = None) -> Iterator[str]:
    """Everything that is missing in one public thing.  everywhere: what the arguments are that mean the same everywhere."""
    if isinstance(value, Op):
        if not value.doc:
            yield f"{name}: no docstring"
        yield from unsaid(name, value, value.doc, everywhere)
    elif inspect.isclass(value):
        of_init = value.__init__.__doc__ if "__init__" in vars(value) else None
        if not value.__doc__ and not of_init:
            yield f"{name}: no docstring"
        if issubclass(value, Exception) or getattr(value, "_is_protocol", False):
            return  # the library raises it, or others make what it stands for
        yield from unsaid(name, value, of_init, everywhere)
        if "__init__" in vars(value):
            yield from untyped(name, value.__init__, result=False)
        for method, f in methods(value):
            inherited = [
                getattr(vars(c).get(method), "__doc__", None) for c in value.__mro__
            ]  # what it overrides says it
            if not any(inherited):
                yield f"{name}.{method}: no docstring"
            yield from unsaid(f"{name}.{method}", f, value.__doc__, *inherited, everywhere)
        for method, f in [*methods(value), *((n, vars(value)[n]) for n in OF_A_LAYER & set(vars(value)))]:
            yield from untyped(f"{name}.{method}", f)
    elif callable(value):
        if not inspect.getdoc(value):
            yield f"{name}: no docstring"
        yield from unsaid(name, value, everywhere)
        yield from untyped(name, value)


REFERENCES = {
    name: f"{value.__doc__} {getattr(value.__init__, '__doc__', '') if inspect.isclass(value) else ''}"
    for module in MODULES
    for name, value in public(module).items()
    if callable(value)
}
CASES = {
    f"{module}.{name}": value
    for module in MODULES
    for name, value in public(module).items()
    if callable(value) and value is not Any
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_documented_and_typed(name):
    module = importlib.import_module(name.rpartition(".")[0])
    assert not list(gaps(name, CASES[name], f"{tinygen.__doc__} {module.__doc__}"))


def test_the_modules_offer_what_they_should():
    """So that an empty list of cases does not pass for a documented package."""
    for module in MODULES:
        assert public(module), module
    assert len(CASES) > 700


def test_gaps_are_found():
    """The check can fail: in each of the ways."""

    def silent(x: int) -> int:
        return x

    def says_nothing_of_y(x: int, y: int) -> int:
        """x."""
        return x

    def untyped_one(x):
        """x."""

    class Layer:
        """Words."""

        def __init__(self, size: int):
            pass

        def method(self, x: int) -> None:
            """More words."""

        def forward(self, input):
            pass

    def refers(x: int, generator: int) -> int:
        """As normal_ (init), for x."""
        return x

    assert not list(gaps("f", refers))
    refers.__doc__ = "Like normal_, for x."
    assert list(gaps("f", refers)) == ["f: the argument 'generator' is not explained"]
    assert list(gaps("f", silent)) == ["f: no docstring", "f: the argument 'x' is not explained"]
    assert list(gaps("f", says_nothing_of_y)) == ["f: the argument 'y' is not explained"]
    assert not list(gaps("f", says_nothing_of_y, "y: means the same everywhere"))
    assert list(gaps("f", silent, "x: means the same everywhere")) == ["f: no docstring"]
    assert list(gaps("f", untyped_one)) == ["f: the argument 'x' has no type", "f: the result has no type"]
    assert list(gaps("f", Layer)) == [
        "f: the argument 'size' is not explained",
        "f.method: the argument 'x' is not explained",
        "f.forward: the argument 'input' has no type",
        "f.forward: the result has no type",
    ]
