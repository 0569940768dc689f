"""Removal of folders beside the event loop: freeing blocks takes long on a busy disk."""

import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor

_pool = ThreadPoolExecutor(1, thread_name_prefix="trash")


def discard(path):
    """Takes a folder or a file away at once; its blocks are freed in a thread.

    What a killed process leaves behind ends in `.trash` and is removed at the next start.
    """
    gone = f"{path}.{uuid.uuid4().hex}.trash"
    try:
        os.rename(path, gone)
    except FileNotFoundError:
        return
    _pool.submit(_remove, gone)


def _remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.unlink(path)


def sweep(root):
    """Removes what earlier processes left below `root`."""
    for folder, names, _ in os.walk(root):
        for name in [n for n in names if n.endswith(".trash")]:
            names.remove(name)
            _pool.submit(_remove, os.path.join(folder, name))
