"""Every optimizer against its formula, written tensor by tensor in float64 NumPy, and against PyTorch where it is installed."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import optim
from tinygen.backend import to_numpy

SHAPES = [(3, 4), (4,), (), (2, 0), (2, 3, 2), (1,)]
STEPS = 6


def ref_sgd(theta, g, s, t, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False):
    g = g + weight_decay * theta
    if momentum == 0:
        return theta - lr * g
    s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
    return theta - lr * (g + momentum * s["b"] if nesterov else s["b"])


def ref_adam(theta, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False):
    g = g + weight_decay * theta
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    s["top"] = np.maximum(s.get("top", 0), s["v"]) if amsgrad else s["v"]
    m, v = s["m"] / (1 - betas[0] ** t), s["top"] / (1 - betas[1] ** t)
    return theta - lr * m / (np.sqrt(v) + eps)


def ref_adamw(theta, g, s, t, lr, weight_decay=1e-2, **rest):
    return ref_adam(theta, g, s, t, lr, **rest) - lr * weight_decay * theta


def ref_rmsprop(theta, g, s, t, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False):
    g = g + weight_decay * theta
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
    s["a"] = alpha * s.get("a", 0) + (1 - alpha) * g
    g = g / (np.sqrt(s["v"] - s["a"] ** 2 * centered) + eps)
    s["b"] = momentum * s.get("b", 0) + g
    return theta - lr * s["b"]


def ref_adagrad(theta, g, s, t, lr, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10):
    g = g + weight_decay * theta
    s["v"] = s.get("v", initial_accumulator_value) + g**2
    return theta - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["v"]) + eps)


def decayed(theta, g, lr, weight_decay, decoupled):
    """θ and the gradient after either kind of weight decay."""
    return (theta * (1 - lr * weight_decay), g) if decoupled else (theta, g + weight_decay * theta)


def ref_nadam(
    theta,
    g,
    s,
    t,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0,
    momentum_decay=4e-3,
    decoupled_weight_decay=False,
):
    theta, g = decayed(theta, g, lr, weight_decay, decoupled_weight_decay)
    mu, after = (betas[0] * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
    s["product"] = s.get("product", 1) * mu
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    m = after * s["m"] / (1 - s["product"] * after) + (1 - mu) * g / (1 - s["product"])
    return theta - lr * m / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)


def ref_radam(theta, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False):
    theta, g = decayed(theta, g, lr, weight_decay, decoupled_weight_decay)
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    m = s["m"] / (1 - betas[0] ** t)
    top = 2 / (1 - betas[1]) - 1
    rho = top - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho <= 5:
        return theta - lr * m
    r = np.sqrt((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho))
    return theta - lr * m * r * np.sqrt(1 - betas[1] ** t) / (np.sqrt(s["v"]) + eps)


def ref_adamax(theta, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
    g = g + weight_decay * theta
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["u"] = np.maximum(betas[1] * s.get("u", 0), np.abs(g) + eps)
    return theta - lr / (1 - betas[0] ** t) * s["m"] / s["u"]


def ref_adadelta(theta, g, s, t, lr, rho=0.9, eps=1e-6, weight_decay=0):
    g = g + weight_decay * theta
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
    delta = np.sqrt(s.get("u", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["u"] = rho * s.get("u", 0) + (1 - rho) * delta**2
    return theta - lr * delta


def ref_rprop(theta, g, s, t, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    sign = np.sign(g * s.get("before", 0.0))
    size = s.get("size", np.full_like(g, lr))
    s["size"] = np.clip(np.select([sign > 0, sign < 0], [etas[1] * size, etas[0] * size], size), *step_sizes)
    s["before"] = np.where(sign < 0, 0, g)
    return theta - np.sign(s["before"]) * s["size"]


def ref_asgd(theta, g, s, t, lr, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0):
    g = g + weight_decay * theta
    eta = lr / (1 + lambd * lr * (t - 1)) ** alpha
    theta = theta * (1 - lambd * eta) - eta * g
    s["ax"] = s.get("ax", 0) + (theta - s.get("ax", 0)) / max(1, t - 1 - t0)
    return theta


CASES = [
    ("SGD", ref_sgd, {"lr": 0.1}),
    ("SGD", ref_sgd, {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", ref_sgd, {"lr": 0.1, "momentum": 0.9}),
    ("SGD", ref_sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.2}),
    ("SGD", ref_sgd, {"lr": 0.1, "momentum": 0.7, "nesterov": True, "weight_decay": 0.2}),
    ("Adam", ref_adam, {"lr": 0.1}),
    ("Adam", ref_adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.3}),
    ("Adam", ref_adam, {"lr": 0.1, "betas": (0.5, 0.6), "amsgrad": True, "weight_decay": 0.3}),
    ("AdamW", ref_adamw, {"lr": 0.1}),
    ("AdamW", ref_adamw, {"lr": 0.1, "betas": (0.5, 0.6), "amsgrad": True}),
    ("AdamW", ref_adamw, {"lr": 0.1, "betas": (0.0, 0.9), "eps": 0.1, "weight_decay": 0.3}),
    ("RMSprop", ref_rmsprop, {"lr": 0.1}),
    ("RMSprop", ref_rmsprop, {"lr": 0.1, "alpha": 0.6, "eps": 0.1, "weight_decay": 0.3, "momentum": 0.5}),
    ("RMSprop", ref_rmsprop, {"lr": 0.1, "alpha": 0.6, "eps": 0.1, "centered": True}),
    ("RMSprop", ref_rmsprop, {"lr": 0.1, "centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adagrad", ref_adagrad, {"lr": 0.1}),
    (
        "Adagrad",
        ref_adagrad,
        {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.3, "initial_accumulator_value": 0.5, "eps": 0.01},
    ),
    ("NAdam", ref_nadam, {"lr": 0.1}),
    ("NAdam", ref_nadam, {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.3, "momentum_decay": 2.0}),
    ("NAdam", ref_nadam, {"lr": 0.1, "eps": 0.1, "weight_decay": 0.3, "decoupled_weight_decay": True}),
    ("RAdam", ref_radam, {"lr": 0.1}),  # 5 steps along the average, and one with the rectified rate
    ("RAdam", ref_radam, {"lr": 0.1, "betas": (0.5, 0.6), "weight_decay": 0.3}),  # never enough to divide by
    ("RAdam", ref_radam, {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.3, "decoupled_weight_decay": True}),
    ("Adamax", ref_adamax, {"lr": 0.1}),
    ("Adamax", ref_adamax, {"lr": 0.1, "betas": (0.5, 0.6), "eps": 0.1, "weight_decay": 0.3}),
    ("Adadelta", ref_adadelta, {"lr": 1.0}),
    ("Adadelta", ref_adadelta, {"lr": 0.5, "rho": 0.5, "eps": 0.1, "weight_decay": 0.3}),
    ("Rprop", ref_rprop, {"lr": 0.1}),
    ("Rprop", ref_rprop, {"lr": 0.1, "etas": (0.3, 3.0), "step_sizes": (0.09, 0.2)}),
    ("ASGD", ref_asgd, {"lr": 0.1}),
    ("ASGD", ref_asgd, {"lr": 0.1, "lambd": 0.5, "alpha": 0.6, "t0": 2, "weight_decay": 0.3}),
]
IDS = [f"{name}-{'-'.join(key for key in args if key != 'lr')}" for name, _, args in CASES]


def of_pytorch(name):
    """PyTorch keeps these optimizers' numbers (products of momenta, rates) as float32 tensors."""
    return {"rtol": 1e-6, "atol": 1e-6} if name in ("NAdam", "ASGD") else {"rtol": 1e-11, "atol": 1e-12}


def leaves(values, device="cpu", dtype=np.float64):
    return [tg.tensor(v, dtype=dtype, device=device, requires_grad=True) for v in values]


def draws(rng, shapes=SHAPES):
    return [rng.standard_normal(shape) for shape in shapes]


def arrays(params):
    """Copies of the values: an optimizer writes where the parameters are."""
    return [to_numpy(p.array).copy() for p in params]


def give(params, gradients):
    for p, g in zip(params, gradients, strict=True):
        p.grad = None if g is None else tg.tensor(g, dtype=p.dtype, device=p.device)


def assert_same(params, expected, **tolerance):
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(to_numpy(p.array), e, **tolerance)


@pytest.mark.parametrize("name,reference,args", CASES, ids=IDS)
@pytest.mark.parametrize("missing", [False, True], ids=["all", "some"])
def test_follows_its_formula(name, reference, args, missing, device):
    """Also when parameters lack a gradient in some steps: then neither they nor their state (t included) advance."""
    rng = np.random.default_rng(1)
    values = draws(rng)
    params, states, counts = leaves(values, device), [{} for _ in SHAPES], [0] * len(SHAPES)
    optimizer = getattr(optim, name)(params, **args)
    for _ in range(STEPS):
        gradients = [None if missing and rng.random() < 0.4 else g for g in draws(rng)]
        give(params, gradients)
        optimizer.step()
        for i, g in enumerate(gradients):
            if g is not None:
                counts[i] += 1
                values[i] = reference(values[i], g, states[i], counts[i], **args)
    assert not missing or len(set(counts)) > 1
    # The same formula in float64: what differs is the order of a dozen roundings per step (2e-16 each).  The variance of
    # centered RMSprop is a difference, which can lose a few digits more.
    assert_same(params, values, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name,reference,args", CASES, ids=IDS)
def test_maximize_climbs(name, reference, args):
    rng = np.random.default_rng(2)
    values = draws(rng)
    up, down = leaves(values), leaves(values)
    climber, other = getattr(optim, name)(up, maximize=True, **args), getattr(optim, name)(down, **args)
    for _ in range(3):
        gradients = draws(rng)
        give(up, gradients)
        give(down, [-g for g in gradients])
        climber.step()
        other.step()
    for a, b in zip(arrays(up), arrays(down), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name,reference,args", CASES, ids=IDS)
def test_agrees_with_pytorch(name, reference, args):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    values = draws(rng)
    params, theirs = leaves(values), [torch.tensor(v, requires_grad=True) for v in values]
    optimizer, oracle = getattr(optim, name)(params, **args), getattr(torch.optim, name)(theirs, **args)
    for _ in range(STEPS):
        gradients = [None if rng.random() < 0.3 else g for g in draws(rng)]
        give(params, gradients)
        for p, g in zip(theirs, gradients, strict=True):
            p.grad = None if g is None else torch.tensor(g)
        optimizer.step()
        oracle.step()
    assert_same(params, [p.detach().numpy() for p in theirs], **of_pytorch(name))


@pytest.mark.parametrize("name,reference,args", CASES, ids=IDS)
def test_state_has_pytorchs_layout_and_can_be_exchanged(name, reference, args):
    """The same keys; and tinygen goes on from a state that PyTorch saved."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    values = draws(rng)
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    oracle = getattr(torch.optim, name)(theirs, **args)

    def give_theirs(gradients):
        for p, g in zip(theirs, gradients, strict=True):
            p.grad = torch.tensor(g)

    for _ in range(3):
        give_theirs(draws(rng))
        oracle.step()
    params = leaves([p.detach().numpy() for p in theirs])
    optimizer = getattr(optim, name)(params, **{**args, "lr": 77.0})
    optimizer.load_state_dict(oracle.state_dict())
    mine, saved = optimizer.state_dict(), oracle.state_dict()
    assert optimizer.param_groups[0]["lr"] == args["lr"]
    assert mine["param_groups"][0]["params"] == saved["param_groups"][0]["params"]
    assert {i: set(s) for i, s in mine["state"].items()} == {
        i: {k for k, v in s.items() if v is not None} for i, s in saved["state"].items() if s
    }
    for _ in range(3):
        gradients = draws(rng)
        give(params, gradients)
        give_theirs(gradients)
        optimizer.step()
        oracle.step()
    assert_same(params, [p.detach().numpy() for p in theirs], **of_pytorch(name))


@pytest.mark.parametrize("name,reference,args", CASES, ids=IDS)
def test_keeps_the_dtype(name, reference, args):
    (p,) = leaves([[1.0, -2.0]], dtype=np.float32)
    optimizer = getattr(optim, name)([p], **args)
    # as NumPy functions return it; it must not make float64 of the step
    optimizer.param_groups[0]["lr"] = np.float64(args["lr"])
    give([p], [[0.5, 1.0]])
    optimizer.step()
    assert p.dtype == np.float32
    assert all(s.dtype == np.float32 for s in optimizer.state.get(p, {}).values() if isinstance(s, tg.Tensor))
    expected = reference(np.array([1.0, -2.0]), np.array([0.5, 1.0]), {}, 1, **args)
    # about a dozen roundings of numbers up to 2
    np.testing.assert_allclose(p.detach().numpy(), expected, atol=24 * np.finfo(np.float32).eps)


def test_large_parameters_are_cut_without_a_seam(monkeypatch):
    """Pieces of 7 elements, parameters that are smaller and larger than that: the same bits as in one piece."""
    rng = np.random.default_rng(5)
    shapes = [(3,), (2, 2), (5, 9), (1,), (7,), (14,), (0,), (20,), (2,)]
    values, gradients = draws(rng, shapes), draws(rng, shapes)
    results = []
    for limit in (7, 10**6):
        monkeypatch.setattr("tinygen.optim.flat.PIECE", limit)
        params = leaves(values)
        optimizer = optim.Adam(params, lr=0.1)
        for _ in range(3):
            give(params, gradients)
            params[2].grad = tg.tensor(gradients[2].T.copy()).T  # a gradient that is not contiguous
            optimizer.step()
        results.append(arrays(params))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


# What the formulas promise


def test_sgd_converges_on_a_quadratic_at_the_predicted_rate():
    """On f = Σ a x²/2 the distance along an axis of curvature a shrinks by 1 - lr·a per step."""
    curvature = np.array([0.5, 1.0, 3.0])
    (x,) = leaves([[1.0, -2.0, 4.0]])
    a, start = tg.tensor(curvature), x.detach().numpy().copy()
    optimizer = optim.SGD([x], lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        (a * x * x / 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(x.detach().numpy(), start * (1 - 0.3 * curvature) ** 20, rtol=1e-12, atol=1e-15)


def test_momentum_converges_on_a_quadratic_at_the_predicted_rate():
    """With μ = (1-√(lr·a))² the two modes of x'' coincide: the distance falls like n·√μⁿ (Polyak 1964)."""
    lr, a = 0.01, 4.0
    root = 1 - math.sqrt(lr * a)
    (x,) = leaves([1.0])
    optimizer = optim.SGD([x], lr=lr, momentum=root**2)
    for n in range(1, 100):
        optimizer.zero_grad()
        (a * x * x / 2).backward()
        optimizer.step()
        # xₙ₊₁ = (1 + μ - lr·a) xₙ - μ xₙ₋₁ with x₀ = 1, x₁ = 1 - lr·a has the solution below
        expected = root**n * (1 + n * ((1 - lr * a) / root - 1))
        assert x.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_first_step_of_adam_has_the_size_of_the_learning_rate(scale):
    x, g = np.zeros(5), scale * np.array([1.0, -2.0, 3.0, 0.1, -7.0])
    (p,) = leaves([x])
    optimizer = optim.Adam([p], lr=0.01, eps=0)
    give([p], [g])
    optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), -0.01 * np.sign(g), rtol=1e-12)


def test_adam_does_not_see_the_scale_of_the_loss():
    rng = np.random.default_rng(6)
    (p,), (q,) = leaves([np.ones(4)]), leaves([np.ones(4)])
    one, other = optim.Adam([p], lr=0.1, eps=0), optim.Adam([q], lr=0.1, eps=0)
    for _ in range(5):
        g = rng.standard_normal(4)
        give([p, q], [g, 1024 * g])  # a power of two: no rounding differs
        one.step()
        other.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-14)


def test_adamw_decays_at_a_rate_that_no_gradient_changes():
    """Without a gradient's push θ ← (1 - lr·λ) θ; in Adam the decay would be normalised away to steps of size lr."""
    (p,) = leaves([[1.0, 100.0]])
    optimizer = optim.AdamW([p], lr=0.1, weight_decay=0.5)
    for _ in range(10):
        give([p], [np.zeros(2)])
        optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), np.array([1.0, 100.0]) * 0.95**10, rtol=1e-13)


def test_adagrads_steps_shrink_like_one_over_root_n():
    """A constant gradient: step n has the size lr/√n."""
    (p,) = leaves([[0.0]])
    optimizer = optim.Adagrad([p], lr=0.1, eps=0)
    for _ in range(50):
        give([p], [[3.0]])
        optimizer.step()
    assert p.item() == pytest.approx(-0.1 * sum(1 / math.sqrt(n) for n in range(1, 51)), rel=1e-12)


def test_centered_rmsprop_survives_a_constant_gradient():
    """The variance of a constant is 0, and by rounding may come out negative: no nan."""
    (p,) = leaves([np.zeros(100)], dtype=np.float32)
    optimizer = optim.RMSprop([p], lr=1e-9, centered=True, alpha=0.5)
    for _ in range(100):
        give([p], [np.linspace(0.1, 1, 100)])
        optimizer.step()
    assert np.isfinite(p.detach().numpy()).all()
