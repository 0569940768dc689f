"""The way of a read: to one readable replica of every shard, and the answers merged."""

import asyncio

import numpy as np

from . import edge_query, errors
from .collection_info import shard_info
from .defaults import vector_params
from .errors import ApiError, PeerUnavailable
from .merge import fuse, merge_facets, merge_hits, merge_scroll

_NO_OFFSET = (
    "Cannot use an `offset` when using `order_by`. The alternative for paging is to use "
    "`order_by.start_from` and a filter to exclude the IDs that you've already seen for the "
    "`order_by.start_from` value"
)
_FACET_ALL = 100_000  # Asked of every shard, so that the sum of all shards is exact.


class Reader:
    """Reads of one node as coordinator."""

    def __init__(self, node):
        self._node = node
        self._turn = 0

    # -- one answer a shard -------------------------------------------------------------------

    def _candidates(self, shard):
        """Local first, then the others in turn, those known to be dead last (reference 6.2).

        An empty replica beside the full one answers too (measured 12): nobody compares them.
        """
        me = self._node.peer_id
        peers = shard.readable_peers()
        self._turn += 1
        others = sorted(p for p in peers if p != me)
        others = (
            others[self._turn % len(others) :] + others[: self._turn % len(others)]
            if others
            else []
        )
        others.sort(key=lambda p: not self._node.peers.is_alive(p))
        return ([me] if me in peers else []) + others

    async def fan_out(self, collection, kind, body, shard_ids=None):
        """Shard id -> answer.  Raises the server's 500 when a shard has nobody left to ask."""
        readable = collection.read_shards()
        ids = readable if shard_ids is None else [i for i in shard_ids if i in readable]
        waiting = {i: self._candidates(collection.shards[i]) for i in ids}
        answers, last_error = {}, None
        while waiting:
            by_peer = {}
            for shard_id, peers in waiting.items():
                if not peers:
                    raise _no_replica(shard_id, self._node.peer_id, last_error)
                by_peer.setdefault(peers[0], []).append(shard_id)
            done = await asyncio.gather(
                *(self._ask(collection, p, kind, body, ids) for p, ids in by_peer.items()),
                return_exceptions=True,
            )
            for (peer, asked), result in zip(by_peer.items(), done):
                if isinstance(result, PeerUnavailable) or _is_local_trouble(result):
                    last_error = result
                    for shard_id in asked:
                        waiting[shard_id].pop(0)
                    continue
                if isinstance(result, BaseException):
                    raise result
                for shard_id, answer in zip(asked, result):
                    answers[shard_id] = _with_key(answer, kind, collection.shards[shard_id].key)
                    del waiting[shard_id]
        return answers

    async def _ask(self, collection, peer, kind, body, shard_ids):
        if peer == self._node.peer_id:
            return self.local(collection.uuid, kind, body, shard_ids)
        request = {"uuid": collection.uuid, "kind": kind, "body": body, "shards": shard_ids}
        return await self._node.peers.call(peer, "/internal/read", request)

    def local(self, uuid, kind, body, shard_ids):
        """Answers of shards of this node."""
        found = [self._node.shards.get((uuid, i)) for i in shard_ids]
        if None in found:
            raise errors.service_error(f"Local shard {shard_ids[found.index(None)]} not found")
        if kind == "info":
            return [shard_info(s) for s in found]
        return [s.read(kind, body) for s in found]

    # -- whole answers ------------------------------------------------------------------------

    async def count(self, collection, body, shard_ids=None):
        return sum((await self.fan_out(collection, "count", body, shard_ids)).values())

    async def scroll(self, collection, body, shard_ids=None):
        limit = body.get("limit", 10)
        if body.get("order_by") is not None:
            if body.get("offset") is not None:
                raise errors.bad_input(_NO_OFFSET)
            pages = await self.fan_out(collection, "scroll", body, shard_ids)
            return merge_scroll(pages.values(), limit, body["order_by"])
        pages = await self.fan_out(collection, "scroll", {**body, "limit": limit + 1}, shard_ids)
        return merge_scroll(pages.values(), limit)

    async def retrieve(self, collection, body, shard_ids=None):
        """Points by id, in the order of the ids, each once."""
        pages = await self.fan_out(collection, "retrieve", body, shard_ids)
        found = {p["id"]: p for page in pages.values() for p in page}
        order = (i if isinstance(i, int) else i.lower() for i in body["ids"])
        return [found.pop(i) for i in order if i in found]

    async def facet(self, collection, body, shard_ids=None):
        wide = {**body, "limit": max(body.get("limit", 10), _FACET_ALL)}
        pages = await self.fan_out(collection, "facet", wide, shard_ids)
        return merge_facets(pages.values(), body.get("limit", 10))

    async def query(self, collection, body, shard_ids=None):
        body = await self._with_vectors(collection, body, shard_ids)
        fusion = edge_query.fusion(body.get("query"))
        limit, offset = body.get("limit", 10), body.get("offset", 0)
        if fusion:
            hits = await self._fused(collection, body, fusion, shard_ids)
        else:
            pages = await self.fan_out(collection, "query", body, shard_ids)
            hits = merge_hits(
                pages.values(), body.get("query"), _larger_is_better(collection, body)
            )
        return hits[offset : offset + limit]

    async def _fused(self, collection, body, fusion, shard_ids):
        """Fusion at the root needs the whole list of each prefetch, over all shards."""
        lists = []
        for item in edge_query.prefetches(body.get("prefetch")):
            part = {**item, "with_payload": body.get("with_payload", False)}
            part |= {"with_vector": body.get("with_vector", False), "limit": item.get("limit", 10)}
            part["filter"] = _both(item.get("filter"), body.get("filter"))
            pages = await self.fan_out(collection, "query", part, shard_ids)
            better = _larger_is_better(collection, part)
            lists.append(merge_hits(pages.values(), part.get("query"), better)[: part["limit"]])
        return fuse(lists, fusion, body.get("score_threshold"))

    async def _with_vectors(self, collection, body, shard_ids):
        """Replaces ids in queries by the vectors of those points, as the server does."""
        query = body.get("query")
        out = dict(body)
        if query is not None:
            out["query"] = await self._resolve(collection, body, query, shard_ids)
        if body.get("prefetch"):
            items = edge_query.prefetches(body["prefetch"])
            out["prefetch"] = [await self._with_vectors(collection, p, shard_ids) for p in items]
        return out

    async def _resolve(self, collection, body, query, shard_ids):
        if isinstance(query, dict) and "nearest" in query:
            query = query["nearest"]
        if isinstance(query, (int, str)):
            vector = await self._vector_of(collection, query, body.get("using"), shard_ids)
            return await self._excluding(body, query, vector)
        if isinstance(query, dict) and "recommend" in query:
            return await self._recommend(collection, body, query["recommend"], shard_ids)
        return query

    @staticmethod
    async def _excluding(body, point_id, vector):
        """A query by id never answers with that id."""
        body["filter"] = _both(body.get("filter"), {"must_not": [{"has_id": [point_id]}]})
        return {"nearest": vector}

    async def _vector_of(self, collection, point_id, using, shard_ids):
        body = {"ids": [point_id], "with_payload": False, "with_vector": True}
        found = await self.retrieve(collection, body, shard_ids)
        if not found:
            raise errors.not_found(f"No point with id {point_id} found")
        vector = found[0].get("vector")
        if using or isinstance(vector, dict) and "indices" not in vector:
            vector = (vector or {}).get(using)
        if vector is None:
            raise errors.bad_input(f"Not existing vector name error: {using}")
        return _plain(vector)

    async def _recommend(self, collection, body, options, shard_ids):
        resolved, ids = {}, []
        for side in ("positive", "negative"):
            resolved[side] = []
            for example in options.get(side) or []:
                if isinstance(example, (int, str)):
                    ids.append(example)
                    example = await self._vector_of(
                        collection, example, body.get("using"), shard_ids
                    )
                resolved[side].append(example)
        if ids:
            body["filter"] = _both(body.get("filter"), {"must_not": [{"has_id": ids}]})
        strategy = options.get("strategy") or "average_vector"
        if strategy != "average_vector":
            return {"recommend": {**resolved, "strategy": strategy}}
        if not resolved["positive"]:
            raise errors.bad_input("At least one positive vector ID required with this strategy")
        average = np.mean(np.array(resolved["positive"], np.float32), axis=0)
        if resolved["negative"]:
            average = (
                average + average - np.mean(np.array(resolved["negative"], np.float32), axis=0)
            )
        return {"nearest": average.tolist()}


def _with_key(answer, kind, key):
    """Points of a shard key say so (transcript 6)."""
    if key is None or kind not in ("scroll", "query", "retrieve"):
        return answer
    points = answer["points"] if kind == "scroll" else answer
    for point in points:
        point["shard_key"] = key
    return answer


def _plain(vector):
    """A vector as plain lists, wherever it came from."""
    if isinstance(vector, np.ndarray):
        return vector.tolist()
    if isinstance(vector, dict):
        return {k: _plain(v) for k, v in vector.items()}
    return [_plain(v) if isinstance(v, np.ndarray) else v for v in vector]


def _both(first, second):
    """A filter that asks for two filters at once."""
    parts = [f for f in (first, second) if f]
    return {"must": parts} if len(parts) > 1 else (parts[0] if parts else None)


def _larger_is_better(collection, body):
    """Euclid and Manhattan are distances: smaller is nearer; sparse vectors are dot products."""
    query = body.get("query")
    if isinstance(query, dict) and ("recommend" in query or "fusion" in query or "rrf" in query):
        return True
    params = vector_params(collection.config).get(body.get("using") or "")
    return params is None or params["distance"] in ("Cosine", "Dot")


def _is_local_trouble(result):
    """A replica that cannot answer although its state says so: another one may."""
    return isinstance(result, ApiError) and result.status == 500


def _no_replica(shard_id, peer, error):
    """Nobody could answer (transcript 5, count with a dead peer), or nobody may (measured)."""
    if isinstance(error, PeerUnavailable):
        error = error.as_service_error()
    if error is None:
        where = f"shard {shard_id} on peer {peer}"
        text = f"The replica set for {where} does not have enough active replicas"
        return errors.service_error(text)
    return errors.service_error(f"1 of 1 read operations failed:\n  {error.message}")
