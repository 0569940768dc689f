"""What the process refuses, and that nothing it meets makes it hang or speak nonsense."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest
import qdrant_edge as edge
from process import DATA, PROGRAM, ROOT, Ended, Engine, make_shard

CODES = {"protocol", "request", "newer", "damaged", "memory", "missing", "too_large", "room",
         "internal"}  # fmt: skip


def refused(answer, code):
    assert answer["ok"] is False and answer["code"] == code, answer
    return answer["message"]


@pytest.mark.parametrize("protocol", [0, 2, None, "1"])
def test_another_version_of_the_protocol_is_refused(protocol, scratch):
    engine = Engine(scratch)
    message = refused(engine.ask("hello", protocol=protocol)[1], "protocol")
    assert repr(protocol) in message and "1" in message
    assert "hello" in refused(engine.open(DATA / "shard-empty.tar"), "protocol")
    assert engine.end()[0] == 0


def test_it_tells_its_release_and_the_newest_segments_it_reads(scratch):
    engine = Engine(scratch)
    answer = engine.hello()
    pins = (ROOT / "tools/requirements.in").read_text()
    assert f"qdrant-edge-py=={answer['release']}\n" in pins
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer["segments"])
    assert os.listdir(scratch) == []  # What it made to find out is gone.
    engine.end()


@pytest.mark.parametrize("version", ["0.6.1", "0.7.0", "1.0.0", "0.10.0"])
def test_a_segment_newer_than_the_engine_is_refused_before_it_is_opened(version, engine, scratch):
    folder = make_shard(scratch / "shard", [edge.Point(1, [1.0, 2.0])])
    info = next(folder.glob("segments/*/version.info"))
    own = info.read_text()
    info.write_text(version)
    files = sorted(folder.rglob("*"))
    message = refused(engine.open(), "newer")
    assert version in message and own in message and info.parent.name in message
    assert sorted(folder.rglob("*")) == files
    info.write_text(own)
    assert engine.open()["ok"]


@pytest.mark.parametrize("content", ["", "newest", "1", "0.6.0-dev", "6" * 100])
def test_a_version_that_is_none_is_damage(content, engine, scratch):
    folder = make_shard(scratch / "shard", [])
    next(folder.glob("segments/*/version.info")).write_text(content)
    assert "version.info" in refused(engine.open(), "damaged")


def test_an_image_without_version_or_segments_is_damage(engine, scratch):
    folder = make_shard(scratch / "shard", [])
    next(folder.glob("segments/*/version.info")).unlink()
    assert "version.info" in refused(engine.open(), "damaged")
    shutil.rmtree(folder / "segments")
    assert "no segments" in refused(engine.open(), "damaged")


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_image_is_an_error_or_the_end_of_the_process(seed, scratch, tmp_path):
    """Whatever was changed: an answer with a known code, right points, or the process ends."""
    chance = random.Random(seed)
    image = bytearray((DATA / "shard-hybrid.tar").read_bytes())
    if seed % 3 == 0:
        del image[chance.randrange(len(image)) :]
    else:
        for _ in range(200):
            image[chance.randrange(len(image))] ^= 1 << chance.randrange(8)
    (tmp_path / "damaged.tar").write_bytes(image)
    engine = Engine(scratch)
    engine.hello()
    try:
        answer = engine.open(tmp_path / "damaged.tar")
        if not answer["ok"]:
            assert answer["code"] in CODES and len(answer["message"]) <= 2000
        else:
            lines, answer = engine.ask("page", after=None, limit=1000, bytes=1 << 22)
            assert all(json.loads(line)["id"] is not None for line in lines)
            assert answer["ok"] or answer["code"] in CODES
        engine.end()
    except Ended:
        engine.kill()


@pytest.mark.parametrize(
    "members",
    [
        {"op": "open"},
        {"op": "open", "folder": 7},
        {"op": "open", "folder": "/nowhere/at/all"},
        {"op": "open", "folder": "{scratch}/x", "tar": "/nowhere.tar"},
        {"op": "page", "limit": 0, "bytes": 10},
        {"op": "page", "limit": 1, "bytes": "many"},
        {"op": "fly"},
        {"op": "close"},
    ],
)
def test_a_senseless_request_is_answered_and_the_next_one_served(members, engine, scratch):
    members = {k: v.replace("{scratch}", str(scratch)) if isinstance(v, str) else v
               for k, v in members.items()}  # fmt: skip
    refused(engine.ask(**members)[1], "request")
    assert engine.open(DATA / "shard-empty.tar")["ok"]


@pytest.mark.parametrize("after", [-1, 2**64, 1.5, "seven", True, [1]])
def test_a_position_that_is_no_id_is_refused(after, engine):
    engine.open(DATA / "shard-stream.tar")
    refused(engine.ask("page", after=after, limit=1, bytes=100)[1], "request")
    assert len(engine.points()) == 1014


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b'{"op":"info"}\n', b"\xff\xfe\n"])
def test_a_line_that_is_no_request_ends_it_with_an_answer(line, engine):
    engine.send(line)
    assert refused(engine.answer()[1], "request")
    assert engine.end()[0] == 2


def test_a_request_without_end_is_bounded(engine):
    with contextlib.suppress(BrokenPipeError):  # It does not wait for the end of it.
        engine.send(b'{"id":1,"op":"' + b"x" * (5 << 20))
    assert "longer" in refused(engine.answer()[1], "request")
    assert engine.process.wait(30) == 2


def test_a_point_longer_than_a_line_may_be_is_named(scratch):
    points = [edge.Point(7, [0.0, 1.0], {"t": "x" * 5000}), edge.Point(9, [0.0, 1.0])]
    make_shard(scratch / "shard", points)
    engine = Engine(scratch, "--line-bytes", 4096)
    engine.hello()
    engine.open()
    message = refused(engine.ask("page", limit=10, bytes=1 << 20)[1], "too_large")
    assert '"id":7' in message and "4096" in message
    lines, answer = engine.ask("page", after=7, limit=10, bytes=1 << 20)
    assert len(lines) == 1 and answer == {**answer, "last": 9, "more": False}
    engine.end()


def test_a_folder_in_use_is_not_unpacked_into(engine, scratch):
    make_shard(scratch / "shard", [])
    assert "not empty" in refused(engine.open(DATA / "shard-empty.tar"), "request")


def _mapped(engine):
    status = pathlib.Path(f"/proc/{engine.process.pid}/status").read_text()
    return int(re.search(r"VmData:\s+(\d+) kB", status).group(1)) << 10


def test_the_memory_limit_ends_what_would_pass_it(scratch):
    make_shard(
        scratch / "shard",
        [edge.Point(i, [0.0, 1.0], {"t": "x" * (1 << 20)}) for i in range(64)],
        batch=2,
    )
    engine = Engine(scratch)
    engine.hello()
    engine.open()
    engine.points(limit=4, size=4 << 20)
    # Little more than it needs for pages; 64 MiB of payload at once, in several forms, are more.
    limit = _mapped(engine) + (32 << 20)
    engine.end()
    engine = Engine(scratch, "--memory-bytes", limit)
    assert engine.hello()["ok"] and engine.open()["ok"]
    assert len(engine.points(limit=4, size=4 << 20)) == 64  # In pages it is no matter.
    try:
        _, answer = engine.ask("points", ids=list(range(64)))
        refused(answer, "memory")
    except Ended as ended:
        assert ended.args[0] < 0  # The library ends the process when an allocation fails.
    engine.kill()


def test_a_limit_that_nothing_can_live_with_is_an_end_and_not_a_hang(scratch):
    engine = Engine(scratch, "--memory-bytes", 1 << 20)
    with contextlib.suppress(Ended, BrokenPipeError):
        engine.send(b'{"id":1,"op":"hello","protocol":1}\n')
        answer = engine.answer()[1]
        # A library that found no room to be loaded is "missing" to the interpreter.
        assert answer["re"] == 0 and answer["code"] in ("memory", "missing"), answer
        assert answer["ok"] is False and answer["message"]
    engine.kill()


def test_it_dies_with_its_input_also_in_the_middle_of_a_call(scratch):
    """The library does not let go of the interpreter during a call: a guard ends it."""
    stuck = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from holdfast_engine import limits\n"
        "keep = limits.die_with_input()\n"
        "print('stuck', flush=True)\n"
        "import ctypes; ctypes.PyDLL(None).sleep(600)\n"  # Sleeps and keeps the interpreter's lock.
    )
    process = subprocess.Popen(
        [sys.executable, "-c", stuck, str(ROOT / "engine")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"stuck\n"
    process.stdin.close()
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()


def test_its_guard_ends_with_it(engine):
    children = pathlib.Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children")
    guards = children.read_text().split()
    assert len(guards) == 1
    engine.process.kill()
    engine.process.communicate(timeout=30)  # Ends only when nobody has its pipes any more.
    until = time.monotonic() + 30
    while (status := pathlib.Path(f"/proc/{guards[0]}/status")).exists():
        with contextlib.suppress(OSError):  # It may go between the two looks.
            if "zombie" in status.read_text():
                break
        assert time.monotonic() < until, "the guard is still there"
        time.sleep(0.05)


def test_what_a_library_prints_does_not_get_among_the_answers(scratch):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import os\n"
        "from holdfast_engine.lines import Lines\n"
        "lines = Lines(100)\n"
        "print('printed'); os.write(1, b'written\\n')\n"
        "lines.answer({'re': 1}); sys.stdout.flush()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "engine")], capture_output=True, timeout=60
    )
    assert done.stdout == b'{"re":1}\n'
    assert sorted(done.stderr.split()) == [b"printed", b"written"]


def test_without_the_library_it_says_what_is_missing(scratch, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "qdrant_edge.py").write_text("raise ImportError('no such thing here')\n")
    process = subprocess.run(
        [sys.executable, str(PROGRAM), "--scratch", str(scratch)],
        input=b'{"id":1,"op":"hello","protocol":1}\n',
        env={**os.environ, "PYTHONPATH": str(hidden)},
        capture_output=True,
        timeout=60,
    )
    answer = json.loads(process.stdout)
    assert "qdrant-edge-py" in refused(answer, "missing")
    (hidden / "orjson.py").write_text("raise ImportError('no \"such\" thing here')\n")
    process = subprocess.run(
        [sys.executable, str(PROGRAM), "--scratch", str(scratch)],
        input=b'{"id":1,"op":"hello","protocol":1}\n',
        env={**os.environ, "PYTHONPATH": str(hidden)},
        capture_output=True,
        timeout=60,
    )
    assert "such" in refused(json.loads(process.stdout), "missing")


def test_the_package_asks_for_the_versions_that_the_tests_run_with():
    project = tomllib.loads((ROOT / "engine/pyproject.toml").read_text())
    pins = (ROOT / "tools/requirements.in").read_text().split()
    assert set(project["project"]["dependencies"]) <= set(pins)
