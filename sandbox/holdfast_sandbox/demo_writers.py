"""Writers that upsert, overwrite, change payloads and delete while a backup runs, with a journal.

Each writer owns its points, so operations on one point never overlap (journal.py needs that). An
operation without a good answer is repeated, on the next node, until it is acknowledged: all of them
can be repeated without harm. At the end of the run it is given up and journaled so.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast_sandbox import demo_points as points
from holdfast_sandbox.demo_client import Client, RestError, encode, error_text, quote
from holdfast_sandbox.demo_data import POSITIONS, DemoData
from holdfast_sandbox.journal import JournalWriter, id_digest

MAX_BATCH = 6  # Points that one operation touches at most.
_BACKOFF = (0.02, 0.05, 0.1, 0.2, 0.5)  # Seconds between the tries of one operation.
_GRACE = 15.0  # Seconds that an operation may still take after the run was stopped.
# Answers after which the same operation cannot succeed: the writer is wrong, not the server.
_FATAL = (400, 401, 404, 409, 413, 422)


@dataclass
class Settings:
    """What the writers do. `wait` is "true", "false" or "mixed" (one operation in five without)."""

    urls: Sequence[str]
    collection: str
    journal: Path
    writers: int = 4
    own: int = 150  # Points of the collection that each writer takes over.
    seed: int = 1
    wait: str = "true"
    api_key: str | None = None
    seconds: float | None = None
    until_file: Path | None = None
    pause_file: Path | None = None


@dataclass
class _Owned:
    """A point that a writer owns."""

    id: int | str
    pos: str  # Part of speech of its first content; names its shard key.
    payload: dict[str, Any] | None  # None: it does not exist (any more).


@dataclass
class Totals:
    """What a run did."""

    operations: int = 0
    acknowledged: int = 0
    gave_up: int = 0
    repeated: int = 0
    by_action: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class Run:
    """One run of several writers. `start`, then `finish`; or `wait_for_end` in between."""

    def __init__(self, settings: Settings, data: DemoData) -> None:
        """Reads the collection: its ids, and the state of the points that the writers take over."""
        self._settings = settings
        self._data = data
        self._stop = threading.Event()
        self._deadline = float("inf")
        self._lock = threading.Lock()
        self._paused = 0
        self._alive = 0
        self.totals = Totals()
        client = self._client()
        path = f"/collections/{quote(settings.collection)}"
        info = client.call("GET", path)
        self.layout = points.Layout.of(info)
        self.by_key = points.by_shard_key(info)
        ids = [
            record["id"]
            for record in client.scroll(path, 5000, with_payload=False, with_vector=False)
        ]
        self.journal = JournalWriter(
            settings.journal, settings.collection, len(ids), id_digest(ids)
        )
        rng = random.Random(settings.seed)
        chosen = rng.sample(ids, min(len(ids), settings.own * settings.writers))
        owned = self._read(client, path, chosen)
        client.close()
        # No two runs may make the same new ids: a name for the run that no other has.
        self._name = random.SystemRandom().getrandbits(19)
        self._writers = [
            _Writer(self, number, owned[number :: settings.writers])
            for number in range(settings.writers)
        ]

    def start(self) -> None:
        """Starts the writers."""
        self._alive = len(self._writers)
        for writer in self._writers:
            writer.start()

    def wait_for_end(self) -> None:
        """Returns when the time is over, the file is there, or no writer works any more."""
        settings = self._settings
        end = time.monotonic() + (settings.seconds or float("inf"))
        while time.monotonic() < end and not self._stop.is_set():
            if settings.until_file and settings.until_file.exists():
                return
            self._tell_pause()
            if not any(writer.is_alive() for writer in self._writers):
                return
            time.sleep(0.02)

    def stop(self) -> None:
        """Asks the writers to end; can be called from a signal handler."""
        self._stop.set()

    def finish(self) -> Totals:
        """Ends the writers and closes the journal."""
        self._deadline = time.monotonic() + _GRACE
        self._stop.set()
        for writer in self._writers:
            writer.join()
        self.journal.close()
        return self.totals

    # --- For the writers -------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether no new operation may begin."""
        return self._stop.is_set()

    def out_of_time(self) -> bool:
        """Whether an operation that is not acknowledged yet must be given up."""
        return time.monotonic() > self._deadline

    def hold_while_paused(self) -> None:
        """Returns when writing is allowed; counts who stands still."""
        pause = self._settings.pause_file
        if pause is None or not pause.exists():
            return
        with self._lock:
            self._paused += 1
        try:
            while pause.exists() and not self.stopping:
                time.sleep(0.005)
        finally:
            with self._lock:
                self._paused -= 1

    def count(self, action: str, tries: int, acknowledged: bool) -> None:
        """Adds one operation to the totals."""
        with self._lock:
            self.totals.operations += 1
            self.totals.repeated += tries - 1
            self.totals.by_action[action] = self.totals.by_action.get(action, 0) + 1
            if acknowledged:
                self.totals.acknowledged += 1
            else:
                self.totals.gave_up += 1

    def failed(self, error: str) -> None:
        """Notes an error that ended a writer."""
        with self._lock:
            self.totals.errors.append(error)

    def ended(self) -> None:
        """Counts a writer out."""
        with self._lock:
            self._alive -= 1

    def _client(self) -> Client:
        return Client(self._settings.urls, self._settings.api_key)

    def _tell_pause(self) -> None:
        """Makes PAUSE_FILE.paused while all writers stand still because of PAUSE_FILE."""
        pause = self._settings.pause_file
        if pause is None:
            return
        told = pause.with_name(pause.name + ".paused")
        with self._lock:
            still = self._paused >= self._alive
        if pause.exists() and still:
            told.touch()
        else:
            told.unlink(missing_ok=True)

    def _read(self, client: Client, path: str, ids: list) -> list[_Owned]:
        owned = []
        for begin in range(0, len(ids), 200):
            body = {"ids": ids[begin : begin + 200], "with_payload": True, "with_vector": False}
            for record in client.call("POST", f"{path}/points", body):
                content = record["payload"]
                if "row" not in content or "pos" not in content:
                    raise ValueError(
                        f"point {record['id']!r} was not loaded by demo-load: it has no row or pos"
                    )
                self.journal.base(record["id"], {"row": content["row"], "payload": content})
                owned.append(_Owned(record["id"], content["pos"], content))
        return owned


class _Writer:
    """One writer: a thread that does one operation after the other on the points that it owns."""

    def __init__(self, run: Run, number: int, owned: list[_Owned]) -> None:
        self._thread = threading.Thread(target=self._work, name=f"writer-{number}", daemon=True)
        self._run = run
        self._number = number
        self._settings = run._settings
        self._data = run._data
        self._path = f"/collections/{quote(self._settings.collection)}/points"
        self._random = random.Random(f"{self._settings.seed}/{number}")
        self._client = run._client()
        for _ in range(number):
            self._client.next_node()  # The writers begin on different nodes.
        self._live = {pos: [] for pos in POSITIONS}
        self._gone: dict[str, list[_Owned]] = {pos: [] for pos in POSITIONS}
        for point in owned:
            self._live[point.pos].append(point)
        self._rows: dict[str, list[int]] = {pos: [] for pos in POSITIONS}
        for doc in self._data.documents:
            if doc.row % self._settings.writers == number:
                self._rows[doc.pos].append(doc.row)
        self._rev = 0
        self._made = 0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self) -> None:
        """Returns when the thread has ended."""
        self._thread.join()

    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    def _work(self) -> None:
        """Works until the run stops."""
        try:
            while not self._run.stopping:
                self._run.hold_while_paused()
                if self._run.stopping or not self._step():
                    return
        except Exception as error:  # A thread has nobody above it: the run reports it.
            self._run.failed(f"writer {self._number}: {error}")
        finally:
            self._client.close()
            self._run.ended()

    def _step(self) -> bool:
        """One operation. False when its outcome is unknown or wrong, which ends this writer."""
        pos = self._random.choices(POSITIONS, weights=(6, 2, 2, 1))[0]
        live = self._live[pos]
        choice = self._random.random()
        if choice < 0.35 or len(live) < MAX_BATCH:
            return self._upsert(pos, self._new(pos))
        batch = self._random.sample(live, self._random.randint(1, MAX_BATCH))
        if choice < 0.55:
            return self._upsert(pos, batch)
        if choice < 0.75:
            return self._change_payload(pos, batch)
        return self._delete(pos, batch)

    # --- Operations ------------------------------------------------------------------------------

    def _new(self, pos: str) -> list[_Owned]:
        """Points that do not exist: ids never used, or now and then one that was deleted."""
        batch: list[_Owned] = []
        for _ in range(self._random.randint(1, MAX_BATCH)):
            gone = self._gone[pos]
            if gone and self._random.random() < 0.3:
                batch.append(gone.pop(self._random.randrange(len(gone))))
                continue
            self._made += 1
            number = (1 << 52) | self._run._name << 32 | self._number << 26 | self._made
            point = _Owned(number, pos, None)
            if self._made % 4 == 0:
                point.id = points.new_uuid(str(number))
            self._run.journal.base(point.id, None)
            batch.append(point)
        return batch

    def _upsert(self, pos: str, batch: list[_Owned]) -> bool:
        rows = self._random.sample(self._rows[pos], len(batch))
        contents = [points.payload(self._data.documents[row], self._next_rev()) for row in rows]
        vectors = self._run.layout.vectors(self._data, rows)
        body = {
            "points": [
                {"id": point.id, "vector": vector, "payload": content}
                for point, vector, content in zip(batch, vectors, contents)
            ]
        }
        told = [
            {"id": point.id, "row": row, "payload": content}
            for point, row, content in zip(batch, rows, contents)
        ]
        if not self._send("upsert", "PUT", "", pos, body, told):
            return False
        live = self._live[pos]
        for point, content in zip(batch, contents):
            if point.payload is None:
                live.append(point)
            point.payload = content
        return True

    def _change_payload(self, pos: str, batch: list[_Owned]) -> bool:
        told = [{"id": point.id} for point in batch]
        body: dict[str, Any] = {"points": [point.id for point in batch]}
        choice = self._random.random()
        if choice < 0.5:
            new = {"rev": self._next_rev(), "note": f"seen by writer {self._number}"}
            body["payload"] = new
            done = self._send("set_payload", "POST", "/payload", pos, body, told, payload=new)
            contents = [{**(point.payload or {}), **new} for point in batch]
        elif choice < 0.8:
            # Row and pos stay: they say whose vectors these are. So it is one point at a time.
            batch, told = batch[:1], told[:1]
            old = batch[0].payload or {}
            new = {"row": old["row"], "pos": old["pos"], "rev": self._next_rev(), "short": True}
            body = {"points": [batch[0].id], "payload": new}
            done = self._send("overwrite_payload", "PUT", "/payload", pos, body, told, payload=new)
            contents = [new]
        else:
            keys = ["note", "letters", "text"]
            body["keys"] = keys
            done = self._send(
                "delete_payload", "POST", "/payload/delete", pos, body, told, keys=keys
            )
            contents = [
                {key: value for key, value in (point.payload or {}).items() if key not in keys}
                for point in batch
            ]
        if done:
            for point, content in zip(batch, contents):
                point.payload = content
        return done

    def _delete(self, pos: str, batch: list[_Owned]) -> bool:
        body = {"points": [point.id for point in batch]}
        told = [{"id": point.id} for point in batch]
        if not self._send("delete", "POST", "/delete", pos, body, told):
            return False
        gone = {point.id for point in batch}
        self._live[pos] = [point for point in self._live[pos] if point.id not in gone]
        for point in batch:
            point.payload = None
        self._gone[pos].extend(batch)
        return True

    def _next_rev(self) -> int:
        self._rev += 1
        return (self._number + 1) * 10**8 + self._rev

    def _send(
        self,
        action: str,
        method: str,
        below: str,
        pos: str,
        body: dict[str, Any],
        told: list[dict[str, Any]],
        **arguments: Any,
    ) -> bool:
        """Sends one operation until it is acknowledged; journals it before and after."""
        if self._run.by_key:
            body["shard_key"] = pos
        wait = self._settings.wait
        if wait == "mixed":
            wait = "false" if self._random.random() < 0.2 else "true"
        data, headers = encode(body)
        path = f"{self._path}{below}?wait={wait}"
        operation = self._run.journal.send(action, self._number, told, **arguments)
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._client.send(method, path, data, headers)
                reason = "" if answer.status == 200 else f"{answer.status}: {error_text(answer)}"
                fatal = answer.status in _FATAL
            except RestError as error:
                reason, fatal = str(error), False
            if not reason:
                self._run.journal.acknowledge(operation, tries)
                self._run.count(action, tries, True)
                return True
            if fatal or self._run.out_of_time():
                self._run.journal.give_up(operation, reason)
                self._run.count(action, tries, False)
                if fatal:
                    self._run.failed(f"writer {self._number}: {action}: {reason}")
                return False
            self._client.next_node()
            time.sleep(_BACKOFF[min(tries, len(_BACKOFF)) - 1])


def freeze(pause_file: Path, seconds: float = 30.0, sleep: Callable = time.sleep) -> None:
    """Makes the writers of a run stand still and returns when they do. Raises TimeoutError."""
    told = pause_file.with_name(pause_file.name + ".paused")
    told.unlink(missing_ok=True)
    pause_file.touch()
    deadline = time.monotonic() + seconds
    while not told.exists():
        if time.monotonic() > deadline:
            pause_file.unlink(missing_ok=True)
            raise TimeoutError(f"the writers did not stand still within {seconds:g} s")
        sleep(0.01)


def thaw(pause_file: Path) -> None:
    """Lets the writers go on."""
    pause_file.unlink(missing_ok=True)
