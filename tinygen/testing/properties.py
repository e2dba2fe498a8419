"""Whole tests in one line: each factory returns a function that pytest collects and hypothesis feeds.

    from tinygen.testing import check_bijection, check_linear_map, check_module, check_op

    test_my_layer = check_module(lambda: MyLayer(3))

A test runs on every device of `tinygen.testing.devices`: the CPU, its strict double (a layer that calls NumPy directly
would fail on a GPU, and fails there), and a GPU where there is one.  A failure says on which one it happened, and with
which example.  How many examples are tried is hypothesis' affair (profiles.py, or max_examples=...).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygen import backend
from tinygen.autograd import jacobian
from tinygen.tensor import Tensor
from tinygen.testing.gradcheck import assert_gradients, check_deterministic, title
from tinygen.testing.layouts import LAYOUTS
from tinygen.testing.machinery import (
    DTYPE,
    ROUNDING,
    SearchStrategy,
    a_fifth,
    arity,
    as_float32,
    as_test,
    assert_same,
    batches,
    broadcasting,
    chosen,
    draws,
    found_with,
    is_floating,
    laid_out,
    moved,
    normal_like,
    pulled_back,
    raw,
    run,
    settings,
    several,
    st,
    values,
)
from tinygen.testing.maps import same_draws
from tinygen.testing.precision import PRECISION, assert_precision


def check_op(
    fn: Callable[..., Any],
    *arguments: SearchStrategy[Any],
    order: int = 2,
    kinks: str = "raise",
    precision: float | None = PRECISION,
    devices: Sequence[str] | None = None,
    max_examples: int | None = None,
    name: str | None = None,
    **options: Any,
) -> Callable[[], None]:
    """A test of a function of tensors: an operator, or anything composed of operators.

        test_swish = check_op(lambda x, beta: x * tg.sigmoid(beta * x))
        test_log = check_op(tg.log, strategies.tensors(low=0.5, high=2.0))
        test_power = check_op(tg.pow, strategies.tensors((3, 2)), st.integers(1, 3))

    Its derivatives up to `order` agree with finite differences; it gives the same values on every device and for every
    memory layout; it changes none of its inputs; float32 stays float32, and loses no more digits than rounding explains.
    What fn draws at random from the default generators is seeded (devices have streams of their own, and precisions too:
    then values are not compared between them).

    fn: the function, called with tensors.
    arguments: a strategy for each one, of tensors or of anything else.  Default: a tensor for every argument without a
        default, with values in [-2, 2] and shapes that broadcast together (empty and zero-dimensional ones too).
    order: of the derivatives to check; 0 for functions of integers, which have none.
    kinks: "skip" for functions that are not smooth everywhere.
    precision: how far values and gradients in float32 may be from those in float64, relative to their size, beyond what
        rounded arguments explain (tinygen.testing.precision); None leaves this out.
    devices: names of those to check on; default: those of `tinygen.testing.devices`.
    max_examples: how many examples are drawn; default: what hypothesis' profile says.
    name: the title in reports; default: the function's, or that of the variable which a lambda is assigned to.
    options: keyword arguments of fn.

    Returns the test, a function without arguments.  Run, it raises GradientError or another AssertionError, and ValueError
    when fn returns different values for the same input, or when there is nothing to differentiate.
    """
    called = name or title(fn)
    drawn = st.tuples(*arguments) if arguments else broadcasting(arity(fn))

    def call(*xs: Any) -> Any:
        return fn(*xs, **options)

    def check(args: tuple[Any, ...], seed: int) -> None:
        __tracebackhide__ = True

        def seeded(*xs: Any) -> Any:
            return run(call, xs, seed)

        before = values(args)
        expected = values(seeded(*args))
        assert_same(args, before, f"{called} leaves its inputs as they are", 0.0)
        check_deterministic(called, expected, values(seeded(*args)))
        random = draws(call, args)
        for device, k in chosen(devices, order):
            with found_with(device=device):
                there = [moved(x, device) for x in args]
                if not random:
                    assert_same(seeded(*there), expected, f"{called}: the values are those of the CPU")
                if k:
                    assert_gradients(call, tuple(there), order=k, kinks=kinks, seed=seed, name=called)
        for layout in LAYOUTS:
            with found_with(layout=layout):
                found = seeded(*(laid_out(x, layout) for x in args))
                assert_same(found, expected, f"{called}: the values do not depend on the layout")
        with found_with(dtype="float32"):
            for y in several(seeded(*map(as_float32, args))):
                assert not is_floating(y) or y.dtype == np.float32, DTYPE.format(called)
            if precision and not random:
                assert_precision(call, tuple(args), precision=precision, seed=seed, name=called)

    return as_test(check, called, max_examples or settings().max_examples, drawn)


def check_module(
    make: Callable[[], Any],
    *inputs: SearchStrategy[Any],
    order: int = 2,
    kinks: str = "skip",
    precision: float | None = PRECISION,
    modes: Sequence[str] = ("train", "eval"),
    devices: Sequence[str] | None = None,
    max_examples: int | None = None,
    name: str | None = None,
    **options: Any,
) -> Callable[[], None]:
    """A test of a layer or a model.

        test_layer = check_module(lambda: nn.Linear(3, 2))
        test_pair = check_module(lambda: nn.Bilinear(3, 4, 2), strategies.tensors((5, 3)), strategies.tensors((5, 4)))
        test_deep = check_module(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5)))

    In training and in evaluation mode: its derivatives in inputs and parameters agree with finite differences; the values
    are the same on every device; inputs are not changed; float32 stays float32, and loses no more digits than rounding
    explains; a second module that loads its state_dict
    computes the same.  What the layer draws at random is seeded.

    make: returns a new module, initialised at random.
    inputs: a strategy for each argument of forward.  Default: a batch of vectors, (3 to 5, n), of a size n that it accepts.
    order: of the derivatives to check.
    kinks: "raise" to insist on a smooth layer.
    modes: "train" and "eval", or one of them.
    precision, devices, max_examples, name: see `check_op`; by default a fifth of the profile's examples, and the module's class.
    options: those of `gradcheck`, such as buffers=True.

    Returns the test, a function without arguments.
    """
    with same_draws(0):
        module = make()
    called = name or type(module).__name__
    drawn = st.tuples(*inputs) if inputs else batches(called, module)

    def check(args: tuple[Any, ...], seed: int) -> None:
        __tracebackhide__ = True
        with same_draws(seed):
            module = make()
        with same_draws(seed + 1):
            other = make()
        state = {key: value.clone() for key, value in module.state_dict().items()}
        for mode in modes:
            module.train(mode == "train")

            def on(device: str) -> Any:
                return copy.deepcopy(module).to(device, np.float64)

            with found_with(mode=mode, dtype="float32"):
                outputs = several(run(copy.deepcopy(module), [as_float32(x) for x in args], seed))
                assert all(y.dtype == np.float32 for y in outputs if is_floating(y)), DTYPE.format(called)
                if precision and not draws(copy.deepcopy(module), [as_float32(x) for x in args]):
                    assert_precision(copy.deepcopy(module), tuple(args), precision=precision, seed=seed, name=called)
            expected = None
            for device, k in chosen(devices, order):
                with found_with(mode=mode, device=device):
                    there = [moved(x, device) for x in args]
                    before = values(there)
                    found = values(run(on(device), there, seed))
                    assert_same(there, before, f"{called} leaves its inputs as they are", 0.0)
                    if draws(on(device), there):
                        pass  # devices have random streams of their own: then there is nothing to compare
                    elif expected is None:
                        expected = found
                    else:
                        assert_same(found, expected, f"{called}: the values are the same on every device")
                    if k:
                        assert_gradients(
                            on(device), tuple(there), order=k, kinks=kinks, seed=seed, name=called, **options
                        )
        with found_with(check="state_dict"):
            other.load_state_dict(state)
            expected = values(run(module.eval(), args, seed))
            assert_same(
                run(other.eval(), args, seed), expected, f"{called}: a copy that loads the state_dict computes the same"
            )

    return as_test(check, called, max_examples or a_fifth(), drawn)


def check_bijection(
    make: Callable[[], Any],
    inputs: SearchStrategy[Tensor] | None = None,
    outputs: SearchStrategy[Tensor] | None = None,
    *,
    order: int = 2,
    moves: bool | Sequence[bool] | None = None,
    devices: Sequence[str] | None = None,
    max_examples: int | None = None,
    name: str | None = None,
) -> Callable[[], None]:
    """A test of an invertible layer, with forward(x) -> (y, logdet) and inverse(y) -> (x, logdet); logdet: (batch,), in nats.

        nets = lambda: (nn.Sequential(nn.Linear(2, 2), nn.Tanh()), nn.Linear(2, 2))
        test_affine = check_bijection(lambda: nn.AffineCoupling([1, 0], *nets()), moves=[False, True])
        test_additive = check_bijection(lambda: nn.AdditiveCoupling([0, 1, 1], nn.Linear(3, 3)), strategies.tensors((2, 3)))
        test_squeeze = check_bijection(nn.flows.Squeeze, strategies.tensors((2, 1, 4, 4)), strategies.tensors((2, 4, 2, 2)))

    inverse(forward(x)) = x and forward(inverse(y)) = y up to the rounding that the Jacobian's condition number allows;
    both log-determinants are log|det| (numpy.linalg.slogdet) of the Jacobian that autograd gives; no element of a batch
    depends on another; and the derivatives of both directions agree with finite differences.

    make: returns a new module, initialised at random.
    inputs: a strategy for x.  Default: a batch of vectors, (3 to 5, n), of a size n that the layer accepts.
    outputs: a strategy for y, where x and y differ in shape or in the values that they may have.  Default: y = x.
    order: of the derivatives to check.
    moves: what forward must change.  The identity is a bijection too, and without this it passes.  True: something in every
        element of a batch.  A mask of the shape of one element, of truth values: where it is True and nowhere else; so a
        coupling that changes the wrong half is found.
    devices, max_examples, name: see `check_op`; by default a fifth of the profile's examples, and the module's class.

    Returns the test, a function without arguments.
    """
    with same_draws(0):
        module = make()
    called = name or type(module).__name__
    drawn: SearchStrategy = batches(called, module) if inputs is None else st.tuples(inputs)
    if outputs is not None:
        drawn = st.tuples(drawn, outputs).map(lambda both: (*both[0], both[1]))

    def check(args: tuple[Any, ...], seed: int) -> None:
        __tracebackhide__ = True
        with same_draws(seed):
            module = make().to(np.float64)
        for device, k in chosen(devices, order):
            with found_with(device=device):
                x, y = moved(args[0], device), moved(args[-1], device)
                module.to(device)
                with same_draws(seed):
                    assert_inverse(module.forward, module.inverse, x, called, "inverse(forward(x))")
                    assert_inverse(module.inverse, module.forward, y, called, "forward(inverse(y))")
                    if moves is not None:
                        assert_moves(raw(x), raw(module(x)[0]), moves, called)
                for direction, there in ((module.forward, x), (module.inverse, y)):
                    title_ = f"{called}.{direction.__name__}"
                    assert_gradients(direction, there, order=k, seed=seed, kinks="skip", name=title_)

    return as_test(check, called, max_examples or a_fifth(), drawn)


def check_linear_map(
    f: Callable[[Tensor], Tensor],
    transpose: Callable[[Tensor], Tensor],
    inputs: SearchStrategy[Tensor] | None = None,
    *,
    devices: Sequence[str] | None = None,
    max_examples: int | None = None,
    name: str | None = None,
) -> Callable[[], None]:
    """A test that f is linear, and that `transpose` is its transpose (adjoint).

        w = tg.randn(4, 3, dtype=tg.float64)
        test_matrix = check_linear_map(lambda x: x @ w.to(x.device).T, lambda y: y @ w.to(y.device))
        test_sum = check_linear_map(lambda x: x.sum(0), lambda y: y.expand(5, 3), strategies.tensors((5, 3)))

    f(a x + b x') = a f(x) + b f(x'), and the same for the transpose; <f(x), y> = <x, fᵀ(y)> for all x and y; and the
    backward pass of each one is the other.  What f draws at random is seeded.

    f: x -> y, tensors of any shapes.
    transpose: y -> x.
    inputs: a strategy for x.  Default: a batch of vectors, (3 to 5, n), of a size n that f accepts.
    devices, max_examples, name: see `check_op`.

    Returns the test, a function without arguments.
    """
    called = name or title(f)
    drawn = batches(called, f) if inputs is None else st.tuples(inputs)
    given = f, transpose

    def check(args: tuple[Any, ...], seed: int) -> None:
        __tracebackhide__ = True
        f, transpose = (lambda x, map_=map_: run(map_, (x,), seed) for map_ in given)
        (x,) = args
        rng = np.random.default_rng(seed)
        for device, _ in chosen(devices):
            with found_with(device=device):
                here = moved(x, device)
                y = normal_like(f(here), rng)
                for g, z in ((f, here), (transpose, y)):
                    other, (a, b) = normal_like(z, rng), (float(n) for n in rng.normal(size=2))
                    assert_same(
                        g(a * z + b * other),
                        values(a * g(z) + b * g(other)),
                        f"{called}: linear: f(a x + b x') = a f(x) + b f(x')",
                    )
                back = transpose(y)
                assert back.shape == here.shape, (
                    f"{called}: the transpose of {here.shape} -> {y.shape} returned {back.shape}"
                )
                left, right = float((f(here) * y).sum()), float((here * back).sum())
                size = float((f(here).abs() * y.abs()).sum() + (here.abs() * back.abs()).sum())
                assert abs(left - right) <= ROUNDING * max(size, 1), (
                    f"{called}: <f(x), y> = {left!r}, but <x, transpose(y)> = {right!r}"
                )
                assert_same(pulled_back(f, here, y), values(back), f"{called}: the backward pass of f is the transpose")
                assert_same(
                    pulled_back(transpose, y, here),
                    values(f(here)),
                    f"{called}: the backward pass of the transpose is f",
                )

    return as_test(check, called, max_examples or settings().max_examples, drawn)


def assert_moves(x: np.ndarray, y: np.ndarray, moves: bool | Sequence[bool], name: str) -> None:
    """`check_bijection`'s `moves`, for one batch: which elements of y differ from those of x.  name: for the error."""
    assert x.shape == y.shape, f"{name}: moves= compares x with y, and their shapes are {x.shape} and {y.shape}"
    changed = (x != y).reshape(len(x), -1)
    if moves is True:
        assert changed.any(1).all() or not x.size, f"{name}: forward returned its input: it is the identity"
        return
    wanted = np.broadcast_to(np.asarray(moves, dtype=bool), x.shape[1:]).ravel()
    for n in np.flatnonzero(changed.any(0) != wanted) if len(x) else ():
        at = tuple(int(i) for i in np.unravel_index(n, x.shape[1:]))
        what = "must be changed by forward, and is not" if wanted[n] else "must stay as it is, and forward changes it"
        raise AssertionError(f"{name}: element {at} of x {what} (moves={moves!r})")


def assert_inverse(
    there: Callable[..., Any], back: Callable[..., Any], x: Tensor, name: str = "map", what: str = "back(there(x))"
) -> None:
    """One direction of `check_bijection`, for one x in float64; there(x) -> (y, logdet), back(y) -> (x, logdet).

    name and what are for the error: what is tested, and what back(there(x)) is called.  Raises AssertionError.
    """
    __tracebackhide__ = True
    batch, size = x.shape[0], int(np.prod(x.shape[1:]))
    y, logdet = there(x)
    again, logdet_back = back(y)
    assert logdet.shape == (batch,), (
        f"{name}: one log-determinant per element, shape {(batch,)}, is expected, got {logdet.shape}"
    )
    full = jacobian(lambda x: there(x)[0], x.detach())
    j = backend.to_numpy(full.array).reshape(batch, size, batch, size)
    across = max(
        (float(np.abs(j[n, :, m]).max(initial=0)) for n in range(batch) for m in range(batch) if n != m), default=0.0
    )
    assert across == 0, (
        f"{name}: elements of a batch depend on each other, so they have no log-determinants of their own"
    )
    for n in range(batch):
        condition = float(np.linalg.cond(j[n, :, n])) if size else 1.0
        assert condition < 1e14, f"{name}: the Jacobian of element {n} is singular: no inverse, no log-determinant"
        expected = float(np.linalg.slogdet(j[n, :, n])[1])
        room = ROUNDING * condition * max(1, size)
        for found, sign in ((logdet, 1), (logdet_back, -1)):
            value = float(backend.to_numpy(found.array)[n])
            assert abs(value - sign * expected) <= room * max(1, abs(expected)), (
                f"{name}: log|det| of element {n} is {sign * expected!r} according to the Jacobian, and {value!r} was returned"
            )
        gap = float(np.abs(backend.to_numpy(again.array)[n] - backend.to_numpy(x.array)[n]).max(initial=0))
        room *= max(1, float(np.abs(backend.to_numpy(y.array)[n]).max(initial=0)))
        assert gap <= room, f"{name}: {what} is not the identity: element {n} is off by {gap:.3g}"
