"""Recording on and off, hooks, retained gradients, detaching."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen.testing import assert_gradients


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


# Recording


def test_no_grad_as_context_and_decorator():
    x = leaf(3)
    with tg.no_grad():
        assert not (x * 2).requires_grad and not tg.is_grad_enabled()
        with tg.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert tg.is_grad_enabled()

    @tg.no_grad()
    def f(x):
        """Doc."""
        return x * 2

    assert not f(x).requires_grad and not f(x).requires_grad and f.__name__ == "f" and f.__doc__ == "Doc."
    assert tg.is_grad_enabled()

    @tg.enable_grad()
    def g(x):
        return x * 2

    with tg.no_grad():
        assert g(x).requires_grad and not tg.is_grad_enabled()


def test_recording_is_restored_after_an_error():
    for manager in (tg.no_grad, tg.enable_grad, lambda: tg.set_grad_enabled(False)):
        with pytest.raises(ZeroDivisionError), manager():
            raise ZeroDivisionError
        assert tg.is_grad_enabled()


def test_set_grad_enabled():
    x = leaf(3)
    for train in (True, False):
        with tg.set_grad_enabled(train):
            assert (x * 2).requires_grad is train
        assert tg.is_grad_enabled()
    try:
        tg.set_grad_enabled(False)
        assert not tg.is_grad_enabled() and not (x * 2).requires_grad
    finally:
        tg.set_grad_enabled(True)

    @tg.set_grad_enabled(False)
    def f(x):
        return x * 2

    assert tg.is_grad_enabled(), "decorating a function must not switch recording"
    assert not f(x).requires_grad and tg.is_grad_enabled()


def test_one_no_grad_object_may_be_nested_and_reused():
    manager = tg.no_grad()
    with manager, manager:
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()

    @manager
    def recursive(n):
        return tg.is_grad_enabled() if n == 0 else recursive(n - 1)

    assert recursive(3) is False and tg.is_grad_enabled()


def test_backward_under_no_grad_is_the_same():
    x = leaf(3)
    y = (x**3).sum()
    with tg.no_grad():
        (g,) = tg.grad(y, x)
    np.testing.assert_allclose(g.numpy(), 3 * x.detach().numpy() ** 2)


def test_create_graph_records_even_under_no_grad():
    x = leaf(3)
    y = (x**3).sum()
    with tg.no_grad():
        (g,) = tg.grad(y, x, create_graph=True)
    assert g.requires_grad


# Detaching, requiring


def test_detach_shares_memory_and_stops_the_gradient():
    x = leaf(3)
    h = x * 2
    d = h.detach()
    assert not d.requires_grad and d.is_leaf and np.shares_memory(d.array, h.array)
    (g,) = tg.grad((h * d).sum(), x)
    np.testing.assert_allclose(g.numpy(), 2 * d.numpy())


def test_requires_grad():
    x = tg.zeros(3)
    assert x.requires_grad_() is x and x.requires_grad
    x.requires_grad = False
    assert not x.requires_grad_(False).requires_grad
    with pytest.raises(RuntimeError, match=r"requires_grad_: only floating-point.*int64"):
        tg.arange(3).requires_grad_()
    with pytest.raises(RuntimeError, match=r"only floating-point"):
        tg.tensor([1, 2], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"requires_grad_.*detach"):
        (leaf(3) * 2).requires_grad_(False)


def test_detach_in_place():
    x = leaf(3)
    h = x * 2
    assert h.detach_() is h and h.is_leaf and not h.requires_grad
    h.add_(1)


# Hooks


def test_a_hook_sees_the_complete_gradient_once():
    x = leaf(3)
    seen = []
    x.register_hook(lambda g: seen.append(g.clone()))
    (x * 2 + x * x).sum().backward()
    assert len(seen) == 1
    np.testing.assert_allclose(seen[0].numpy(), 2 + 2 * x.detach().numpy())


def test_a_hook_replaces_the_gradient():
    x = leaf(3)
    h = x.exp()
    h.register_hook(lambda g: g * 10)
    h.register_hook(lambda g: g + 1)
    (g,) = tg.grad(h.sum(), x)
    np.testing.assert_allclose(g.numpy(), 11 * h.detach().numpy())


def test_a_hook_can_be_removed():
    x = leaf(3)
    handle = x.register_hook(lambda g: g * 0)
    with x.register_hook(lambda g: g * 5):
        handle.remove()
        handle.remove()
        x.sum().backward()
    x.sum().backward()
    assert x.grad.tolist() == [6, 6, 6]


def test_a_hook_is_differentiated_with_create_graph():
    def f(x):
        h = x * 1
        with h.register_hook(lambda g: g.tanh()):
            (g,) = tg.grad((h**3).sum(), x, create_graph=True)
        return g

    x = leaf(3)
    v = x.detach().numpy()
    np.testing.assert_allclose(f(x).detach().numpy(), np.tanh(3 * v**2))
    assert_gradients(f, x, order=1)


def test_what_a_hook_may_not_do():
    x = leaf(3)
    x.register_hook(lambda g: g[:2])
    with pytest.raises(ValueError, match=r"hook returned shape \(2,\).*\(3,\)"):
        x.sum().backward()
    with pytest.raises(RuntimeError, match=r"register_hook: .*does not require"):
        tg.zeros(3).register_hook(lambda g: g)
    with pytest.raises(TypeError, match=r"register_hook: a function of the gradient is expected, got int"):
        x.register_hook(3)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("hook", "error", "message"),
    [
        (lambda g: 0.0, TypeError, r"must return None or a tensor.*got float"),
        (lambda g: g.detach().numpy(), TypeError, r"must return None or a tensor.*got ndarray"),
        (lambda g: g.float(), TypeError, r"dtype float32 does not fit a tensor of dtype float64"),
    ],
)
def test_a_hook_must_return_a_gradient(hook, error, message, create_graph):
    x = leaf(3)
    h = x * 1
    h.register_hook(hook)
    with pytest.raises(error, match=rf"register_hook: .*{message}"):
        tg.grad(h.sum(), x, create_graph=create_graph)


# Gradients of intermediate results


def test_retain_grad():
    x = leaf(3)
    h = x * 2
    h.retain_grad()
    h.retain_grad()
    y = (h * h).sum()
    y.backward()
    np.testing.assert_allclose(h.grad.numpy(), 2 * h.detach().numpy())
    assert not np.shares_memory(h.grad.array, x.grad.array)
    x.retain_grad()  # a leaf does so anyway
    assert (x * 2).grad is None


def test_backward_accumulates_and_grad_does_not():
    x = leaf(3)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and x.grad.tolist() == [5, 5, 5]
    tg.grad((x * 2).sum(), x)
    assert x.grad.tolist() == [5, 5, 5]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]


def test_backward_with_create_graph_makes_a_differentiable_gradient():
    x = leaf(3)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    assert g.requires_grad
    x.grad = None
    g.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * x.detach().numpy())


def test_gradients_have_their_tensors_dtype():
    x, w = tg.ones(3, requires_grad=True), tg.ones(3, dtype=tg.float64, requires_grad=True)
    y = (x * w).sum()
    assert y.dtype == tg.float64
    y.backward()
    assert x.grad.dtype == tg.float32 and w.grad.dtype == tg.float64
