"""The tar check knows the real server's snapshots, good and bad."""

import tarcheck
from transcripts import DATA


def fixture(name):
    return (DATA / name).read_bytes()


def test_the_recorded_streams_are_whole():
    for name in ("shard-stream.tar", "shard-hybrid.tar", "shard-empty.tar"):
        assert tarcheck.check_shard_stream(fixture(name)) == [], name
    assert tarcheck.check_stored_shard(fixture("shard-regular.tar")) == []
    assert tarcheck.check_shard_stream(fixture("partial-full.tar"), partial=True) == []


def test_a_silently_short_stream_is_found():
    wrong = tarcheck.check_shard_stream(fixture("shard-truncated-silently.tar"))
    assert "there is no end marker" in wrong
    assert any("the last entries are" in line for line in wrong)


def test_a_stream_cut_at_any_entry_is_found():
    data = fixture("shard-empty.tar")
    for entry in tarcheck.read(data).entries:
        assert tarcheck.check_shard_stream(data[: entry.begin]), entry.name
        assert tarcheck.check_shard_stream(data[: entry.data - 1]), entry.name


def test_a_stored_snapshot_is_not_taken_for_a_stream():
    assert tarcheck.check_shard_stream(fixture("shard-regular.tar"))
    assert tarcheck.check_stored_shard(fixture("shard-stream.tar"))
    assert tarcheck.check_shard_stream(fixture("partial-full.tar"))
