"""Schedulers against their closed forms, and against PyTorch where it is installed."""

import copy
import json
import pickle
import warnings
from bisect import bisect_right
from math import cos, floor, inf, nan, pi, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import checkpoint, nn, optim
from tinygen.optim import lr_scheduler as schedules

EPOCHS = 25


def restarts(first, factor, eta):
    def lr(a, n):
        length = first
        while n >= length:
            n, length = n - length, length * factor
        return eta + (a - eta) * (1 + cos(pi * n / length)) / 2

    return lr


def triangle(low, high, up, down, scale):
    """Straight lines; the height in cycle k = 1, 2, ... and at step n times scale(k, n)."""

    def lr(_, n):
        k, place = n // (up + down), n % (up + down)
        share = place / up if place <= up else (up + down - place) / down
        return low + (high - low) * share * scale(k + 1, n)

    return lr


def one_cycle(top, total, share=0.3, div=25.0, last=1e4, is_cos=True, three=False):
    def between(x, a, b):
        return b + (a - b) * (1 + cos(pi * x)) / 2 if is_cos else a + (b - a) * x

    def lr(_, n):
        low, peak, end = top / div, share * total - 1, total - 1
        if n <= peak:
            return between(n / peak, low, top)
        if not three:
            return between((n - peak) / (end - peak), top, low / last)
        if n <= 2 * peak:
            return between((n - peak) / peak, top, low)
        return between((n - 2 * peak) / (end - 2 * peak), low, low / last)

    return lr


def falling(k):
    return 1 / (k + 1)


# name, arguments, closed form of lr(initial, epoch)
CASES = [
    ("LambdaLR", {"lr_lambda": lambda n: 0.9**n + 1}, lambda a, n: a * (0.9**n + 1)),
    ("StepLR", {"step_size": 4, "gamma": 0.5}, lambda a, n: a * 0.5 ** (n // 4)),
    ("StepLR", {"step_size": 3}, lambda a, n: a * 0.1 ** (n // 3)),
    ("MultiStepLR", {"milestones": [9, 2, 9], "gamma": 0.3}, lambda a, n: a * 0.3 ** ((n >= 2) + 2 * (n >= 9))),
    ("ExponentialLR", {"gamma": 0.8}, lambda a, n: a * 0.8**n),
    ("CosineAnnealingLR", {"T_max": 10}, lambda a, n: a * (1 + cos(pi * n / 10)) / 2),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}, lambda a, n: 0.01 + (a - 0.01) * (1 + cos(pi * n / 7)) / 2),
    ("MultiplicativeLR", {"lr_lambda": falling}, lambda a, n: a * prod(map(falling, range(1, n + 1)))),
    ("ConstantLR", {}, lambda a, n: a / 3 if n < 5 else a),
    ("ConstantLR", {"factor": 0.0, "total_iters": 3}, lambda a, n: 0 if n < 3 else a),
    ("LinearLR", {}, lambda a, n: a * (1 / 3 + 2 / 3 * min(n, 5) / 5)),
    (
        "LinearLR",
        {"start_factor": 0.9, "end_factor": 0.2, "total_iters": 7},
        lambda a, n: a * (0.9 - 0.7 * min(n, 7) / 7),
    ),
    ("PolynomialLR", {}, lambda a, n: a * (1 - min(n, 5) / 5)),
    ("PolynomialLR", {"total_iters": 9, "power": 2.5}, lambda a, n: a * (1 - min(n, 9) / 9) ** 2.5),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}, restarts(4, 1, 0)),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.02}, restarts(3, 2, 0.02)),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4},
        triangle(0.1, 0.7, 4, 4, lambda k, n: 1),
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 2, "step_size_down": 5, "mode": "triangular2"},
        triangle(0.1, 0.7, 2, 5, lambda k, n: 0.5 ** (k - 1)),
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9},
        triangle(0.1, 0.7, 4, 4, lambda k, n: 0.9**n),
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4, "scale_fn": falling, "cycle_momentum": False},
        triangle(0.1, 0.7, 4, 4, lambda k, n: falling(k)),
    ),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 30}, one_cycle(2.0, 30)),
    (
        "OneCycleLR",
        {"max_lr": 2.0, "epochs": 6, "steps_per_epoch": 5, "anneal_strategy": "linear", "pct_start": 0.4},
        one_cycle(2.0, 30, 0.4, is_cos=False),
    ),
    (
        "OneCycleLR",
        {"max_lr": 2.0, "total_steps": 26, "three_phase": True, "div_factor": 10, "final_div_factor": 7},
        one_cycle(2.0, 26, 0.3, 10, 7, three=True),
    ),
]
IDS = [f"{name}{i}" for i, (name, _, _) in enumerate(CASES)]
SETS_ITS_OWN = ("CyclicLR", "OneCycleLR")
"""Schedulers that do not start from the optimizer's rates."""


def optimizer(lr=0.5):
    p, q = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    return optim.SGD([{"params": [p]}, {"params": [q], "lr": 3.0}], lr=lr, momentum=0.5)


def closely(expected):
    """A product of n factors is n roundings; a cosine is 0 up to rounding at its lowest points."""
    return pytest.approx(expected, rel=1e-13, abs=1e-15)


def advance(optimizer, *schedulers, steps=1):
    for _ in range(steps):
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_closed_form(name, args, closed):
    """What the steps multiply up is the closed form, which the scheduler knows too."""
    sgd = optimizer()
    scheduler = getattr(schedules, name)(sgd, **args)
    for n in range(EPOCHS):
        expected = [closed(0.5, n), closed(3.0, n)]
        assert scheduler.get_last_lr() == closely(expected)
        assert [group["lr"] for group in sgd.param_groups] == scheduler.get_last_lr()
        assert scheduler.last_epoch == n
        assert scheduler.closed_form() == closely(expected)
        advance(sgd, scheduler)
    if name not in SETS_ITS_OWN:
        assert scheduler.base_lrs == [0.5, 3.0] == [group["initial_lr"] for group in sgd.param_groups]


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
@given(epochs=st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=4))
def test_a_jump_arrives_where_the_steps_lead(name, args, closed, epochs):
    """step() and step(epoch) in any order."""
    sgd = optimizer()
    sgd.step()
    scheduler = getattr(schedules, name)(sgd, **args)
    now = 0
    for epoch in epochs:
        scheduler.step(epoch)
        now = now + 1 if epoch is None else epoch
        assert scheduler.last_epoch == now
        assert scheduler.get_last_lr() == pytest.approx([closed(0.5, now), closed(3.0, now)], rel=1e-12, abs=1e-15)
        if name.startswith("Cosine") or min(scheduler.get_last_lr()) == 0:
            break  # next to 0 a factor of the rate before has lost its digits


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_a_second_scheduler_leaves_the_initial_rate(name, args, closed):
    """Also one that begins when the rate is no longer the first: the first rate is where both start."""
    sgd = optimizer()
    first = schedules.ExponentialLR(sgd, 0.5)
    advance(sgd, first, steps=3)
    second = getattr(schedules, name)(sgd, **args)
    assert [group["initial_lr"] for group in sgd.param_groups] == [0.5, 3.0]
    assert first.base_lrs == [0.5, 3.0]
    if name not in SETS_ITS_OWN:
        assert second.base_lrs == [0.5, 3.0]
        second.step(0)
        assert second.get_last_lr() == closely([closed(0.5, 0), closed(3.0, 0)])


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_agrees_with_pytorch_also_in_a_chain(name, args, closed):
    """Two schedulers on one optimizer, and a rate changed by hand in between."""
    torch = pytest.importorskip("torch")
    if args.get("factor") == 0.0:
        pytest.skip("PyTorch divides by the factor 0")
    mine, theirs = (
        optimizer(),
        torch.optim.SGD([{"params": [torch.ones(2)]}, {"params": [torch.ones(2)], "lr": 3.0}], lr=0.5, momentum=0.5),
    )
    first, second = getattr(schedules, name)(mine, **args), schedules.ExponentialLR(mine, 0.9)
    modules = torch.optim.lr_scheduler
    one, two = getattr(modules, name)(theirs, **args), modules.ExponentialLR(theirs, 0.9)
    for n in range(EPOCHS):
        assert second.get_last_lr() == pytest.approx(two.get_last_lr(), rel=1e-12, abs=1e-15)
        assert [g["momentum"] for g in mine.param_groups] == pytest.approx([g["momentum"] for g in theirs.param_groups])
        advance(mine, first, second)
        theirs.step()
        one.step()
        two.step()
        if n == 5:
            mine.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 0.123


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_goes_on_from_a_state_dict(name, args, closed, tmp_path):
    a, b = optimizer(), optimizer(lr=77.0)
    one = getattr(schedules, name)(a, **args)
    advance(a, one, steps=8)
    two = getattr(schedules, name)(b, **args)
    checkpoint.save(tmp_path / "state", {"scheduler": one.state_dict()})
    state = checkpoint.load(tmp_path / "state")["scheduler"]
    assert state == json.loads(json.dumps(one.state_dict()))  # plain numbers: they survive JSON
    b.load_state_dict(a.state_dict())
    two.load_state_dict(state)
    for _ in range(8):
        assert two.get_last_lr() == one.get_last_lr() and two.last_epoch == one.last_epoch
        advance(a, one)
        advance(b, two)


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_goes_on_from_last_epoch(name, args, closed):
    """A new scheduler on a loaded optimizer, told where it is: its construction begins epoch last_epoch + 1."""
    sgd = optimizer()
    scheduler = getattr(schedules, name)(sgd, **args)
    advance(sgd, scheduler, steps=5)
    other = optimizer()
    other.load_state_dict(sgd.state_dict())
    resumed = getattr(schedules, name)(other, **args, last_epoch=5)
    assert resumed.last_epoch == 6
    assert resumed.get_last_lr() == closely([closed(0.5, 6), closed(3.0, 6)])


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_a_copy_has_an_optimizer_of_its_own(name, args, closed, way):
    if any(callable(x) and x.__name__ == "<lambda>" for x in args.values()) and way is not copy.deepcopy:
        pytest.skip("Python does not pickle a lambda")
    sgd = optimizer()
    scheduler = getattr(schedules, name)(sgd, **args)
    advance(sgd, scheduler, steps=3)
    its, other = way((sgd, scheduler))
    assert other.optimizer is its is not sgd
    advance(its, other, steps=4)
    assert scheduler.last_epoch == 3 and scheduler.get_last_lr() == closely([closed(0.5, 3), closed(3.0, 3)])
    assert [g["lr"] for g in its.param_groups] == closely([closed(0.5, 7), closed(3.0, 7)])
    assert way(scheduler).get_last_lr() == scheduler.get_last_lr()


def test_the_optimizer_uses_the_rate():
    p = tg.zeros(1, requires_grad=True)
    sgd = optim.SGD([p], lr=1.0)
    scheduler = schedules.StepLR(sgd, 1, gamma=0.5)
    for _ in range(4):
        p.grad = tg.ones(1)
        sgd.step()
        scheduler.step()
    assert p.item() == -(1 + 0.5 + 0.25 + 0.125)


def test_one_function_per_group():
    for kind in (schedules.LambdaLR, schedules.MultiplicativeLR):
        sgd = optimizer()
        scheduler = kind(sgd, [lambda n: 1 / (n + 1), lambda n: 2**n])
        advance(sgd, scheduler)
        assert scheduler.get_last_lr() == [0.25, 6.0]


def test_warm_restarts_within_an_epoch():
    closed = restarts(3, 2, 0.1)
    sgd = optimizer()
    sgd.step()
    scheduler = schedules.CosineAnnealingWarmRestarts(sgd, 3, 2, eta_min=0.1)
    for time in (0.0, 0.25, 2.75, 3.0, 8.5, 9.0, 30.25, 1.5):
        scheduler.step(time)
        assert scheduler.get_last_lr() == closely([closed(0.5, time), closed(3.0, time)])
        assert scheduler.last_epoch == floor(time) and 0 <= scheduler.T_cur < scheduler.T_i
    scheduler.step()
    assert scheduler.get_last_lr() == closely([closed(0.5, 2.5), closed(3.0, 2.5)])


@pytest.mark.parametrize(
    "kind,key", [("SGD", "momentum"), ("RMSprop", "momentum"), ("Adam", "betas")], ids=["SGD", "RMSprop", "Adam"]
)
def test_momentum_goes_against_the_rate(kind, key):
    p = tg.zeros(1, requires_grad=True)
    optimizer = getattr(optim, kind)([p], lr=0.1)
    scheduler = schedules.CyclicLR(optimizer, 0.1, 1.1, step_size_up=5, base_momentum=0.3, max_momentum=0.8)
    for _ in range(20):
        lr, momentum = scheduler.get_last_lr()[0], optimizer.param_groups[0][key]
        momentum = momentum[0] if key == "betas" else momentum
        assert (momentum - 0.3) / 0.5 == pytest.approx(1 - (lr - 0.1) / 1.0, abs=1e-12)
        advance(optimizer, scheduler)


# One after another, and together


PIECES = [
    (lambda o: schedules.LinearLR(o, 0.1, total_iters=4), lambda a, n: a * (0.1 + 0.9 * min(n, 4) / 4)),
    (lambda o: schedules.CosineAnnealingLR(o, T_max=6), lambda a, n: a * (1 + cos(pi * n / 6)) / 2),
    (lambda o: schedules.ExponentialLR(o, 0.7), lambda a, n: a * 0.7**n),
    (lambda o: schedules.LambdaLR(o, falling), lambda a, n: a * falling(n)),
    (lambda o: schedules.CosineAnnealingWarmRestarts(o, 3), restarts(3, 1, 0)),
    (lambda o: schedules.ConstantLR(o, 0.25, 2), lambda a, n: a / 4 if n < 2 else a),
    (lambda o: schedules.StepLR(o, 2, 0.5), lambda a, n: a * 0.5 ** (n // 2)),
]


@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=4), gaps=st.lists(st.integers(1, 6), min_size=4))
def test_one_after_another_each_begins_at_its_own_zero(pieces, gaps):
    sgd = optimizer()
    milestones = [sum(gaps[: i + 1]) for i in range(len(pieces) - 1)]
    scheduler = schedules.SequentialLR(sgd, [make(sgd) for make, _ in pieces], milestones)
    for n in range(20):
        i = bisect_right(milestones, n)
        begun = milestones[i - 1] if i else 0
        closed = pieces[i][1]
        # rel: next to its lowest point a cosine is a factor of what has lost digits
        assert scheduler.get_last_lr() == pytest.approx(
            [closed(0.5, n - begun), closed(3.0, n - begun)], rel=1e-10, abs=1e-14
        )
        assert [g["lr"] for g in sgd.param_groups] == scheduler.get_last_lr() and scheduler.last_epoch == n
        advance(sgd, scheduler)


@pytest.mark.parametrize("name", ["sequence", "chain", "deep", "chain of a sequence"])
@given(jumps=st.lists(st.integers(0, 9), min_size=1, max_size=3))
def test_a_composition_can_jump(name, jumps):
    a, b = optimizer(), optimizer()
    walking, jumping = compositions(schedules, a)[name](), compositions(schedules, b)[name]()
    rates = [walking.get_last_lr()]
    for _ in range(9):
        advance(a, walking)
        rates.append(walking.get_last_lr())
    b.step()
    for epoch in jumps:
        jumping.step(epoch)
        assert jumping.get_last_lr() == closely(rates[epoch]) and jumping.last_epoch == epoch


@given(pieces=st.lists(st.sampled_from([PIECES[0], PIECES[2], PIECES[5], PIECES[6]]), min_size=1, max_size=4))
def test_together_their_factors_multiply(pieces):
    sgd = optimizer()
    scheduler = schedules.ChainedScheduler([make(sgd) for make, _ in pieces])
    for n in range(12):
        factor = prod(closed(1.0, n) for _, closed in pieces)
        assert scheduler.get_last_lr() == closely([0.5 * factor, 3.0 * factor])
        advance(sgd, scheduler)


def compositions(modules, sgd):
    """Deep ones too: a sequence of a chain and a sequence."""

    def linear():
        return modules.LinearLR(sgd, 0.1, total_iters=3)

    def decay(gamma):
        return modules.ExponentialLR(sgd, gamma)

    return {
        "sequence": lambda: modules.SequentialLR(sgd, [linear(), decay(0.5), decay(0.9)], [4, 7]),
        "chain": lambda: modules.ChainedScheduler([linear(), decay(0.5)]),
        "deep": lambda: modules.SequentialLR(
            sgd, [linear(), modules.SequentialLR(sgd, [decay(0.5), decay(0.9)], [2])], [4]
        ),
        "chain of a sequence": lambda: modules.ChainedScheduler(
            [decay(0.95), modules.SequentialLR(sgd, [linear(), decay(0.5)], [2])]
        ),
    }


@pytest.mark.parametrize("name", ["sequence", "chain", "chain of a sequence"])
def test_compositions_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    mine = optimizer()
    theirs = torch.optim.SGD([{"params": [torch.ones(2)]}, {"params": [torch.ones(2)], "lr": 3.0}], lr=0.5)
    one = compositions(schedules, mine)[name]()
    two = compositions(torch.optim.lr_scheduler, theirs)[name]()
    for _ in range(12):
        assert one.get_last_lr() == pytest.approx(two.get_last_lr(), rel=1e-12)
        advance(mine, one)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own step(0) is deprecated there
            theirs.step()
            two.step()


@pytest.mark.parametrize("name", ["sequence", "chain", "deep", "chain of a sequence"])
def test_compositions_go_on_from_a_state_dict(name, tmp_path):
    a, b = optimizer(), optimizer(lr=77.0)
    one, two = compositions(schedules, a)[name](), compositions(schedules, b)[name]()
    advance(a, one, steps=5)
    checkpoint.save(tmp_path / "state", one.state_dict())
    b.load_state_dict(a.state_dict())
    two.load_state_dict(checkpoint.load(tmp_path / "state"))
    its, third = copy.deepcopy((a, one))
    for _ in range(8):
        assert one.get_last_lr() == two.get_last_lr() == third.get_last_lr()
        advance(a, one)
        advance(b, two)
        advance(its, third)


# When nothing gets better


def plateau_by_hand(values, lr, mode, factor, patience, threshold, kind, cooldown, low):
    """The rule in words: count the epochs that are not better than the best; more than `patience` of them, and lr falls."""
    best, bad, wait, out = (inf if mode == "min" else -inf), 0, 0, []
    for x in values:
        if kind == "abs":
            better = x < best - threshold if mode == "min" else x > best + threshold
        else:
            better = x < best * (1 - threshold) if mode == "min" else x > best * (1 + threshold)
        best, bad = (x, 0) if better else (best, bad + 1)
        if wait:
            wait, bad = wait - 1, 0
        if bad > patience:
            lr, wait, bad = max(lr * factor, low), cooldown, 0
        out.append(lr)
    return out


PLATEAUS = {
    "values": st.lists(st.sampled_from([0.5, 0.9, 0.95, 1.0, 1.05, 1.2, nan, inf]), min_size=1, max_size=30),
    "mode": st.sampled_from(["min", "max"]),
    "factor": st.sampled_from([0.1, 0.5]),
    "patience": st.integers(0, 3),
    "threshold": st.sampled_from([0.0, 0.04, 0.1]),
    "kind": st.sampled_from(["rel", "abs"]),
    "cooldown": st.integers(0, 2),
    "low": st.sampled_from([0.0, 0.03]),
}


def on_plateau(module, sgd, mode, factor, patience, threshold, kind, cooldown, low):
    return module.ReduceLROnPlateau(sgd, mode, factor, patience, threshold, kind, cooldown, low, eps=0.0)


@given(**PLATEAUS)
def test_the_rate_falls_on_a_plateau(values, **args):
    sgd = optimizer()
    scheduler = on_plateau(schedules, sgd, **args)
    for x, small, large in zip(
        values, plateau_by_hand(values, 0.5, **args), plateau_by_hand(values, 3.0, **args), strict=True
    ):
        scheduler.step(tg.tensor(x, dtype=tg.float64))
        assert scheduler.get_last_lr() == [small, large] == [g["lr"] for g in sgd.param_groups]


@given(**PLATEAUS)
def test_a_plateau_agrees_with_pytorch(values, **args):
    torch = pytest.importorskip("torch")
    mine, theirs = optimizer(), torch.optim.SGD([torch.ones(2)], lr=0.5)
    one, two = on_plateau(schedules, mine, **args), on_plateau(torch.optim.lr_scheduler, theirs, **args)
    for x in values:
        one.step(x)
        two.step(x)
        assert one.get_last_lr()[0] == two.get_last_lr()[0]
        assert one.num_bad_epochs == two.num_bad_epochs and one.cooldown_counter == two.cooldown_counter


def test_a_plateau_goes_on_from_a_state_dict(tmp_path):
    values = [1.0, nan, 1.0, 0.5, 0.6, 0.6, 0.6, 0.4]
    a, b = optimizer(), optimizer(lr=77.0)
    one, two = schedules.ReduceLROnPlateau(a, patience=1), schedules.ReduceLROnPlateau(b, patience=1)
    for i, x in enumerate(values):
        checkpoint.save(tmp_path / "state", one.state_dict())
        two.load_state_dict(checkpoint.load(tmp_path / "state"))
        b.load_state_dict(a.state_dict())
        one.step(x)
        two.step(x)
        assert one.get_last_lr() == two.get_last_lr() and one.last_epoch == two.last_epoch == i + 1
    assert one.best == 0.4


def test_a_tiny_reduction_is_left_out():
    sgd = optimizer(lr=1e-8)
    scheduler = schedules.ReduceLROnPlateau(sgd, patience=0)
    for _ in range(3):
        scheduler.step(1.0)
    assert scheduler.get_last_lr() == [1e-8, pytest.approx(0.03)]


def test_a_scheduler_of_ones_own_written_as_in_pytorch():
    class Halves(schedules._LRScheduler):
        def get_lr(self):
            return [base / 2**self.last_epoch for base in self.base_lrs]

    sgd = optimizer()
    scheduler = Halves(sgd)
    advance(sgd, scheduler, steps=3)
    assert scheduler.get_last_lr() == [0.5 / 8, 3.0 / 8]
    with pytest.raises(AttributeError, match="did you mean CosineAnnealingLR"):
        schedules.CosineAnnealingLr


# Mistakes


def test_a_schedule_that_begins_before_the_optimizer_warns():
    sgd = optimizer()
    for scheduler in (
        schedules.ExponentialLR(sgd, 0.9),
        schedules.CosineAnnealingWarmRestarts(sgd, 3),
        schedules.SequentialLR(sgd, [schedules.ConstantLR(sgd), schedules.StepLR(sgd, 2)], [3]),
    ):
        with pytest.warns(
            UserWarning, match=rf"{type(scheduler).__name__}.step\(\) was called before optimizer.step\(\)"
        ):
            scheduler.step()
        scheduler.step()  # it says so once

    class Own(optim.SGD):
        def step(self, closure=None):  # it may count nothing
            return None

    layer = nn.Linear(1, 1)
    schedules.ExponentialLR(Own(layer.parameters()), 0.9).step()
    fine = optim.SGD(layer.parameters())
    scheduler = schedules.ExponentialLR(fine, 0.9)
    advance(fine, scheduler, steps=2)


@pytest.mark.parametrize(
    "make,error,words",
    [
        (lambda o: schedules.LambdaLR(o, [lambda n: 1.0]), ValueError, "LambdaLR: got 1 functions for 2 groups"),
        (lambda o: schedules.MultiplicativeLR(o, []), ValueError, "MultiplicativeLR: got 0 functions for 2 groups"),
        (lambda o: schedules.StepLR(o, 0), ValueError, "step_size must be at least 1, got 0"),
        (lambda o: schedules.CosineAnnealingLR(o, 0), ValueError, "T_max must be positive, got 0"),
        (lambda o: schedules.ExponentialLR(0.1, 0.9), TypeError, "ExponentialLR: an optimizer is expected, got float"),
        (lambda o: schedules.OneCycleLR(0.1, 0.9, 5), TypeError, "OneCycleLR: an optimizer is expected, got float"),
        (lambda o: schedules.LambdaLR(0.1, falling), TypeError, "LambdaLR: an optimizer is expected, got float"),
        (lambda o: schedules.ExponentialLR(o, 0.9, last_epoch=3), KeyError, "'initial_lr'"),
        (lambda o: schedules.ConstantLR(o, 2.0), ValueError, "factor must be from 0 to 1, got 2.0"),
        (lambda o: schedules.LinearLR(o, 0.0), ValueError, "start_factor must be above 0 and at most 1, got 0.0"),
        (lambda o: schedules.LinearLR(o, 0.5, 1.5), ValueError, "end_factor must be from 0 to 1, got 1.5"),
        (lambda o: schedules.PolynomialLR(o, 0), ValueError, "total_iters must be at least 1, got 0"),
        (lambda o: schedules.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0 must be a positive integer, got 0"),
        (lambda o: schedules.CosineAnnealingWarmRestarts(o, 3, 1.5), ValueError, "T_mult must be a positive integer"),
        (lambda o: schedules.CosineAnnealingWarmRestarts(o, 3).step(-1), ValueError, "epoch must not be negative"),
        (lambda o: schedules.CyclicLR(o, 0.1, 1.0, mode="round"), ValueError, "mode must be 'triangular'.*got 'round'"),
        (lambda o: schedules.CyclicLR(o, 0.1, 1.0, scale_mode="x"), ValueError, "scale_mode must be"),
        (lambda o: schedules.CyclicLR(o, 0.1, 1.0, step_size_down=0), ValueError, "2000 up and 0 down"),
        (lambda o: schedules.CyclicLR(o, [0.1], 1.0), ValueError, "got 1 values of base_lr for 2 groups"),
        (lambda o: schedules.OneCycleLR(o, 1.0), ValueError, "pass total_steps, or epochs and steps_per_epoch"),
        (lambda o: schedules.OneCycleLR(o, 1.0, 0), ValueError, "number of steps must be positive, got 0"),
        (lambda o: schedules.OneCycleLR(o, 1.0, 5, pct_start=2), ValueError, "pct_start must be from 0 to 1, got 2"),
        (lambda o: schedules.OneCycleLR(o, 1.0, 5, anneal_strategy="x"), ValueError, "must be 'cos' or 'linear'"),
        (lambda o: schedules.OneCycleLR(o, 1.0, 5).step(6), ValueError, "step 6 of 5"),
        (
            lambda o: schedules.CyclicLR(optim.Adagrad([tg.ones(1, requires_grad=True)]), 0.1, 1.0),
            ValueError,
            "Adagrad has neither momentum nor betas; pass cycle_momentum=False",
        ),
        (lambda o: schedules.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor must be below 1, got 1.0"),
        (lambda o: schedules.ReduceLROnPlateau(o, "low"), ValueError, "mode must be 'min' or 'max', got 'low'"),
        (lambda o: schedules.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "must be 'rel' or 'abs', got 'x'"),
        (lambda o: schedules.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "got 1 values of min_lr for 2 groups"),
        (lambda o: schedules.ChainedScheduler([]), ValueError, "ChainedScheduler: got no schedulers"),
        (
            lambda o: schedules.ChainedScheduler([schedules.ReduceLROnPlateau(o)]),
            ValueError,
            "scheduler 0 is a ReduceLROnPlateau",
        ),
        (
            lambda o: schedules.ChainedScheduler([schedules.StepLR(o, 2), schedules.StepLR(optimizer(), 2)]),
            ValueError,
            "scheduler 1 belongs to another optimizer",
        ),
        (lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 2)], [2]), ValueError, "need 0 milestones, got 1"),
        (
            lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 2) for _ in range(3)], [4, 4]),
            ValueError,
            r"milestones must rise, got \[4, 4\]",
        ),
    ],
)
def test_errors(make, error, words):
    sgd = optimizer()
    sgd.step()
    with pytest.raises(error, match=words):
        make(sgd)
