"""Filters of the REST API as objects of qdrant_edge, which takes no dictionaries (notes b)."""

import uuid

import numpy as np
import qdrant_edge as edge

from . import errors


_NO_CONDITION = (
    'Expected some form of condition, which can be a field condition (like {"key": ..., "match": '
    "... }), or some other mentioned in the documentation: "
    "https://qdrant.tech/documentation/concepts/filtering/#filtering-conditions"
)


def edge_id(point_id):
    """An id as qdrant_edge wants it; 400 for anything but an unsigned integer or a UUID."""
    if isinstance(point_id, int) and not isinstance(point_id, bool) and point_id >= 0:
        return point_id
    if isinstance(point_id, uuid.UUID):
        return point_id
    try:
        if isinstance(point_id, str):
            return uuid.UUID(point_id)
    except ValueError:
        pass
    valid = "valid values are either an unsigned integer or a UUID"
    text = f"value {point_id} is not a valid point ID, {valid}"
    raise errors.bad_json(text, at_end=False)


def json_id(point_id):
    return point_id if isinstance(point_id, int) else str(point_id)


def _geo(point):
    return edge.GeoPoint(point["lon"], point["lat"])


def _match(match):
    if "value" in match:
        value = match["value"]
        # The binding reads a Python bool as the integer 1 or 0 and finds nothing (sandbox notes b).
        return edge.MatchValue(np.bool_(value) if isinstance(value, bool) else value)
    kinds = {
        "any": edge.MatchAny, "except": edge.MatchExcept, "text": edge.MatchText,
        "text_any": edge.MatchTextAny, "phrase": edge.MatchPhrase,
    }  # fmt: skip
    for name, kind in kinds.items():
        if name in match:
            return kind(match[name])
    raise errors.bad_json("data did not match any variant of untagged enum MatchInterface")


def _range(limits):
    bounds = {name: limits.get(name) for name in ("gte", "gt", "lte", "lt")}
    dates = any(isinstance(v, str) for v in bounds.values())
    return (edge.RangeDateTime if dates else edge.RangeFloat)(**bounds)


def _field_condition(cond):
    args = {}
    if cond.get("match"):
        args["match"] = _match(cond["match"])
    if cond.get("range"):
        args["range"] = _range(cond["range"])
    if cond.get("values_count"):
        args["values_count"] = edge.ValuesCount(**cond["values_count"])
    if cond.get("geo_bounding_box"):
        box = cond["geo_bounding_box"]
        args["geo_bounding_box"] = edge.GeoBoundingBox(
            _geo(box["top_left"]), _geo(box["bottom_right"])
        )
    if cond.get("geo_radius"):
        args["geo_radius"] = edge.GeoRadius(
            _geo(cond["geo_radius"]["center"]), cond["geo_radius"]["radius"]
        )
    if cond.get("geo_polygon"):
        shape = cond["geo_polygon"]
        rings = [[_geo(p) for p in ring["points"]] for ring in shape.get("interiors") or []]
        args["geo_polygon"] = edge.GeoPolygon([_geo(p) for p in shape["exterior"]["points"]], rings)
    for name in ("is_empty", "is_null"):
        if cond.get(name) is not None:
            args[name] = cond[name]
    return edge.FieldCondition(cond["key"], **args)


def _condition(cond):
    if not isinstance(cond, dict):
        raise errors.bad_json(_NO_CONDITION)
    if "has_id" in cond:
        return edge.HasIdCondition({edge_id(i) for i in cond["has_id"]})
    if "has_vector" in cond:
        return edge.HasVectorCondition(cond["has_vector"])
    if "nested" in cond:
        return edge.NestedCondition(cond["nested"]["key"], edge_filter(cond["nested"]["filter"]))
    if isinstance(cond.get("is_empty"), dict):
        return edge.IsEmptyCondition(cond["is_empty"]["key"])
    if isinstance(cond.get("is_null"), dict):
        return edge.IsNullCondition(cond["is_null"]["key"])
    if "key" in cond:
        return _field_condition(cond)
    if set(cond) & {"must", "should", "must_not", "min_should"}:
        return edge_filter(cond)
    raise errors.bad_json(_NO_CONDITION)


def _conditions(value):
    if value is None:
        return None
    return [_condition(c) for c in (value if isinstance(value, list) else [value])]


def edge_filter(body, hidden=()):
    """The filter object of a REST filter; `hidden` ids (held deletes) never match."""
    body = body or {}
    must_not = _conditions(body.get("must_not"))
    if hidden:
        must_not = [*(must_not or []), edge.HasIdCondition(set(hidden))]
    low = body.get("min_should")
    parts = {
        "must": _conditions(body.get("must")),
        "should": _conditions(body.get("should")),
        "must_not": must_not,
        "min_should": edge.MinShould(_conditions(low["conditions"]), low["min_count"])
        if low
        else None,
    }
    return edge.Filter(**parts) if any(p is not None for p in parts.values()) else None
