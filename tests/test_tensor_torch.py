"""The same program in PyTorch and in tinygen: the same shapes, dtypes, values and gradients, and the same kinds of error.

Each program is a line of Python over `t`, the library, in the files of `torch_programs/`.  Needs PyTorch (CPU), which the project itself never imports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen as tg

torch = pytest.importorskip("torch")


def programs(name: str) -> list[str]:
    return (Path(__file__).parent / "torch_programs" / f"{name}.txt").read_text().splitlines()


PROGRAMS = programs("results") + programs("surface")


def setting(t: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    a, b, i = (
        rng.normal(size=(3, 4)).astype(np.float32),
        rng.normal(size=(2, 3, 4)).astype(np.float32),
        rng.integers(0, 9, (3, 4)),
    )
    return {"t": t, "A": t.tensor(a), "B": t.tensor(b), "I": t.tensor(i), "S": t.tensor(2.5)}


def plain(x: Any) -> Any:
    """Shapes and dtypes by name, values as NumPy arrays."""
    if isinstance(x, torch.Tensor | tg.Tensor):
        return (str(x.dtype).removeprefix("torch."), tuple(x.shape), x.detach().numpy())
    if isinstance(x, tuple | list):
        return [plain(y) for y in x]
    return x


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for x, y in zip(ours, theirs, strict=True):
            assert_same(x, y)
    elif isinstance(theirs, tuple) and len(theirs) == 3 and isinstance(theirs[2], np.ndarray):
        assert ours[:2] == theirs[:2]
        # float32: a few roundings in another order
        np.testing.assert_allclose(ours[2].astype(np.float64), theirs[2].astype(np.float64), rtol=2e-5, atol=1e-6)
    else:
        assert ours == theirs


@pytest.mark.parametrize("program", PROGRAMS)
def test_same_result(program: str) -> None:
    import tinygen.nn  # noqa: F401

    with np.errstate(all="ignore"):
        assert_same(plain(eval(program, setting(tg))), plain(eval(program, setting(torch))))


GRADIENTS = programs("gradients") + programs("surface_gradients")


@pytest.mark.parametrize("program", GRADIENTS)
def test_same_gradients(program: str) -> None:
    results = []
    for t in (tg, torch):
        rng = np.random.default_rng(1)
        x, y = (t.tensor(rng.normal(size=(3, 4)), requires_grad=True) for _ in range(2))
        loss = eval(program, {"t": t, "X": x, "Y": y})
        loss.backward()
        results.append(
            [loss.detach().numpy()] + [np.zeros((3, 4)) if p.grad is None else p.grad.numpy() for p in (x, y)]
        )
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


WRONG = programs("wrong")


@pytest.mark.parametrize("program", WRONG)
def test_same_kind_of_error(program: str) -> None:
    """What PyTorch refuses is refused, with the same kind of exception.

    PyTorch's RuntimeError often means no more than "wrong": there Python's more telling kinds are right too.
    """
    import tinygen.nn  # noqa: F401

    with pytest.raises(Exception) as theirs:
        eval(program, {"t": torch})
    kinds = (RuntimeError, ValueError, IndexError, TypeError) if theirs.type is RuntimeError else theirs.type
    with pytest.raises(kinds) as ours:
        eval(program, {"t": tg})
    message = str(ours.value)
    assert len(message) > 20 and not message.startswith("<"), "an error is a small lesson"
