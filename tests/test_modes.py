"""The grad mode under threads, generators and tasks, against a model: a list of open blocks for each of them."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import engine

MAKERS: dict[str, tuple[Callable, bool]] = {
    "no_grad": (tg.no_grad, False),
    "enable_grad": (tg.enable_grad, True),
    "inference_mode": (tg.inference_mode, False),
    "inference_mode(False)": (lambda: tg.inference_mode(False), True),
    "set_grad_enabled(True)": (lambda: tg.set_grad_enabled(True), True),
    "set_grad_enabled(False)": (lambda: tg.set_grad_enabled(False), False),
}
SHARED = tg.no_grad()  # one object, entered by everybody
actions = st.lists(
    st.tuples(
        st.integers(0, 2),  # who
        st.sampled_from([*MAKERS, "shared", "leave", "leave", "leave", "set True", "set False", "new", "read", "read"]),
        st.integers(0, 9),  # which of the open blocks is left
    ),
    max_size=25,
)


class Agent:
    """What one thread or task does, and the model of what its mode must be."""

    def __init__(self, blocks=((None, True),)):
        self.blocks = list(blocks)
        self.readers = []

    @property
    def mode(self) -> bool:
        return self.blocks[-1][1]

    def do(self, action: str, which: int) -> None:
        if action == "leave":
            if len(self.blocks) > 1:
                k = 1 + which % (len(self.blocks) - 1)
                block = self.blocks[k][0]
                block.__exit__(None, None, None)
                # an object that was entered several times: its innermost block is left
                del self.blocks[max(i for i, (b, _) in enumerate(self.blocks) if b is block)]
        elif action.startswith("set"):
            tg.set_grad_enabled(action == "set True") if action.startswith("set ") else self.enter(action)
            if action.startswith("set "):
                self.blocks[-1] = (self.blocks[-1][0], action == "set True")
        elif action == "shared":
            SHARED.__enter__()
            self.blocks.append((SHARED, False))
        elif action == "read":
            if not self.readers or which > 6:
                self.readers.append(reader(which % 2 == 0))
            mode, recorded, wanted = next(self.readers[which % len(self.readers)])
            assert mode is recorded is wanted
        elif action in MAKERS:
            self.enter(action)
        recorded = (tg.ones(1, requires_grad=True) * 2).requires_grad
        assert tg.is_grad_enabled() is recorded is self.mode

    def enter(self, action: str) -> None:
        make, mode = MAKERS[action]
        block = make()
        block.__enter__()
        self.blocks.append((block, mode))


def reader(mode: bool):
    """A generator under a decorator, which opens a block of its own now and then and leaves it after it has waited."""

    @tg.set_grad_enabled(mode)
    def body():
        def seen(wanted):
            return tg.is_grad_enabled(), (tg.ones(1, requires_grad=True) * 2).requires_grad, wanted

        while True:
            yield seen(mode)
            with tg.set_grad_enabled(not mode):
                yield seen(not mode)
                yield seen(not mode)
            yield seen(mode)

    return body()


@given(actions)
def test_threads(program):
    class Thread(threading.Thread):
        def __init__(self):
            super().__init__(daemon=True)
            self.commands, self.answers = queue.Queue(), queue.Queue()
            self.start()

        def run(self):
            agent = Agent()
            for action, which in iter(self.commands.get, None):
                try:
                    self.answers.put(agent.do(action, which))
                except BaseException as error:
                    self.answers.put(error)

    before = tg.is_grad_enabled()
    threads = [Thread() for _ in range(3)]
    try:
        for who, action, which in program:
            threads[who].commands.put((action, which))
            error = threads[who].answers.get(timeout=20)
            if error is not None:
                raise error
            assert tg.is_grad_enabled() is before
    finally:
        for thread in threads:
            thread.commands.put(None)
            thread.join(timeout=20)


@given(actions)
def test_tasks(program):
    """A new task begins with its maker's mode, and what it does from then on is its own affair."""

    async def live(agent, commands, answers):
        while (command := await commands.get()) is not None:
            try:
                answers.put_nowait(agent.do(*command))
            except BaseException as error:
                answers.put_nowait(error)

    async def main():
        agents = []

        def make(blocks=((None, True),)):
            agent, commands, answers = Agent(blocks), asyncio.Queue(), asyncio.Queue()
            agents.append((agent, commands, answers, asyncio.create_task(live(agent, commands, answers))))

        make()
        here = Agent()
        for who, action, which in program:
            if action == "new":
                make(here.blocks)
            elif who == 0:
                here.do(action, which)
            else:
                _, commands, answers, _ = agents[which % len(agents)]
                commands.put_nowait((action, which))
                if (error := await asyncio.wait_for(answers.get(), 20)) is not None:
                    raise error
            assert tg.is_grad_enabled() is here.mode
        for _, commands, _, task in agents:
            commands.put_nowait(None)
            await task

    asyncio.run(main())
    assert tg.is_grad_enabled()


@pytest.mark.parametrize("decorate", [tg.no_grad, tg.no_grad(), tg.inference_mode, tg.inference_mode()])
def test_with_and_without_parentheses(decorate):
    @decorate
    def f(x, *, y=1):
        """Doc."""
        return (x * y).requires_grad

    assert f(tg.ones(2, requires_grad=True)) is False and tg.is_grad_enabled()
    assert f.__name__ == "f" and f.__doc__ == "Doc." and [*inspect.signature(f).parameters] == ["x", "y"]

    class Model:
        @decorate
        def f(self, x):
            return (x * 1).requires_grad

    assert Model().f(tg.ones(2, requires_grad=True)) is False
    with tg.no_grad():
        assert (
            tg.enable_grad(lambda: tg.is_grad_enabled())() is tg.enable_grad()(lambda: tg.is_grad_enabled())() is True
        )


def test_a_decorated_generator_is_the_generator_it_was():
    log = []

    @tg.no_grad()
    def body(n):
        try:
            for i in range(n):
                try:
                    log.append((yield i, tg.is_grad_enabled()))
                except KeyError as error:
                    log.append(error)
            return "end"
        finally:
            log.append(("closed", tg.is_grad_enabled()))

    def outer():
        return (yield from body(3))

    reading = outer()
    assert next(reading) == (0, False) and reading.send("sent") == (1, False)
    assert reading.throw(KeyError("thrown")) == (2, False) and tg.is_grad_enabled()
    with pytest.raises(StopIteration) as end:
        next(reading)
    assert end.value.value == "end" and log[0] == "sent" and isinstance(log[1], KeyError)
    assert log[2:] == [None, ("closed", False)]
    assert inspect.isgeneratorfunction(body)
    stopped = body(2)
    next(stopped)
    stopped.close()
    assert log[-1] == ("closed", False) and next(stopped, "nothing") == "nothing"
    with pytest.raises(ValueError, match="inside"):
        next(tg.no_grad()(lambda: (_ for _ in [int("inside")]))())


def test_decorated_coroutines_and_asynchronous_generators():
    seen = []

    @tg.no_grad
    async def body():
        await asyncio.sleep(0)
        return tg.is_grad_enabled()

    @tg.no_grad
    async def numbers():
        try:
            for i in range(3):
                await asyncio.sleep(0)
                try:
                    seen.append(((yield i), tg.is_grad_enabled()))
                except KeyError:
                    seen.append("thrown")
        finally:
            seen.append(("closed", tg.is_grad_enabled()))

    async def other():
        for _ in range(9):
            assert tg.is_grad_enabled()
            await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(other())
        assert await body() is False and tg.is_grad_enabled()
        async for _ in numbers():
            assert tg.is_grad_enabled()
        reading = numbers()
        assert await reading.asend(None) == 0 and await reading.asend("sent") == 1
        assert await reading.athrow(KeyError()) == 2
        await reading.aclose()
        await task

    asyncio.run(main())
    assert inspect.iscoroutinefunction(body) and inspect.isasyncgenfunction(numbers)
    assert seen == [(None, False)] * 3 + [("closed", False), ("sent", False), "thrown", ("closed", False)]


def test_what_cannot_be_decorated_is_said():
    for decorate in (tg.no_grad(), tg.no_grad, tg.inference_mode, tg.set_grad_enabled(True)):
        with pytest.raises(TypeError, match=r"decorates functions and methods, got the class Model"):
            decorate(type("Model", (), {}))
    with pytest.raises(TypeError, match=r"no_grad: takes nothing, or the function to decorate, got False"):
        tg.no_grad(False)
    for make in (tg.set_grad_enabled, tg.inference_mode):
        with pytest.raises(TypeError, match=r"True or False is expected, got 'no'"):
            make("no")
    assert tg.is_grad_enabled()


# Watchers: anomaly detection, and a step that is being recorded


def test_anomalies_are_looked_for_in_the_own_thread_only():
    inside, done = threading.Event(), threading.Event()
    seen = []

    def watch():
        with np.errstate(all="ignore"), tg.autograd.detect_anomaly():
            inside.set()
            done.wait(20)
            try:
                tg.zeros(1).log()
            except tg.autograd.AnomalyError:
                seen.append("found")

    thread = threading.Thread(target=watch)
    thread.start()
    assert inside.wait(20)
    with np.errstate(all="ignore"):
        assert tg.zeros(1).log().item() == -np.inf  # nobody asked for it here
        with tg.autograd.detect_anomaly(), pytest.raises(tg.autograd.AnomalyError):
            tg.zeros(1).log()
        done.set()
        thread.join(20)
    assert seen == ["found"] and engine.watcher is None


def test_one_detector_may_be_nested():
    detector = tg.autograd.detect_anomaly()

    @detector
    def recursive(n):
        return recursive(n - 1) if n else tg.ones(1).log()

    with detector, detector:
        recursive(3)
    with np.errstate(all="ignore"):
        tg.zeros(1).log()
    assert engine.watcher is None


def test_a_recording_sees_its_own_thread_only():
    """Another thread computes, and looks for anomalies, while a step is recorded and replayed."""
    stop, errors = threading.Event(), []

    def compute():
        try:
            while not stop.is_set():
                with tg.autograd.detect_anomaly():
                    x = tg.rand(4, requires_grad=True)
                    (x.exp() * x).sum().backward()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        for _ in range(5):
            w = tg.rand(3, requires_grad=True)

            @tg.compile
            def step(x, w=w):
                w.grad = None
                loss = ((w * x).exp() - x).square().sum()
                loss.backward()
                return loss

            for _ in range(5):
                x = tg.rand(3)
                loss = step(x)
                wanted = ((w * x).exp() - x).square().sum()
                (g,) = tg.grad(wanted, w)
                assert loss.item() == wanted.item() and w.grad.tolist() == g.tolist()
            assert step.program(x) is not None, "it was not recorded"
    finally:
        stop.set()
        thread.join(20)
    assert not errors and engine.watcher is None
