"""gradcheck confirms what is right, at any scale and order, and rejects what is wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.engine import Op
from tinygen.testing import assert_gradients, gradcheck
from tinygen.testing.maps import map_of


def normal(*shape, seed=0, dtype=np.float64, device="cpu"):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), dtype=dtype, device=device)


# What is right is confirmed, without a tolerance to choose


@given(size=st.integers(-8, 8), stretch=st.integers(-3, 3))
def test_any_scale_and_curvature(size, stretch):
    """x of size 10^size, and a function that bends at 10^stretch times that size."""
    scale = 10.0**size
    x = tg.tensor(scale * np.random.default_rng(0).normal(size=(3, 2)))
    assert_gradients(lambda x: tg.sin(x / (scale * 10.0**stretch)), x)


@given(size=st.integers(-30, 0))
def test_arguments_that_are_nearly_zero(size):
    """A bias of 1e-30 moves nothing by steps of its own size; a mistake in its rule is found all the same."""
    b = tg.tensor(10.0**size * np.random.default_rng(0).normal(size=3))
    assert_gradients(lambda b: tg.sigmoid(b + 1), b)
    assert not gradcheck(Op(lambda xp, b: xp.exp(b + 1), lambda g, out, b: 1.001 * g * out), b)


@given(size=st.integers(-8, 8))
def test_any_scale_does_not_hide_a_mistake(size):
    wrong = Op(lambda xp, x: x * x * x, lambda g, out, x: 3.003 * g * x * x)
    assert not gradcheck(wrong, tg.tensor(10.0**size * np.random.default_rng(0).normal(size=(3, 2))))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_any_order(order):
    report = gradcheck(lambda x, y: tg.exp(x * y).sum(0), normal(2, 3), normal(3), order=order)
    # f has 2 arguments and 1 output; each backward pass adds one cotangent per output, and has one output per argument
    arguments, outputs, expected = 2, 1, 0
    for _ in range(order):
        expected += arguments
        arguments, outputs = arguments + outputs, arguments
    assert report and report.checks == expected


def test_the_mistake_of_an_order_is_found_at_that_order():
    """The rule's own derivative is cut off: the first order is right, the second is not."""
    cut = Op(
        lambda xp, x: x**3, lambda g, out, x: 3 * g * (x * x).detach() if isinstance(x, tg.Tensor) else 3 * g * x * x
    )
    assert gradcheck(cut, normal(4), order=1)
    report = gradcheck(cut, normal(4), order=2)
    assert not report and {f.order for f in report.findings} == {2}


def test_a_softmax_with_zero_gradient_is_rejected():
    """Its outputs sum to one, so that a cotangent of ones would find the gradient 0 right."""
    zero = Op(lambda xp, x: xp.exp(x) / xp.exp(x).sum(-1, keepdims=True), lambda g, out, x: g * 0)
    x = normal(4, 3)
    y = x.clone().requires_grad_()
    assert abs(tg.grad(tg.softmax(y, -1).sum(), y)[0].numpy()).max() < 1e-15  # what ones would compare with
    assert not gradcheck(zero, x)


# dtypes


def test_float64_copies_are_the_default():
    x = normal(3, dtype=np.float32)
    report = gradcheck(tg.exp, x)
    assert report.dtype == "float64" and "note" not in str(report) and x.dtype == np.float32


@pytest.mark.parametrize("dtype", [None, np.float32])
def test_float32_comes_with_a_word(dtype):
    report = gradcheck(tg.exp, normal(3, dtype=np.float32), dtype=dtype)
    assert report and report.dtype == "float32"
    assert "note: float32" in str(report) and "only coarse mistakes can be seen" in str(report)


def test_float32_sees_coarse_mistakes_only():
    def wrong(factor):
        return Op(lambda xp, x: x * x * x, lambda g, out, x: factor * 3 * g * x * x)

    x = normal(5, dtype=np.float32)
    assert not gradcheck(wrong(1.01), x, dtype=None)
    assert not gradcheck(wrong(1.00001), x) and gradcheck(wrong(1.00001), x, dtype=None)


def test_a_function_that_computes_in_float32_inside():
    """Its rounding errors are float32's, whatever the check asks for: no false alarm, and the report says so."""
    report = gradcheck(lambda x: tg.tanh(x.float()), normal(4, 3), order=1)
    assert report and report.dtype == "float32" and "look for .float()" in str(report)


# Kinks


def test_a_kink_is_reported_as_such_with_its_place():
    x = normal(2, 3)
    x.array[1, 2] = 0.0

    def f(x):
        return tg.relu(3 * x).sum()

    report = gradcheck(f, x, order=1)
    (finding,) = report.findings
    assert not report and finding.kind == "kink"
    text = str(report)
    assert "'relu', at index (1, 2) of its output, where argument 1 is 0" in text and "tg.relu(3 * x).sum()" in text
    skipped = gradcheck(f, x, order=1, kinks="skip")
    assert skipped and [f.kind for f in skipped.findings] == ["kink"]


@pytest.mark.parametrize("distance", [1e-12, 1e-9, 1e-6, 1e-3, 1.0])
def test_no_distance_from_a_kink_is_taken_for_a_wrong_rule(distance):
    report = gradcheck(tg.abs, tg.tensor([distance, -distance, 1.0]))
    assert "wrong" not in {f.kind for f in report.findings}
    assert report.ok == (distance > 1e-6)  # the smallest step is 2^-20 of the scale


def test_a_wrong_rule_beside_a_kink_is_still_wrong():
    wrong = Op(lambda xp, x: xp.maximum(x, 0), lambda g, out, x: g * (x > 0) * 1.5)
    report = gradcheck(wrong, tg.tensor([0.0, 1.0, 2.0, -1.0]), kinks="skip", order=1)
    assert not report and report.findings[0].kind == "wrong"


# Modules


class Scaled(nn.Module):
    """Reads a buffer, changes another, and has a third that no gradient reaches."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(tg.randn(3))
        self.register_buffer("center", tg.randn(3))
        self.register_buffer("mask", tg.tensor([1.0, 0.0, 1.0]))
        self.register_buffer("mean", tg.zeros(3))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return tg.exp((x - self.center) * self.weight) * tg.Tensor(self.mask.array)

    def energy(self, x):
        return self.forward(x).sum()


def arguments_of(fn, *inputs, buffers=True):
    """What is checked."""
    return [a.name for a in map_of(fn, inputs, np.dtype(np.float64), buffers=buffers).arguments]


def test_parameters_buffers_and_inputs_are_arguments():
    layer, x = Scaled(), normal(4, 3)
    for buffers in (True, False):
        assert_gradients(layer, x, buffers=buffers)
        assert_gradients(layer.energy, x, buffers=buffers)
    expected = ["argument 1", "parameter 'weight'", "buffer 'center'"]
    assert arguments_of(layer, x) == expected and arguments_of(layer.energy, x) == expected
    assert arguments_of(layer, x, buffers=False) == expected[:2]


def test_the_checked_module_stays_as_it_is():
    layer, x = Scaled(), normal(4, 3)
    before = {k: v.numpy().copy() for k, v in layer.state_dict().items()}
    assert gradcheck(layer, x)
    for key, value in layer.state_dict().items():
        assert value.dtype == np.float32 and np.array_equal(value.numpy(), before[key])
    assert all(p.grad is None for p in layer.parameters())


def test_a_wrong_rule_for_a_parameter_is_found():
    halved = Op(lambda xp, w, x: w * x, lambda g, out, w, x: g * x / 2, lambda g, out, w, x: g * w)

    class Layer(Scaled):
        def forward(self, x):
            return halved(self.weight, x)

    report = gradcheck(Layer(), normal(4, 3))
    assert [f.argument for f in report.findings] == ["parameter 'weight'"]


def test_frozen_parameters_are_constants():
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert arguments_of(layer, normal(4, 3)) == ["argument 1", "parameter 'weight'"]


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_dropout_in_both_modes(training):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.3)).train(training)
    x = normal(5, 3)
    assert_gradients(model, x, buffers=True)
    names = arguments_of(model, x)
    # in evaluation the running moments are read, in training they are only written
    assert ("buffer '1.running_mean'" in names) == ("buffer '1.running_var'" in names) == (not training)
    assert model[1].num_batches_tracked.item() == 0


def test_draws_are_the_same_in_every_evaluation_and_leave_the_stream_alone():
    tg.manual_seed(3)
    expected = tg.rand(2).tolist()
    tg.manual_seed(3)
    assert gradcheck(lambda x: x * tg.rand(4, 3), normal(4, 3), seed=1)
    assert tg.rand(2).tolist() == expected


def test_draws_that_cannot_be_seeded_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="different values for the same input"):
        gradcheck(lambda x: x * float(rng.normal()), normal(3))


# Arguments


def test_only_tensors_that_require_a_gradient_are_checked_if_there_are_any():
    wrong_in_second = Op(lambda xp, x, y: x * y, lambda g, out, x, y: g * y, lambda g, out, x, y: g)
    x, y = normal(3), normal(3)
    assert not gradcheck(wrong_in_second, x, y)
    assert gradcheck(wrong_in_second, x.clone().requires_grad_(), y)


def test_on_every_device(device):
    assert_gradients(lambda x, y: tg.log_softmax(x @ y, 1), normal(4, 3, device=device), normal(3, 2, device=device))
    wrong = Op(lambda xp, x: xp.exp(x), lambda g, out, x: g * 2 * out)
    report = gradcheck(wrong, normal(4, 3, device=device))
    assert "by a factor of 2" in str(report)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1)])
def test_empty_and_zero_dimensional(shape):
    assert_gradients(lambda x: tg.exp(x) * 2, normal(*shape))


def test_several_outputs_and_other_arguments():
    assert_gradients(lambda x, k: (x**k, tg.sin(x).sum(), "not a tensor", x > 0), normal(4), 3)


@given(nesting=st.sampled_from(["list", "tuple", "dict", "deep"]), wrong=st.booleans())
def test_tensors_inside_lists_and_dicts_are_checked(nesting, wrong):
    """And a wrong rule for one of them is told with its place."""
    cube = Op(lambda xp, x: x * x * x, lambda g, out, x: (3 + 0.01 * wrong) * g * x * x, name="cube")
    x, y = normal(3), normal(3, seed=1)
    pair, place = {
        "list": ([x, y], "[1]"),
        "tuple": ((x, y), "[1]"),
        "dict": ({"x": x, "y": y}, "['y']"),
        "deep": ([x, {"pair": (2.0, y)}], "[1]['pair'][1]"),
    }[nesting]

    def f(pair, power):
        first, second = pair.values() if nesting == "dict" else pair
        second = second["pair"][1] if nesting == "deep" else second
        return {"sum": first + power, "cube": cube(second)}

    report = gradcheck(f, pair, 2.0)
    assert report.ok == (not wrong)
    assert [finding.argument for finding in report.findings] == [f"argument 1{place}"] * wrong


@pytest.mark.parametrize(
    "f, arguments",
    [
        (lambda x, y: x * y, 2),
        (lambda *xs: xs[0] * xs[1], 2),
        (tg.mul, 2),
        (lambda x, y, k=2: x * y**k, 2),
        (nn.Bilinear(3, 3, 2), 4),
        (lambda pair: pair[0] * pair[1], 2),  # takes one argument: then it is given the tuple
    ],
)
def test_a_tuple_alone_holds_the_arguments_as_in_pytorch(f, arguments):
    report = gradcheck(f, (normal(4, 3), normal(4, 3, seed=1)), order=1)
    assert report and report.checks == arguments


@given(dtype=st.sampled_from(["int64", "int32", "bool", "none"]), count=st.integers(1, 3))
def test_nothing_to_check_is_no_agreement(dtype, count):
    inputs = [3] * count if dtype == "none" else [tg.ones(2, 3, dtype=dtype)] * count
    with pytest.raises(ValueError, match=r"nothing to check, as no input is a floating-point tensor"):
        gradcheck(lambda *xs: tg.tensor(2.0) * xs[0], *inputs)
    with pytest.raises(ValueError, match="nothing to check, as no output is a floating-point tensor"):
        gradcheck(lambda x: x.argmax(0), normal(2, 3))
    assert gradcheck(nn.Embedding(3, 2), tg.tensor([0, 2, 1])).checks  # its weights are real numbers


# Rules that raise an error


tanh_of_tensors = Op(lambda xp, x: xp.tanh(x), lambda g, out, x: tg.as_tensor(g) * (1 - tg.as_tensor(out) ** 2))
tanh_in_numpy = Op(lambda xp, x: xp.tanh(x), lambda g, out, x: g * (1 - np.tanh(x) ** 2))
tanh_left = Op(lambda xp, x: x * x, lambda g, out, x: g * 2 * (x.numpy() if isinstance(x, tg.Tensor) else x))
tanh_unknown = Op(lambda xp, x: x * x, lambda g, out, x: g * 2 * np.positive(x))
tanh_none = Op(lambda xp, x: xp.tanh(x), lambda g, out, x: None)
square_of_arrays = Op(
    lambda xp, x: x * x, lambda g, out, x: 2 * x.array * g.array if isinstance(x, tg.Tensor) else 2 * x * g
)


@pytest.mark.parametrize(
    "rule, order, words",
    [
        (tanh_of_tensors, 1, "argument 1 returned a Tensor, and was handed arrays"),
        (square_of_arrays, 2, "argument 1 returned an array, and was handed tensors"),
        (tanh_in_numpy, 2, "use tinygen.tanh"),
        (tanh_unknown, 2, "write the rule in tinygen's operators"),
        (tanh_left, 2, "write the rule in tinygen's operators"),
        (tanh_none, 1, "argument 1 returned None"),
    ],
)
def test_a_rule_that_raises_an_error_is_named_with_its_line(rule, order, words):
    def f(x):
        return tg.sin(rule(2 * x))  # the line to be named

    (finding,) = gradcheck(f, normal(3)).findings
    assert (finding.kind, finding.order, finding.suspect) == (
        "raised",
        order,
        f"the rule of {rule.name!r} for its argument 1",
    )
    assert (
        "the line to be named" in finding.line
        and finding.rule.startswith("lambda g, out, x:")
        and words in finding.error
    )
    assert "detach" not in finding.error  # an advice that would break the second order
    with pytest.raises(AssertionError) as caught:
        assert_gradients(f, normal(3))
    assert (
        str(caught.value).partition("\n")[0]
        == f"f: the {'first' if order == 1 else 'second'} derivative in argument 1 raised {finding.error}"
    )


def test_an_error_of_the_function_itself_is_raised():
    with pytest.raises(tg.ShapeError, match="matmul"):
        gradcheck(lambda x: x @ x, normal(2, 3))


# Titles


in_pairs = Op(lambda xp, x: x * x, lambda g, out, x: g * x), Op(lambda xp, x: x * x, lambda g, out, x: g * x)
first_of_two, second_of_two = Op(lambda xp, x: x * x), Op(lambda xp, x: x * x)


class Holder:
    of_the_class = Op(lambda xp, x: x * x)

    def __init__(self):
        self.of_the_object = Op(lambda xp, x: x * x)


def test_a_lambda_is_called_after_its_variable():
    local: Op = Op(lambda xp, x: x * x, lambda g, out, x: g * x)
    names = [tanh_none, first_of_two, second_of_two, Holder.of_the_class, Holder().of_the_object, local]
    assert [op.name for op in names] == [
        "tanh_none", "first_of_two", "second_of_two", "of_the_class", "of_the_object", "local"
    ]  # fmt: skip
    assert "rule of 'local' for" in str(gradcheck(local, normal(3)))
    assert Op(lambda xp, x: x, name="given").name == "given"
    f = lambda x: x * 2
    assert gradcheck(f, normal(3)).name == "f" and gradcheck(f, normal(3), name="mine").name == "mine"


def test_a_lambda_without_a_variable_is_called_after_its_line():
    for op in (*in_pairs, {"key": Op(lambda xp, x: x * x)}["key"], (lambda: Op(lambda xp, x: x * x))()):
        assert re.fullmatch(r"lambda at test_gradcheck\.py:\d+", op.name)
    assert gradcheck(lambda x: 2 * x, normal(3)).name.startswith("lambda at test_gradcheck.py:")


@given(kind=st.sampled_from(["wrong", "kink", "raised"]))
def test_the_first_line_of_the_error_says_what_is_wrong(kind):
    halved = Op(lambda xp, x: x * x, lambda g, out, x: g * x)
    f, words = {
        "wrong": (
            halved,
            "halved: the first derivative in argument 1 is wrong: the gradient is too small: divided by 2",
        ),
        "kink": (tg.relu, "relu: the first derivative in argument 1 was not checked, this is a kink or a jump"),
        "raised": (
            tanh_none,
            "tanh_none: the first derivative in argument 1 raised TypeError: the rule for argument 1",
        ),
    }[kind]
    with pytest.raises(AssertionError) as caught:
        assert_gradients(f, tg.zeros(5) if kind == "kink" else normal(5))
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(order=0), ValueError, "order must be at least 1"),
        (dict(kinks="ignore"), ValueError, "kinks must be 'raise' or 'skip'"),
        (dict(dtype=np.int64), TypeError, "floating-point dtype"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        gradcheck(tg.exp, normal(3), **options)


def test_a_function_must_return_tensors():
    with pytest.raises(TypeError, match="must return a tensor or several, got float"):
        gradcheck(lambda x: float(x.sum()), normal(3))
