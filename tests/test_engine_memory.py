"""What the walk back leaves behind: nothing; and gradients that share memory with nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import tinygen as tg


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


@contextmanager
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def watch(*tensors: tg.Tensor) -> list[weakref.ref]:
    return [weakref.ref(t) for t in tensors]


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_graph_is_freed_by_reference_counting(create_graph):
    with no_garbage_collector():
        x = leaf(3)
        a = x.exp()
        b = a * x
        c = b.softmax(0) @ a
        nodes = watch(a, b, c)
        (g,) = tg.grad(c, x, create_graph=create_graph)
        if create_graph:
            nodes += watch(g)
        del a, b, c, g
        assert [r() for r in nodes] == [None] * len(nodes)


def test_intermediate_values_are_freed_during_backward_although_the_loss_lives():
    with no_garbage_collector():
        x = leaf(3)
        a = x.exp()
        loss = (a * a).sum()
        (r,) = watch(a)
        del a
        assert r() is not None
        loss.backward()
        assert r() is None and loss.item() > 0


def test_no_cycle_through_hooks_retain_grad_or_in_place_changes():
    with no_garbage_collector():
        x = leaf(3)
        a = x * 2
        a.retain_grad()
        b = a.exp()
        b.register_hook(lambda g: g * 2)
        c = b * 1.0
        c.mul_(b.detach())
        c[0] = 0.0
        nodes = watch(a, b, c)
        c.sum().backward()
        del a, b, c
        assert [r() for r in nodes] == [None] * 3


def test_nothing_is_recorded_without_a_gradient():
    a = tg.ones(3)
    b = a * 2 + 1
    assert b.is_leaf and b.grad_fn is None and not b.edges and not b.requires_grad


# A graph is used once, unless it is kept


def test_a_released_graph_says_so_by_name():
    x = leaf(3)
    y = x.tanh()
    z = y.sum()
    z.backward()
    with pytest.raises(RuntimeError, match=r"'sum'.*released.*retain_graph=True"):
        z.backward()
    with pytest.raises(RuntimeError, match=r"'tanh'.*test_engine_memory\.py.*released"):
        (y * 2).sum().backward()


def test_retain_graph():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 4 * x.detach().numpy())
    with pytest.raises(RuntimeError, match="released"):
        y.backward()


def test_create_graph_keeps_the_graph_unless_told_otherwise():
    x = leaf(3)
    y = (x**3).sum()
    (g,) = tg.grad(y, x, create_graph=True)
    (h,) = tg.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), 6 * x.detach().numpy())
    tg.grad((x**3).sum(), x, create_graph=True, retain_graph=False)


def test_a_part_of_the_graph_that_is_not_needed_survives():
    """grad walks to its inputs only as far as they go; what lies below is still there."""
    x = leaf(3)
    y = x.exp()
    z = (y * 2).sum()
    tg.grad(z, y)
    (g,) = tg.grad(y.sum(), x, retain_graph=False)
    np.testing.assert_array_equal(g.numpy(), y.detach().numpy())
    # y itself is released now: it may be an input, but nothing below it may
    (g,) = tg.grad((y * 2).sum(), y)
    np.testing.assert_array_equal(g.numpy(), [2, 2, 2])
    for options in ({}, {"allow_unused": True}):
        with pytest.raises(RuntimeError, match=r"'exp'.*released"):
            tg.grad((y * 2).sum(), [y, x], **options)
        with pytest.raises(RuntimeError, match=r"'exp'.*released"):
            tg.grad((y * 2).sum(), x, **options)


# Gradients are new memory


def arrays_of(*tensors: tg.Tensor) -> list[np.ndarray]:
    return [t.array for t in tensors]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + b,
        lambda a, b: a.view(-1) + b.T.reshape(-1),
        lambda a, b: tg.cat([a, b]),
        lambda a, b: tg.stack([a, b]),
        lambda a, b: (a.clone(), b.contiguous()),
        lambda a, b: (a.T, b[0], a.expand(2, 2, 2), b[None]),
        lambda a, b: (a, b),
    ],
)
def test_gradients_of_leaves_share_no_memory(function, create_graph):
    a, b = leaf(2, 2), leaf(2, 2)
    out = function(a, b)
    outputs = [y * 1.0 if y.is_leaf else y for y in (out if isinstance(out, tuple) else (out,))]
    seeds = [tg.ones(*y.shape, dtype=tg.float64) for y in outputs]
    tg.autograd.backward(outputs, seeds, create_graph=create_graph)
    everything = arrays_of(a, b, *outputs, *seeds, a.grad, b.grad)
    assert a.grad is not b.grad
    for i, u in enumerate(everything[-2:]):
        for j, v in enumerate(everything):
            if j != len(everything) - 2 + i:
                assert not np.shares_memory(u, v)


def test_accumulation_does_not_reach_into_gradients_seen_by_hooks():
    """A hook may keep the gradient it was given: later sums must not be written into it."""
    x = leaf(3)
    seen = []
    y = x * 1.0
    x.register_hook(lambda g: seen.append(g))
    y.register_hook(lambda g: seen.append(g))
    ((y + y) * y + x * x + x.exp()).sum().backward()
    before = [g.numpy().copy() for g in seen]
    (x * 5).sum().backward()
    for g, b in zip(seen, before, strict=False):
        np.testing.assert_array_equal(g.numpy(), b)


def test_what_a_hook_returns_is_not_written_into():
    x = leaf(3)
    kept = tg.ones(3, dtype=tg.float64)
    x.register_hook(lambda g: kept)
    for _ in range(2):
        (x * x + x.exp()).sum().backward()
    assert kept.tolist() == [1, 1, 1] and x.grad.tolist() == [2, 2, 2]


def test_the_seed_is_not_written_to():
    x = leaf(3)
    seed = tg.ones(3, dtype=tg.float64)
    y = x + 0.0
    (g,) = tg.grad([y, y, y], x, [seed, seed, seed])
    np.testing.assert_array_equal(g.numpy(), [3, 3, 3])
    np.testing.assert_array_equal(seed.numpy(), [1, 1, 1])
