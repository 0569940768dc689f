"""A cluster that asks for API keys: least privilege works, what is missing is named, keys are never
shown."""

from __future__ import annotations

import golden
import pytest
import small
from clusters import SandboxCluster
from holdfast_sandbox.demo_client import Client
from program import BINARY, ArgumentWatch, Program

MANAGE, READ = "manage-key-nobody-may-see", "read-key-nobody-may-see"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Files with the keys, by what they allow."""
    folder = tmp_path_factory.mktemp("keys")
    files = {}
    for name, text in (("manage", MANAGE), ("read", READ), ("wrong", "a-wrong-key-entirely")):
        files[name] = folder / name
        files[name].write_text(text + "\n")
        files[name].chmod(0o600)
    return files


@pytest.fixture(scope="module")
def client(tmp_path_factory, keys):
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: ./dev build holdfast")
    arguments = ("--api-key-file", str(keys["manage"]), "--read-key-file", str(keys["read"]))
    made = SandboxCluster(tmp_path_factory.mktemp("guarded") / "c", 3, arguments)
    client = Client(made.urls, MANAGE)
    small.make(client)
    yield client
    made.down()


def program(folder, client, **keys) -> Program:
    made = Program(folder, client.urls, secrets=(MANAGE, READ, "a-wrong-key-entirely"))
    lines = "".join(f'{name} = "{path}"\n' for name, path in keys.items())
    text = made.config.read_text().replace("[repository.main]", f"{lines}[repository.main]", 1)
    made.config.write_text(text)
    made.done("init")
    return made


def test_with_all_keys_everything_works(client, keys, tmp_path):
    full = program(
        tmp_path,
        client,
        read_key_file=keys["read"],
        key_file=keys["manage"],
        manage_key_file=keys["manage"],
    )
    with ArgumentWatch(full.secrets) as watch:
        full.done("check")
        full.done("topology")
        full.done("backup", "--json")
        full.done("restore", "latest", "--as", "docs=copy")
    assert golden.points(client, "copy") == golden.points(client, small.NAME)
    small.drop(client, "copy")
    assert not watch.found, f"a key is in the arguments of {watch.found}"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert MANAGE.encode() not in file.read_bytes(), f"{file} holds a key"


def test_a_key_that_may_only_read_is_refused_before_anything_is_done(client, keys, tmp_path):
    reader = program(tmp_path, client, read_key_file=keys["read"], key_file=keys["read"])
    reader.done("topology")
    refused = reader.run("backup", "--json")
    assert refused.status == 1, refused
    error = refused.result["error"]
    assert error["code"] == "permission_denied" and "take snapshots" in error["message"]
    assert "key" in error["hint"]
    assert reader.groups() == []


def test_a_restore_without_the_manage_key_is_refused_before_anything_is_done(
    client, keys, tmp_path
):
    half = program(
        tmp_path,
        client,
        read_key_file=keys["read"],
        key_file=keys["manage"],
        manage_key_file=keys["read"],
    )
    half.done("backup")
    refused = half.run("restore", "latest", "--as", "docs=copy", "--json")
    assert refused.status == 1, refused
    assert refused.result["error"]["code"] == "permission_denied"
    assert "manage" in refused.result["error"]["message"]
    assert not small.exists(client, "copy")


@pytest.mark.parametrize("key", ["wrong", None])
def test_a_wrong_key_and_none_are_told_apart_from_a_cluster_that_is_away(
    client, keys, tmp_path, key
):
    chosen = {"read_key_file": keys[key], "key_file": keys[key]} if key else {}
    stranger = program(tmp_path, client, **chosen)
    refused = stranger.run("backup", "--json")
    assert refused.status == 1, refused
    assert refused.result["error"]["code"] == "permission_denied"
