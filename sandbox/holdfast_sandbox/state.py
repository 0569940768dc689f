"""What all nodes agree on: peers, collections, placement, replica states, aliases, shard keys.

A `ClusterState` changes only by `apply(op)`, in the order of the log, and without any source of
chance: ids, placements and times are in the operation.  An operation that is refused raises
ApiError and changes nothing, so that a proposer can try it before it writes it down.
"""

from dataclasses import dataclass, field

from . import errors, resharding
from .ring import HashRing

# Replica states of the reference 3.8.
READABLE = frozenset({"Active", "ActiveRead", "ReshardingScaleDown"})
UPDATABLE = READABLE | {"Partial", "Initializing", "Listener", "Resharding"}
SOURCES = frozenset({"Active", "ActiveRead", "Resharding", "ReshardingScaleDown"})
RESHARDING_METHOD = "resharding_stream_records"
STAGES = ("MigratingPoints", "ReadHashRingCommitted", "WriteHashRingCommitted")
TARGET_STATE = {
    "stream_records": "Partial",
    "snapshot": "Recovery",
    "wal_delta": "Recovery",
}


@dataclass
class Shard:
    """One shard: its key, if any, and the state of the replica on each peer."""

    id: int
    key: object = None
    replicas: dict = field(default_factory=dict)

    def active_peers(self):
        return [p for p, s in self.replicas.items() if s == "Active"]

    def readable_peers(self):
        return [p for p, s in self.replicas.items() if s in READABLE]


@dataclass
class Transfer:
    """One running shard transfer, as `shard_transfers` shows it."""

    shard_id: int
    source: int
    target: int
    sync: bool
    method: str
    to_shard_id: object = None

    def key(self):
        return (self.shard_id, self.source, self.target, self.to_shard_id)

    def involves(self, peer):
        return peer in (self.source, self.target)

    def info(self, comment=""):
        """The entry of `shard_transfers` (transcript 2)."""
        out = {"shard_id": self.shard_id}
        if self.to_shard_id is not None:
            out["to_shard_id"] = self.to_shard_id
        out |= {"from": self.source, "to": self.target, "sync": self.sync}
        return out | {"method": self.method, "comment": comment}


@dataclass
class Resharding:
    """A resharding in progress (transcripts 4 and 6); no call shows its stage."""

    uuid: str
    direction: str
    shard_id: int
    peer_id: int
    shard_key: object = None
    stage: str = "MigratingPoints"

    def reached(self, stage):
        return STAGES.index(self.stage) >= STAGES.index(stage)

    def replica_state(self):
        """The state of a replica that points are migrated to."""
        return "Resharding" if self.direction == "up" else "ReshardingScaleDown"


@dataclass
class Collection:
    """One collection; `config` has the shape of `GET /collections/{c}`."""

    name: str
    uuid: str
    config: dict
    shards: dict = field(default_factory=dict)
    schema: dict = field(default_factory=dict)
    transfers: list = field(default_factory=list)
    resharding: object = None
    dirtied: dict = field(default_factory=dict)  # Shard -> how often its clean-up became void.
    sweeps: dict = field(default_factory=dict)  # Shard -> how many reshardings down were aborted.
    _rings: dict = field(default_factory=dict)

    @property
    def custom_sharding(self):
        return self.config["params"].get("sharding_method") == "custom"

    def shard_keys(self):
        """The keys in the order of their first shard."""
        keys = {}
        for shard in sorted(self.shards.values(), key=lambda s: s.id):
            if shard.key is not None:
                keys.setdefault(_key_token(shard.key), shard.key)
        return list(keys.values())

    def shards_of_key(self, key):
        return sorted(s.id for s in self.shards.values() if _key_token(s.key) == _key_token(key))

    def rings(self, key=None):
        """The rings by which writes of a key go: one, or the old and the new one in a resharding.

        Until the write ring is committed a point goes to its owner in both.
        """
        ids = self.shards_of_key(key) if key is not None else sorted(self.shards)
        moving = self.resharding
        if moving is None or _key_token(moving.shard_key) != _key_token(key):
            return [self._ring(ids)]
        without = [i for i in ids if i != moving.shard_id]
        old, new = (without, ids) if moving.direction == "up" else (ids, without)
        if moving.reached("WriteHashRingCommitted"):
            return [self._ring(new)]
        return [self._ring(old), self._ring(new)]

    def ring(self, key=None):
        """The ring of `hash_ring_filter`: in a resharding the one with more shards."""
        return max(self.rings(key), key=len)

    def _ring(self, ids):
        token = tuple(ids)
        if token not in self._rings:
            self._rings = {token: HashRing(ids)} | dict(list(self._rings.items())[:63])
        return self._rings[token]

    def read_shards(self):
        """Shards that a read asks: not the new one before the read ring is committed, nor the one
        that goes once the write ring is."""
        moving, ids = self.resharding, sorted(self.shards)
        if moving is None:
            return ids
        up = moving.direction == "up"
        if moving.reached("ReadHashRingCommitted" if up else "WriteHashRingCommitted") == up:
            return ids
        return [i for i in ids if i != moving.shard_id]

    def transfer_of(self, shard_id):
        """The transfer that reads from this shard, if one runs."""
        return next((t for t in self.transfers if t.shard_id == shard_id), None)


def _key_token(key):
    """Shard keys 1 and "1" differ; True never occurs."""
    return (type(key).__name__, key)


class ClusterState:
    """All agreed metadata.  `commit` counts the operations applied."""

    def __init__(self):
        self.commit = 0
        self.peers = {}  # peer id -> {"uri", "rest"}, in the order in which they joined.
        self.removed_peers = set()
        self.collections = {}
        self.aliases = {}
        self.metadata = {}
        self.stopped = ""  # Why no peer applies anything any more (see `_op_stop`).

    # -- looking things up ------------------------------------------------------------------

    def resolve(self, name):
        """The collection behind a name or an alias."""
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise errors.no_collection(name)
        return found

    def find(self, uuid):
        return next((c for c in self.collections.values() if c.uuid == uuid), None)

    # -- changing things --------------------------------------------------------------------

    def apply(self, op):
        """Applies one operation of the log."""
        getattr(self, "_op_" + op["op"])(op)
        self.commit += 1

    def _collection(self, op):
        found = self.collections.get(op["collection"])
        if found is None or op.get("uuid") not in (None, found.uuid):
            raise errors.no_collection(op["collection"])
        return found

    def _shard(self, collection, shard_id):
        shard = collection.shards.get(shard_id)
        if shard is None:
            raise errors.not_found(f"shard {shard_id} not found")
        return shard

    def _op_add_peer(self, op):
        self.peers[op["peer"]] = {"uri": op["uri"], "rest": op["rest"]}

    def _op_remove_peer(self, op):
        peer = op["peer"]
        holds = any(
            peer in s.replicas for c in self.collections.values() for s in c.shards.values()
        )
        if holds and not op.get("force"):
            raise errors.bad_request(f"Cannot remove peer {peer} as there are shards on it")
        for collection in self.collections.values():
            if collection.resharding and collection.resharding.peer_id == peer:
                resharding.abort(collection)
            for transfer in [t for t in collection.transfers if t.involves(peer)]:
                _abort(collection, transfer)
            for shard in collection.shards.values():
                shard.replicas.pop(peer, None)
        self.peers.pop(peer, None)  # An unknown peer is no error (run).
        self.removed_peers.add(peer)

    def _op_create_collection(self, op):
        name = op["collection"]
        if name in self.collections:
            raise errors.already_exists(f"Collection `{name}` already exists!")
        if name in self.aliases:
            text = (
                f"Can't create collection with name {name}. Alias with the same name already exists"
            )
            raise errors.bad_input(text)
        made = Collection(name, op["uuid"], op["config"])
        for item in op["shards"]:
            replicas = {peer: "Initializing" for peer in item["peers"]}
            made.shards[item["id"]] = Shard(item["id"], None, replicas)
        self.collections[name] = made

    def _op_update_collection(self, op):
        self._collection(op).config = op["config"]

    def _op_delete_collection(self, op):
        self.collections.pop(self._collection(op).name)
        self.aliases = {a: c for a, c in self.aliases.items() if c != op["collection"]}

    def _op_aliases(self, op):
        """The whole list or nothing (reference 2.7, measured 19)."""
        aliases = dict(self.aliases)
        for action in op["actions"]:
            _change_alias(aliases, self.collections, action)
        self.aliases = aliases

    def _op_index(self, op):
        schema = self._collection(op).schema
        if op["schema"] is None:
            schema.pop(op["field"], None)
        else:
            schema[op["field"]] = op["schema"]

    def _op_metadata(self, op):
        """A null value reads like a missing key (transcript 1), so null removes it."""
        if op["value"] is None:
            self.metadata.pop(op["key"], None)
        else:
            self.metadata[op["key"]] = op["value"]

    def _op_create_shard_key(self, op):
        collection = self._collection(op)
        if collection.shards_of_key(op["key"]):
            raise errors.bad_request(f"Sharding key {op['key']} already exists")
        for item in op["shards"]:
            replicas = {peer: op["state"] for peer in item["peers"]}
            collection.shards[item["id"]] = Shard(item["id"], op["key"], replicas)

    def _op_drop_shard_key(self, op):
        collection = self._collection(op)
        moving = collection.resharding
        if moving and _key_token(moving.shard_key) == _key_token(op["key"]):
            resharding.abort(collection)
        gone = collection.shards_of_key(op["key"])
        for shard_id in gone:
            del collection.shards[shard_id]
        collection.transfers = [t for t in collection.transfers if t.shard_id not in gone]

    def _op_replicas(self, op):
        """Sets states of replicas: `set` is a list of [shard, peer, new state, old state or null].

        An entry whose old state is no longer there is skipped: its proposer saw an older world.  A
        replica that is not there yet is added when the old state is not asked for (reference 3.6,
        an upload to a peer without the replica).
        """
        collection = self._collection(op)
        for shard_id, peer, state, old in op["set"]:
            shard = collection.shards.get(shard_id)
            if shard is None or peer not in self.peers:
                continue
            if old is not None and shard.replicas.get(peer) != old:
                continue
            if state in ("Dead", "ManualRecovery") and _last_active(shard, peer):
                continue  # The last active replica is never deactivated (reference 3.8).
            if state == "Dead" and not resharding.replica_dies(collection, shard, peer):
                continue
            shard.replicas[peer] = state

    def _op_drop_replica(self, op):
        collection = self._collection(op)
        shard = self._shard(collection, op["shard"])
        peer = op["peer"]
        if peer not in shard.replicas:
            raise errors.bad_request(f"Peer {peer} has no replica of shard {op['shard']}")
        if _last_active(shard, peer):
            text = (
                f"Shard {op['shard']} must have at least one active replica after removing {peer}"
            )
            raise errors.bad_request(text)
        for transfer in [t for t in collection.transfers if t.shard_id == op["shard"]]:
            if transfer.involves(peer):
                _abort(collection, transfer)
        shard.replicas.pop(peer, None)

    def _op_transfer_start(self, op):
        collection = self._collection(op)
        transfer = Transfer(**op["transfer"])
        target = transfer.shard_id if transfer.to_shard_id is None else transfer.to_shard_id
        shard = self._shard(collection, target)
        by_ring = transfer.method == RESHARDING_METHOD
        state = resharding.migrating_to(collection) if by_ring else TARGET_STATE[transfer.method]
        collection.transfers.append(transfer)
        shard.replicas[transfer.target] = state

    def _op_transfer_finish(self, op):
        collection = self._collection(op)
        transfer = find_transfer(collection, op["key"])
        if transfer is None:
            raise errors.not_found("There is no transfer for this shard")
        collection.transfers.remove(transfer)
        if transfer.method == RESHARDING_METHOD:
            return  # The target keeps its state until finish_migrating_points.
        shard = collection.shards[transfer.shard_id]
        shard.replicas[transfer.target] = "Active"
        if not transfer.sync:
            shard.replicas.pop(transfer.source, None)

    def _op_transfer_abort(self, op):
        collection = self._collection(op)
        transfer = find_transfer(collection, op["key"])
        if transfer is None:
            raise errors.not_found("There is no transfer for this shard")
        if transfer.method == RESHARDING_METHOD:
            resharding.check_abort(collection)
        _abort(collection, transfer, op.get("dead_target", False))

    def _op_reshard(self, op):
        resharding.apply(self._collection(op), op)

    def _op_stop(self, op):
        """An operation that no peer can apply: the consensus of all of them ends here (measured).

        No change is committed after it, and no node that stops starts again.
        """
        self.stopped = op["error"]


def find_transfer(collection, key):
    """The transfer with this key (shard, source, target, to_shard), or None."""
    return next((t for t in collection.transfers if list(t.key()) == list(key)), None)


def _last_active(shard, peer):
    """Whether `peer` holds the only replica that can be a source of truth."""
    sources = [p for p, s in shard.replicas.items() if s in SOURCES]
    return sources == [peer]


def _abort(collection, transfer, dead_target=True):
    """Ends a transfer without success: a synced target becomes Dead, a moved one goes away."""
    collection.transfers.remove(transfer)
    if transfer.method == RESHARDING_METHOD:
        resharding.transfer_failed(collection)
        return
    shard = collection.shards.get(transfer.shard_id)
    if shard is None or shard.replicas.get(transfer.target) == "Active":
        return
    if transfer.sync and dead_target:
        shard.replicas[transfer.target] = "Dead"
    else:
        shard.replicas.pop(transfer.target, None)


def _change_alias(aliases, collections, action):
    if "create_alias" in action:
        args = action["create_alias"]
        if args["collection_name"] not in collections:
            raise errors.no_collection(args["collection_name"])
        if args["alias_name"] in collections:
            raise errors.already_exists(f"Collection `{args['alias_name']}` already exists!")
        aliases[args["alias_name"]] = args["collection_name"]
    elif "delete_alias" in action:
        aliases.pop(action["delete_alias"]["alias_name"], None)
    else:
        args = action["rename_alias"]
        if args["old_alias_name"] not in aliases:
            raise errors.not_found(f"Alias {args['old_alias_name']} does not exists!")
        aliases[args["new_alias_name"]] = aliases.pop(args["old_alias_name"])
