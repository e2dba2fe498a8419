"""The pytest plugin: loaded by every pytest run where tinygen is installed, so it imports nothing until it is used.

It lies outside the package because importing `tinygen.anything` would import NumPy and the whole library first.  What it
offers is described in tinygen/testing/__init__.py.
"""

from __future__ import annotations

import os

import pytest

_PROFILE = "TINYGEN_HYPOTHESIS"
_DEVICE = "TINYGEN_TEST_DEVICE"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config, parser, args):
    """Add the options after the user's conftest.py files had their turn: an option of theirs with the same name wins."""
    result = yield
    groups = [parser._anonymous, *parser._groups]
    taken = {name for group in groups for option in group.options for name in option.names()}
    group = parser.getgroup("tinygen", "tinygen: property tests of layers")
    for name, dest, text in (
        ("--device", "tinygen_device", f"run tests with the device fixture on this device only (also: {_DEVICE})"),
        ("--tinygen-profile", "tinygen_profile", f"examples per property: quick or deep (also: {_PROFILE})"),
    ):
        if name not in taken:
            group.addoption(name, dest=dest, metavar="NAME", default=None, help=text)
    return result


def _chosen(config, option, variable):
    return config.getoption(option, None) or os.environ.get(variable)


def pytest_configure(config):
    if device := config.getoption("tinygen_device", None):
        os.environ[_DEVICE] = device  # where tinygen.testing.devices looks, also for tests that the factories make
    if profile := _chosen(config, "tinygen_profile", _PROFILE):
        from tinygen.testing import profiles

        try:
            profiles.load(profile)
        except (ValueError, ImportError) as error:
            raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc):
    if "tinygen_device" in metafunc.fixturenames:
        metafunc.parametrize("tinygen_device", _devices(metafunc.config), scope="session")


def pytest_collection_modifyitems(config, items):
    """With --device, tests that list devices themselves (parametrize "device") keep only that one."""
    chosen = config.getoption("tinygen_device", None)
    if chosen is None:
        return
    (chosen,) = _devices(config)

    def elsewhere(item):
        device = getattr(getattr(item, "callspec", None), "params", {}).get("device", chosen)
        return isinstance(device, str) and device != chosen

    if dropped := [item for item in items if elsewhere(item)]:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if not elsewhere(item)]


def _devices(config):
    from tinygen.testing.devices import devices

    try:
        return devices(_chosen(config, "tinygen_device", _DEVICE))
    except (ValueError, RuntimeError) as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture
def device(tinygen_device):
    """The name of a device: cpu, strict (a double of CuPy on the CPU), and cuda where there is a GPU."""
    return tinygen_device
