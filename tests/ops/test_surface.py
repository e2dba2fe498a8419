"""What the operators' tables do not say: promotion, ends of intervals, exact counts, dtypes, indices, forms in place."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.testing import strategies as ts

NUMBERS = st.sampled_from([True, False, 0, 1, -3, 2.5, 0.0, -1.5, math.nan, math.inf])
DTYPES = st.sampled_from([tg.bool, tg.int64, tg.int32, tg.uint8, tg.float16, tg.float32, tg.float64])


def same(x, y) -> bool:
    return x == y or x != x and y != y


# Numbers and tensors


@given(number=NUMBERS, dtype=DTYPES, flag=st.booleans())
def test_a_number_in_where_keeps_its_value_and_is_promoted_as_in_a_sum(number, dtype, flag):
    """The dtype is that of tensor + number (bool + bool apart, which is no sum of numbers); nothing is cut off."""
    x = tg.ones(2, dtype=dtype)
    if dtype == tg.uint8 and number == -3:
        return
    for out in (tg.where(tg.tensor([flag, not flag]), x, number), tg.where(tg.tensor([not flag, flag]), number, x)):
        assert out.dtype == (x + number).dtype
        assert out[0 if flag else 1].item() == 1 and same(out[1 if flag else 0].item(), number)


@given(shape=ts.shapes(), x=st.sampled_from([tg.float16, tg.float32, tg.float64]), flip=st.booleans())
def test_a_float64_tensor_without_dimensions_is_a_number(shape, x, flip):
    """It makes nothing float64 that has dimensions; of two without, the larger dtype is the result's."""
    a, b = tg.ones(shape, dtype=x, requires_grad=True), tg.tensor(0.5, dtype=tg.float64, requires_grad=True)
    for f in (tg.mul, tg.add, tg.maximum, tg.atan2, tg.div):
        out = f(b, a) if flip else f(a, b)
        assert out.dtype == (x if shape else tg.float64)
        out.sum().backward()
        assert a.grad.dtype == x and b.grad.dtype == tg.float64


@given(first=NUMBERS, second=NUMBERS)
def test_where_of_two_numbers(first, second):
    out = tg.where(tg.tensor([True, False]), first, second)
    kinds = {type(first), type(second)}
    assert out.dtype == (tg.float32 if float in kinds else tg.int64 if int in kinds else tg.bool)
    assert same(out[0].item(), first) and same(out[1].item(), second)


@given(x=st.floats(), y=st.floats(), equal_nan=st.booleans())
def test_isclose_is_python_s(x, y, equal_nan):
    """math.isclose takes the larger of two tolerances, not their sum; with one of them 0 the two agree."""
    a, b = tg.tensor([x], dtype=tg.float64), tg.tensor([y], dtype=tg.float64)
    expected = x != x and y != y and equal_nan or math.isclose(x, y, rel_tol=0, abs_tol=0.5)
    with np.errstate(all="ignore"):
        assert tg.isclose(a, b, rtol=0, atol=0.5, equal_nan=equal_nan).item() == expected
        assert tg.allclose(a, b, rtol=0, atol=0.5, equal_nan=equal_nan) == expected
        assert tg.isclose(a, a).item() == (x == x)
        if math.isinf(y):
            assert tg.isclose(a, b).item() == (x == y)


WHOLE = st.integers(-(2**62), 2**62)


@given(start=WHOLE, step=st.integers(-(2**59), 2**59).filter(bool), count=st.integers(0, 8), rest=st.integers(0, 2**59))
def test_arange_counts_integers_exactly(start, step, count, rest):
    """From start on as long as the end is not reached, which lies anywhere after the last one."""
    end = start + step * count - int(math.copysign(rest % abs(step), step)) * (count > 0)
    expected = list(range(start, end, step))
    if all(abs(n) < 2**63 for n in expected):
        assert tg.arange(start, end, step).tolist() == expected and len(expected) == count


@given(start=st.integers(-20, 20), steps=st.integers(1, 40), size=st.integers(1, 64))
def test_arange_counts_fractions(start, steps, size):
    """Multiples of 1/64 are exact numbers: as many as Python's fractions count."""
    end, step = start + Fraction(steps, 7), Fraction(size, 64)
    out = tg.arange(float(start), float(end), float(step), dtype=tg.float64)
    assert len(out) == math.ceil((Fraction(float(end)) - start) / step)
    assert all(out[i].item() == start + i * step for i in range(len(out)))


@given(x=st.floats(-1e30, 1e30), y=st.floats(-1e30, 1e30), dtype=st.sampled_from([tg.float32, tg.float64]))
def test_lerp_begins_at_its_beginning_and_ends_at_its_end(x, y, dtype):
    a, b = tg.tensor([x], dtype=dtype), tg.tensor([y], dtype=dtype)
    for zero, one in ((0, 1), (0.0, 1.0), (tg.tensor(0.0, dtype=dtype), tg.tensor([1.0], dtype=dtype))):
        assert tg.lerp(a, b, zero).equal(a) and tg.lerp(a, b, one).equal(b)
        assert a.clone().lerp_(b, one).equal(b)


@given(
    dtype=st.sampled_from([tg.uint8, tg.int8, tg.int16, tg.bool, tg.int64]),
    low=st.integers(-300, 300),
    n=st.integers(1, 300),
)
def test_randint_holds_what_it_promises(dtype, low, n):
    limits = (0, 1) if dtype == tg.bool else (tg.iinfo(dtype).min, tg.iinfo(dtype).max)
    if limits[0] <= low and low + n - 1 <= limits[1]:
        x = tg.randint(low, low + n, (50,), dtype=dtype).long()
        assert bool((x >= low).all()) and bool((x < low + n).all())
    else:
        with pytest.raises(RuntimeError, match=r"randint: .* holds integers from"):
            tg.randint(low, low + n, (50,), dtype=dtype)


def test_numbers_without_dimensions_are_sorted_too(device):
    x = tg.tensor(3.0, device=device, requires_grad=True)
    for values, indices in (x.sort(), x.topk(1), x.kthvalue(1), x.median(0), x.cummax(0), x.mode()):
        assert values.shape == indices.shape == () and indices.item() == 0 and values.item() == 3
    assert x.argsort().item() == 0 and x.argsort().dtype == tg.int64
    x.sort().values.backward()
    assert x.grad.item() == 1


@given(weights=st.lists(st.integers(0, 3), min_size=1, max_size=6).filter(any), replacement=st.booleans())
def test_multinomial_never_draws_what_has_no_weight(weights, replacement):
    p = tg.tensor(weights, dtype=tg.float32)
    n = 50 if replacement else sum(w > 0 for w in weights)
    drawn = tg.multinomial(p, n, replacement)
    assert drawn.dtype == tg.int64 and drawn.shape == (n,) and bool((p[drawn] > 0).all())
    if not replacement:
        assert len(drawn.unique()) == n
    rows = tg.stack([p, p.flip(0)])
    both = rows.multinomial(n, replacement)
    assert both.shape == (2, n) and all(bool((rows[i][both[i]] > 0).all()) for i in range(2))


@pytest.mark.parametrize(
    "weights", [[1.0, math.nan], [1.0, math.inf], [1.0, -1.0], [0.0, 0.0], [[1.0, 1.0], [0.0, 0.0]]]
)
def test_multinomial_refuses_what_is_no_distribution(weights):
    with pytest.raises(ValueError, match="multinomial: the weights must be finite"):
        tg.multinomial(tg.tensor(weights), 1)


@given(number=NUMBERS, dtype=DTYPES)
def test_what_is_filled_in_keeps_its_value_or_is_refused(number, dtype):
    x, mask = tg.ones(2, dtype=dtype), tg.tensor([True, False])
    holds = dtype.kind == "f" or math.isfinite(number) and int(number) == number
    holds = holds and not (dtype == tg.bool and number not in (0, 1)) and not (dtype == tg.uint8 and number < 0)
    if holds:
        for out in (x.masked_fill(mask, number), x.clone().masked_fill_(mask, number)):
            assert out.dtype == dtype and same(out[0].item(), number) and out[1].item() == 1
    else:
        with pytest.raises(TypeError, match="masked_fill: a tensor of"):
            x.masked_fill(mask, number)


@given(x=ts.tensors(ts.shapes(), low=-50.0, high=50.0), decimals=st.integers(-2, 4))
def test_rounding_to_decimals(x, decimals):
    """No multiple of 10^-decimals is nearer, the gradient is 0, and an integer stays what it is."""
    x = x.detach().requires_grad_()
    y = x.round(decimals=decimals)
    unit = 10.0**-decimals
    # 1e-12: x / unit is below 1e6, and is rounded twice
    assert bool(((x - y).abs() <= unit / 2 * (1 + 1e-12)).all())
    np.testing.assert_allclose((y / unit).detach().numpy(), np.round((y / unit).detach().numpy()), rtol=1e-12)
    y.sum().backward()
    assert not x.grad.any()


# Integers and truth values


def test_dtypes_of_what_has_no_gradient(device):
    x = tg.tensor([[1.5, 0.0, 2.0], [2.0, 1.5, 2.0]], device=device, requires_grad=True)
    integers = [
        x.nonzero(), x.argwhere(), *x.nonzero(as_tuple=True), *tg.where(x > 1), x.cummax(0).indices, x.cummin(1).indices,
        x.median(1).indices, x.nanmedian(0).indices, x.mode().indices, x.kthvalue(1).indices, x.unique(return_inverse=True)[1],
        x.unique(return_counts=True)[1], tg.searchsorted(x[0].sort().values, x), tg.bucketize(x, x[0].sort().values),
        tg.tril_indices(2, 3, device=device), tg.bincount(tg.tensor([1, 1], device=device)),
    ]  # fmt: skip
    assert {t.dtype for t in integers} == {tg.int64} and {t.device.type for t in integers} == {device}
    assert {tg.isclose(x, x).dtype, tg.logical_not(x).dtype} == {tg.bool}
    assert tg.searchsorted(x[1], x, out_int32=True).dtype == tg.int32
    assert x.unique().dtype == x.histc(3).dtype == tg.float32
    assert not any(t.requires_grad for t in (*integers, x.unique(), x.histc(3), tg.isclose(x, x)))


@given(x=ts.tensors(ts.shapes(min_dims=1), "int64", low=-1, high=1))
def test_what_nonzero_finds_is_what_a_mask_selects(x):
    assert x[tg.nonzero(x, as_tuple=True)].equal(x[x != 0])
    assert len(tg.nonzero(x)) == int(tg.count_nonzero(x))
    y = tg.zeros_like(x)
    y[tg.where(x)] = x[x != 0]
    assert y.equal(x)


@pytest.mark.parametrize("few", [0, 10**6])
@given(rows=st.integers(1, 3), n=st.integers(0, 4), m=st.integers(0, 3), right=st.booleans(), seed=ts.seeds())
def test_searching_rows_is_searching_each_row(monkeypatch, few, rows, n, m, right, seed):
    """Whether places are counted or searched; nan belongs at the end."""
    monkeypatch.setattr("tinygen.ops.search._FEW", few)
    rng = np.random.default_rng(seed)
    a, x = np.sort(rng.integers(0, 3, (rows, n)).astype(float), -1), rng.choice([0.0, 1.0, 2.0, 9.0, np.nan], (rows, m))
    expected = [np.searchsorted(a[i], x[i], "right" if right else "left") for i in range(rows)]
    assert tg.searchsorted(tg.tensor(a), tg.tensor(x), right=right).tolist() == np.reshape(expected, (rows, m)).tolist()


@given(x=ts.tensors(ts.shapes(min_dims=1), "int64", low=0, high=3))
def test_unique_is_undone_by_its_inverse(x):
    values, inverse, counts = tg.unique(x, return_inverse=True, return_counts=True)
    assert values[inverse].equal(x) and int(counts.sum()) == x.numel() and bool((values.diff() > 0).all())
    assert counts.equal(tg.bincount(inverse.flatten(), minlength=len(values)))


# In place


UNARY = (
    "abs neg exp log sqrt sin cos tan atan sinh cosh tanh asinh expm1 exp2 erf erfc lgamma digamma trunc frac".split()
)


@given(name=st.sampled_from(UNARY), x=ts.tensors(ts.shapes(max_dims=2), low=0.3, high=1.7))
def test_a_form_in_place_is_the_function_and_has_its_gradient(name, x):
    x = x.detach().requires_grad_()
    plain = getattr(tg, name)(x * 1)
    base = x * 1
    changed = getattr(base, name + "_")()
    assert changed is base and changed.equal(plain)
    (g,), (h,) = tg.grad(plain.sum(), x, retain_graph=True), tg.grad(changed.sum(), x)
    assert g.equal(h)


def test_every_function_that_writes_has_a_form_in_place():
    """A method f_ is the function f, where both exist: same arguments."""
    forms = {n: f for n, f in inspect.getmembers(tg.Tensor, callable) if n.endswith("_") and not n.startswith("_")}
    assert len(forms) > 100
    for name in forms:
        assert forms[name].__doc__


@given(x=ts.tensors((2, 1, 3), layout="contiguous"), graph=st.booleans())
def test_shapes_change_in_place_without_copying(x, graph):
    leaf = x.detach().requires_grad_(graph)
    y = leaf * 1
    at = y.data_ptr()
    assert y.squeeze_(1) is y and y.shape == (2, 3)
    assert y.t_().shape == (3, 2) and y.unsqueeze_(0).shape == (1, 3, 2) and y.transpose_(0, 2).shape == (2, 3, 1)
    assert y.data_ptr() == at and y.equal(x.permute(0, 2, 1))
    if graph:
        y.mul_(2)
        y.square().sum().backward()
        np.testing.assert_allclose(
            leaf.grad.numpy(), 8 * x.numpy(), rtol=1e-15
        )  # d(2x)²/dx, exact but for one rounding
        with pytest.raises(RuntimeError, match="squeeze_: a leaf that requires a gradient"):
            leaf.squeeze_()


@pytest.mark.parametrize(
    ("shape", "wrap"), [((3, 3), False), ((7, 3), True), ((7, 3), False), ((2, 5), True), ((2, 2, 2), False)]
)
def test_fill_diagonal(shape, wrap, device):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    y = tg.tensor(x, device=device).fill_diagonal_(-1, wrap)
    np.fill_diagonal(x, -1, wrap)
    np.testing.assert_array_equal(y.cpu().numpy(), x)


@given(dtype=DTYPES.filter(lambda d: d != tg.bool), bounds=st.sampled_from([(), (5,), (2, 7)]))
def test_random_integers(dtype, bounds):
    x = tg.zeros(200, dtype=dtype).random_(*bounds)
    low, high = {0: (0, None), 1: (0, 5), 2: (2, 7)}[len(bounds)]
    values = {int(v) for v in x.tolist()}
    if high is not None:
        assert values == set(range(low, high))
    else:
        assert min(values) >= 0 and len(values) > 50


# Indices that could be misunderstood


@pytest.mark.parametrize("key", [[[0, 1], [1, 2]], [0, slice(1)], [None, 0], [...], [np.array([0])]], ids=str)
def test_a_list_that_is_no_list_of_numbers_is_refused(key):
    x = tg.arange(12).reshape(3, 4)
    with pytest.raises(IndexError, match="index: a list of"):
        x[key]
    with pytest.raises(IndexError, match="index: a list of"):
        x[key] = 0


def test_indices_that_pytorch_reads_differently_are_refused():
    x = tg.arange(4)
    with pytest.raises(IndexError, match="uint8 could be a mask"):
        x[tg.tensor([0, 1], dtype=tg.uint8)]
    with pytest.raises(IndexError, match="index: a list of Tensor"):
        x[[tg.tensor(0), tg.tensor(1)]]
    with pytest.raises(ValueError, match="step of a slice must be positive"):
        x[::-1] = 0


# What is known without computing


def test_sizes():
    x = tg.zeros(2, 3)
    assert x.shape == x.size() == tg.Size([2, 3]) == (2, 3) and x.shape.numel() == x.size().numel() == 6
    assert repr(x.shape) == "(2, 3)" and isinstance(x.shape, tuple) and hash(x.shape) == hash((2, 3))
    assert tg.zeros(x.shape).shape == x.shape and tg.zeros(()).shape.numel() == 1
    assert x.shape[1:].numel() == 3 and (x.shape[:1] + (4,)).numel() == 8 and type(x.shape[0]) is int


@given(st.sampled_from([tg.float16, tg.float32, tg.float64]))
def test_limits_of_floats(dtype):
    limits, one = tg.finfo(dtype), dtype.type(1)
    assert dtype.type(limits.eps) == np.nextafter(one, dtype.type(2)) - one
    assert np.isfinite(dtype.type(limits.max)) and limits.min == -limits.max and limits.bits == dtype.itemsize * 8
    with np.errstate(over="ignore"):
        assert np.isinf(dtype.type(limits.max) * dtype.type(1 + limits.eps))


def test_printing():
    x = tg.tensor([1 / 3, 1000.0])
    try:
        tg.set_printoptions(precision=2, sci_mode=True)
        assert repr(x) == "tensor([3.33e-01, 1.00e+03])"
        tg.set_printoptions(profile="default", threshold=3, edgeitems=1)
        assert repr(tg.arange(9)) == "tensor([0, ..., 8])"
    finally:
        tg.set_printoptions(profile="default")
    assert repr(x) == "tensor([3.3333e-01, 1.0000e+03])"
    with pytest.raises(ValueError, match="profile must be one of"):
        tg.set_printoptions(profile="wide")


def test_kinds_of_tensors():
    x = tg.zeros(3, dtype=tg.float64)
    assert x.type() == "tinygen.DoubleTensor" and x.type("torch.LongTensor").dtype == tg.int64
    assert x.type(tg.float32).type() == "tinygen.FloatTensor" and x.type(tg.float64) is x
    assert x.is_cpu and x.pin_memory() is x and not x.is_pinned() and x.nbytes == 24
    assert x.to(tg.float64, copy=True) is not x and x.to("cpu", non_blocking=True) is x
    assert tg.result_type(tg.ones(2, dtype=tg.int64), 1.5) == tg.float32
    assert tg.result_type(tg.ones(2, dtype=tg.float16), tg.ones(2, dtype=tg.float64)) == tg.float64
    a = np.arange(3.0)
    assert np.shares_memory(tg.asarray(a).numpy(), a) and not np.shares_memory(tg.asarray(a, copy=True).numpy(), a)
    with pytest.raises(ValueError, match="asarray: copy=False"):
        tg.asarray([1.0], copy=False)
    assert tg.zeros(size=(2,)).shape == (2,)
    with pytest.raises(TypeError, match="the size was given twice"):
        tg.zeros(2, size=(2,))


# Errors


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.det(tg.zeros(2, 3)), tg.ShapeError, r"det: square matrices .* got shape \(2, 3\)"),
        (lambda: tg.linalg.svd(tg.zeros(2, 2, dtype=tg.int64)), TypeError, r"svd: float32 or float64 .* use x.float"),
        (lambda: tg.linalg.cholesky(tg.zeros(2, 2).half()), TypeError, "cholesky: float32 or float64"),
        (lambda: tg.cdist(tg.zeros(2, 3), tg.zeros(2, 4)), tg.ShapeError, "cdist: rows of one length"),
        (lambda: tg.quantile(tg.zeros(3), 1.5), ValueError, "quantile: q must be a number from 0 to 1"),
        (lambda: tg.kthvalue(tg.zeros(3), 4), IndexError, "kthvalue: k must be from 1 to 3"),
        (lambda: tg.median(tg.zeros(0, 3), 0), IndexError, "median: a tensor of shape .* has no elements"),
        (lambda: tg.where(tg.tensor([True]), 1), TypeError, "where: either condition alone"),
        (lambda: tg.bincount(tg.tensor([-1])), ValueError, "bincount: integers >= 0"),
        (lambda: tg.tensordot(tg.zeros(2, 3), tg.zeros(2, 3), 1), tg.ShapeError, "tensordot: the sizes to sum over"),
        (lambda: tg.index_add(tg.zeros(3), 0, tg.tensor([0]), tg.zeros(2)), tg.ShapeError, "index_add: a source of shape"),
        (lambda: tg.zeros(3).unfold(0, 4, 1), ValueError, "unfold: windows need"),
        (lambda: tg.polygamma(tg.zeros(1), 1), ValueError, "polygamma: the order n .* comes first"),
        (lambda: tg.zeros(3).random_(5, 2), ValueError, "random_: from < to"),
        (lambda: tg.bernoulli(tg.tensor([2.0])), ValueError, "bernoulli: probabilities from 0 to 1"),
        (lambda: tg.linalg.solve(tg.eye(2), tg.ones(3)), tg.ShapeError, r"solve: A of shape \(2, 2\) and B of shape"),
        (lambda: tg.linalg.solve(tg.zeros(2, 2), tg.ones(2)), tg.linalg.LinAlgError, "solve: Singular matrix"),
        (lambda: tg.linalg.cholesky(-tg.eye(2)), tg.linalg.LinAlgError, "cholesky: Matrix is not positive definite"),
        (lambda: tg.inverse(tg.zeros(2, 2)), tg.linalg.LinAlgError, "inverse: Singular matrix"),
        (lambda: tg.diag_embed(tg.tensor(1.0)), tg.ShapeError, "diag_embed: a tensor of at least one dimension"),
        (lambda: tg.finfo(tg.int64), TypeError, "finfo: a floating-point dtype .* iinfo"),
        (lambda: tg.logspace(0, 1, -1), tg.ShapeError, "logspace: sizes must not be negative"),
        (lambda: tg.tril_indices(-1, 2), tg.ShapeError, "tril_indices: sizes must not be negative"),
        (lambda: ops.rot90(tg.zeros(2, 2), 1, (0, 0)), ValueError, "rot90: two different dimensions"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(call, error, words):
    with pytest.raises(error, match=words):
        call()


@given(place=st.sampled_from([0.0, 1e3, 1e5]), x=ts.tensors((3, 4)), y=ts.tensors((5, 4)))
def test_gradients_of_distances_far_from_the_origin(place, x, y):
    """Moved together by a number that float32 holds exactly, points have the same distances."""
    found = []
    for far in (0.0, place):
        a, b = ((x.float() * 64).round() / 64 + far for x in (x, y))
        a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
        found.append(tg.grad(tg.cdist(a, b).sum(), (a, b)))
    for near, far in zip(*found, strict=True):
        # sums of at most five unit vectors, each rounded a few times in float32
        np.testing.assert_allclose(near.numpy(), far.numpy(), rtol=0, atol=1e-5)


# Points where a derivative does not exist


def test_singular_points():
    """PyTorch's values; those of eigenvalues and singular values that are equal are finite."""
    zero = lambda: tg.zeros(2, 2, dtype=tg.float64, requires_grad=True)
    for f, expected in [
        (lambda x: tg.atan2(x, x), [[0, 0], [0, 0]]),
        (lambda x: tg.dist(x, x * 1), [[0, 0], [0, 0]]),
        (lambda x: tg.cdist(x, x), [[0, 0], [0, 0]]),
        (lambda x: tg.linalg.norm(x), [[0, 0], [0, 0]]),
        (lambda x: tg.linalg.eigvalsh(x + tg.eye(2, dtype=tg.float64)), [[1, 0], [0, 1]]),
        (lambda x: tg.linalg.svdvals(x + tg.eye(2, dtype=tg.float64)), [[1, 0], [0, 1]]),
        (lambda x: tg.cumprod(x, 0), [[1, 1], [0, 0]]),
        (lambda x: tg.det(x + tg.tensor([[0.0, 0.0], [0.0, 3.0]], dtype=tg.float64)), [[3, 0], [0, 0]]),
        (lambda x: tg.xlogy(x, x.detach() + 1), [[0, 0], [0, 0]]),
        (lambda x: tg.trunc(x) + tg.fmod(x, 2.0), [[1, 1], [1, 1]]),
        (lambda x: tg.median(x), [[0.25, 0.25], [0.25, 0.25]]),
    ]:
        x = zero()
        f(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=0, atol=1e-15)  # 0 and 1, or sums of a few of them
    x = tg.tensor([-math.inf, -math.inf, 0.0, 1.0], requires_grad=True)
    tg.logcumsumexp(x, 0)[2:].sum().backward()
    assert bool(tg.isfinite(x.grad).all()) and x.grad[:2].tolist() == [0, 0]
