"""Tars as the server writes and reads them (reference 4.5, transcript 2)."""

import io
import os
import random
import tarfile

import pytest
from holdfast_sandbox.clone import clone_tree, data_runs
from holdfast_sandbox.errors import ApiError
from holdfast_sandbox.tarformat import (
    BLOCK,
    END,
    DataEntry,
    DirEntry,
    FileEntry,
    NestedTar,
    wal_entry,
)
from holdfast_sandbox.untar import flatten, unpack

DATA = os.path.join(os.path.dirname(__file__), "..", "data")
FIXTURES = ["shard-stream", "shard-regular", "shard-empty", "shard-hybrid", "partial-full"]


def _tar(entries):
    out = b"".join(chunk for e in entries for chunk in e.chunks()) + END
    assert len(out) == sum(e.size for e in entries) + len(END)
    return out


def _sparse_file(path, runs, size):
    chance = random.Random(1)
    with open(path, "wb") as file:
        for offset, length in runs:
            file.seek(offset)
            file.write(chance.randbytes(length))
        file.truncate(size)


def _unpack(data, tmp_path, name="out"):
    path = tmp_path / f"{name}.tar"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        list(unpack(fd, str(tmp_path / name), "shown"))
    finally:
        os.close(fd)
    return tmp_path / name


@pytest.mark.parametrize("holes", [0, 1, 3, 4, 5, 25, 60])
def test_sparse_files_come_back_with_content_and_holes(tmp_path, holes):
    """More than four runs need extension blocks, more than 25 a second one."""
    runs = [(i * 65536, 4096) for i in range(holes)]
    size = holes * 65536 + 100_000
    _sparse_file(tmp_path / "file", runs, size)
    data = _tar([FileEntry("a/file", str(tmp_path / "file"))])
    assert len(data) < holes * 8192 + 20_000
    out = _unpack(data, tmp_path) / "a" / "file"
    assert out.read_bytes() == (tmp_path / "file").read_bytes()
    with open(out, "rb") as file:
        assert sum(n for _, n in data_runs(file.fileno(), size)) <= holes * 4096
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:  # Another reader agrees.
        assert tar.extractfile("a/file").read() == (tmp_path / "file").read_bytes()


def test_long_names_directories_and_data_come_back(tmp_path):
    long = "segments/" + "x" * 90 + "/files/" + "y" * 90
    data = _tar(
        [
            DataEntry(long, b"content"),
            DirEntry("wal/"),
            DataEntry("empty", b""),
            wal_entry("wal/", 7, 1),
        ]
    )
    out = _unpack(data, tmp_path)
    assert (out / long).read_bytes() == b"content"
    assert (out / "empty").read_bytes() == b""
    assert (out / "wal" / "closed-7").stat().st_size == 32 << 20
    assert (out / "wal" / "closed-7").read_bytes()[:4] == b"wal\0"


def test_a_tar_in_a_tar_is_flattened(tmp_path):
    inner = [
        DataEntry("snapshot/files/segment.json", b"{}"),
        DataEntry("snapshot/files/a/b", b"x" * 700),
    ]
    flat = [DataEntry("segments/u2/files/segment.json", b"{}")]
    data = _tar([NestedTar("segments/u1.tar", inner), *flat])
    out = _unpack(data, tmp_path)
    list(flatten(str(out), "shown"))
    assert sorted(os.listdir(out / "segments")) == ["u1", "u2"]
    assert (out / "segments" / "u1" / "a" / "b").read_bytes() == b"x" * 700
    assert (out / "segments" / "u2" / "segment.json").read_bytes() == b"{}"


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures_of_the_real_server_unpack_as_tarfile_reads_them(tmp_path, name):
    path = os.path.join(DATA, name + ".tar")
    with open(path, "rb") as file:
        out = _unpack(file.read(), tmp_path)
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isfile():
                assert (out / member.name).read_bytes() == tar.extractfile(member).read()


def test_an_end_between_two_entries_is_a_normal_end(tmp_path):
    first, second = DataEntry("a", b"1" * 600), DataEntry("b", b"2")
    whole = b"".join(c for e in (first, second) for c in e.chunks())
    out = _unpack(whole[: first.size], tmp_path)
    assert os.listdir(out) == ["a"]


def test_an_end_inside_an_entry_names_the_file(tmp_path):
    data = _tar([DataEntry("x/y", b"1" * 6000)])
    with pytest.raises(ApiError, match="failed to unpack `shown/x/y`") as caught:
        _unpack(data[: BLOCK + 512], tmp_path)
    assert caught.value.status == 500


@pytest.mark.parametrize("data", [b"garbage" * 300, b"\1" * 512, b"short"])
def test_garbage_is_a_malformed_archive(tmp_path, data):
    with pytest.raises(ApiError, match="Malformed tar archive, reached unknown entry") as caught:
        _unpack(data, tmp_path)
    assert caught.value.status == 500


def test_links_are_forbidden_and_climbing_paths_are_skipped(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ApiError, match="Forbidden entry type in tar archive: Symlink"):
        _unpack(buffer.getvalue(), tmp_path)
    out = _unpack(_tar([DataEntry("../evil", b"x"), DataEntry("good", b"x")]), tmp_path, "second")
    assert os.listdir(out) == ["good"]
    assert not (tmp_path / "evil").exists()


def test_a_file_is_never_written_twice(tmp_path):
    with pytest.raises(ApiError, match="failed to unpack"):
        _unpack(_tar([DataEntry("a", b"1"), DataEntry("a", b"2")]), tmp_path)


def test_dialects_of_other_writers_are_read(tmp_path):
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            info = tarfile.TarInfo("./" + "d" * 80 + "/" + "e" * 80)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        out = _unpack(buffer.getvalue(), tmp_path, f"form{form}")
        assert (out / ("d" * 80) / ("e" * 80)).read_bytes() == b"abc"


def test_a_clone_keeps_holes_and_links_only_what_never_changes(tmp_path):
    os.makedirs(tmp_path / "src" / "vectors")
    _sparse_file(
        tmp_path / "src" / "vectors" / "chunk_0.mmap", [(0, 4096), (1 << 20, 100)], 32 << 20
    )
    (tmp_path / "src" / "matrix.dat").write_bytes(b"m" * 100)
    clone_tree(str(tmp_path / "src"), str(tmp_path / "dst"))
    source, copy = (tmp_path / d / "vectors" / "chunk_0.mmap" for d in ("src", "dst"))
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_ino != source.stat().st_ino
    assert copy.stat().st_blocks <= source.stat().st_blocks
    assert (tmp_path / "dst" / "matrix.dat").stat().st_ino == (
        tmp_path / "src" / "matrix.dat"
    ).stat().st_ino
