"""Copies of shard folders that keep their holes, for the cut of a snapshot (sandbox notes d).

Hard links protect only files that never change; everything else is copied, data run by data run.
"""

import errno
import os

# Files that the engine writes once (reference 4.7); they may be linked instead of copied.
_IMMUTABLE = frozenset({
    "matrix.dat", "graph.bin", "links.bin", "links_compressed.bin", "links_comp_vec.bin",
    "hnsw_config.json", "inverted_index.dat", "inverted_index_config.json",
    "sparse_index_config.json", "id_tracker.mappings", "quantized.data", "quantized.meta.json",
    "quantized.config.json", "quantized.offsets.data",
})  # fmt: skip


def data_runs(fd, size):
    """The (offset, length) pairs of a file that are not holes."""
    runs, position = [], 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole is left.
                raise
            break
        position = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        runs.append((start, position - start))
    return runs


def copy_range(source, target, offset, length, target_offset=None):
    """Copies bytes between two open files inside the kernel."""
    at = offset if target_offset is None else target_offset
    while length:
        done = os.copy_file_range(source, target, length, offset, at)
        if done == 0:
            raise OSError(errno.EIO, "file is shorter than its length said")
        offset, at, length = offset + done, at + done, length - done


def copy_file(source, target):
    """Copies one file with its holes, mode and modification time."""
    src = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        info = os.fstat(src)
        dst = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, info.st_mode & 0o777
        )
        try:
            os.ftruncate(dst, info.st_size)
            for start, length in data_runs(src, info.st_size):
                copy_range(src, dst, start, length)
            os.utime(dst, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(dst)
    finally:
        os.close(src)


def clone_tree(source, target):
    """Clones a folder into a new one; immutable files become hard links.

    `tmp-open-N` is a WAL file that a thread of the engine prepares, empty and about to be renamed.
    """
    os.makedirs(target)
    for entry in os.scandir(source):
        if entry.name.startswith("tmp-open-"):
            continue
        path = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            clone_tree(entry.path, path)
        elif entry.name in _IMMUTABLE:
            os.link(entry.path, path)
        else:
            copy_file(entry.path, path)
