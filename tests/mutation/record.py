"""A plugin for pytest that writes down how long every test took: `-p tests.mutation.record`, with a file in DURATIONS."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

seconds: Counter[str] = Counter()


def pytest_runtest_logreport(report):
    """Called where the reports of all workers come together."""
    seconds[report.nodeid] += report.duration


def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["DURATIONS"]).write_text(json.dumps(seconds), "utf-8")
