"""Module: what counts as a parameter, saving and loading, moving, modes, hooks, print, and what a call costs."""

from __future__ import annotations

import copy
import timeit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.testing import assert_gradients


class Block(nn.Module):
    """One of everything: a parameter, a buffer of each kind, a part that is left out, a child, and plain attributes."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.scale = nn.Parameter(tg.ones(3))
        self.register_parameter("shift", None)
        self.register_buffer("mean", tg.zeros(3))
        self.register_buffer("cache", tg.zeros(()), persistent=False)
        self.register_buffer("absent", None)
        self.name, self.constant = "block", tg.ones(1)

    def forward(self, x):
        return (self.inner(x) - self.mean) * self.scale


@pytest.fixture
def net() -> nn.Sequential:
    return nn.Sequential(Block(), nn.ReLU(), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))


KEYS = [
    "0.scale",
    "0.mean",
    "0.inner.weight",
    "0.inner.bias",
    "2.0.weight",
    "2.0.bias",
    "2.1.weight",
    "2.1.bias",
    "2.1.running_mean",
    "2.1.running_var",
    "2.1.num_batches_tracked",
]


# What is inside


def test_names_and_their_order(net):
    assert list(net.state_dict()) == KEYS
    parameters = [k for k in KEYS if k.split(".")[-1] in ("scale", "weight", "bias")]
    assert [k for k, _ in net.named_parameters()] == parameters
    assert [k for k, _ in net.named_buffers()] == ["0.mean", "0.cache", *KEYS[-3:]]
    assert [k for k, _ in net.named_modules()] == ["", "0", "0.inner", "1", "2", "2.0", "2.1"]
    assert [k for k, _ in net.named_children()] == ["0", "1", "2"]
    assert [type(m) for m in net.children()] == [Block, nn.ReLU, nn.Sequential]
    assert len(list(net.modules())) == 7 and len(list(net.buffers())) == 5
    assert [k for k, _ in net.named_parameters("net", recurse=False)] == []
    assert [k for k, _ in net[0].named_parameters("net", recurse=False)] == ["net.scale"]
    assert net.get_submodule("2.1") is net[2][1] and net.get_submodule("") is net


def test_shared_parameters_and_modules_come_once():
    a = nn.Linear(2, 2)
    b = nn.Linear(2, 2)
    b.weight = a.weight
    net = nn.ModuleDict({"a": a, "b": b, "again": a})
    assert [k for k, _ in net.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    assert [k for k, _ in net.named_modules()] == ["", "a", "b"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert len(net.state_dict()) == 6  # under every name, as in PyTorch


def test_works_without_calling_init():
    class Forgetful(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(tg.ones(2))
            self.register_buffer("b", tg.ones(2))

        def forward(self, x):
            return x * self.weight + self.b

    m = Forgetful()
    assert list(m.state_dict()) == ["weight", "b"] and m(tg.ones(2)).tolist() == [2, 2]
    m.register_forward_hook(lambda *_: None)
    assert Forgetful()._hooks is None and nn.Module._buffers == {}


def test_a_parameter_may_be_replaced_by_one_and_removed():
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(tg.ones(2, 2))
    layer.bias = None
    assert [k for k, _ in layer.named_parameters()] == ["weight"] and layer(tg.ones(1, 2)).tolist() == [[2, 2]]
    layer.bias = nn.Parameter(tg.ones(2))
    assert [k for k, _ in layer.named_parameters()] == ["weight", "bias"]
    del layer.bias
    assert [k for k, _ in layer.named_parameters()] == ["weight"]
    with pytest.raises(TypeError, match=r"Linear: the parameter 'weight' cannot become a Tensor"):
        layer.weight = tg.ones(2, 2)


def test_a_parameter_is_a_leaf_that_shares_memory():
    x = tg.randn(3, requires_grad=True) * 2
    p = nn.Parameter(x)
    assert p.is_leaf and p.requires_grad and p.array is x.array and isinstance(p, tg.Tensor)
    assert type(p * 1) is tg.Tensor
    assert repr(nn.Parameter(tg.zeros(1))) == "Parameter containing:\ntensor([0.], requires_grad=True)"
    assert not nn.Parameter(tg.arange(3), requires_grad=False).requires_grad
    assert nn.Parameter([1.0, 2.0]).dtype == tg.float32 and nn.Parameter(np.ones(2)).dtype == tg.float64
    with pytest.raises(RuntimeError, match="floating-point"):
        nn.Parameter(tg.arange(3))


def test_deepcopy_is_independent_and_keeps_sharing():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    net[1].weight = net[0].weight
    other = copy.deepcopy(net)
    assert other[1].weight is other[0].weight is not net[0].weight
    with tg.no_grad():
        other[0].weight.fill_(7)
    other.train()(tg.randn(3, 2))
    assert not (net[0].weight == 7).any() and not net[2].running_mean.any()


# Saving and loading


def test_state_dict_shares_memory_and_is_detached(net):
    state = net.state_dict()
    assert not any(v.requires_grad for v in state.values())
    assert state["0.scale"].array is net[0].scale.array
    assert net.state_dict(keep_vars=True)["0.scale"] is net[0].scale
    assert list(net.state_dict("net.")) == ["net." + k for k in KEYS]


@pytest.mark.parametrize(
    "convert", [lambda v: v, lambda v: v.numpy(), lambda v: v.numpy().astype(np.float64), lambda v: v.tolist()]
)
def test_load_into_the_same_memory(net, convert):
    source = nn.Sequential(Block(), nn.ReLU(), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    source(tg.randn(5, 2))
    before = [(p, p.array) for p in net.parameters()]
    result = net.load_state_dict({k: convert(v) for k, v in source.state_dict().items()})
    assert result == ([], []) and result.missing_keys == []
    for p, array in before:
        assert p.array is array and p.requires_grad and p.is_leaf
    for k, v in net.state_dict().items():
        assert tg.equal(v, source.state_dict()[k]) and v.dtype == source.state_dict()[k].dtype


def test_load_reports_everything_at_once_and_changes_nothing(net):
    state = {k: v.clone() for k, v in net.state_dict().items()}
    before = {k: v.clone() for k, v in state.items()}
    with tg.no_grad():
        state["0.scale"] += 1
    del state["0.mean"], state["2.0.bias"]
    state["0.inner.weight"] = tg.zeros(3, 2).T
    state["extra"], state["2.2.weight"] = tg.zeros(4), np.zeros((1, 2))
    with pytest.raises(tg.ShapeError) as error:
        net.load_state_dict(state)
    assert str(error.value).splitlines() == [
        "load_state_dict: the values do not fit this Sequential",
        "    missing     0.mean (3,)",
        "    missing     2.0.bias (3,)",
        "    unexpected  2.2.weight (1, 2)",
        "    unexpected  extra (4,)",
        "    shape       0.inner.weight: (2, 3) given, (3, 2) needed",
    ]
    assert all(tg.equal(v, before[k]) for k, v in net.state_dict().items())
    with pytest.raises(tg.ShapeError, match=r"0\.inner\.weight"):
        net.load_state_dict(state, strict=False)
    del state["0.inner.weight"]
    with pytest.raises(RuntimeError, match="strict=False"):
        net.load_state_dict(state)
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert missing == ["0.mean", "0.inner.weight", "2.0.bias"] and unexpected == ["2.2.weight", "extra"]
    assert net[0].scale.tolist() == [2, 2, 2]


@given(
    had=st.sampled_from(["float16", "float32", "float64", "int64", "uint8", "bool"]),
    needed=st.sampled_from(["float16", "float32", "float64", "int64"]),
    numbers=st.lists(
        st.sampled_from([0.0, 1.0, -3.0, 0.5, 255.0, 1e6, 1e30, 1e300, -1e300, np.inf, -np.inf, np.nan]),
        min_size=1,
        max_size=4,
    ),
    strict=st.booleans(),
)
def test_load_keeps_the_numbers_or_says_which_it_cannot(had, needed, numbers, strict):
    """A value may be rounded to its float; it never becomes infinite, nor another integer, and then nothing is changed."""
    with np.errstate(all="ignore"):
        value = np.array(numbers).astype(had)
        rounded = value.astype(needed)
    if needed == "int64":
        fits = bool(
            had == needed
            or np.all(np.isfinite(value) & (np.abs(value.astype(float)) < 2**62))
            and np.all(value == rounded)
        )
    else:
        fits = bool(np.all(np.isfinite(rounded) | ~np.isfinite(value.astype(float))))
    net, other = nn.Module(), tg.zeros(2)
    net.register_buffer("other", other)
    net.register_buffer("x", tg.full((len(numbers),), 7, dtype=getattr(tg, needed)))
    state = {"other": np.ones(2), "x": value}
    if fits:
        net.load_state_dict(state, strict)
        np.testing.assert_array_equal(net.x.numpy(), rounded)
    else:
        with pytest.raises(ValueError, match=rf"values      x: \S+ of {had} is not a value of {needed}"):
            net.load_state_dict(state, strict)
        assert net.x.tolist() == [7] * len(numbers) and other.tolist() == [0, 0]


NOT_NUMBERS = {
    "complex numbers": np.array([1 + 2j, 1]),
    "dates": np.zeros(2, "M8[s]"),
    "time spans": np.zeros(2, "m8[s]"),
    "text": np.array(["1", "2"]),
    "bytes": np.array([b"1", b"2"]),
    "records": np.zeros(2, [("a", "f4")]),
    "Python objects": np.array([None, 1], object),
    "masked": np.ma.array([1.0, 9.0], mask=[False, True]),
    "cannot be read": [[1.0], [2.0, 3.0]],
}


@pytest.mark.parametrize("kind", NOT_NUMBERS)
def test_load_refuses_what_is_not_a_number(kind):
    layer = nn.Linear(2, 1, bias=False)
    before = layer.weight.tolist()
    value = NOT_NUMBERS[kind]
    for strict in (True, False):
        with pytest.raises(ValueError, match=rf"load_state_dict: [\s\S]*values      weight: .*{kind}"):
            layer.load_state_dict({"weight": value[None] if isinstance(value, np.ndarray) else value}, strict)
    assert layer.weight.tolist() == before
    layer.load_state_dict({"weight": np.ma.array([[1.0, 2.0]], mask=False)})  # nothing is masked
    assert layer.weight.tolist() == [[1, 2]]


def test_load_says_in_a_sentence_that_only_a_prefix_is_wrong(net):
    """And what it says to do works."""
    state = net.state_dict()
    wrapped = {f"module.{k}": v for k, v in state.items()}
    with pytest.raises(
        RuntimeError, match=r"all of the state dict's keys begin with 'module\.', as DataParallel saves them"
    ) as error:
        net.load_state_dict(wrapped)
    assert len(str(error.value).splitlines()) == 2
    advice = str(error.value).split("load ", 1)[1].removeprefix("_state_dict").strip()
    advice = advice[advice.index("{") :]
    net.load_state_dict(eval(advice, {"state_dict": wrapped}))
    outer = nn.Sequential({"net": net})
    with pytest.raises(RuntimeError, match=r"all of the module's keys begin with 'net\.'") as error:
        outer.load_state_dict(state)
    outer.load_state_dict(eval(str(error.value)[str(error.value).index("{") :], {"state_dict": state}))
    with pytest.raises(RuntimeError, match="missing"):  # neither: they are of something else
        net.load_state_dict({"module.other": tg.zeros(1)})


def test_unexpected_keys_come_in_one_order(net):
    more = {f"more.{i}": tg.zeros(1) for i in range(5)}
    for keys in (list(more), list(reversed(more))):
        found = net.load_state_dict({**net.state_dict(), **{k: more[k] for k in keys}}, strict=False)
        assert found.unexpected_keys == sorted(more)


def test_a_change_by_loading_is_seen_by_a_recorded_graph():
    layer = nn.Linear(2, 2)
    loss = layer(tg.ones(1, 2, requires_grad=True)).sum()
    layer.load_state_dict(nn.Linear(2, 2).state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# Changing all of it


def test_to_keeps_the_parameters_and_moves_the_rest(net, device):
    parameters = list(net.parameters())
    net(tg.randn(4, 2)).sum().backward()
    assert net.to(device, tg.float64) is net
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    for p in parameters:
        assert p.dtype == p.grad.dtype == tg.float64 and p.device.type == p.grad.device.type == device and p.is_leaf
    assert {str(b.dtype) for b in net.buffers()} == {"float64", "int64"}
    assert {b.device.type for b in net.buffers()} == {device}
    assert net(tg.randn(4, 2, dtype=tg.float64, device=device)).dtype == tg.float64
    net.float()
    assert net[0].scale.dtype == tg.float32 and net[2][1].num_batches_tracked.dtype == tg.int64
    assert net.cpu()[0].scale.device.type == "cpu"
    net.to(tg.zeros(1, dtype=tg.float64))
    assert net[0].scale.dtype == tg.float64 and net.half()[0].scale.dtype == tg.float16
    assert net.double()[0].mean.dtype == tg.float64


def test_to_the_same_place_changes_nothing(net):
    before = [(id(p), id(p.array)) for p in net.parameters()] + [id(b) for b in net.buffers()]
    net.to("cpu").float()
    assert before == [(id(p), id(p.array)) for p in net.parameters()] + [id(b) for b in net.buffers()]


def test_to_keeps_shared_buffers_shared():
    shared = tg.ones(2)
    a, b = nn.Module(), nn.Module()
    a.register_buffer("x", shared)
    b.register_buffer("x", shared)
    net = nn.ModuleList([a, b]).double()
    assert net[0].x is net[1].x and net[0].x.dtype == tg.float64 and shared.dtype == tg.float32


def test_to_refuses_integers(net):
    with pytest.raises(TypeError, match=r"Sequential\.to: a floating-point dtype is expected, got int64"):
        net.to(tg.int64)


def test_train_and_eval(net):
    assert net.eval() is net and not any(m.training for m in net.modules())
    net[2].train()
    assert net[2][1].training and not net.training
    assert net.train() is net and all(m.training for m in net.modules())


def test_parameters_buffers_and_modules_by_path(net):
    for path, p in net.named_parameters():
        assert net.get_parameter(path) is p
    for path, b in net.named_buffers():
        assert net.get_buffer(path) is b
    for path, m in net.named_modules():
        assert net.get_submodule(path) is m
    new = nn.Tanh()
    net.set_submodule("2.1", new)
    assert net.get_submodule("2.1") is new and net[2][1] is new
    for call, what in (
        (lambda: net.get_parameter("0.mean"), "get_parameter: Block has no parameter 'mean'"),
        (lambda: net.get_buffer("0.scale"), "get_buffer: Block has no buffer 'scale'"),
        (lambda: net.get_parameter("0.nothing"), "get_parameter: Block has no parameter 'nothing'"),
        (lambda: net.get_parameter("7.weight"), "get_submodule: Sequential has no child '7'"),
        (lambda: net.set_submodule("7.weight", new), "get_submodule: Sequential has no child '7'"),
    ):
        with pytest.raises(AttributeError, match=what):
            call()


def test_pytorchs_dicts_may_be_looked_at_and_not_changed(net):
    assert dict(net._modules) == dict(net.named_children())
    assert list(net[0]._parameters) == [k for k, _ in net[0].named_parameters(recurse=False)]
    with pytest.raises(TypeError, match="does not support item assignment"):
        net._modules["0"] = nn.Tanh()


def test_children_and_buffers_do_not_silently_become_something_else(net):
    for name, value, message in (
        ("inner", tg.ones(1), "the child 'inner' cannot become a Tensor"),
        ("inner", lambda x: x, "the child 'inner' cannot become a function"),
        ("mean", np.ones(3), "the buffer 'mean' cannot become a ndarray"),
        ("mean", 0.0, "the buffer 'mean' cannot become a float"),
    ):
        with pytest.raises(TypeError, match=f"Block: {message}"):
            setattr(net[0], name, value)
    net[0].inner = nn.Tanh()
    net[0].mean = tg.ones(3)
    net[0].inner = net[0].mean = None
    assert not list(net[0].children()) and "mean" not in net[0].state_dict()
    del net[0].inner
    net[0].inner = "a name that is free"


def test_apply_visits_children_first():
    visited = []
    net = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    assert net.apply(visited.append) is net
    assert visited == [net[0], net[1][0], net[1], net]


def test_zero_grad_and_requires_grad(net):
    net(tg.randn(4, 2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert not any(p.grad.any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    assert not net(tg.randn(4, 2)).requires_grad
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())


# Hooks


def test_hooks_see_and_replace():
    layer, seen = nn.Identity(), []
    handles = [
        layer.register_forward_pre_hook(lambda m, args: (args[0] + 1,)),
        layer.register_forward_pre_hook(lambda m, args: args[0] * 10),
        layer.register_forward_hook(lambda m, args, out: seen.append((m, args[0].item(), out.item()))),
        layer.register_forward_hook(lambda m, args, out: -out),
    ]
    assert layer(tg.tensor(1.0)).item() == -20
    assert seen == [(layer, 20.0, 20.0)]
    for handle in handles:
        handle.remove()
    assert layer(tg.tensor(1.0)).item() == 1 and len(seen) == 1
    with layer.register_forward_hook(lambda *_: tg.tensor(5.0)):
        assert layer(tg.tensor(1.0)).item() == 5
    assert layer(tg.tensor(1.0)).item() == 1


# In print


def test_repr(net):
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Block(\n"
        "    (inner): Linear(in_features=2, out_features=3, bias=True)\n"
        "  )\n"
        "  (1): ReLU()\n"
        "  (2): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=3, bias=True)\n"
        "    (1): BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)\n"
        "  )\n"
        ")"
    )


def test_forward_must_be_defined():
    with pytest.raises(NotImplementedError, match="Unfinished defines no method forward"):
        type("Unfinished", (nn.Module,), {})()(1)


def test_gradients_of_a_learners_module():
    assert_gradients(Block().double(), tg.randn(4, 2, dtype=tg.float64))


def test_a_call_costs_little():
    """At most a microsecond more than forward itself: the best of many tries, because other processes disturb."""
    layer = nn.Identity()
    call = min(timeit.repeat(lambda: layer(None), number=2000, repeat=20)) / 2000
    direct = min(timeit.repeat(lambda: layer.forward(None), number=2000, repeat=20)) / 2000
    assert call - direct < 1e-6
