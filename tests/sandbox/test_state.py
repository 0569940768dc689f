"""The agreed state: what operations do, and what they refuse without a trace."""

import copy

import pytest
from holdfast_sandbox import defaults
from holdfast_sandbox.errors import ApiError
from holdfast_sandbox.state import ClusterState

BODY = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2, "replication_factor": 2}


def _state():
    state = ClusterState()
    for peer in (11, 22, 33):
        state.apply(
            {"op": "add_peer", "peer": peer, "uri": f"http://p{peer}/", "rest": f"http://r{peer}"}
        )
    shards = [{"id": 0, "peers": [11, 22]}, {"id": 1, "peers": [22, 33]}]
    config = defaults.new_config(BODY, 3)
    state.apply(
        {
            "op": "create_collection",
            "collection": "c",
            "uuid": "u",
            "config": config,
            "shards": shards,
        }
    )
    return state


def _activate(state):
    changes = [
        [s.id, p, "Active", "Initializing"]
        for s in state.collections["c"].shards.values()
        for p in s.replicas
    ]
    state.apply({"op": "replicas", "collection": "c", "uuid": "u", "set": changes})
    return state


def _replicas(state, *changes):
    state.apply({"op": "replicas", "collection": "c", "uuid": "u", "set": list(changes)})


def _refused(state, op, text):
    before = copy.deepcopy(state.__dict__)
    with pytest.raises(ApiError, match=text):
        state.apply(op)
    assert state.__dict__ == before


def test_replicas_are_initializing_until_their_peers_say_otherwise():
    state = _state()
    assert state.collections["c"].shards[0].replicas == {11: "Initializing", 22: "Initializing"}
    assert _activate(state).collections["c"].shards[0].replicas == {11: "Active", 22: "Active"}


def test_the_last_active_replica_is_never_deactivated():
    state = _activate(_state())
    _replicas(state, [0, 11, "Dead", None])
    _replicas(state, [0, 22, "Dead", None])
    assert state.collections["c"].shards[0].replicas == {11: "Dead", 22: "Active"}
    op = {"op": "drop_replica", "collection": "c", "uuid": "u", "shard": 0, "peer": 22}
    _refused(state, op, "at least one active replica")


def test_a_state_change_from_an_older_world_is_skipped():
    state = _activate(_state())
    _replicas(
        state, [0, 11, "Active", "Initializing"], [7, 11, "Active", None], [0, 99, "Active", None]
    )
    assert state.collections["c"].shards[0].replicas == {11: "Active", 22: "Active"}


def test_an_upload_adds_a_replica():
    state = _activate(_state())
    _replicas(state, [0, 33, "Active", None])
    assert state.collections["c"].shards[0].replicas == {11: "Active", 22: "Active", 33: "Active"}


def test_a_list_of_alias_changes_happens_whole_or_not_at_all():
    state = _state()
    make = {"create_alias": {"collection_name": "c", "alias_name": "a"}}
    bad = {"create_alias": {"collection_name": "nope", "alias_name": "b"}}
    _refused(state, {"op": "aliases", "actions": [make, bad]}, "Collection `nope` doesn't exist!")
    state.apply({"op": "aliases", "actions": [make]})
    assert state.resolve("a") is state.collections["c"]
    switch = [
        {"delete_alias": {"alias_name": "a"}},
        {"create_alias": {"collection_name": "c", "alias_name": "b"}},
    ]
    state.apply({"op": "aliases", "actions": switch})
    assert state.aliases == {"b": "c"}
    state.apply({"op": "delete_collection", "collection": "c"})
    assert state.aliases == {}


def test_a_collection_may_not_have_the_name_of_another_or_of_an_alias():
    state = _state()
    state.apply(
        {
            "op": "aliases",
            "actions": [{"create_alias": {"collection_name": "c", "alias_name": "a"}}],
        }
    )
    for name in ("c", "a"):
        op = {
            "op": "create_collection",
            "collection": name,
            "uuid": "v",
            "config": {},
            "shards": [],
        }
        _refused(state, op, "already exists|same name")


def _transfer(state, sync, method="snapshot", source=11, target=33):
    transfer = {"shard_id": 0, "source": source, "target": target, "sync": sync, "method": method}
    state.apply({"op": "transfer_start", "collection": "c", "uuid": "u", "transfer": transfer})
    return [0, source, target, None]


@pytest.mark.parametrize(
    ("method", "shown"), [("snapshot", "Recovery"), ("stream_records", "Partial")]
)
def test_the_target_of_a_transfer_is_not_readable_until_it_ends(method, shown):
    state = _activate(_state())
    key = _transfer(state, True, method)
    shard = state.collections["c"].shards[0]
    assert shard.replicas[33] == shown
    assert shard.readable_peers() == [11, 22]
    state.apply({"op": "transfer_finish", "collection": "c", "uuid": "u", "key": key})
    assert shard.replicas == {11: "Active", 22: "Active", 33: "Active"}
    assert state.collections["c"].transfers == []


def test_a_move_takes_the_source_away_and_an_aborted_one_the_target():
    state = _activate(_state())
    key = _transfer(state, False)
    state.apply({"op": "transfer_finish", "collection": "c", "uuid": "u", "key": key})
    assert state.collections["c"].shards[0].replicas == {22: "Active", 33: "Active"}
    key = _transfer(state, False, source=22, target=11)
    state.apply({"op": "transfer_abort", "collection": "c", "uuid": "u", "key": key})
    assert state.collections["c"].shards[0].replicas == {22: "Active", 33: "Active"}


def test_a_peer_with_shards_goes_only_by_force():
    state = _activate(_state())
    _refused(state, {"op": "remove_peer", "peer": 22}, "there are shards on it")
    _transfer(state, True)
    state.apply({"op": "remove_peer", "peer": 33, "force": True})
    assert state.collections["c"].transfers == []
    assert 33 not in state.peers
    assert all(33 not in s.replicas for s in state.collections["c"].shards.values())


def test_shard_keys_have_their_own_rings_and_ids():
    state = _state()
    config = defaults.new_config({**BODY, "sharding_method": "custom"}, 3)
    state.apply(
        {"op": "create_collection", "collection": "k", "uuid": "v", "config": config, "shards": []}
    )
    for key, first in (("acme", 1), (42, 3)):
        shards = [{"id": first, "peers": [11]}, {"id": first + 1, "peers": [22]}]
        op = {
            "op": "create_shard_key",
            "collection": "k",
            "uuid": "v",
            "key": key,
            "shards": shards,
            "state": "Active",
        }
        state.apply(op)
        _refused(state, op, "already exists")
    collection = state.collections["k"]
    assert collection.shard_keys() == ["acme", 42]
    assert set(collection.ring("acme").owners(list(range(200)))) == {1, 2}
    assert set(collection.ring(42).owners(list(range(200)))) == {3, 4}
    state.apply({"op": "drop_shard_key", "collection": "k", "uuid": "v", "key": "acme"})
    assert sorted(collection.shards) == [3, 4]


def test_a_null_metadata_value_reads_like_a_missing_key():
    state = ClusterState()
    state.apply({"op": "metadata", "key": "a", "value": {"x": 1}})
    assert state.metadata == {"a": {"x": 1}}
    state.apply({"op": "metadata", "key": "a", "value": None})
    assert state.metadata == {}
