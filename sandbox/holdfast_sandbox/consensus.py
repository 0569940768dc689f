"""How a node changes and follows what all nodes agree on."""

import asyncio
import logging
import os
import time

from . import errors
from .metalog import MetaLog
from .state import ClusterState

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02  # How far the other nodes may lag behind a change.
DEFAULT_TIMEOUT = 10.0  # Reference 1.2.


class Consensus:
    """The state of one node and its way into the log."""

    def __init__(self, node, path):
        self._node = node
        self._log = MetaLog(path)
        self.state = ClusterState()
        self.changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task = None
        self.frozen = False  # A node that is cut off sees nothing.

    def start(self):
        self.catch_up()
        self._task = asyncio.create_task(self._follow())

    def stop(self):
        if self._task:
            self._task.cancel()
        self._log.close()

    def catch_up(self):
        """Applies what others have written, unless this node is cut off."""
        if self.frozen:
            return
        ops = self._log.read_new()
        for op in ops:
            self._apply(op)
        if ops:
            self.changed.set()

    def _apply(self, op):
        try:
            self.state.apply(op)
        except errors.ApiError:
            # Only valid operations are written; anything else means two different programs.
            log.exception("the log holds an operation that cannot be applied: %s", op.get("op"))
            os._exit(70)

    async def _follow(self):
        while True:
            try:
                if self._log.has_news():
                    self.catch_up()
            except OSError:
                log.exception("cannot read the log of the cluster")
            await asyncio.sleep(POLL_SECONDS)

    async def propose(self, op, timeout=DEFAULT_TIMEOUT, need_quorum=True):
        """Commits one operation: a dict, or a function of the state that returns one (or None).

        Raises ApiError when the operation is refused (then nothing is written), and the server's
        500 when it cannot be committed in time (reference 1.2).
        """
        deadline = time.monotonic() + timeout
        async with self._lock:
            if need_quorum:
                await self._wait_quorum(deadline, timeout)
            while self.frozen or not self._log.try_lock():
                if time.monotonic() > deadline:
                    raise _timed_out(timeout)
                await asyncio.sleep(0.002)
            try:
                self.catch_up()
                if self.state.stopped:
                    raise errors.service_error("Channel closed: sending on a closed channel")
                made = op(self.state) if callable(op) else op
                if made is not None:
                    self.state.apply(made)
                    self._write(made)
            finally:
                self._log.unlock()
        self.changed.set()
        return made

    def _write(self, op):
        try:
            self._log.append(op)
        except OSError:
            # The state is ahead of the log now; a restart puts both in line again.
            log.exception("cannot write the log of the cluster")
            os._exit(74)

    async def _wait_quorum(self, deadline, timeout):
        """A minority cannot commit; the call waits as the server's does."""
        while not await self._node.peers.majority_answers():
            if time.monotonic() > deadline:
                raise _timed_out(timeout)
            await asyncio.sleep(0.05)

    async def wait_until(self, condition, timeout):
        """Waits until `condition(state)` holds; False when the time is over."""
        deadline = time.monotonic() + timeout
        while not condition(self.state):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.005)
        return True


def _timed_out(timeout):
    text = f"Waiting for consensus operation commit failed. Timeout set at: {timeout:g} seconds"
    return errors.service_error(text)
