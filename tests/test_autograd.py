"""grad and its arguments; Jacobians, Hessians and their products, against differences and against each other."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen.autograd import hessian, hvp, jacobian, jvp, vjp
from tinygen.testing import assert_gradients


def leaf(*shape: int, seed: int = 0, device: str = "cpu") -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), device=device, requires_grad=True)


def close(x: tg.Tensor, y, rtol: float = 1e-12) -> bool:
    """Equal but for the rounding of a few operations in float64."""
    y = y.detach().cpu().numpy() if isinstance(y, tg.Tensor) else y
    np.testing.assert_allclose(x.detach().cpu().numpy(), y, rtol=rtol, atol=rtol)
    return True


# grad


def test_it_returns_a_tuple_and_leaves_grad_alone():
    x = leaf(3)
    result = tg.grad((x * 2).sum(), x)
    assert isinstance(result, tuple) and len(result) == 1 and result[0].tolist() == [2, 2, 2] and x.grad is None
    assert not result[0].requires_grad
    assert tg.grad is tg.autograd.grad


def test_several_outputs_and_inputs():
    x, y = leaf(3), leaf(3, seed=1)
    gx, gy = tg.grad([(x * y).sum(), (x * 3).sum()], [x, y])
    assert close(gx, y.detach().numpy() + 3) and close(gy, x)
    gx, gy = tg.grad((x * y, x * 3), (x, y), (tg.ones(3, dtype=tg.float64), tg.full((3,), 2.0, dtype=tg.float64)))
    assert close(gx, y.detach().numpy() + 6)


def test_grad_outputs():
    x = leaf(3, 2)
    u = leaf(3, 2, seed=1).detach()
    assert close(tg.grad(x.exp(), x, u)[0], np.exp(x.detach().numpy()) * u.numpy())
    assert close(tg.grad(x.exp(), x, [u])[0], np.exp(x.detach().numpy()) * u.numpy())
    assert close(tg.grad([x.sum(), x.exp()], x, [None, u])[0], 1 + np.exp(x.detach().numpy()) * u.numpy())
    assert close(tg.grad(x.exp(), x, u.array)[0], np.exp(x.detach().numpy()) * u.numpy())
    single = tg.ones(1, 1, dtype=tg.float64, requires_grad=True)
    assert tg.grad(single * 2, single)[0].tolist() == [[2]]  # one element: the seed may be left out


def test_a_differentiable_grad_output():
    """With create_graph the result depends on the seed as well: that is how J v is computed from vᵀJ."""
    x, u = leaf(3), leaf(3, seed=1)
    (g,) = tg.grad(x.exp(), x, u, create_graph=True)
    (h,) = tg.grad(g.sum(), u)
    assert close(h, np.exp(x.detach().numpy()))


def test_intermediate_inputs():
    x = leaf(3)
    h = x * 2
    y = (h * h).sum()
    gh, gx = tg.grad(y, [h, x])
    assert close(gh, 2 * h.detach().numpy()) and close(gx, 2 * gh.numpy())
    h = x * 2
    (g,) = tg.grad((h * h).sum(), h)
    assert close(g, 2 * h.detach().numpy())


def test_an_output_as_its_own_input():
    x = leaf(3)
    y = x.sum()
    assert tg.grad(y, y)[0].item() == 1
    assert tg.grad(x, x, tg.ones(3, dtype=tg.float64))[0].tolist() == [1, 1, 1]
    a, b = tg.grad(y * 2, [x, x])
    assert a.tolist() == b.tolist() == [2, 2, 2]


def test_unused_inputs():
    x, y = leaf(3), leaf(3, seed=1)
    with pytest.raises(RuntimeError, match=r"grad: no output depends on input 1 \(shape \(3,\)\).*allow_unused"):
        tg.grad(x.sum(), (x, y))
    gx, gy = tg.grad(x.sum(), (x, y), allow_unused=True)
    assert gx is not None and gy is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: tg.grad(x * 2, x), RuntimeError, r"grad: .*left out for a single number.*\(3,\).*sum\(\)"),
        (
            lambda x: tg.grad(x.detach().sum(), x),
            RuntimeError,
            r"grad: an output of shape \(\) depends on no tensor.*no_grad",
        ),
        (
            lambda x: tg.grad((x * 2).sum(), x.detach()),
            RuntimeError,
            r"grad: an input of shape \(3,\) does not require",
        ),
        (lambda x: tg.grad((x * 2).sum(), 3.0), TypeError, r"grad: tensors are expected as inputs, got float"),
        (lambda x: tg.grad(3.0, x), TypeError, r"grad: a tensor is expected as output, got float"),
        (lambda x: tg.grad(x * 2, x, tg.ones(2)), ValueError, r"grad: .*shape \(2,\), the output \(3,\)"),
        (lambda x: tg.grad(x * 2, x, 1.0), TypeError, r"grad: a tensor is expected as gradient, got float"),
        (lambda x: tg.grad([x * 2, x], x, [tg.ones(3)]), ValueError, r"grad: 1 gradients were given for 2 outputs"),
        (lambda x: (x * 2).backward(), RuntimeError, r"backward: .*single number.*\(3,\)"),
        (lambda x: x.detach().sum().backward(), RuntimeError, r"backward: .*requires_grad=True"),
        (lambda x: x.argmax().backward(), RuntimeError, r"backward: "),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(leaf(3))


def test_backward_of_several_tensors():
    x = leaf(3)
    tg.autograd.backward([x.sum(), x * 2], [None, tg.ones(3, dtype=tg.float64)])
    assert x.grad.tolist() == [3, 3, 3]
    (x * 2).backward(tg.ones(3))
    assert x.grad.tolist() == [5, 5, 5] and x.grad.dtype == tg.float64


# Jacobians and their products: of a function of two arguments, with a parameter outside

W = tg.tensor(np.random.default_rng(9).normal(size=(3, 2)))


def f(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    """(3,), (2, 2) -> (2, 2)"""
    w = W.to(x.device)
    return ((x @ w).exp() * y).tanh() + y**2


def scalar(x: tg.Tensor) -> tg.Tensor:
    return (x.exp() * x.flip(0)).sum() + (x**3).mean()


def differences(function, *xs: tg.Tensor) -> list[np.ndarray]:
    """The Jacobians by fourth-order central differences."""
    h = 1e-3  # the truncation error h⁴ f⁗'' and the rounding error eps/h are both near 1e-12
    result = []
    for i, x in enumerate(xs):
        columns = []
        for k in range(x.numel()):
            step = np.zeros(x.numel())
            step[k] = h
            values = []
            for factor in (2, 1, -1, -2):
                moved = [z.detach() for z in xs]
                moved[i] = moved[i] + tg.tensor((factor * step).reshape(x.shape), device=x.device)
                values.append(function(*moved).detach().cpu().numpy())
            a, b, c, d = values
            columns.append((8 * (b - c) - (a - d)) / (12 * h))
        result.append(np.stack(columns, -1).reshape(*columns[0].shape, *x.shape))
    return result


FD = 1e-8  # what the differences above can be trusted to


def test_jacobian(device):
    x, y = leaf(3, device=device), leaf(2, 2, seed=1, device=device)
    jx, jy = jacobian(f, (x, y))
    dx, dy = differences(f, x, y)
    assert jx.shape == (2, 2, 3) and jy.shape == (2, 2, 2, 2) and jx.device == x.device
    assert close(jx, dx, FD) and close(jy, dy, FD)
    assert close(jacobian(lambda x: f(x, y), x), dx, FD)
    assert x.grad is None and not jx.requires_grad


def test_a_jacobian_row_by_row_and_column_by_column(device):
    """u -> uᵀJ gives the rows, v -> Jv the columns."""
    x, y = leaf(3, device=device), leaf(2, 2, seed=1, device=device)
    jx, jy = jacobian(f, (x, y))
    u, vx, vy = (leaf(*s, seed=i, device=device).detach() for i, s in enumerate([(2, 2), (3,), (2, 2)], 5))
    value, (gx, gy) = vjp(f, (x, y), u)
    assert close(value, f(x, y)) and not value.requires_grad
    assert close(gx, np.einsum("ab,abi->i", u.cpu().numpy(), jx.cpu().numpy()))
    assert close(gy, np.einsum("ab,abij->ij", u.cpu().numpy(), jy.cpu().numpy()))
    value, out = jvp(f, (x, y), (vx, vy))
    expected = jx.cpu().numpy() @ vx.cpu().numpy() + np.einsum("abij,ij->ab", jy.cpu().numpy(), vy.cpu().numpy())
    assert close(value, f(x, y)) and close(out, expected) and not out.requires_grad


def test_hessian(device):
    x = leaf(4, device=device)
    h = hessian(scalar, x)
    assert close(h, h.mT) and h.shape == (4, 4)
    (expected,) = differences(lambda x: jacobian(scalar, x), x)
    assert close(h, expected, FD)
    v = leaf(4, seed=3, device=device).detach()
    value, hv = hvp(scalar, x, v)
    assert close(value, scalar(x)) and close(hv, h.cpu().numpy() @ v.cpu().numpy())
    matrix = leaf(2, 2, device=device)
    assert hessian(lambda x: (x @ x).sum(), matrix).shape == (2, 2, 2, 2)


def test_jacobians_are_differentiable():
    """log|det J| of a small map, differentiated: what a flow needs if its determinant has no formula."""
    x = leaf(2)
    assert_gradients(lambda x: jacobian(lambda x: x.exp() * x.flip(0), x, create_graph=True), x, order=1)
    assert_gradients(
        lambda x, v: jvp(lambda x: x.exp() * x.flip(0), x, v, create_graph=True)[1], x, leaf(2, seed=1), order=1
    )
    assert_gradients(
        lambda x, u: vjp(lambda x: x.exp() * x.flip(0), x, u, create_graph=True)[1], x, leaf(2, seed=1), order=1
    )
    assert_gradients(lambda x: hessian(scalar, x, create_graph=True), x, order=1)


def test_linear_constant_and_unused():
    x, y = leaf(3), leaf(2, seed=1)
    a = leaf(4, 3, seed=2).detach()
    assert close(jacobian(lambda x: a @ x, x), a)
    assert close(jvp(lambda x: a @ x, x, tg.ones(3, dtype=tg.float64))[1], a.numpy().sum(1))
    assert close(hessian(lambda x: (a @ x).sum(), x), np.zeros((3, 3)))
    assert close(hvp(lambda x: (a @ x).sum(), x, x.detach())[1], np.zeros(3))
    jx, jy = jacobian(lambda x, y: x * 2, (x, y))
    assert close(jx, 2 * np.eye(3)) and jy.shape == (3, 2) and close(jy, np.zeros((3, 2)))
    _, (_, gy) = vjp(lambda x, y: x * 2, (x, y), tg.ones(3, dtype=tg.float64))
    assert close(gy, np.zeros(2))
    constant = tg.ones(4, dtype=tg.float64)
    assert close(jacobian(lambda x: constant, x), np.zeros((4, 3)))
    assert close(jvp(lambda x, y: x * 2, (x, y), (x.detach(), y.detach()))[1], 2 * x.detach().numpy())
    assert close(hessian(lambda x: constant.sum(), x), np.zeros((3, 3)))


def test_functions_of_a_constant():
    x = leaf(3)
    constant = tg.ones(4, dtype=tg.float64)
    _, out = jvp(lambda x: constant, x, x.detach())
    assert close(out, np.zeros(4))
    _, g = vjp(lambda x: constant, x, constant)
    assert close(g, np.zeros(3))
    _, out = hvp(lambda x: constant.sum(), x, x.detach())
    assert close(out, np.zeros(3))


def test_empty_jacobians():
    assert jacobian(lambda x: x[:0] * 2, leaf(3)).shape == (0, 3)
    assert jacobian(lambda x: x.sum() * tg.ones(2, dtype=tg.float64), leaf(0)).shape == (2, 0)


def test_the_users_tensors_stay_as_they_are():
    x = leaf(3)
    z = x * 2
    for run in (
        lambda: jacobian(lambda z: z**2, z),
        lambda: hvp(scalar, z, z.detach()),
        lambda: vjp(scalar, z),
        lambda: jvp(scalar, z, z.detach()),
        lambda: hessian(scalar, z),
    ):
        run()
        with tg.no_grad():
            run()
    z.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_wrong_jacobian_calls():
    x = leaf(3)
    with pytest.raises(ValueError, match=r"hessian: func must return a single number, got shape \(3,\)"):
        hessian(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match=r"single number"):
        vjp(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match=r"single number"):
        hvp(lambda x: x * 2, x, x)
    with pytest.raises(ValueError, match=r"shape"):
        jvp(lambda x: x * 2, x, tg.ones(2))
    with pytest.raises(ValueError, match=r"jvp: v has 2 tensors for 1 inputs"):
        jvp(lambda x: x * 2, x, (x, x))
    for function in (jacobian, hessian, vjp):
        with pytest.raises(
            TypeError, match=rf"{function.__name__}: func must return a tensor or a tuple of tensors, got float"
        ):
            function(lambda x: 3.0, x)
