"""A copy of an optimizer or of a scheduler, by deepcopy or by pickle, is another one in the same state."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.optim.test_rules import CASES, arrays, draws, give, leaves
from tinygen import checkpoint, nn, optim

WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
SHAPES = [(3, 2), (), (2, 0), (4,)]


def run(params, optimizer, plan):
    for gradients in plan:
        give(params, gradients)
        optimizer.step()


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@given(
    case=st.sampled_from(CASES),
    way=st.sampled_from(sorted(WAYS)),
    before=st.integers(0, 4),
    alone=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_copy_goes_on_as_the_original_would_and_shares_nothing_with_it(case, way, before, alone, seed):
    """Alone it has parameters of its own; copied with a list of them, it moves those of the copied list."""
    name, _, args = case
    rng = np.random.default_rng(seed)
    params = leaves(draws(rng, SHAPES))
    optimizer = getattr(optim, name)([{"params": params[:2]}, {"params": params[2:], "lr": 0.01}], **args)
    plan = [[None if rng.random() < 0.3 else g for g in draws(rng, SHAPES)] for _ in range(before + 3)]
    run(params, optimizer, plan[:before])
    stopped_at = arrays(params)
    if alone:
        other = WAYS[way](optimizer)
        copied = [p for group in other.param_groups for p in group["params"]]
    else:
        copied, other = WAYS[way]((params, optimizer))
        assert all(p is q for p, q in zip(copied, [p for g in other.param_groups for p in g["params"]], strict=True))
    same(arrays(copied), stopped_at)
    assert type(other) is type(optimizer) and other.calls == optimizer.calls
    run(copied, other, plan[before:])
    same(arrays(params), stopped_at)  # the original has not noticed
    run(params, optimizer, plan[before:])
    same(arrays(params), arrays(copied))


@pytest.mark.parametrize("way", WAYS)
def test_a_model_and_its_optimizer_are_copied_together(way):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    x = tg.randn(8, 3)

    def train(model, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    train(model, optimizer)
    for order in (False, True):
        pair = WAYS[way]((optimizer, model) if order else (model, optimizer))
        other, its = reversed(pair) if order else pair
        before = arrays(other.parameters())
        same(before, arrays(model.parameters()))
        train(other, its)
        assert all((a != b).any() for a, b in zip(before, arrays(other.parameters()), strict=True))
        same(before, arrays(model.parameters()))


class Momentum(optim.Optimizer):
    """As one writes it in PyTorch."""

    def __init__(self, params, lr, momentum):
        super().__init__(params, dict(lr=lr, momentum=momentum))

    @tg.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    if not state:
                        state["step"], state["buffer"] = 0, tg.zeros_like(p)
                    state["step"] += 1
                    state["buffer"].mul_(group["momentum"]).add_(p.grad)
                    p.add_(state["buffer"], alpha=-group["lr"])


@pytest.mark.parametrize("way", [*WAYS, "state_dict"])
def test_an_optimizer_of_ones_own_written_as_in_pytorch(way, tmp_path):
    rng = np.random.default_rng(0)
    values, plan = draws(rng, SHAPES), [draws(rng, SHAPES) for _ in range(6)]
    params, others = leaves(values), leaves(values)
    mine, other = Momentum(params, 0.1, 0.5), optim.SGD(others, lr=0.1, momentum=0.5)
    run(params, mine, plan[:3])
    run(others, other, plan[:3])
    if way == "state_dict":
        checkpoint.save(tmp_path / "state", mine.state_dict())
        params = leaves(arrays(params))
        mine = Momentum(params, 77.0, 0.1)
        mine.load_state_dict(checkpoint.load(tmp_path / "state"))
    else:
        params, mine = WAYS[way]((params, mine))
    run(params, mine, plan[3:])
    run(others, other, plan[3:])
    for a, b in zip(arrays(params), arrays(others), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert mine.state[params[0]]["step"] == 6
    with pytest.raises(NotImplementedError, match=r"Optimizer: an optimizer must define step\(\), or a rule"):
        optim.Optimizer(params, {"lr": 0.1}).step()


def test_a_shallow_copy_takes_turns_with_the_original():
    """`copy.copy`: the same parameters, a state of its own."""
    (p,) = leaves([[0.0]])
    optimizer = optim.SGD([p], lr=1.0, momentum=0.5)
    run([p], optimizer, [[[1.0]]])
    other = copy.copy(optimizer)
    assert other.param_groups[0]["params"][0] is p
    run([p], other, [[[1.0]]])  # b = 0.5 + 1
    run([p], optimizer, [[[1.0]]])  # the same again: its own b was 1 as well
    assert p.item() == -1 - 1.5 - 1.5
