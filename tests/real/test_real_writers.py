"""Writers, a plain capture, a restore beside and the check, on a real server."""

import pytest
from test_writers import *  # noqa: F401,F403


@pytest.fixture(scope="module")
def cluster(own_cluster):
    """A real cluster instead of the sandbox."""
    return own_cluster
