"""Writers for tests: they know what was acknowledged, and check that it is there."""

import random
import threading
import time


class Writers:
    """Writers with ids of their own; they know what was acknowledged last for each id."""

    def __init__(self, sandbox, name, count=3, ids=300, key=None, nodes=(0, 1, 2)):
        self._sandbox = sandbox
        self._name = name
        self._key = {} if key is None else {"shard_key": key}
        self._nodes = nodes
        self._stop = threading.Event()
        self.truth = {}  # Id -> payload value, or None when deleted; only acknowledged writes.
        self.unsure = set()  # Ids whose last write was not acknowledged.
        self.acknowledged = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(k, ids)) for k in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number, count):
        chance, step = random.Random(number), 0
        while not self._stop.is_set():
            step += 1
            ids = {
                number * 10_000 + chance.randrange(count) for _ in range(chance.randrange(1, 15))
            }
            base = f"/collections/{self._name}/points"
            if chance.random() < 0.7:
                points = [{"id": i, "vector": [1, 2, 3, i], "payload": {"v": step}} for i in ids]
                call = ("PUT", f"{base}?wait=true", {"points": points, **self._key})
                value = step
            else:
                body = {"points": sorted(ids), **self._key}
                call = ("POST", f"{base}/delete?wait=true", body)
                value = None
            answer = self._sandbox.call(chance.choice(self._nodes), *call)
            with self._lock:
                if answer.status == 200:
                    self.acknowledged += 1
                    self.truth |= {i: value for i in ids}
                    self.unsure -= ids
                else:
                    self.unsure |= ids

    def more(self, count=10, seconds=200):
        """Waits until some more writes were acknowledged."""
        wanted, deadline = self.acknowledged + count, time.monotonic() + seconds
        while self.acknowledged < wanted:
            assert time.monotonic() < deadline, f"{count} writes were not acknowledged in time"
            time.sleep(0.01)

    def stop(self):
        deadline = time.monotonic() + 200
        while self.acknowledged <= 20 and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self, by_ring=False, filled=None):
        """Every replica of a shard is equal, and all together hold what was acknowledged.

        `filled`: points that were there before, id -> payload. `by_ring`: no shard holds a point of
        another one.
        """
        sandbox, name = self._sandbox, self._name
        peers, found = sandbox.peers(), {}
        for shard, replicas in sandbox.replicas(name).items():
            copies = [sandbox.shard_points(name, shard, peers.index(p)) for p in replicas]
            assert all(c == copies[0] for c in copies), f"replicas of shard {shard} differ"
            if by_ring:
                assert not set(found) & set(copies[0]), f"shard {shard} holds points of others"
                self._check_ring(shard, peers.index(next(iter(replicas))), len(copies[0]))
            found |= copies[0]
        wanted = {
            i: {"v": v} for i, v in self.truth.items() if v is not None and i not in self.unsure
        }
        wanted |= filled or {}
        found = {i: p for i, p in found.items() if i not in self.unsure}
        assert found == wanted
        assert self.acknowledged > 20

    def _check_ring(self, shard, node, points):
        body = {"hash_ring_filter": {"expected_shard_id": shard}}
        path = f"/collections/{self._name}/shards/{shard}/points/count"
        assert self._sandbox.call(node, "POST", path, body).result["count"] == points


def all_active(sandbox, name):
    """Whether nothing is transferred and every replica is Active."""
    seen = sandbox.call(0, "GET", f"/collections/{name}/cluster").result
    states = {s for r in sandbox.replicas(name).values() for s in r.values()}
    return not seen["shard_transfers"] and states == {"Active"}
