"""What the command line promises: exit statuses, JSON lines, no half groups, secrets unseen."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from program import Program


def count(ask, url: str, name: str) -> int:
    answer = ask("POST", f"{url}/collections/{name}/points/count", {"exact": True})
    return answer["result"]["count"]


def test_backup_then_restore_beside_the_live_collection(program, cluster, ask):
    backup = program.run("backup", "--json")
    assert backup.status == 0, backup.err + backup.out
    result = backup.result
    assert result["event"] == "result" and result["state"] == "complete"
    assert result["consistency"] == "window"
    assert (result["collections"], result["shards"], result["points"]) == (1, 3, 300)
    assert result["skew_ms"] >= 0
    again = program.run("backup", "--json").result
    assert again["bytes_new"] < result["bytes_new"] / 5

    restored = program.run("restore", "latest", "--as", "docs=copy", "--json")
    assert restored.status == 0, restored.out
    assert restored.result["collections"][0]["target"] == "copy"
    assert restored.result["collections"][0]["points"] == 300
    assert count(ask, cluster[0], "copy") == 300
    assert count(ask, cluster[0], "docs") == 300
    ask("DELETE", f"{cluster[0]}/collections/copy")
    assert program.run("verify").status == 0
    groups = program.run("groups", "--json").result["groups"]
    assert len(groups) == 2
    assert program.run("forget", groups[0]["group"]).status == 0
    assert len(program.run("groups", "--json").result["groups"]) == 1
    assert program.run("show", "latest").status == 0
    assert program.run("catalog", "rebuild").status == 0


def test_a_collection_read_through_an_alias_is_switched(program, cluster, ask):
    assert program.run("backup").status == 0
    restored = program.run("restore", "latest", "--json")
    assert restored.status == 0, restored.out
    target = restored.result["collections"][0]["target"]
    aliases = ask("GET", f"{cluster[0]}/aliases")["result"]["aliases"]
    assert {"alias_name": "live", "collection_name": target} in aliases
    switch = [
        {"delete_alias": {"alias_name": "live"}},
        {"create_alias": {"collection_name": "docs", "alias_name": "live"}},
    ]
    ask("POST", f"{cluster[0]}/collections/aliases", {"actions": switch})
    ask("DELETE", f"{cluster[0]}/collections/{target}")


def test_mistakes_are_usage_errors_with_a_way_out(program, tmp_path):
    assert program.run("restore").status == 2
    assert program.run("backup", "--max-skew", "soon").status == 2
    assert program.run("backup", "--collections", "nope").status == 1
    assert program.run("restore", "no-such-group").status == 1
    program.config.write_text(program.config.read_text() + "spool_byte_max = 1\n")
    wrong = program.run("groups")
    assert wrong.status == 2 and "spool_bytes_max" in wrong.err


def test_a_wrong_password_is_refused(program):
    assert program.run("backup").status == 0
    (program.folder / "key").write_text("another\n")
    refused = program.run("groups", "--json")
    assert refused.status == 1
    assert refused.result["error"]["code"] == "permission_denied"


def test_an_unreachable_cluster_changes_nothing(tmp_path):
    nobody = Program(tmp_path, ["http://127.0.0.1:9"])
    assert nobody.run("init").status == 0
    answer = nobody.run("backup", "--json")
    assert answer.status == 5
    assert answer.result["state"] == "failed"


def test_damage_is_found_and_named(program):
    assert program.run("backup").status == 0
    packs = [p for p in Path(program.folder, "backups", "packs").rglob("*") if p.is_file()]
    body = bytearray(packs[0].read_bytes())
    body[len(body) // 2] ^= 1
    packs[0].chmod(0o600)
    packs[0].write_bytes(body)
    found = program.run("verify", "--json")
    assert found.status == 4
    assert found.result["damaged"]


def test_a_read_only_repository_is_restored_from_and_never_written(program, cluster, ask):
    program.done("backup")
    folder = Path(program.folder, "backups")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    only = {"HOLDFAST__REPOSITORY__MAIN__READ_ONLY": "true"}
    for command in (("verify",), ("show", "latest"), ("groups",), ("catalog", "rebuild")):
        answer = program.run(*command, "--json", env=only)
        assert answer.status == 0, str(answer)
    restored = program.run("restore", "latest", "--as", "docs=copy", "--json", env=only)
    assert restored.status == 0, str(restored)
    assert count(ask, cluster[0], "copy") == 300
    ask("DELETE", f"{cluster[0]}/collections/copy")
    checked = program.run("check", env=only)
    assert checked.status == 0 and "read-only" in checked.out, str(checked)
    group = program.groups()[-1]["group"]
    for command in (("backup",), ("forget", group), ("init",)):
        refused = program.run(*command, "--json", env=only)
        assert refused.status in (1, 5), str(refused)
    assert "read_only" in program.run("backup", "--json", env=only).result["error"]["hint"]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_attachments_come_back_byte_for_byte(program, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_bytes(b'{"allow": ["a", "b"]}\n' * 1000)
    assert program.run("backup", "--attach", f"access-policy={policy}").status == 0
    shown = program.run("show", "latest", "--attachment", "access-policy")
    assert shown.status == 0
    assert shown.out.encode() == policy.read_bytes()


def test_ctrl_c_ends_with_130_and_no_group(program):
    running = program.start("backup", "--json")
    time.sleep(0.15)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    # A backup this small may have been done before the signal came.
    assert running.returncode in (0, 130), out
    groups = program.run("groups", "--json").result["groups"]
    assert len(groups) == (1 if running.returncode == 0 else 0)


def test_writers_are_released_when_the_backup_is_killed(cluster, tmp_path):
    """The watchdog thaws also after kill -9 (design, Capture 2)."""
    frozen = tmp_path / "frozen"
    program = Program(tmp_path, cluster)
    text = program.config.read_text()
    hooks = f'freeze = "touch {frozen}; sleep 1"\nthaw = "rm -f {frozen}"\n[repository.main]'
    program.config.write_text(text.replace("[repository.main]", hooks))
    assert program.run("init").status == 0
    running = program.start("backup")
    deadline = time.monotonic() + 60
    while not frozen.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert frozen.exists(), "the freeze hook did not run"
    running.send_signal(signal.SIGKILL)
    running.communicate()
    while frozen.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not frozen.exists(), "nobody released the writers"
    fenced = program.run("backup", "--wait", "90s", "--json")
    assert fenced.status == 0, fenced.out
    assert fenced.result["consistency"] == "fenced"
    assert not frozen.exists()
