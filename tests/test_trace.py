"""The trace is the backward pass: the same gradients to the last bit, every contribution once, and nothing changed by it."""

import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
import tinygen.nn  # its operators belong to the table too
from tinygen.autograd import trace
from tinygen.backend import to_numpy
from tinygen.engine import OPERATORS, EachRule, Op
from tinygen.rules import rule_text
from tinygen.tracing import Step

UNARY = [tg.tanh, tg.exp, tg.sin, tg.neg, tg.sigmoid, lambda x: x.sum(), lambda x: x.reshape(-1), lambda x: x * 0.5]
BINARY = [tg.add, tg.sub, tg.mul, tg.maximum, tg.logaddexp]


@st.composite
def programs(draw):
    """(leaves, loss): a random graph with branches, broadcasting and values that are used many times, or never."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = draw(st.lists(st.sampled_from([(), (1,), (3,), (2, 1), (2, 3)]), min_size=1, max_size=4))
    leaves = [tg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    values = list(leaves)
    for _ in range(draw(st.integers(1, 12))):
        x, y = (values[draw(st.integers(0, len(values) - 1))] for _ in range(2))
        if draw(st.booleans()):
            values.append(draw(st.sampled_from(UNARY))(x).tanh())
        else:
            try:
                values.append(draw(st.sampled_from(BINARY))(x, y).tanh())
            except tg.ShapeError:  # flattened (2, 3) with (3,)
                continue
    used = values[len(leaves) :] or values
    return leaves, sum((v.sum() for v in used[-3:]), tg.tensor(0.0, dtype=np.float64))


@given(programs())
def test_the_trace_arrives_at_the_gradients_of_backward(program):
    leaves, loss = program
    steps = trace(loss)
    loss.backward()
    for x in leaves:
        if x.grad is None:
            with pytest.raises(KeyError, match="no gradient arrives"):
                steps.gradient(x)
        else:  # exactly: both apply the same rules to the same numbers in the same order
            np.testing.assert_array_equal(steps.gradient(x).numpy(), x.grad.numpy())
            assert steps.gradient(x).dtype == x.dtype


@given(programs())
def test_contributions_add_up_and_are_counted(program):
    _, loss = program
    steps = trace(loss)
    arrived = {}
    for i, step in enumerate(steps, 1):
        assert step.number == i and isinstance(step, Step)
        before = arrived.setdefault(id(step.input), [])
        before.append(step.outgoing.numpy())
        assert step.arrival == len(before) <= step.arrivals
        np.testing.assert_allclose(step.total.numpy(), sum(before), rtol=1e-13, atol=1e-13)  # another order of adding
        assert step.outgoing.shape == step.input.shape and step.incoming.shape == step.node.shape
        np.testing.assert_array_equal(step.incoming.numpy(), steps.gradient(step.node).numpy())
    counts = {id(step.input): step.arrivals for step in steps}
    assert counts == {key: len(contributions) for key, contributions in arrived.items()}


def network(device="cpu"):
    w = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True, device=device)
    b = tg.tensor([0.5, -0.5], requires_grad=True, device=device)
    x = tg.tensor([[1.0, -1.0], [2.0, 0.5], [0.0, 1.0]], device=device)
    h = (x @ w + b).tanh()
    return w, b, h, (h * h).mean() + 0.1 * (w * w).sum()


def test_every_device(device):
    w, b, _, loss = network(device)
    steps = trace(loss)
    loss.backward()
    for p in (w, b):
        np.testing.assert_array_equal(to_numpy(steps.gradient(p).array), to_numpy(p.grad.array))
    assert "leaf" in str(steps)


def test_what_a_step_says():
    w, b, h, loss = network()
    steps = trace(loss, names={"W": w, "b": b, "h": h})
    assert [s.op for s in steps][:2] == ["add", "add"] and len(steps) == 13
    (tanh,) = [s for s in steps if s.op == "tanh"]
    assert tanh.rule_text.startswith("lambda g, out, _x: ") and ", lambda" not in tanh.rule_text
    assert tanh.reads == {"g": "gradient in", "out": "output", "_x": "argument 1"}
    assert tanh.code == "h = (x @ w + b).tanh()" and tanh.line[0] == __file__
    assert tanh.accumulation == "complete" and tanh.is_complete and tanh.summed_from is None
    to_w = [s for s in steps if s.input is w]
    assert [s.accumulation for s in to_w] == ["first of 3", "2 of 3, added", "3 of 3, added: complete"]
    assert [(s.op, s.argument) for s in to_w] == [("mul", 1), ("mul", 2), ("matmul", 2)]
    (to_b,) = [s for s in steps if s.input is b]
    assert to_b.summed_from == (3, 2) and to_b.outgoing.shape == (2,)
    np.testing.assert_allclose(to_b.outgoing.numpy(), to_b.incoming.numpy().sum(0), rtol=1e-6)  # float32, three terms
    assert steps[-1] is steps.steps[-1] and list(steps[:2]) == list(steps)[:2]


def test_the_table_names_everything():
    w, b, h, loss = network()
    lines = str(trace(loss, names={"W": w, "b": b, "h": h})).splitlines()
    assert len(lines) == 3 + 2 * 13 and lines[2].endswith("start: dL/d(output), shape (), norm 1")
    (row,) = [line for line in lines if "tanh → h" in line]
    assert "(3, 2) norm" in row and "test_trace.py:" in row and "h = (x @ w + b).tanh()" in row
    assert lines[lines.index(row) + 1].strip() == rule_text(OPERATORS["tanh"].rules[0])
    (row,) = [line for line in lines if "leaf b" in line]
    assert "summed from (3, 2)" in row
    assert "leaf W" in str(trace(loss, names=[("W", w)])) and "leaf W" not in str(trace(loss))
    assert "13 steps" in repr(trace(loss))


def test_a_gradient_to_start_from():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for g in (tg.tensor([3.0, 4.0]), np.array([3.0, 4.0], np.float32)):
        np.testing.assert_array_equal(trace(x * x, g).gradient(x).numpy(), [6, 16])
    assert len(trace(x, tg.ones(2))) == 0, "a leaf is its own gradient"


def test_nothing_changes():
    w, b, h, loss = network()
    h.retain_grad()
    loss.backward(retain_graph=True)
    before = [x.grad.numpy().copy() for x in (w, b, h)]
    first, second = trace(loss), trace(loss)
    for x, g in zip((w, b, h), before):
        np.testing.assert_array_equal(x.grad.numpy(), g)
        np.testing.assert_array_equal(first.gradient(x).numpy(), second.gradient(x).numpy())
    loss.backward()
    for x, g in zip((w, b, h), before):
        np.testing.assert_array_equal(x.grad.numpy(), 2 * g)


def test_hooks_are_part_of_the_pass():
    def build():
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        y = x * x
        y.register_hook(lambda g: g * 10)
        x.register_hook(lambda g: g.mul_(2))  # in place: must not reach back into the steps
        y.register_hook(lambda g: None)
        return x, y, (y + x).sum()

    x, y, loss = build()
    steps = trace(loss, names={"x": x, "y": y})
    loss.backward()
    np.testing.assert_array_equal(steps.gradient(x).numpy(), x.grad.numpy())
    assert [(t is x, t is y) for t, _ in steps.hooked] == [(False, True), (True, False)]
    np.testing.assert_array_equal(steps[-1].total.numpy() * 2, x.grad.numpy())
    assert "a hook replaced the gradient of leaf x: norm" in str(steps)


def test_an_operator_of_the_users_own():
    same = lambda g, *_: g
    halve = Op(lambda xp, x, y: (x + y) / 2, lambda g, *_: g / 2, lambda g, *_: g / 2, name="halve")
    meet = Op(lambda xp, x, y: x + y, same, same, name="meet")
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    steps = trace(meet(halve(x, x), 1.0).sum())
    assert [(s.op, s.argument) for s in steps] == [("sum", 1), ("meet", 1), ("halve", 1), ("halve", 2)]
    assert [(s.argument) for s in trace(meet(x, x).sum())][1:] == [1, 2], "one rule for both arguments"
    assert steps[2].rule_text == "lambda g, *_: g / 2"

    def wrong(g, out, x):
        """Forgets the batch."""
        return g.reshape(5)

    bad = Op(lambda xp, x: x * 1, wrong, name="bad")
    assert rule_text(wrong).startswith("def wrong(g, out, x):") and "return g.reshape(5)" in rule_text(wrong)
    with pytest.raises(ValueError, match=r"in the derivative of 'bad' at test_trace\.py"):
        trace(bad(x).sum())


def rules():
    for name, op in sorted(OPERATORS.items()):
        listed = (
            [op.rules[0], op.rules[1]] if isinstance(op.rules, EachRule) else [r for r in op.rules if r is not None]
        )
        yield from ((name, i, rule) for i, rule in enumerate(listed, 1))


@pytest.mark.parametrize("name, i, rule", list(rules()), ids=lambda x: str(x) if isinstance(x, str | int) else "")
def test_the_rule_shown_is_the_rule_applied(name, i, rule):
    """The text, compiled again, is the same program: same instructions, names and constants."""
    text = rule_text(rule)
    if rule.__code__.co_name != "<lambda>":
        assert text.startswith(f"def {rule.__name__}(")
        return
    text, _, values = text.partition("   where ")
    if rule.__closure__:
        assert all(f"{n} = {c.cell_contents!r}" in values for n, c in zip(rule.__code__.co_freevars, rule.__closure__))
        return
    modules = [n for n in rule.__code__.co_names if isinstance(rule.__globals__.get(n), types.ModuleType)]
    imports = "".join(f"import {n}; " for n in modules)  # the compiler treats calls of modules' functions specially
    (code,) = [c for c in compile(f"{imports}rule = {text}", "", "exec").co_consts if isinstance(c, types.CodeType)]
    assert instructions(code) == instructions(rule.__code__)


def instructions(code):
    constants = [instructions(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, constants


def test_rules_whose_source_is_not_there():
    made = eval("lambda g, *_: g + 1", {})
    assert rule_text(made) == "lambda (its source cannot be read)"
    without_columns = OPERATORS["mul"].rules[0].__code__.replace(co_linetable=b"")
    assert rule_text(types.FunctionType(without_columns, {})) == "lambda (its source cannot be read)"
    assert rule_text(np.negative) == repr(np.negative)
    assert Step(1, tg.ones(1) * 1, 1, None, np.negative, None, None, None, 1, 1, None).reads == {}


def test_errors():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="trace: a tensor is expected, got float"):
        trace(1.0)
    with pytest.raises(RuntimeError, match="depends on no tensor that requires a gradient"):
        trace(tg.ones(1))
    with pytest.raises(RuntimeError, match="can only be left out for a single number"):
        trace(x * 2)
    with pytest.raises(tg.ShapeError, match=r"gradient has shape \(3,\), the output \(2,\)"):
        trace(x * 2, tg.ones(3))
    with pytest.raises(TypeError, match="as gradient, got float"):
        trace(x * 2, 1.0)
    with pytest.raises(TypeError, match="names: 'x' must name a tensor, got float"):
        trace(x.sum(), names={"x": 1.0})
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"trace: the graph through 'sum'.* was released"):
        trace(loss)
    y = x * 2
    loss = (y * y).sum()
    with tg.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        trace(loss)
