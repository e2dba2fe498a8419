"""A plugin for pytest that writes down what every test takes of the processor: `-p tests.mutation.record`, with a file in DURATIONS."""

from __future__ import annotations

import json
import os
import resource
from collections import Counter
from pathlib import Path

import pytest

seconds: Counter[str] = Counter()


def used() -> float:
    """Seconds of the processor that this process and the programs it started have used."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Every report carries what was used when it was made."""
    report = yield
    report.user_properties = [("used", used())]
    return report


before: dict[str, float] = {}


def pytest_runtest_logreport(report):
    """Called where the reports of all workers come together."""
    now, worker = dict(report.user_properties)["used"], getattr(report, "worker_id", "")
    seconds[report.nodeid] += now - before.get(worker, now)
    before[worker] = now


def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["DURATIONS"]).write_text(json.dumps(seconds), "utf-8")
