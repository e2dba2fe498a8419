"""Hooks on tensors: when they are called, with what, and what their result changes.  The rules are PyTorch's."""

import gc
import weakref

import numpy as np
import pytest

import tinygen as tg
from tinygen.backend import to_numpy


def leaf(device="cpu"):
    return tg.tensor([1.0, 2.0], requires_grad=True, device=device)


def values(x):
    return to_numpy(x.array).tolist()


def test_a_hook_sees_the_complete_gradient_once(device):
    x, seen = leaf(device), []
    y = x * x
    y.register_hook(lambda g: seen.append(values(g)))
    (y + 3 * y + y.sum()).sum().backward()
    assert seen == [[6, 6]], "1 + 3 + 2 (every element of the sum is counted twice)"
    assert values(x.grad) == [12, 24]


def test_what_a_hook_returns_replaces_the_gradient(device):
    x, after = leaf(device), []
    x.register_hook(lambda g: g * 7)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: after.append(values(g)))
    (x * 3).sum().backward()
    assert after == [[22, 22]] and values(x.grad) == [22, 22]


def test_hooks_act_in_grad_too_and_on_the_output():
    x = leaf()
    x.register_hook(lambda g: g * 2)
    (g,) = tg.grad((x * 3).sum(), x)
    assert values(g) == [6, 6] and x.grad is None
    loss = (x * 3).sum()
    loss.register_hook(lambda g: g * 5)
    assert values(tg.grad(loss, x)[0]) == [30, 30]


def test_a_hook_of_a_branch_that_is_not_needed_is_not_called():
    x, y, seen = leaf(), leaf(), []
    h = y * 2
    h.register_hook(seen.append)
    tg.grad((x * h).sum(), x)
    assert seen == []


def test_a_hook_is_differentiated_with_create_graph():
    x = leaf()
    y = x * x
    hook = y.register_hook(lambda g: g * g)
    (g,) = tg.grad((y * y).sum(), x, create_graph=True)  # (2y)² 2x = 8 x⁵
    assert values(g) == [8, 256]
    hook.remove()  # otherwise it would act in the second pass too
    assert values(tg.grad(g.sum(), x)[0]) == [40, 640]  # 40 x⁴


def test_a_hook_can_be_taken_away():
    x = leaf()
    handle = x.register_hook(lambda g: g * 7)
    with x.register_hook(lambda g: g * 5):
        assert values(tg.grad((x * 3).sum(), x)[0]) == [105, 105]
    assert values(tg.grad((x * 3).sum(), x)[0]) == [21, 21]
    handle.remove()
    handle.remove()
    assert values(tg.grad((x * 3).sum(), x)[0]) == [3, 3]


def test_a_hook_may_remove_itself():
    x, seen = leaf(), []

    def once(g):
        seen.append(1)
        handle.remove()

    handle = x.register_hook(once)
    x.register_hook(lambda g: seen.append(2))
    for _ in range(2):
        (x * 3).sum().backward()
    assert seen == [1, 2, 2]


def test_a_hook_belongs_to_the_values_it_was_registered_on():
    x, seen = leaf(), []
    y = x * 2
    y.register_hook(lambda g: seen.append(values(g)))
    y.retain_grad()
    y.mul_(5)
    y.register_hook(lambda g: seen.append(values(g)))
    y.sum().backward()
    assert seen == [[1, 1], [5, 5]], "of the values after the change, then of those before"
    assert values(y.grad) == [1, 1] and values(x.grad) == [10, 10]


def test_retain_grad_keeps_what_the_last_hook_returned(device):
    x = leaf(device)
    y = x * 2
    assert not y.retains_grad
    y.retain_grad()
    y.retain_grad()  # once is enough
    y.register_hook(lambda g: g * 3)
    assert y.retains_grad and not x.retains_grad
    (y * y).sum().backward(retain_graph=True)
    assert values(y.grad) == [12, 24]
    (y * y).sum().backward()
    assert values(y.grad) == [24, 48], "it accumulates as a leaf's does"
    x.retain_grad()  # leaves keep theirs anyway
    assert x.hooks is None


def test_retained_gradients_are_nobody_elses_memory():
    x = leaf()
    y = x * 1
    y.retain_grad()
    (y + 0).sum().backward()
    y.grad.array[...] = 99
    assert values(x.grad) == [1, 1]


def test_retain_grad_does_not_keep_the_graph_alive():
    x = leaf()
    y = x * 2
    y.retain_grad()
    watch = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert watch() is None, "freed by reference counting, without the garbage collector"
    finally:
        gc.enable()


def test_errors():
    for method in (lambda t: t.register_hook(print), lambda t: t.retain_grad()):
        with pytest.raises(RuntimeError, match="does not require a gradient"):
            method(tg.ones(2))
    x = leaf()
    x.register_hook(lambda g: g.sum())
    with pytest.raises(
        tg.ShapeError, match=r"register_hook: the hook returned shape \(\) for a gradient of shape \(2,\)"
    ):
        (x * 3).sum().backward()
    np.testing.assert_equal(x.grad, None)
