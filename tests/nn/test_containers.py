"""Sequential, ModuleList, ModuleDict, ParameterList behave as lists and dicts do, and are found."""

from __future__ import annotations

import pytest

import tinygen as tg
from tinygen import nn


def linears(n: int) -> list[nn.Linear]:
    return [nn.Linear(2, 2) for _ in range(n)]


def test_sequential_is_composition():
    a, b = linears(2)
    x = tg.randn(3, 2)
    assert tg.equal(nn.Sequential(a, nn.Tanh(), b)(x), b(a(x).tanh()))
    assert nn.Sequential()(x) is x


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_numbered_containers_are_lists(kind):
    a, b, c, d = linears(4)
    net = kind(a, b, c) if kind is nn.Sequential else kind([a, b, c])
    assert len(net) == 3 and list(net) == [a, b, c] and list(reversed(net)) == [c, b, a]
    assert net[0] is a and net[-1] is c and b in net and d not in net
    assert type(net[1:]) is kind and list(net[1:]) == [b, c] and list(net[::-2]) == [c, a]
    assert net.append(d) is net and list(net) == [a, b, c, d]
    del net[1]
    assert list(net) == [a, c, d] and [k for k, _ in net.named_children()] == ["0", "1", "2"]
    net.insert(1, b)
    assert list(net) == [a, b, c, d]
    net[-1] = a
    assert net[3] is a
    net.extend(linears(1))
    net += linears(1)
    assert len(net) == 6 and len(net + linears(2)) == 8 and len(net) == 6
    del net[1:5]
    assert len(net) == 2
    for bad in (2, -3):
        with pytest.raises(IndexError, match=f"{kind.__name__}: index {bad} is out of range for 2 members"):
            net[bad]
    with pytest.raises(TypeError, match=f"{kind.__name__}: an nn.Module is expected, got function"):
        net.append(lambda x: x)


def test_a_slice_of_a_sequential_shares_the_layers_and_keeps_their_names():
    net = nn.Sequential(*linears(3))
    part = net[1:]
    assert list(part.state_dict()) == ["1.weight", "1.bias", "2.weight", "2.bias"]
    part.load_state_dict({k: v for k, v in net.state_dict().items() if k[0] != "0"})
    assert part[0] is net[1]
    last = nn.Tanh()
    assert list(part.append(last)) == [net[1], net[2], last] and [k for k, _ in part.named_children()] == [
        "0",
        "1",
        "2",
    ]


def test_sequential_with_names():
    net = nn.Sequential({"first": nn.Linear(2, 3), "last": nn.Linear(3, 1)})
    assert list(net.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert net[1] is net.last and net(tg.randn(4, 2)).shape == (4, 1)


def test_module_list_in_a_model():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))

        def forward(self, x):
            for layer in reversed(self.layers):
                x = layer(x)
            return x

    net = Net()
    assert [k for k, _ in net.named_parameters()] == [f"layers.{i}.{p}" for i in range(2) for p in ("weight", "bias")]
    assert net(tg.randn(1, 2)).shape == (1, 2)
    with pytest.raises(NotImplementedError, match="ModuleList defines no method forward"):
        net.layers(1)


def test_module_dict():
    a, b, c = linears(3)
    net = nn.ModuleDict({"a": a})
    net["b"] = b
    net.update([("c", c), ("a", c)])
    assert list(net) == list(net.keys()) == ["a", "b", "c"] and list(net.values()) == [c, b, c]
    assert dict(net.items())["b"] is b and "b" in net and "x" not in net and len(net) == 3
    del net["b"]
    assert list(net) == ["a", "c"]
    with pytest.raises(KeyError):
        net["b"]
    with pytest.raises(KeyError):
        del net["training"]
    for name in ("keys", "a.b", "", "training"):
        with pytest.raises(KeyError, match=r"register_module|attribute"):
            net[name] = a


def test_parameter_list():
    p = nn.ParameterList([tg.ones(2), nn.Parameter(tg.zeros(1))])
    p.append(tg.ones(3, 3))
    assert [k for k, _ in p.named_parameters()] == ["0", "1", "2"] and len(p) == 3
    assert all(isinstance(x, nn.Parameter) for x in p) and p[-1].shape == (3, 3)
    assert [x.shape for x in p[:2]] == [(2,), (1,)]
    assert repr(p).splitlines() == [
        "ParameterList(",
        "  (0): Parameter containing: [float32 of size 2]",
        "  (1): Parameter containing: [float32 of size 1]",
        "  (2): Parameter containing: [float32 of size 3x3]",
        ")",
    ]
    assert repr(nn.Sequential(nn.ModuleDict({"a": p}))).splitlines()[2:4] == [
        "    (a): ParameterList(",
        "      (0): Parameter containing: [float32 of size 2]",
    ]


@pytest.mark.parametrize("kind", [nn.ModuleDict, nn.ParameterDict])
def test_named_containers_are_dicts(kind):
    """Step by step the same as a dict."""
    a, b, c = linears(3) if kind is nn.ModuleDict else [nn.Parameter(tg.ones(i + 1)) for i in range(3)]
    ours, plain = kind({"a": a, "b": b}), {"a": a, "b": b}

    def check() -> None:
        assert list(ours) == list(plain) == list(ours.keys()) and len(ours) == len(plain)
        assert list(reversed(ours)) == list(reversed(plain))
        assert all(x is y for x, y in zip(ours.values(), plain.values(), strict=True))
        assert all(ours[k] is v for k, v in plain.items()) and [k for k, _ in ours.items()] == list(plain)
        found = {id(p) for p in ours.parameters()}
        assert found == {id(p) for v in plain.values() for p in (v.parameters() if kind is nn.ModuleDict else [v])}

    check()
    for each in (ours, plain):
        each["c"] = c
        each["a"] = b
        each.update({"d": a})
    check()
    assert ours.pop("c") is plain.pop("c") and "c" not in ours and "d" in ours
    check()
    for each in (ours, plain):
        with pytest.raises(KeyError, match="nothing"):
            each.pop("nothing")
        with pytest.raises(KeyError, match="nothing"):
            del each["nothing"]
        each.update([("e", c)])
    check()
    with pytest.raises(KeyError, match="has an attribute 'keys' already"):
        ours["keys"] = a
    with pytest.raises(KeyError, match="without dots"):
        ours["a.b"] = a
    ours.clear()
    assert len(ours) == 0 and not list(ours.parameters())


def test_parameter_dict():
    p = nn.ParameterDict({"w": tg.ones(2, 3), "b": nn.Parameter(tg.zeros(()))})
    assert all(isinstance(x, nn.Parameter) for x in p.values()) and list(p.state_dict()) == ["w", "b"]
    assert p.get("w") is p["w"] is p.w and p.get("no") is None and p.get("no", 3) == 3
    assert p.setdefault("w", tg.zeros(1)) is p["w"] and p.setdefault("c", tg.zeros(1)).shape == (1,)
    copy = p.copy()
    del copy["w"]
    assert list(p) == ["w", "b", "c"] and list(copy) == ["b", "c"] and copy["b"] is p["b"]
    assert repr(copy).splitlines()[1] == "  (b): Parameter containing: [float32 of size ()]"


def test_a_misfit_says_where_it_is_and_what_fits():
    """The path in the nested Sequentials, and a Linear that would take the input."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Sequential({"flat": nn.Flatten(), "out": nn.Linear(999, 10)}))
    with pytest.raises(
        tg.ShapeError, match=r"Linear\(in_features=999, .* got \(4, 1568\); use Linear\(1568, 10\)"
    ) as error:
        net(tg.zeros(4, 1, 16, 16))
    assert error.value.__notes__ == [
        "in module 1.out of the Sequential: Linear(in_features=999, out_features=10, bias=True)"
    ]
    with pytest.raises(tg.ShapeError, match=r"got \(4, 2, 3\); put an nn\.Flatten\(\) before it"):
        nn.Linear(6, 1)(tg.zeros(4, 2, 3))
    nn.Sequential(nn.Flatten(), nn.Linear(6, 1))(tg.zeros(4, 2, 3))
    with pytest.raises(tg.ShapeError, match=r"got \(4,\).*unsqueeze\(1\)"):
        nn.Linear(1, 1)(tg.zeros(4))
