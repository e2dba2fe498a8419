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
    assert repr(p).startswith("ParameterList((0): Parameter of shape (2,), float32\n")
