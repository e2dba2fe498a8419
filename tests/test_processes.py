"""No test waits for ever: every program that a test starts has a limit of time."""

from __future__ import annotations

import ast
import signal
import time
from pathlib import Path

import pytest

from tests.processes import program

FILES = sorted(Path(__file__).parent.rglob("*.py"))


def calls(tree):
    """(name of the function, the call) for what is called as subprocess.<name>."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "subprocess":
                yield node.func.attr, node


def unlimited(text):
    """The lines of a program that start another one without a limit."""
    for name, call in calls(ast.parse(text)):
        keywords = {k.arg for k in call.keywords}
        if name == "Popen" or (name in ("run", "call", "check_call", "check_output") and "timeout" not in keywords):
            yield call.lineno


@pytest.mark.parametrize(
    "text, lines", [("subprocess.run(a)\nsubprocess.run(a, timeout=1)\nsubprocess.Popen(a)", [1, 3])]
)
def test_what_has_no_limit_is_found(text, lines):
    assert list(unlimited("import subprocess\n" + text)) == [line + 1 for line in lines]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_program_that_is_started_has_a_limit(file):
    if file.name == "processes.py":
        return
    assert not list(unlimited(file.read_text("utf-8"))), "give it timeout=, or use tests.processes.program"


def test_a_program_that_says_nothing_is_not_waited_for():
    start = time.monotonic()
    with program(["-c", "import time; time.sleep(100)"], seconds=0.5) as process:
        assert process.stdout.readline() == ""
    assert time.monotonic() - start < 50 and process.returncode == -signal.SIGKILL


def test_a_program_ends_with_its_block():
    with program(["-c", "import time; print(1, flush=True); time.sleep(100)"]) as process:
        assert process.stdout.readline() == "1\n"
    assert process.returncode is not None
