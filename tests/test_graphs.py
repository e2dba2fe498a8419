"""A step as captured graphs does what the plain step does, bit for bit; on the strict double, which is as strict as CUDA.

A launch there runs none of the program's Python: a number that was computed on the host at capture, an array that has moved,
a draw that is not made anew would all show.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tinygen as tg
from tests.training_steps import OPTIMIZERS, STEPS, training_step
from tinygen import nn, optim
from tinygen.replay.graphs import GraphProgram
from tinygen.testing.strict import counted


@pytest.fixture(autouse=True)
def _no_warnings():
    """A step that is not captured says so by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def arrays(step):
    model = step.model
    return [x.detach().cpu().numpy().copy() for x in (*model.parameters(), *model.buffers())]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_ends_bit_for_bit_where_the_plain_one_does(name, optimizer):
    """Other batches and draws in every step, a learning rate that falls, and Adam's corrections, which change."""
    ends = []
    for compiled in (False, True):
        step, batch = training_step(name, optimizer, "strict")
        schedules = [optim.lr_scheduler.StepLR(o, 2, 0.5) for o in step.optimizers]
        call = tg.compile(step.__call__) if compiled else step
        losses = []
        for i in range(8):
            losses.append(call(batch(i)))
            for schedule in schedules:
                schedule.step()
        ends.append(([x.item() for x in losses], arrays(step)))
    program = call.program(batch(0))
    assert isinstance(program, GraphProgram) and all(run.results is not None for run in program.runs)
    (losses, end), (losses_replayed, end_replayed) = ends
    assert losses == losses_replayed
    for a, b in zip(end, end_replayed, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", STEPS)
def test_nearly_all_of_a_step_is_launched_as_a_whole(name):
    """On the host remain the copy of the batch, clipping, the optimizer and a copy of the loss."""
    step, batch = training_step(name, "Adam", "strict")
    call = tg.compile(step.__call__)
    for i in range(4):
        call(batch(i))
    x = batch(4)
    with counted() as counts:
        call(x)
    assert not counts.to_host and not counts.to_device
    rest = [k for k in counts.kernels if k not in ("concatenate", "tinygen_adam", "setitem", "array")]
    assert rest == ([] if hasattr(step.model, "play") else ["dot", "sqrt", "tinygen_factor", "imul"])
    assert len(counts.launched) > 30


def small(device="strict", **options):
    """A model, its optimizer, and a step that a user might write."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 1)).to(device)
    optimizer = optim.Adam(model.parameters(), lr=0.05)

    def step(x):
        loss = model(x).square().mean()
        loss.backward()
        return loss

    return model, optimizer, step


def batch(i, n=5):
    return tg.rand(n, 3, generator=tg.Generator("strict").manual_seed(i))


def both(play, make=small):
    """What play(model, optimizer, call) returns for the plain step and for the captured one, and the captured one's program."""
    results = []
    for compiled in (False, True):
        model, optimizer, step = make()
        call = tg.compile(step) if compiled else step
        results.append(play(model, optimizer, call))
    return *results, call.program(batch(0))


def values(model):
    return [p.detach().cpu().numpy().copy() for p in model.parameters()]


def test_zero_grad_outside_of_the_step_and_gradients_that_add_up():
    """What a leaf keeps is its own, though the graph's array is overwritten by the next launch."""

    def play(model, optimizer, call):
        seen = []
        for i in range(9):
            if i % 3 == 0:
                optimizer.zero_grad()
            call(batch(i))
            if i % 3 == 2:
                optimizer.step()
            seen.append([p.grad.cpu().numpy().copy() for p in model.parameters()])
        return seen

    plain, replayed, program = both(play)
    assert program.runs[0].results is not None
    for a, b in zip(plain, replayed, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("event", ["data", "move", "load", "seed", "state"])
def test_what_moves_is_captured_anew(event):
    """A parameter's new array, or a stream of random numbers that starts again."""

    def play(model, optimizer, call):
        losses, state = [], None
        for i in range(10):
            optimizer.zero_grad()
            losses.append(call(batch(i)).item())
            optimizer.step()
            if i == 4:
                state = tg.get_rng_state()
            if i == 6:
                if event == "data":
                    model[0].weight.data = tg.ones(4, 3, device="strict")
                elif event == "move":
                    model.to("cpu").to("strict")
                elif event == "load":
                    model.load_state_dict({k: v.detach() * 0.5 for k, v in model.state_dict().items()})
                elif event == "seed":
                    tg.manual_seed(3)
                else:
                    tg.set_rng_state(state)
        return losses

    plain, replayed, program = both(play)
    assert plain == replayed and program.runs[0].results is not None


def test_results_belong_to_the_caller():
    call = tg.compile(small()[2])
    kept = [call(batch(i)) for i in range(6)]
    assert len({x.item() for x in kept}) == 6
    assert all(
        not np.shares_memory(kept[-1].array._a, a._a) for run in call.program(batch(0)).runs for a in run.results
    )


def short(compute, compiled):
    """Six losses of a step that begins with compute(x); and what it was warned of."""
    tg.manual_seed(0)
    weight = tg.rand(3, 3, device="strict").requires_grad_()

    def step(x):
        weight.grad = None
        loss = (compute(x) @ weight).tanh().mean()
        loss.backward()
        return loss

    call = tg.compile(step) if compiled else step
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        losses = [call(batch(i)).item() for i in range(6)]
    return losses, [str(w.message) for w in seen]


def test_a_part_that_cannot_be_captured_is_replayed_without_a_graph_and_says_why():
    """To join nine arrays CuPy copies a list of where they are to the GPU."""
    plain, replayed = (short(lambda x: tg.cat([x] * 9), compiled) for compiled in (False, True))
    assert plain[0] == replayed[0] and not plain[1]
    (warning,) = replayed[1]
    assert "a part of the step is replayed without a graph: " in warning
    assert "not permitted while work is captured" in warning


def test_draws_of_the_host_are_made_on_the_host():
    noise = tg.backend.default_generator(tg.device("cpu"))
    plain, replayed = (
        short(lambda x: x + tg.randn(5, 3, generator=noise, device="strict"), compiled) for compiled in (False, True)
    )
    assert plain == replayed and not plain[1]


def test_the_source_shows_what_is_captured():
    call = tg.compile(small()[2])
    for i in range(2):
        call(batch(i))
    source = call.program(batch(0)).source
    assert source.startswith("def graph0(s0):") and "def replay(s0):" in source and "= graph0(s0)" in source


# The double's graphs must be as strict as CUDA's: lenient ones would prove nothing.


def strict_graph(function):
    backend = tg.backend.backend_of(tg.zeros(1, device="strict").array)
    graph = backend.graph()
    return graph, graph.capture(function)


def test_nothing_is_done_while_it_is_captured():
    x, g = tg.zeros(3, device="strict").array, tg.Generator("strict").manual_seed(0)
    before = g.get_state()["stream"]

    def work():
        x.__iadd__(1)
        return x * 2, g.normal((3,), np.float32)

    graph, (double, draws) = strict_graph(work)
    assert x.tolist() == [0, 0, 0] and np.isnan(double.get()).all() and np.isnan(draws.get()).all()
    assert str(g.get_state()["stream"]) == str(before)
    graph.launch()
    assert x.tolist() == [1, 1, 1] and double.tolist() == [2, 2, 2]
    first = draws.tolist()
    graph.launch()
    assert x.tolist() == [2, 2, 2] and double.tolist() == [4, 4, 4] and draws.tolist() != first


def test_a_launch_knows_nothing_of_the_program():
    """Neither a number that changes on the host, nor an array that has taken the place of another one."""
    number, x = [1.0], tg.ones(2, device="strict")
    graph, out = strict_graph(lambda: x.array * number[0])
    number[0], old, x.array = 5.0, x.array, tg.zeros(2, device="strict").array
    graph.launch()
    assert out.tolist() == [1, 1]
    old[...] = 3
    graph.launch()
    assert out.tolist() == [3, 3]


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x[0] > 0),
        lambda x: tg.zeros(3).to("strict"),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: tg.cat([x] * 9),
    ],
)
def test_transfers_cannot_be_captured(work):
    x = tg.ones(3, device="strict")
    with pytest.raises(Exception, match="not permitted while work is captured"):
        strict_graph(lambda: work(x))
    assert (x + 1).tolist() == [2, 2, 2]
