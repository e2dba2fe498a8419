"""What an operator says about itself: help, signature, and errors for calls that do not fit."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.engine import Op
from tinygen.methods import Methods
from tinygen.op_help import _plain

PUBLIC = {name: getattr(ops, name) for name in ops.__all__}
OPERATORS = {name: f for name, f in PUBLIC.items() if isinstance(f, Op)}
METHODS = {
    name: f
    for owner in (Methods, tg.Tensor)
    for name, f in vars(owner).items()
    if callable(f) and not name.startswith("_")
}


def test_all_names_are_written_down_and_public():
    assert sorted(ops.__all__) == sorted(set(ops.__all__)), "a name stands twice"
    modules = {
        "take_numpys_names",
        "activation",
        "conv",
        "elementwise",
        "functions",
        "fused",
        "linalg",
        "loss",
        "normalization",
        "pool",
    }
    hidden = {n for n, f in vars(ops).items() if not n.startswith("_") and callable(f)} - set(ops.__all__) - modules
    assert not hidden, "these are imported into tinygen.ops, and not in its __all__"


@pytest.mark.parametrize("name", [*PUBLIC, *(f"Tensor.{name}" for name in METHODS)])
def test_everything_has_help_and_a_signature(name):
    f = METHODS[name.removeprefix("Tensor.")] if name.startswith("Tensor.") else PUBLIC[name]
    assert inspect.signature(f).parameters and f.__name__
    doc = inspect.getdoc(f)
    assert doc and doc != Op.__doc__ and len(doc.split()) > 2
    assert doc.split("\n")[0] in pydoc.render_doc(f, renderer=pydoc.plaintext)


@pytest.mark.parametrize("name", OPERATORS)
def test_help_of_an_operator_is_its_row_of_the_table(name):
    op = OPERATORS[name]
    text = pydoc.render_doc(op, renderer=pydoc.plaintext)
    assert f"{op.name}(" in text and op.doc.split("\n")[0] in text
    assert ("dL/d" in text) == any(op.rules) and ("No gradient" in text) != any(op.rules)
    assert op.__name__ == op.name
    bound = getattr(tg.ones(2, 2), name, None)
    if bound is not None and name not in ("where", "mT"):
        assert bound.__doc__ == op.__doc__
        assert [*inspect.signature(bound).parameters] == [*inspect.signature(op).parameters][1:]


def printed_slopes():
    """(operator, position of the argument, the formula that help prints for its derivative)."""
    for op in {id(op): op for op in OPERATORS.values()}.values():
        for i, formula in enumerate(re.findall(r"^dL/d\w+ = (.*)$", op.__doc__, re.M)):
            yield pytest.param(op, i, formula, id=f"{op.name}-{i}")


@pytest.mark.parametrize("op, i, formula", [p for p in printed_slopes() if p.values[0].name not in ("mT", "where")])
def test_the_printed_formula_is_the_derivative(op, i, formula):
    """Evaluated as it stands, against central differences; the points are away from kinks and steps."""
    names = re.search(rf"^{op.name}\(([^)]*)\) = ", op.__doc__, re.M)[1].split(", ")
    start = 1.0 if op is tg.acosh else 0.0  # below 1 there is none
    points = dict(zip(names, (np.array([0.31, 0.73]) + start, np.array([0.22, 1.37]))))

    def value(shift):
        moved = [x + shift * (k == i) for k, x in enumerate(points.values())]
        return op(*moved)

    h = 1e-6
    slope = (value(h) - value(-h)) / (2 * h)
    printed = eval(
        formula.replace("·", "*"), _plain(op.forward).__globals__, {"g": np.ones(2), "out": value(0.0), **points}
    )
    # central differences: h² of truncation, 1e-16 / h of rounding
    np.testing.assert_allclose(printed, slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_call_that_does_not_fit_is_named_with_the_signature(name):
    op, x = OPERATORS[name], tg.ones(2, 2)
    n = len(inspect.signature(op).parameters)
    for inputs, options in (((), {}), ((x,) * (n - 1), {}), ((x,) * (n + 1), {}), ((x,) * n, {"nonsense": 1})):
        with pytest.raises(TypeError, match=rf"^{op.name}: .*it is called as {op.name}\("):
            op(*inputs, **options)


@pytest.mark.parametrize(
    "op", [tg.mul, tg.maximum, tg.pow, tg.remainder, tg.where, tg.eq, tg.logaddexp], ids=lambda op: op.__name__
)
def test_inputs_may_be_given_by_name(op):
    names = [*inspect.signature(op).parameters]
    values = [tg.rand(3, requires_grad=True) for _ in names]
    if op is tg.where:
        values[0] = tg.tensor([True, False, True])
    plain = op(*values)
    for k in range(len(names)):
        named = op(*values[:k], **dict(zip(names[k:], values[k:])))
        assert bool((named == plain).all()) and named.requires_grad == plain.requires_grad
        if named.requires_grad:
            assert all(a is b for a, b in zip(named.inputs, values, strict=True))


@given(st.integers(0, 40), st.integers(0, 40))
def test_an_operator_with_more_inputs_than_rules_raises(inputs, rules):
    """Of any number of inputs: as many rules, or none at all, or each=."""

    def total(xp, *xs):
        return sum(xs)

    xs = [tg.tensor(float(i), requires_grad=True) for i in range(inputs)]
    op = Op(total, *[lambda g, *_: g] * rules, name="total")
    if inputs and (inputs <= rules or not rules):
        assert op(*xs).item() == sum(range(inputs))
    elif inputs:
        with pytest.raises(TypeError, match=rf"total: more inputs than the {rules} derivative rule.*each="):
            op(*xs)
    if inputs:
        each = Op(total, each=lambda i: lambda g, *_: g * i)
        each(*xs).backward()
        assert [x.grad.item() for x in xs] == list(range(inputs))


def test_more_rules_than_inputs_are_refused():
    with pytest.raises(TypeError, match=r"Op: 2 derivative rules for a forward function of 1 inputs \(x\)"):
        Op(lambda xp, x: x, lambda g, *_: g, lambda g, *_: g)


def test_rules_that_are_one_function_do_not_share_what_is_computed_at_once():
    def rule(g, _, _x, _y):
        return g

    op = Op(lambda xp, x, y: x + 2 * y, rule, rule, together=lambda xp, g, *_: (g, 2 * g), name="line")
    x, y = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match=r"line.*a rule of its own"):
        op(x, y).sum().backward()


@pytest.mark.parametrize("name", ["exp", "tanh", "mul", "clone"])
def test_copies_and_pickles_are_the_operator_itself(name):
    op = OPERATORS[name]
    assert copy.copy(op) is copy.deepcopy(op) is pickle.loads(pickle.dumps(op)) is op


def test_the_class_keeps_its_own_help():
    assert "one derivative rule per argument" in Op.__doc__ and "forward" in inspect.signature(Op).parameters
    assert "kernel" in type(tg.tanh).__doc__ or "elementwise" in type(tg.tanh).__doc__
