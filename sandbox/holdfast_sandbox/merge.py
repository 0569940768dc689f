"""Answers of several shards as one."""

import random

import numpy as np


def _id_key(point):
    """Integers before UUIDs, each in its own order (reference 6.2)."""
    point_id = point["id"]
    return (isinstance(point_id, str), point_id)


def merge_scroll(pages, limit, order_by=None):
    """One page: in id order, each id once, and the id that follows."""
    points = [p for page in pages for p in page["points"]]
    if order_by is not None:
        descending = isinstance(order_by, dict) and order_by.get("direction") == "desc"
        points.sort(key=_id_key)
        points.sort(key=lambda p: p["order_value"], reverse=descending)
        return {"points": points[:limit], "next_page_offset": None}
    unique = {}
    for point in sorted(points, key=_id_key):
        unique.setdefault(point["id"], point)
    merged = list(unique.values())
    following = merged[limit]["id"] if len(merged) > limit else None
    return {"points": merged[:limit], "next_page_offset": following}


def merge_facets(pages, limit):
    """Counts of equal values are summed; the largest first."""
    sums = {}
    for page in pages:
        for hit in page:
            token = (type(hit["value"]).__name__, hit["value"])
            sums[token] = sums.get(token, 0) + hit["count"]
    hits = sorted(sums.items(), key=lambda item: (-item[1], str(item[0][1])))
    return [{"value": token[1], "count": count} for token, count in hits[:limit]]


def merge_hits(pages, query, larger_is_better):
    """Hits of one query over several shards, best first, each id once with its newest version."""
    newest = {}
    for page in pages:
        for hit in page:
            known = newest.get(hit["id"])
            if known is None or known["version"] < hit["version"]:
                newest[hit["id"]] = hit
    hits = sorted(newest.values(), key=_id_key)
    if isinstance(query, dict) and "sample" in query:
        random.shuffle(hits)
        return hits
    if query is None:
        return hits
    if isinstance(query, dict) and "order_by" in query:
        order = query["order_by"]
        descending = isinstance(order, dict) and order.get("direction") == "desc"
        hits.sort(key=lambda h: h["order_value"], reverse=descending)
        return hits
    hits.sort(key=lambda h: h["score"], reverse=larger_is_better)
    return hits


def fuse(lists, fusion, threshold=None):
    """Reciprocal rank fusion or distribution based fusion of whole lists."""
    weigh = _rrf if fusion["kind"] == "rrf" else _dbsf
    scores, points = {}, {}
    for index, hits in enumerate(lists):
        for hit, score in weigh(hits, fusion, index):
            scores[hit["id"]] = scores.get(hit["id"], 0.0) + score
            points.setdefault(hit["id"], hit)
    fused = [{**points[i], "score": np.float32(score)} for i, score in scores.items()]
    fused.sort(key=_id_key)
    fused.sort(key=lambda h: -h["score"])
    return [h for h in fused if threshold is None or h["score"] >= threshold]


def _rrf(hits, fusion, index):
    """1 / (k + rank) with ranks from 0; a weight divides the distance between ranks."""
    weights = fusion.get("weights")
    weight = weights[index] if weights else 1.0
    for rank, hit in enumerate(hits):
        yield hit, 1.0 / (fusion["k"] - 1 + (rank + 1) / weight) if weight else 0.0


def _dbsf(hits, _fusion, _index):
    """Scores scaled so that mean - 3 sigma is 0 and mean + 3 sigma is 1."""
    values = [float(h["score"]) for h in hits]
    if len(set(values)) < 2:
        for hit in hits:
            yield hit, 0.5
        return
    mean = sum(values) / len(values)
    sigma = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    low, high = mean - 3 * sigma, mean + 3 * sigma
    for hit, value in zip(hits, values):
        yield hit, (value - low) / (high - low)
