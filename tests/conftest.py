"""Settings of the whole test suite."""

import os

from hypothesis import settings

# quick: the same examples on every run, so that a failure is never luck. deep: many fresh ones (make test-all).
settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=500, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("TINYGEN_HYPOTHESIS", "quick"))
