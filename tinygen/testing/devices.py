"""The devices that a layer is to be tested on."""

from __future__ import annotations

import os

from tinygen import backend
from tinygen.testing import strict  # registers the device "strict"  # noqa: F401


def devices(only: str | None = None) -> list[str]:
    """The names of the devices to test on: cpu, strict (the unforgiving double of CuPy), and cuda where there is a GPU.

    only: this one alone; default: what the environment variable TINYGEN_TEST_DEVICE says.

    Raises ValueError or RuntimeError where that one is missing: asked for by name, it must not be skipped silently.
    """
    if chosen := only or os.environ.get("TINYGEN_TEST_DEVICE"):
        backend.device(chosen)
        return [chosen]
    return ["cpu", "strict"] + (["cuda"] if backend.cuda_available() else [])
