"""Settings of the whole test suite.

Devices: tests that take the `device` fixture run on the CPU, on the strict array double (strict.py), and on the GPU where
there is one.  TINYGEN_TEST_DEVICE=cuda runs them on that device only, and then its absence is an error.

Examples per property: TINYGEN_HYPOTHESIS=quick (the default) or deep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import tinygen as tg
from tests import strict  # registers the device "strict"  # noqa: F401

# quick: the same examples on every run, so that a failure is never luck. deep: many fresh ones (make test-all).
# A fixture that hypothesis does not reset between examples is fine here: `device` is a name.
_ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True, suppress_health_check=_ALLOWED)
settings.register_profile("deep", max_examples=500, deadline=None, print_blob=True, suppress_health_check=_ALLOWED)
settings.load_profile(os.environ.get("TINYGEN_HYPOTHESIS", "quick"))


def devices() -> list[str]:
    """The devices that tests run on."""
    if chosen := os.environ.get("TINYGEN_TEST_DEVICE"):
        tg.device(chosen)  # raises where it is missing: asked for by name, it must not be skipped silently
        return [chosen]
    return ["cpu", "strict"] + (["cuda"] if tg.cuda_available() else [])


DEVICES = devices()


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The name of a device: cpu, strict (the double of CuPy in strict.py), and cuda where there is a GPU."""
    return request.param


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    """Every test starts from the same seed, and leaves the library's global settings as it found them."""
    tg.manual_seed(0)
    dtype, where = tg.get_default_dtype(), tg.get_default_device()
    yield
    tg.set_default_dtype(dtype)
    tg.set_default_device(where)
