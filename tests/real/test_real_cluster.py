"""The helper that starts real clusters: both layouts, a node that dies and comes back."""

import json
import os
import subprocess
import sys

import pytest
from clusters import SANDBOX
from holdfast_sandbox.demo_client import Client, RestError, wait_for
from holdfast_sandbox.realcluster import RealCluster, RealClusterError


@pytest.mark.parametrize("layout", ["addresses", "ports"])
def test_three_nodes_know_each_other(real_binary, tmp_path, layout):
    cluster = RealCluster.up(tmp_path / "c", real_binary, 3, layout)
    try:
        views = [Client([url]).call("GET", "/cluster") for url in cluster.urls]
        assert len({view["peer_id"] for view in views}) == 3
        uris = {node.p2p_uri + "/" for node in cluster.nodes}
        assert all({peer["uri"] for peer in view["peers"].values()} == uris for view in views)
        if layout == "addresses":
            assert len({node.http_port for node in cluster.nodes}) == 1
    finally:
        cluster.down()
    with pytest.raises(RestError):
        Client([cluster.urls[0]]).send("GET", "/")


def run(command, folder, *arguments, ok=True):
    done = subprocess.run(
        [sys.executable, "-m", "holdfast_sandbox.realcluster", command, *map(str, arguments)]
        + ["--dir", str(folder), "--json"],
        cwd=SANDBOX,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_command_line_finds_its_nodes_again(real_binary, tmp_path):
    folder = tmp_path / "c"
    up = run("up", folder, "--binary", real_binary)
    try:
        assert [node["running"] for node in up["nodes"]] == [True] * 3
        body = {"vectors": {"size": 4, "distance": "Dot"}, "replication_factor": 3}
        client = Client(up["urls"])
        client.call("PUT", "/collections/c?timeout=30", body)
        assert run("kill", folder, 2)["nodes"][2]["running"] is False
        assert run("start", folder, 2)["nodes"][2]["running"] is True
        view = {"url": up["urls"][2]}
        wait_for("its shard", lambda: client.call("GET", "/collections/c", **view), 20)
        run("kill", folder, 2, "--with-disk")
        assert not os.path.exists(folder / "node2")
        assert "already" in run("up", folder, "--binary", real_binary, ok=False)["error"]["message"]
    finally:
        run("down", folder)
    assert "no cluster" in run("status", folder, ok=False)["error"]["message"]


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path):
    program = tmp_path / "not-a-server"
    program.write_text("#!/bin/sh\necho cannot do this\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(RealClusterError, match="cannot do this"):
        RealCluster.up(tmp_path / "c", program, 1)
