"""What an on-call engineer gets wrong, and what the machine gets wrong: each has its answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import BINARY, Program


def plain(*arguments: str, cwd: Path | None = None, **options) -> subprocess.CompletedProcess:
    """The program without a configuration of its own."""
    return subprocess.run(
        [str(BINARY), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def forget_catalog(program: Program) -> None:
    for file in program.folder.glob("catalog.db*"):
        file.unlink()


@pytest.mark.parametrize(
    "arguments",
    [
        ("backup", "--max-skew", "soon"),
        ("backup", "--no-such-option"),
        ("show",),
        ("no-such-command",),
        ("restore", "20260101", "--at", "2026-01-01T00:00:00Z"),
        ("restore", "latest", "--resume", "20260101T000000Z-0000000000000000"),
        ("restore", "latest", "--as", "docs=a", "--as", "docs=b"),
        ("show", "latest", "--attachment", "policy"),
    ],
)
def test_usage_errors_are_results_too_with_json(program, arguments):
    answer = program.run(*arguments, "--json")
    assert answer.status == 2, str(answer)
    assert answer.result["event"] == "result" and answer.result["state"] == "failed"
    assert answer.result["error"]["code"] == "invalid_argument"
    assert answer.result["error"]["message"] and answer.result["error"]["hint"]


def test_an_unknown_command_is_named():
    answer = plain("restroe")
    assert answer.returncode == 2
    assert "restroe" in answer.stderr and answer.stdout == ""


def test_the_version_needs_no_configuration(tmp_path):
    (tmp_path / "holdfast.toml").write_text("[cluster")
    answer = plain("version", cwd=tmp_path)
    assert answer.returncode == 0 and answer.stdout.startswith("holdfast ")


def test_a_configuration_that_is_a_folder_is_named(tmp_path):
    answer = plain("groups", "--config", str(tmp_path))
    assert answer.returncode == 2 and "Is a directory" in answer.stderr


def test_a_catalog_without_home_is_refused_and_made_nowhere(tmp_path):
    (tmp_path / "holdfast.toml").write_text(
        f'[repository.r]\nurl = "file://{tmp_path}/backups"\nencryption = "none"\n'
    )
    there = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_STATE_HOME")}
    assert plain("init", cwd=tmp_path, env=there).returncode == 0
    answer = plain("catalog", "rebuild", cwd=tmp_path, env=there)
    assert answer.returncode == 2 and "HOME" in answer.stderr


def test_results_that_cannot_be_written_are_no_success(program):
    program.done("backup")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            program.argv("groups", "--json"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1 and "No space left" in done.stderr
    # A reader that has seen enough is no failure.
    script = f"'{BINARY}' groups --config '{program.config}' | true; echo ${{PIPESTATUS[0]}}"
    piped = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert piped.stdout == "0\n" and piped.stderr == ""


def test_closed_standard_descriptors_are_given_to_no_file(program):
    """Otherwise the next file that is opened is descriptor 1, and the table is written into it."""
    script = f"exec '{BINARY}' backup --config '{program.config}' <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0
    verified = program.run("verify", "--json")
    assert verified.status == 0 and verified.result["groups"] == 1


def test_check_says_what_failed_and_who_reads_the_password(program):
    assert program.run("check", "--json").result["state"] == "complete"
    (program.folder / "key").chmod(0o644)
    found = program.run("check", "--json")
    rights = [f for f in found.result["findings"] if f["what"] == "secret file"]
    assert found.status == 0 and len(rights) == 1 and "chmod 600" in rights[0]["detail"]
    shutil.rmtree(program.folder / "backups")
    failed = program.run("check", "--json")
    assert failed.status == 1 and failed.result["state"] == "failed"
    assert "store" in failed.result["error"]["message"]


def test_a_damaged_manifest_hides_no_other_group(program):
    program.done("backup")
    time.sleep(1.1)  # Ids begin with the second.
    program.done("backup")
    older, newer = sorted(Path(program.folder, "backups", "groups").iterdir())
    whole = older.read_bytes()
    forget_catalog(program)

    older.chmod(0o600)
    older.write_bytes(whole[: len(whole) // 2])
    listed = program.run("groups", "--json")
    assert listed.status == 4, str(listed)
    assert [g["group"] for g in listed.result["groups"]] == [newer.name]
    assert [g["group"] for g in listed.result["damaged"]] == [older.name]
    assert newer.name in program.done("show", "latest").out
    rebuilt = program.run("catalog", "rebuild", "--json")
    assert rebuilt.status == 4 and rebuilt.result["groups"] == 1

    # With the newest damaged nobody is given an older one without being asked.
    older.write_bytes(whole)
    newer.chmod(0o600)
    newer.write_bytes(newer.read_bytes()[:100])
    forget_catalog(program)
    refused = program.run("restore", "latest", "--dry-run", "--json")
    assert refused.status == 4, str(refused)
    assert newer.name in refused.result["error"]["message"]
    assert older.name in refused.result["error"]["hint"]
    assert program.run("show", older.name).status == 0
    # And who has understood can forget the damaged one.
    program.done("forget", newer.name)
    assert older.name in program.done("show", "latest").out


def test_latest_of_several_clusters_must_be_said(program, cluster, tmp_path):
    program.done("backup")
    time.sleep(1.1)
    (tmp_path / "other").mkdir()
    other = Program(tmp_path / "other", cluster, url=f"file://{program.folder}/backups")
    other.config.write_text(other.config.read_text().replace("cluster.test", "cluster.other"))
    other.done("backup")
    refused = other.run("restore", "latest", "--dry-run", "--json")
    assert refused.status == 2, str(refused)
    assert "other, test" in refused.result["error"]["message"]
    assert "--from" in refused.result["error"]["hint"]
    mine, theirs = other.groups()[1]["group"], other.groups()[0]["group"]
    planned = other.done("restore", "latest", "--from", "test", "--dry-run").out
    assert mine in planned and theirs not in planned
    assert mine in other.done("show", "latest", "--cluster", "test").out
    unsaid = other.run("topology", "--against", "latest", "--json")
    assert unsaid.status == 2 and "--cluster" in unsaid.result["error"]["hint"], str(unsaid)
    said = other.run("topology", "--against", "latest", "--cluster", "other", "--json")
    assert said.result["group"] == theirs, str(said)
    nobody = other.run("restore", "latest", "--from", "nobody", "--dry-run")
    assert nobody.status == 1 and "nobody" in nobody.err


def test_the_safety_backup_of_a_restore_is_not_the_latest_group(program, cluster, ask):
    body = {"vectors": {"size": 4, "distance": "Dot"}}
    ask("PUT", f"{cluster[0]}/collections/plain?timeout=60", body)
    point = {"points": [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}]}
    ask("PUT", f"{cluster[0]}/collections/plain/points?wait=true", point)
    program.done("backup", "--collections", "plain")
    asked_for = program.groups()[0]["group"]
    program.done("restore", asked_for, "--in-place")
    ask("DELETE", f"{cluster[0]}/collections/plain")
    purposes = {g["group"]: g["purpose"] for g in program.groups()}
    assert sorted(purposes.values()) == ["", "safety"]
    assert asked_for in program.done("show", "latest").out


def test_a_rebuilt_catalog_says_what_the_old_one_said(program):
    program.done("backup")
    before = program.groups()[0]
    forget_catalog(program)
    planned = program.done("catalog", "rebuild", "--dry-run", "--json").result
    assert planned["groups"] >= 1 and planned["dry_run"]
    assert not list(program.folder.glob("catalog.db*"))
    program.done("catalog", "rebuild")
    after = program.groups()[0]
    # The manifest cannot hold its own size.
    assert 0 <= before.pop("bytes_stored") - after["bytes_stored"] < 100_000
    assert after.pop("bytes_stored") > 0
    assert after == before


def test_a_lost_terminal_ends_a_backup_cleanly_and_nohup_keeps_it(program):
    program.config.write_text(
        program.config.read_text().replace(
            "[repository.main]", 'freeze = "sleep 2"\nthaw = "true"\n[repository.main]'
        )
    )
    # Whether this run itself lives under nohup must not matter.
    for disposition, expected in ((signal.SIG_DFL, 129), (signal.SIG_IGN, 0)):
        before = signal.signal(signal.SIGHUP, disposition)
        try:
            running = subprocess.Popen(
                program.argv("backup", "--json"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        finally:
            signal.signal(signal.SIGHUP, before)
        line = running.stdout.readline()
        assert json.loads(line)["event"] == "started"
        time.sleep(0.3)
        running.send_signal(signal.SIGHUP)
        out = running.communicate(timeout=120)[0]
        assert running.returncode == expected, out
        state = json.loads(out.splitlines()[-1])["state"]
        assert state == ("complete" if expected == 0 else "cancelled")


def test_names_with_commas_and_a_group_behind_the_options(program, cluster, ask):
    body = {"vectors": {"size": 4, "distance": "Dot"}}
    ask("PUT", f"{cluster[0]}/collections/a%2Cb?timeout=60", body)
    program.done("backup", "--collection", "a,b")
    ask("DELETE", f"{cluster[0]}/collections/a%2Cb")
    assert program.groups()[0]["collections"] == 1
    planned = program.done("restore", "--collection", "a,b", "latest", "--dry-run", "--json")
    assert [c["source"] for c in planned.result["plan"]["collections"]] == ["a,b"]
    renamed = program.done("restore", "--as", "a,b=c", "latest", "--dry-run", "--json")
    assert [c["target"] for c in renamed.result["plan"]["collections"]] == ["c"]


def test_init_looks_before_it_writes_and_before_it_promises(program):
    dry = program.run("init", "--dry-run", "--json")
    assert dry.status == 1 and dry.result["error"]["code"] == "already_exists"
    program.done("backup")
    kept = Path(program.folder, "backups", "holdfast.json")
    whole = kept.read_bytes()
    kept.unlink()
    for arguments in (("init",), ("init", "--dry-run")):
        refused = program.run(*arguments, "--json")
        assert refused.status == 1 and "copy" in refused.result["error"]["hint"], str(refused)
    kept.write_bytes(whole)
    assert len(program.groups()) == 1
