"""The walk back: right, linear, frugal.  test_engine_memory.py: what it leaves behind."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from hypothesis import given

import tinygen as tg
from tinygen import engine
from tinygen.engine import Op
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def counting(calls: list[str], name: str = "counted") -> Op:
    """An operator x + y that notes which of its rules run."""

    def rule(argument: str):
        def vjp(g, _, _x, _y):
            calls.append(argument)
            return g * 1

        return vjp

    return Op(lambda xp, x, y: x + y, rule("x"), rule("y"), name=name)


# The chain rule


def test_the_sum_over_all_paths():
    """A diamond inside a diamond: the gradient of a node is the sum over all paths to the output."""
    x = leaf(3)
    a = x * 2
    b = a.exp() + a
    y = (b * a + x * b).sum()
    a0 = x.detach() * 2
    b0 = a0.exp() + a0
    expected = 2 * (a0.exp() + 1) * (a0 + x.detach()) + 2 * b0 + b0
    (g,) = tg.grad(y, x)
    np.testing.assert_allclose(g.numpy(), expected.numpy(), rtol=1e-14)
    assert_gradients(lambda x: ((x * 2).exp() + x * 2) * (x * 2) + x * ((x * 2).exp() + x * 2), x, order=3)


def test_an_operator_with_one_tensor_twice():
    x = leaf(3)
    (g,) = tg.grad((x * x).sum(), x)
    np.testing.assert_array_equal(g.numpy(), 2 * x.detach().numpy())


def test_broadcasting_is_undone():
    x, y = leaf(3, 1, 2), leaf(4, 1)
    gx, gy = tg.grad((x * y).sum(), (x, y))
    assert gx.shape == (3, 1, 2) and gy.shape == (4, 1)
    np.testing.assert_allclose(gx.numpy(), np.full((3, 1, 2), y.detach().numpy().sum()))
    np.testing.assert_allclose(gy.numpy(), np.full((4, 1), x.detach().numpy().sum()))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_any_order(order):
    """The k-th derivative of sin, and of x exp(x), which is (x + k) exp(x)."""
    x = leaf(5)
    s, e = x.sin(), x * x.exp()
    for _ in range(order):
        (s,) = tg.grad(s.sum(), x, create_graph=True)
        (e,) = tg.grad(e.sum(), x, create_graph=True)
    v = x.detach().numpy()
    np.testing.assert_allclose(s.detach().numpy(), np.sin(v + order * np.pi / 2), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(e.detach().numpy(), (v + order) * np.exp(v), rtol=1e-12)


def test_differentiating_a_gradient_inside_a_loss():
    """A gradient penalty: d/dw of |d/dx f(w, x)|², as WGAN-GP needs it."""
    w, x = leaf(4, 3), leaf(2, 4)

    def penalty(w, x):
        x = x.clone()
        (g,) = tg.grad((x @ w).tanh().sum(), x, create_graph=True)
        return (g.norm(dim=1) - 1) ** 2

    assert_gradients(penalty, w, x, order=1)


MOVES = [
    lambda x, y: (x + y).tanh(),
    lambda x, y: x * y,
    lambda x, y: x - y[0],
    lambda x, y: (x @ y).sin(),
    lambda x, y: x.T,
    lambda x, y: x.flip(0) * 0.5,
    lambda x, y: x.softmax(1) + y,
    lambda x, y: x[:, :1] * y,
    lambda x, y: y + x.sum(0).cos(),
    lambda x, y: tg.cat([x[:1], y[1:]]),
    lambda x, y: tg.stack([x, y]).mean(0),
    lambda x, y: tg.where(tg.eye(3, dtype=tg.bool), x, y),
    lambda x, y: x.clone().add_(y).mul_(0.5),
    lambda x, y: x[[2, 0, 0]],
    lambda x, y: (-x * x).exp(),
    lambda x, y: x,
]


@given(seed=ts.seeds())
def test_random_graphs(seed):
    """Graphs that branch, meet, pass views around and change copies in place: first and second derivatives."""

    def f(*leaves):
        rng = np.random.default_rng(seed)
        values = list(leaves)
        for move in rng.integers(len(MOVES), size=10):
            i, j = rng.integers(len(values), size=2)
            values.append(MOVES[move](values[i], values[j]))
        return values[-1], values[-2] * values[-3]

    assert_gradients(f, leaf(3, 3, seed=seed), leaf(3, 3, seed=seed + 1), seed=seed)


# The cost


def test_a_chain_of_100_000_operators():
    x = leaf(2)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    assert y.op.name == "add" and sys.getrecursionlimit() < 100_000
    (g,) = tg.grad(y.sum(), x)
    np.testing.assert_array_equal(g.numpy(), [1, 1])


def test_dropping_a_long_chain_does_not_overflow_the_stack():
    x = leaf(2)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    del y
    gc.collect()


def test_every_rule_runs_once_in_a_wide_and_shared_graph():
    """2000 branches that all meet twice: the number of rules that run is the number of edges."""
    calls: list[str] = []
    op = counting(calls)
    x = leaf(2)
    layer = [op(x, x * float(i)) for i in range(2000)]
    total = layer[0]
    for y in layer[1:]:
        total = op(total, y)
    tg.grad(total.sum(), x)
    assert len(calls) == 2 * (2000 + 1999)


def test_the_work_is_linear_in_the_size_of_the_graph():
    """Lines run in a backward pass: twice the graph, twice the lines (a quadratic one takes four times).

    A line counts every time that it is reached, so each round of a loop counts, even of one written on a single line.

    Counted, not timed, so that the answer does not depend on the machine.
    """

    def calls(width: int) -> int:
        x = leaf(2)
        branches = [x * float(i) for i in range(width)]
        y = branches[0]
        for b in branches[1:]:
            y = y + b
        y = y.sum()
        count = 0

        def tracer(frame, event, arg):
            nonlocal count
            count += 1
            return tracer

        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            tg.grad(y, x)
        finally:
            sys.settrace(before)
        return count

    small, large = calls(500), calls(2000)
    assert large == pytest.approx(4 * small, rel=0.05)


def test_only_the_needed_rules_run():
    calls: list[str] = []
    op = counting(calls)
    x, y, z = leaf(2), leaf(2, seed=1), tg.ones(2, dtype=tg.float64)
    out = op(op(x, z), y)
    tg.grad(out.sum(), y, retain_graph=True)
    assert calls == ["y"]  # no rule below the first operator, and not the one of its first argument
    calls.clear()
    tg.grad(out.sum(), x, retain_graph=True)
    assert calls == ["x", "x"]
    calls.clear()
    out.sum().backward()
    assert sorted(calls) == ["x", "x", "y"]  # z requires no gradient


def test_a_rule_runs_once_however_many_outputs_use_it():
    calls: list[str] = []
    y = counting(calls)(leaf(2), tg.ones(2, dtype=tg.float64))
    tg.grad([y.sum(), (y * y).sum(), y.exp().sum()], [y], retain_graph=True)
    assert calls == []
    (y.sum() + (y * y).sum()).backward()
    assert calls == ["x"]


# Operators of one's own


def test_your_own_operator():
    """Three lines make an operator that differentiates to any order."""
    cube = Op(lambda xp, x: x * x * x, lambda g, _, x: g * (3 * x * x), name="cube")
    assert_gradients(cube, leaf(2, 3), order=3)
    assert isinstance(cube(np.ones(3)), np.ndarray)


def test_an_operator_without_a_rule_stops_the_gradient():
    step = Op(lambda xp, x: (x > 0) * 1.0, name="step")
    x = leaf(3)
    assert not step(x).requires_grad
    assert not (x > 0).requires_grad and not x.argmax().requires_grad and not x.round().op.name == "argmax"


def test_an_error_in_a_rule_names_the_operator_and_the_line():
    def broken(g, out, x):
        raise ZeroDivisionError("one over nothing")

    bad = Op(lambda xp, x: x * 1, broken, name="bad")
    with pytest.raises(ZeroDivisionError, match=r"derivative of 'bad' at test_engine\.py:\d+ \(output shape \(3,\)\)"):
        bad(leaf(3)).sum().backward()


def test_a_rule_with_the_wrong_shape_is_refused():
    bad = Op(lambda xp, x: x * 1, lambda g, out, x: g[:2], name="bad")
    with pytest.raises((ValueError, RuntimeError), match="bad"):
        bad(leaf(3)).sum().backward()


def test_operators_are_named_and_listed():
    assert engine.OPERATORS["softmax"].name == "softmax" and repr(engine.OPERATORS["mul"]) == "<Op mul>"
    for name, op in engine.OPERATORS.items():
        assert op.name == name and not name.startswith("_")


def test_the_line_of_the_users_program_is_remembered():
    x = leaf(2)
    y = x.softmax(0)
    line = sys._getframe().f_lineno - 1
    file, number = engine.errors.source_line(y.line)
    assert number == line and file.endswith("test_engine.py")
