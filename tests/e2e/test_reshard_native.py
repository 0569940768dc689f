"""`holdfast reshard` where the cluster reshards in place: up and down, killed and resumed. On the
sandbox and on a real server."""

from __future__ import annotations

import golden
import pytest
import small
from clusters import RealThree, SandboxCluster
from holdfast_sandbox.demo_client import Client
from test_reshard import alias, behind, names, shards_of


@pytest.fixture(scope="module", params=["sandbox", "real"])
def client(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "c"
    if request.param == "real":
        made = RealThree(folder, request.getfixturevalue("real_binary"))
    else:
        made = SandboxCluster(folder, 3, ("--optimizer", "auto", "--resharding"))
    yield Client(made.urls)
    made.down()


@pytest.fixture(scope="module")
def program(client, tmp_path_factory):
    return small.program(tmp_path_factory.mktemp("native"), client.urls)


@pytest.fixture()
def docs(client):
    small.make(client, replicas=2)
    alias(client, "live", small.NAME)
    yield small.NAME
    for name in names(client):
        small.drop(client, name)


def test_up_and_down_in_place(program, client, docs):
    wanted = golden.points(client, docs)
    plan = program.done("reshard", "live", "--shards", "4", "--dry-run", "--json").result["plan"]
    assert plan["method"] == "native" and plan["target"] == docs
    for number in (4, 1):
        done = program.done("reshard", "live", "--shards", str(number), "--json").result
        assert done["method"] == "native" and done["points"] == len(wanted)
        assert shards_of(client, docs) == number and names(client) == [docs]
        assert golden.points(client, docs) == wanted
    assert behind(client, "live") == docs


def test_a_copy_can_be_asked_for_all_the_same(program, client, docs):
    wanted = golden.points(client, docs)
    done = program.done("reshard", "live", "--shards", "3", "--method", "copy", "--json").result
    assert done["target"] != docs and behind(client, "live") == done["target"]
    assert golden.points(client, done["target"]) == wanted


def test_killed_in_the_middle_it_is_resumed(program, client, docs):
    wanted = golden.points(client, docs)
    for moment in (0.3, 0.7, 1.5):
        running = program.start("reshard", "live", "--shards", "4", "--json")
        killed = small.kill_after(running, moment)
        job = small.job_of(small.whole_lines(killed))
        if killed.status != 0 and job is not None:
            program.done("reshard", "--resume", job, "--json")
        elif killed.status != 0:
            program.done("reshard", "live", "--shards", "4", "--json")
        assert shards_of(client, docs) == 4
        assert golden.points(client, docs) == wanted
        program.done("reshard", "live", "--shards", "2", "--json")
