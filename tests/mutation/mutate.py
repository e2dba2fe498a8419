"""Would the tests notice a wrong derivative?  One fault at a time is planted in every rule of every operator.

    python -m tests.mutation.mutate            all of them (make mutate)
    python -m tests.mutation.mutate mul sum    of these operators

For each fault the suite's own property test of that operator runs (tests/ops/test_operators.py, test_gradients) and must
fail.  Printed are killed / planted, and every survivor with its reason.  A fault that never changed a value or cut off a
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
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import Phase, settings

import tests.conftest  # loads the profile  # noqa: F401
import tinygen.nn  # its operators are in the table too  # noqa: F401
from tests.ops.domains import DOMAINS
from tests.ops.test_operators import test_gradients
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


@dataclass
class Mutant:
    """One fault in one rule."""

    operator: str
    argument: int
    """Counted from 0."""
    fault: str
    other: int | None = None
    """The argument whose rule is used instead."""
    called: int = field(default=0, compare=False)
    differed: int = field(default=0, compare=False)
    """How often the result was not that of the right rule."""

    def __str__(self) -> str:
        return f"{self.operator}, rule of argument {self.argument + 1}: {self.fault}"

    def wrong(self, rules: Any) -> Callable:
        """The faulty rule."""
        right = rules[self.argument]
        wrong = right if self.other is None else rules[self.other]

        def rule(g: Any, out: Any, *inputs: Any, **params: Any) -> Result:
            self.called += 1
            good = right(g, out, *inputs, **params)
            shape = inputs[self.argument].shape
            try:
                bad = wrong(g, out, *inputs, **params) if self.other is not None else FAULTS[self.fault](good, shape)
                self.differed += _differ(good, bad, shape)
            except Exception:
                self.differed += 1
                raise
            return bad

        return rule


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
    return found


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Inside, the operator has the faulty rule."""
    op: Op = OPERATORS[mutant.operator]
    rules: Any = op.rules
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


def suite_of(name: str) -> None:
    """The property test of one operator, as `make test` runs it."""
    test_gradients(name=DOMAINS[name].alias_of or name)


def outcome(mutant: Mutant, run: Callable[[str], None] = suite_of) -> str:
    """ "killed", "equivalent", or why it survived."""
    if mutant.operator not in DOMAINS or not DOMAINS[mutant.operator].smooth:
        return "survived: the operator has no gradient test"
    usual = test_gradients._hypothesis_internal_use_settings
    if _fails(mutant, run, usual.max_examples):
        return "killed"
    if not mutant.called:
        return "survived: no example calls the rule"
    if mutant.differed:
        return "survived: the test passes"
    _fails(mutant, run, 10 * usual.max_examples)
    return "survived: only rare examples, beyond the usual number, show it" if mutant.differed else "equivalent"


def _fails(mutant: Mutant, run: Callable[[str], None], max_examples: int) -> bool:
    """Whether the property test of the operator fails when the fault is planted."""
    usual = test_gradients._hypothesis_internal_use_settings
    quick = settings(usual, database=None, phases=(Phase.generate,), max_examples=max_examples)
    with (
        planted(mutant),
        mock.patch.object(diagnosis, "explain", _kill),
        mock.patch.object(test_gradients, "_hypothesis_internal_use_settings", quick),
    ):
        try:
            run(mutant.operator)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return True
    return False


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
