"""Would the tests notice a wrong derivative?  One fault at a time is planted in every rule of every operator.

    python -m tests.mutation.mutate            all of them (make mutate)
    python -m tests.mutation.mutate mul sum    of these operators

For each fault the suite's own property test of that operator runs (tests/ops/test_operators.py, test_gradients) and must
fail.  So must test_gradients_together, for faults in the gradients that an operator gives together (`Op.together`).  Printed are killed / planted, and every survivor with its reason.  A fault that never changed a value or cut off a
derivative, in ten times as many examples as the suite runs, is no fault ("equivalent": the sign of a zero gradient, the
exchanged rules of x + y); it is recognised by comparing the rule's results with and without it, and counted apart.

Exit status 1 if there are survivors.
"""

from __future__ import annotations

import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import Phase, settings

import tests.conftest  # loads the profile  # noqa: F401
import tinygen.nn  # its operators are in the table too  # noqa: F401
from tests.ops.domains import DOMAINS
from tests.ops.test_operators import test_gradients, test_gradients_together
from tinygen import backend, ops
from tinygen.engine import OPERATORS, EachRule, Node, Op, sum_to
from tinygen.models import Result as Row
from tinygen.testing import diagnosis

Result = Any


def _last_copy(gx: Any, shape: tuple[int, ...]) -> Any:
    """Only the last of the copies that broadcasting made, where their sum is needed."""
    while gx.ndim > len(shape):
        gx = ops.select(gx, 0, gx.shape[0] - 1)
    for axis, n in enumerate(shape):
        if n == 1 and gx.shape[axis] > 1:
            gx = ops.narrow(gx, axis, gx.shape[axis] - 1, 1)
    return gx


FAULTS: dict[str, Callable[[Any, tuple[int, ...]], Any]] = {
    "sign": lambda gx, shape: -gx,
    "factor 2": lambda gx, shape: 2 * gx,
    "factor 1.01": lambda gx, shape: 1.01 * gx,
    "zero": lambda gx, shape: 0 * gx,
    "missing sum": _last_copy,
    "not recorded": lambda gx, shape: gx.detach() if isinstance(gx, Node) else gx,
}
"""What is done to a rule's result gx, before broadcasting is undone; `shape` is the argument's.

One more fault is "rule of argument j": the rule of another argument in the place of this one.
"""
TOGETHER = ("sign", "factor 2", "factor 1.01", "zero")
"""Those that a gradient given together with others can have: it is an array of the argument's shape.  And "gradient of argument j"."""


@dataclass
class Mutant:
    """One fault in one rule, or in one of the gradients that the operator gives together."""

    operator: str
    argument: int
    """Counted from 0."""
    fault: str
    other: int | None = None
    """The argument whose rule (or gradient) is used instead."""
    together: bool = False
    called: int = field(default=0, compare=False)
    differed: int = field(default=0, compare=False)
    """How often the result was not that of the right rule."""

    def __str__(self) -> str:
        what = "given together, gradient" if self.together else "rule"
        return f"{self.operator}, {what} of argument {self.argument + 1}: {self.fault}"

    def wrong(self, rules: Any) -> Callable:
        """The faulty rule."""
        right = rules[self.argument]
        wrong = right if self.other is None else rules[self.other]

        def rule(g: Any, out: Any, *inputs: Any, **params: Any) -> Result:
            good = right(g, out, *inputs, **params)
            return self.spoilt(good, inputs[self.argument].shape, lambda: wrong(g, out, *inputs, **params))

        return rule

    def wrong_together(self, right: Callable) -> Callable:
        """The faulty function that gives several gradients."""

        def together(xp: Any, g: Any, out: Any, *arrays: Any, **params: Any) -> Result:
            found = right(xp, g, out, *arrays, **params)
            if found is None:
                return None
            i = self.argument
            bad = self.spoilt(found[i], arrays[i].shape, lambda: found[self.other])
            return (*found[:i], bad, *found[i + 1 :])

        return together

    def spoilt(self, good: Result, shape: tuple[int, ...], another: Callable[[], Result]) -> Result:
        """The result with the fault in it; counted is whether it differs."""
        self.called += 1
        try:
            bad = another() if self.other is not None else FAULTS[self.fault](good, shape)
            self.differed += _differ(good, bad, shape)
        except Exception:
            self.differed += 1
            raise
        return bad


def _differ(good: Any, bad: Any, shape: tuple[int, ...]) -> bool:
    x, y = (_values(sum_to(each, shape=shape)) for each in (good, bad))
    if not np.allclose(x, y, rtol=1e-9, atol=0, equal_nan=True):
        return True
    recorded, lost = (isinstance(each, Node) and each.requires_grad for each in (good, bad))
    return recorded and not lost and bool(np.any(x))  # a gradient that is 0 everywhere has the derivative 0


def _values(x: Any) -> np.ndarray:
    x = x.array if isinstance(x, Node) else x
    return np.asarray(x) if isinstance(x, np.generic | float) else backend.to_numpy(x)


def all_mutants(names: list[str] | None = None) -> list[Mutant]:
    """Every fault in every rule of the named operators (default: all)."""
    found = []
    for name in names or sorted(OPERATORS):
        op = OPERATORS[name]
        positions = range(2) if isinstance(op.rules, EachRule) else range(len(op.rules))  # type: ignore[arg-type]
        ruled = [i for i in positions if op.rules[i] is not None]  # type: ignore[index]
        for i in ruled:
            found += [Mutant(name, i, fault) for fault in FAULTS]
            found += [Mutant(name, i, f"rule of argument {j + 1}", j) for j in ruled if j != i]
        given = range(given_together(name))
        for i in given:
            found += [Mutant(name, i, fault, together=True) for fault in TOGETHER]
            found += [Mutant(name, i, f"gradient of argument {j + 1}", j, True) for j in given if j != i]
    return found


@lru_cache
def given_together(name: str) -> int:
    """How many gradients the operator gives together, in the first examples of its property test."""
    op, counts = OPERATORS[name], [0]
    right = op.together
    if right is None or name not in DOMAINS:
        return 0

    def counted(*arrays: Any, **params: Any) -> Result:
        found = right(*arrays, **params)
        counts.append(len(found or ()))
        return found

    with mock.patch.object(op, "together", counted), few(test_gradients_together, 3):
        test_gradients_together(name=name)
    return max(counts)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Inside, the operator has the faulty rule, or gives the faulty gradient."""
    op: Op = OPERATORS[mutant.operator]
    rules: Any = op.rules
    if mutant.together and op.together is not None:
        with mock.patch.object(op, "together", mutant.wrong_together(op.together)):
            yield
        return
    wrong = mutant.wrong(rules)
    if isinstance(rules, EachRule):
        op.rules = EachRule(lambda i: wrong if i == mutant.argument else rules[i])
    else:
        op.rules = tuple(wrong if i == mutant.argument else rule for i, rule in enumerate(rules))
    try:
        yield
    finally:
        op.rules = rules


class Killed(Exception):
    """Raised in the place of the report, which would take its time to explain the fault."""


def _kill(*_: Any) -> None:
    raise Killed


def suite_of(mutant: Mutant) -> None:
    """The property test of one operator, as `make test` runs it."""
    test_of(mutant)(name=DOMAINS[mutant.operator].alias_of or mutant.operator)


def test_of(mutant: Mutant) -> Any:
    return test_gradients_together if mutant.together else test_gradients


def outcome(mutant: Mutant, run: Callable[[Mutant], None] = suite_of) -> str:
    """ "killed", "equivalent", or why it survived."""
    if mutant.operator not in DOMAINS or not DOMAINS[mutant.operator].smooth:
        return "survived: the operator has no gradient test"
    usual = test_of(mutant)._hypothesis_internal_use_settings.max_examples
    if _fails(mutant, run, usual):
        return "killed"
    if not mutant.called:
        return "survived: no example calls it"
    if mutant.differed:
        return "survived: the test passes"
    _fails(mutant, run, 10 * usual)
    return "survived: only rare examples, beyond the usual number, show it" if mutant.differed else "equivalent"


def _fails(mutant: Mutant, run: Callable[[Mutant], None], max_examples: int) -> bool:
    """Whether the property test of the operator fails when the fault is planted."""
    with planted(mutant), mock.patch.object(diagnosis, "explain", _kill), few(test_of(mutant), max_examples):
        try:
            run(mutant)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return True
    return False


def few(test: Any, max_examples: int) -> Any:
    """Inside, the property test draws so many examples, always the same ones, and makes none smaller."""
    usual = test._hypothesis_internal_use_settings
    quick = settings(usual, database=None, phases=(Phase.generate,), max_examples=max_examples)
    return mock.patch.object(test, "_hypothesis_internal_use_settings", quick)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in OPERATORS]
    if unknown:
        print(f"no such operator: {', '.join(unknown)}")
        return 2
    start = time.perf_counter()
    counts: dict[str, Counter[str]] = {}
    survivors = []
    for mutant in all_mutants(names or None):
        result = outcome(mutant)
        kind = "other argument's rule" if mutant.other is not None else mutant.fault
        counts.setdefault(kind, Counter())[result.split(":")[0]] += 1
        if result.startswith("survived"):
            survivors.append(f"{mutant}: {result.partition(': ')[2]}")
            print(f"SURVIVED  {survivors[-1]}", flush=True)
    print(f"\n{'fault':<24}{'killed':>8}{'planted':>9}{'equivalent':>12}")
    for kind, c in counts.items():
        print(f"{kind:<24}{c['killed']:>8}{c['killed'] + c['survived']:>9}{c['equivalent']:>12}")
    total: Counter[str] = sum(counts.values(), Counter())
    planted_faults = total["killed"] + total["survived"]
    seconds = time.perf_counter() - start
    print(
        f"\nkilled {total['killed']} of {planted_faults} faults planted in {len(names or OPERATORS)} operators "
        f"({100 * total['killed'] / max(planted_faults, 1):.4g} %); {total['equivalent']} more changed nothing; "
        f"{seconds:.0f} s"
    )
    if not names:
        store(total["killed"], planted_faults, total["equivalent"], seconds)
    return bool(survivors)


def store(killed: int, planted_faults: int, equivalent: int, seconds: float) -> None:
    """The count as a row of docs/results.md (make reproduce rewrites that page; --report does only that)."""
    Row(
        name="derivative rules",
        metric="planted faults that the tests notice",
        unit="%",
        value=100 * killed / planted_faults,
        floor=100.0,
        baseline=0.0,
        target="100 %",
        seed=0,
        seconds=seconds,
        command="make mutate",
        machine=f"{platform.system()} {platform.machine()}, NumPy {np.__version__}, cpu",
        settings={"operators": len(OPERATORS)},
        notes={
            "ceiling": "every fault is noticed",
            "baseline": "no tests",
            "killed / planted": f"{killed} / {planted_faults}",
            "faults that change nothing, counted apart": equivalent,
        },
    ).save(Path(__file__).parents[2] / "results" / "mutation.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
