"""Reads of one shard: scroll, count, retrieve, facet and query; REST JSON in, values out."""

import qdrant_edge as edge

from . import errors
from .edge_filter import edge_filter, edge_id, json_id
from .edge_points import payload_selector, record, scored, to_vector

_DIRECTION = {None: None, "asc": edge.Direction.Asc, "desc": edge.Direction.Desc}


def order_by(value):
    """`order_by`: a key or an object."""
    value = {"key": value} if isinstance(value, str) else value
    return edge.OrderBy(value["key"], _DIRECTION[value.get("direction")], value.get("start_from"))


def scroll(shard, body, hidden=()):
    """Points of a shard in id order (or ordered by a field), and the id that comes next."""
    order = body.get("order_by")
    offset = body.get("offset")
    request = edge.ScrollRequest(
        offset=None if offset is None else edge_id(offset),
        limit=body.get("limit", 10),
        filter=edge_filter(body.get("filter"), hidden),
        with_payload=payload_selector(body.get("with_payload", True)),
        with_vector=body.get("with_vector", False),
        order_by=None if order is None else order_by(order),
    )
    points, following = shard.scroll(request)
    next_id = None if following is None else json_id(following)
    return {"points": [record(p) for p in points], "next_page_offset": next_id}


def count(shard, body, hidden=()):
    wanted = edge_filter(body.get("filter"), hidden)
    return shard.count(
        edge.CountRequest(exact=body.get("exact", True) or bool(hidden), filter=wanted)
    )


def facet(shard, body, hidden=()):
    wanted = edge_filter(body.get("filter"), hidden)
    request = edge.FacetRequest(
        body["key"], body.get("limit", 10), body.get("exact", False), wanted
    )
    return [{"value": h.value, "count": h.count} for h in shard.facet(request).hits]


def retrieve(shard, body, hidden=()):
    ids = [i for i in map(edge_id, body["ids"]) if i not in hidden]
    selector = payload_selector(body.get("with_payload", False))
    return [record(r) for r in shard.retrieve(ids, selector, body.get("with_vector", False))]


def _params(value):
    if not value:
        return None
    quantization = value.get("quantization")
    if quantization:
        ignore = quantization.get("ignore", False)
        rest = quantization.get("rescore"), quantization.get("oversampling")
        quantization = edge.QuantizationSearchParams(ignore, *rest)
    return edge.SearchParams(
        hnsw_ef=value.get("hnsw_ef"),
        exact=value.get("exact", False) or False,
        indexed_only=value.get("indexed_only", False) or False,
        quantization=quantization or None,
    )


def fusion(query):
    """The fusion of a query: `{"fusion": "rrf"|"dbsf"}`, `{"rrf": {"k"?, "weights"?}}`, or None."""
    if not isinstance(query, dict):
        return None
    if query.get("fusion") in ("rrf", "dbsf"):
        return {"kind": query["fusion"], "k": 2}
    if "rrf" in query:
        options = query["rrf"] or {}
        return {"kind": "rrf", "k": options.get("k") or 2, "weights": options.get("weights")}
    return None


def _recommend(query, using):
    options = query["recommend"]
    positive = [to_vector(v) for v in options.get("positive") or []]
    negative = [to_vector(v) for v in options.get("negative") or []]
    kinds = {
        "best_score": edge.Query.RecommendBestScore,
        "sum_scores": edge.Query.RecommendSumScores,
    }
    return kinds[options["strategy"]](edge.RecommendQuery(positive, negative), using)


_OTHER_QUERIES = {"context", "discover", "formula", "relevance_feedback", "mmr", "text", "image"}


def _not_served(query):
    if set(query) & _OTHER_QUERIES:
        return errors.bad_json(
            f"the sandbox does not serve the query {sorted(query)}", at_end=False
        )
    return errors.bad_json("Expected some form of vector, id, or a type of query")


def _scoring(query, using):
    """The scoring part of a query.  Ids were replaced by vectors before it came to a shard."""
    fused = fusion(query)
    if fused:
        return (
            edge.Fusion.Dbsf()
            if fused["kind"] == "dbsf"
            else edge.Fusion.Rrf(fused["k"], fused.get("weights"))
        )
    if isinstance(query, dict):
        if "nearest" in query:
            return edge.Query.Nearest(to_vector(query["nearest"]), using)
        if "order_by" in query:
            return order_by(query["order_by"])
        if "sample" in query:
            return edge.Sample.Random
        if "recommend" in query:
            return _recommend(query, using)
        if "indices" not in query:
            raise _not_served(query)
    return edge.Query.Nearest(to_vector(query), using)


def prefetches(value):
    """The prefetch list of a request, whether one object or a list."""
    if not value:
        return []
    return value if isinstance(value, list) else [value]


def _prefetch(value, hidden):
    made = []
    for item in prefetches(value):
        query = item.get("query")
        made.append(edge.Prefetch(
            item.get("limit", 10),
            None if query is None else _scoring(query, item.get("using")),
            _prefetch(item.get("prefetch"), hidden),
            _params(item.get("params")),
            edge_filter(item.get("filter"), hidden),
            item.get("score_threshold"),
        ))  # fmt: skip
    return made or None


def query(shard, body, hidden=()):
    """The best points of one shard, `offset` left to who merges."""
    wanted = body.get("query")
    request = edge.QueryRequest(
        body.get("limit", 10) + body.get("offset", 0),
        None,
        None if wanted is None else _scoring(wanted, body.get("using")),
        _prefetch(body.get("prefetch"), hidden),
        with_vector=body.get("with_vector", False),
        with_payload=payload_selector(body.get("with_payload", False)),
        filter=edge_filter(body.get("filter"), hidden),
        score_threshold=body.get("score_threshold"),
        params=_params(body.get("params")),
    )
    return [scored(p) for p in shard.query(request)]
