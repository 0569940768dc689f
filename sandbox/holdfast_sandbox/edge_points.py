"""Points between REST JSON and qdrant_edge: vectors, records and every kind of update."""

import numpy as np
import qdrant_edge as edge

from . import errors
from .edge_filter import edge_filter, edge_id, json_id
from .edge_index import field_schema

# Update operations that select points by `points` or by `filter`.
SELECTING = {
    "delete", "set_payload", "overwrite_payload", "delete_payload", "clear_payload",
    "delete_vectors",
}  # fmt: skip


def to_vector(value):
    """A vector of a request: dense, sparse, multi, or a map of names."""
    if isinstance(value, dict):
        if "indices" in value:
            return edge.SparseVector(value["indices"], value["values"])
        return {name: to_vector(v) for name, v in value.items()}
    return value


def from_vector(value):
    """A vector of an answer: float32, which orjson prints in its short form (sandbox notes b)."""
    if isinstance(value, edge.SparseVector):
        values = np.array(value.values, np.float32)
        return {"indices": list(value.indices), "values": values}
    if isinstance(value, dict):
        return {name: from_vector(v) for name, v in value.items()}
    if value and isinstance(value[0], list):
        return [np.array(row, np.float32) for row in value]
    return np.array(value, np.float32)


def record(point):
    """A record of scroll or retrieve; absent parts are left out, as the server does."""
    out = {"id": json_id(point.id)}
    if point.payload is not None:
        out["payload"] = point.payload
    if point.vector is not None:
        out["vector"] = from_vector(point.vector)
    if point.order_value is not None:
        out["order_value"] = point.order_value
    return out


def scored(point):
    """A hit of a query (transcript 1)."""
    out = {"id": json_id(point.id), "version": point.version, "score": np.float32(point.score)}
    if point.payload is not None:
        out["payload"] = point.payload
    if point.vector is not None:
        out["vector"] = from_vector(point.vector)
    if point.order_value is not None:
        out["order_value"] = point.order_value
    return out


def payload_selector(value):
    """`with_payload`: a flag, a list of keys, or include / exclude."""
    if isinstance(value, dict):
        if "include" in value:
            return edge.PayloadSelector.Include(value["include"])
        return edge.PayloadSelector.Exclude(value["exclude"])
    return value


def batch_points(batch):
    """The list form of `{"batch": {ids, vectors, payloads}}` (reference 6.1)."""
    ids, vectors = batch["ids"], batch.get("vectors")
    payloads = batch.get("payloads") or [None] * len(ids)
    if isinstance(vectors, dict):
        columns = [dict(zip(vectors, row)) for row in zip(*vectors.values())]
    else:
        columns = vectors if vectors is not None else [{}] * len(ids)
    if not len(ids) == len(columns) == len(payloads):
        raise errors.invalid(
            "JSON body: [batch: number of ids, vectors and payloads must be equal]"
        )
    return [{"id": i, "vector": v, "payload": p} for i, v, p in zip(ids, columns, payloads)]


def _upsert(op):
    points = [
        edge.Point(edge_id(p["id"]), to_vector(p.get("vector") or {}), p.get("payload"))
        for p in op["points"]
    ]
    condition = edge_filter(op.get("update_filter"))
    modes = {"insert_only": edge.UpdateMode.InsertOnly, "update_only": edge.UpdateMode.UpdateOnly}
    mode = modes.get(op.get("update_mode"))
    return edge.UpdateOperation.upsert_points(points, condition, mode)


def _update_vectors(op):
    rows = [edge.PointVectors(edge_id(p["id"]), to_vector(p["vector"])) for p in op["points"]]
    return edge.UpdateOperation.update_vectors(rows, edge_filter(op.get("update_filter")))


def _selecting(op, hidden):
    kind, make = op["kind"], edge.UpdateOperation
    args = {
        "set_payload": lambda: (op["payload"], op.get("key")),
        "overwrite_payload": lambda: (op["payload"], op.get("key")),
        "delete_payload": lambda: (op["keys"],),
        "delete_vectors": lambda: (op["vector"],),
    }.get(kind, tuple)()
    name = "delete_points" if kind == "delete" else kind
    if op.get("points") is not None:
        ids = [i for i in map(edge_id, op["points"]) if i not in hidden]
        return getattr(make, name)(ids, *args)
    wanted = edge_filter(op["filter"], hidden) or edge.Filter()
    return getattr(make, name + "_by_filter")(wanted, *args)


def _named_vector(op):
    """Create or drop a named vector (reference 2.4, named vector CRUD)."""
    make, params = edge.UpdateOperation, op.get("params")
    if params is None:
        return make.delete_vector_name(op["name"])
    if "sparse" in params:
        modifier = {"idf": edge.Modifier.Idf}.get(params["sparse"].get("modifier"))
        return make.create_sparse_vector(op["name"], modifier)
    dense = params["dense"]
    multi = (
        edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
        if dense.get("multivector_config")
        else None
    )
    return make.create_dense_vector(
        op["name"], dense["size"], getattr(edge.Distance, dense["distance"]), multi
    )


def update_operation(op, hidden=()):
    """The edge operation of one update; `hidden` are ids that count as deleted already."""
    kind = op["kind"]
    if kind == "upsert":
        return _upsert(op)
    if kind == "update_vectors":
        return _update_vectors(op)
    if kind in SELECTING:
        return _selecting(op, hidden)
    if kind == "create_index":
        return edge.UpdateOperation.create_field_index(op["field"], field_schema(op["schema"]))
    if kind == "drop_index":
        return edge.UpdateOperation.delete_field_index(op["field"])
    if kind == "named_vector":
        return _named_vector(op)
    raise ValueError(f"unknown update {kind}")
