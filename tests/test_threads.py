"""Loops shared among threads: the same results, in order, and one pool of threads at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinygen as tg
from tinygen.backend import threads
from tinygen.ops import linalg


@pytest.fixture
def among(monkeypatch):
    """Share among so many threads, whatever the machine has, and however small the loops; and put everything back."""
    before = [(library, library.num_threads) for library in threads._libraries()]

    def set_number(n):
        monkeypatch.setattr(threads, "_number", n)
        monkeypatch.setattr(threads, "_pool", None)
        monkeypatch.setattr(threads, "ENOUGH", 0)

    yield set_number
    for library, n in before:
        library.set_num_threads(n)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_every_piece_is_done_once_and_results_come_in_order(among, n):
    among(n)
    together = threading.Barrier(n, timeout=20)  # nobody goes on before all n have come

    def work(pieces):
        together.wait()
        return threading.get_ident(), list(pieces)

    results = threads.share(work, range(11), 1e3)
    assert [piece for _, pieces in results for piece in pieces] == list(range(11))
    assert len({thread for thread, _ in results}) == len(results) == n
    assert results[0][0] == threading.get_ident()


def test_little_work_stays_in_the_calling_thread(among, monkeypatch):
    among(2)
    monkeypatch.setattr(threads, "ENOUGH", 100)
    assert len(threads.share(list, range(4), 99)) == 1
    assert len(threads.share(list, range(1), 1e9)) == 1
    assert not threads.is_shared()


def test_many_cores_do_not_crumble_little_work(among, monkeypatch):
    among(64)
    monkeypatch.setattr(threads, "ENOUGH", 100)
    assert [threads.threads_for(n) for n in (99, 100, 250, 1e9)] == [1, 2, 3, 64]
    assert len(threads.share(list, range(64), 250)) == 3


def test_an_error_in_any_thread_is_raised_after_all_have_ended(among):
    among(3)
    done = []

    def work(pieces):
        done.append(list(pieces))
        raise ValueError(f"piece {pieces[0]}")

    with pytest.raises(ValueError, match="piece"):
        threads.share(work, range(3), 1e3)
    assert sorted(done) == [[0], [1], [2]]


def test_numpys_error_settings_hold_in_every_thread(among):
    among(2)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.share(lambda pieces: [np.ones(1) / (1.0 - np.array([p])) for p in pieces], range(2), 1e3)


def test_matrix_products_hand_their_threads_over(among):
    libraries = threads._libraries()
    if not any(library.num_threads > 1 for library in libraries):
        pytest.skip("NumPy's matrix products use one thread here")
    among(2)
    assert not threads.is_shared()
    threads.share(list, range(2), 1e3)
    assert threads.is_shared() and all(library.num_threads == 1 for library in libraries)


def test_a_number_of_threads_is_a_positive_whole_number(among):
    among(1)
    tg.set_num_threads(2)
    assert tg.get_num_threads() == 2 and threads.is_shared()
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="set_num_threads: a positive whole number is expected"):
            threads.set_num_threads(wrong)


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4, 5)), ((40, 3), (3, 2)), ((1, 3), (3, 50)), ((5, 0), (0, 4)), ((0, 3), (3, 2))]
)
def test_a_shared_product_is_the_product(among, shapes):
    among(3)
    threads.share(list, range(3), 1e3)
    x, y = (np.random.default_rng(0).standard_normal(s) for s in shapes)
    np.testing.assert_allclose(linalg._dot(x, y), x @ y, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(linalg._dot(y.T, x.T), y.T @ x.T, rtol=1e-13, atol=1e-13)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_again():
    script = (
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "from tinygen.backend import threads\n"
        "threads.set_num_threads(2); threads.ENOUGH = 0\n"
        "assert len(threads.share(list, range(2), 1e3)) == 2\n"
        "pid = os.fork()\n"
        "if not pid: os._exit(len(threads.share(list, range(2), 1e3)))\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 2


class Library:
    def __init__(self, num_threads):
        self.num_threads = num_threads


@pytest.mark.parametrize(
    ("libraries", "variables", "number"),
    [
        ([3, 5], {"OMP_NUM_THREADS": "7"}, 5),  # asked, they know best
        ([], {"VECLIB_MAXIMUM_THREADS": "4", "OMP_NUM_THREADS": "7"}, 4),  # Apple's Accelerate cannot be asked
        ([], {"OMP_NUM_THREADS": " 7 "}, 7),
        ([], {"OMP_NUM_THREADS": "all", "MKL_NUM_THREADS": "0"}, 6),
        ([], {}, 6),
    ],
)
def test_as_many_threads_as_products_have_or_else_as_there_are_cores(libraries, variables, number, monkeypatch):
    for name in ("VECLIB_MAXIMUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(threads, "_number", None)
    monkeypatch.setattr(threads, "_libraries", lambda: [Library(n) for n in libraries])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert tg.get_num_threads() == number
    if not libraries and not variables:
        monkeypatch.setattr(threads, "_number", None)
        monkeypatch.delattr(os, "sched_getaffinity")
        monkeypatch.setattr(os, "cpu_count", lambda: None)
        assert tg.get_num_threads() == 1
