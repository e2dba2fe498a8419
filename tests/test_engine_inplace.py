"""Changes in place that are recorded: differentiated rightly, or refused when they cannot be."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen.testing import assert_gradients


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).uniform(0.5, 1.5, size=shape), requires_grad=True)


# Recorded changes are differentiated


@pytest.mark.parametrize(
    "change",
    [
        lambda h, x, y: h.add_(y),
        lambda h, x, y: h.add_(y, alpha=3),
        lambda h, x, y: h.sub_(y),
        lambda h, x, y: h.mul_(y),
        lambda h, x, y: h.mul_(h),
        lambda h, x, y: h.div_(y),
        lambda h, x, y: h.pow_(2),
        lambda h, x, y: h.exp_().log_().sqrt_(),
        lambda h, x, y: h.sigmoid_().tanh_().neg_(),
        lambda h, x, y: h.clamp_(0.7, 1.2),
        lambda h, x, y: h.lerp_(y, 0.3),
        lambda h, x, y: h.addcmul_(x, y, value=2),
        lambda h, x, y: h.zero_().add_(x),
        lambda h, x, y: h.fill_(2.0).mul_(y),
        lambda h, x, y: h.copy_(y).mul_(x),
        lambda h, x, y: h.copy_(y[0]),
        lambda h, x, y: h.masked_fill_(x.detach() > 1, 0.5),
        lambda h, x, y: h.scatter_add_(0, tg.tensor([[0, 1, 0]]), y),
        lambda h, x, y: h.relu_().square_().reciprocal_(),
    ],
)
def test_in_place_methods(change):
    def f(x, y):
        h = x * 2
        result = change(h, x, y)
        assert result is h, "an in-place method returns its tensor"
        return h * y

    assert_gradients(f, leaf(2, 3), leaf(2, 3, seed=1))


def test_augmented_assignment():
    def f(x, y):
        h = x * 1
        same = h
        h += y
        h *= x
        h -= 1.0
        h /= y
        h **= 2
        assert same is h
        return h

    assert_gradients(f, leaf(3), leaf(3, seed=1))


KEYS = [0, (1, 2), slice(1, None), (..., 1), [0, 2], ([0, 2], [1, 1]), (slice(None), [0, 2]), None, ...]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_item_assignment(key):
    def f(x, y):
        h = x * 2
        h[key] = y[key] * x[key]
        return h * x

    assert_gradients(f, leaf(3, 3), leaf(3, 3, seed=1))


def test_item_assignment_by_mask_and_broadcast():
    def f(x, y):
        h = x * 2
        h[x.detach() > 1] = 7.0
        h[1] = y
        h[:, 0] = x[0, 0]
        return h.tanh()

    assert_gradients(f, leaf(3, 3), leaf(3, seed=1))


def test_filling_a_fresh_tensor():
    """A constant becomes part of the graph when something differentiable is written into it."""

    def f(x):
        out = tg.zeros(4, dtype=tg.float64)
        state = x[0]
        for i in range(4):
            state = state * x[i]
            out[i] = state
        return out

    assert_gradients(f, leaf(4))
    assert not tg.zeros(4).requires_grad


def test_the_value_before_a_change_is_still_differentiated_right():
    """exp reads its own output, which changes afterwards: it keeps what it was."""
    x = leaf(3)
    y = x.exp()
    y.mul_(3).add_(1)
    (g,) = tg.grad(y.sum(), x)
    np.testing.assert_allclose(g.numpy(), 3 * np.exp(x.detach().numpy()))


def test_in_place_is_not_recorded_without_gradients():
    x = tg.ones(3)
    y = x.mul_(2).add_(1)
    assert y is x and x.is_leaf and not x.requires_grad and x.tolist() == [3, 3, 3]
    w = leaf(3)
    with tg.no_grad():
        w.mul_(2)
    assert w.is_leaf and w.requires_grad


# Refusals at the change itself


def test_a_leaf_that_requires_a_gradient():
    w = leaf(3)
    for change in (lambda: w.add_(1), lambda: w.zero_(), lambda: w.__setitem__(0, 1.0), lambda: w.normal_()):
        with pytest.raises(RuntimeError, match=r"leaf.*no_grad.*clone"):
            change()
    assert w.requires_grad and w.is_leaf


def test_a_recorded_change_under_a_view():
    """The change would reach the view's values but not its gradient."""
    x = leaf(2, 2)
    h = x * 2
    v = h[0]
    for change in (lambda: h.add_(1), lambda: v.mul_(2), lambda: h.__setitem__(0, v)):
        with pytest.raises(RuntimeError, match=r"shares its memory with a view.*clone"):
            change()


def test_an_element_of_a_recorded_tensor_is_a_view():
    x = leaf(2, 2)
    h = x * 2
    with pytest.raises(RuntimeError, match="view"):
        h[0, 0] += 1


def test_an_expanded_tensor():
    """Its elements share memory, so that one change would be several."""
    x = tg.zeros(3).expand(2, 3)
    for change in (lambda: x.add_(1), lambda: x.zero_(), lambda: x.__setitem__((0, 0), 1.0)):
        with pytest.raises(RuntimeError, match=r"expanded.*clone"):
            change()
    assert x.clone().add_(1).tolist() == [[1, 1, 1]] * 2
    values = np.zeros(3)
    values.flags.writeable = False
    with pytest.raises(RuntimeError, match=r"read-only.*clone"):
        tg.from_numpy(values).add_(1)


def test_shapes_and_dtypes_do_not_change_in_place():
    x = tg.ones(3)
    with pytest.raises(ValueError, match=r"shape \(2, 3\) does not fit.*\(3,\)"):
        x.add_(tg.ones(2, 3))
    with pytest.raises(TypeError, match="float32 cannot be stored in a tensor of dtype int64"):
        tg.arange(3).add_(tg.ones(3))
    y = tg.arange(3)
    y.mul_(2)
    assert y.dtype == tg.int64 and y.tolist() == [0, 2, 4]
    x.mul_(tg.ones(3, dtype=tg.float64))
    assert x.dtype == tg.float32


def test_the_version_counts_changes():
    x = tg.zeros(3)
    v = x[1:]
    assert x._version == 0
    x.add_(1)
    v[0] = 5
    assert x._version == v._version == 2 and x.clone()._version == 0


def test_a_failed_change_changes_nothing():
    x = leaf(3)
    h = x * 2
    with pytest.raises(ValueError):
        h.add_(tg.ones(2, 3, dtype=tg.float64))
    h.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
