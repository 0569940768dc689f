"""Points in the JSON that an upsert takes.

A float32 is printed in the shortest form that gives the same float32 again, as the server itself
prints it.  JSON parsers read a double and round it: of all finite float32 values between _TINY and
_LARGE, each was tried, none comes back as another one.  Outside of that a parser that is off by one
bit of the double (the server's may be) could hit the next float32, so there the digits of the
double are printed, which are far from any other float32.
"""

import uuid

import numpy as np
import orjson

from .faults import Fault

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_IDS_MAX = 10_000
_TINY, _LARGE = 1e-13, 1e15


def id_of(record):
    """The id as JSON has it: a number, or the text of a UUID."""
    return record.id if isinstance(record.id, int) else str(record.id)


def id_from(value):
    """An id of a request in its one form."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value
    if isinstance(value, str):
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    raise Fault("request", f"{value!r:.100} is no id of a point")


def ids_from(values):
    """The ids of a request, each once."""
    if not isinstance(values, list) or len(values) > _IDS_MAX:
        raise Fault("request", f"'ids' must be a list of at most {_IDS_MAX} ids")
    return list(dict.fromkeys(id_from(value) for value in values))


def _floats(values):
    made = np.array(values, np.float32)
    # orjson would print null, which no server takes.
    if not np.isfinite(made).all():
        raise ValueError("a component of a vector is not finite")
    size = np.abs(made)
    if ((size < _TINY) & (size > 0) | (size > _LARGE)).any():
        return made.astype(np.float64)
    return made


def _vector_of(value):
    if value is None:
        return {}
    if isinstance(value, dict):
        return {name: _vector_of(inner) for name, inner in value.items()}
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return [_floats(row) for row in value]
        return _floats(value)
    return {"indices": list(value.indices), "values": _floats(value.values)}


def line_of(record):
    """The line of one point, its end included."""
    point_id = id_of(record)
    try:
        vector = _vector_of(record.vector)
        return orjson.dumps(
            {"id": point_id, "vector": vector, "payload": record.payload or {}}, option=_OPTIONS
        )
    except (TypeError, ValueError) as error:
        raise Fault("damaged", f"point {point_id} cannot be given as JSON: {error}") from None


def vector_from(value):
    """A vector of a query: numbers, rows of numbers, or indices and values."""
    from .library import engine

    if isinstance(value, dict) and set(value) == {"indices", "values"}:
        return engine().SparseVector(value["indices"], value["values"])
    if isinstance(value, list) and value:
        return value
    raise Fault("request", "a query must be a vector")
