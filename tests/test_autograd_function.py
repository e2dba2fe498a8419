"""autograd.Function, gradcheck in PyTorch's form, anomaly mode as a switch, and modules' backward hooks."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import autograd, nn
from tinygen.autograd import Function, gradcheck, gradgradcheck
from tinygen.testing import GradientError, assert_gradients


def leaf(*shape: int, seed: int = 0, device: str = "cpu") -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).uniform(0.4, 1.6, size=shape), device=device, requires_grad=True)


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class Product(Function):
    """In the other style: setup_context; saves its inputs, has a number and broadcasts."""

    @staticmethod
    def forward(x, y, factor):
        return factor * x * y

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, y, ctx.factor = inputs
        ctx.save_for_backward(x, y)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return ctx.factor * g * y, ctx.factor * g * x, None  # summed over broadcast axes by the engine


class Polar(Function):
    """Two inputs, two outputs, both saved, and a third output that is constant."""

    @staticmethod
    def forward(ctx, x, y):
        r, angle = (x * x + y * y).sqrt(), (y / x).atan()
        quadrant = (x > 0).long() + 2 * (y > 0).long()
        ctx.save_for_backward(x, r, y)
        ctx.mark_non_differentiable(quadrant)
        return r, angle, quadrant

    @staticmethod
    def backward(ctx, g_r, g_angle, g_quadrant):
        x, r, y = ctx.saved_tensors
        assert not g_quadrant.any()
        return g_r * x / r - g_angle * y / (r * r), g_r * y / r + g_angle * x / (r * r)


def polar(x, y):
    return (x * x + y * y).sqrt(), (y / x).atan()


CASES = {
    "exp": (lambda x, y: Exp.apply(x) * y, lambda x, y: x.exp() * y),
    "exp of exp": (lambda x, y: Exp.apply(Exp.apply(x) * 0.3), lambda x, y: (x.exp() * 0.3).exp()),
    "product": (lambda x, y: Product.apply(x, y, 3.0), lambda x, y: 3 * x * y),
    "square": (lambda x, y: Product.apply(x, x, 0.5), lambda x, y: 0.5 * x * x),
    "polar": (lambda x, y: sum(Polar.apply(x, y)[:2]), lambda x, y: sum(polar(x, y))),
    "only the angle": (lambda x, y: Polar.apply(x, y)[1], lambda x, y: polar(x, y)[1]),
    "both in each other": (
        lambda x, y: Polar.apply(*Polar.apply(x, y)[:2])[0] * Exp.apply(y),
        lambda x, y: polar(*polar(x, y))[0] * y.exp(),
    ),
    "broadcast": (lambda x, y: Product.apply(x, y[0], 2.0), lambda x, y: 2 * x * y[0]),
}


@given(st.sampled_from([*CASES]), st.integers(0, 9), st.sampled_from(["cpu", "strict"]), st.booleans())
def test_it_has_the_derivatives_of_what_it_computes(name, seed, device, checkpointed):
    """Against the same formula in tensor operators, to the third order."""
    applied, plain = CASES[name]
    if checkpointed:
        inner = applied
        applied = lambda x, y: autograd.checkpoint(inner, x, y)
    results = []
    for f in (applied, plain):
        x, y = leaf(2, 3, seed=seed, device=device), leaf(2, 3, seed=seed + 1, device=device)
        value = f(x, y)
        values = [value]
        total = value.sum()
        for _ in range(3):
            gs = tg.grad(total, (x, y), create_graph=True, materialize_grads=True)
            values += gs
            total = sum((g.sin() * (i + 1)).sum() for i, g in enumerate(gs))
            if not total.requires_grad:
                break
        plain_pass = f(x, y).sum()
        plain_pass.backward()
        values += [g if g is not None else tg.zeros(2, 3) for g in (x.grad, y.grad)]
        results.append([v.detach().cpu().numpy() for v in values])
    for a, b in zip(*results, strict=True):
        # the same formulas in another order: a few roundings of float64, three times differentiated
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["exp", "polar", "product"])
def test_it_agrees_with_finite_differences(name):
    assert_gradients(CASES[name][0], leaf(3), leaf(3, seed=1), order=2)
    assert gradcheck(CASES[name][0], (leaf(3), leaf(3, seed=1)))
    assert gradgradcheck(CASES[name][0], (leaf(3), leaf(3, seed=1)), eps=1e-6, atol=1e-4, fast_mode=True)


def test_which_gradients_are_wanted_is_known_and_none_is_zero():
    seen = []

    class Sum(Function):
        @staticmethod
        def forward(ctx, x, n, y, z):
            seen.append(ctx.needs_input_grad)
            return x + n * y + z

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g, None, None, g * 2

    x, y, z = leaf(2), leaf(2), leaf(2).detach()
    gx, gy = tg.grad(Sum.apply(x, 2, y, z).sum(), (x, y))
    assert gx.tolist() == [1, 1] and gy.tolist() == [0, 0]
    assert seen == [(True, False, True, False)] * 2
    with tg.no_grad():
        assert not Sum.apply(x, 2, y, z).requires_grad
    assert not Sum.apply(z, 2, z, z).requires_grad


def test_an_argument_that_is_returned_is_a_view_of_it():
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 10

    x = leaf(3)
    y = Same.apply(x)
    assert y is not x and np.shares_memory(x.array, y.array) and y.requires_grad and x.is_leaf
    (g,) = tg.grad(y.sum(), x)
    assert g.tolist() == [10] * 3


@pytest.mark.parametrize("which", ["input", "output"])
def test_a_saved_tensor_that_was_changed_is_noticed(which):
    x = leaf(3)
    h = x * 1
    y = Product.apply(h, h, 1.0) if which == "input" else Exp.apply(h)
    (h if which == "input" else y).mul_(2)
    with pytest.raises(RuntimeError, match=r"a tensor of shape \(3,\) (was|that was later) changed in place"):
        y.sum().backward()


def test_a_saved_constant_that_was_changed_is_noticed():
    x, w = leaf(3), leaf(3, seed=1).detach()
    y = Product.apply(x, w, 1.0)
    w.zero_()
    with pytest.raises(RuntimeError, match=r"saved_tensors: a tensor of shape \(3,\) was changed in place"):
        y.sum().backward()


def test_a_result_may_be_changed_in_place_when_it_was_not_saved():
    x = leaf(3)
    y = Product.apply(x, x, 1.0)
    y.mul_(3)
    (g,) = tg.grad(y.sum(), x)
    np.testing.assert_allclose(g.numpy(), 6 * x.detach().numpy(), rtol=1e-15)


def test_nothing_is_kept_alive():
    x = leaf(3)
    y = Exp.apply(x)
    kept = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert kept() is None, "a saved output must not hold itself"
    finally:
        gc.enable()


class Wrong(Function):
    returned: object = None

    @staticmethod
    def forward(ctx, x, y):
        return x * y

    @staticmethod
    def backward(ctx, g):
        return Wrong.returned


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda: tg.ones(3), RuntimeError, r"Wrong\.backward returned 1 gradients for the 2 arguments"),
        (lambda: (tg.ones(3),) * 3, RuntimeError, r"Wrong\.backward returned 3 gradients for the 2 arguments"),
        (lambda: (1.0, None), TypeError, r"Wrong\.backward returned a float"),
        (lambda: (np.ones(3), None), TypeError, r"Wrong\.backward returned a ndarray"),
        (lambda: (tg.ones(4), None), ValueError, r"argument has shape \(3,\), and a gradient of shape \(4,\)"),
    ],
)
def test_wrong_backwards_are_named_with_the_line(returned, error, message):
    Wrong.returned = returned()
    x = leaf(3)
    with pytest.raises(error, match=rf"in the derivative of 'Wrong' at test_autograd_function\.py:\d+.*{message}"):
        Wrong.apply(x, x).sum().backward()


def test_wrong_definitions_and_calls():
    class Nothing(Function):
        pass

    class NoBackward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    class NoTensor(NoBackward):
        @staticmethod
        def forward(ctx, x):
            return x.tolist()

    class Dirty(NoBackward):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x

    class Numbers(NoBackward):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3.0)
            return x

    x = leaf(2)
    for f, error, message in (
        (lambda: Exp(), TypeError, r"Exp: a Function has no instances; call Exp\.apply"),
        (lambda: Nothing.apply(x), NotImplementedError, r"define the static method forward"),
        (lambda: NoBackward.apply(x).sum().backward(), NotImplementedError, r"define the static method backward"),
        (
            lambda: NoTensor.apply(x),
            TypeError,
            r"NoTensor: forward must return a tensor or a tuple of them, got list|float",
        ),
        (lambda: Dirty.apply(x), NotImplementedError, r"mark_dirty.*return a new tensor"),
        (
            lambda: Numbers.apply(x),
            TypeError,
            r"save_for_backward: tensors are expected, got float; keep other values as ctx",
        ),
    ):
        with pytest.raises(error, match=message):
            f()


def test_a_compiled_step_with_a_function_is_right():
    w = leaf(3)

    @tg.compile
    def step(x):
        loss = Exp.apply(w * x).sum()
        w.grad = None
        loss.backward()
        return loss

    for i in range(5):
        x = leaf(3, seed=i).detach()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is run as it is
            step(x)
        np.testing.assert_allclose(w.grad.numpy(), np.exp((w * x).detach().numpy()) * x.numpy(), rtol=1e-12)


# gradcheck in PyTorch's form


def test_gradcheck_says_what_is_wrong():
    class Half(Exp):
        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0] * 0.5

    assert not gradcheck(Half.apply, leaf(3), raise_exception=False)
    with pytest.raises(GradientError, match="Half"):
        gradcheck(Half.apply, (leaf(3),))

    class Once(Exp):
        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0].detach()

    assert gradcheck(Once.apply, leaf(3)) and not gradgradcheck(Once.apply, leaf(3), raise_exception=False)
    with pytest.raises(
        ValueError, match=r"gradcheck: at least one of the inputs must be a tensor that requires a gradient"
    ):
        gradcheck(Exp.apply, leaf(3).detach())
    with pytest.raises(TypeError, match=r"gradcheck: there is no argument 'tolerance'"):
        gradcheck(Exp.apply, leaf(3), tolerance=1)


def test_set_detect_anomaly():
    x = tg.tensor([0.0], requires_grad=True)
    with np.errstate(all="ignore"):
        with autograd.set_detect_anomaly(True), pytest.raises(autograd.AnomalyError):
            x.log()
        x.log()
        autograd.set_detect_anomaly(True)
        try:
            with pytest.raises(autograd.AnomalyError):
                x.log()
            with autograd.set_detect_anomaly(False):
                x.log()
            with pytest.raises(autograd.AnomalyError):
                x.log()
        finally:
            autograd.set_detect_anomaly(False)
        x.log()


# What grad and backward take


def test_grad_and_backward_take_pytorchs_arguments():
    x, y = leaf(3), leaf(3, seed=1)
    gx, gy = tg.grad((x * 2).sum(), (x, y), materialize_grads=True)
    assert gx.tolist() == [2] * 3 and gy.tolist() == [0] * 3
    for options, message in (
        ({"only_inputs": False}, r"only_inputs=False is not offered; use backward"),
        ({"is_grads_batched": True}, r"is_grads_batched=True is not offered; call grad once per row"),
    ):
        with pytest.raises(NotImplementedError, match=message):
            tg.grad(x.sum(), x, **options)
    h = x * y
    h.sum().backward(inputs=[x, h])
    assert y.grad is None and h.grad.tolist() == [1] * 3 and x.grad.tolist() == y.tolist()
    autograd.backward((x * y).sum(), inputs=y)
    assert y.grad.tolist() == x.tolist()
    with pytest.raises(RuntimeError, match=r"inputs must not be empty"):
        (x * y).sum().backward(inputs=[])
    with pytest.raises(RuntimeError, match=r"inputs must be tensors that require a gradient"):
        (x * y).sum().backward(inputs=[x.detach()])


# Backward hooks of modules


class Two(nn.Module):
    """(x, n, y) -> (x y n, x + y)"""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(np.array(2.0))

    def forward(self, x, n, y):
        return x * y * n * self.scale, x + y


def test_backward_hooks_see_all_gradients_and_change_nothing():
    net, x, y = Two(), leaf(2), leaf(2, seed=1)
    seen = []

    def run():
        net.scale.grad = None
        a, b = net(x, 3, y)
        return tg.grad((a * a + b).sum(), (x, y, net.scale))

    plain = run()
    before = net.register_full_backward_pre_hook(lambda module, grad_output: seen.append(("before", grad_output)))
    after = net.register_full_backward_hook(
        lambda module, grad_input, grad_output: seen.append((grad_input, grad_output))
    )
    hooked = run()
    for p, h in zip(plain, hooked, strict=True):
        np.testing.assert_allclose(p.numpy(), h.numpy(), rtol=1e-14)
    assert [s[0] for s in seen[:1]] == ["before"] and len(seen) == 2
    grad_input, grad_output = seen[1]
    a = (x * y * 3 * net.scale).detach().numpy()
    np.testing.assert_allclose(grad_output[0].numpy(), 2 * a, rtol=1e-14)
    assert grad_output[1].tolist() == [1, 1] and grad_input[1] is None and len(grad_input) == 3
    np.testing.assert_allclose(grad_input[0].numpy(), plain[0].numpy(), rtol=1e-14)
    before.remove()
    after.remove()
    run()
    assert len(seen) == 2


def test_backward_hooks_replace_gradients():
    net, x, y = Two(), leaf(2), leaf(2, seed=1)
    with net.register_full_backward_hook(lambda module, gi, go: (gi[0] * 10, None, gi[2] * 0)):
        gx, gy, gs = tg.grad(net(x, 1, y)[0].sum(), (x, y, net.scale))
    np.testing.assert_allclose(gx.numpy(), 20 * y.detach().numpy(), rtol=1e-14)
    assert gy.tolist() == [0, 0]
    np.testing.assert_allclose(gs.item(), (x * y).sum().item(), rtol=1e-14)
    layer = nn.Linear(2, 2).double()
    with layer.register_full_backward_pre_hook(lambda module, go: go[0] * 3):
        (g,) = tg.grad(layer(x).sum(), layer.bias)
    assert g.tolist() == [3, 3]
    with (
        layer.register_full_backward_hook(lambda module, gi, go: (gi[0], gi[0])),
        pytest.raises(RuntimeError, match=r"Linear: a backward hook returned 2 gradients for 1 inputs"),
    ):
        layer(x).sum().backward()


def test_backward_hooks_where_nothing_flows_to_the_inputs():
    seen = []
    layer = nn.Linear(2, 3).double()
    layer.register_full_backward_hook(lambda module, gi, go: seen.append((gi, go[0].tolist())))
    layer(leaf(1, 2).detach()).sum().backward()
    assert seen == [((None,), [[1.0] * 3])] and layer.weight.grad is not None
    with tg.no_grad():
        layer(leaf(1, 2))
    assert len(seen) == 1


def test_backward_hooks_are_differentiated():
    """A hook is called in every backward pass; this one changes the first."""
    layer = nn.Linear(3, 3).double()

    def f(x):
        passes = []

        def square(module, grad_input, grad_output):
            passes.append(1)
            return grad_input[0] * grad_input[0] if len(passes) == 1 else None

        with layer.register_full_backward_hook(square):
            y = layer(x).tanh().sum()
        (g,) = tg.grad(y, x, create_graph=True)
        return g

    assert_gradients(f, leaf(3), order=1)


def test_hooks_are_called_in_their_order():
    order = []
    layer = nn.Linear(2, 2).double()
    layer.register_full_backward_hook(lambda *_: order.append("first"))
    layer.register_full_backward_hook(lambda *_: order.append("last"))
    layer.register_full_backward_hook(lambda *_: order.append("prepended"), prepend=True)
    layer(leaf(1, 2)).sum().backward()
    assert order == ["prepended", "first", "last"]


def test_a_module_that_returns_no_tensors_cannot_have_them():
    class Words(nn.Module):
        def forward(self, x):
            return {"x": x}

    net = Words()
    net.register_full_backward_hook(lambda *_: None)
    with pytest.raises(TypeError, match=r"Words: with a backward hook a module must return a tensor or a tuple"):
        net(leaf(2))
