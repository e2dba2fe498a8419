"""Settings of the whole test suite.

Devices: tests that take the `device` fixture (from tinygen's own pytest plugin) run on the CPU, on the strict array double
(tinygen/testing/strict.py), and on the GPU where there is one.  `--device cuda` or TINYGEN_TEST_DEVICE=cuda runs them on
that device only, and then its absence is an error.

Examples per property: `--tinygen-profile deep` or TINYGEN_HYPOTHESIS=deep; quick is the default.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import tinygen as tg
from tinygen.testing import profiles
from tinygen.testing.devices import devices

profiles.load(os.environ.get("TINYGEN_HYPOTHESIS", "quick"))

DEVICES = devices()


@pytest.fixture(autouse=True, scope="session")
def _own_judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Classifiers are kept for one run of the tests, here and in programs started from here, and in nobody's cache."""
    before = os.environ.get("TINYGEN_JUDGES")
    os.environ["TINYGEN_JUDGES"] = str(tmp_path_factory.mktemp("judges"))
    yield
    if before is None:
        del os.environ["TINYGEN_JUDGES"]
    else:
        os.environ["TINYGEN_JUDGES"] = before


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    """Every test starts from the same seed, and leaves the library's global settings as it found them."""
    tg.manual_seed(0)
    dtype, where = tg.get_default_dtype(), tg.get_default_device()
    yield
    tg.set_grad_enabled(True)
    tg.set_default_dtype(dtype)
    tg.set_default_device(where)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C works, here and in programs started from here, even if it did not where the tests were started (nohup, &)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
