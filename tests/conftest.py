"""What all tests share: the real servers, each started only where a test asks for it, and how properties are searched.

Those are the same examples on every run, however long each takes, unless a profile asks for new ones.
"""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.real.fixtures", "tests.real.ray", "tests.real.stacks"]

# HYPOTHESIS_PROFILE=search looks at new examples, many more of them
settings.register_profile(
    "fixed", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "search", max_examples=2_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
