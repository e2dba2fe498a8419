"""Every known mistake, planted in a rule, is recognised by name; and the report says where it is."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen.engine import Op
from tinygen.testing import GradientError, assert_gradients, gradcheck

N, I, K = 5, 3, 4  # batch, inputs, outputs: three sizes that differ


def op(forward, *rules) -> Op:
    return Op(forward, *rules, name="mine")


def normal(*shape):
    return tg.tensor(np.random.default_rng(0).normal(size=shape))


def scale(*rules):
    """y = x b², with b broadcast over the batch."""
    right = (lambda g, out, x, b: g * b * b, lambda g, out, x, b: 2 * g * x * b)
    return op(lambda xp, x, b: x * b * b, *(r or s for r, s in zip(rules, right, strict=True))), (
        normal(N, I),
        normal(I),
    )


def affine(*rules):
    """y = x Wᵀ + b."""
    right = (
        lambda g, out, x, w, b: g @ w,
        lambda g, out, x, w, b: tg.mT(g) @ x,
        lambda g, out, x, w, b: g,
    )
    chosen = [r or s for r, s in zip(rules, right, strict=True)]
    return op(lambda xp, x, w, b: x @ w.T + b, *chosen), (normal(N, I), normal(K, I), normal(K))


def square_map(*rules):
    """y = x W for a square W, where no shape shows a forgotten transpose."""
    right = (lambda g, out, x, w: g @ tg.mT(w), lambda g, out, x, w: tg.mT(x) @ g)
    chosen = [r or s for r, s in zip(rules, right, strict=True)]
    return op(lambda xp, x, w: x @ w, *chosen), (normal(N, I), normal(I, I))


def softmax(rule):
    def forward(xp, x):
        e = xp.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return op(forward, rule), (normal(N, I),)


def mean_square(rule):
    """A loss: the mean of x² over everything."""
    return op(lambda xp, x: (x * x).mean(), rule), (normal(N, I),)


def cube(rule):
    """y = x³."""
    return op(lambda xp, x: x**3, rule), (normal(N, I),)


def unrecorded(g, out, x, b):
    """What a NumPy programmer writes first: the right values, out of sight of the engine."""
    g, b = (t.array if hasattr(t, "array") else t for t in (g, b))
    return tg.Tensor(g * b * b) if isinstance(x, tg.Tensor) else g * b * b


# (operator and inputs, the argument with the wrong rule, words that the report must contain)
PLANTED = {
    "sign": (scale(lambda g, out, x, b: -g * b * b, None), 1, "the sign is wrong"),
    "factor 2": (mean_square(lambda g, out, x: 4 * x * g / (N * I)), 1, "too large by a factor of 2"),
    "forgotten 2": (scale(None, lambda g, out, x, b: g * x * b), 2, "divided by 2"),
    "unknown factor": (scale(lambda g, out, x, b: 1.01 * g * b * b, None), 1, "off by the constant factor 1.01"),
    "sign and factor": (
        scale(None, lambda g, out, x, b: -6 * g * x * b),
        2,
        "sign is wrong and the gradient is too large by a factor of 3",
    ),
    "batch size": (affine(None, lambda g, out, x, w, b: tg.mT(g) @ x * N, None), 2, "factor of 5, the batch size"),
    "divided by batch size": (
        affine(None, lambda g, out, x, w, b: tg.mT(g) @ x / N, None),
        2,
        "divided by 5, the batch size",
    ),
    "forgotten 1/N": (
        mean_square(lambda g, out, x: 2 * x * g),
        1,
        "factor of 15, the number of elements of the argument",
    ),
    "mean for a sum": (affine(None, None, lambda g, out, x, w, b: g.mean(0)), 3, "averaged over"),
    "missing sum": (affine(None, None, lambda g, out, x, w, b: g[0]), 3, "a sum is missing"),
    "missing sum, last": (
        scale(None, lambda g, out, x, b: 2 * (g * x * b)[-1]),
        2,
        "the rule returns the contribution of copy 4 alone",
    ),
    "transposed": (square_map(None, lambda g, out, x, w: tg.mT(g) @ x), 2, "the gradient is transposed"),
    "J for Jᵀ": (square_map(lambda g, out, x, w: g @ w, None), 1, "its transpose is needed"),
    "reversed": (cube(lambda g, out, x: tg.flip(3 * g * x * x, (1,))), 1, "reversed along axis 1"),
    "other argument": (scale(None, lambda g, out, x, b: g * b * b), 2, "the gradient of argument 1"),
    "missing input": (cube(lambda g, out, x: 3 * g * x), 1, "the factor x is missing"),
    "missing input and factor": (cube(lambda g, out, x: g * x), 1, "the factor 3 · x is missing"),
    "missing output": (
        op(lambda xp, x: xp.exp(x), lambda g, out, x: g),
        (normal(N, I),),
        1,
        "the factor exp(x) is missing",
    ),
    "one factor too many": (cube(lambda g, out, x: 3 * g * x**3), 1, "the factor x is one too many"),
    "tanh without 1 - out²": (
        op(lambda xp, x: xp.tanh(x), lambda g, out, x: g),
        (normal(N, I),),
        1,
        "(1 - out²) is missing",
    ),
    "missing term": (
        op(lambda xp, x: x * x + x, lambda g, out, x: 2 * g * x),
        (normal(N, I),),
        1,
        "a term is missing: g",
    ),
    "softmax as if elementwise": (softmax(lambda g, out, x: g * out * (1 - out)), 1, "as elementwise"),
    "softmax with zero gradient": (softmax(lambda g, out, x: g * 0), 1, "a zero gradient: the rule returns zeros"),
    "g not used": (cube(lambda g, out, x: 3 * x * x), 1, "g is not used"),
    "g twice": (cube(lambda g, out, x: 3 * x * x * g * g), 1, "not linear in g"),
    "nan": (cube(lambda g, out, x: 3 * g * x**3 / tg.relu(x)), 1, "nan or infinite"),
    "one branch forgotten": (
        cube(lambda g, out, x: 3 * g * x * x * (x > 0)),
        1,
        "for which x is negative, and the gradient is zero there",
    ),
    "last column forgotten": (
        cube(lambda g, out, x: 3 * g * x * x * tg.tensor([1.0, 1.0, 0.0], dtype=g.dtype).array),
        1,
        "only index 2 of axis 1 (size 3) is wrong, and the gradient is zero there",
    ),
    "not recorded": (scale(unrecorded, None), 1, "cannot be differentiated again"),
}


def cases():
    for name, case in PLANTED.items():
        planted, argument, words = case if len(case) == 3 else ((case[0], case[1]), *case[2:])
        yield pytest.param(*planted, argument, words, id=name)


@pytest.mark.parametrize("function, inputs, argument, words", list(cases()))
def test_a_planted_mistake_is_recognised(function, inputs, argument, words):
    report = gradcheck(function, *inputs)
    assert not report
    text = " ".join(str(report).split())  # without the line breaks
    assert words in text
    assert f"the rule of 'mine' for its argument {argument}" in text
    assert "test_mistakes.py:" in text and "lambda g, out" in text or "def unrecorded" in text


@pytest.mark.parametrize(
    "function, inputs",
    [
        scale(None, None),
        affine(None, None, None),
        square_map(None, None),
        softmax(
            lambda g, out, x: (
                out * (g - (g * out).sum(-1, keepdim=True))
                if isinstance(g, tg.Tensor)
                else out * (g - (g * out).sum(-1, keepdims=True))
            )
        ),
        mean_square(lambda g, out, x: 2 * x * g / (N * I)),
        cube(lambda g, out, x: 3 * g * x * x),
    ],
)
def test_the_right_rules_pass(function, inputs):
    assert_gradients(function, *inputs)


def test_the_report_shows_the_worst_element():
    """Index, both numbers and the relative error, computed here by hand: y = x³ with rule 6 g x²."""
    x = tg.tensor([[1.0, 2.0], [-3.0, 0.5]])
    wrong = cube(lambda g, out, x: 6 * g * x * x)[0]
    (finding,) = gradcheck(wrong, x).findings
    assert finding.kind == "wrong" and finding.argument == "argument 1" and finding.shape == (2, 2)
    assert finding.wrong_elements == (4, 4)
    assert finding.analytic == pytest.approx(2 * finding.numeric, rel=1e-8)
    assert finding.relative_error == pytest.approx(0.5, rel=1e-8)


def test_the_worst_element_is_where_the_mistake_is():
    where = np.zeros((4, 3))
    where[2, 1] = 0.3
    wrong = cube(lambda g, out, x: 3 * g * x * x * (1 + where))[0]
    report = gradcheck(wrong, normal(4, 3))
    (finding,) = report.findings
    assert finding.index == (2, 1) and finding.wrong_elements == (1, 12)


def test_assert_gradients_raises_the_report():
    wrong = cube(lambda g, out, x: -g * x * x)[0]
    with pytest.raises(GradientError, match="of 15 elements looked at disagree") as caught:
        assert_gradients(wrong, normal(N, I))
    assert not caught.value.report


def test_inside_a_longer_computation_the_one_wrong_operator_is_named():
    wrong = scale(lambda g, out, x, b: 2 * g * b * b, None)[0]

    def f(x, b):
        y = tg.tanh(x) @ tg.ones(I, I, dtype=x.dtype)
        z = wrong(y, b)  # this line
        return tg.exp(z).sum()

    text = str(gradcheck(f, normal(N, I), normal(I)))
    assert "'mine'" in text and "z = wrong(y, b)  # this line" in text and "by a factor of 2" in text


def test_a_value_that_leaves_the_graph():
    """Every rule is right, and still a part of the gradient is lost: no operator is accused."""
    report = gradcheck(lambda x: x * tg.exp(x).detach(), normal(N))
    text = " ".join(str(report).split())
    assert not report and "detach()" in text and "suspect no rule" in text


def test_an_argument_without_a_rule():
    """The operator that has none is named, and not the other argument's rule, though that is wrong too."""
    wrong = Op(lambda xp, x, y: xp.exp(x * y), lambda g, out, x, y: -g * y * out, None, name="mine")
    one, other = gradcheck(lambda x, y: wrong(tg.sin(x), tg.cos(y)), normal(N), normal(N)).findings
    assert one.suspect == "the rule of 'mine' for its argument 1" and "sign" in one.mistake
    assert other.suspect == "'mine', which has no rule for its argument 2" and "no way leads back" in other.mistake


def test_no_way_back():
    report = gradcheck(lambda x, y: x * y.detach(), normal(N), normal(N))
    assert "no way leads back" in " ".join(str(report).split())
    assert [f.argument for f in report.findings] == ["argument 2"]


def test_a_gradient_of_the_wrong_shape_names_the_operator():
    wrong = op(lambda xp, x, w: x @ w, lambda g, out, x, w: g @ tg.mT(w), lambda g, out, x, w: tg.mT(g) @ x)
    x, w = normal(N, I), normal(I, K)
    with pytest.raises(tg.ShapeError, match=r"derivative of 'mine'.*\(3, 4\).*\(4, 3\)"):
        wrong(x, w.requires_grad_()).sum().backward()
    (finding,) = gradcheck(wrong, x, w).findings
    assert finding.kind == "raised" and "shape (3, 4)" in finding.error and "(4, 3)" in finding.error
    assert finding.suspect == "the rule of 'mine' for its argument 2" and finding.rule.endswith("tg.mT(g) @ x")


def test_no_name_for_what_is_unknown():
    """A wrong rule that is none of the known mistakes gets no wrong explanation."""
    wrong = cube(lambda g, out, x: g * tg.sin(5 * x))[0]
    (finding,) = gradcheck(wrong, normal(N, I)).findings
    assert finding.mistake is None and finding.suspect
