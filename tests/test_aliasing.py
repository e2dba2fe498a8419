"""Memory that is shared, written twice or cut off: item assignment, copies, tied parameters, gradients, rules."""

from __future__ import annotations

import copy
import operator
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn, optim
from tinygen.engine import Op
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts

DEVICES = st.sampled_from(["cpu", "strict"])

# Item assignment


@st.composite
def assignments(draw):
    """A shape, an index that may name a place several times, and the shape of a value that broadcasts to it."""
    shape = draw(ts.shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
    rng = np.random.default_rng(draw(ts.seeds()))
    key = []
    for n in shape[: draw(st.integers(1, len(shape)))]:
        part = draw(st.sampled_from(["slice", "integer", "array", "array"]))
        if part == "slice":
            key.append(slice(draw(st.integers(0, n)), None))
        elif part == "integer":
            key.append(int(rng.integers(-n, n)))
        else:
            key.append(rng.integers(-n, n, 3))
    place = np.zeros(shape)[tuple(key)].shape
    value = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in place)
    value = (1,) * draw(st.integers(0, 2)) + value if draw(st.booleans()) else value[draw(st.integers(0, len(value))) :]
    return shape, tuple(key), value


@given(assignments(), DEVICES, st.sampled_from([np.float32, np.float64]))
def test_the_last_value_at_a_place_gets_its_gradient_and_no_other(case, device, dtype):
    """NumPy assigns in the order of the index: what is read back at each place tells which element stayed there."""
    shape, key, value = case
    numbers = 1 + np.arange(np.prod(value, dtype=int), dtype=dtype).reshape(value)
    reference = np.zeros(shape, dtype)
    reference[key] = numbers
    v = tg.tensor(numbers, device=device, requires_grad=True)
    x = tg.zeros(shape, dtype=dtype, device=device, requires_grad=True)
    y = x * 1
    y[key] = v
    np.testing.assert_array_equal(y.detach().cpu().numpy(), reference)
    weights = np.arange(2.0, 2 + reference.size, dtype=dtype).reshape(shape)
    (y * tg.tensor(weights, device=device)).sum().backward()
    wanted = np.array([weights[reference == n].sum() for n in numbers.ravel()], dtype).reshape(value)
    np.testing.assert_array_equal(v.grad.cpu().numpy(), wanted)
    np.testing.assert_array_equal(x.grad.cpu().numpy(), np.where(reference == 0, weights, 0))


@given(assignments())
def test_assignment_is_differentiated_twice(case):
    shape, key, value = case

    def f(x, v):
        y = x * 1
        y[key] = v * v
        return y.sin()

    assert_gradients(f, tg.rand(shape, dtype=tg.float64), tg.rand(value, dtype=tg.float64))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), DEVICES)
def test_scatter_with_repeated_places(index, device):
    src = tg.tensor(1.0 + np.arange(len(index)), device=device, requires_grad=True)
    y = tg.zeros(3, dtype=tg.float64, device=device).scatter(0, tg.tensor(index, device=device), src)
    y.sum().backward()
    stays = [float(i not in index[k + 1 :]) for k, i in enumerate(index)]
    assert src.grad.tolist() == stays
    assert y.tolist() == [max((k + 1.0 for k, i in enumerate(index) if i == j), default=0.0) for j in range(3)]


# Copies

VIEWS = {
    "whole": lambda x: x.detach(),
    "slice": lambda x: x[1:],
    "row": lambda x: x[-1] if x.ndim and x.shape[0] else x.detach(),
    "flat": lambda x: x.view(-1),
    "transposed": lambda x: x.permute(*range(x.ndim - 1, -1, -1)),
    "flipped": lambda x: x.flip(0) if x.ndim else x.detach(),
    "last": lambda x: x[..., :1] if x.ndim else x.detach(),
    "clone": lambda x: x.clone(),
}


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([*VIEWS])), min_size=1, max_size=6),
    st.sampled_from(["deepcopy", "pickle"]),
    DEVICES,
    st.booleans(),
)
def test_what_shares_memory_does_so_in_a_copy(plan, way, device, through_data):
    """A change of one tensor reaches in the copies exactly the elements that it reaches in the originals."""
    with tg.no_grad():
        tensors = [tg.tensor(np.arange(12.0).reshape(4, 3), device=device)]
        tensors[0].requires_grad_()
        for i, view in plan:
            tensors.append(VIEWS[view](tensors[i % len(tensors)]))
        if through_data:
            p = nn.Parameter(np.zeros(1))
            p.data = tensors[-1]
            tensors.append(p)
        if way == "pickle":
            if device == "strict":
                return  # arrays of that device cannot be pickled
            copies = pickle.loads(pickle.dumps({"all": tensors}))["all"]
        else:
            copies = copy.deepcopy({"all": tensors})["all"]
        assert [type(x) for x in copies] == [type(x) for x in tensors]
        assert [x.requires_grad for x in copies] == [x.requires_grad for x in tensors]
        for i in range(len(tensors)):
            before = [x.tolist() for x in tensors]
            assert [x.tolist() for x in copies] == before
            copies[i].mul_(-2).add_(1)
            assert [x.tolist() for x in tensors] == before, "a copy shares memory with an original"
            tensors[i].mul_(-2).add_(1)
            assert [x.tolist() for x in copies] == [x.tolist() for x in tensors]


def test_a_shallow_copy_shares_memory_and_that_is_known():
    x = nn.Parameter(np.ones(3))
    y = copy.copy(x)
    assert type(y) is nn.Parameter and y.requires_grad and np.shares_memory(x.array, y.array)
    out = (x * x).sum()
    with tg.no_grad():
        y.zero_()
    assert x.tolist() == [0.0] * 3
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_gradient_with_a_graph_is_copied_without_it(way):
    x = tg.ones(3, requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    y = way(x)
    assert x.grad.requires_grad and not y.grad.requires_grad and y.grad.tolist() == [3.0] * 3
    with tg.no_grad():
        y.grad.zero_()
    assert x.grad.tolist() == [3.0] * 3


def test_attributes_of_a_derived_class_are_copied():
    class Named(tg.Tensor):
        pass

    x = Named([1.0, 2.0])
    x.name = ["weights"]
    assert copy.copy(x).name is x.name
    deep = copy.deepcopy(x)
    assert deep.name == x.name and deep.name is not x.name and type(deep) is Named


def test_a_change_of_a_copied_view_is_noticed():
    x = tg.ones(3)
    a, b = copy.deepcopy([x, x.detach()])
    w = tg.ones(3, requires_grad=True)
    y = (w * a).sum()
    b.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("way", [copy.deepcopy, pickle.dumps, copy.copy])
def test_results_of_operators_are_not_copied(way):
    with pytest.raises(RuntimeError, match=r"only leaves can be copied.*exp.*detach\(\)\.clone\(\)"):
        way(tg.ones(2, requires_grad=True).exp())


# Parameters that are tied


@given(
    st.sampled_from(["SGD", "Adam", "RMSprop", "Adagrad"]),
    st.booleans(),
    st.booleans(),
    DEVICES,
    st.integers(0, 3),
)
def test_parameters_tied_by_data_stay_tied(name, groups, late, device, seed):
    rng = np.random.default_rng(seed)
    a, b, c = (nn.Parameter(tg.tensor(rng.normal(size=(2, 3)), device=device)) for _ in range(3))
    optimizer = getattr(optim, name)([{"params": [a, c]}, {"params": [b]}] if groups else [a, c, b], lr=0.1)

    def step():
        optimizer.zero_grad()
        ((a + 2 * b + 3 * c) * tg.tensor(rng.normal(size=(2, 3)), device=device)).sum().backward()
        optimizer.step()

    if late:
        step()
    b.data = a.data
    start = a.detach().clone()
    for _ in range(3):
        before = a.detach().clone()
        step()
        assert a.tolist() == b.tolist() and a.tolist() != c.tolist()
        if name == "SGD":
            # w - lr g_a - lr g_b, one rounding each
            np.testing.assert_allclose((before - 0.1 * (a.grad + b.grad)).tolist(), a.tolist(), rtol=1e-14, atol=1e-14)
    assert a.tolist() != start.tolist()
    with tg.no_grad():
        a.zero_()
    assert b.tolist() == a.tolist()
    b.data = b.data.clone()  # and no longer
    step()
    assert a.tolist() != b.tolist()


def test_parts_of_one_memory_that_do_not_overlap_are_trained():
    whole = tg.zeros(4, 2)
    even, odd = nn.Parameter(whole.array[:, 0]), nn.Parameter(whole.array[:, 1])
    optimizer = optim.SGD([even, odd], lr=1.0)
    (even.sum() + 2 * odd.sum()).backward()
    optimizer.step()
    assert even.tolist() == [-1.0] * 4 and odd.tolist() == [-2.0] * 4


def test_what_cannot_stay_tied_is_refused():
    a, b = nn.Parameter(np.ones((2, 3))), nn.Parameter(np.ones((3, 2)))
    b.data = a.data.T
    a.grad, b.grad = tg.ones(2, 3, dtype=tg.float64), tg.ones(3, 2, dtype=tg.float64)
    with pytest.raises(RuntimeError, match=r"shares its memory with another.*p\.data\.clone\(\)"):
        optim.SGD([a, b], lr=0.1).step()


# Gradients

JOINED = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "add of views": lambda x, y: x.view(-1) + y.T.reshape(-1),
    "itself": lambda x, y: x + x + y.view(3, 2).T,
    "handed on": lambda x, y: x,
    "stack": lambda x, y: tg.stack([x, y.T.reshape(2, 3)]),
    "mul": lambda x, y: x * y,
}


@given(st.sampled_from([*JOINED]), st.sampled_from([*JOINED]), st.booleans(), DEVICES)
def test_gradients_never_share_memory(first, second, create_graph, device):
    x, y = (tg.ones(2, 3, device=device, requires_grad=True) for _ in range(2))
    h = JOINED[first](x, y).reshape(-1)[:6].reshape(2, 3)
    out = JOINED[second](h, y)
    seed = tg.ones(out.shape, device=device)
    ways = [tg.grad(out, (x, y, h, out), seed, create_graph=create_graph, retain_graph=True, allow_unused=True)]
    h.retain_grad()
    out.backward(seed, create_graph=create_graph)
    ways.append((x.grad, y.grad, h.grad, seed))
    for gradients in ways:
        gradients = [g for g in gradients if g is not None]
        values = [g.tolist() for g in gradients]
        for i, g in enumerate(gradients):
            with tg.no_grad():
                g.mul_(7)
            assert [k.tolist() for k in gradients[:i] + gradients[i + 1 :]] == values[:i] + values[i + 1 :]
            with tg.no_grad():
                g.div_(7)
    assert seed.tolist() == np.ones(out.shape).tolist()


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_hook_that_writes_into_its_gradient_reaches_no_other(create_graph):
    def spoil(g):
        with tg.no_grad():
            g.zero_()

    x, y = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    h = x * 1
    h.register_hook(spoil)
    _, gy = tg.grad((h + y).sum(), (x, y), create_graph=create_graph)
    assert gy.tolist() == [1.0] * 3


@given(
    st.sampled_from(
        [
            lambda x: x.zero_(),
            lambda x: x.fill_(0.0),
            lambda x: x.copy_(tg.zeros(3, dtype=tg.float64, device=x.device)),
            lambda x: x.normal_().zero_(),
            lambda x: x.masked_fill_(tg.tensor([True] * 3, device=x.device), 0.0),
            lambda x: x.__setitem__(slice(None), 0.0) or x,
            lambda x: x.__setitem__([0, 1, 2, 2], 0.0) or x,
            lambda x: x.scatter_(0, tg.tensor([0, 1, 2], device=x.device), 0.0),
        ]
    ),
    DEVICES,
)
def test_what_was_overwritten_gets_the_gradient_zero_whatever_came_back(overwrite, device):
    """d√y/dy is infinite at 0, and 0 · ∞ would be nan."""
    x = tg.tensor([1.0, -2.0, 3.0], dtype=tg.float64, device=device, requires_grad=True)
    y = overwrite(x * 1)
    assert y.tolist() == [0.0] * 3
    with np.errstate(divide="ignore"):
        y.sqrt().sum().backward()
    assert x.grad.tolist() == [0.0] * 3


def test_a_gradient_that_does_not_fit_is_refused_at_once():
    x = tg.zeros(2, 3, requires_grad=True)
    for wrong, error, message in (
        (tg.zeros(3, 2), ValueError, r"grad: a gradient of shape \(3, 2\) does not fit a tensor of shape \(2, 3\)"),
        (tg.zeros(2, 3, dtype=tg.float64), TypeError, r"grad: a gradient of dtype float64.*\.to\(float32\)"),
        (tg.zeros(2, 3, device="strict"), RuntimeError, r"grad: the gradient is on strict, the tensor on cpu"),
        (np.zeros((2, 3), np.float32), TypeError, r"grad: a tensor or None is expected, got ndarray"),
    ):
        with pytest.raises(error, match=message):
            x.grad = wrong
    x.grad = tg.ones(2, 3)
    (x.sum() * 2).backward()
    assert x.grad.tolist() == [[3.0] * 3] * 2


def test_data_is_a_tensor_that_may_require_a_gradient():
    x = tg.ones(3, requires_grad=True)
    with pytest.raises(TypeError, match=r"data: a tensor is expected, got list"):
        x.data = [1.0, 2.0, 3.0]
    with pytest.raises(TypeError, match=r"data: this tensor requires a gradient.*got int64"):
        x.data = tg.arange(3)
    x.data = np.zeros((2, 2))
    assert x.shape == (2, 2) and x.dtype == tg.float64 and x.requires_grad


@pytest.mark.parametrize("recorded", [False, True])
def test_an_assignment_that_does_not_fit_is_named(recorded):
    x = tg.ones(3, requires_grad=recorded) * 1
    with pytest.raises(ValueError, match=r"^setitem: x\[slice.*for x of shape \(3,\): .*\(4,\)"):
        x[:] = tg.ones(4)
    with pytest.raises(IndexError, match=r"^setitem: x\[7\].*for x of shape \(3,\): index 7 is out of bounds"):
        x[7] = 1.0
    if recorded:
        with pytest.raises(RuntimeError, match=r"^setitem: this tensor shares its memory with a view"):
            x[1:][0] = 1.0
        with pytest.raises(RuntimeError, match=r"^setitem: a leaf that requires a gradient"):
            tg.ones(3, requires_grad=True)[0] = 1.0


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda xp, x: [1, 2], r"odd: forward returned a list; an operator has one array.*autograd\.Function"),
        (lambda xp, x: (x, x), r"odd: forward returned a tuple"),
        (lambda xp, x: None, r"odd: forward returned None, a NoneType; an array is expected"),
        (lambda xp, x: "a", r"odd: forward returned 'a', a str"),
        (lambda xp, x: tg.as_tensor(x) * 2, r"odd: forward returned a Tensor; it runs on arrays: compute with xp"),
    ],
)
def test_a_forward_that_returns_no_array_is_named(forward, message):
    odd = Op(forward, lambda g, *_: g, name="odd")
    with pytest.raises(TypeError, match=message):
        odd(tg.ones(2, requires_grad=True))


def test_integers_that_were_made_to_require_a_gradient_are_named():
    i = tg.arange(3)
    i.requires_grad = True
    with pytest.raises(TypeError, match=r"shape \(3,\) and dtype int64 requires a gradient.*\.float\(\)"):
        (i * tg.ones(3)).sum().backward()


# Rules that return something else than they were handed

WRONG = {
    "a Tensor, and was handed arrays": (lambda g, out, x: tg.as_tensor(g) * 2, False),
    "an array, and was handed tensors": (lambda g, out, x: np.ones(3), True),
    "None; write None in place of the rule": (lambda g, out, x: None, False),
    "None; write None in place of the rule ": (lambda g, out, x: None, True),
    "0.0, a float": (lambda g, out, x: 0.0, False),
    "[1, 2], a list": (lambda g, out, x: [1, 2], True),
}


@pytest.mark.parametrize("problem", WRONG)
@pytest.mark.parametrize("used", ["once", "twice", "with others"])
def test_a_rule_that_returns_something_else_is_named(problem, used):
    rule, create_graph = WRONG[problem]
    double = Op(lambda xp, c, x: x * 2, None, lambda g, _, _c, x: rule(g, _, x), name="double")
    x = tg.ones(3, requires_grad=True)
    y = double(1.0, x)
    if used == "twice":
        y = y + double(2.0, x)
    elif used == "with others":
        y = x.exp() + y + x.sin()
    message = (
        rf"in the derivative of 'double' at test_aliasing\.py:\d+ .*argument 2 returned {re.escape(problem.strip())}"
    )
    with pytest.raises(TypeError, match=message):
        tg.grad(y.sum(), x, create_graph=create_graph)


# NumPy and tensors

SIGNS = "add sub mul truediv floordiv mod pow matmul eq ne lt le gt ge".split()


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("other", [np.array([0.5, 2.0]), np.array([3, 1]), np.float64(2.0), np.int64(2)])
def test_signs_between_arrays_and_tensors(sign, other):
    if sign == "matmul" and not np.ndim(other):
        return
    f = getattr(operator, sign)
    x = tg.tensor([2.0, 3.0], dtype=tg.float64, requires_grad=True)
    for out, wanted in ((f(other, x), f(other, x.detach().numpy())), (f(x, other), f(x.detach().numpy(), other))):
        assert isinstance(out, tg.Tensor) and out.requires_grad is (sign not in ("floordiv", *SIGNS[-6:]))
        np.testing.assert_allclose(out.detach().numpy(), wanted, rtol=1e-15)
    if np.ndim(other) and sign in SIGNS[:7]:
        changed = other.astype(float)
        changed = getattr(operator, f"i{sign}")(changed, x)
        np.testing.assert_allclose(changed.detach().numpy(), f(other, x.detach().numpy()), rtol=1e-15)


@pytest.mark.parametrize(
    "name, advice", [("sqrt", "tinygen.sqrt"), ("arctan", "tinygen.atan"), ("absolute", "tinygen.abs")]
)
def test_numpys_functions_say_what_to_use(name, advice):
    for x in (tg.ones(2), tg.ones(2, requires_grad=True)):
        with pytest.raises(
            TypeError, match=rf"np\.{name}: NumPy's functions do not take tensors.*use {re.escape(advice)}"
        ):
            getattr(np, name)(x)
    with pytest.raises(TypeError, match=r"use np\.hypot\(x\.detach\(\)\.numpy\(\)\)"):
        np.hypot(tg.ones(2), tg.ones(2))
