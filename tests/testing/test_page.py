"""docs/check_your_own_layer.md shows what examples/check_your_own_layer.py contains and prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "examples" / "check_your_own_layer.py"
PAGE = (ROOT / "docs" / "check_your_own_layer.md").read_text("utf-8")

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def printed() -> str:
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, str(SOURCE)], capture_output=True, encoding="utf-8", env=environment, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", PAGE, re.DOTALL)


def words(text: str) -> str:
    """Without numbers, and without what is said to be an estimate of a rounding error."""
    return NUMBER.sub("#", re.sub(r"\(± .*?\)", "(±)", text))


def numbers(text: str) -> list[float]:
    return [float(n) for n in NUMBER.findall(re.sub(r"\(± .*?\)", "", text))]


def test_what_the_page_shows_is_what_is_printed(printed):
    assert len(blocks("text")) == 7
    everything = words(printed)
    for block in blocks("text"):
        assert words(block) in everything


def test_the_numbers_are_those_that_are_printed(printed):
    """To 6 digits: another processor may round differently."""
    shown = [n for block in blocks("text") for n in numbers(block)]
    found = iter(numbers(printed))
    for n in shown:  # in the order of the script
        assert any(x == pytest.approx(n, rel=1e-6) for x in found), n


def test_the_code_is_the_script_s():
    source = SOURCE.read_text("utf-8")
    for block in blocks("python"):
        for line in block.splitlines():
            assert line in source or line.startswith("from tinygen.testing import")
