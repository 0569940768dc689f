"""Collections, payload indexes, aliases and shard keys (reference 2)."""

import uuid as uuidlib

from . import collection_info, defaults, errors
from .edge_index import field_schema
from .http_base import consensus_timeout, envelope, json_object, number
from .placement import dealt, least_loaded
from .writes import update_result

ACTIVATION_SECONDS = 10.0  # How long a creation waits for its replicas without `?timeout=`.


def _check_name(name):
    """Calls on existing collections refuse `/` and NUL only (reference 2.2)."""
    if "/" in name or "\0" in name:
        raise errors.invalid("path parameters: [name: collection name cannot contain this char]")


async def list_collections(node, request):
    names = [{"name": n} for n in node.state.collections]
    return envelope(request, {"collections": names})


async def create_collection(node, request):
    """Creates and waits until all replicas are Active, or the time is over (transcript 5)."""
    name = request.match_info["name"]
    defaults.check_new_name(name)
    body = await json_object(request)
    timeout = consensus_timeout(request)

    def make(state):
        config = defaults.new_config(body, max(1, len(state.peers)))
        params = config["params"]
        custom = params.get("sharding_method") == "custom"
        count = 0 if custom else params["shard_number"]
        shards = least_loaded(state.peers, count, params["replication_factor"], node.random)
        made = {"op": "create_collection", "collection": name, "uuid": str(uuidlib.uuid4())}
        return {**made, "config": config, "shards": shards}

    op = await node.consensus.propose(make, timeout)
    await _wait_active(node, op["uuid"], timeout)
    return envelope(request, True)


async def _wait_active(node, uuid, timeout, shard_ids=None):
    """Waits until replicas are Active here and every living peer has seen it."""

    def ready(state):
        collection = state.find(uuid)
        if collection is None:
            return True
        shards = [s for s in collection.shards.values() if shard_ids is None or s.id in shard_ids]
        return all(state_ != "Initializing" for s in shards for state_ in s.replicas.values())

    if await node.consensus.wait_until(ready, timeout):
        await node.peers.seen_by_all()


async def get_collection(node, request):
    collection = node.state.resolve(request.match_info["name"])
    return envelope(request, await collection_info.collection_info(node, collection))


async def exists(node, request):
    name = request.match_info["name"]
    found = name in node.state.collections or name in node.state.aliases
    return envelope(request, {"exists": found})


async def patch_collection(node, request):
    """Merges values; other peers follow a little later than the answer (measured 20)."""
    name = node.state.resolve(request.match_info["name"]).name
    body = await json_object(request)

    def make(state):
        collection = state.resolve(name)
        config = defaults.patched_config(collection.config, body)
        return {
            "op": "update_collection",
            "collection": name,
            "uuid": collection.uuid,
            "config": config,
        }

    await node.consensus.propose(make, consensus_timeout(request))
    return envelope(request, True)


async def delete_collection(node, request):
    """A name that is not there answers false, as the server does."""
    name = request.match_info["name"]
    _check_name(name)
    if name not in node.state.collections:
        return envelope(request, False)
    await node.consensus.propose(
        {"op": "delete_collection", "collection": name}, consensus_timeout(request)
    )
    await node.peers.seen_by_all()
    return envelope(request, True)


# -- payload indexes -------------------------------------------------------------------------------


async def create_index(node, request):
    """A consensus operation and an operation on every shard (reference 2.6)."""
    collection = node.state.resolve(request.match_info["name"])
    body = await json_object(request)
    field, schema = body.get("field_name"), body.get("field_schema")
    if field is None:
        raise errors.bad_json("missing field `field_name`")
    if schema is None:
        raise errors.bad_request(
            "Can't auto-detect field type, please specify `field_schema` in the request"
        )
    field_schema(schema)  # Refuses what the engine does not know.
    op = {
        "op": "index",
        "collection": collection.name,
        "uuid": collection.uuid,
        "field": field,
        "schema": schema,
    }
    await node.consensus.propose(op, consensus_timeout(request))
    return await _on_all_shards(
        node, request, collection, {"kind": "create_index", "field": field, "schema": schema}
    )


async def drop_index(node, request):
    collection = node.state.resolve(request.match_info["name"])
    field = request.match_info["field"]
    op = {
        "op": "index",
        "collection": collection.name,
        "uuid": collection.uuid,
        "field": field,
        "schema": None,
    }
    await node.consensus.propose(op, consensus_timeout(request))
    return await _on_all_shards(node, request, collection, {"kind": "drop_index", "field": field})


async def _on_all_shards(node, request, collection, op):
    current = node.state.find(collection.uuid) or collection
    number = await node.writer.write(current, [(s, op) for s in sorted(current.shards)])
    return envelope(request, update_result(request, number))


async def change_vector_name(node, request):
    """Creates or drops a named vector (reference 2.4)."""
    collection = node.state.resolve(request.match_info["name"])
    name = request.match_info["vector"]
    body = await json_object(request) if request.method == "PUT" else None

    def make(state):
        config = defaults.with_named_vector(state.resolve(collection.name).config, name, body)
        return {
            "op": "update_collection",
            "collection": collection.name,
            "uuid": collection.uuid,
            "config": config,
        }

    await node.consensus.propose(make, consensus_timeout(request))
    return await _on_all_shards(
        node, request, collection, {"kind": "named_vector", "name": name, "params": body}
    )


# -- aliases ---------------------------------------------------------------------------------------


def _alias_list(pairs):
    return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in pairs]}


async def list_aliases(node, request):
    return envelope(request, _alias_list(sorted(node.state.aliases.items())))


async def collection_aliases(node, request):
    """An alias is not looked up here, and an unknown name has no aliases (run)."""
    name = request.match_info["name"]
    pairs = [(a, c) for a, c in sorted(node.state.aliases.items()) if c == name]
    return envelope(request, _alias_list(pairs))


async def change_aliases(node, request):
    body = await json_object(request)
    actions = body.get("actions")
    if not isinstance(actions, list):
        raise errors.bad_json("missing field `actions`")
    for action in actions:
        if len(action) != 1 or next(iter(action)) not in (
            "create_alias",
            "delete_alias",
            "rename_alias",
        ):
            raise errors.bad_json("data did not match any variant of untagged enum AliasOperations")
    await node.consensus.propose({"op": "aliases", "actions": actions}, consensus_timeout(request))
    await node.peers.seen_by_all()
    return envelope(request, True)


# -- shard keys ------------------------------------------------------------------------------------


async def list_shard_keys(node, request):
    """Without ids; an auto-sharded collection has an empty answer (transcripts 1 and 3)."""
    collection = node.state.resolve(request.match_info["name"])
    if not collection.custom_sharding:
        return envelope(request, {})
    return envelope(request, {"shard_keys": [{"key": k} for k in collection.shard_keys()]})


async def create_shard_key_call(node, request):
    collection = node.state.resolve(request.match_info["name"])
    await create_shard_key(node, collection, await json_object(request), consensus_timeout(request))
    return envelope(request, True)


async def create_shard_key(node, collection, body, timeout):
    """New shards get the ids after the highest one, the first is 1 (reference 2.8)."""
    if "shard_key" not in body:
        raise errors.bad_json("missing field `shard_key`")
    name, key = collection.name, body["shard_key"]

    def make(state):
        now = state.resolve(name)
        if not now.custom_sharding:
            raise errors.bad_request("Shard Key cannot be created with Auto sharding method")
        if now.shards_of_key(key):
            raise errors.bad_request(
                f"Sharding key {_shown(key)} already exists for collection {name}"
            )
        params = now.config["params"]
        initial = body.get("initial_state")
        if initial not in (None, "Active", "Partial"):
            raise errors.bad_request(
                f"Initial state cannot be {initial}, only Active or Partial are allowed"
            )
        pool = _pool(state, key, body.get("placement"))
        factor = body.get("replication_factor") or (1 if initial else params["replication_factor"])
        count = body.get("shards_number") or params["shard_number"]
        first = max(now.shards, default=0) + 1
        shards = dealt(pool, first, count, factor, node.random)
        made = {"op": "create_shard_key", "collection": name, "uuid": now.uuid, "key": key}
        return {**made, "shards": shards, "state": initial or "Initializing"}

    op = await node.consensus.propose(make, timeout)
    await _wait_active(node, collection.uuid, timeout, {s["id"] for s in op["shards"]})


def _shown(key):
    """A shard key in an error text: as JSON would have it."""
    return f'"{key}"' if isinstance(key, str) else str(key)


def _pool(state, key, placement):
    if placement is None:
        return list(state.peers)
    if not placement:
        advice = "If you want to use random placement, do not specify placement"
        raise errors.bad_request(f"Sharding key {_shown(key)} placement cannot be empty. {advice}")
    for peer in placement:
        if peer not in state.peers:
            raise errors.bad_request(f"Peer {peer} does not exist")
    return placement


async def drop_shard_key_call(node, request):
    collection = node.state.resolve(request.match_info["name"])
    await drop_shard_key(node, collection, await json_object(request), consensus_timeout(request))
    return envelope(request, True)


async def drop_shard_key(node, collection, body, timeout):
    key = body.get("shard_key")

    def make(state):
        now = state.resolve(collection.name)
        if not now.custom_sharding:
            raise errors.bad_request("Shard Key cannot be created with Auto sharding method")
        if not now.shards_of_key(key):
            raise errors.bad_request(
                f"Sharding key {_shown(key)} does not exist for collection {now.name}"
            )
        return {"op": "drop_shard_key", "collection": now.name, "uuid": now.uuid, "key": key}

    await node.consensus.propose(make, timeout)
    await node.peers.seen_by_all()


async def optimizations(node, request):
    collection = node.state.resolve(request.match_info["name"])
    wanted = [w for w in request.query.get("with", "").split(",") if w]
    for name in wanted:
        if name not in ("queued", "completed", "idle_segments"):
            raise errors.bad_input(f"Unknown field in 'with' parameter: {name}")
    limit = number(request, "completed_limit", 16)
    found = await collection_info.optimizations(node, collection, wanted, limit)
    return envelope(request, found)


def register(routes):
    routes.add("GET", "/collections", list_collections)
    routes.add("PUT", "/collections/{name}", create_collection, "w")
    routes.add("GET", "/collections/{name}", get_collection)
    routes.add("PATCH", "/collections/{name}", patch_collection, "w")
    routes.add("DELETE", "/collections/{name}", delete_collection, "w")
    routes.add("GET", "/collections/{name}/exists", exists)
    routes.add("GET", "/collections/{name}/optimizations", optimizations)
    routes.add("PUT", "/collections/{name}/index", create_index, "w")
    routes.add("DELETE", "/collections/{name}/index/{field}", drop_index, "w")
    routes.add("PUT", "/collections/{name}/vectors/{vector}", change_vector_name, "w")
    routes.add("DELETE", "/collections/{name}/vectors/{vector}", change_vector_name, "w")
    routes.add("GET", "/aliases", list_aliases)
    routes.add("GET", "/collections/{name}/aliases", collection_aliases)
    routes.add("POST", "/collections/aliases", change_aliases, "w")
    routes.add("GET", "/collections/{name}/shards", list_shard_keys)
    routes.add("PUT", "/collections/{name}/shards", create_shard_key_call, "w")
    routes.add("POST", "/collections/{name}/shards/delete", drop_shard_key_call, "w")
