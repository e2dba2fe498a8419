"""Every operator of the table and every public function, on its whole domain: values, gradients, and good manners."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
import tinygen.models
import tinygen.nn
from tests.conftest import DEVICES
from tests.ops.domains import DOMAINS, Domain, Example
from tinygen import backend, ops
from tinygen.engine import OPERATORS, Op
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts
from tinygen.testing.layouts import LAYOUTS

NAMES = sorted(name for name, d in DOMAINS.items() if d.alias_of is None)
COMPOSED = [name for name in NAMES if DOMAINS[name].composed]
every = pytest.mark.parametrize("name", [name for name in NAMES if name not in COMPOSED])
smooth = pytest.mark.parametrize("name", [n for n in NAMES if DOMAINS[n].smooth and n not in COMPOSED])
composed = pytest.mark.parametrize("name", COMPOSED)


def examples(share: float) -> settings:
    """That share of the profile's examples per property."""
    return settings(max_examples=max(3, round(share * settings.default.max_examples)))


def several(out: Any) -> list:
    return list(out) if isinstance(out, tuple | list) else [out]


def as_tensor(x: np.ndarray, device: str, layout: str, dtype: Any = None) -> tg.Tensor:
    x = x.astype(dtype) if dtype is not None and x.dtype.kind == "f" else x
    out = LAYOUTS[layout](tg.Tensor(backend.to_device(x.copy(), tg.device(device))))
    return tg.Tensor(out.array, requires_grad=x.dtype.kind == "f")


def values(x: Any) -> np.ndarray:
    """A tensor, an array, or NumPy's scalar in the place of a 0-dimensional array, as a NumPy array."""
    x = x.array if isinstance(x, tg.Tensor) else x
    return backend.to_numpy(x) if backend.is_array(x) else np.asarray(x)


def same(x: Any, y: Any) -> bool:
    x, y = values(x), values(y)
    return x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")


def test_every_operator_has_a_domain():
    for package in (ops, tinygen.nn, tinygen.models):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)  # operators enter the table when their module is imported
    public = {name for name in ops.__all__ if callable(getattr(ops, name))}
    others = {f"linalg.{n}": getattr(tg.linalg, n) for n in tg.linalg.__all__ if n != "LinAlgError"}
    others |= {n: getattr(tg.special, n) for n in tg.special.__all__}
    public |= {name for name, f in others.items() if not any(f is g for g in vars(ops).values())}
    assert not sorted((set(OPERATORS) | public) - set(DOMAINS))
    assert not sorted(set(DOMAINS) - set(OPERATORS) - public), "domains of functions that no longer exist"


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_domain_reaches_the_operator(name, monkeypatch):
    """The function of that name really calls the operator of that name, in the forward pass."""
    called: set[str] = set()
    original = Op.__call__

    def spy(self: Op, *args: Any, **params: Any) -> Any:
        called.add(self.name)
        return original(self, *args, **params)

    monkeypatch.setattr(Op, "__call__", spy)

    @settings(database=None)
    @given(DOMAINS[name].examples)
    def run(e: Example) -> None:
        if name not in called:
            DOMAINS[name].function(*(tg.tensor(x) for x in e.arrays), **e.options)

    run()
    assert name in called


@every
@pytest.mark.parametrize("device", DEVICES)
@examples(0.6)
@given(data=st.data())
def test_value(name: str, device: str, data: st.DataObject) -> None:
    check_value(name, device, data)


@composed
@pytest.mark.parametrize("device", DEVICES)
@examples(0.25)
@given(data=st.data())
def test_value_of_a_composition(name: str, device: str, data: st.DataObject) -> None:
    check_value(name, device, data)


def check_value(name: str, device: str, data: st.DataObject) -> None:
    """NumPy's value; the same for arrays as for tensors; inputs untouched; device kept."""
    d: Domain = DOMAINS[name]
    e: Example = data.draw(d.examples)
    layout = data.draw(ts.layouts())
    expected = several(d.oracle(*e.arrays, **e.options))
    tensors = [as_tensor(x, device, layout) for x in e.arrays]
    outputs = several(d.function(*tensors, **e.options))
    raw = several(d.function(*(t.array for t in tensors), **e.options))
    assert len(outputs) == len(raw) == len(expected)
    for out, plain, value in zip(outputs, raw, expected, strict=True):
        if isinstance(out, bool):
            assert out == plain == value
            continue
        # two formulas for one value differ by the rounding of a few operations on sums of at most 64 terms
        np.testing.assert_allclose(values(out), value, rtol=1e-13, atol=1e-13)
        assert values(out).dtype.kind == np.asarray(value).dtype.kind
        assert same(out, out.array) and np.array_equal(values(out), values(plain), equal_nan=True)
        assert out.device.type == device
    for x, t in zip(e.arrays, tensors, strict=True):
        assert same(t, x), "an input was modified"


@smooth
@examples(0.6)
@given(data=st.data())
def test_gradients(name: str, data: st.DataObject) -> None:
    check_gradients(name, data)


@pytest.mark.parametrize("name", [name for name in COMPOSED if DOMAINS[name].smooth])
@examples(0.25)
@given(data=st.data())
def test_gradients_of_a_composition(name: str, data: st.DataObject) -> None:
    check_gradients(name, data)


def check_gradients(name: str, data: st.DataObject) -> None:
    """First and second derivatives agree with finite differences, in random directions, whatever the layout."""
    d = DOMAINS[name]
    e = data.draw(d.examples)
    layout = data.draw(ts.layouts())
    assert_gradients(
        lambda *xs: d.function(*xs, **e.options),
        *(as_tensor(x, "cpu", layout) for x in e.arrays),
        name=name,
        seed=data.draw(ts.seeds()),
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name in OPERATORS and OPERATORS[name].together])
@examples(0.6)
@given(data=st.data())
def test_gradients_together(name: str, data: st.DataObject) -> None:
    """The gradients that an operator gives together are those that its rules give one at a time."""
    d, op = DOMAINS[name], OPERATORS[name]
    drawn, context = d.calls_together()
    e = data.draw(drawn)
    leaves = [as_tensor(x, "cpu", data.draw(ts.layouts())) for x in e.arrays]
    with mock.patch.object(op, "together", side_effect=op.together) as together:
        with context:
            y = d.function(*leaves, **e.options)
            g = tg.tensor(np.random.default_rng(data.draw(ts.seeds())).normal(size=y.shape))
            found = tg.grad(y, leaves, g, retain_graph=True)
        alone = [tg.grad(y, x, g, retain_graph=True)[0] for x in leaves]
        assert together.call_count == 1
    for gx, expected in zip(found, alone, strict=True):
        # sums in another order, which may cancel
        size = float(np.abs(values(expected)).max(initial=1))
        np.testing.assert_allclose(values(gx), values(expected), rtol=0, atol=1e-9 * size)


@smooth
@pytest.mark.parametrize("device", [d for d in DEVICES if d != "cpu"])
@examples(0.2)
@given(data=st.data())
def test_gradients_on_other_devices(name: str, device: str, data: st.DataObject) -> None:
    d = DOMAINS[name]
    e = data.draw(d.examples)
    assert_gradients(
        lambda *xs: d.function(*xs, **e.options), *(as_tensor(x, device, "contiguous") for x in e.arrays), name=name
    )


@smooth
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("device", DEVICES)
@examples(0.3)
@given(data=st.data())
def test_manners_of_gradients(name: str, device: str, dtype: Any, data: st.DataObject) -> None:
    """A gradient has its tensor's dtype, shape and device, shares memory with nothing, and costs its inputs nothing."""
    d = DOMAINS[name]
    e = data.draw(d.examples)
    tensors = [as_tensor(x, device, data.draw(ts.layouts()), dtype) for x in e.arrays]
    before = [values(t).copy() for t in tensors]
    outputs = [y for y in several(d.function(*tensors, **e.options)) if y.requires_grad]
    for y in outputs:
        assert y.dtype == dtype
    if not outputs:
        return
    cotangents = [
        as_tensor(np.random.default_rng(0).normal(size=y.shape), device, "contiguous", dtype).detach() for y in outputs
    ]
    leaves = [t for t in tensors if t.requires_grad]
    gradients = tg.grad(outputs, leaves, cotangents, allow_unused=True)
    found = [g for g in gradients if g is not None]
    for g, x in zip(gradients, leaves, strict=True):
        assert g is None or (g.dtype == dtype and g.shape == x.shape and g.device == x.device)
    others = [memory(t) for t in (*tensors, *outputs, *cotangents)]
    for i, g in enumerate(found):
        for other in (*others, *(memory(h) for h in found[:i])):
            assert not np.shares_memory(memory(g), other)
    for t, b in zip(tensors, before, strict=True):
        assert same(t, b), "an input was modified"


def memory(t: tg.Tensor) -> np.ndarray:
    return t.array if isinstance(t.array, np.ndarray) else getattr(t.array, "_a", np.zeros(0))
