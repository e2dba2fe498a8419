"""Schedulers against their closed forms, and against PyTorch where it is installed."""

import json
from math import cos, pi

import pytest

import tinygen as tg
from tinygen import optim
from tinygen.optim import lr_scheduler as schedules

EPOCHS = 25

# name, arguments, closed form of lr(initial, epoch)
CASES = [
    ("LambdaLR", {"lr_lambda": lambda n: 0.9**n + 1}, lambda a, n: a * (0.9**n + 1)),
    ("StepLR", {"step_size": 4, "gamma": 0.5}, lambda a, n: a * 0.5 ** (n // 4)),
    ("StepLR", {"step_size": 3}, lambda a, n: a * 0.1 ** (n // 3)),
    ("MultiStepLR", {"milestones": [9, 2, 9], "gamma": 0.3}, lambda a, n: a * 0.3 ** ((n >= 2) + 2 * (n >= 9))),
    ("ExponentialLR", {"gamma": 0.8}, lambda a, n: a * 0.8**n),
    ("CosineAnnealingLR", {"T_max": 10}, lambda a, n: a * (1 + cos(pi * n / 10)) / 2),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}, lambda a, n: 0.01 + (a - 0.01) * (1 + cos(pi * n / 7)) / 2),
]
IDS = [f"{name}{i}" for i, (name, _, _) in enumerate(CASES)]


def optimizer(lr=0.5):
    p, q = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    return optim.SGD([{"params": [p]}, {"params": [q], "lr": 3.0}], lr=lr)


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_closed_form(name, args, closed):
    sgd = optimizer()
    scheduler = getattr(schedules, name)(sgd, **args)
    for n in range(EPOCHS):
        expected = [closed(0.5, n), closed(3.0, n)]
        # a product of n factors is n roundings; the cosine is 0 up to rounding at its lowest points
        assert scheduler.get_last_lr() == pytest.approx(expected, rel=1e-13, abs=1e-15)
        assert [group["lr"] for group in sgd.param_groups] == scheduler.get_last_lr()
        assert scheduler.last_epoch == n
        sgd.step()
        scheduler.step()
    assert scheduler.base_lrs == [0.5, 3.0] == [group["initial_lr"] for group in sgd.param_groups]


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_agrees_with_pytorch_also_in_a_chain(name, args, closed):
    """Two schedulers on one optimizer, and a rate changed by hand in between."""
    torch = pytest.importorskip("torch")
    mine, theirs = (
        optimizer(),
        torch.optim.SGD([{"params": [torch.ones(2)]}, {"params": [torch.ones(2)], "lr": 3.0}], lr=0.5),
    )
    first, second = getattr(schedules, name)(mine, **args), schedules.ExponentialLR(mine, 0.9)
    modules = torch.optim.lr_scheduler
    one, two = getattr(modules, name)(theirs, **args), modules.ExponentialLR(theirs, 0.9)
    for n in range(EPOCHS):
        assert second.get_last_lr() == pytest.approx(two.get_last_lr(), rel=1e-12, abs=1e-15)
        theirs.step()
        for s in (first, second, one, two):
            s.step()
        if n == 5:
            mine.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 0.123


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_goes_on_from_a_state_dict(name, args, closed):
    a, b = optimizer(), optimizer(lr=77.0)
    one = getattr(schedules, name)(a, **args)
    for _ in range(8):
        one.step()
    two = getattr(schedules, name)(b, **args)
    b.load_state_dict(a.state_dict())
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))  # plain numbers: they survive JSON
    for _ in range(8):
        assert two.get_last_lr() == one.get_last_lr() and two.last_epoch == one.last_epoch
        one.step()
        two.step()


@pytest.mark.parametrize("name,args,closed", CASES, ids=IDS)
def test_goes_on_from_last_epoch(name, args, closed):
    """A new scheduler on a loaded optimizer, told where it is: its construction begins epoch last_epoch + 1."""
    sgd = optimizer()
    scheduler = getattr(schedules, name)(sgd, **args)
    for _ in range(5):
        scheduler.step()
    other = optimizer()
    other.load_state_dict(sgd.state_dict())
    resumed = getattr(schedules, name)(other, **args, last_epoch=5)
    assert resumed.last_epoch == 6
    assert resumed.get_last_lr() == pytest.approx([closed(0.5, 6), closed(3.0, 6)], rel=1e-13)


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
    sgd = optimizer()
    scheduler = schedules.LambdaLR(sgd, [lambda n: 1 / (n + 1), lambda n: 2**n])
    scheduler.step()
    assert scheduler.get_last_lr() == [0.25, 6.0]


def test_errors():
    sgd = optimizer()
    with pytest.raises(ValueError, match="LambdaLR: got 1 functions for 2 groups"):
        schedules.LambdaLR(sgd, [lambda n: 1.0])
    with pytest.raises(ValueError, match="step_size must be at least 1, got 0"):
        schedules.StepLR(sgd, 0)
    with pytest.raises(ValueError, match="T_max must be positive, got 0"):
        schedules.CosineAnnealingLR(sgd, 0)
    with pytest.raises(TypeError, match="ExponentialLR: an optimizer is expected, got float"):
        schedules.ExponentialLR(0.1, 0.9)
    with pytest.raises(KeyError, match="'initial_lr'"):
        schedules.ExponentialLR(optimizer(), 0.9, last_epoch=3)
