"""The README's programs run as they stand there, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

import tinygen
from tinygen.ops import elementwise

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def programs(page):
    """The blocks of Python on a page, but for the one that is quoted from the table of operators."""
    blocks = re.findall(r"```python\n(.*?)\n```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    return [block for block in blocks if not block.startswith("tanh = Fused")]


@pytest.mark.parametrize("page, least", [("README.md", 2), ("docs/check_your_own_layer.md", 5)])
def test_the_programs_run_one_after_the_other(page, least, capsys, tmp_path, monkeypatch):
    """As a reader would type them, and the tests that they make pass."""
    monkeypatch.chdir(tmp_path)
    names = {}
    assert len(programs(page)) >= least
    for block in programs(page):
        exec(compile(block, page, "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_taste_runs(capsys):
    exec(compile(programs("README.md")[0], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "op=<sum>" in printed and "(2, 3)" in printed and "all agree" in printed


def test_the_rule_that_is_quoted_is_the_one_in_the_table():
    quoted = re.search(r"```python\n(tanh = .*?)\n```", README).group(1)
    squeezed = re.sub(r"\s+", " ", Path(elementwise.__file__).read_text("utf-8"))
    assert re.sub(r"\s+", " ", quoted) in squeezed


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/check_your_own_layer.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if not t.startswith(("http:", "https:", "mailto:"))]
    places = [
        (ROOT / page).parent,
        Path(tinygen.__file__).parents[1],
    ]  # the second, if the package is installed elsewhere
    missing = [t for t in targets if not any((place / t).exists() for place in places)]
    assert not missing, f"{page} links to {missing}"
