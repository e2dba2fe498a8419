"""Devices and array libraries: who serves what, what is said when there is no GPU, and that the double is strict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.processes import SECONDS
from tinygen import backend
from tinygen.backend import Device
from tinygen.testing.devices import devices

DEVICES = devices()


def test_names_of_devices():
    assert tg.device("cpu") == Device("cpu") == tg.zeros(1).device and str(tg.device("cpu")) == "cpu"
    assert repr(tg.device("cpu")) == "device('cpu')" and tg.device(tg.device("cpu")) is not None
    assert str(Device("cuda", 1)) == "cuda:1" and Device("cuda", 1) != Device("cuda", 0)
    assert len({Device("cpu"), Device("cpu")}) == 1 and tg.device("cpu:0") == tg.device("cpu")
    for wrong in ("gpu", "cpu:x", "", "strict:one"):
        with pytest.raises(ValueError, match=r"device: .*'cpu', 'cuda' or 'cuda:1'"):
            tg.device(wrong)
    with pytest.raises(TypeError, match=r"device: a name.*int"):
        tg.device(0)


@pytest.mark.skipif(tg.cuda_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_said_what_is_missing(monkeypatch):
    with pytest.raises(RuntimeError, match=r"device 'cuda'.*(pip install|nvidia-smi).*device='cpu'"):
        tg.zeros(1, device="cuda")
    with pytest.raises(RuntimeError, match=r"device 'cuda'"):
        tg.zeros(1).cuda()
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if CuPy were not installed
    monkeypatch.delitem(sys.modules, "tinygen.backend.cupy_backend", raising=False)
    with pytest.raises(RuntimeError, match=r"needs CuPy, which is not installed: pip install cupy-cuda13x"):
        tg.device("cuda:1")
    assert not tg.cuda_available()
    tg.synchronize()


def test_arrays_know_their_library(device):
    x = tg.zeros(2, device=device).array
    assert backend.is_array(x) and backend.device_of(x) == tg.device(device)
    assert isinstance(backend.to_numpy(x), np.ndarray) and backend.array_module(x).zeros(2).shape == (2,)
    assert backend.to_device(x, tg.device(device)) is x
    assert not backend.is_array([1]) and not backend.is_array(np.float64(1))


def test_tf32_is_off_until_it_is_allowed():
    """The switch reaches every library, also one that is loaded later.  What a GPU then does is CuPy's affair."""
    double = backend.backend_of(tg.zeros(1, device="strict").array)
    assert not double.tf32
    backend.allow_tf32()
    assert double.tf32
    late = type(double)()
    try:
        backend.register(late)
        assert late.tf32
    finally:
        backend.register(double)
        backend.allow_tf32(False)
    assert not double.tf32


def test_add_at_adds_repeated_indices(device):
    x = tg.zeros(3, device=device)
    index = tg.tensor([0, 0, 2], device=device)
    backend.backend_of(x.array).add_at(x.array, index.array, tg.ones(3, device=device).array)
    assert x.tolist() == [2, 0, 1]


def test_generators_belong_to_a_device(device):
    g = tg.Generator(device).manual_seed(5)
    assert g.device == tg.device(device) and g.initial_seed() == 5
    assert tg.randn(3, generator=g).device == g.device
    assert tg.manual_seed(7).device.type == "cpu"
    late = backend.default_generator(tg.device(device))
    assert late.initial_seed() == 7


def test_unseeded_generators_differ():
    assert tg.Generator().initial_seed() != tg.Generator().initial_seed()


@given(before=st.integers(0, 5), after=st.integers(1, 5), seed=st.integers(0, 2**63))
def test_a_generator_goes_on_from_its_state(before, after, seed):
    """Whatever was drawn before (float32 draws leave half a word behind), and after the state went through JSON."""
    for device in DEVICES:
        draws = [
            lambda g: g.normal((3,), np.float32),
            lambda g: g.uniform((1,), np.float64),
            lambda g: g.integers(0, 9, (5,)),
            lambda g: g.permutation(7),
        ]
        first, second = tg.Generator(device).manual_seed(seed), tg.Generator(device).manual_seed(1)
        for i in range(before):
            draws[i % 4](first)
        state = first.get_state()
        expected = [draws[i % 4](first).tolist() for i in range(after)]
        assert second.set_state(state) is second and second.initial_seed() == seed
        assert [draws[i % 4](second).tolist() for i in range(after)] == expected
        library = second.library
        if device == "cpu":
            state = json.loads(json.dumps(state))
        second.set_state(state)  # the copy was not touched by the draws
        assert [draws[i % 4](second).tolist() for i in range(after)] == expected and second.library is library


def test_the_default_generators_go_on_from_their_state(device):
    tg.manual_seed(3)
    tg.randn(4)
    state = tg.get_rng_state()  # on `device` nothing has been drawn yet
    expected = [tg.randn(3, device=d).tolist() for d in ("cpu", device)]
    tg.manual_seed(99)
    tg.randn(2, device=device)
    tg.set_rng_state(state)
    assert [tg.randn(3, device=d).tolist() for d in ("cpu", device)] == expected
    late = backend.default_generator(tg.device(device))
    assert late.initial_seed() == 3


def test_the_default_generators_have_a_state_though_nobody_seeded_them():
    program = """
import tinygen as tg
state = tg.get_rng_state()
x = tg.randn(5).tolist()
tg.set_rng_state(state)
assert x == tg.randn(5).tolist()
print(x)
"""
    drawn = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=SECONDS).stdout
        for _ in range(2)
    }
    assert len(drawn) == 2, "two processes draw different numbers"


def test_what_is_no_state_is_refused():
    g = tg.Generator()
    with pytest.raises(TypeError, match=r"set_state: what get_state\(\) returned is expected, got .*'seed'"):
        g.set_state({"seed": 3})
    with pytest.raises(TypeError, match=r"set_rng_state: what get_rng_state\(\) returned is expected, got int"):
        tg.set_rng_state(3)
    with pytest.raises(ValueError, match=r"set_state: this generator draws on cpu, and the state is of one on strict"):
        g.set_state(tg.Generator("strict").get_state())


# The strict double must refuse what CuPy refuses: a lenient one would prove nothing.


@pytest.fixture
def strict():
    return tg.ones(2, 2, device="strict").array


@pytest.mark.parametrize(
    "use",
    [
        lambda s: np.asarray(s),
        lambda s: np.array(s),
        lambda s: np.exp(s),
        lambda s: np.sum(s),
        lambda s: np.concatenate([s, s]),
        lambda s: np.ones((2, 2)) + s,
        lambda s: s + np.ones((2, 2)),
        lambda s: s * np.array(1.0),
        lambda s: s @ np.ones(2),
        lambda s: s.dot(np.ones(2)),
        lambda s: s[np.array([0])],
        lambda s: s[np.array([True, False])],
        lambda s: s.__setitem__(0, np.ones(2)),
        lambda s: s.__iadd__(np.ones((2, 2))),
        lambda s: np.ones((2, 2)).__setitem__(0, s[0]),
        lambda s: backend.array_module(s).where(s > 0, np.ones((2, 2)), s),
        lambda s: backend.array_module(s).concatenate([s, np.ones((2, 2))]),
        lambda s: s == np.ones((2, 2)),
    ],
)
def test_the_double_refuses_numpy(strict, use):
    with pytest.raises((TypeError, ValueError)):
        use(strict)


def test_the_double_has_no_scalars(strict):
    for x in (
        strict.sum(),
        strict[0, 0],
        strict.max(),
        strict[0] @ strict[0],
        backend.array_module(strict).sum(strict),
    ):
        assert type(x) is type(strict) and x.shape == ()
    strict[0, 0] += 5  # a view, as in CuPy
    element = strict[1, 1]
    element += 1
    assert strict.tolist() == [[6, 1], [1, 2]]
    assert (strict + 1 + np.float32(2) + True).dtype == np.float32


def test_the_double_converts_when_told_to(strict):
    xp = backend.array_module(strict)
    assert type(xp.asarray(np.ones(2))) is type(strict) and isinstance(strict.get(), np.ndarray)
    assert not np.shares_memory(strict.get(), strict._a)


def test_keeping_freed_memory_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("TINYGEN_KEEP_MEMORY", "0")
    assert not backend.keep_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_an_array_takes_the_memory_of_the_last_one():
    """Counted are the pages that the system had to hand out: with the C library's defaults, 8192 for every array."""
    script = (
        "import numpy as np, resource\n"
        "import tinygen\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.zeros(1 << 25, np.uint8).fill(1)\n"
        "before = faults()\n"
        "for _ in range(5):\n"
        "    np.empty(1 << 25, np.uint8).fill(1)\n"
        "print(faults() - before)\n"
    )
    kept, returned = (
        int(
            subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "TINYGEN_KEEP_MEMORY": keep},
                capture_output=True,
                text=True,
                check=True,
                timeout=SECONDS,
            ).stdout
        )
        for keep in "10"
    )
    if not returned:
        pytest.skip("this C library keeps memory by itself")
    assert kept < returned / 10


@given(seed=st.integers(0, 2**63), draws=st.integers(0, 3))
def test_generators_of_ones_own_are_a_world_of_their_own(seed, draws):
    """Inside, everything about the default generators is as outside, and outside nothing has happened."""
    tg.manual_seed(1)
    before = tg.get_rng_state()
    with backend.own_generators(seed):
        first = tg.rand(2).tolist()
        tg.rand(draws)
        state = tg.get_rng_state()
        later = tg.rand(2).tolist()
        with backend.own_generators(seed):
            assert tg.rand(2).tolist() == first
        tg.set_rng_state(state)
        assert tg.rand(2).tolist() == later
        tg.manual_seed(seed)
        assert tg.rand(2).tolist() == first
    assert str(tg.get_rng_state()) == str(before)
    seen = []
    with backend.own_generators(seed):
        thread = threading.Thread(target=lambda: seen.append(tg.rand(2).tolist()))
        thread.start()
        thread.join(10)
        assert tg.rand(2).tolist() == first
    tg.set_rng_state(before)
    assert seen == [tg.rand(2).tolist()], "another thread has the shared ones"
