"""The README's programs run as they stand there, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

import tinygen
from tinygen.ops import elementwise

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_taste_runs(capsys):
    taste = re.search(r"## A taste\s+```python\n(.*?)```", README, re.DOTALL).group(1)
    exec(compile(taste, "README.md", "exec"), {})
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
