"""autograd.functional and Function, called as PyTorch is called, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygen as tg

torch = pytest.importorskip("torch")

X, Y, V, W = (np.random.default_rng(i).uniform(0.5, 1.5, size=(2, 3)) for i in range(4))


def one(lib, x):
    return (x.exp() * x).sum()


def two(lib, x, y):
    return (x * y).sin().sum() + (x * x).sum()


def unused(lib, x, y):
    return (x * x).sum()


def matrix(lib, x, y):
    return x * y.sum(1).reshape(2, 1), (x * x).sum(0)


def single(lib, x):
    return x * x.sum()


CALLS = {
    "jacobian": [(single, (0,), {}), (matrix, (0, 1), {}), (one, (0,), {}), (unused, (0, 1), {})],
    "hessian": [(one, (0,), {}), (two, (0, 1), {}), (unused, (0, 1), {})],
    "vjp": [(one, (0,), {}), (single, (0,), {"v": (2,)}), (two, (0, 1), {}), (unused, (0, 1), {})],
    "jvp": [(one, (0,), {"v": (2,)}), (matrix, (0, 1), {"v": (2, 3)}), (unused, (0, 1), {"v": (2, 3)})],
    "hvp": [(one, (0,), {"v": (2,)}), (two, (0, 1), {"v": (2, 3)}), (unused, (0, 1), {"v": (2, 3)})],
    "vhp": [(one, (0,), {"v": (2,)}), (two, (0, 1), {"v": (2, 3)}), (unused, (0, 1), {"v": (2, 3)})],
}


def flat(result: Any) -> list[Any]:
    """The form and the values of nested tuples of tensors."""
    if isinstance(result, tuple):
        return [len(result), *(x for part in result for x in flat(part))]
    return [tuple(result.shape), result.detach().numpy()]


@pytest.mark.parametrize("name, call", [(name, call) for name, calls in CALLS.items() for call in calls])
@pytest.mark.parametrize("create_graph", [False, True])
def test_functional(name, call, create_graph):
    func, inputs, options = call
    results, gradients = [], []
    for lib, make in ((tg, tg.tensor), (torch, torch.tensor)):
        xs = [make(a.copy()) for a in (X, Y)]
        for x in xs:
            x.requires_grad_()
        vs = [make(a.copy()) for a in (X, Y, V, W)]
        given = {k: tuple(vs[i] for i in v) if len(v) > 1 else vs[v[0]] for k, v in options.items()}
        form = tuple(xs[i] for i in inputs) if len(inputs) > 1 else xs[inputs[0]]
        f = getattr(lib.autograd.functional, name)
        result = f(lambda *args, lib=lib: func(lib, *args), form, create_graph=create_graph, **given)
        results.append(flat(result))
        if create_graph:
            parts = [p for p in _leaves(result) if p.requires_grad]
            g = lib.autograd.grad(sum(p.sum() for p in parts), xs[0], allow_unused=True)[0] if parts else None
            gradients.append(np.zeros_like(X) if g is None else g.numpy())
    for a, b in zip(*results, strict=True):
        # float64, a few operations in another order
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    if create_graph:
        np.testing.assert_allclose(*gradients, rtol=1e-11, atol=1e-11)


def _leaves(result: Any) -> list[Any]:
    return [x for part in result for x in _leaves(part)] if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", CALLS)
def test_strict_raises_where_pytorch_does(name):
    for lib, make in ((tg, tg.tensor), (torch, torch.tensor)):
        xs, vs = ((make(X), make(Y)), (make(V), make(W)))
        given = {} if name in ("jacobian", "hessian", "vjp") else {"v": vs}
        with pytest.raises(RuntimeError):
            getattr(lib.autograd.functional, name)(lambda x, y, lib=lib: unused(lib, x, y), xs, strict=True, **given)


@pytest.mark.parametrize("setup", [False, True])
def test_a_function_written_for_pytorch_runs_here(setup):
    """The text of one class, with the base class of either library."""
    results = []
    for lib, make in ((tg, tg.tensor), (torch, torch.tensor)):

        class Gate(lib.autograd.Function):
            if setup:

                @staticmethod
                def forward(x, y, k):
                    s = 1 / (1 + (-k * x).exp())
                    return s * y, s

                @staticmethod
                def setup_context(ctx, inputs, output):
                    _, y, ctx.k = inputs
                    ctx.save_for_backward(y, output[1])
            else:

                @staticmethod
                def forward(ctx, x, y, k):
                    s = 1 / (1 + (-k * x).exp())
                    ctx.k = k
                    ctx.save_for_backward(y, s)
                    return s * y, s

            @staticmethod
            def backward(ctx, g, h):
                y, s = ctx.saved_tensors
                gx = gy = None
                if ctx.needs_input_grad[0]:
                    gx = (g * y + h) * ctx.k * s * (1 - s)
                if ctx.needs_input_grad[1]:
                    gy = g * s
                return gx, gy, None

        x, y = make(X.copy()).requires_grad_(), make(Y.copy()).requires_grad_()
        a, b = Gate.apply(x, y, 2.0)
        gx, gy = lib.autograd.grad((a * a + b.sin()).sum(), (x, y), create_graph=True)
        hx, hy = lib.autograd.grad((gx * gy).sum(), (x, y))
        results.append([v.detach().numpy() for v in (a, b, gx, gy, hx, hy)])
        frozen = Gate.apply(make(X), y, 2.0)[0].sum()
        frozen.backward()
        results[-1].append(y.grad.numpy())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_backward_hooks_see_what_pytorchs_see():
    seen = []
    for lib, make in ((tg, tg.tensor), (torch, torch.tensor)):
        layer = lib.nn.Linear(3, 2)
        with lib.no_grad():
            layer.weight.copy_(make(np.arange(6.0).reshape(2, 3).astype(np.float32)))
        log = []
        layer.register_full_backward_pre_hook(lambda module, go, log=log: log.append([g.tolist() for g in go]))
        layer.register_full_backward_hook(
            lambda module, gi, go, log=log: log.append([None if g is None else g.tolist() for g in (*gi, *go)])
        )
        x = make(X.astype(np.float32)).requires_grad_()
        (layer(x) * make(np.float32(2.0))).sum().backward()
        layer(x.detach()).sum().backward()
        seen.append(log)
    assert seen[0] == seen[1]
