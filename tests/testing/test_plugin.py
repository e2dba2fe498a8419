"""The pytest plugin, in runs of its own: it helps those who use it, and nobody else notices it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinygen as tg

ROOT = Path(__file__).resolve().parent.parent.parent
USUAL = ["cpu", "strict"] + (["cuda"] if tg.cuda_available() else [])

DEVICES = """
import tinygen as tg

def test_device(device):
    assert tg.randn(3, device=device).device.type == device
    print("ran on", device)
"""


@pytest.fixture
def pytest_run(tmp_path):
    """Run pytest in an empty folder, with the installed plugin."""

    def run(*arguments: str, **files: str) -> subprocess.CompletedProcess:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text, "utf-8")
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("TINYGEN_", "PYTEST_"))}
        environment = ours | {"PYTHONPATH": str(ROOT), "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-q", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)

    return run


def test_the_device_fixture_goes_over_all_devices(pytest_run):
    out = pytest_run(test_it=DEVICES).stdout
    for device in USUAL:
        assert f"ran on {device}\n" in out
    assert f"{len(USUAL)} passed" in out


def test_one_device(pytest_run):
    listed = 'import pytest\n\n@pytest.mark.parametrize("device", ["cpu", "strict"])\ndef test_listed(device): print("listed", device)\n'
    out = pytest_run("--device", "strict", test_it=DEVICES + listed).stdout
    assert "ran on strict" in out and "listed strict" in out and "2 passed, 1 deselected" in out


def test_the_factories_take_the_device_too(pytest_run):
    test = """
import tinygen as tg
from tinygen.testing.properties import check_op

def seen(x):
    devices.add(x.device.type)
    return tg.exp(x)

devices = set()
test_op = check_op(seen, max_examples=3)

def test_devices():
    print("devices", sorted(devices))
"""
    assert "devices ['cpu']\n" in pytest_run("--device", "cpu", test_it=test).stdout
    assert f"devices {USUAL}\n" in pytest_run(test_it=test).stdout.replace("'cuda', 'cpu'", "'cpu', 'cuda'")


@pytest.mark.skipif(tg.cuda_available(), reason="there is a GPU")
def test_a_missing_device_is_an_error_not_a_skip(pytest_run):
    done = pytest_run("--device", "cuda", test_it=DEVICES)
    assert done.returncode != 0 and "cuda" in done.stdout + done.stderr and "passed" not in done.stdout


def test_profiles(pytest_run):
    test = "from hypothesis import settings\n\ndef test_it():\n    print('examples', settings().max_examples)\n"
    assert "examples 25\n" in pytest_run("--tinygen-profile", "quick", test_it=test).stdout
    assert "examples 500\n" in pytest_run("--tinygen-profile", "deep", test_it=test).stdout
    done = pytest_run("--tinygen-profile", "endless", test_it=test)
    assert done.returncode != 0 and "one of quick, glance, deep is expected" in done.stdout + done.stderr


def test_those_who_do_not_use_it_pay_nothing(pytest_run):
    """Neither tinygen nor NumPy nor hypothesis' strategies are imported."""
    test = """
import sys

def test_it(request):
    assert request.config.pluginmanager.hasplugin("tinygen")
    assert not [name for name in sys.modules if name.split(".")[0] in ("tinygen", "numpy")]
"""
    assert "1 passed" in pytest_run(test_it=test).stdout


def test_a_project_s_own_device_option_and_fixture_win(pytest_run):
    conftest = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--device", default="mine")

@pytest.fixture
def device(request):
    return request.config.getoption("--device")
"""
    test = "def test_it(device):\n    print('device', device)\n"
    assert "device mine\n" in pytest_run(conftest=conftest, test_it=test).stdout
    out = pytest_run("--device", "theirs", conftest=conftest, test_it=test).stdout
    assert "device theirs\n" in out and "1 passed" in out
