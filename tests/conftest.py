"""What all tests share: the real servers, each started only where a test asks for it."""

pytest_plugins = ["tests.real.fixtures", "tests.real.ray", "tests.real.stacks"]
