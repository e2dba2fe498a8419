"""Laws that hold for every composition of transforms: inverses, log-determinants, derivatives, and the algebra itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tests.nn.flows.stacks import stacks, triples
from tinygen.backend import to_numpy
from tinygen.nn import flows
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts
from tinygen.testing.layouts import LAYOUTS
from tinygen.testing.machinery import ROUNDING, a_fifth
from tinygen.testing.properties import assert_inverse


def values(pair):
    return [to_numpy(t.detach().array) for t in pair]


def assert_equal(found, expected, rtol=0.0):
    """Two pairs (y, logdet).  rtol: of sums in another order, relative to what is summed: numbers below 10 here."""
    for a, b in zip(values(found), values(expected), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=10 * rtol)


@given(case=stacks())
def test_inverse_and_log_determinant(case):
    """Both ways, to the rounding that the Jacobian's condition allows; log|det| by numpy.linalg.slogdet."""
    flow, x, y = case
    assert_inverse(flow.forward, flow.inverse, x, "stack", "inverse(forward(x))")
    assert_inverse(flow.inverse, flow.forward, y, "stack", "forward(inverse(y))")


@settings(max_examples=a_fifth())
@given(case=stacks(most=3), seed=ts.seeds())
def test_derivatives(case, seed):
    """To second order, of y and the log-determinant in both directions, in inputs and in parameters."""
    flow, x, y = case
    assert_gradients(flow, x, seed=seed)
    assert_gradients(flow.inverse, y, seed=seed)


@given(case=stacks())
def test_an_element_does_not_depend_on_the_others(case):
    flow, x, y = case
    for f, there in ((flow.forward, x), (flow.inverse, y)):
        together = values(f(there))
        for i in range(there.shape[0]):
            # the same sums, which BLAS may take in another order for a batch of another size
            for a, b in zip(values(f(there[i : i + 1])), together, strict=True):
                np.testing.assert_allclose(a[0], b[i], rtol=ROUNDING, atol=10 * ROUNDING)


@given(case=stacks())
def test_a_batch_of_none(case):
    """Shapes are those of any batch, and no parameter gets a gradient but 0."""
    flow, x, y = case
    for f, there, back in ((flow.forward, x, y), (flow.inverse, y, x)):
        none = there[:0].detach().requires_grad_()
        out, logdet = f(none)
        assert out.shape == (0, *back.shape[1:]) and logdet.shape == (0,)
        (out.sum() + logdet.sum()).backward()
        assert none.grad is None or none.grad.shape == none.shape  # None: nothing at all was done
        assert all(p.grad is None or not p.grad.any() for p in flow.parameters())
        flow.zero_grad()


@given(case=stacks(), dtype=ts.float_dtypes())
def test_dtype_and_device_are_kept(device, case, dtype):
    flow, x, y = case
    flow = copy.deepcopy(flow).to(device, dtype)
    for f, there, back in ((flow.forward, x, y), (flow.inverse, y, x)):
        out, logdet = f(tg.tensor(there, dtype=dtype, device=device))
        assert out.shape == back.shape and logdet.shape == there.shape[:1]
        for t in (out, logdet):
            assert t.dtype == dtype and t.device.type == device


@given(case=stacks(), layout=st.sampled_from(list(LAYOUTS)))
def test_the_memory_layout_does_not_matter(case, layout):
    flow, x, y = case
    for f, there in ((flow.forward, x), (flow.inverse, y)):
        assert_equal(f(LAYOUTS[layout](there.detach())), f(there.contiguous()), ROUNDING)


@given(case=stacks())
def test_nothing_is_left_of_there_and_back(case):
    """f followed by its inverse is the identity, with log-determinant 0."""
    flow, x, _ = case
    again, logdet = flows.Composition(flow, flows.Inverse(flow))(x)
    np.testing.assert_allclose(*values((again, x)), atol=1e6 * np.finfo(float).eps)  # conditions of a few hundred
    np.testing.assert_allclose(*values((logdet, tg.zeros(x.shape[0]))), atol=1e6 * np.finfo(float).eps)


@given(case=stacks())
def test_the_inverse_of_the_inverse_is_the_transform(case):
    flow, x, y = case
    twice = flows.Inverse(flows.Inverse(flow))
    assert_equal(twice(x), flow(x))
    assert_equal(twice.inverse(y), flow.inverse(y))


@given(case=triples())
def test_composition_is_associative(case):
    (a, b, c), x, y = case
    flat = flows.Composition(a, b, c)
    for nested in (
        flows.Composition(flows.Composition(a, b), c),
        flows.Composition(a, flows.Composition(b, c)),
        flows.Composition(flat[:1], flat[1:]),
        flows.Composition(flows.Composition(), flat, flows.Composition()),
    ):
        assert_equal(nested(x), flat(x), ROUNDING)
        assert_equal(nested.inverse(y), flat.inverse(y), ROUNDING)


@given(case=triples())
def test_the_inverse_of_a_composition_is_that_of_the_inverses_in_reverse(case):
    (a, b, c), x, y = case
    first = flows.Inverse(flows.Composition(a, b, c))
    second = flows.Composition(flows.Inverse(c), flows.Inverse(b), flows.Inverse(a))
    assert_equal(first(y), second(y))
    assert_equal(first.inverse(x), second.inverse(x))


def test_composition_is_a_sequence():
    layers = [flows.Scale(2), flows.Reshape((2,), (2, 1)), flows.Scale((2, 1))]
    flow = flows.Composition(*layers)
    assert len(flow) == 3 and list(flow) == layers and flow[1] is layers[1] and flow[-1] is layers[2]
    assert isinstance(flow[1:], flows.Composition) and list(flow[1:]) == layers[1:]
    assert list(flow.state_dict()) == ["0.log_scale", "2.log_scale"]
    x = tg.randn(3, 2)
    y, logdet = flows.Composition()(x)
    assert y is x and logdet.tolist() == [0, 0, 0]
    twice = flows.Composition(layers[0], layers[0])  # one layer, two places: its parameters are shared
    with tg.no_grad():
        layers[0].log_scale.fill_(0.5)
    np.testing.assert_allclose(values(twice(x))[0], values((x * np.e, x))[0], rtol=1e-6)
    assert twice(x)[1].tolist() == [2.0] * 3 and len(list(twice.parameters())) == 1


def test_what_a_transform_is_missing_is_named():
    class Half(flows.Transform):
        def forward(self, x):
            return x, x.sum(1)

    with pytest.raises(NotImplementedError, match=r"Half defines no inverse\(y\) -> \(x, logdet\)"):
        Half().inverse(tg.ones(1, 2))
    with pytest.raises(NotImplementedError, match="Transform defines no forward"):
        flows.Transform()(tg.ones(1, 2))


# Shapes


x23 = tg.ones(5, 2, 3)
WRONG = {
    "affine": (
        lambda: flows.AffineCoupling([1, 0], tg.nn.Linear(2, 2), tg.nn.Linear(2, 2))(x23),
        r"AffineCoupling: .*\('batch', 2\) is expected, got \(5, 2, 3\)",
    ),
    "a net of another shape": (
        lambda: flows.AffineCoupling([1, 0], tg.nn.Linear(2, 2))(tg.ones(5, 2)),
        r"AffineCoupling: for an input of shape \(5, 2\), scale_net must return \(5, 4\), got \(5, 2\)",
    ),
    "additive": (
        lambda: flows.AdditiveCoupling([1, 0], tg.nn.Linear(2, 3)).inverse(tg.ones(5, 2)),
        r"AdditiveCoupling: for an input of shape \(5, 2\), translate_net must return \(5, 2\), got \(5, 3\)",
    ),
    "no batch": (
        lambda: flows.AdditiveCoupling([1, 0], tg.nn.Linear(2, 2))(tg.ones(())),
        r"AdditiveCoupling: .*got \(\)",
    ),
    "scale": (lambda: flows.Scale(3)(x23), r"Scale: .*\('batch', 3\) is expected, got \(5, 2, 3\)"),
    "scale, inverse": (lambda: flows.Scale((3, 2)).inverse(x23), r"Scale: .*\('batch', 3, 2\) is expected"),
    "scale, no batch": (lambda: flows.Scale(())(tg.ones(())), r"Scale: .* is expected, got \(\)"),
    "reshape": (lambda: flows.Reshape((6,), (2, 3))(x23), r"Reshape: .*\('batch', 6\) is expected, got \(5, 2, 3\)"),
    "reshape, inverse": (lambda: flows.Reshape((6,), (3, 2)).inverse(x23), r"Reshape: .*\('batch', 3, 2\) is expected"),
    "reshape, sizes": (lambda: flows.Reshape((6,), (2, 2)), r"Reshape: \(6,\) has 6 elements, \(2, 2\) has 4"),
    "act norm": (lambda: flows.ActNorm(3)(x23), r"ActNorm: .*\(batch, 3, \*\) is expected, got \(5, 2, 3\)"),
    "act norm, inverse": (lambda: flows.ActNorm(3).inverse(tg.ones(3)), r"ActNorm: .* is expected, got \(3,\)"),
    "conv": (lambda: flows.InvertibleConv1x1(3)(x23), r"InvertibleConv1x1: .*\(batch, 3, \*\) is expected"),
    "squeeze, odd": (lambda: flows.Squeeze()(tg.ones(5, 1, 3, 2)), r"Squeeze: .*\(5, 1, 3, 2\)"),
    "squeeze, vectors": (lambda: flows.Squeeze()(x23), r"Squeeze: .*\(5, 2, 3\)"),
    "squeeze, inverse": (lambda: flows.Squeeze().inverse(tg.ones(5, 2, 2, 2)), r"Squeeze: .*\(5, 2, 2, 2\)"),
    "factor out": (
        lambda: flows.FactorOut((2, 1, 1), flows.Reshape((1, 1, 1), (1,)))(x23),
        r"FactorOut: .*\('batch', 2, 1, 1\) is expected, got \(5, 2, 3\)",
    ),
    "factor out, inverse": (
        lambda: flows.FactorOut((2, 1, 1), flows.Reshape((1, 1, 1), (1,))).inverse(x23),
        r"FactorOut: .*\('batch', 2\) is expected, got \(5, 2, 3\)",
    ),
    "factor out, no vector": (
        lambda: flows.FactorOut((2, 1, 1), flows.Composition())(tg.ones(5, 2, 1, 1)),
        r"FactorOut: .*\('batch', 1\) is expected, got \(5, 1, 1, 1\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_are_named(name):
    call, words = WRONG[name]
    with pytest.raises(tg.errors.ShapeError, match=words):
        call()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: flows.AffineCoupling([1, 2], tg.nn.Identity()), r"AffineCoupling: the mask must consist of 0 and 1"),
        (
            lambda: flows.FactorOut((3, 1, 1), flows.Composition()),
            r"even number of channels is expected, got 3; Squeeze",
        ),
        (lambda: flows.SoftClamp(0.0), r"SoftClamp: limit > 0 is expected, got 0.0"),
        (lambda: flows.Logit(0.5), r"Logit: 0 <= margin < 0.5 is expected, got 0.5"),
        (lambda: flows.Dequantize(1), r"Dequantize: levels >= 2 are expected, got 1"),
        (lambda: flows.Squeeze(0), r"Squeeze: factor >= 1 is expected, got 0"),
        (lambda: flows.InvertibleConv1x1(0), r"InvertibleConv1x1: channels >= 1 is expected, got 0"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
