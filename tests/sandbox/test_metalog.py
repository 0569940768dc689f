"""The log of the cluster: order, durability of whole lines, what a killed writer leaves."""

import os

import pytest
from holdfast_sandbox.metalog import MetaLog


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "meta.log")


def _append(log, op):
    assert log.try_lock()
    log.read_new()
    log.append(op)
    log.unlock()


def test_every_reader_sees_all_operations_in_order(path):
    writer, reader = MetaLog(path), MetaLog(path)
    for n in range(5):
        _append(writer, {"n": n})
    assert reader.read_new() == [{"n": n} for n in range(5)]
    assert reader.read_new() == []
    _append(writer, {"n": 5})
    assert reader.has_news()
    assert reader.read_new() == [{"n": 5}]
    assert reader.applied == writer.applied == 6


@pytest.mark.parametrize("keep", [1, 5, 12, -1])
def test_half_a_line_is_not_read_and_the_next_writer_cuts_it_off(path, keep):
    writer = MetaLog(path)
    _append(writer, {"n": 0})
    whole = os.path.getsize(path)
    _append(writer, {"n": 1})
    os.truncate(path, whole + keep if keep > 0 else os.path.getsize(path) + keep)
    late = MetaLog(path)
    assert late.read_new() == [{"n": 0}]
    _append(late, {"n": 2})
    assert MetaLog(path).read_new() == [{"n": 0}, {"n": 2}]


def test_a_line_with_wrong_bytes_is_not_read(path):
    writer = MetaLog(path)
    _append(writer, {"n": 0})
    with open(path, "r+b") as file:
        file.seek(12)
        file.write(b"X")
    assert MetaLog(path).read_new() == []


def test_only_one_writer_has_the_lock(path):
    first, second = MetaLog(path), MetaLog(path)
    assert first.try_lock()
    assert not second.try_lock()
    first.unlock()
    assert second.try_lock()
