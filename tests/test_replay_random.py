"""Random small steps, each called plain and compiled under random changes of all that a recording depends on.

Two equal worlds are built; the plain step acts in one, the compiled step in the other.  Between the calls the same happens in
both.  After every call all that can be seen must be equal, bit for bit: results, parameters, gradients, buffers, Python objects,
random numbers.  A refusal is no exception to that, since a refused step runs as it is; it must give its reason.
"""

import contextlib
import io
import itertools
import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn, optim
from tinygen.nn import functional as F


class Scaled(nn.Module):
    """A module with a number of its own, which reads its mode in another method than forward."""

    def __init__(self):
        super().__init__()
        self.scale = 2.0
        self.shift = nn.Parameter(tg.ones(3))
        self.options = {"power": 2}

    def blend(self, x):
        y = x * self.scale + self.shift
        return y if self.training else y ** self.options["power"]


class Holder:
    """Any object."""


class World:
    """What the steps act on, the same for the same seed."""

    def __init__(self, names, ending, optimizer):
        tg.manual_seed(1)
        self.names, self.ending = names, ending
        self.w = tg.tensor([[0.5, -1.0, 2.0]], requires_grad=True)
        self.table = {"linear": nn.Linear(3, 3), "dropout": nn.Dropout(0.5)}
        self.held = Holder()
        self.held.norm = nn.BatchNorm1d(3)
        self.held.beta = 0.5
        self.scaled = Scaled()
        self.normed = nn.utils.weight_norm(nn.Linear(3, 3))
        self.buffer = tg.tensor([1.0, 2.0, 3.0])
        self.array = np.array([1.0, 0.5, 2.0], np.float32)
        self.count, self.seen = 0, []
        self.modules = [*self.table.values(), self.held.norm, self.scaled, self.normed]
        self.parameters = [self.w, *(p for m in self.modules for p in m.parameters())]
        kinds = {"momentum": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9), "Adam": lambda ps: optim.Adam(ps, lr=0.1)}
        self.optimizer = kinds[optimizer](self.parameters)
        self.schedule = optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)
        self.average = optim.EMA(self.parameters, 0.5)
        self.generator = tg.Generator().manual_seed(3)
        self.handles = []
        self.kept = []  # gradients of earlier calls, which nobody may change

    def forward(self, x, other, k):
        y = x * 1
        for name in self.names:
            y = PIECES[name](self, y, other, k)
        return y

    def step(self, x, other, k=1.0):
        y = self.forward(x, other, k)
        return ENDINGS[self.ending](self, y)

    def state(self):
        """All that can be seen, as bytes and Python values."""
        tensors = [self.buffer, *self.parameters, *self.average.averages]
        tensors += [b for m in self.modules for b in m.buffers()] + [self.normed.weight]
        return {
            "tensors": [bits(t) for t in tensors],
            "gradients": [None if p.grad is None else (bits(p.grad), p.grad.requires_grad) for p in self.parameters],
            "flags": [p.requires_grad for p in self.parameters] + [m.training for m in self.modules],
            "python": (
                self.count,
                list(self.seen),
                self.held.beta,
                self.scaled.scale,
                self.optimizer.param_groups[0]["lr"],
            ),
            "kept": [bits(g) for g in self.kept],
            "random": str(self.generator.get_state()),
        }


def bits(x):
    array = x.detach().numpy()
    return array.dtype.str, array.shape, array.tobytes()


def helper(world, y):
    return world.table["dropout"](y)


def counted(world, y):
    world.count += 1
    return y


def appended(world, y):
    world.seen.append(len(world.seen))
    return y


def printed(world, y):
    print("here")
    return y


def without_grad(world, y):
    with tg.no_grad():
        return y * world.w


def in_place(world, y):
    z = y * 2
    z.add_(1.0)
    return z


def hooked(world, y):
    if y.requires_grad:
        y.register_hook(lambda g: 2 * g)
    return y


def cleared(world, y):
    world.w.grad = None
    return y


PIECES = {
    "times w": lambda s, y, o, k: y * s.w,
    "other": lambda s, y, o, k: y * o,
    "other again": lambda s, y, o, k: tg.where(o > 0, y, o * 2),
    "root of integers": lambda s, y, o, k: y + (o > 0).float() + (o * 0 + 4).sqrt(),
    "times k": lambda s, y, o, k: y * k,
    "by k": lambda s, y, o, k: tg.tanh(1 / (y * k)),
    "if k": lambda s, y, o, k: y + 1 if k is True else y - 1,
    "linear": lambda s, y, o, k: s.table["linear"](y.to(s.table["linear"].weight.dtype)),
    "dropout": lambda s, y, o, k: helper(s, y),
    "norm": lambda s, y, o, k: s.held.norm(y.to(s.held.norm.weight.dtype)),
    "blend": lambda s, y, o, k: s.scaled.blend(y),
    "weight norm": lambda s, y, o, k: s.normed(y.to(s.normed.bias.dtype)),
    "beta": lambda s, y, o, k: y * s.held.beta,
    "buffer": lambda s, y, o, k: y + s.buffer,
    "array": lambda s, y, o, k: y + tg.tensor(s.array),
    "detached": lambda s, y, o, k: y * s.w.detach() + y.detach(),
    "constant": lambda s, y, o, k: y + tg.ones(3),
    "noise": lambda s, y, o, k: y + tg.randn(3) * tg.rand(3, generator=s.generator),
    "choice": lambda s, y, o, k: y * tg.randint(0, 2, (3,)),
    "without grad": lambda s, y, o, k: y + without_grad(s, y),
    "sum": lambda s, y, o, k: y + y.sum(0, keepdim=True).float(),
    "functional dropout": lambda s, y, o, k: F.dropout(y, 0.5, training=s.scaled.training),
    "frozen?": lambda s, y, o, k: y * 2 if s.w.requires_grad else y,
}
REFUSED = {
    "count": lambda s, y, o, k: counted(s, y),
    "append": lambda s, y, o, k: appended(s, y),
    "print": lambda s, y, o, k: printed(s, y),
    "in place": lambda s, y, o, k: in_place(s, y),
    "hook": lambda s, y, o, k: hooked(s, y),
    "item": lambda s, y, o, k: y * float(y.detach().sum().item() > 0),
    "clear": lambda s, y, o, k: cleared(s, y),
    "seed": lambda s, y, o, k: (tg.manual_seed(0), y * tg.rand(3))[1],
    "fresh generator": lambda s, y, o, k: y * tg.rand(3, generator=tg.Generator().manual_seed(1)),
}
PIECES |= REFUSED


def trained(world, y):
    world.optimizer.zero_grad()
    loss = y.square().mean()
    loss.backward()
    world.optimizer.step()
    world.average.update()
    world.schedule.step()
    return {"loss": loss, "y": [y.detach()]}


def accumulated(world, y):
    (y * y.detach()).mean().backward()
    return y.detach()[:1], None, 3


def penalised(world, y):
    (g,) = tg.grad(y.square().mean(), world.w, create_graph=True, allow_unused=True)
    loss = y.mean() if g is None else y.mean() + (g * g).sum()
    loss.backward()
    return loss / 2


ENDINGS = {
    "trained": trained,
    "accumulated": accumulated,
    "penalised": penalised,
    "detached": lambda s, y: y.detach(),
    "graph": lambda s, y: y,
    "leaf": lambda s, y: (s.w, y.detach()),
}

# What happens between two calls


def hook(world):
    if world.handles:
        world.handles.pop().remove()
    elif world.w.requires_grad:
        world.handles.append(world.w.register_hook(lambda g: 3 * g))


def forward_hook(world):
    if len(world.handles) > 1:
        world.handles.pop(0).remove()
    else:
        world.handles.append(world.table["linear"].register_forward_hook(lambda m, args, out: out * 2))


def replace_module(world):
    tg.manual_seed(7)
    world.table["linear"] = nn.Linear(3, 3)


def other_dtype(world):
    world.w.data = world.w.detach().to(tg.float64 if world.w.dtype == tg.float32 else tg.float32)


def flip(values, name):
    values[name] = 0.25 if values[name] == 0.5 else 0.5


CHANGES = {
    "nothing": lambda s: None,
    "evaluate": lambda s: [m.eval() for m in s.modules],
    "dropout's mode": lambda s: s.table["dropout"].train(not s.table["dropout"].training),
    "norm's mode": lambda s: s.held.norm.train(not s.held.norm.training),
    "scaled's mode": lambda s: s.scaled.train(not s.scaled.training),
    "freeze w": lambda s: s.w.requires_grad_(not s.w.requires_grad),
    "freeze linear": lambda s: s.table["linear"].requires_grad_(not s.table["linear"].weight.requires_grad),
    "hook": hook,
    "forward hook": forward_hook,
    "beta": lambda s: flip(vars(s.held), "beta"),
    "scale": lambda s: setattr(s.scaled, "scale", -s.scaled.scale),
    "power": lambda s: s.scaled.options.update(power=3),
    "probability": lambda s: setattr(s.table["dropout"], "p", 0.75 - s.table["dropout"].p),
    "array": lambda s: s.array.__imul__(2),
    "buffer": lambda s: s.buffer.mul_(2),
    "other buffer": lambda s: setattr(s, "buffer", tg.tensor([3.0, 1.0, 2.0])),
    "replace": replace_module,
    "dtype": other_dtype,
    "values": lambda s: s.w.data.mul_(0.5),
    "zero_grad": lambda s: s.optimizer.zero_grad(),
    "a gradient": lambda s: setattr(s.w, "grad", tg.ones_like(s.w)),
    "keep": lambda s: s.kept.extend(p.grad for p in s.parameters if p.grad is not None),
    "lr": lambda s: s.optimizer.param_groups[0].update(lr=0.3),
}
INPUTS = {
    "float32": lambda rng, n: tg.tensor(rng.standard_normal((n, 3)).astype(np.float32)),
    "float64": lambda rng, n: tg.tensor(rng.standard_normal((n, 3))),
    "int64": lambda rng, n: tg.tensor(rng.integers(1, 4, (n, 3))),
    "int8": lambda rng, n: tg.tensor(rng.integers(1, 4, (n, 3)).astype(np.int8)),
    "bool": lambda rng, n: tg.tensor(rng.random((n, 3)) > 0.5),
    "strided": lambda rng, n: tg.tensor(rng.standard_normal((3, n)).astype(np.float32)).T,
}
OTHERS = {
    "own": lambda s, x, rng: tg.tensor(rng.standard_normal((1, 3)).astype(np.float32)),
    "same": lambda s, x, rng: x,
    "detached": lambda s, x, rng: x.detach(),
    "buffer": lambda s, x, rng: s.buffer,
    "integers": lambda s, x, rng: tg.tensor([1, 2, 3]),
}
NUMBERS = (1.0, 1, True, 2, 2.0, 0.0, -0.0, float("nan"), np.float64(2.0), np.float32(2.0))
MODES = {"plain": contextlib.nullcontext, "no_grad": tg.no_grad, "anomaly": tg.autograd.detect_anomaly}

SETTINGS = {
    "input": sorted(INPUTS),
    "other": sorted(OTHERS),
    "number": NUMBERS,
    "rows": (4, 2),
    "mode": sorted(MODES),
    "how": ("by place", "by name"),
}
START = {"input": "float32", "other": "own", "number": 1.0, "rows": 4, "mode": "plain", "how": "by place"}

settings_of_a_call = st.sampled_from(sorted(SETTINGS)).flatmap(
    lambda name: st.sampled_from(SETTINGS[name]).map(lambda value: {name: value})
)
events = st.tuples(
    st.sampled_from(sorted(CHANGES)).map(lambda name: {"change": name}) | settings_of_a_call | st.just({}),
    st.integers(1, 4),
)
steps = st.fixed_dictionaries(
    {
        "names": st.lists(st.sampled_from(sorted(PIECES.keys() - REFUSED)), min_size=1, max_size=5)
        | st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=4),
        "ending": st.sampled_from(sorted(ENDINGS)),
        "optimizer": st.sampled_from(("momentum", "Adam")),
    }
)


def called(world, step, call, number):
    """What one call returns or raises, as bytes and Python values."""
    rng = np.random.default_rng(number)
    tg.manual_seed(number)
    x = INPUTS[call["input"]](rng, call["rows"])
    other = OTHERS[call["other"]](world, x, rng)
    try:
        with MODES[call["mode"]]():
            if call["how"] == "by place":
                result = step(x, other, call["number"])
            else:
                result = step(x, k=call["number"], other=other)
        return shown(result, world), bits(tg.rand(2)), bits(x)
    except Exception as error:
        return type(error), bits(tg.rand(2))


def shown(result, world):
    if isinstance(result, tg.Tensor):
        return bits(result), result.requires_grad, result is world.w
    if isinstance(result, dict):
        return {k: shown(v, world) for k, v in result.items()}
    return [shown(v, world) for v in result] if isinstance(result, list | tuple) else result


def play(make, events):
    """The calls in two worlds, some after each event.  Returns the reasons of refusals and the compiled step."""
    plain, replayed = make(), make()
    compiled = tg.compile(replayed.step)
    numbers = itertools.count(10)
    call = dict(START)
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        for event, times in [({}, 3), *events]:
            call |= {name: value for name, value in event.items() if name != "change"}
            for world in (plain, replayed):
                CHANGES[event.get("change", "nothing")](world)
            for number in itertools.islice(numbers, times):
                expected = called(plain, plain.step, call, number)
                got = called(replayed, compiled, call, number)
                assert got == expected, (event, call, reasons(warned))
                before, after = plain.state(), replayed.state()
                for part in before:
                    assert before[part] == after[part], (event, call, part, reasons(warned))
    return reasons(warned), compiled


def reasons(warned):
    return [str(w.message) for w in warned if str(w.message).startswith("compile:")]


@given(step=steps, events=st.lists(events, min_size=3, max_size=6))
def test_a_compiled_step_does_what_the_plain_one_does_whatever_changes(step, events):
    with np.errstate(all="ignore"):
        said, _ = play(lambda: World(**step), events)
    assert all(": " in reason.removeprefix("compile: ") for reason in said)


@given(step=steps)
def test_a_step_that_can_be_replayed_is(step):
    """Else the test above would only compare plain steps."""
    step = step | {"names": ["times w", *(n for n in step["names"] if n not in REFUSED)]}
    with np.errstate(all="ignore"):
        said, compiled = play(lambda: World(**step), [({}, 3)])
    if step["ending"] == "graph":
        return
    assert not said
    assert any(entry.program for entries in compiled._entries.values() for entry in entries)


@given(name=st.sampled_from(sorted(REFUSED.keys() - {"clear"})), ending=st.sampled_from(("trained", "accumulated")))
def test_a_step_that_cannot_is_refused_by_name(name, ending):
    with np.errstate(all="ignore"):
        said, _ = play(lambda: World(["times w", name], ending, "momentum"), [({}, 3)])
    assert said
