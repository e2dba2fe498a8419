"""A replayed step does what the plain step does, bit for bit; and what cannot be replayed is not."""

import contextlib
import gc
import itertools
import sys
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import models, nn, optim
from tinygen.nn import functional as F

MODELS = {
    "autoencoder": (lambda: models.Autoencoder((12, 7, 3)), (6, 12)),
    "conv autoencoder": (lambda: models.ConvAutoencoder(2, (1, 6, 6), ((4, 3, 1),)), (3, 1, 6, 6)),
    "VAE": (lambda: models.BernoulliVAE(12, 8, 3), (6, 12)),
    "Gaussian VAE": (lambda: models.GaussianVAE(2, 5, 2), (6, 2)),
    "IWAE": (lambda: models.IWAE(12, 8, 3, k=2), (6, 12)),
    "RealNVP": (lambda: models.RealNVP(3, 4, 4), (6, 3)),
    "NICE": (lambda: models.NICE(3, 4, 4), (6, 3)),
    "batch norm": (lambda: Normalised(nn.BatchNorm1d(5)), (6, 12)),
    "batch norm without weights": (lambda: Normalised(nn.BatchNorm1d(5, affine=False)), (6, 12)),
    "layer norm": (lambda: Normalised(nn.LayerNorm(5)), (6, 12)),
    "group norm": (lambda: Normalised(nn.GroupNorm(1, 5)), (6, 12)),
    "instance norm": (
        lambda: Normalised(nn.Unflatten(1, (1, 5)), nn.InstanceNorm1d(1, track_running_stats=True)),
        (6, 12),
    ),
    "image RealNVP": (lambda: models.ImageRealNVP((1, 4, 4), scales=1, hidden=2, levels=2), (2, 1, 4, 4)),
}


class Normalised(nn.Module):
    """A network with a normalisation inside."""

    def __init__(self, *norm):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 5), *norm, nn.Tanh(), nn.Flatten(), nn.Linear(5, 1))

    def loss(self, x):
        return self.net(x).square().mean()


def training(make, shape, compiled, steps=7, device="cpu"):
    """Losses and parameters of a short training; each batch is other numbers."""
    tg.manual_seed(0)
    model = make().to(device)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    def step(x):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss

    call = tg.compile(step) if compiled else step
    rng = np.random.default_rng(1)
    batches = [tg.tensor(rng.integers(0, 2, shape).astype(np.float32), device=device) for _ in range(steps)]
    losses = []
    for x in batches:
        losses.append(call(x).item())
        schedule.step()
    if compiled:
        assert call.program(batches[0]) is not None, "it was replayed"
    return losses, [p.detach().cpu().numpy() for p in model.state_dict().values()], tg.rand(3).numpy()


@pytest.mark.parametrize("name", MODELS)
def test_a_training_ends_bit_for_bit_where_the_plain_one_does(name, device):
    plain, replayed = (training(*MODELS[name], compiled, device=device) for compiled in (False, True))
    assert plain[0] == replayed[0]
    for a, b in zip(plain[1], replayed[1], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(plain[2], replayed[2], "the generator is where it would be")


def two_players(compiled):
    tg.manual_seed(0)
    gan = models.GAN(3, 12, (5, 6))
    d, g = (optim.Adam(net.parameters(), betas=(0.5, 0.999)) for net in (gan.discriminator, gan.generator))

    def step(x, y):
        return gan.play(d, g, x, y)

    call = tg.compile(step) if compiled else step
    seen = []
    for _ in range(6):
        x, y = tg.rand(4, 12), tg.rand(4, 12)
        seen.append([v.item() for values in call(x, y).values() for v in values])
    assert not compiled or call.program(x, y)
    return seen, [p.detach().numpy() for p in gan.parameters()]


def test_two_optimizers_dropout_and_frozen_parameters():
    (seen, parameters), (replayed, others) = two_players(False), two_players(True)
    assert seen == replayed
    for a, b in zip(parameters, others, strict=True):
        np.testing.assert_array_equal(a, b)


# Any function

CHAINS = {
    "square": lambda x, w: x.square(),
    "times w": lambda x, w: x * w,
    "tanh": lambda x, w: x.tanh(),
    "matrix": lambda x, w: x @ w.mT,
    "row": lambda x, w: x + w[0],
    "sum": lambda x, w: x + x.sum(1, keepdim=True),
    "mean": lambda x, w: x - x.mean(),
    "softmax": lambda x, w: x.softmax(1),
    "transpose": lambda x, w: x.mT,
    "cat": lambda x, w: tg.cat([x, w])[: x.shape[0]],
    "where": lambda x, w: tg.where(x > 0, x, w),
    "relu": lambda x, w: x.relu(),
    "twice": lambda x, w: x * x + x,
    "detached": lambda x, w: x * x.detach(),
    "constant": lambda x, w: x + tg.ones(3, dtype=x.dtype),
    "noise": lambda x, w: x + tg.randn_like(x),
    "stack": lambda x, w: tg.stack([x, w], 0).sum(0),
    "dtype": lambda x, w: x.double().exp().clamp(max=9.0).to(x.dtype),
    "dropout": lambda x, w: F.dropout(x, 0.5),
}


@given(
    names=st.lists(st.sampled_from(sorted(CHAINS)), max_size=6),
    double=st.booleans(),
    dtype=st.sampled_from([tg.float32, tg.float64]),
)
def test_values_and_gradients_of_any_chain_of_operators(names, double, dtype):
    """With create_graph the gradient's own graph is walked back too."""
    w = tg.tensor(np.random.default_rng(0).standard_normal((3, 3)), dtype=dtype, requires_grad=True)

    def step(x):
        w.grad = None
        y = x * w
        for name in names:
            y = CHAINS[name](y, w)
        loss = y.square().mean()
        if double:
            (g,) = tg.grad(loss, w, create_graph=True)
            loss = loss + g.square().sum()
        loss.backward()
        return {"loss": loss, "y": [y]}

    compiled = tg.compile(step)
    for call in range(5):
        x = tg.tensor(np.random.default_rng(call).standard_normal((3, 3)), dtype=dtype)
        tg.manual_seed(call)
        expected = step(x)
        gradient = w.grad.numpy().copy()
        tg.manual_seed(call)
        got = compiled(x)
        np.testing.assert_array_equal(got["loss"].detach().numpy(), expected["loss"].detach().numpy())
        np.testing.assert_array_equal(got["y"][0].detach().numpy(), expected["y"][0].detach().numpy())
        np.testing.assert_array_equal(w.grad.numpy(), gradient)
        assert got["loss"].dtype == expected["loss"].dtype
    assert compiled.program(x) is not None


def test_gradients_add_up_as_they_do():
    """A step that does not clear the gradients adds to what is there."""
    w = tg.ones(2, requires_grad=True)
    compiled = tg.compile(lambda x: (x * w).sum().backward())
    for i in range(1, 6):
        compiled(tg.ones(2))
        assert w.grad.tolist() == [i, i]


def test_shapes_modes_and_frozen_parameters_are_recorded_anew():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))

    def step(x, power):
        model.zero_grad()
        loss = (model(x) ** power).mean()
        loss.backward()
        return loss

    compiled = tg.compile(step)

    def same(x, power):
        tg.manual_seed(5)
        expected, gradients = (
            step(x, power).item(),
            [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        )
        for _ in range(3):
            tg.manual_seed(5)
            assert compiled(x, power).item() == expected
            assert [None if p.grad is None else p.grad.tolist() for p in model.parameters()] == gradients
        assert compiled.program(x, power) is not None

    x = tg.rand(6, 4)
    same(x, 2)
    same(tg.rand(3, 4), 2)
    same(x, 3)
    same(x.double().to(tg.float32), 2)
    model.eval()
    same(x, 2)
    model[0].weight.requires_grad_(False)
    same(x, 2)
    model.train()
    model[0].weight.requires_grad_(True)
    same(x, 2)
    model.double()
    same(x, 2)


count = 0
NUMBERS = itertools.count()


def counting(x):
    global count
    count += 1
    return x * count


def behind_the_back(x):
    return x * tg.Tensor(np.abs(x.array))


def drawing_numbers(x):
    return x * next(NUMBERS)


def fickle(x):
    return x.exp() if next(NUMBERS) % 2 else x.tanh()


def printing(x):
    print(end="")
    return x


def in_place(x):
    y = x * 2
    y.add_(1.0)
    return y * y


def hooked(x):
    y = x * x
    y.register_hook(lambda g: 2 * g)
    return y


REFUSED = {
    "it looks at numbers": lambda x: x * x.sum().item(),
    "numbers that it computes": lambda x: x if (x * 2).sum() > 0 else -x,
    "is called with something that is not the same": drawing_numbers,
    "it changes count": counting,
    "was not made by an operator": behind_the_back,
    "does not call the same operators": fickle,
    "it prints": printing,
    "in place": in_place,
    "has a hook": hooked,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_replayed_runs_as_it_is_and_says_why(reason):
    global count, NUMBERS
    w = tg.tensor([1.0, -2.0, 3.0], requires_grad=True)

    def step(x):
        w.grad = None
        loss = REFUSED[reason](x * w).sum()
        loss.backward()
        return loss.detach()

    batches = [tg.tensor(np.random.default_rng(i).uniform(1, 2, 3).astype(np.float32)) for i in range(5)]
    count, NUMBERS = 0, itertools.count()
    expected = [(step(x).item(), w.grad.tolist()) for x in batches]
    count, NUMBERS, seen = 0, itertools.count(), []
    compiled = tg.compile(step)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        seen = [(compiled(x).item(), w.grad.tolist()) for x in batches]
    assert seen == expected
    (warning,) = warned
    assert reason in str(warning.message) and "is run as it is" in str(warning.message)
    assert compiled.program(batches[0]) is None


def test_an_error_in_the_step_is_the_steps_own():
    compiled = tg.compile(lambda x: x @ tg.ones(3, 2))
    for _ in range(4):
        with pytest.raises(tg.ShapeError, match="matmul"):
            compiled(tg.ones(2, 2))
    assert tg.tensor([1.0]).item() == 1.0, "nothing watches any more"


def test_arguments_that_want_gradients_and_anomalies_run_as_they_are():
    compiled = tg.compile(lambda x: (x * x).sum())
    x = tg.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="an argument requires a gradient"):
        compiled(x).backward()
    assert x.grad.tolist() == [2.0, 2.0]
    with tg.autograd.detect_anomaly(), pytest.raises(tg.autograd.AnomalyError):
        tg.compile(lambda x: x.log())(tg.zeros(1) - 1)


def test_the_program_can_be_read():
    """One line per call; what is not needed any more is let go of."""
    w = tg.ones(2)
    compiled = tg.compile(lambda x: (x * w).tanh().sum())
    for _ in range(2):
        compiled(tg.ones(2))
    lines = compiled.program(tg.ones(2)).source.splitlines()
    assert lines[0].startswith("def replay(s0):") and sum(" = " in line for line in lines) == 3
    assert any(line.strip().startswith("del ") for line in lines)


def test_methods_names_lists_and_dicts():
    class Model:
        def __init__(self, w):
            self.w = tg.tensor(w)

        @tg.compile
        def step(self, x, *, pair, table):
            return {"y": self.w * x + pair[0] * table["k"], "same": x}

    first, second = Model(2.0), Model(3.0)
    for i in range(5):
        x, y = tg.tensor([float(i)]), tg.tensor([1.0])
        for model, w in ((first, 2.0), (second, 3.0)):
            result = model.step(x, table={"k": 2.0}, pair=[y, 0])
            assert result["y"].tolist() == [w * i + 2] and result["same"] is x
    assert first.step.program(x, pair=[y, 0], table={"k": 2.0}) is not second.step.program(
        x, pair=[y, 0], table={"k": 2.0}
    )


def test_a_recording_keeps_no_array_alive():
    w = tg.ones(100, 100, requires_grad=True)

    def step(x):
        w.grad = None
        y = (x @ w).tanh()
        (y * y).sum().backward()
        return y.detach()

    compiled = tg.compile(step)
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        for n in range(1, 31):
            for _ in range(n % 3 + 1):
                compiled(tg.ones(100, 100 + n)[:, n:])
        w.grad = None
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < 30 * 100 * 100 * 4, "less than one array per shape, of a dozen that a step makes"


def test_the_number_of_recordings_is_bounded():
    """A step that is called with another number each time is never replayed, and keeps no recording for each."""
    compiled = tg.compile(lambda x, k: x * k)
    for k in range(600):
        assert compiled(tg.ones(1), k).item() == k
    assert sum(map(len, compiled._entries.values())) <= 300


def test_an_exception_while_recording_leaves_nothing_behind():
    w = tg.ones(2, requires_grad=True)
    fails = [True]

    def step(x):
        y = x * w
        if fails[0]:
            raise KeyError("mine")
        y.sum().backward()

    compiled = tg.compile(step)
    for fail in (True, False, True, False, False, False):
        fails[0], w.grad = fail, None
        with pytest.raises(KeyError, match="mine") if fail else contextlib.nullcontext():
            compiled(tg.ones(2))
        assert w.grad is None if fail else w.grad.tolist() == [1, 1]
        assert sys.getprofile() is None and tg.is_grad_enabled()


def test_a_gradient_that_was_kept_stays():
    """As in the plain step: every call makes new ones."""
    w = tg.ones(2, requires_grad=True)

    def step(x):
        w.grad = None
        (x * w).sum().backward()

    compiled = tg.compile(step)
    kept = []
    for i in range(6):
        compiled(tg.full((2,), float(i)))
        kept.append(w.grad)
    assert [g.tolist() for g in kept] == [[i, i] for i in range(6)]


def test_a_returned_constant_is_the_callers_own():
    compiled = tg.compile(lambda x: (x + 1, tg.zeros(4).reshape(2, 2)))
    for _ in range(5):
        _, zeros = compiled(tg.ones(2))
        assert zeros.sum().item() == 0
        zeros.add_(1.0)


def test_a_returned_view_shares_its_version_with_the_argument():
    """So a change in place that a derivative would read is noticed, as after the plain step."""
    w = tg.ones(2, requires_grad=True)
    compiled = tg.compile(lambda x: x[:2])
    for _ in range(4):
        x = tg.ones(3)
        loss = (compiled(x) * w).sum()
        x.add_(1.0)
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()


@pytest.mark.parametrize("name", ["a=1, b", "lambda", "not an identifier"])
def test_the_name_of_an_option_never_becomes_code(name):
    weigh = tg.engine.Op(lambda xp, x, **weights: x * 2, lambda g, out, x, **weights: g * 2, name="weigh")
    compiled = tg.compile(lambda x: weigh(x, **{name: 1.5}))
    with pytest.warns(UserWarning, match="not an identifier"):
        results = [compiled(tg.ones(3)).tolist() for _ in range(4)]
    assert results == [[2, 2, 2]] * 4


def test_other_threads_are_not_recorded():
    compiled = tg.compile(lambda x: [tg.ones(2), worker(), x * 2][-1])

    def worker():
        thread = threading.Thread(target=lambda: (tg.ones(3) * tg.tensor([1.0, 2.0, 3.0])).sum().item())
        thread.start()
        thread.join()

    for _ in range(4):
        assert compiled(tg.ones(2)).tolist() == [2, 2]
    assert compiled.program(tg.ones(2)).source.count("=") < 4
