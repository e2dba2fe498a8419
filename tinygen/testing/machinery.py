"""What the property factories are made of: strategies for arguments that were not given, and comparisons."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise ImportError("tinygen.testing's property factories need hypothesis: pip install hypothesis") from error

from tinygen import backend
from tinygen.autograd import grad, no_grad
from tinygen.errors import is_library
from tinygen.tensor import Tensor
from tinygen.testing import strategies
from tinygen.testing.devices import devices as all_devices
from tinygen.testing.layouts import LAYOUTS
from tinygen.testing.maps import same_draws
from tinygen.testing.nested import mapped, several

ROUNDING = 1e3 * float(np.finfo(np.float64).eps)
"""Of a few hundred float64 operations, relative to the size of the result."""
DTYPE = "{}: float32 went in, float64 came out; make constant tensors with dtype=x.dtype"


def run(module: Any, args: Sequence[Any], seed: int) -> Any:
    with same_draws(seed):
        return module(*args)


def pulled_back(f: Callable[..., Any], x: Tensor, y: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return grad(f(x), x, y)[0]


def as_test(check: Callable[..., Any], name: str, max_examples: int, drawn: SearchStrategy) -> Callable[[], None]:
    """What pytest collects.  In tracebacks, and for "called at" in reports, it stands on the user's line that made it."""

    def test(args: tuple[Any, ...], seed: int) -> None:
        check(args, seed)

    frame = sys._getframe(1)
    while is_library[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    test.__code__ = test.__code__.replace(co_filename=frame.f_code.co_filename, co_firstlineno=frame.f_lineno - 1)
    test.__name__ = test.__qualname__ = "test_" + re.sub(r"\W+", "_", name).strip("_").removeprefix("test_")
    return settings(  # type: ignore[return-value]
        max_examples=max_examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # The first failure is told at once: gradcheck's report says more than a smaller example would.
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        report_multiple_bugs=False,
    )(given(args=drawn, seed=strategies.seeds())(test))


def a_fifth() -> int:
    """Of the examples that the profile allows: for modules, whose examples cost more and differ less."""
    return max(3, settings().max_examples // 5)


def arity(fn: Callable[..., Any]) -> int:
    fn = getattr(fn, "forward", fn)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        raise TypeError("check_op: the function's arguments cannot be seen; pass a strategy for each of them") from None
    names = [p.name for p in parameters if p.kind in kinds and p.default is p.empty]
    return len(names) - (names[:1] == ["xp"])  # an operator's forward function is handed the array library first


def broadcasting(count: int) -> SearchStrategy[tuple[Tensor, ...]]:
    shapes = strategies.broadcastable_shapes(count, max_side=3)
    return shapes.flatmap(lambda chosen: st.tuples(*(strategies.tensors(s, layout="contiguous") for s in chosen)))


def batches(name: str, fn: Callable[..., Any]) -> SearchStrategy[tuple[Tensor]]:
    """Batches of vectors of the first size that fn accepts."""
    for n in (3, 5, 4, 2, *range(6, 33), 64, 128, 256, 512, 784, 1):
        try:
            with same_draws(0), no_grad():
                fn(Tensor(np.ones((3, n), np.float32)))
        except (ValueError, RuntimeError, IndexError, TypeError):
            continue
        rows = (strategies.tensors((batch, n), layout="contiguous", distinct=True) for batch in (3, 4, 5))
        return st.tuples(st.one_of(*rows))
    raise TypeError(f"{name}: it accepts no batch of vectors, (3, n); pass a strategy for each of its inputs")


def chosen(devices: Sequence[str] | None, order: int = 1) -> list[tuple[str, int]]:
    """(device, order of the derivatives to check there)."""
    return [(name, order) for name in (all_devices() if devices is None else devices)]


@contextmanager
def found_with(**where: str) -> Iterator[None]:
    """Say in an error where it happened."""
    try:
        yield
    except Exception as error:
        text = ", ".join(f"{key} {value}" for key, value in where.items())
        if where.get("device") == "strict":
            text += " (which behaves as CuPy does on a GPU: its arrays do not mix with NumPy's; devices=['cpu'] leaves it out)"
        error.add_note(f"this was found with {text}")
        raise


def is_floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.kind == "f"


def raw(x: Any) -> np.ndarray:
    return backend.to_numpy(x.array) if isinstance(x, Tensor) else np.asarray(x)


def values(y: Any) -> list[np.ndarray]:
    """The outputs as NumPy arrays of their own."""
    return [raw(t).copy() for t in several(y)]


def assert_same(y: Any, expected: list[np.ndarray], claim: str, precision: float = ROUNDING) -> None:
    """Raise AssertionError, whose first line is the claim and where it fails, unless the outputs y are those expected."""
    __tracebackhide__ = True  # pytest shows the user's lines, not this one
    found = several(y)
    assert len(found) == len(expected), f"{claim}: {len(found)} outputs instead of {len(expected)}"
    for k, (t, value) in enumerate(zip(found, expected, strict=True), 1):
        array, which = raw(t), f"output {k}, " if len(found) > 1 else ""
        if value.dtype.kind not in "fiub":  # None, a string: an argument that is not a number
            assert np.array_equal(array, value), claim
            continue
        assert array.shape == value.shape, f"{claim}: {which}shape {array.shape} instead of {value.shape}"
        size = float(np.abs(value).max(initial=1)) if value.dtype.kind == "f" else 1.0
        wrong = ~np.isclose(array, value, rtol=0, atol=precision * size, equal_nan=True)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise AssertionError(
                f"{claim}: {which}{array[at]} instead of {value[at]} at index {at}; {int(wrong.sum())} of {wrong.size} differ"
            )


def moved(x: Any, device: str) -> Any:
    return mapped(lambda t: Tensor(t.to(device=device).array), x)


def laid_out(x: Any, layout: str) -> Any:
    return mapped(lambda t: Tensor(LAYOUTS[layout](t.detach()).array), x)


def normal_like(x: Tensor, rng: np.random.Generator) -> Tensor:
    return Tensor(backend.to_device(np.asarray(rng.standard_normal(x.shape), x.dtype), x.device))


def as_float32(x: Any) -> Any:
    return mapped(lambda t: t.float() if is_floating(t) else t, x)


def draws(module: Callable[..., Any], args: Sequence[Any]) -> bool:
    """Whether it asks for a default generator, even if what it draws changes nothing this time: a dropout of few elements."""
    with same_draws(0):
        module(*args)
        return bool(backend.get_rng_state()["devices"])
