"""Another number of shards by a copy: every point by id, payload and vector, under writers, kills
and a peer that is lost. On the sandbox and on a real server."""

from __future__ import annotations

import json
import signal
import time

import golden
import pytest
import shapes
import small
from holdfast_sandbox.demo_client import wait_for
from reshard_tools import Writer, alias, all_active, behind, names, shards_of

COPY = ("--method", "copy")
LOST = 2


@pytest.fixture(scope="module")
def program(client, tmp_path_factory):
    return small.program(tmp_path_factory.mktemp("reshard"), client.urls)


@pytest.mark.parametrize("number", [5, 1])
@pytest.mark.parametrize("name", ["quantized", "hybrid", "by-key", "two words", "empty"])
def test_every_point_of_every_shape_is_there(program, client, name, number):
    shape = next(s for s in shapes.SHAPES if s.name == name)
    shapes.make(client, shape)
    try:
        if not shape.alias:
            alias(client, "read as", shape.name)
        read_as = shape.alias or "read as"
        before = shards_of(client, shape.name)
        wanted = golden.points(client, shape.name)
        assert len(wanted) == shape.points
        keys = max(len(shape.keys), 1)
        if before == number * keys:
            refused = program.run("reshard", read_as, "--shards", str(number), *COPY, "--json")
            assert refused.status == 2 and "already" in refused.result["error"]["message"]
            return
        answer = program.done("reshard", read_as, "--shards", str(number), *COPY, "--json")
        result = answer.result
        target = result["target"]
        assert result["points"] == len(wanted) and result["aliases"] == [read_as]
        assert behind(client, read_as) == target
        assert shards_of(client, target) == number * keys
        assert golden.points(client, target) == wanted
        assert golden.points(client, shape.name) == wanted
        was, now = golden.shape(client, shape.name), golden.shape(client, target)
        assert now["payload_schema"] == was["payload_schema"]
        was["config"]["params"].pop("shard_number"), now["config"]["params"].pop("shard_number")
        assert now["config"] == was["config"]
        for using in shape.queries:
            if using == "bm25":
                continue  # Its scores depend on what each shard holds.
            query = shape.query(using)
            there = golden.ask(client, shape.name, using, query)
            assert golden.same_answers(there, golden.ask(client, target, using, query)), using
    finally:
        for made in names(client):
            small.drop(client, made)


def test_the_plan_is_told_and_nothing_is_done(program, client, docs):
    answer = program.done("reshard", "live", "--shards", "5", *COPY, "--dry-run", "--json")
    plan = answer.result["plan"]
    assert plan["source"] == docs and plan["method"] == "copy" and plan["aliases"] == ["live"]
    assert plan["shards_now"] == 2 and names(client) == [docs]
    told = program.done("reshard", "live", "--shards", "5", *COPY, "--dry-run").out
    assert "compared one by one" in told


def test_without_an_alias_it_becomes_a_second_collection(program, client, docs):
    wanted = golden.points(client, docs)
    client.call(
        "POST",
        "/collections/aliases?timeout=60",
        {"actions": [{"delete_alias": {"alias_name": "live"}}]},
    )
    wait_for("the alias to be gone", lambda: behind(client, "live") is None)
    refused = program.run("reshard", docs, "--shards", "3", *COPY, "--json")
    assert refused.status == 1 and "--as" in refused.result["error"]["hint"]
    assert names(client) == [docs]
    done = program.done("reshard", docs, "--shards", "3", *COPY, "--as", "wide")
    assert "second collection" in done.out
    assert golden.points(client, "wide") == wanted == golden.points(client, docs)


def settings_file(program, settings):
    path = program.folder / "settings.json"
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return ("--settings", str(path))


def config_of(client, name):
    return golden.shape(client, name)["config"]


def test_the_copy_has_the_settings_that_were_asked_for(program, client, docs):
    wanted = golden.points(client, docs)
    before = config_of(client, docs)
    asked = settings_file(program, {
        "hnsw_config": {"m": 24, "ef_construct": 64},
        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.98, "always_ram": True}},
        "optimizers_config": {"flush_interval_sec": 7, "max_optimization_threads": "auto"},
        "wal_config": {"wal_capacity_mb": 16},
        "vectors": {"": {"on_disk": True, "hnsw_config": {"m": 8}}},
        "params": {"replication_factor": 3, "read_fan_out_factor": 2},
        "on_disk_payload": False,
        "metadata": {"made": "again"},
        "strict_mode_config": {"enabled": True, "max_query_limit": 5000},
    })  # fmt: skip
    told = program.done("reshard", "live", *asked, "--dry-run", "--json").result["plan"]
    assert told["method"] == "copy" and told["shards"] == told["shards_now"] == 2
    changes = {one["name"]: (one["before"], one["after"]) for one in told["changes"]}
    assert changes["hnsw_config.m"] == (16, 24)
    assert changes["quantization_config.scalar.type"] == (None, "int8")
    text = program.done("reshard", "live", *asked, "--dry-run").out
    assert "hnsw_config.ef_construct" in text and "100" in text and "64" in text
    assert names(client) == [docs]
    done = program.done("reshard", "live", *asked, "--json").result
    target = behind(client, "live")
    assert done["target"] == target and done["settings"]["vectors.hnsw_config.m"] == 8
    wait_for("the strict mode", lambda: "strict_mode_config" in config_of(client, target))
    assert golden.points(client, target) == wanted == golden.points(client, docs)
    config = config_of(client, target)
    assert config["hnsw_config"] == {**before["hnsw_config"], "m": 24, "ef_construct": 64}
    assert config["quantization_config"]["scalar"]["always_ram"] is True
    assert config["optimizer_config"] == {**before["optimizer_config"], "flush_interval_sec": 7}
    assert config["wal_config"] == {**before["wal_config"], "wal_capacity_mb": 16}
    assert config["metadata"] == {"made": "again"}
    assert config["strict_mode_config"]["max_query_limit"] == 5000
    params = config["params"]
    assert params["vectors"]["on_disk"] is True and params["vectors"]["hnsw_config"] == {"m": 8}
    assert params["replication_factor"] == 3 and params["read_fan_out_factor"] == 2
    assert params["on_disk_payload"] is False and params["shard_number"] == 2
    query = [1.0, -0.5] * 16
    there = golden.ask(client, docs, None, query)
    assert golden.same_answers(there, golden.ask(client, target, None, query))
    # And back: what was set is removed again.
    undo = settings_file(program, {"quantization_config": None, "vectors": {"hnsw_config": None},
                                   "strict_mode_config": {"max_query_limit": None}})  # fmt: skip
    program.done("reshard", "live", *undo, "--shards", "3", "--json")
    # Set last of all, so that the peer that is asked may not have heard of it yet.
    wait_for(
        "the strict mode", lambda: "strict_mode_config" in config_of(client, behind(client, "live"))
    )
    last = config_of(client, behind(client, "live"))
    assert not last["quantization_config"] and "hnsw_config" not in last["params"]["vectors"]
    assert "max_query_limit" not in last["strict_mode_config"]
    assert last["hnsw_config"]["m"] == 24 and last["params"]["shard_number"] == 3
    assert golden.points(client, behind(client, "live")) == wanted


def test_named_vectors_get_settings_of_their_own(program, client):
    shape = next(s for s in shapes.SHAPES if s.name == "hybrid")
    shapes.make(client, shape)
    try:
        alias(client, "read as", shape.name)
        wanted = golden.points(client, shape.name)
        asked = settings_file(program, {
            "vectors": {"img": {"quantization_config": {"binary": {"always_ram": True}}},
                        "text": {"hnsw_config": {"m": 12}, "size": 16, "on_disk": True}},
            "sparse_vectors": {"bm25": {"index": {"on_disk": True}}},
        })  # fmt: skip
        target = program.done("reshard", "read as", *asked, "--json").result["target"]
        assert golden.points(client, target) == wanted
        params = config_of(client, target)["params"]
        assert params["vectors"]["img"]["quantization_config"]["binary"]["always_ram"] is True
        assert params["vectors"]["text"]["hnsw_config"]["m"] == 12
        assert params["sparse_vectors"]["bm25"]["index"]["on_disk"] is True
        assert params["sparse_vectors"]["bm25"]["modifier"] == "idf"
        for using in ("text", "img", "colbert"):
            query = shape.query(using)
            there = golden.ask(client, shape.name, using, query)
            assert golden.same_answers(there, golden.ask(client, target, using, query)), using
        for vectors, text in [
            ({"vectors": {"img": {"size": 16}}}, "'vectors.img.size' stays 8"),
            ({"vectors": {"img": {"datatype": "float32"}}}, 'stays \\"float16\\"'),
            ({"vectors": {"text": None}}, "cannot be removed"),
            ({"sparse_vectors": {"bm25": {"modifier": "none"}}}, "scores"),
        ]:
            refused = program.run("reshard", "read as", *settings_file(program, vectors), "--json")
            assert refused.status == 2 and text in str(refused), str(refused)
    finally:
        for made in names(client):
            small.drop(client, made)


def test_settings_that_cannot_be_taken_are_named_and_nothing_is_made(program, client, docs):
    for settings, arguments, text in [
        ("{", (), "is not a JSON document"),
        ("[]", (), "no JSON object"),
        ({}, (), "these settings already"),
        ({"hnsw_config": {"m": 16}}, (), "these settings already"),
        ({"hnsw_config": {"ef": 5}}, (), "no setting 'hnsw_config.ef'"),
        ({"hsnw_config": {"m": 5}}, (), "did you mean 'hnsw_config'?"),
        ({"vectors": {"distance": "Cosine"}}, (), "'vectors.distance' stays"),
        ({"shard_number": 7}, (), "pass --shards N"),
        ({"write_consistency_factor": 3}, (), "no write could succeed"),
        ({"hnsw_config": {"m": 5}}, ("--method", "native"), "PATCH /collections/docs"),
        ({"replication_factor": 1, "write_consistency_factor": "x"}, (), "from 1 on"),
    ]:
        asked = settings_file(program, settings)
        answer = program.run("reshard", "live", *asked, *arguments, "--json")
        assert answer.status in (1, 2) and text in str(answer), str(answer)
    missing = program.run("reshard", "live", "--settings", "/nowhere/x.json")
    assert missing.status == 2 and "/nowhere/x.json" in missing.err
    assert names(client) == [docs] and behind(client, "live") == docs


def test_a_killed_copy_with_settings_is_resumed_with_them(program, client, docs):
    wanted = golden.points(client, docs)
    asked = settings_file(program, {"hnsw_config": {"m": 20}})
    told = small.kill_at_step(program.start("reshard", "live", *asked, "--json"), "create")
    settings_file(program, {"hnsw_config": {"m": 99}})  # Nobody reads it again.
    done = program.done("reshard", "--resume", small.job_of(told), "--json").result
    assert config_of(client, done["target"])["hnsw_config"]["m"] == 20
    assert done["settings"] == {"hnsw_config.m": 20}
    assert golden.points(client, behind(client, "live")) == wanted
    refused = program.run("reshard", "--resume", "x", *asked)
    assert refused.status == 2 and "nothing can be added" in refused.err


def test_mistakes_are_named(program, client, docs):
    for arguments, status, text in [
        (["reshard"], 2, "which collection"),
        (["reshard", "live"], 2, "how many shards"),
        (["reshard", "live", "--shards", "0"], 2, "--shards"),
        (["reshard", "live", "--shards", "3", "--method", "magic"], 2, "no method"),
        (["reshard", "none", "--shards", "3"], 1, "no collection or alias"),
        (["reshard", "live", "--resume", "x"], 2, "nothing can be added"),
        (["reshard", "--resume", "20260101T000000Z-0000000000000000"], 1, "no reshard job"),
    ]:
        answer = program.run(*arguments, "--json")
        assert answer.status == status and text in str(answer), str(answer)
    assert names(client) == [docs]


def test_a_reshard_that_is_killed_after_any_step_is_resumed(program, client, docs):
    wanted = golden.points(client, docs)
    # The last ends the job as good as: whether the switch was made by then is up to chance.
    for number, step in enumerate(["create", "copy/0/0", "copy/1/0"]):
        arguments = ["reshard", "live", "--shards", str(3 + number), *COPY, "--json"]
        told = small.kill_at_step(program.start(*arguments), step)
        assert step in small.steps_of(told)
        again = program.done("reshard", "--resume", small.job_of(told), "--json")
        skipped = {key for key, before in small.steps_of(again.events).items() if before}
        assert step in skipped
        target = again.result["target"]
        assert behind(client, "live") == target and shards_of(client, target) == 3 + number
        assert golden.points(client, target) == wanted


def test_killed_at_any_moment_it_goes_on(program, client, docs):
    wanted = golden.points(client, docs)
    for number, moment in enumerate([0.1, 0.3, 0.5, 0.8, 1.2]):
        shards = 3 + number
        running = program.start("reshard", "live", "--shards", str(shards), *COPY, "--json")
        killed = small.kill_after(running, moment)
        job = small.job_of(small.whole_lines(killed))
        if killed.status == 0 or job is None:
            continue
        program.done("reshard", "--resume", job, "--json")
        target = behind(client, "live")
        assert shards_of(client, target) == shards
        assert golden.points(client, target) == wanted


def test_stopped_by_the_user_it_leaves_nothing(program, client, docs):
    slow = ("--max-points-per-second", "20", "--batch", "4")
    running = program.start("reshard", "live", "--shards", "5", *COPY, *slow, "--json")
    time.sleep(2)
    running.send_signal(signal.SIGINT)
    answer = program.ended(running)
    assert answer.status == 130, str(answer)
    assert names(client) == [docs] and behind(client, "live") == docs


def test_writers_that_pause_are_caught_up_with(program, client, docs):
    """They write while the points are copied and compared, and stop for a while."""
    slow = ("--max-points-per-second", "100", "--batch", "8", "--passes", "20")
    with Writer(client) as writer:
        running = program.start("reshard", "live", "--shards", "5", *COPY, *slow, "--json")
        time.sleep(3)
        writer.pause = 1e9
        answer = program.ended(running)
    assert not writer.errors and writer.writes > 10
    assert answer.status == 0, str(answer)
    assert answer.result["caught_up"] > 0 and not answer.result["unproven"]
    assert golden.points(client, answer.result["target"]) == writer.want


def test_writers_that_go_on_are_told_and_nothing_is_switched(program, client, docs):
    arguments = ("reshard", "live", "--shards", "5", *COPY, "--passes", "2", "--json")
    with Writer(client) as writer:
        failed = program.run(*arguments)
        assert failed.status == 1, str(failed)
        error = failed.result["error"]
        assert "is being written to" in error["message"] and "freeze and thaw" in error["hint"]
        assert behind(client, "live") == docs
    assert not writer.errors
    done = program.done("reshard", "--resume", failed.result["job"], "--json")
    assert golden.points(client, done.result["target"]) == writer.want


def test_hooks_keep_writers_away_for_the_last_pass(program, client, docs, tmp_path):
    frozen = tmp_path / "frozen"
    text = program.config.read_text()
    hooks = f'freeze = "touch {frozen}; sleep 0.5"\nthaw = "rm -f {frozen}"\n[repository.main]'
    program.config.write_text(text.replace("[repository.main]", hooks))
    try:
        with Writer(client, frozen) as writer:
            answer = program.run("reshard", "live", "--shards", "5", *COPY, "--json")
            at_the_end = writer.writes
            wait_for("more writes", lambda: writer.writes > at_the_end + 5 or writer.errors)
    finally:
        program.config.write_text(text)
    assert answer.status == 0, str(answer)
    assert answer.result["fenced"] and answer.result["caught_up"] > 0
    assert not writer.errors and not frozen.exists()
    # What was written since is in the new collection as well: the writer follows the alias.
    assert golden.points(client, answer.result["target"]) == writer.want


def test_a_peer_that_is_lost_on_the_way(servers, program, client, docs):
    """Its replicas are read from others; where the copy cannot be whole it waits for the peer."""
    wanted = golden.points(client, docs)
    answers = golden.answers(client, docs, small.DIMENSIONS)
    slow = ("--max-points-per-second", "60", "--batch", "8")
    running = program.start("reshard", "live", "--shards", "5", *COPY, *slow, "--json")
    told = []
    for line in running.stdout:
        told.append(line)
        if '"create"' in line:
            servers.kill(LOST)
            break
    time.sleep(2)
    servers.start(LOST)
    rest = running.stdout.read()
    running.stderr.read()
    status = running.wait(300)
    if status != 0:
        job = small.job_of(small.whole_lines(small.Answer(status, "".join(told), "")))
        wait_for("all replicas", lambda: all_active(client), 120, 0.5)
        program.done("reshard", "--resume", job)
    target = behind(client, "live")
    assert target != docs, rest
    wait_for("all replicas", lambda: all_active(client), 120, 0.5)
    assert golden.points(client, target) == wanted == golden.points(client, docs)
    assert golden.all_same_answers(answers, golden.answers(client, target, small.DIMENSIONS))
