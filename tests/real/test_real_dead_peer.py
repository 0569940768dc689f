"""A real cluster of which one peer is dead."""

from test_dead_peer import *  # noqa: F401,F403
