"""Values that a rule still needs and that were overwritten: never silently wrong.  Harmless changes are let through."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).uniform(0.5, 1.5, size=shape), requires_grad=True)


# What would be wrong is refused

VIEWS = {
    "itself": lambda x: x,
    "a view": lambda x: x.view(-1),
    "a slice": lambda x: x[:],
    "the transpose": lambda x: x.T,
    "a view of a view": lambda x: x.T[0:2].reshape(-1),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "a view of detach": lambda x: x.detach()[0],
}

CHANGES = {
    "add_": lambda v: v.add_(1),
    "zero_": lambda v: v.zero_(),
    "item assignment": lambda v: v.__setitem__(0, 5.0),
    "normal_": lambda v: v.normal_(),
    "copy_": lambda v: v.copy_(tg.ones(*v.shape)),
    "+=": lambda v: v.__iadd__(1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("view", VIEWS)
def test_a_needed_input_that_was_overwritten(view, change):
    """y = x w needs w for x: after a change of w, through whatever view, the gradient of x would be wrong."""
    x, w = leaf(2, 2), leaf(2, 2, seed=1)
    y = (x * w).sum()
    with tg.no_grad():
        CHANGES[change](VIEWS[view](w))
    with pytest.raises(
        RuntimeError, match=r"'mul' at test_engine_versions\.py:\d+ needs its argument \d.*changed in place"
    ):
        y.backward()


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_does_not_matter_when_the_view_was_taken(when):
    x, w = leaf(2, 2), leaf(2, 2, seed=1)
    early = w.detach()[0]
    y = (x * w).sum()
    late = w.detach()[0]
    (early if when == "before" else late).add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "sqrt", "reciprocal", "softmax"])
def test_a_needed_output_that_was_overwritten(name):
    x = leaf(3)
    y = getattr(x, name)(0) if name == "softmax" else getattr(x, name)()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match=f"'{name}'.*its output.*changed in place"):
        (y * 2).sum().backward()


def test_a_tensor_that_was_used_and_then_changed_by_a_recorded_operator():
    x = leaf(3)
    h = x * 2
    y = (h * h).sum()
    h.add_(1)
    with pytest.raises(RuntimeError, match=r"'mul'.*later changed in place by 'add'.*clone"):
        y.backward()


def test_an_index_that_was_changed():
    x = leaf(4)
    """An operator keeps its own copy of an index."""
    for read in (
        lambda i: x[i],
        lambda i: x.gather(0, i),
        lambda i: x.index_select(0, i),
        lambda i: x.take_along_dim(i, 0),
    ):
        index = tg.tensor([0, 1])
        y = read(index).sum()
        index.add_(2)
        (g,) = tg.grad(y, x)
        np.testing.assert_array_equal(g.numpy(), [1, 1, 0, 0])


def test_a_mask_that_was_changed():
    x = leaf(3)
    mask = tg.tensor([True, False, True])
    y = x.masked_fill(mask, 0.0).sum()
    mask[:] = False
    with pytest.raises(RuntimeError, match=r"'where'.*changed in place"):
        y.backward()
    mask = tg.tensor([True, False, True])
    z = x[mask].sum()
    mask[:] = False
    (g,) = tg.grad(z, x)
    np.testing.assert_array_equal(g.numpy(), [1, 0, 1])


def test_a_second_derivative_through_a_changed_parameter():
    x, w = leaf(3), leaf(3, seed=1)
    (g,) = tg.grad((x * w).tanh().sum(), x, create_graph=True)
    with tg.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        g.sum().backward()


def test_a_second_derivative_that_needs_only_values_that_were_kept():
    x, w = leaf(3), leaf(3, seed=1)
    (g,) = tg.grad((x * x * w).sum(), x, create_graph=True)
    before = w.detach().numpy().copy()
    with tg.no_grad():
        w.add_(1)
    (h,) = tg.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), 2 * before)


def test_new_values_by_data():
    x = leaf(3)
    y = (x * x).sum()
    x.data = tg.zeros(3, dtype=tg.float64)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_an_update_between_forward_and_backward():
    """An optimiser that steps too early."""
    w, x = leaf(3, 2), leaf(4, 3, seed=1)
    h = (x @ w).tanh() @ w.T
    loss = h.sum()
    loss.backward(retain_graph=True)
    with tg.no_grad():
        w -= 0.1 * w.grad
    with pytest.raises(RuntimeError, match=r"'matmul'.*changed in place"):
        loss.backward()


def test_a_gradient_that_is_part_of_a_graph_and_then_accumulated_into():
    x = leaf(3)
    (x**2).sum().backward()
    y = (x * x.grad).sum()
    (x**2).sum().backward()  # adds to x.grad in place
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


# What is harmless is let through


def test_changing_what_no_rule_reads():
    x, w = leaf(3), leaf(3, seed=1)
    y = (x + w).sum() + x.sum() + (w * 3.0).sum() + w.reshape(1, 3).expand(2, 3).sum() + tg.cat([x, w]).sum()
    with tg.no_grad():
        x.zero_()
        w.zero_()
    y.backward()
    assert x.grad.tolist() == [3, 3, 3] and w.grad.tolist() == [7, 7, 7]


def test_changing_the_input_of_an_operator_that_reads_its_output_only():
    x = leaf(3)
    before = x.detach().numpy().copy()
    y = x.exp().sum() + x.relu().sum()
    with tg.no_grad():
        x.zero_()
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(before) + 1)


def test_changing_the_factor_of_an_input_that_needs_no_gradient():
    """x w with constant w needs w, not x: x may change."""
    x, w = tg.ones(3, dtype=tg.float64), leaf(3)
    y = (x.clone() * w).sum()
    w.detach().zero_()
    y.backward()
    assert w.grad.tolist() == [1, 1, 1]


def test_changes_before_use_and_of_copies():
    x = leaf(3)
    with tg.no_grad():
        x.mul_(2)
    h = x.clone()
    y = (x * x).sum()
    h.add_(1)
    x.detach().clone().zero_()
    x.numpy().copy() if not x.requires_grad else None
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy())


def test_the_usual_training_step():
    w = leaf(3)
    for _ in range(3):
        loss = (w * w).sum()
        loss.backward()
        with tg.no_grad():
            w -= 0.1 * w.grad
            w.grad.zero_()
    assert loss.item() > (w * w).sum().item()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_an_optimizer_that_steps_before_backward(name):
    """An optimizer may write to the parameters through one flat array: the parameters must know."""
    from tinygen import nn, optim

    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    optimizer = getattr(optim, name)(net.parameters(), lr=0.1)
    net(tg.ones(4, 3)).sum().backward()
    loss = net(tg.ones(4, 3)).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"changed in place"):
        loss.backward()
    for update in (
        lambda: net.load_state_dict(net.state_dict()),
        lambda: nn.init.zeros_(net[2].weight),
        lambda: net[2].weight.data.zero_(),
    ):
        loss = net(tg.ones(4, 3)).sum()
        update()
        with pytest.raises(RuntimeError, match=r"changed in place"):
            loss.backward()
