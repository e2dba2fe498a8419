"""Every public layer, function, loss and model through the tools that learners have for theirs (tinygen.testing).

Derivatives in inputs, parameters and buffers to second order, in training and in evaluation, on every device; dtypes;
memory layouts; batches of nothing; inputs unmodified; inverses and their log-determinants.  The operators have tests of
their own (tests/ops).  tests/ours is the table; whatever is public and not in it fails here by name.
"""

from __future__ import annotations

import copy
import importlib
import pkgutil
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
import tinygen.models
from tests.ours import ENTRIES, Entry
from tinygen import nn
from tinygen.nn import functional as F
from tinygen.testing import strategies as ts
from tinygen.testing.layouts import LAYOUTS
from tinygen.testing.machinery import assert_same, laid_out, run, several, values
from tinygen.testing.maps import same_draws
from tinygen.testing.properties import check_op

ABSTRACT = {
    "Model": "the base of all models: it has no forward",
    "Module": "the base of all: it has no forward",
    "Transform": "the base of all transforms: it has no forward",
    "VAE": "the base of the two VAEs, which say what p(x|z) is",
}
OTHERS = {
    "functional.conv_matrix": "it returns a matrix of SciPy's: tests/nn/test_conv_matrix.py",
    "flows.Density": "the base of all densities",
    **{
        f"flows.{name}": "it takes no tensor: tests/nn/flows/test_masks.py"
        for name in nn.flows.__all__
        if "mask" in name
    },
}
MODULES = [name for name, e in ENTRIES.items() if e.check is not check_op]


def examples() -> int:
    """Few: an entry is one way of use, and its examples differ in little but their numbers."""
    return max(2, settings().max_examples // 12)


def public_modules(package: ModuleType) -> dict[str, type]:
    """All classes with a public name, wherever they are, that are modules."""
    found = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for name, value in vars(importlib.import_module(info.name)).items():
            if isinstance(value, type) and issubclass(value, nn.Module) and not name.startswith("_"):
                found[name] = value
    return found


CLASSES = public_modules(nn) | public_modules(tinygen.models)


def test_everything_public_has_an_entry():
    functions = {f"functional.{name}" for name, f in vars(F).items() if callable(f) and not name.startswith("_")}
    assert functions == {f"functional.{name}" for name in F.__all__}
    modules = set(CLASSES)
    of_flows = {f"flows.{name}" for name in nn.flows.__all__ if name not in modules}
    public = (functions | modules | of_flows) - set(ABSTRACT) - set(OTHERS)
    tested = {name.split()[0] for name in ENTRIES}
    assert not sorted(public - tested), "these have no entry in tests/ours"
    assert not sorted(tested - public), "these entries are of nothing that is public"
    assert set(ABSTRACT) <= set(CLASSES) and set(OTHERS) <= functions | of_flows


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("functional.")])
def test_the_entry_is_of_what_it_says(name: str) -> None:
    found = ENTRIES[name].subject()
    assert any(type(part) is CLASSES[name.split()[0]] for part in found.modules())


@pytest.mark.parametrize("name", ENTRIES)
def test_properties(name: str) -> None:
    ENTRIES[name].run(examples())


def each_mode(entry: Entry, seed: int) -> Any:
    """Makers of copies in float64, in training and in evaluation; each copy starts from the same state."""
    with same_draws(seed):
        module = entry.subject().to(np.float64)
    for mode in entry.options.get("modes", ("train", "eval")):
        yield lambda mode=mode: copy.deepcopy(module).train(mode == "train")


@pytest.mark.parametrize("name", MODULES)
def test_layouts(name: str) -> None:
    """The values of a module depend on what is in its inputs, not on how that lies in memory."""

    @settings(max_examples=examples(), database=None)
    @given(args=st.tuples(*ENTRIES[name].inputs), seed=ts.seeds())
    def check(args: tuple, seed: int) -> None:
        for fresh in each_mode(ENTRIES[name], seed):
            expected = values(run(fresh(), [laid_out(x, "contiguous") for x in args], seed))
            for layout in LAYOUTS:
                assert_same(run(fresh(), [laid_out(x, layout) for x in args], seed), expected, f"{name}: {layout}")

    check()


@pytest.mark.parametrize("name", [name for name in MODULES if ENTRIES[name].empty])
def test_a_batch_of_nothing(name: str) -> None:
    """It goes through, and no parameter learns from it."""

    @settings(max_examples=1, database=None)
    @given(args=st.tuples(*ENTRIES[name].inputs), seed=ts.seeds())
    def check(args: tuple, seed: int) -> None:
        nothing = [x[:0] if isinstance(x, tg.Tensor) and x.ndim else x for x in args]
        for fresh in each_mode(ENTRIES[name], seed):
            module = fresh()
            outputs = several(run(module, nothing, seed))
            for y in outputs:
                assert y.shape == () and y.item() == 0 or y.shape[0] == 0
            parameters = [p for p in module.parameters() if p.requires_grad]
            if parameters:
                for g in tg.grad([y.sum() for y in outputs if y.requires_grad], parameters, allow_unused=True):
                    assert g is None or not g.any()

    check()
