"""The program over a real S3 server, with its catalog in a real MariaDB."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from program import ArgumentWatch, Program
from proxy import FlakyDoor
from servers import MariaDb, VersityGw


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    binary = VersityGw.binary()
    if binary is None:
        pytest.skip("versitygw is not installed; run ./dev setup, or set HOLDFAST_VERSITYGW")
    server = VersityGw(tmp_path_factory.mktemp("s3"), binary)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    if not MariaDb.available():
        pytest.skip(f"{MariaDb.SERVER} is not installed; apt-get install mariadb-server-core")
    server = MariaDb(tmp_path_factory.mktemp("db"))
    yield server
    server.stop()


def write_secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def credentials(folder: Path, secret: str) -> Path:
    text = f"[e2e]\naws_access_key_id = {VersityGw.ACCESS}\naws_secret_access_key = {secret}\n"
    return write_secret(folder / "credentials", text)


@pytest.fixture()
def program(cluster, s3, database, tmp_path):
    """An empty repository in a bucket of its own; the catalog is shared by the module."""
    bucket = "b" + str(time.monotonic_ns())
    objects = s3.bucket(bucket)
    password = write_secret(tmp_path / "db-password", database.password + "\n")
    made = Program(
        tmp_path,
        cluster,
        url=f"s3://{bucket}/team a/holdfast",
        repository=f'endpoint = "{s3.url}"\nregion = "us-east-1"\n'
        f'credentials_file = "{credentials(tmp_path, s3.secret)}"\n'
        f'credentials_profile = "e2e"',
        catalog=f'url = "{database.url}"\npassword_file = "{password}"',
        secrets=(s3.secret, database.password),
    )
    made.objects = objects
    s3.port or s3.start()
    return made


def kept(program: Program) -> set[str]:
    """Names of all objects, those of intents and probes too."""
    return {str(p.relative_to(program.objects)) for p in program.objects.rglob("*") if p.is_file()}


def wait_for(what: str, condition, running=None, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        assert running is None or running.poll() is None, f"it ended before {what}"
        time.sleep(0.005)


def test_every_command_from_init_to_the_rebuilt_catalog(program, cluster, database, ask):
    with ArgumentWatch(program.secrets) as watch:
        assert program.done("init", "--json").result["encryption"] == "password"
        before = kept(program)
        checked = program.done("check", "--json").result
        assert checked["findings"] and all(f["ok"] or f["optional"] for f in checked["findings"])
        assert kept(program) == before, "check leaves something behind"

        first = program.done("backup", "--json").result
        assert (first["state"], first["points"]) == ("complete", 300)
        again = program.done("backup", "--json").result
        assert again["bytes_new"] < first["bytes_new"] / 5

        groups = program.groups()
        assert [g["group"] for g in groups] == [again["group"], first["group"]]
        assert first["group"] in program.done("show", first["group"]).out
        restored = program.done("restore", first["group"], "--as", "docs=from_s3", "--json").result
        assert restored["collections"][0]["points"] == 300
        counted = ask("POST", f"{cluster[0]}/collections/from_s3/points/count", {"exact": True})
        assert counted["result"]["count"] == 300
        ask("DELETE", f"{cluster[0]}/collections/from_s3?timeout=60")
        verified = program.done("verify", "--json").result
        assert verified["groups"] == 2 and not verified["damaged"]

        program.done("forget", first["group"], "--reason", "e2e")
        assert [g["group"] for g in program.groups()] == [again["group"]]
        database.lose_everything()
        assert program.done("catalog", "rebuild", "--json").result["state"] == "complete"
        assert [g["group"] for g in program.groups()] == [again["group"]]
        program.done("backup")
    assert watch.looks > 20 and not watch.found, f"a secret is in the arguments of {watch.found}"


def test_no_file_that_was_written_holds_a_secret(program, s3, database):
    program.done("init")
    program.done("backup")
    hidden = [secret.encode() for secret in program.secrets]
    written = [program.objects, s3.folder / "log", database.folder / "data" / MariaDb.DATABASE]
    files = [f for root in written for f in ([root] if root.is_file() else root.rglob("*"))]
    assert len(files) > 5
    for file in files:
        if file.is_file():
            content = file.read_bytes()
            assert not any(secret in content for secret in hidden), f"{file} holds a secret"


def test_wrong_credentials_are_refused_and_named(program, tmp_path):
    program.done("init")
    credentials(tmp_path, "not-the-secret-at-all")
    program.secrets += ("not-the-secret-at-all",)
    refused = program.run("backup", "--json")
    assert refused.status == 1
    error = refused.result["error"]
    assert error["code"] == "permission_denied" and error["hint"]


def test_a_bucket_that_is_missing_is_named(program):
    text = program.config.read_text().replace("s3://b", "s3://no-such-b")
    program.config.write_text(text)
    for command in ("init", "groups", "backup"):
        refused = program.run(command, "--json")
        assert refused.status == 1, refused
        assert "no-such-b" in refused.result["error"]["message"]


def test_a_server_that_is_away_changes_nothing(program, s3):
    program.done("init")
    s3.stop()
    try:
        answer = program.run("backup", "--json")
        assert answer.status == 5, answer
        assert "nothing was changed" in json.dumps(answer.result["error"]).lower() + answer.err
    finally:
        s3.start()
    program.done("backup")


@pytest.mark.parametrize("away_seconds", [0.5, 5.0])
def test_a_server_that_goes_away_in_the_middle(program, s3, away_seconds):
    """A short break is survived or fails cleanly, a long one fails; the repository stays valid."""
    program.done("init")
    before = kept(program)
    running = program.start("backup", "--json")
    # Its intent is there: the attempt has begun to write.
    wait_for("the first object of the backup", lambda: kept(program) - before, running)
    s3.stop()
    try:
        time.sleep(away_seconds)
    finally:
        s3.start()
    answer = program.ended(running)
    groups = program.groups()
    if answer.status == 0:
        assert [g["group"] for g in groups] == [answer.result["group"]]
    else:
        # 5 when it had only announced itself, 1 when it had begun to store.
        assert answer.status in (1, 5), answer
        assert answer.result["state"] == "failed" and answer.result["error"]["message"]
        assert groups == []
    program.done("backup")
    program.done("verify")


def test_a_server_that_refuses_and_loses_replies_all_the_time(program, s3, cluster, ask):
    """SlowDown, and puts that were done although their reply never came."""
    door = FlakyDoor(s3.url, every=5)
    program.config.write_text(program.config.read_text().replace(s3.url, door.url))
    program.done("init")
    first = program.done("backup", "--json").result
    program.done("backup")
    program.done("restore", first["group"], "--as", "docs=flaky")
    ask("DELETE", f"{cluster[0]}/collections/flaky?timeout=60")
    program.done("verify")
    assert door.refused > 2 and door.lost > 2
    assert len(program.groups()) == 2
    door.close()


def test_a_catalog_that_is_away_changes_nothing(program, database):
    program.done("init")
    before = kept(program)
    database.stop()
    try:
        answer = program.run("backup", "--json")
        assert answer.status == 5, answer
        assert kept(program) == before
        # What needs no catalog works without it.
        program.done("verify")
    finally:
        database.start()
    program.done("backup")


def test_a_catalog_that_goes_away_in_the_middle(program, database):
    program.done("init")
    before = kept(program)
    running = program.start("backup", "--json")
    wait_for("the first object of the backup", lambda: kept(program) - before, running)
    database.stop()
    time.sleep(1)
    database.start()
    answer = program.ended(running)
    groups = program.groups()
    assert answer.status in (0, 1), answer
    assert len(groups) == (1 if answer.status == 0 else 0)
    assert program.done("backup", "--wait", "60s", "--json").result["state"] == "complete"
    program.done("verify")
