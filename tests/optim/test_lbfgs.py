"""L-BFGS and its line search: their theorems, PyTorch's trajectories, and a state that can be saved."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.optim.test_rules import arrays, leaves
from tinygen import checkpoint, nn, optim
from tinygen.optim.lbfgs import direction
from tinygen.optim.line_search import Point, cubic_minimum, strong_wolfe

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, n=st.integers(1, 6), pairs=st.integers(0, 8))
def test_the_direction_is_that_of_the_written_out_matrix(seed, n, pairs):
    """BFGS: H ← (1 - ρ s yᵀ) H (1 - ρ y sᵀ) + ρ s sᵀ, pair by pair.  Then H y = s for the last one: the secant equation."""
    rng = np.random.default_rng(seed)
    curvature = rng.standard_normal((n, n))
    curvature = curvature @ curvature.T + np.eye(n)
    steps = [rng.standard_normal(n) for _ in range(pairs)]
    changes = [curvature @ s for s in steps]
    ro = [1 / (y @ s) for y, s in zip(changes, steps, strict=True)]
    h, one = 0.7 * np.eye(n), np.eye(n)
    for y, s, r in zip(changes, steps, ro, strict=True):
        h = (one - r * np.outer(s, y)) @ h @ (one - r * np.outer(y, s)) + r * np.outer(s, s)
    g = rng.standard_normal(n)
    # some hundred operations on numbers whose size is that of H; 1e-16 each
    np.testing.assert_allclose(
        direction(g, changes, steps, ro, 0.7), -h @ g, rtol=1e-9, atol=1e-10 * np.abs(h).max() * np.abs(g).max()
    )
    if pairs:
        np.testing.assert_allclose(
            direction(changes[-1], changes, steps, ro, 0.7), -steps[-1], rtol=1e-8, atol=1e-8 * np.abs(h).max()
        )


@given(a=st.floats(-2, 2), b=st.floats(-2, 2), c=st.floats(0.1, 2), d=st.floats(0.1, 2), order=st.booleans())
def test_the_minimum_of_a_cubic(a, b, c, d, order):
    """f' = c (t - a) (t + d): the minimum is at a, whatever the two points that are known."""

    def f(t):
        return Point(t, c * (t**3 / 3 + (d - a) * t**2 / 2 - a * d * t), np.zeros(0), c * (t - a) * (t + d))

    if a <= -d + 0.1 or abs(b - a) < 0.1:
        return
    ends = (f(b), f(b + 1)) if order else (f(b + 1), f(b))
    assert cubic_minimum(*ends, -10, 10) == pytest.approx(a, abs=1e-7)
    assert cubic_minimum(*ends, a + 1, a + 2) == a + 1  # within its bounds


def test_a_cubic_that_nobody_knows():
    """Values that are not finite, twice the same point, or no minimum: the middle."""
    good = Point(0.0, 1.0, np.zeros(0), -1.0)
    for other in (Point(1.0, np.inf, np.zeros(0), 1.0), Point(1.0, 1.0, np.zeros(0), np.nan), good):
        assert cubic_minimum(good, other, 0.0, 3.0) == 1.5
    assert cubic_minimum(Point(0.0, 0.0, np.zeros(0), 1.0), Point(1.0, 0.7, np.zeros(0), 1.0), 0.0, 3.0) == 1.5


FUNCTIONS = {
    "parabola": (lambda t: (t - 1) ** 2, lambda t: 2 * (t - 1)),
    "steep": (lambda t: np.exp(t) - 5 * t, lambda t: np.exp(t) - 5),
    "valley": (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),
    "waves": (lambda t: 0.01 * t * t - np.sin(t), lambda t: 0.02 * t - np.cos(t)),
    "flat": (lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4, lambda t: (t + 0.004) ** 3 * (5 * (t + 0.004) - 8)),
    "a wall": (
        lambda t: -t if t < 2 else np.nan,
        lambda t: -1.0 if t < 1.5 else (4 * (t - 1.75) if t < 2 else np.nan),
    ),
}


@given(
    name=st.sampled_from([n for n in FUNCTIONS if n != "a wall"]),
    first=st.floats(1e-3, 1e3),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_the_line_search_ends_where_wolfe_says(name, first, scale):
    """Enough descent, and a slope that has become flat, from first distances that are far too small and far too large."""
    f, slope = FUNCTIONS[name]
    calls = []

    def at(t):
        calls.append(t)
        with np.errstate(over="ignore"):
            return Point(t, float(f(t / scale)), np.array([slope(t / scale) / scale]), float(slope(t / scale) / scale))

    start = at(0.0)
    point, count = strong_wolfe(at, start, first * scale, 1.0, tries=200)
    assert count == len(calls) - 1
    assert point.value <= start.value + 1e-4 * point.t * start.slope
    assert abs(point.slope) <= -0.9 * start.slope
    assert point.value == f(point.t / scale) and point.t > 0


def test_the_line_search_turns_back_from_where_nothing_is_defined():
    f, slope = FUNCTIONS["a wall"]
    point, _ = strong_wolfe(
        lambda t: Point(t, f(t), np.zeros(1), slope(t)), Point(0.0, 0.0, np.zeros(1), -1.0), 64.0, 1.0
    )
    assert 0 < point.t < 2 and point.value < 0


# The optimizer


def rosenbrock(x):
    return ((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum()


def closure_of(optimizer, loss_of):
    def closure():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    return closure


@given(seed=SEEDS, search=st.booleans())
def test_finds_the_minimum_of_a_quadratic(seed, search):
    """A convex quadratic of a condition up to 100, in two parameters of other shapes: θ = A⁻¹ b."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    a, b = q @ np.diag(np.geomspace(0.1, 10, 6)) @ q.T, rng.standard_normal(6)
    params = leaves([np.zeros((2, 2)), np.zeros(2)])
    optimizer = optim.LBFGS(params, lr=1, max_iter=100, line_search_fn="strong_wolfe" if search else None)

    def loss():
        x = tg.cat([p.reshape(-1) for p in params])
        return (x @ (tg.tensor(a) @ x)) / 2 - tg.tensor(b) @ x

    closure = closure_of(optimizer, loss)
    optimizer.step(closure)
    optimizer.step(closure)
    # the search stops at changes of 1e-9 of the loss: (1e-9 · 2 / smallest curvature)^½
    np.testing.assert_allclose(np.concatenate([x.ravel() for x in arrays(params)]), np.linalg.solve(a, b), atol=2e-4)


def test_with_a_line_search_the_loss_never_grows(device):
    (x,) = leaves([np.linspace(-1.2, 1, 6)], device)
    optimizer = optim.LBFGS([x], max_iter=1, line_search_fn="strong_wolfe")
    closure = closure_of(optimizer, lambda: rosenbrock(x))
    losses = [optimizer.step(closure).item() for _ in range(80)]
    assert all(b <= a for a, b in pairwise(losses))
    np.testing.assert_allclose(x.detach().cpu().numpy(), np.ones(6), atol=1e-4)


def test_a_step_returns_its_first_loss_and_respects_its_limits():
    (x,) = leaves([np.linspace(-1.2, 1, 6)])
    calls = []
    for kind in ("strong_wolfe", None):
        optimizer = optim.LBFGS([x], lr=1e-3, max_iter=7, max_eval=5, line_search_fn=kind)
        assert optimizer.param_groups[0]["max_eval"] == 5
        inner = closure_of(optimizer, lambda: rosenbrock(x))

        def closure(inner=inner):
            calls.append(tg.is_grad_enabled())
            return inner()

        before = rosenbrock(x).item()
        with tg.no_grad():
            assert optimizer.step(closure).item() == before
        assert optimizer.state[x]["func_evals"] == len(calls) and all(calls)
        assert 5 <= len(calls) <= 5 + 25 * bool(kind)
        calls.clear()
    assert optim.LBFGS([x], max_iter=8).param_groups[0]["max_eval"] == 10
    # at a minimum nothing moves
    (y,) = leaves([[1.0, 1.0]])
    optimizer = optim.LBFGS([y])
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(y)))
    assert y.tolist() == [1.0, 1.0] and optimizer.state[y] == {"func_evals": 1, "n_iter": 0}


ARGS = [
    {"lr": 1e-3, "max_iter": 6},
    {"lr": 1e-3, "history_size": 2},
    {"line_search_fn": "strong_wolfe", "max_iter": 6},
    {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 9, "lr": 0.7},
]


@pytest.mark.parametrize("args", ARGS)
@pytest.mark.parametrize("exchange", [False, True], ids=["own state", "PyTorch's state"])
def test_agrees_with_pytorch(args, exchange):
    """Point for point; with the number of evaluations; one parameter has no gradient.  And from a state that it saved."""
    torch = pytest.importorskip("torch")
    values = [np.linspace(-1.2, 1, 6), np.ones((2, 2))]
    (x, idle), (y, rest) = leaves(values), [torch.tensor(v, requires_grad=True) for v in values]
    one, two = optim.LBFGS([x, idle], **args), torch.optim.LBFGS([y, rest], **args)
    for i in range(6):
        if exchange and i == 3:
            one = optim.LBFGS([x, idle])
            one.load_state_dict(two.state_dict())
        a = one.step(closure_of(one, lambda: rosenbrock(x)))
        b = two.step(closure_of(two, lambda: rosenbrock(y)))
        # the loss at the start of a step; roundings grow along the trajectory
        assert a.item() == pytest.approx(b.item(), rel=1e-6, abs=1e-12)
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-8)
        mine, theirs = one.state[x], two.state[y]
        assert mine["func_evals"] == theirs["func_evals"] and mine["n_iter"] == theirs["n_iter"]
        assert mine.keys() == theirs.keys() - {"al"}
    assert idle.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("args", ARGS)
def test_a_run_that_was_saved_goes_on_bit_for_bit(args, device, tmp_path):
    def begin(value):
        (x,) = leaves([value], device)
        return x, optim.LBFGS([x], **args)

    def run(x, optimizer, steps):
        for _ in range(steps):
            optimizer.step(closure_of(optimizer, lambda: rosenbrock(x)))
        return arrays([x])[0]

    x, optimizer = begin(np.linspace(-1.2, 1, 6))
    run(x, optimizer, 2)
    checkpoint.save(tmp_path / "state", {"x": x, "optimizer": optimizer.state_dict()})
    ways = [copy.deepcopy]
    if device == "cpu":
        ways.append(lambda pair: pickle.loads(pickle.dumps(pair)))
    copies = [way((x, optimizer)) for way in ways]
    straight = run(x, optimizer, 3)
    saved = checkpoint.load(tmp_path / "state")
    resumed, other = begin(saved["x"])
    other.load_state_dict(saved["optimizer"])
    for pair in [(resumed, other), *copies]:
        np.testing.assert_array_equal(run(*pair, 3), straight)


def test_follows_a_module_that_changes_its_dtype():
    layer = nn.Linear(3, 1)
    inputs, targets = tg.randn(20, 3), tg.randn(20, 1)
    optimizer = optim.LBFGS(layer.parameters(), line_search_fn="strong_wolfe")

    def loss():
        return (layer(inputs.to(layer.weight.dtype)) - targets.to(layer.weight.dtype)).square().mean()

    optimizer.step(closure_of(optimizer, loss))
    layer.double()
    for _ in range(3):
        optimizer.step(closure_of(optimizer, loss))
    assert layer.weight.dtype == np.float64 and optimizer.state[layer.weight]["d"].dtype == np.float64
    x = np.c_[inputs.numpy(), np.ones(20)].astype(np.float64)
    best = np.linalg.lstsq(x, targets.numpy().astype(np.float64), rcond=None)[0].ravel()
    np.testing.assert_allclose(np.r_[layer.weight.detach().numpy().ravel(), layer.bias.item()], best, atol=1e-4)


def test_half_precision_is_computed_in_float32():
    """The squares of gradients of 1000 are infinite in float16."""
    (x,) = leaves([[3.0, -2.0]], dtype=np.float16)
    optimizer = optim.LBFGS([x], line_search_fn="strong_wolfe")
    scale = tg.tensor([300.0, 100.0], dtype=np.float16)
    optimizer.step(closure_of(optimizer, lambda: ((x - 1).square() * scale).sum()))
    assert x.dtype == np.float16 and optimizer.state[x]["d"].dtype == np.float32
    np.testing.assert_allclose(x.detach().numpy(), [1, 1], atol=2e-3)  # float16 has 1e-3


def test_errors():
    (p, q) = leaves([[1.0], [2.0]])
    with pytest.raises(ValueError, match="LBFGS: all parameters must be in one group"):
        optim.LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(ValueError, match="line_search_fn must be None or 'strong_wolfe', got 'exact'"):
        optim.LBFGS([p], line_search_fn="exact")
    with pytest.raises(ValueError, match="history_size must be at least 1, got 0"):
        optim.LBFGS([p], history_size=0)
    optimizer = optim.LBFGS([p, q])
    with pytest.raises(TypeError, match=r"LBFGS\.step: a closure is needed"):
        optimizer.step()
    closure = closure_of(optimizer, lambda: (p * p + q * q).sum())
    optimizer.step(closure)
    state = optimizer.state_dict()
    with pytest.raises(tg.ShapeError, match="saved for parameters of 2 elements, these have 3 together"):
        optim.LBFGS(leaves([[1.0], [2.0, 3.0]])).load_state_dict(state)
    with pytest.raises(ValueError, match="groups of \\[2\\] parameters, this optimizer has \\[1\\]"):
        optim.LBFGS([p]).load_state_dict(state)
    adam = optim.Adam([p, q])
    adam.step()
    state["state"] = {0: {"exp_avg": 1.0}}
    with pytest.raises(ValueError, match=r"the state has \['exp_avg'\]"):
        optimizer.load_state_dict(state)
    p.data = p.detach().to(np.float32)
    with pytest.raises(TypeError, match="one dtype and one device, got float32 on cpu, float64 on cpu"):
        optimizer.step(closure)
