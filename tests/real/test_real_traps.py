"""The measured facts on a real server: what the sandbox shows is what the server does."""

from test_traps import *  # noqa: F401,F403
