"""What the tests of resharding share: looks at a cluster, and a client that writes meanwhile."""

from __future__ import annotations

import threading

import golden
import small
from holdfast_sandbox.demo_client import Client, RestError, quote


def alias(client, name, collection):
    action = {"create_alias": {"collection_name": collection, "alias_name": name}}
    client.call("POST", "/collections/aliases?timeout=60", {"actions": [action]})


def names(client):
    return sorted(item["name"] for item in client.call("GET", "/collections")["collections"])


def behind(client, name):
    """The collection that an alias reads."""
    for item in client.call("GET", "/aliases")["aliases"]:
        if item["alias_name"] == name:
            return item["collection_name"]
    return None


def shards_of(client, name):
    view = client.call("GET", f"/collections/{quote(name)}/cluster")
    return len({s["shard_id"] for s in view["local_shards"] + view["remote_shards"]})


def notes(answer):
    return [e["message"] for e in answer.events if e["event"] in ("note", "warning")]


class Writer:
    """One thread that upserts, changes and deletes through the alias, and knows what it was told.

    `frozen`, a file, keeps it still while it is there.
    """

    def __init__(self, client, frozen=None):
        self.want = golden.points(client, "live")
        self.frozen = frozen
        self.pause = 0.02
        self.writes = 0
        self.errors = []
        self._client = Client(client.urls)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)

    def _run(self):
        number = 0
        while not self._stop.wait(self.pause):
            if self.frozen is not None and self.frozen.exists():
                continue
            number += 1
            try:
                self._write(number)
            except (RestError, OSError) as error:
                self.errors.append(str(error))
                return
            self.writes += 1

    def _send(self, method, path, body):
        """As a writer should: what the server refuses while a shard goes is sent again."""
        for again in range(5):
            try:
                return self._client.call(method, path, body)
            except RestError as error:
                if again == 4 or "No target shard" not in str(error):
                    raise
        raise AssertionError("not reached")

    def _write(self, number):
        new, old, gone = 10_000 + number, number % small.POINTS, (number * 7) % small.POINTS
        vector = [float(number % 5 + i % 3) for i in range(32)]
        points = [{"id": i, "vector": vector, "payload": {"w": number}} for i in {new, old}]
        path = "/collections/live/points"
        self._send("PUT", f"{path}?wait=true", {"points": points})
        for point in points:
            self.want[point["id"]] = (point["payload"], vector)
        if number % 3 == 0:
            self._send("POST", f"{path}/delete?wait=true", {"points": [gone]})
            self.want.pop(gone, None)


def all_active(client):
    for name in names(client):
        view = client.call("GET", f"/collections/{quote(name)}/cluster")
        if {s["state"] for s in view["local_shards"] + view["remote_shards"]} != {"Active"}:
            return False
    return True
