"""A sample of the faults that `make mutate` plants in all rules; and the tool itself tells the dead from the living."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from tests.mutation.mutate import FAULTS, Mutant, all_mutants, main, outcome, planted
from tinygen.engine import OPERATORS

SAMPLE = random.Random(0).sample(all_mutants(), 60)


@pytest.mark.parametrize("mutant", SAMPLE, ids=str)
def test_a_planted_fault_is_noticed(mutant):
    assert outcome(mutant) in ("killed", "equivalent")


@pytest.mark.slow
def test_every_planted_fault_is_noticed():
    assert main([]) == 0


def test_every_rule_of_every_operator_is_a_target():
    targets = {(m.operator, m.argument) for m in all_mutants() if m.fault == "sign" and not m.together}
    assert {name for name, _ in targets} == {n for n, op in OPERATORS.items() if any(islice(op.rules, 2))}
    assert {("mul", 0), ("mul", 1), ("where", 1), ("where", 2), ("stack", 1)} <= targets and ("where", 0) not in targets


def test_every_gradient_that_is_given_together_is_a_target():
    targets = {(m.operator, m.argument) for m in all_mutants() if m.fault == "sign" and m.together}
    assert {name for name, _ in targets} == {name for name, op in OPERATORS.items() if op.together}
    assert {("normalize", 0), ("normalize", 1), ("normalize", 2), ("conv_bias", 0), ("conv_bias", 1)} <= targets
    assert ("conv_bias", 2) not in targets  # its rule gives it


def test_a_test_that_does_nothing_lets_all_faults_live():
    assert outcome(Mutant("mul", 0, "sign"), run=lambda mutant: None) == "survived: no example calls it"


def test_a_test_without_comparison_lets_all_faults_live():
    def run(mutant):
        import tinygen as tg

        x = tg.randn(3, requires_grad=True)
        (x * x).sum().backward()

    assert outcome(Mutant("mul", 0, "sign"), run) == "survived: the test passes"


@pytest.mark.parametrize(
    "mutant",
    [
        Mutant("add", 0, "rule of argument 2", 1),  # x + y: both rules are g
        Mutant("floor", 0, "sign"),  # the gradient is 0
        Mutant("exp", 0, "missing sum"),  # there is nothing to broadcast
        Mutant("sign", 0, "not recorded"),  # 0 again, whose derivative is 0
    ],
    ids=str,
)
def test_what_changes_nothing_is_no_fault(mutant):
    assert outcome(mutant) == "equivalent"


def test_a_test_without_comparison_lets_wrong_gradients_together_live():
    def run(mutant):
        import tinygen as tg

        x = tg.randn(3, 4, requires_grad=True)
        tg.nn.functional.batch_norm(
            x, None, None, tg.ones(4, requires_grad=True), tg.zeros(4), training=True
        ).sum().backward()

    assert outcome(Mutant("normalize", 0, "sign", together=True), run) == "survived: the test passes"


@pytest.mark.parametrize("fault", FAULTS)
def test_the_operator_is_as_before_afterwards(fault):
    before = OPERATORS["mul"].rules
    with planted(Mutant("mul", 0, fault)):
        assert OPERATORS["mul"].rules is not before
    assert OPERATORS["mul"].rules is before


def test_the_gradients_together_are_as_before_afterwards():
    before = OPERATORS["conv"].together
    with planted(Mutant("conv", 1, "sign", together=True)):
        assert OPERATORS["conv"].together is not before
    assert OPERATORS["conv"].together is before


def test_the_table(capsys):
    assert main(["mul", "exp"]) == 0
    out = capsys.readouterr().out
    # mul: 2 rules with 6 faults and 1 exchange each; exp: 1 rule with 6 faults, of which a missing sum is none
    assert "killed 19 of 19 faults planted in 2 operators (100 %); 1 more changed nothing" in out
    assert main(["no such"]) == 2
