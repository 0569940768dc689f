"""What keeps this process within bounds: its memory, and its life."""

import os
import resource
import select
import signal

# An engine call cannot be interrupted, and no other Python thread runs during it.  So the end of
# standard input is seen by a process of its own.
_PATIENCE_MS = 1000


def limit_memory(size):
    """Limits what this process allocates.

    Files that it maps do not count: the kernel takes their pages back when others need memory.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def more_files():
    """As many open files as the hard limit permits: every segment has dozens."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def die_with_input():
    """Starts the process that kills this one when standard input is closed by its writer.

    Returns a descriptor that this process keeps open as long as it lives.
    """
    alive, here = os.pipe()
    worker = os.getpid()
    if os.fork() != 0:
        os.close(alive)
        return here
    os.close(here)
    os.close(1)
    poll = select.poll()
    poll.register(0, 0)  # A hang-up is always reported, requests are not.
    poll.register(alive, 0)
    ended = []
    while not ended:
        ended = poll.poll()
    if all(descriptor == 0 for descriptor, _ in ended):
        # Between two requests it sees the end itself.
        poll.unregister(0)
        if not poll.poll(_PATIENCE_MS):
            os.kill(worker, signal.SIGKILL)
    os._exit(0)
