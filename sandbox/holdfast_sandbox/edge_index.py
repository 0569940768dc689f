"""Payload indexes: REST schemas as objects of qdrant_edge, and the schema of a loaded shard."""

import json
import os

import qdrant_edge as edge

from . import errors

_KINDS = {
    "keyword": (edge.KeywordIndexParams, "Keyword"),
    "integer": (edge.IntegerIndexParams, "Integer"),
    "float": (edge.FloatIndexParams, "Float"),
    "geo": (edge.GeoIndexParams, "Geo"),
    "text": (edge.TextIndexParams, "Text"),
    "bool": (edge.BoolIndexParams, "Bool"),
    "datetime": (edge.DatetimeIndexParams, "Datetime"),
    "uuid": (edge.UuidIndexParams, "Uuid"),
}


def _language(kind, name):
    return getattr(kind, name.capitalize())


def _stopwords(value):
    if isinstance(value, str):
        return edge.StopwordsSet(languages={_language(edge.Language, value)})
    languages = {_language(edge.Language, n) for n in value.get("languages") or []}
    return edge.StopwordsSet(
        languages=languages or None, custom=set(value.get("custom") or []) or None
    )


def field_schema(schema):
    """The edge object of `field_schema`: a type name or an object with options."""
    if isinstance(schema, str):
        if schema not in _KINDS:
            raise errors.bad_json(
                "data did not match any variant of untagged enum PayloadFieldSchema"
            )
        return getattr(edge.PayloadSchemaType, _KINDS[schema][1])
    options = {k: v for k, v in schema.items() if v is not None}
    kind = options.pop("type", None)
    if kind not in _KINDS:
        raise errors.bad_json("data did not match any variant of untagged enum PayloadFieldSchema")
    if "tokenizer" in options:
        options["tokenizer"] = getattr(edge.TokenizerType, options["tokenizer"].capitalize())
    if "stopwords" in options:
        options["stopwords"] = _stopwords(options["stopwords"])
    if "stemmer" in options:
        options["stemmer"] = edge.SnowballParams(
            _language(edge.SnowballLanguage, options["stemmer"]["language"])
        )
    return _KINDS[kind][0](**options)


def shown(schema, points):
    """One entry of `payload_schema` (transcript 1): parameters only when there are some."""
    if isinstance(schema, str):
        return {"data_type": schema, "points": points}
    return {"data_type": schema["type"], "params": schema, "points": points}


def stored_schemas(folder):
    """Field -> schema as the segments of a shard folder have it, in the words it was created with.

    A collection created without indexes shows those of restored segments (measured 17).
    """
    found = {}
    root = os.path.join(folder, "segments")
    for segment in sorted(os.listdir(root)) if os.path.isdir(root) else []:
        path = os.path.join(root, segment, "payload_index", "config.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                config = json.load(file)
            found.update(config.get("indexed_fields") or {})
    return found
