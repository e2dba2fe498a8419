"""checkpoint and checkpoint_invertible: the gradients of the plain program, from fewer values kept."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.autograd import checkpoint, checkpoint_invertible
from tinygen.nn import flows
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts


def leaf(*shape: int, seed: int = 0, device: str = "cpu") -> tg.Tensor:
    values = np.random.default_rng(seed).uniform(-1, 1, size=shape)
    return tg.tensor(values, device=device, requires_grad=True)


def plainly(function: Callable, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def values(tensors: Any) -> list[np.ndarray]:
    return [t.detach().cpu().numpy() for t in tensors]


def assert_equal(found: Any, expected: Any) -> None:
    for a, b in zip(values(found), values(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(found: Any, expected: Any, rtol: float) -> None:
    """Relative to the largest element: sums in another order may cancel."""
    for a, b in zip(values(found), values(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max(initial=1e-3))


class Counted:
    """A function that counts its runs."""

    def __init__(self, function: Callable):
        self.function, self.runs = function, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return self.function(*args, **kwargs)


@contextmanager
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# The gradients are those of the plain program

UNARY = [tg.tanh, tg.sin, tg.exp, lambda x: x.sum(-1, keepdim=True), lambda x: x.T, lambda x: x.T.T[:1], lambda x: -x]
BINARY = [tg.mul, tg.add, tg.sub, tg.logaddexp]


@st.composite
def programs(draw: st.DrawFn) -> tuple[Callable, tg.Tensor, list[tg.Tensor]]:
    """(function of two arguments that returns a tuple, the first argument, tensors that it takes from outside).

    Arguments and results may be used several times, or not at all.
    """
    x = tg.tensor(np.random.default_rng(draw(ts.seeds())).uniform(-1, 1, (2, 2)), requires_grad=draw(st.booleans()))
    outside = [leaf(2, 2, seed=1), leaf(2, 1, seed=2), tg.tensor(np.full((2, 2), 0.5))]
    choices = st.lists(st.tuples(*(st.integers(0, 99) for _ in range(4))), min_size=1, max_size=8)
    steps, kept = draw(choices), draw(st.lists(st.integers(0, 99), min_size=1, max_size=3))

    def function(a: tg.Tensor, b: tg.Tensor) -> tuple[tg.Tensor, ...]:
        made = [a, b, *outside]
        for kind, i, j, which in steps:
            u, v = made[-1 - i % len(made)], made[-1 - j % len(made)]
            if kind % 2 and v.shape != u.shape:
                v = v.sum()
            made.append(tg.tanh(BINARY[which % 4](u, v) if kind % 2 else UNARY[which % 7](u)))
        return tuple(made[-1 - i % len(made)] for i in kept)

    return function, x, outside


@given(program=programs())
def test_any_program(program):
    """Values to the last bit.  Gradients up to the order in which contributions from inside and outside are added."""
    function, x, outside = program
    wrt = [t for t in (x, *outside) if t.requires_grad]
    found = []
    for run in (plainly, checkpoint):
        h = (x * outside[0]).sin()  # depends on the other argument, and on a tensor from outside
        out = run(function, x, h)
        loss = sum(((y * (i + 1)).sin().sum() for i, y in enumerate(out)), (h * x).sum())
        first = tg.grad(loss, wrt, create_graph=True, allow_unused=True)
        alone = tg.grad(loss, wrt[0], retain_graph=True, allow_unused=True)
        size = sum(((g * g).sum() for g in first if g is not None and g.requires_grad), loss * 0)
        second = tg.grad(size, wrt, create_graph=True, allow_unused=True)
        size = sum(((g * g).sum() for g in second if g is not None and g.requires_grad), loss * 0)
        third = tg.grad(size, wrt, allow_unused=True)
        found.append(
            (
                out,
                [
                    t.new_zeros(t.shape) if g is None else g
                    for g, t in zip((*first, *second, *third, *alone), wrt * 3 + wrt[:1])
                ],
            )
        )
    (plain, expected), (out, gradients) = found
    assert_equal(out, plain)
    assert [y.requires_grad for y in out] == [y.requires_grad for y in plain]
    assert_close(gradients, expected, 1e-11)


@given(seed=ts.seeds(), segments=st.integers(1, 4))
def test_a_chain_to_the_last_bit(seed, segments):
    """The same operators on the same numbers in the same order."""
    tg.manual_seed(seed)
    layers = [nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Dropout(0.4), nn.Linear(3, 3)).double() for _ in range(4)]
    parameters = [p for f in layers for p in f.parameters()]
    x = leaf(5, 3, seed=seed % 1000)

    def step(run: Callable) -> tuple:
        tg.manual_seed(seed)
        h = x
        for start in range(0, 4, segments):
            h = run(nn.Sequential(*layers[start : start + segments]), h)
        loss = (h**2).sum() + tg.rand(1).double().sum()  # and later draws are as they were
        return loss, *tg.grad(loss, [x, *parameters]), tg.rand(2)

    assert_equal(step(checkpoint), step(plainly))


class Checkpointed(nn.Module):
    """A module whose inside is recomputed: parameters are found although they are not arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
        self.scale = nn.Parameter(tg.tensor([0.5, 2.0]))

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        outer = self.scale.exp()  # neither an argument nor a leaf
        y, size = checkpoint(lambda x: ((h := self.inside(x) * outer), h.sin().sum(1)), x * outer)
        return y * x, size + outer.sum()


def test_against_finite_differences_to_third_order():
    assert_gradients(Checkpointed(), tg.randn(2, 2), order=3)


def test_dropout_against_finite_differences():
    net = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Tanh())
    assert_gradients(lambda x: checkpoint(net, x).sum(), tg.randn(3, 2))


def test_on_every_device(device):
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Tanh()).double().to(device)
    x = leaf(2, 3, device=device)

    def step(run: Callable) -> list:
        tg.manual_seed(0)
        y, n = run(lambda x: (net(x), net(x).sum()), x)
        loss = (y * y).sum() * n
        gs = tg.grad(loss, [x, *net.parameters()], create_graph=True)
        return [y, *gs, *tg.grad(sum((g * g).sum() for g in gs), [x, *net.parameters()])]

    assert_close(step(checkpoint), step(plainly), 1e-12)


# What goes in and out

Pair = namedtuple("Pair", "mean size")


def test_results_of_several_kinds():
    x = leaf(3, 2)

    def function(x: tg.Tensor, *, power: int) -> dict:
        h = x**power
        return {
            "pair": Pair(h.mean(), [h.exp().float(), h.half()]),
            "count": 6,
            "same": x,
            "most": h.argmax(),
            "twice": (h, h),
        }

    out, plain = checkpoint(function, x, power=3), function(x, power=3)
    assert isinstance(out["pair"], Pair) and out["same"] is x and out["count"] == 6
    assert out["twice"][0] is out["twice"][1] and out["twice"][0].requires_grad
    assert not out["most"].requires_grad and out["most"].item() == plain["most"].item()
    gradients = []
    for result in (out, plain):
        results = [result["pair"].mean, *result["pair"].size, result["twice"][0], result["same"]]
        assert [y.dtype for y in results] == [tg.float64, tg.float32, tg.float16, tg.float64, tg.float64]
        gradients += tg.grad(sum(y.sum().double() for y in results), x)
    assert_equal(gradients[:1], gradients[1:])


def test_a_result_that_is_not_used():
    x = leaf(3)
    y, _ = checkpoint(lambda x: (x**2, x.exp()), x)
    assert_equal(tg.grad(y.sum(), x), [2 * x])


def test_nothing_to_differentiate():
    function = Counted(lambda x: (x * 2, "text"))
    y, text = checkpoint(function, tg.ones(2))
    assert y.tolist() == [2, 2] and text == "text" and not y.requires_grad
    with tg.no_grad():
        y = checkpoint(lambda x: x * 2, leaf(2))
    assert not y.requires_grad and y.is_leaf


def test_only_what_is_outside_requires_a_gradient():
    w, x = leaf(3), tg.ones(3, dtype=tg.float64)
    checkpoint(lambda x: (w * x).exp(), x).sum().backward()
    assert_equal([w.grad], [w.exp()])


def test_pytorch_s_keywords():
    x = leaf(3)
    y = checkpoint(
        lambda x, power: x**power, x, use_reentrant=False, preserve_rng_state=False, determinism_check="none", power=2
    )
    assert_equal(tg.grad(y.sum(), x), [2 * x])
    with pytest.raises(ValueError, match="determinism_check must be 'default' or 'none', got 'all'"):
        checkpoint(tg.exp, x, determinism_check="all")
    with pytest.raises(TypeError, match="checkpoint: a function is expected first, got Tensor"):
        checkpoint(x, tg.exp)


def test_a_generator_among_the_arguments():
    """It draws the same again, and goes on afterwards where it was."""
    x = leaf(50)
    streams = [tg.Generator().manual_seed(1) for _ in range(2)]
    losses = [run(nn.functional.dropout, x, generator=g) for run, g in zip((checkpoint, plainly), streams, strict=True)]
    assert_equal(*(tg.grad(y.sum(), x) for y in losses))
    assert_equal(*([tg.rand(3, generator=g)] for g in streams))


def test_batch_normalisation_moves_its_moments_twice():
    """As in PyTorch; the gradients are the plain ones."""
    layers = [nn.BatchNorm1d(3).double() for _ in range(2)]
    x = leaf(4, 3)
    gradients = [tg.grad((run(f, x) ** 3).sum(), [x, *f.parameters()]) for run, f in zip((plainly, checkpoint), layers)]
    assert_equal(*gradients)
    once, twice = (f.running_mean.numpy() for f in layers)
    np.testing.assert_allclose(twice, once * (1 + (1 - layers[0].momentum)), rtol=1e-12)


# How often the function runs


def test_one_run_per_backward_pass():
    """Not one per input, whatever is wanted."""
    w = [leaf(2, 2, seed=i) for i in range(4)]
    function = Counted(lambda x: (x @ w[0] + w[1]) @ w[2] * w[3])
    x = leaf(2, 2, seed=9)
    y = checkpoint(function, x).sum()
    assert function.runs == 1
    tg.grad(y, [x, *w], retain_graph=True)
    assert function.runs == 2
    tg.grad(y, [w[3]], retain_graph=True)
    assert function.runs == 3
    gs = tg.grad(y, [x, *w], create_graph=True)
    assert function.runs == 4
    tg.grad(sum(g.sum() for g in gs), [x, *w], allow_unused=True)
    assert function.runs == 4  # the graph of the gradients is that of their run
    y.backward()
    assert function.runs == 5


def test_used_twice_and_nested():
    x, w = leaf(3), leaf(3, seed=1)
    inner = Counted(lambda h: (h * w).tanh())
    outer = Counted(lambda h: checkpoint(inner, checkpoint(inner, h) + w))

    def loss(inside: Callable, outside: Callable) -> tg.Tensor:
        return (outside(outside(x)) * x).sum()

    y = loss(inner, lambda h: checkpoint(outer, h))
    gs = tg.grad(y, [x, w], create_graph=True)
    f = lambda h: (((h * w).tanh() + w) * w).tanh()
    z = loss(inner, f)
    expected = tg.grad(z, [x, w], create_graph=True)
    assert_close(gs, expected, 1e-12)
    assert_close(*(tg.grad(sum((g**2).sum() for g in each), [x, w]) for each in (gs, expected)), 1e-11)


def test_a_deep_nest_costs_one_more_run_per_level():
    function = Counted(lambda x: x.sin())
    run: Callable = function
    for _ in range(3):
        run = lambda x, run=run: checkpoint(run, x)
    x = leaf(3)
    run(x).sum().backward()
    assert function.runs == 4
    assert_equal([x.grad], [x.cos()])


def test_retain_graph_and_release():
    x = leaf(3)
    y = checkpoint(tg.tanh, x).sum()
    (first,) = tg.grad(y, x, retain_graph=True)
    assert_equal(tg.grad(y, x), [first])
    with pytest.raises(
        RuntimeError, match=r"'(sum|checkpoint)'.*at test_recompute\.py:\d+\) was released.*retain_graph=True"
    ):
        y.backward()
    h = checkpoint(tg.tanh, x)
    h.sum().backward()
    with pytest.raises(RuntimeError, match=r"'checkpoint'.*at test_recompute\.py:\d+\) was released"):
        (h * 2).sum().backward()


def test_hooks_run_once_on_the_whole_gradient():
    x, w = leaf(3), leaf(3, seed=1)
    seen: list[tg.Tensor] = []
    w.register_hook(lambda g: seen.append(g))
    h = x * 1.0
    h.retain_grad()
    y = checkpoint(lambda h: h * w * w, h) + w * h
    y.retain_grad()
    y.sum().backward()
    assert_close(seen, [2 * w * h + h], 1e-15)
    assert_close([h.grad, y.grad], [w * w + w, tg.ones(3)], 1e-15)


def test_a_hook_inside():
    """It is set on the second run's tensors too, and changes the gradient there as it does in a plain program."""

    def function(x: tg.Tensor) -> tg.Tensor:
        h = x * 1.0
        h.register_hook(lambda g: g * 10)
        return h

    x = leaf(3)
    checkpoint(function, x).sum().backward()
    assert x.grad.tolist() == [10, 10, 10]


def test_gradients_taken_inside_the_function():
    """The function itself differentiates, and starts from leaves of its own."""
    w, x = leaf(2, 2), tg.tensor([[0.3, -0.2]], dtype=tg.float64)
    function = lambda x: tg.autograd.jacobian(lambda u: (u @ w).tanh(), x, create_graph=True)
    loss = checkpoint(function, x).square().sum()
    assert_close(tg.grad(loss, w), tg.grad(function(x).square().sum(), w), 1e-14)


# Where the gradient would be wrong, an error


def changed(t: tg.Tensor) -> None:
    with tg.no_grad():
        t.mul_(2)


@pytest.mark.parametrize("which", ["argument", "parameter", "constant argument", "constant outside", "view"])
def test_a_tensor_that_was_changed_in_between(which):
    x, w = leaf(3), leaf(3, seed=1)
    c, d = tg.ones(3, dtype=tg.float64), tg.ones(3, dtype=tg.float64)
    y = checkpoint(lambda x, c: x * w * c * d, x, c)
    changed(
        {"argument": x, "parameter": w, "constant argument": c, "constant outside": d, "view": w.detach()[1:]}[which]
    )
    with pytest.raises(
        RuntimeError, match=r"'checkpoint' at test_recompute\.py:\d+ .*a tensor of shape \(3,\) was changed in place"
    ):
        y.sum().backward()


def test_an_argument_that_became_another_result():
    x = leaf(3) * 2
    y = checkpoint(tg.exp, x)
    x.add_(1)
    with pytest.raises(RuntimeError, match=r"'checkpoint'.*changed in place by 'add'"):
        y.sum().backward()


def test_a_function_that_changes_what_it_is_given():
    with pytest.raises(RuntimeError, match="checkpoint: the function changed its argument in place"):
        checkpoint(lambda x: x.mul_(2), leaf(3) * 1.0)
    w, x = leaf(3), tg.ones(3, dtype=tg.float64)
    with pytest.raises(RuntimeError, match="checkpoint: the function changed its argument in place"):
        checkpoint(lambda x: x.mul_(w), x)

    def function(x: tg.Tensor) -> tg.Tensor:
        changed(x)
        return x * w

    with pytest.raises(RuntimeError, match="was changed in place"):
        checkpoint(function, tg.ones(3, dtype=tg.float64)).sum().backward()
    outside = leaf(3) * 1.0
    with pytest.raises(RuntimeError, match=r"was changed in place|depends on other tensors"):
        checkpoint(lambda: outside.mul_(w) * 1.0).sum().backward()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda x, w: (x * w)[:2], r"the second run gave float64 \(2,\), and the first float64 \(3,\)"),
        (lambda x, w: (x * w, x), r"the second run gave float64 \(3,\), and the first|^$"),
        (lambda x, w: (x * w).float(), r"gave float32 \(3,\), and the first float64 \(3,\)"),
        (lambda x, w: x.detach(), r"gave no tensor with a gradient, and the first float64"),
        (lambda x, w: x * 2, r"depends on other tensors than the first: 2 were there, 1 are still, 0 came"),
        (lambda x, w: x * w * leaf(3), r"depends on other tensors .* 2 are still, 1 came"),
        (lambda x, w: x * w * 2, r"result 0, of shape \(3,\), is not the same in the second run"),
        (lambda x, w: x * w + 1e-6, r"result 0, of shape \(3,\), is not the same in the second run"),
    ],
)
def test_a_function_that_does_something_else_the_second_time(second, message):
    runs: list[int] = []
    w = leaf(3, seed=1)

    def function(x: tg.Tensor) -> Any:
        runs.append(1)
        return x * w if len(runs) == 1 else second(x, w)

    y = checkpoint(function, leaf(3))
    if message.endswith("^$"):  # an argument that is handed through is no result: this is the same
        y.sum().backward()
        return
    with pytest.raises(RuntimeError, match=rf"(?s)in the derivative of 'checkpoint' at test_recompute\.py.*{message}"):
        y.sum().backward()


def test_a_generator_that_is_not_known():
    g = tg.Generator().manual_seed(0)
    y = checkpoint(lambda x: nn.functional.dropout(x, generator=g), leaf(200))
    with pytest.raises(RuntimeError, match="draw from a generator that is not among its arguments"):
        y.sum().backward()
    y = checkpoint(lambda x: nn.functional.dropout(x, generator=g), leaf(200), determinism_check="none")
    y.sum().backward()
    y = checkpoint(nn.functional.dropout, leaf(200), preserve_rng_state=False)
    with pytest.raises(RuntimeError, match="not the same in the second run"):
        y.sum().backward()


def test_an_error_in_the_second_run_leaves_the_streams_alone():
    runs: list[int] = []

    def function(x: tg.Tensor) -> tg.Tensor:
        tg.rand(3)
        runs.append(1)
        if len(runs) == 2:
            raise ZeroDivisionError("in the second run")
        return x * 2

    y = checkpoint(function, leaf(3)).sum()
    state = tg.get_rng_state()
    with pytest.raises(ZeroDivisionError, match=r"in the derivative of 'checkpoint'.*in the second run"):
        y.backward()
    expected = tg.rand(3)
    tg.set_rng_state(state)
    assert_equal([tg.rand(3)], [expected])
    assert tg.is_grad_enabled()


def test_infinite_and_missing_values_are_let_through():
    x = tg.tensor([0.0, -1.0, 1.0], requires_grad=True)
    with np.errstate(all="ignore"):
        y = checkpoint(lambda x: (x.log(), 1 / x), x)
        tg.autograd.backward(y, [tg.ones(3)] * 2)
    assert x.grad[2].item() == 0


# What one sees


def test_the_trace_shows_one_step_and_the_gradients():
    x, w = leaf(3), leaf(3, seed=1)
    y, n = checkpoint(lambda x: ((x * w).exp(), x.sum()), x)
    loss = y.sum() * n
    trace = tg.autograd.trace(loss)
    gx, gw = tg.grad(loss, [x, w])
    assert_close([trace.gradient(x), trace.gradient(w)], [gx, gw], 1e-15)
    steps = [s for s in trace if s.op == "checkpoint"]
    assert len(steps) == 2 and all("checkpoint(lambda x" in s.code for s in steps)


def log_of_a_difference(x: tg.Tensor) -> tg.Tensor:
    return (x - x).sqrt()  # the line that errors name


def test_errors_name_the_line_inside():
    line = log_of_a_difference.__code__.co_firstlineno + 1
    with np.errstate(all="ignore"), tg.autograd.detect_anomaly():
        with pytest.raises(tg.autograd.AnomalyError, match=rf"derivative of sqrt .*test_recompute\.py:{line}"):
            checkpoint(log_of_a_difference, leaf(3)).sum().backward()
        with pytest.raises(tg.autograd.AnomalyError, match=r"log made .*test_recompute\.py:\d+"):
            checkpoint(lambda x: (x - x).log(), leaf(3))


# Memory


def test_nothing_is_left_behind():
    with no_garbage_collector():
        x, w = leaf(3), leaf(3, seed=1)
        inside: list[weakref.ref] = []

        def function(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
            a = x * w
            b = a.exp()
            inside.extend(map(weakref.ref, (a, b)))
            return b * a, a.sum()

        h = x * 1.0
        y, n = checkpoint(function, h)
        assert [r() for r in inside] == [None, None]  # the first run's graph is gone at once
        around = [weakref.ref(t) for t in (h, y, n, function)]
        loss = y.sum() * n
        del h, y, n, function
        assert around[3]() is not None
        loss.backward()
        assert [r() for r in (*inside, *around)] == [None] * 8
        del loss

        h = x * 1.0
        y = checkpoint(tg.exp, h).sum()
        (g,) = tg.grad(y, x, create_graph=True)
        around = [weakref.ref(t) for t in (h, y, g)]
        del h, y, g
        assert [r() for r in around] == [None] * 3

        h = x * 1.0
        y = checkpoint(tg.exp, h)  # never differentiated
        around = [weakref.ref(t) for t in (h, y)]
        del h, y
        assert [r() for r in around] == [None] * 2


def peak(step: Callable[[], Any]) -> int:
    """Bytes that a step allocates at its peak."""
    gc.collect()
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def wide(x: tg.Tensor) -> tg.Tensor:
    """Eight operators that keep their results."""
    for _ in range(8):
        x = x.tanh()
    return x


def test_memory_is_one_value_per_segment_and_one_segment():
    x = leaf(25_000)
    size = x.numel() * 8

    def step(run: Callable, depth: int = 8) -> None:
        h = x
        for _ in range(depth):
            h = run(wide, h)
        h.sum().backward()
        x.grad = None

    plain, ours = peak(lambda: step(plainly)) / size, peak(lambda: step(checkpoint)) / size
    assert plain > 8 * 8
    assert ours < 8 + 8 + 8  # the segments' inputs, one segment, and some gradients


# Layers that can be inverted


def through(layers: Any, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    return flows.Composition(*layers)(x)


def net(n: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n, 5), nn.Tanh(), nn.Linear(5, n))


def shuffled(x: tg.Tensor, parts: int) -> tg.Tensor:
    return tg.cat(list(reversed(x.split(x.shape[1] // parts, 1))), 1)


class Swap(flows.Transform):
    """The halves change places; the log-determinant does not require a gradient."""

    def forward(self, x):
        return shuffled(x, 2), x.new_zeros(x.shape[0])

    inverse = forward


class Same(flows.Transform):
    """Nothing changes: x itself is returned."""

    def forward(self, x):
        return x, x.new_zeros(x.shape[0])

    inverse = forward


LAYERS: list[Callable[[], nn.Module]] = [
    lambda: flows.AffineCoupling(flows.random_half_mask(4), net(4), nn.Sequential(*net(4), nn.Tanh())),
    lambda: flows.AdditiveCoupling(flows.random_half_mask(4), net(4)),
    lambda: flows.Scale(4),
    lambda: flows.ActNorm(4),
    lambda: flows.Composition(flows.AffineCoupling(flows.half_mask(4), net(4), net(4)), flows.Scale(4)),
    Swap,
    Same,
    lambda: flows.Composition(),
]


@st.composite
def stacks(draw: st.DrawFn) -> list[nn.Module]:
    """Some layers, of which one may come several times."""
    tg.manual_seed(draw(ts.seeds()))
    layers = [LAYERS[i]().double() for i in draw(st.lists(st.integers(0, len(LAYERS) - 1), min_size=1, max_size=5))]
    return layers + [layers[i % len(layers)] for i in draw(st.lists(st.integers(0, 4), max_size=2))]


@given(layers=stacks(), seed=ts.seeds(), needs=st.booleans())
def test_a_stack_has_the_plain_gradients(layers, seed, needs):
    """A coupling's inverse is exact but for rounding, which the other layers' factors enlarge a little."""
    x = tg.tensor(np.random.default_rng(seed).normal(size=(3, 4)), requires_grad=needs)
    through(layers, x)  # sets what ActNorm starts from
    wrt = [t for t in (x, *nn.ModuleList(layers).parameters()) if t.requires_grad]
    found = []
    for run in (checkpoint_invertible, through):
        y, logdet = run(layers, x)
        found.append([y, logdet])
        if wrt:
            loss = (y**2).sum() + (logdet * logdet.cos()).sum()
            found[-1] += [
                t.new_zeros(t.shape) if g is None else g for g, t in zip(tg.grad(loss, wrt, allow_unused=True), wrt)
            ]
    assert_equal(found[0][:2], found[1][:2])
    assert [y.requires_grad for y in found[0][:2]] == [y.requires_grad for y in found[1][:2]]
    assert_close(found[0], found[1], 1e-9)


class Density(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([LAYERS[0](), LAYERS[5](), LAYERS[2]()])

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        y, logdet = checkpoint_invertible(self.layers, x)
        return logdet - 0.5 * (y**2).sum(1)


def test_a_stack_against_finite_differences():
    assert_gradients(Density(), tg.randn(2, 4), order=2)


def test_a_stack_to_second_order_is_the_plain_one():
    """Nothing is rebuilt then."""
    layers, x = [LAYERS[i]().double() for i in (0, 4, 1)], leaf(3, 4)
    wrt = [x, *nn.ModuleList(layers).parameters()]
    found = []
    for run in (checkpoint_invertible, through):
        y, logdet = run(layers, x)
        gs = tg.grad((y**3).sum() + logdet.sum(), wrt, create_graph=True)
        found.append([*gs, *tg.grad(sum((g**2).sum() for g in gs), wrt)])
    assert_close(*found, 1e-12)


def test_a_stack_on_every_device(device):
    layers, x = [LAYERS[i]().double().to(device) for i in (0, 5, 3)], leaf(3, 4, device=device)
    through(layers, x)
    wrt = [x, *nn.ModuleList(layers).parameters()]
    found = []
    for run in (checkpoint_invertible, through):
        y, logdet = run(layers, x)
        found.append(tg.grad((y**3).sum() + logdet.sum(), wrt))
    assert_close(*found, 1e-9)


def test_images_and_nested_scales():
    """Layers that change the shape, and one that is a whole flow."""
    couple = lambda c, s: flows.AffineCoupling(
        flows.checkerboard_mask((c, s, s)), nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
    )
    layers = [couple(1, 4), flows.Squeeze(), couple(4, 2), flows.Reshape((4, 2, 2), (16,))]
    for f in layers:
        f.double()
    x = leaf(2, 1, 4, 4)
    wrt = [x, *nn.ModuleList(layers).parameters()]
    found = []
    for run in (checkpoint_invertible, through):
        y, logdet = run(layers, x)
        found.append(tg.grad((y**3).sum() + logdet.sum(), wrt))
    assert_close(*found, 1e-9)


def test_a_layer_that_takes_x_from_outside():
    """x reaches the result by two ways."""
    x = leaf(3, 4)

    class Conditioned(flows.Transform):
        def forward(self, y):
            return y + x.tanh(), y.new_zeros(3)

        def inverse(self, y):
            return y - x.tanh(), y.new_zeros(3)

    layers = [flows.Scale(4).double(), Conditioned(), Conditioned()]
    found = [tg.grad((run(layers, x)[0] ** 2).sum(), [x]) for run in (checkpoint_invertible, through)]
    assert_close(*found, 1e-12)


def test_no_gradient_no_graph():
    layers, x = [LAYERS[0]().double()], leaf(3, 4)
    with tg.no_grad():
        y, logdet = checkpoint_invertible(layers, x)
    assert not y.requires_grad and not logdet.requires_grad
    y, logdet = checkpoint_invertible([], x)
    assert y is x and logdet.tolist() == [0, 0, 0]


def test_memory_does_not_depend_on_the_depth():
    n = 20_000

    def step(depth: int) -> Callable[[], None]:
        layers = [flows.AffineCoupling(flows.half_mask(4, i % 2), net(4), net(4)) for i in range(depth)]
        x = tg.randn(n, 4, requires_grad=True)

        def run() -> None:
            y, logdet = checkpoint_invertible(layers, x)
            ((y**2).sum() - logdet.sum()).backward()

        run()  # afterwards all gradients are there
        return run

    shallow, deep = peak(step(4)), peak(step(16))
    assert deep < shallow + n * 4 * 4  # not one more value, where the plain stack keeps ten per layer


def test_a_stack_leaves_nothing_behind():
    with no_garbage_collector():
        layers, x = [LAYERS[0]().double(), LAYERS[5]()], leaf(3, 4)
        h = x * 1.0
        y, logdet = checkpoint_invertible(layers, h)
        around = [weakref.ref(t) for t in (h, y, logdet)]
        loss = (y**2).sum() + logdet.sum()
        del h, y, logdet
        loss.backward()
        assert [r() for r in around] == [None] * 3


class Dropping(Same):
    """No inverse: it zeroes some numbers."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.5), x.new_zeros(x.shape[0])


class Normalizing(flows.Transform):
    """Depends on the batch; inverse(y) has lost the scale, though forward(inverse(y)) is y."""

    def forward(self, x):
        return x / x.detach().std(), x.new_zeros(x.shape[0])

    def inverse(self, y):
        return y, y.new_zeros(y.shape[0])


@pytest.mark.parametrize("layer", [Dropping, Normalizing])
def test_a_layer_that_is_not_inverted_by_its_inverse(layer):
    layers = [flows.Scale(4).double(), layer(), flows.Scale(4).double()]
    y, _ = checkpoint_invertible(layers, leaf(20, 4))
    with pytest.raises(
        RuntimeError, match=rf"layer 1, {layer.__name__}: inverse\(y\) did not give back the layer's input"
    ):
        y.sum().backward()


def test_what_was_changed_since():
    layers = [flows.Scale(4).double() for _ in range(2)]
    for which in ("x", "y", "parameter"):
        x = leaf(3, 4)
        y, logdet = checkpoint_invertible(layers, x)
        loss = (y * 2).sum() + logdet.sum()
        changed({"x": x, "y": y, "parameter": layers[0].log_scale}[which])
        with pytest.raises(RuntimeError, match=r"'checkpoint_invertible' at test_recompute\.py.*changed in place"):
            loss.backward()


def test_bad_layers_and_inputs():
    with pytest.raises(TypeError, match=r"layer 1, a Linear, has no method inverse\(y\)"):
        checkpoint_invertible([Swap(), nn.Linear(4, 4)], leaf(3, 4))
    with pytest.raises(
        TypeError, match=r"x must be a tensor of floating-point numbers, \(batch, \*\), got int64 \(3,\)"
    ):
        checkpoint_invertible([Swap()], tg.arange(3))

    class Constant(Same):
        def forward(self, x):
            return x.detach() * 2, x.new_zeros(x.shape[0])

    with pytest.raises(RuntimeError, match="layer 0, Constant: its output does not depend on its input"):
        checkpoint_invertible([Constant()], leaf(3, 4))
