"""A running sandbox for tests, started through its command line, and calls to its nodes."""

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import quote, urlparse

SANDBOX = Path(__file__).resolve().parents[2] / "sandbox"


class Answer:
    """One answer, read whole.  `error` is what broke the connection, if anything did."""

    def __init__(self, status, headers, body, error=None):
        self.status = status
        self.headers = headers
        self.body = body
        self.error = error

    @property
    def result(self):
        assert self.status == 200, (self.status, self.body[:500])
        return json.loads(self.body)["result"]

    @property
    def message(self):
        """The text of an error in the JSON envelope."""
        return json.loads(self.body)["status"]["error"]


class Sandbox:
    """A cluster in a folder of its own."""

    real = False  # Whether the nodes are real servers.
    timeout = 60  # Seconds for one request.

    def __init__(self, folder, nodes=3, *arguments):
        self.folder = str(folder)
        self.urls = self.run("up", "--nodes", str(nodes), *arguments)["urls"]
        self.key = None

    def run(self, command, *arguments, status=0):
        """Runs one command; its JSON answer."""
        path = os.pathsep.join(filter(None, [str(SANDBOX), os.environ.get("PYTHONPATH")]))
        line = [sys.executable, "-m", "holdfast_sandbox", command, *arguments]
        done = subprocess.run(
            [*line, "--dir", self.folder, "--json"],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def fault(self, node, kind, **values):
        told = [f"{name}={json.dumps(value)}" for name, value in values.items()]
        return self.run("fault", str(node), kind, *told)

    def down(self):
        self.run("down", "--remove")

    def call(self, node, method, path, body=None, data=None, headers=None):
        """One request; a connection that breaks is told in the answer."""
        connection = http.client.HTTPConnection(
            urlparse(self.urls[node]).netloc, timeout=self.timeout
        )
        headers = dict(headers or {})
        if self.key:
            headers.setdefault("api-key", self.key)
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), b"")
            try:
                while piece := response.read(1 << 16):
                    answer.body += piece
            except (OSError, http.client.HTTPException) as error:
                answer.error = error
            return answer
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, {}, b"", error)
        finally:
            connection.close()

    def upload(self, node, collection, shard, tar, query="priority=no_sync"):
        mark = uuid.uuid4().hex
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="snapshot"; filename="x"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        data = head.encode() + tar + f"\r\n--{mark}--\r\n".encode()
        path = f"/collections/{quote(collection, safe='')}/shards/{shard}/snapshots/upload?{query}"
        headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        return self.call(node, "POST", path, data=data, headers=headers)

    # -- shortcuts -------------------------------------------------------------------------------

    def create(self, name, **more):
        body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 1, **more}
        path = f"/collections/{quote(name, safe='')}?timeout=30"
        return self.call(0, "PUT", path, body).result

    def fill(self, name, first, last, node=0):
        points = [
            {"id": i, "vector": [i, 1, 0, 0], "payload": {"k": i}} for i in range(first, last)
        ]
        path = f"/collections/{quote(name, safe='')}/points?wait=true"
        return self.call(node, "PUT", path, {"points": points}).result

    def count(self, name, node=0):
        path = f"/collections/{quote(name, safe='')}/points/count"
        return self.call(node, "POST", path, {"exact": True}).result["count"]

    def peers(self):
        return [n["peer_id"] for n in self.run("status")["nodes"]]

    def replicas(self, name, node=0):
        """Shard -> {peer: state}, as one node sees it."""
        seen = self.call(node, "GET", f"/collections/{quote(name, safe='')}/cluster").result
        out = {}
        for entry in seen["local_shards"]:
            out.setdefault(entry["shard_id"], {})[seen["peer_id"]] = entry["state"]
        for entry in seen["remote_shards"]:
            out.setdefault(entry["shard_id"], {})[entry["peer_id"]] = entry["state"]
        return out

    def holder(self, name, shard=0):
        """The number of a node that holds a replica of the shard."""
        peers = self.peers()
        return min(peers.index(p) for p in self.replicas(name)[shard])

    def stream(self, name, shard=0, node=None):
        node = self.holder(name, shard) if node is None else node
        return self.call(
            node, "GET", f"/collections/{quote(name, safe='')}/shards/{shard}/snapshot"
        )

    def shard_points(self, name, shard, node):
        """Id -> payload of one replica."""
        found, offset = {}, None
        while True:
            body = {"limit": 1000, "offset": offset}
            page = self.call(
                node, "POST", f"/collections/{name}/shards/{shard}/points/scroll", body
            ).result
            found |= {p["id"]: p.get("payload") for p in page["points"]}
            offset = page["next_page_offset"]
            if offset is None:
                return found


def wait_for(what, condition, seconds=30):
    """Waits until `condition()` is true; fails with `what` otherwise."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return found
