"""How the properties are searched: the same examples on every run, unless a profile asks for new ones."""

import os

from hypothesis import HealthCheck, settings

# HYPOTHESIS_PROFILE=search looks at new examples, many more of them
settings.register_profile(
    "fixed", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
