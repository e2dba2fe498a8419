"""Faults in the source are edits that Python takes, that change the program, and that leave alone what only tells."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.source import faults
from tests.mutation.whole import ROOT, area_of, sample


@pytest.mark.parametrize(
    ("code", "edits"),
    [
        ("a < b", {"(a <= b)"}),
        ("a + b", {"(a - b)"}),
        ("a and b", {"(a or b)"}),
        ("not a", {"(a)"}),
        ("x = True", {"x = (False)"}),
        ("x = 2", {"x = (3)"}),
        ("x = 0.5", {"x = (1.0)"}),
        ("f(a, b)", {"pass", "(f(b, a))"}),
        ("x = f(a=b)", {"x = (f())"}),
        ("x += 1", {"x -= 1", "x += (2)"}),
        ("x = a if b else c", {"x = (a)", "x = (c)"}),
        ("if a: pass", {"if (not a): pass"}),
        ("raise ValueError(1 + 2)", {"pass"}),
        ("'''text'''", set()),
        ("def f(x: Literal[1]) -> Literal[2]: pass", set()),
        ("def reproduce(epochs=10): pass", set()),
        ("__all__ = ['a', *map(str, [1])]", set()),
        ("x = f'{1 + 2}'", set()),
    ],
)
def test_the_edits_of_a_line(code, edits):
    source = code.encode()
    assert {fault.planted_in(source).decode() for fault in faults(source, "f.py")} == edits


@pytest.mark.parametrize("name", ["modes.py", "nn/flows/coupling.py"])
def test_every_fault_is_a_program_and_another_one(name):
    source = (ROOT / "tinygen" / name).read_bytes()
    whole, found = ast.dump(ast.parse(source)), faults(source, name)
    programs = [fault for fault in found if fault.is_a_program(source)]
    assert len(programs) > 0.9 * len(found) > 20
    for fault in programs[:: max(1, len(programs) // 40)]:
        assert ast.dump(ast.parse(fault.planted_in(source))) != whole, fault


def test_places_are_bytes_and_names_may_be_greek():
    assert "β < 1  →  (β <= 1)" in [fault.what for fault in faults("σ = 'é' if β < 1 else 2".encode(), "f.py")]


def test_a_seed_says_which_and_no_line_is_drawn_twice():
    drawn = sample(30, seed=0, area="backend")
    assert len(drawn) == 30
    assert drawn == sample(30, seed=0, area="backend") != sample(30, seed=1, area="backend")
    assert all(area_of(ROOT / fault.file) == area for area, fault in drawn)
    assert len({(fault.file, fault.line) for _, fault in drawn}) == len(drawn)


def test_the_engine_is_what_no_other_area_has():
    assert area_of(ROOT / "tinygen" / "engine.py") == "engine"
    assert area_of(ROOT / "tinygen" / "cli" / "main.py") == "command line and plots"
    assert area_of(Path(ROOT / "tinygen" / "checkpoint.py")) == "checkpoint and training"
