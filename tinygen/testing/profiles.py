"""How many examples hypothesis tries per property: profiles for every day and for the night.

quick: the same few examples on every run, so that a failure is never luck.
deep: many fresh ones; a failure prints what reproduces it.
glance: two of the quick ones, to see which lines a test runs, or that nothing is broken outright.
"""

from __future__ import annotations

try:
    from hypothesis import HealthCheck, settings
except ImportError as error:
    raise ImportError("tinygen.testing.profiles needs hypothesis: pip install hypothesis") from error

# A fixture that hypothesis does not reset between examples is fine here: `device` is a name.
_ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
PROFILES = {
    "quick": dict(max_examples=25, deadline=None, derandomize=True, suppress_health_check=_ALLOWED),
    "glance": dict(max_examples=2, deadline=None, derandomize=True, suppress_health_check=_ALLOWED),
    "deep": dict(max_examples=500, deadline=None, print_blob=True, suppress_health_check=_ALLOWED),
}


def load(name: str) -> None:
    """Use the profile for all properties that follow.  Raises ValueError for a name that is none."""
    if name not in PROFILES:
        raise ValueError(f"profile: one of {', '.join(PROFILES)} is expected, got {name!r}")
    settings.register_profile(name, **PROFILES[name])  # type: ignore[arg-type]
    settings.load_profile(name)
