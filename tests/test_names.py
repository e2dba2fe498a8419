"""Names of arguments: NumPy's beside PyTorch's; and truth values where a number is expected."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.engine import Op
from tinygen.nn import functional as F
from tinygen.testing import strategies as ts

INDEX = tg.tensor([[0, 1, 1], [1, 0, 0]])
OTHERS = {  # what a function needs beside an input of shape (2, 3) and dim=1
    "cat": {},
    "gather": {"index": INDEX},
    "scatter": {"index": INDEX, "src": 1.5},
    "scatter_add": {"index": INDEX, "src": tg.ones(2, 3)},
    "scatter_reduce": {"index": INDEX, "src": tg.ones(2, 3), "reduce": "amax"},
    "index_select": {"index": tg.tensor([0, 1])},
    "index_add": {"index": tg.tensor([0, 1]), "source": tg.ones(2, 2)},
    "index_copy": {"index": tg.tensor([0, 1]), "source": tg.ones(2, 2)},
    "index_fill": {"index": tg.tensor([0, 1]), "value": 1.5},
    "take_along_dim": {"indices": INDEX},
    "narrow": {"start": 0, "length": 1},
    "select": {"index": 0},
    "split": {"split_size_or_sections": 1},
    "tensor_split": {"indices_or_sections": 2},
    "chunk": {"chunks": 2},
    "topk": {"k": 1},
    "kthvalue": {"k": 1},
    "quantile": {"q": 0.5},
    "nanquantile": {"q": 0.5},
    "unflatten": {"sizes": (3, 1)},
    "repeat_interleave": {"repeats": 2},
    "renorm": {"p": 2, "maxnorm": 1.0},
    "cross": {"other": tg.ones(2, 3)},
    "roll": {"shifts": 1},
}
FUNCTIONS = {
    name: f
    for name, f in {**{n: getattr(F, n) for n in F.__all__}, **{n: getattr(ops, n) for n in ops.__all__}}.items()
    if not isinstance(f, Op) and {"dim", "dims"} & inspect.signature(f).parameters.keys()
}
FUNCTIONS = {
    n: f for n, f in FUNCTIONS.items() if n not in ("permute", "tile", "tensordot", "rot90", "cosine_similarity")
}
METHODS = [n for n in FUNCTIONS if callable(getattr(tg.Tensor, n, None)) and hasattr(ops, n)]


def same(a, b):
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


def called(f, name, x, **options):
    first = next(iter(inspect.signature(f).parameters))
    tg.manual_seed(0)
    x = x[:, :2] if name == "glu" else x  # it halves
    return f([x, x] if first == "tensors" else x, **OTHERS.get(name, {}), **options)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_axis_is_dim_and_keepdims_is_keepdim(name):
    f, x = FUNCTIONS[name], tg.tensor(np.random.default_rng(0).uniform(0.2, 0.8, (2, 3)))
    parameters = inspect.signature(f).parameters
    dim = "dim" if "dim" in parameters else "dims"
    for value in (0, 1, -1) if name not in ("unflatten", "cross", "unsqueeze") else (1, -1):
        if name in ("index_add", "index_copy", "scatter", "scatter_add", "scatter_reduce", "gather", "take_along_dim"):
            value = 1
        assert same(called(f, name, x, axis=value), called(f, name, x, **{dim: value}))
        if "keepdim" in parameters:
            wanted = called(f, name, x, **{dim: value}, keepdim=True)
            assert same(called(f, name, x, axis=value, keepdims=True), wanted)
    if name in METHODS:
        assert same(called(getattr(tg.Tensor, name), name, x, axis=1), called(f, name, x, axis=1))
    with pytest.raises(TypeError, match=rf"{dim} and axis, another name for it, were both given"):
        called(f, name, x, **{dim: 1, "axis": 1})
    with pytest.raises(TypeError, match="nonsense"):
        called(f, name, x, nonsense=1)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("var", "std", "var_mean", "std_mean")])
@pytest.mark.parametrize("flag", [True, False])
def test_a_truth_value_is_not_a_dimension(name, flag):
    f = FUNCTIONS[name]
    dim = "dim" if "dim" in inspect.signature(f).parameters else "dims"
    with pytest.raises(TypeError, match=r"must be (an integer|integers), got"):
        called(f, name, tg.ones(2, 3), **{dim: flag})


@pytest.mark.parametrize(
    "call",
    [
        lambda x, b: tg.zeros(b),
        lambda x, b: tg.ones(2, b),
        lambda x, b: tg.rand((b, 2)),
        lambda x, b: x.reshape(b, 6),
        lambda x, b: x.view(-1, b),
        lambda x, b: x.expand(b, 2, 3),
        lambda x, b: x.tile(b, b),
        lambda x, b: x.permute(b, 0),
        lambda x, b: x.transpose(0, b),
        lambda x, b: x.size(b),
        lambda x, b: x.select(0, b),
        lambda x, b: x.narrow(0, 0, b),
        lambda x, b: x.narrow(0, b, 1),
        lambda x, b: x.split(b),
        lambda x, b: x.split([b, True]),
        lambda x, b: x.chunk(b),
        lambda x, b: x.topk(b),
        lambda x, b: x.tril(b),
        lambda x, b: x.triu(b),
        lambda x, b: x.diagonal(b),
        lambda x, b: x.diag(b),
        lambda x, b: x.roll(b, 0),
        lambda x, b: x.unflatten(1, (3, b)),
        lambda x, b: x.repeat_interleave(b),
        lambda x, b: x.flatten(0, b),
        lambda x, b: x.movedim(b, 0),
    ],
)
@pytest.mark.parametrize("flag", [True, False])
def test_a_truth_value_is_not_a_number(call, flag):
    with pytest.raises(TypeError, match=r"must be (an integer|integers), got"):
        call(tg.ones(2, 3), flag)


def test_var_and_std_take_unbiased_in_the_place_of_dim():
    x = tg.rand(2, 3, dtype=tg.float64)
    for name in ("var", "std"):
        for unbiased in (True, False):
            wanted = getattr(np, name)(x.numpy(), ddof=int(unbiased))
            np.testing.assert_allclose(getattr(x, name)(unbiased).item(), wanted, rtol=1e-14)


@given(ts.shapes(min_dims=1, min_side=1), st.data())
def test_numpys_reductions_of_a_tensor_are_those_of_its_array(shape, data):
    """np.mean(tensor) calls tensor.mean(axis=, dtype=, out=)."""
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    a = np.random.default_rng(data.draw(ts.seeds())).uniform(0.5, 2.0, shape)
    x = tg.tensor(a, requires_grad=True)
    for f in (np.sum, np.mean, np.prod, np.std, np.var, np.any, np.all, np.argmax, np.argmin, np.max, np.min):
        out, wanted = f(x, axis=axis), f(a, axis=axis)
        out = out.values if axis is not None and f in (np.max, np.min) else out
        assert isinstance(out, tg.Tensor)
        # float64, sums in another order
        np.testing.assert_allclose(out.detach().numpy(), wanted, rtol=1e-13, atol=1e-14)
        if f in (np.sum, np.mean):
            assert out.requires_grad
            kept = f(x, axis=axis, keepdims=True)
            assert kept.shape == f(a, axis=axis, keepdims=True).shape
    if axis is not None:
        np.testing.assert_allclose(np.cumsum(x, axis=axis).detach().numpy(), np.cumsum(a, axis=axis), rtol=1e-13)


def test_the_first_arguments_have_numpys_names_too():
    x, y = tg.rand(3), tg.rand(3)
    for f in (tg.add, tg.sub, tg.div, tg.mul, tg.maximum, tg.pow, tg.eq):
        assert same(f(x1=x, x2=y), f(x, y)) and same(f(x, other=y), f(x, y)) and same(f(input=x, other=y), f(x, y))
    assert same(tg.sum(a=x), x.sum()) and same(tg.exp(x=x), x.exp()) and same(tg.matmul(x, x2=y), x @ y)
    assert same(tg.max(x, other=y), tg.maximum(x, y)) and same(tg.min(x, other=y), tg.minimum(x, y))


def test_functions_stay_what_they_are():
    assert tg.concat is tg.cat is tg.concatenate and tg.Tensor.sum is tg.sum
    for f in (tg.sum, tg.cat, F.softmax):
        assert pickle.loads(pickle.dumps(f)) is f
        assert f.__doc__ and "axis" not in inspect.signature(f).parameters
