"""What all optimizers share: flat memory that nobody notices, groups, state, and errors that help."""

import copy

import numpy as np
import pytest

import tinygen as tg
from tests.optim.test_rules import CASES, IDS, arrays, assert_same, draws, give, leaves
from tinygen import nn, optim


def make(name, args, params):
    return getattr(optim, name)(params, **args)


# Parameters in one piece of memory


def test_the_parameters_stay_the_same_objects_with_the_same_values():
    values = draws(np.random.default_rng(0))
    params = leaves(values)
    names = [id(p) for p in params]
    optimizer = optim.SGD(params, lr=0.0)
    give(params, values)
    optimizer.step()
    assert [id(p) for p in params] == names and all(p.is_leaf and p.requires_grad for p in params)
    for a, b in zip(arrays(params), values, strict=True):
        np.testing.assert_array_equal(a, b)
    # one piece of memory: neighbours lie next to each other
    first, second = params[0].array, params[1].array
    assert second.__array_interface__["data"][0] == first.__array_interface__["data"][0] + first.nbytes


@pytest.mark.parametrize("name,_,args", CASES, ids=IDS)
def test_a_step_leaves_gradients_and_other_tensors_alone(name, _, args):
    rng = np.random.default_rng(1)
    params, frozen = leaves(draws(rng)), leaves(draws(rng))
    bystanders = arrays(frozen)
    gradients = draws(rng)
    give(params, gradients)
    given = [p.grad for p in params]
    before = [g.array.copy() for g in given]
    optimizer = make(name, args, params + frozen)
    optimizer.step()
    assert all(p.grad is g for p, g in zip(params, given, strict=True))
    for g, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(g.array, b)
    for a, b in zip(arrays(frozen), bystanders, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not any(p in optimizer.state for p in frozen)


def test_two_optimizers_over_disjoint_parameters_do_not_touch_each_other():
    rng = np.random.default_rng(2)
    values = draws(rng)
    generator, discriminator = leaves(values), leaves(values)
    g, d = optim.Adam(generator, lr=0.1), optim.SGD(discriminator, lr=0.1)
    give(generator, values)
    give(discriminator, values)
    g.step()
    untouched = arrays(discriminator)
    assert_same(discriminator, values)
    d.step()
    moved = arrays(generator)
    d.step()
    assert_same(generator, moved)
    assert any((a != b).any() for a, b in zip(arrays(discriminator), untouched, strict=True))


def test_two_optimizers_may_take_turns_on_the_same_parameters():
    """Each takes the parameters into its own memory when it is its turn; values and state of both stay right."""
    rng = np.random.default_rng(3)
    values = draws(rng)
    shared = leaves(values)
    first, second = optim.SGD(shared, lr=0.1, momentum=0.5), optim.SGD(shared, lr=0.1, momentum=0.5)
    buffers = [[np.zeros_like(v) for v in values] for _ in range(2)]
    for n in range(6):
        gradients = draws(rng)
        give(shared, gradients)
        (first, second)[n % 2].step()
        for i, g in enumerate(gradients):
            buffers[n % 2][i] = 0.5 * buffers[n % 2][i] + g
            values[i] = values[i] - 0.1 * buffers[n % 2][i]
    assert_same(shared, values, rtol=1e-12)


def test_follows_a_module_that_changes_its_dtype():
    """module.double() after the construction, and again in the middle of training; the state comes along."""
    rng = np.random.default_rng(4)
    layer = nn.Linear(3, 2)
    optimizer = optim.Adam(layer.parameters(), lr=0.1)
    layer.double()
    values, moments = arrays(layer.parameters()), [[0.0, 0.0] for _ in range(2)]
    for t in range(1, 7):
        gradients = draws(rng, [(2, 3), (2,)])
        give(list(layer.parameters()), gradients)
        optimizer.step()
        for i, g in enumerate(gradients):
            moments[i] = [0.9 * moments[i][0] + 0.1 * g, 0.999 * moments[i][1] + 0.001 * g**2]
            m, v = moments[i][0] / (1 - 0.9**t), moments[i][1] / (1 - 0.999**t)
            values[i] = values[i] - 0.1 * m / (np.sqrt(v) + 1e-8)
        if t == 3:
            assert layer.weight.dtype == np.float64
            assert_same(layer.parameters(), values, rtol=1e-12)
            layer.float()
    assert layer.weight.dtype == np.float32 and optimizer.state[layer.weight]["exp_avg"].dtype == np.float32
    # since the change three steps of a dozen float32 roundings each
    assert_same(layer.parameters(), values, rtol=1e-5, atol=1e-5)


def test_follows_values_that_are_replaced():
    (p,) = leaves([[1.0, 2.0]])
    optimizer = optim.SGD([p], lr=1.0)
    give([p], [[1.0, 1.0]])
    optimizer.step()
    p.data = tg.tensor([10.0, 20.0], dtype=np.float64)
    optimizer.step()
    assert p.tolist() == [9.0, 19.0]
    with tg.no_grad():
        p.fill_(5.0)
    optimizer.step()
    assert p.tolist() == [4.0, 4.0]


def test_a_parameter_must_keep_its_shape():
    (p,) = leaves([[1.0, 2.0]])
    optimizer = optim.Adam([p])
    give([p], [[1.0, 1.0]])
    optimizer.step()
    p.data = tg.zeros(3, dtype=np.float64)
    with pytest.raises(tg.ShapeError, match=r"'exp_avg' of shape \(2,\).*\(3,\) now"):
        optimizer.step()


def test_a_step_is_a_change_in_place():
    """A graph that was recorded before the step must not be differentiated with the weights after it..."""
    (p, q) = leaves([[1.0, 2.0], [3.0, 4.0]])
    optimizer = optim.SGD([p, q], lr=0.1)
    for _ in range(2):  # in the first step the parameters move to their buffer, in the second they are there
        product, alone = (p * p).sum(), (q * q).sum()
        give([p], [[1.0, 1.0]])
        q.grad = None
        optimizer.step()
        with pytest.raises(RuntimeError, match="changed in place"):
            product.backward()
        alone.backward()  # ... but q had no gradient, so it did not change
        np.testing.assert_allclose(q.grad.numpy(), 2 * q.detach().numpy())


def test_views_taken_after_the_first_step_follow():
    (p,) = leaves([[1.0, 2.0]])
    optimizer = optim.SGD([p], lr=1.0)
    give([p], [[1.0, 1.0]])
    optimizer.step()
    view = p.detach()
    optimizer.step()
    assert view.tolist() == p.tolist() == [-1.0, 0.0]


def test_a_gradient_of_the_wrong_shape_is_refused():
    (p,) = leaves([np.ones((2, 3))])
    with pytest.raises(
        tg.ShapeError, match=r"grad: a gradient of shape \(3, 2\) does not fit a tensor of shape \(2, 3\)"
    ):
        p.grad = tg.zeros(3, 2, dtype=np.float64)
    p.grad = tg.zeros(2, 3, dtype=np.float64)
    p.data = tg.zeros(3, 2, dtype=np.float64)
    with pytest.raises(tg.ShapeError, match=r"step: a parameter of shape \(3, 2\) has a gradient of shape \(2, 3\)"):
        optim.SGD([p]).step()


def test_one_group_may_mix_dtypes():
    (a,), (b,) = leaves([[1.0, 2.0]], dtype=np.float32), leaves([[3.0]])
    optimizer = optim.SGD([a, b], lr=0.5)
    give([a, b], [[1.0, 1.0], [2.0]])
    optimizer.step()
    assert a.tolist() == [0.5, 1.5] and b.tolist() == [2.0]
    assert a.dtype == np.float32 and b.dtype == np.float64


# Groups


def test_groups_have_their_own_hyper_parameters():
    p, q, r = leaves([[1.0], [1.0], [1.0]])
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 0.5, "weight_decay": 1.0}], lr=0.1)
    optimizer.add_param_group({"params": [r], "lr": 0.0})
    give([p, q, r], [[1.0]] * 3)
    optimizer.step()
    assert [x.item() for x in (p, q, r)] == [pytest.approx(0.9), pytest.approx(0.0), 1.0]
    optimizer.param_groups[2]["lr"] = 1.0
    optimizer.step()
    assert r.item() == 0.0


def test_a_group_that_joins_later_starts_its_own_count():
    """Adam's bias correction belongs to the parameter: the first step of a new group has size lr too."""
    p, q = leaves([[0.0], [0.0]])
    optimizer = optim.Adam([p], lr=0.1, eps=0)
    for _ in range(5):
        give([p], [[1.0]])
        optimizer.step()
    optimizer.add_param_group({"params": [q]})
    give([q], [[1e-3]])
    optimizer.step()
    assert q.item() == pytest.approx(-0.1, rel=1e-12)
    assert optimizer.state[p]["step"] == 6 and optimizer.state[q]["step"] == 1


def test_momentum_that_is_switched_on_later():
    (p,) = leaves([[0.0]])
    optimizer = optim.SGD([p], lr=1.0)
    give([p], [[1.0]])
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    assert p.item() == -1 - 1 - 1.5


# zero_grad, closure


def test_zero_grad():
    (p,) = leaves([[1.0, 2.0]])
    optimizer = optim.SGD([p])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is None
    give([p], [[1.0, 1.0]])
    g = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is g and g.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_step_calls_the_closure_and_returns_its_loss():
    (p,) = leaves([[3.0]])
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.item() == 0.0
    assert optimizer.step() is None


# State


@pytest.mark.parametrize("name,_,args", CASES, ids=IDS)
def test_a_run_that_was_saved_goes_on_bit_for_bit(name, _, args, device):
    rng = np.random.default_rng(7)
    values = draws(rng)
    plan = [[None if rng.random() < 0.3 else g for g in draws(rng)] for _ in range(8)]

    def run(params, optimizer, steps):
        for gradients in steps:
            give(params, gradients)
            optimizer.step()

    through = leaves(values, device)
    run(through, make(name, args, through), plan)

    params = leaves(values, device)
    optimizer = make(name, args, params)
    run(params, optimizer, plan[:4])
    saved, stopped_at = copy.deepcopy(optimizer.state_dict()), arrays(params)

    resumed = leaves(stopped_at, device)
    other = make(name, {"lr": 123.0}, resumed)
    other.load_state_dict(saved)
    run(params, optimizer, plan[4:])  # the first one goes on as well: nothing may be shared
    run(resumed, other, plan[4:])
    for a, b, c in zip(arrays(through), arrays(resumed), arrays(params), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_state_is_readable_per_parameter():
    (p, q) = leaves([np.ones((2, 3)), np.ones(4)])
    optimizer = optim.Adam([p, q], lr=0.1, betas=(0.5, 0.9))
    assert optimizer.state == {}
    give([q], [np.full(4, 2.0)])
    optimizer.step()
    assert set(optimizer.state) == {q}
    assert optimizer.state[q]["step"] == 1
    assert optimizer.state[q]["exp_avg"].tolist() == [1.0] * 4
    moments = optimizer.state[q]["exp_avg"]
    optimizer.step()
    assert moments.tolist() == [1.5] * 4  # a view, not a copy
    assert optimizer.state_dict()["state"].keys() == {1}
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 1]


def test_numpy_arrays_are_understood_by_load_state_dict():
    (p,) = leaves([[1.0]])
    optimizer = optim.Adam([p])
    state = optimizer.state_dict()
    state["state"] = {
        0: {"step": np.array(3.0), "exp_avg": np.array([0.5]), "exp_avg_sq": np.array([0.25], np.float32)}
    }
    optimizer.load_state_dict(state)
    assert optimizer.state[p]["step"] == 3 and optimizer.state[p]["exp_avg_sq"].tolist() == [0.25]


def test_load_state_dict_changes_nothing_if_something_does_not_fit():
    (p,) = leaves([[1.0]])
    optimizer = optim.Adam([p], lr=0.1)
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 5.0
    good = {"step": 1, "exp_avg": np.ones(1), "exp_avg_sq": np.ones(1)}
    for bad, error, words in [
        ({0: {**good, "max_exp_avg_sq": np.ones(1)}}, ValueError, "max_exp_avg_sq"),
        ({0: {"step": 1}}, ValueError, r"has the state \[\], expected \['exp_avg', 'exp_avg_sq'\]"),
        ({0: {**good, "exp_avg": np.ones(2)}}, tg.ShapeError, r"'exp_avg' of shape \(2,\)"),
    ]:
        with pytest.raises(error, match=words):
            optimizer.load_state_dict({**state, "state": bad})
        assert optimizer.param_groups[0]["lr"] == 0.1 and optimizer.state == {}
    with pytest.raises(ValueError, match=r"groups of \[1, 1\] parameters, this optimizer has \[1\]"):
        optimizer.load_state_dict({"state": {}, "param_groups": state["param_groups"] * 2})


# Errors


@pytest.mark.parametrize(
    "name,args,words",
    [
        ("SGD", {"lr": -1.0}, "SGD: lr must be >= 0, got -1.0"),
        ("SGD", {"lr": float("nan")}, "SGD: lr must be >= 0, got nan"),
        ("SGD", {"momentum": -0.1}, "momentum"),
        ("SGD", {"weight_decay": -0.1}, "weight_decay"),
        ("SGD", {"nesterov": True}, "Nesterov's momentum needs momentum > 0"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening=0.1"),
        ("Adam", {"betas": (0.9, 1.0)}, r"Adam: betas must be two numbers from 0 to below 1, got \(0.9, 1.0\)"),
        ("AdamW", {"betas": (-0.1, 0.9)}, "AdamW: betas"),
        ("Adam", {"eps": -1e-8}, "eps"),
        ("RMSprop", {"alpha": -0.5}, "alpha"),
        ("Adagrad", {"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
    ],
)
def test_hyper_parameters_out_of_range(name, args, words):
    with pytest.raises(ValueError, match=words):
        make(name, args, leaves([[1.0]]))
    with pytest.raises(ValueError, match=words):  # in a group too
        make(name, {}, [{"params": leaves([[1.0]]), **args}])


def test_bad_parameters():
    (p,) = leaves([[1.0]])
    for params, error, words in [
        ([], ValueError, "SGD: got no parameters.*nn.ModuleList"),
        (nn.Linear(1, 1), TypeError, r"got the module Linear; pass its parameters\(\)"),
        (nn.Linear(1, 1).parameters, TypeError, r"got the function 'parameters'; call it"),
        ([nn.Linear(1, 1)], TypeError, r"parameter 0 is a Linear, a module; .*nn.ModuleList\(layers\).parameters\(\)"),
        (nn.ModuleList([nn.Linear(1, 1)]), TypeError, "got the module ModuleList"),
        (nn.ReLU().parameters(), ValueError, "got no parameters"),
        (p, TypeError, r"write \[params\]"),
        ([p, p], ValueError, "given twice"),
        ([{"params": [p]}, {"params": [p]}], ValueError, "given twice"),
        ([{"lr": 1.0}], TypeError, "'params'"),
        ([{"params": {p}}], TypeError, "set"),
        ([np.ones(3)], TypeError, "parameter 0 is a ndarray"),
        ([p, p * 2], TypeError, "parameter 1 was made by 'mul'"),
        ([tg.tensor([1, 2])], TypeError, "parameter 0 has dtype int64"),
    ]:
        with pytest.raises(error, match=words):
            optim.SGD(params)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_pytorchs_choices_among_implementations_are_accepted_and_change_nothing(name):
    quiet = {"foreach": True, "fused": None, "capturable": True, "differentiable": False}
    (p,), (q,) = leaves([[1.0, 2.0]]), leaves([[1.0, 2.0]])
    one, other = make(name, {"lr": 0.1}, [p]), make(name, {"lr": 0.1, **quiet}, [q])
    assert one.defaults == other.defaults
    for x, optimizer in ((p, one), (q, other)):
        give([x], [[0.5, -1.0]])
        optimizer.step()
    assert p.tolist() == q.tolist()
    with pytest.raises(ValueError, match=f"{name}: differentiable=True is not offered"):
        make(name, {"differentiable": True}, [p])
    with pytest.raises(TypeError, match=f"{name}: there is no argument 'momentun'"):
        make(name, {"momentun": 0.9}, [p])


def test_named_parameters_keep_their_names():
    layer = nn.Linear(2, 3)
    optimizer = optim.SGD(layer.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["params"] == list(layer.parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert "param_names" not in optim.SGD(layer.parameters()).param_groups[0]


def test_repr_shows_the_groups():
    text = repr(optim.SGD([{"params": leaves([[1.0]]), "lr": 0.5}], momentum=0.9))
    assert "group 0: 1 parameters, lr=0.5, momentum=0.9" in text
