"""What a type checker is told is true: of the methods that are functions, of every public name, and in a user's program.

pyright's share of complete types is in `make check` (tests/type_share.py).
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygen
from tests import signatures

MODULES = [
    *("tinygen", "tinygen.autograd", "tinygen.backend", "tinygen.checkpoint", "tinygen.cuda", "tinygen.data"),
    *("tinygen.distributions", "tinygen.distributions.constraints", "tinygen.distributions.transforms"),
    *("tinygen.evaluate", "tinygen.interchange", "tinygen.linalg", "tinygen.models", "tinygen.nn", "tinygen.nn.flows"),
    *("tinygen.nn.functional", "tinygen.nn.init", "tinygen.nn.utils", "tinygen.nn.utils.parametrizations"),
    *("tinygen.nn.utils.parametrize", "tinygen.ops", "tinygen.optim", "tinygen.optim.lr_scheduler"),
    *("tinygen.optim.swa_utils", "tinygen.plot", "tinygen.special", "tinygen.testing", "tinygen.training"),
    *("tinygen.utils", "tinygen.utils.data"),
]
SETUP = """
x = tg.ones(2, 2)
layer = nn.Linear(2, 2)
optimizer = optim.SGD(layer.parameters(), lr=0.1)
loader = data.DataLoader(data.TensorDataset(x, x), batch_size=1)
schedule = optim.lr_scheduler.StepLR(optimizer, 1)

@tg.no_grad()
def twice(a: int) -> str:
    return str(2 * a)
"""
TYPES = {
    **dict.fromkeys(["x.sum()", "x.sum(dim=0, keepdim=True)", "tg.tanh(x)", "tg.zeros_like(x)"], "Tensor"),
    **dict.fromkeys(["x + 1", "1 - x", "x @ x", "x == 1", "x < 1", "x[0]", "x.exp()", "x.exp_()"], "Tensor"),
    **dict.fromkeys(["x.to(tg.float32)", "x.T", "x.add_(1, alpha=2)", "x.softmax(1)"], "Tensor"),
    **dict.fromkeys(["layer(x)", "nn.Sequential(layer)(x)", "nn.functional.relu(x)"], "Tensor"),
    "nn.CrossEntropyLoss()(x, x)": "Tensor",
    "x.grad": "Tensor | None",
    "x.shape": "Size",
    "x.max(dim=0)": "Any",
    "x.sort().indices": "Tensor",
    "x.split(1)": "tuple[Tensor, ...]",
    "x.backward()": "None",
    "layer.weight": "Parameter",
    "layer.bias": "Parameter | None",
    "layer.state_dict()": "dict[str, Tensor]",
    "optimizer.step()": "Any",
    "optimizer.zero_grad()": "None",
    "schedule.step()": "None",
    "iter(loader)": "Epoch",
    "next(iter(loader))": "Any",
    "twice": "def (a: int) -> str",
}
"""Expression -> what mypy is to make of it, without the modules' names."""
WRONG = [
    "x.sum(dimm=0)",
    "x.exp_(2)",
    "layer()",
    "twice('2')",
    "x.no_such_method()",
    "nn.NoSuchLayer",
    "tg.no_such_name",
]
"""What a type checker should complain of."""


def checked(tmp_path: Path, program: str) -> str:
    """What mypy says about a user's program."""
    pytest.importorskip("mypy")
    file = tmp_path / "program.py"
    file.write_text(program, "utf-8")
    options = ["--strict", "--follow-imports=silent", "--no-incremental", "--hide-error-context", "--no-error-summary"]
    root = Path(tinygen.__file__).parent.parent
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, file], cwd=root, capture_output=True, text=True, timeout=280
    )
    assert not run.stderr, run.stderr
    return run.stdout


def test_the_stub_of_the_methods_that_are_functions_is_up_to_date():
    """_signatures.pyi says of each what `inspect` says (python -m tests.signatures writes it anew)."""
    assert ast.dump(ast.parse(signatures.FILE.read_text("utf-8"))) == ast.dump(ast.parse(signatures.contents()))


@pytest.mark.slow
def test_mypy_knows_every_public_name_and_what_a_users_program_computes(tmp_path):
    named = []
    for module in MODULES:
        found = importlib.import_module(module)
        names = getattr(found, "__all__", None) or [
            n for n, v in vars(found).items() if getattr(v, "__module__", "") == module
        ]
        named += [f"{module}.{name}" for name in names if not name.startswith("_")]
    assert len(named) > 1000
    lines = [*(f"import {module}" for module in MODULES), "import tinygen as tg", "from tinygen import data, nn, optim"]
    lines += [*SETUP.splitlines(), f"everything: list[object] = [{', '.join(named)}]"]
    first = len(lines) + 1
    lines += [f"reveal_type({expression})" for expression in TYPES] + WRONG
    said: dict[int, list[str]] = {}
    for line in checked(tmp_path, "\n".join([*lines, ""])).splitlines():
        _, number, text = line.split(":", 2)
        said.setdefault(int(number), []).append(text.strip())
    for i, (expression, expected) in enumerate(TYPES.items(), first):
        (text,) = said.pop(i)
        kind = text.removeprefix('note: Revealed type is "').removesuffix('"')
        assert re.sub(r"(\w+\.)+(?=\w)", "", kind) == expected, expression
    for i, expression in enumerate(WRONG, first + len(TYPES)):
        assert any("error:" in text for text in said.pop(i, [])), expression
    assert not said  # neither of the names nor of the program
