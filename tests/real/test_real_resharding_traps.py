"""The traps of a resharding, on a real cluster."""

from test_resharding_traps import *  # noqa: F401,F403
