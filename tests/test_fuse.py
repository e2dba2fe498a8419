"""Several elementwise steps as one kernel: what is fused, what may be, and that nothing else changes.

That the strict double runs every fused function as CuPy would trace it is tested with every operator, layer and optimizer:
all of their tests run on it.  Here: that it would notice if one could not be traced.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings

import tinygen as tg
from tests.ops.domains import DOMAINS
from tests.processes import SECONDS
from tinygen.backend import fuse
from tinygen.engine import OPERATORS, _newest_first
from tinygen.ops.fused import Fused
from tinygen.testing import strict
from tinygen.testing.strict import counted
from tinygen.testing.strict_fusion import NotElementwise

OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "Adam": {"weight_decay": 0.1, "maximize": True},
    "AdamW": {"amsgrad": True},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adagrad": {"lr_decay": 0.1},
    "NAdam": {"decoupled_weight_decay": True, "weight_decay": 0.1},
    "RAdam": {"betas": (0.9, 0.99)},
    "Adamax": {"weight_decay": 0.1},
    "Adadelta": {},
    "Rprop": {"maximize": True},
    "ASGD": {"t0": 0},
}


def on_strict(*values):
    return [tg.tensor(v, device="strict").array for v in values]


@fuse
def blend(xp, x, y, weight, *, square):
    d = y - x
    return x + weight * (d * d if square else d)


def test_a_function_is_itself_on_numpy_and_one_kernel_elsewhere():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    assert (blend(np, x, y, 0.5, square=True) == [3.0, 6.5]).all() and blend.__name__ == "blend"
    x, y = on_strict([1.0, 2.0], [3.0, 5.0])
    for weight in (0.5, 0.25):
        with counted() as counts:
            out = blend(strict.StrictBackend.xp, x, y, weight, square=True)
        assert counts.kernels == ["tinygen_blend"] and out.dtype == np.float32
        assert out.tolist() == [1 + 4 * weight, 2 + 9 * weight]


@pytest.mark.parametrize(
    "function",
    [
        lambda xp, x, y, a: x.sum() * y,
        lambda xp, x, y, a: xp.sum(x) * y,
        lambda xp, x, y, a: x @ y,
        lambda xp, x, y, a: xp.matmul(x, y),
        lambda xp, x, y, a: x[0] * y,
        lambda xp, x, y, a: x.reshape(-1) * y,
        lambda xp, x, y, a: x * x.shape[0],
        lambda xp, x, y, a: x if x > y else y,
        lambda xp, x, y, a: x * a if a else y,
        lambda xp, x, y, a: x * float(a),
        lambda xp, x, y, a: x * (1 - a),  # two numbers: CuPy would compute that in float16
        lambda xp, x, y, a: x * a**2,
        lambda xp, x, y, a: xp.exp(a) * x,
        lambda xp, x, y, a: xp.full(3, a) * x,
        lambda xp, x, y, a: abs(x),
        lambda xp, x, y, a: xp.add(x, y, dtype="float64"),
        lambda xp, x, y, a: x * np.ones(3),
        lambda xp, x, y, a: a,
        lambda xp, x, y, a: 1.0,
        lambda xp, x, y, a: xp.add.reduce(x),
    ],
)
def test_what_is_no_kernel_is_refused(function):
    x, y = on_strict([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    with pytest.raises((NotElementwise, AttributeError, TypeError)):
        fuse(function)(strict.StrictBackend.xp, x, y, 0.5)


def test_a_kernel_returns_arrays_of_its_own():
    (x,) = on_strict([1.0, 2.0])
    out = fuse(lambda xp, x: x)(strict.StrictBackend.xp, x)
    out += 1
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("name", [name for name, op in OPERATORS.items() if isinstance(op, Fused)])
def test_value_and_rules_are_one_kernel_each(name):
    """Of the operators that are fused, where the property tests' own examples lead to them."""
    op, xp = OPERATORS[name], strict.StrictBackend.xp
    seen = 0

    @settings(database=None, max_examples=10)
    @given(DOMAINS[name].examples)
    def run(example):
        nonlocal seen
        inputs = [tg.tensor(x, device="strict") for x in example.arrays]
        for x in inputs:
            x.requires_grad = x.dtype.kind == "f"
        out = DOMAINS[name].function(*inputs, **example.options)
        for node in _newest_first([out]) if out.requires_grad else []:
            if node.op is op:
                seen += 1
                with counted() as counts:
                    op.forward(xp, *node.arrays, **node.params)
                assert counts.kernels == [f"tinygen_{name}"] or not op._fuse_value
                for _, rule in node.edges:
                    with counted() as counts:
                        rule(xp.ones_like(node.array), node.array, *node.arrays, **node.params)
                    assert counts.kernels[-1:] == [f"tinygen_{name}_rule"] and len(counts.kernels) == 2

    run()
    assert seen


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_an_optimizer_is_one_kernel(name):
    """Besides the one that lays the gradients end to end.  Nothing is transferred, and nothing becomes float64."""
    params = [tg.rand(3, 2, device="strict"), tg.rand(4, device="strict")]
    optimizer = getattr(tg.optim, name)(params, lr=0.1, **OPTIMIZERS[name])
    for p in params:
        p.grad = tg.rand(*p.shape, device="strict")
    optimizer.step()
    with counted() as counts:
        optimizer.step()
    assert counts.kernels == ["concatenate", f"tinygen_{name.lower().replace('adamw', 'adam')}"]
    assert not counts.to_host and not counts.to_device
    assert {a.dtype for state in optimizer.state.values() for a in state.values() if hasattr(a, "dtype")} <= {
        np.dtype(np.float32)
    }


def test_without_another_library_the_operators_are_not_wrapped():
    program = """
import tinygen.nn
from tinygen.engine import OPERATORS, _newest_first
from tinygen.ops.fused import Fused
fused = [op for op in OPERATORS.values() if isinstance(op, Fused)]
assert len(fused) > 10
assert {type(f).__name__ for op in fused for f in (op.forward, *filter(None, op.rules))} == {"function"}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=SECONDS)
