"""A name that is not there is an AttributeError that says what to use, and nothing else breaks."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import missing

MODULES = [
    "tinygen",
    "tinygen.autograd",
    "tinygen.nn",
    "tinygen.nn.functional",
    "tinygen.optim",
    "tinygen.distributions",
    "tinygen.data",
    "tinygen.utils",
    "tinygen.cuda",
]
modules = pytest.mark.parametrize("module", MODULES)


def test_every_place_of_the_table_asks_it():
    assert set(missing.INSTEAD) == {*MODULES, "Tensor"}


def is_there(place, name):
    return name in vars(importlib.import_module(place)) if place != "Tensor" else hasattr(tg.Tensor, name)


@pytest.mark.parametrize(
    ("place", "name"),
    [(p, n) for p, names in missing.INSTEAD.items() for n in names if not is_there(p, n)],
)
def test_what_to_use_instead(place, name):
    x = tg.ones(2) if place == "Tensor" else importlib.import_module(place)
    with pytest.raises(AttributeError, match=f"'{place}' .*has no attribute '{name}'; instead: "):
        getattr(x, name)
    assert not hasattr(x, name) and getattr(x, name, 3) == 3
    if place != "Tensor":
        with pytest.raises(ImportError, match=f"'{place}' .*has no attribute '{name}'; instead: "):
            exec(f"from {place} import {name}")


@pytest.mark.parametrize("module", [m for m in MODULES if m != "tinygen.utils"])
@given(data=st.data())
def test_a_misspelt_name_is_recognised(module, data):
    """One letter left out, doubled or exchanged with its neighbour, anywhere in a name of six letters or more."""
    found = importlib.import_module(module)
    name = data.draw(st.sampled_from(sorted(n for n in found.__all__ if len(n) >= 6)))
    i = data.draw(st.integers(0, len(name) - 2))
    wrong = data.draw(
        st.sampled_from(
            [name[:i] + name[i + 1 :], name[: i + 1] + name[i:], name[:i] + name[i + 1] + name[i] + name[i + 2 :]]
        )
    )
    if hasattr(found, wrong) or wrong.startswith("_"):
        return
    with pytest.raises(AttributeError) as caught:
        getattr(found, wrong)
    text = str(caught.value)
    assert name.lower() in text.lower() and "did you mean" in text or " it is " in text


def test_where_a_name_stands():
    for look, says in (
        (lambda: tg.Linear, "module 'tinygen' has no attribute 'Linear'; it is tinygen.nn.Linear"),
        (lambda: tg.nn.Adam, "it is tinygen.optim.Adam"),
        (lambda: tg.nn.zeros, "it is tinygen.zeros"),
        (lambda: tg.nn.Lineer, "module 'tinygen.nn' has no attribute 'Lineer'; did you mean Linear"),
        (lambda: tg.quite_another_thing, "has no attribute 'quite_another_thing'$"),
    ):
        with pytest.raises(AttributeError, match=says):
            look()
    with pytest.raises(ImportError, match=r"module 'tinygen.nn' has no attribute 'Lineer'; did you mean Linear"):
        from tinygen.nn import Lineer  # noqa: F401


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("tg.ones(2).summ()", "'Tensor' object has no attribute 'summ'. Did you mean: 'sum'?"),
        (
            "tg.nn.Parameter(tg.ones(2)).reshap(2)",
            "'Parameter' object has no attribute 'reshap'. Did you mean: 'reshape'?",
        ),
        ("tg.nn.Linear(2, 2).wieght", "'Linear' object has no attribute 'wieght'. Did you mean: 'weight'?"),
        ("tg.nn.Sequential().forwards", "'Sequential' object has no attribute 'forwards'. Did you mean: 'forward'?"),
    ],
)
def test_misspelt_attributes_are_recognised_by_python(program, says):
    """Which it does where it prints the error: dir() of a tensor must be short enough for it, and have no wrong names."""
    done = subprocess.run(
        [sys.executable, "-c", f"import tinygen as tg\n{program}"], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.rstrip().endswith(f"AttributeError: {says}")


def test_tensors_and_modules_are_read_without_detours():
    """A class with __getattr__ makes every attribute slower, those that are there too."""
    for cls in (tg.Tensor, tg.nn.Parameter, tg.nn.Linear):
        assert not hasattr(cls, "__getattr__") and cls.__getattribute__ is object.__getattribute__
    names = dir(tg.ones(2))
    gone = {name for name in missing.INSTEAD["Tensor"] if not is_there("Tensor", name)}
    assert "sum" in names and "array" in names and gone and not gone & set(names)


@modules
def test_looking_at_a_module_is_as_ever(module):
    found = importlib.import_module(module)
    for name in ("__path__", "__wrapped__", "__bases__", "_pytestfixturefunction", "__array_interface__"):
        assert hasattr(found, name) == (name in vars(found))
    assert set(dir(found)) == set(vars(found)) and "__getattr__" in dir(found)
    names: dict = {}
    exec(f"from {module} import *", names)
    assert not {n for n in getattr(found, "__all__", ()) if n not in names}
    inspect.getmembers(found), inspect.unwrap(found), inspect.getmodule(found)


def test_a_module_is_as_ever():
    layer = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.BatchNorm1d(3))
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert copied[0].weight.tolist() == layer[0].weight.tolist()
    assert not hasattr(layer, "bias") and getattr(layer, "bias", 3) == 3 and not hasattr(layer, "_ipython_display_")


def test_a_tensor_is_as_ever():
    x = tg.ones(2, requires_grad=True)
    for name in (
        "__array_interface__",
        "__array_struct__",
        "__wrapped__",
        "__len__x",
        "_ipython_display_",
        "__torch_function__",
    ):
        assert not hasattr(x, name)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x.detach()))):
        assert y.tolist() == [1, 1]
    assert np.asarray(x.detach()).tolist() == [1, 1] and np.float32(2) * x.detach() is not None


def test_what_a_property_raises_is_not_hidden():
    class Odd(tg.Tensor):
        __slots__ = ()

        @property
        def broken(self):
            return None.missing

    class OddModule(tg.nn.Module):
        @property
        def broken(self):
            return None.missing

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'missing'"):
        OddModule().broken
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'missing'"):
        Odd(2).broken


def test_parts_are_imported_when_they_are_used():
    import subprocess
    import sys

    program = (
        "import sys, tinygen as tg; assert 'tinygen.models' not in sys.modules; tg.data.DataLoader, tg.models.Autoencoder; "
        "tg.backends.cudnn.benchmark = True; tg.utils.data.Dataset; import tinygen.backends.cudnn as c; assert c.benchmark"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
