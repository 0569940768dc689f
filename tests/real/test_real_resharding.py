"""Resharding under writers on a real cluster: what the sandbox's tests ask, asked there."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sandbox"))
pytest.register_assert_rewrite("test_resharding", "writers")

from holdfast_sandbox.realcluster import RealCluster, RealClusterError  # noqa: E402
from nodes import Sandbox  # noqa: E402
from test_resharding import *  # noqa: E402,F401,F403

# They need faults of the sandbox.
del test_a_source_that_restarts_ends_the_resharding  # noqa: F821
del test_what_an_aborted_resharding_leaves_behind_is_cleaned_up  # noqa: F821


class RealNodes(Sandbox):
    """A real cluster with the calls of a sandbox."""

    real = True
    timeout = 200

    def __init__(self, folder, binary):
        settings = {"QDRANT__CLUSTER__RESHARDING_ENABLED": "true"}
        self._real = RealCluster.up(folder, binary, 3, "ports", settings)
        self.urls = self._real.urls
        self.key = None
        answers = [self.call(node, "GET", "/cluster") for node in range(3)]
        self._peers = [answer.result["peer_id"] for answer in answers]

    def run(self, command, *arguments, status=0):
        """The commands that the tests use."""
        if command == "kill":
            self._real.kill(int(arguments[0]))
        elif command == "start":
            self._start(int(arguments[0]))
        else:
            raise ValueError(command)

    def _start(self, node):
        """The files of a killed server stay locked for a moment, on a busy machine."""
        for attempt in range(3):
            try:
                return self._real.start(node)
            except RealClusterError as error:
                if attempt == 2 or "WouldBlock" not in str(error):
                    raise
                time.sleep(1)

    def peers(self):
        return self._peers

    def down(self):
        self._real.down()


@pytest.fixture(scope="module")
def cluster(real_binary, tmp_path_factory):
    """Three real nodes that allow resharding."""
    made = RealNodes(tmp_path_factory.mktemp("resharding") / "c", real_binary)
    yield made
    made.down()
