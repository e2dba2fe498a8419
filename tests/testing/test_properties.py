"""The property factories: their examples run, and every promise that a layer can break is seen to be broken."""

from __future__ import annotations

import inspect
import re
import textwrap
import time

import numpy as np
import pytest
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.engine import Op
from tinygen.testing import properties, strategies
from tinygen.testing.properties import check_bijection, check_linear_map, check_module, check_op

NAMES = {"tg": tg, "nn": nn, "np": np, "st": st, "strategies": strategies, **vars(properties)}


def documented(factory):
    """The tests in the example of a factory's docstring."""
    code = re.search(r"\n\n((?:    .*\n)+)\n", inspect.cleandoc(factory.__doc__)).group(1)
    namespace = dict(NAMES)
    exec(textwrap.dedent(code), namespace)
    return {name: test for name, test in namespace.items() if name.startswith("test_")}


@pytest.mark.parametrize("factory", [check_op, check_module, check_bijection, check_linear_map])
def test_the_documented_examples(factory):
    tests = documented(factory)
    assert len(tests) >= 2
    for test in tests.values():
        test()


def run(test) -> str:
    """The error of a test that must fail, with its notes, as one line."""
    with pytest.raises(BaseException) as caught:  # hypothesis raises a group where several examples fail differently
        test()
    errors = getattr(caught.value, "exceptions", (caught.value,))
    return " ".join(" ".join([str(e), *getattr(e, "__notes__", [])]) for e in errors)


# What a function can break


numpy_inside = Op(lambda xp, x: np.tanh(x), lambda g, out, x: g * (1 - out * out), name="tanh")


def changes_its_input(x):
    x.detach().mul_(2)
    return tg.exp(x)


def layout_matters(x):
    return tg.exp(x) * (1.0 if x.is_contiguous() else 2.0)


def double_inside(x):
    return x * tg.ones(x.shape, dtype=tg.float64, device=x.device)


halving = Op(lambda xp, x: x * x, lambda g, out, x: g * x)
wrong_rule = Op(lambda xp, x: x * x, lambda g, out, x: g * x, name="square")
wrong_second = Op(
    lambda xp, x: x**3, lambda g, out, x: 3 * g * (x * x).detach() if isinstance(x, tg.Tensor) else 3 * g * x * x
)


@pytest.mark.parametrize(
    "function, words",
    [
        (numpy_inside, "strict (which behaves as CuPy does"),
        (changes_its_input, "leaves its inputs as they are"),
        (layout_matters, "do not depend on the layout"),
        (double_inside, "float32 went in, float64 came out"),
        (wrong_rule, "divided by 2"),
        (wrong_second, "cannot be differentiated again"),
        (tg.relu, None),
    ],
)
def test_check_op_sees(function, words):
    test = check_op(function, strategies.tensors((3, 4), layout="contiguous"))
    if words is None:
        test()  # no kink is hit at random
    else:
        assert words in " ".join(run(test).split())


def test_kinks_are_a_failure_unless_skipped():
    zeros = strategies.tensors((3,), low=0.0, high=0.0)
    assert "kink" in run(check_op(tg.relu, zeros))
    check_op(tg.relu, zeros, kinks="skip")()


def test_check_op_draws_broadcasting_arguments_by_itself():
    seen = set()

    def f(x, y, power=2):
        seen.add((x.shape, y.shape))
        return (x * y) ** power

    check_op(f, power=3, order=1, max_examples=100)()
    assert any(x != y for x, y in seen) and any(0 in x for x, _ in seen) and any(x == () for x, _ in seen)


def test_check_op_needs_to_know_the_arguments():
    with pytest.raises(TypeError, match="pass a strategy for each"):
        check_op(max)


def reparameterised(mean, log_variance):
    return mean + tg.exp(0.5 * log_variance) * tg.randn_like(mean + log_variance)


def test_what_is_drawn_is_seeded():
    check_op(reparameterised)()
    check_linear_map(*[lambda x: x * tg.randn(3, dtype=x.dtype, device=x.device)] * 2, strategies.tensors((2, 3)))()


def test_a_wrong_rule_is_found_behind_what_is_drawn():
    assert "divided by 2" in run(check_op(lambda x: reparameterised(halving(x), x), strategies.tensors((3, 4))))


def test_what_cannot_be_seeded_is_told():
    rng = np.random.default_rng(0)
    test = check_op(lambda x: x * rng.normal(), strategies.tensors((3,)))
    assert "returned different values for the same input; draw from the default generator" in run(test)


def test_functions_of_integers_have_no_derivatives():
    integers = strategies.tensors((3,), dtype=np.int64)
    assert "nothing to check" in run(check_op(lambda x: x + 1, integers))
    check_op(lambda x: x + 1, integers, order=0)()
    assert "leaves its inputs as they are" in run(check_op(lambda x: x.add_(1), integers, order=0))


def test_lists_and_dicts_of_tensors():
    pairs = st.tuples(strategies.tensors((2,)), strategies.tensors((3,)))
    check_op(lambda xs: tg.cat(xs), pairs.map(list))()
    check_op(lambda xs: {"sum": xs["x"] + 1}, pairs.map(lambda pair: {"x": pair[0]}))()
    assert "divided by 2" in run(check_op(lambda xs: halving(xs[1]), pairs))


def test_a_test_is_placed_on_the_line_that_made_it():
    """There it is looked for: by tracebacks, and by a report for the line that called an operator."""
    report = run(check_op(halving))  # this line
    assert re.search(r"called at +test_properties.py:\d+ +report = run\(check_op\(halving\)\) +# this line", report)


# What a module can break


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(tg.randn(3))
        self.secret = tg.randn(3)  # state that state_dict does not know of

    def forward(self, x):
        return x * self.weight


class Forgetful(Layer):
    def forward(self, x):
        return x * self.weight * self.secret.to(x.device)


class Halving(Layer):
    def forward(self, x):
        return halving(x) * self.weight


class OnlyInTraining(Layer):
    def forward(self, x):
        return x * self.weight if self.training else x * self.weight.detach()


class Homeless(Layer):
    def forward(self, x):
        return x * self.weight + tg.ones(3)  # on the default device


class Double(Layer):
    def forward(self, x):
        return double_inside(x) * self.weight


@pytest.mark.parametrize(
    "layer, words",
    [
        (Forgetful, "loads the state_dict"),
        (OnlyInTraining, "mode eval"),
        (Homeless, "strict"),
        (Double, "float32 went in"),
    ],
)
def test_check_module_sees(layer, words):
    assert words in run(check_module(layer))


def test_a_wrong_parameter_rule_is_named():
    halved = Op(lambda xp, x, w: x * w, lambda g, out, x, w: g * w, lambda g, out, x, w: g * x / 2, name="halved")

    class Wrong(Layer):
        def forward(self, x):
            return halved(x, self.weight)

    text = run(check_module(Wrong))
    assert "parameter 'weight'" in text and "'halved' for its argument 2" in text and "divided by 2" in text


def test_right_modules_pass():
    check_module(Layer)()
    check_module(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), buffers=True)()
    check_module(lambda: nn.Dropout(0.5), modes=["train"], order=1)()


def test_outputs_inside_outputs_are_checked():
    class Nested(Layer):
        def __init__(self, rule):
            super().__init__()
            self.rule = rule

        def forward(self, x):
            return x, (x + 1, self.rule(x * self.weight))

    check_module(lambda: Nested(tg.square))()
    assert "rule of 'square'" in run(check_module(lambda: Nested(wrong_rule)))


def test_arguments_that_are_no_numbers():
    def f(x, y, how):
        return x if how == "left" else x * y

    check_op(f, strategies.tensors((2,)), st.none(), st.just("left"))()


def test_devices_are_not_compared_in_what_is_drawn():
    """A dropout of two elements often does the same twice, on one device, and something else on another."""
    check_module(lambda: nn.Dropout(0.5), strategies.tensors((2,)), modes=["train"], max_examples=50)()


def test_an_input_that_cannot_be_guessed():
    class Images(nn.Module):
        def forward(self, x):
            if x.ndim != 4:
                raise ValueError("images are expected")
            return x * 2

    with pytest.raises(TypeError, match=r"Images: it accepts no batch of vectors.*pass a strategy"):
        check_module(Images)
    check_module(Images, strategies.tensors((2, 1, 3, 3)))()


@pytest.mark.parametrize(
    "test, words",
    [
        (check_op(halving), "halving: the first derivative in argument 1 is wrong"),
        (check_op(halving, name="of mine"), "of mine: the first derivative in argument 1 is wrong"),
        (check_op(changes_its_input), "changes_its_input leaves its inputs as they are: "),
        (check_op(layout_matters, name="f"), "f: the values do not depend on the layout: "),
        (check_module(Forgetful, name="mine"), "mine: a copy that loads the state_dict computes the same: "),
        (check_module(Halving, name="mine"), "mine: the first derivative in argument 1 is wrong"),
    ],
)
def test_the_first_line_says_what_failed_and_of_what(test, words):
    assert run(test).startswith(words)


# What a bijection can break


class Scale(nn.Module):
    """y = x exp(s), log|dy/dx| = Σ s."""

    def __init__(self):
        super().__init__()
        self.s = nn.Parameter(tg.randn(3))

    def forward(self, x):
        return x * tg.exp(self.s), self.s.sum().expand(x.shape[0])

    def inverse(self, y):
        return y * tg.exp(-self.s), -self.s.sum().expand(y.shape[0])


class WrongInverse(Scale):
    def inverse(self, y):
        return y / tg.exp(self.s + 1e-6), -self.s.sum().expand(y.shape[0])


class WrongLogdet(Scale):
    def forward(self, x):
        return x * tg.exp(self.s), tg.exp(self.s).sum().expand(x.shape[0])


class WrongLogdetBack(Scale):
    def inverse(self, y):
        return y * tg.exp(-self.s), self.s.sum().expand(y.shape[0])


class OneLogdet(Scale):
    def forward(self, x):
        return x * tg.exp(self.s), self.s.sum()


class Mixing(Scale):
    """Depends on the other elements of the batch."""

    def forward(self, x):
        return x * tg.exp(self.s) + 0.1 * x.mean(0), self.s.sum().expand(x.shape[0])


class Projection(Scale):
    """Loses one coordinate."""

    def forward(self, x):
        return x * tg.tensor([1.0, 1.0, 0.0], dtype=x.dtype, device=x.device), tg.zeros(x.shape[0], device=x.device)


def test_check_bijection_passes_what_is_right():
    check_bijection(Scale)()


@pytest.mark.parametrize(
    "layer, words",
    [
        (WrongInverse, "is not the identity"),
        (WrongLogdet, "according to the Jacobian"),
        (WrongLogdetBack, "according to the Jacobian"),
        (OneLogdet, "one log-determinant per element"),
        (Mixing, "elements of a batch depend on each other"),
        (Projection, "is singular"),
    ],
)
def test_check_bijection_sees(layer, words):
    assert words in run(check_bijection(layer))


class Folded(Scale):
    """(batch, 3) -> (batch, 3, 1), and every y must be positive."""

    def forward(self, x):
        return tg.exp(x).unsqueeze(2), x.sum(1)

    def inverse(self, y):
        assert bool((y > 0).all())
        return y.log().squeeze(2), -y.log().sum((1, 2))


class FoldedWrong(Folded):
    """Wrong only where x is not: in the y that no x of the test's arrives at."""

    def inverse(self, y):
        return (y.log() + (y > 50)).squeeze(2), -y.log().sum((1, 2))


def test_check_bijection_draws_y_from_a_strategy_of_its_own():
    x, y = strategies.tensors((2, 3)), strategies.tensors((2, 3, 1), low=30.0, high=100.0)
    check_bijection(Folded, x, y)()
    check_bijection(Folded, outputs=y)()
    assert "according to the Jacobian" in run(check_bijection(FoldedWrong, x, y))


class Identity(Scale):
    def forward(self, x):
        return x, x.sum(1) * 0

    inverse = forward


class SecondMoves(Scale):
    """(x₁, x₂, x₃) -> (x₁, x₂ + sin x₁, x₃)."""

    def forward(self, x):
        return x + tg.sin(x[:, :1]) * tg.tensor([0.0, 1.0, 0.0], device=x.device), x.sum(1) * 0

    def inverse(self, y):
        return y - tg.sin(y[:, :1]) * tg.tensor([0.0, 1.0, 0.0], device=y.device), y.sum(1) * 0


@pytest.mark.parametrize(
    "layer, moves, words",
    [
        (Identity, None, None),
        (Identity, False, None),
        (Identity, True, "it is the identity"),
        (SecondMoves, True, None),
        (SecondMoves, False, "element (1,) of x must stay as it is, and forward changes it"),
        (SecondMoves, [False, True, False], None),
        (SecondMoves, [True, False, True], "element (0,) of x must be changed by forward, and is not"),
        (SecondMoves, [False, True, True], "element (2,) of x must be changed"),
        (Folded, True, "compares x with y, and their shapes"),
    ],
)
def test_check_bijection_knows_what_must_move(layer, moves, words):
    y = strategies.tensors((2, 3, 1), low=30.0, high=100.0) if layer is Folded else None
    test = check_bijection(layer, strategies.tensors((2, 3)), y, moves=moves, max_examples=2)
    if words is None:
        test()
    else:
        assert words in run(test)


# What a linear map can break


@pytest.mark.parametrize(
    "f, transpose, words",
    [
        (lambda x: x * 2 + 1, lambda y: y * 2, "linear"),
        (lambda x: x * 2, lambda y: y * y, "linear"),
        (lambda x: x.cumsum(1), lambda y: y.cumsum(1), "but <x, transpose(y)>"),
        (lambda x: x.sum(1), lambda y: y, "the transpose of (3, 3) -> (3,) returned (3,)"),
        (lambda x: x.detach() * 2 + x * 0, lambda y: 2 * y, "the backward pass of f is the transpose"),
        (lambda x: 2 * x, lambda y: y.detach() * 2 + y * 0, "the backward pass of the transpose is f"),
    ],
)
def test_check_linear_map_sees(f, transpose, words):
    assert words in " ".join(run(check_linear_map(f, transpose)).split())


def test_check_linear_map_passes_what_is_right():
    check_linear_map(lambda x: x.cumsum(1), lambda y: y.flip(1).cumsum(1).flip(1))()


def test_a_test_is_quick():
    """A learner's edit-and-test loop: a small layer in a second or two."""
    start = time.perf_counter()
    check_module(lambda: nn.Linear(3, 2))()
    assert time.perf_counter() - start < 10
