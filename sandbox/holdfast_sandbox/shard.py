"""One shard of this node: an edge shard, its operation numbers and the deletes it only remembers.

While an optimization runs, the real server keeps plain deletes in memory and in the WAL, and shard
snapshots miss them (measured 7).  So does this: such deletes go to the set `held`, reads hide them,
a journal keeps them over kill -9, and the end of the optimization applies them.
"""

import asyncio
import os
import time

import orjson
import qdrant_edge as edge

from . import edge_query, errors
from .clone import clone_tree
from .edge_config import CONFIG_FILE, edge_config, write_config
from .edge_filter import edge_id, json_id
from .edge_index import stored_schemas
from .edge_points import update_operation
from .trash import discard

_JOURNAL = "held.jsonl"
_SCAN = 1000  # Ids per step when a filter must become a list of ids.
_READS = {
    "scroll": edge_query.scroll,
    "count": edge_query.count,
    "facet": edge_query.facet,
    "retrieve": edge_query.retrieve,
    "query": edge_query.query,
}
COUNTS_NOTHING = {"points": 0, "segments": 0, "indexed": 0}


class LocalShard:
    """A shard held by this process.  All calls come from the event loop (sandbox notes e)."""

    def __init__(self, folder, shard_id, config):
        self.folder = folder
        self.id = shard_id
        self.config = config
        self.held = set()
        self.op_num = 0  # The number that the next operation gets.
        self.updated_at = 0.0
        self.dirty = False
        self.unflushed = 0  # Operations since the last flush.
        self.optimizing = None  # An optimizer.Optimization while one works.
        self.snapshot_lock = asyncio.Lock()
        self.write_lock = asyncio.Lock()
        self.pretended_queue = (0.0, 0.0, 0)  # Begin, end (monotonic) and first length, by a fault.
        self.recovering = False  # Installed by an upload that is not in the metadata yet.
        self.snapshots_running = 0
        self.optimized_points = 0
        self.cleaned = False  # A cleanup by the hash ring has run.
        self.dirtied = 0  # How often a resharding has made clean-ups void, as this shard knows.
        self.broken = ""  # Why the shard cannot be used: its files did not load.
        self._edge = None
        self._schema = None

    @property
    def usable(self):
        return self._edge is not None

    # -- life ---------------------------------------------------------------------------------

    @staticmethod
    def create(folder, shard_id, config):
        """A new empty shard: the engine makes it from its configuration (sandbox notes a)."""
        discard(folder)
        os.makedirs(folder)
        made = LocalShard(folder, shard_id, config).open()
        if made.usable:
            # Operation 0 is used up, as on the server: the first points have version 1 (run).
            made._edge.update(edge.UpdateOperation.delete_points([0]))
        return made

    def open(self):
        """Opens the folder; what the WAL holds beyond the segments is replayed by the engine."""
        try:
            self._edge = self._load()
        except Exception as error:
            # The real server puts a dummy in place; every call to it fails (reference 3.6).
            self.broken = f"Failed to load local shard: {error}"
            return self
        versions = [s["segment_version"] for s in self._edge.snapshot_manifest().values()]
        self.op_num = 1 + max((v for v in versions if v is not None), default=0)
        self._replay_journal()
        return self

    def _load(self):
        write_config(self.folder, self.config)
        try:
            return edge.EdgeShard.load(self.folder)
        except Exception as error:
            if "incompatible" not in str(error):
                raise
        return self._load_foreign()

    def _load_foreign(self):
        """A shard of other dimensions is taken all the same (measured 15); queries fail later."""
        settings = edge_config(self.config)
        settings.pop("vectors")
        settings.pop("sparse_vectors")
        with open(os.path.join(self.folder, CONFIG_FILE), "wb") as out:
            out.write(orjson.dumps(settings))
        return edge.EdgeShard.load(self.folder)

    def close(self):
        if self._edge is not None:
            self._edge.close()
            self._edge = None

    def destroy(self):
        """Closes the shard and removes its folder."""
        self.close()
        discard(self.folder)

    def reopen(self, config=None):
        """Closes and opens again, with a changed configuration or other files."""
        self.config = config or self.config
        self.close()
        self._schema = None
        return self.open()

    def check_usable(self):
        """Raises the server's 500 when the files of the shard did not load."""
        if not self.usable:
            raise errors.service_error(self.broken or f"Local shard {self.id} is closed")

    # -- held deletes -------------------------------------------------------------------------

    @property
    def _journal_path(self):
        return os.path.join(self.folder, _JOURNAL)

    def _replay_journal(self):
        """After a restart held deletes are applied, as the server replays its WAL."""
        if not os.path.exists(self._journal_path):
            return
        held = set()
        with open(self._journal_path, "rb") as journal:
            for line in journal:
                if line.endswith(b"\n"):
                    entry = orjson.loads(line)
                    held |= {edge_id(i) for i in entry.get("add", ())}
                    held -= {edge_id(i) for i in entry.get("remove", ())}
        self.held = held
        self.apply_held()

    def _note_held(self, name, ids):
        line = orjson.dumps({name: [json_id(i) for i in ids]}) + b"\n"
        fd = os.open(
            self._journal_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    def apply_held(self):
        """Carries out the remembered deletes; the end of an optimization calls it."""
        if self.held:
            self._edge.update(edge.UpdateOperation.delete_points(list(self.held)))
        self.held = set()
        if os.path.exists(self._journal_path):
            os.unlink(self._journal_path)

    def _hold(self, op):
        ids = (
            {edge_id(i) for i in op["points"]}
            if op.get("points") is not None
            else self._matching(op["filter"])
        )
        ids -= self.held
        if ids:
            self.held |= ids
            self._note_held("add", ids)

    def _matching(self, wanted):
        """All live ids that a filter selects."""
        ids, offset = set(), None
        while True:
            body = {"filter": wanted, "limit": _SCAN, "offset": offset, "with_payload": False}
            page = edge_query.scroll(self._edge, body, self.held)
            ids |= {edge_id(p["id"]) for p in page["points"]}
            offset = page["next_page_offset"]
            if offset is None:
                return ids

    # -- writing ------------------------------------------------------------------------------

    def apply(self, op):
        """Applies one update and returns its operation number.  The engine's WAL has it then."""
        self.check_usable()
        number, self.op_num = self.op_num, self.op_num + 1
        self.updated_at = time.monotonic()
        self.dirty = True
        self.unflushed += 1
        self._schema = None if op["kind"] in ("create_index", "drop_index") else self._schema
        try:
            if self.optimizing and op["kind"] == "delete":
                self._hold(op)
            elif self.held and op["kind"] in ("upsert", "update_vectors"):
                self._write_over_held(op)
            else:
                self._edge.update(update_operation(op, self.held))
        except errors.ApiError:
            raise
        except Exception as error:
            raise engine_error(error) from error
        if self.optimizing:
            self.optimizing.log(op)
        return number

    def _write_over_held(self, op):
        """An upsert of a point whose delete is only remembered brings the point to life again."""
        touched = {edge_id(p["id"]) for p in op["points"]} & self.held
        if op["kind"] == "update_vectors" or op.get("update_mode") == "update_only":
            op = {**op, "points": [p for p in op["points"] if edge_id(p["id"]) not in self.held]}
            touched = set()
        elif touched:
            # The old version must not show through conditions, nor its payload.
            self._edge.update(edge.UpdateOperation.delete_points(list(touched)))
        self._edge.update(update_operation(op, self.held))
        if touched:
            self.held -= touched
            self._note_held("remove", touched)

    def replay(self, ops):
        """Applies operations again that an optimized copy has not seen."""
        for op in ops:
            try:
                self._edge.update(update_operation(op, self.held))
            except Exception:  # It failed the first time in the same way, and that was answered.
                continue

    def flush(self):
        """Writes everything to the files of the segments."""
        if self.dirty:
            self._edge.flush()
            self.dirty, self.unflushed = False, 0

    # -- reading ------------------------------------------------------------------------------

    def read(self, kind, body):
        """One read: scroll, count, facet, retrieve or query."""
        self.check_usable()
        try:
            return _READS[kind](self._edge, body, self.held)
        except (errors.ApiError, MemoryError):
            raise
        except Exception as error:
            raise engine_error(error) from error

    def ids(self):
        """All live ids, a page at a time."""
        offset = None
        while True:
            body = {"limit": _SCAN, "offset": offset, "with_payload": False}
            page = edge_query.scroll(self._edge, body, self.held)
            yield [p["id"] for p in page["points"]]
            offset = page["next_page_offset"]
            if offset is None:
                return

    def info(self):
        """Points, segments and indexed vectors as the engine counts them."""
        if not self.usable:
            return COUNTS_NOTHING
        info = self._edge.info()
        points = info.points_count - len(self.held) if self.held else info.points_count
        return {
            "points": max(points, 0),
            "segments": info.segments_count,
            "indexed": info.indexed_vectors_count,
        }

    def payload_schema(self):
        """Field -> (schema as created, points that have it)."""
        if not self.usable:
            return {}
        if self._schema is None:
            self._schema = stored_schemas(self.folder)
        counts = {name: index.points for name, index in self._edge.info().payload_schema.items()}
        return {name: (schema, counts.get(name, 0)) for name, schema in self._schema.items()}

    def manifest(self):
        """The snapshot manifest, in the server's JSON shape (sandbox notes d)."""
        return self._edge.snapshot_manifest()

    def queue(self):
        """Length of the update queue: nothing waits but what a fault pretends, and that falls."""
        begin, end, length = self.pretended_queue
        left = end - time.monotonic()
        return max(1, round(length * left / (end - begin))) if left > 0 else 0

    def queue_seconds(self):
        """How long it takes until the update queue has drained."""
        return max(0.0, self.pretended_queue[1] - time.monotonic())

    # -- snapshots ----------------------------------------------------------------------------

    def cut(self, target, with_wal=False):
        """Freezes the state of this moment into the folder `target` (sandbox notes d)."""
        self._edge.flush()
        self.dirty, self.unflushed = False, 0
        os.makedirs(target)
        clone_tree(os.path.join(self.folder, "segments"), os.path.join(target, "segments"))
        if with_wal:
            clone_tree(os.path.join(self.folder, "wal"), os.path.join(target, "wal"))


def engine_error(error):
    """What the server says when the engine refuses: bad input, except for faults of its own."""
    text = str(error)
    if text.startswith("No point with id"):
        return errors.not_found(text if text.endswith(" found") else f"{text} found")
    if text.startswith(
        ("Service runtime error", "IO Error", "File IO error", "OperationCancelled")
    ):
        return errors.service_error(text)
    if isinstance(error, (KeyError, TypeError, ValueError)):
        return errors.bad_json(text)
    return errors.bad_input(text)
