"""The journal of writers that work while a backup is taken, and the check of a restore against it.

A journal is a file of JSON lines. Every operation writes one line before it is sent and one after
it was acknowledged, each with its instant on CLOCK_MONOTONIC in nanoseconds. The sent instant is
taken before the request leaves and the acknowledged instant after the answer was read, so both
err to the safe side.

The rule that is checked (design.md "Capture", measured fact 1): a backup has an interval from its
first request (T1) to its last first body byte (T2). After the restore

* every operation acknowledged before T1 is in,
* no operation sent after T2 is in,
* an operation between them may be in or not, but on one point only in the order in which it was
  sent: if a later operation on a point is in, so are the earlier ones,
* a point that is deleted in that state does not answer.

Two operations on one point never overlap: a writer owns its points and waits for each
acknowledgement. So the possible states of a point after the restore are the states after k
operations, for k from the operations acknowledged before T1 to the operations sent up to T2. An
operation that was never acknowledged has an unknown outcome; nothing may follow it on its points.

This module needs no package beyond the standard library and talks to no server.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

VERSION = 1
PointId = int | str
# The content of a point: {"row": corpus row of its vectors, "payload": {...}}; None: not there.
State = dict[str, Any] | None

ACTIONS = ("upsert", "set_payload", "overwrite_payload", "delete_payload", "delete")


class JournalError(Exception):
    """The journal cannot be used: damaged, of another machine start, or against its own rules."""


# --- Writing -------------------------------------------------------------------------------------


def now_ns() -> int:
    """The instant on CLOCK_MONOTONIC in nanoseconds, one clock for all processes since boot."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def boot_id() -> str:
    """Names the start of this machine: instants of two starts cannot be compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def id_digest(ids: Iterable[PointId]) -> int:
    """Digest of a set of ids, whatever their order (exclusive or of their SHA-256)."""
    digest = 0
    for point_id in ids:
        digest ^= int.from_bytes(hashlib.sha256(json.dumps(point_id).encode()).digest(), "big")
    return digest


class JournalWriter:
    """Writes a journal. Safe for threads; a line is with the system before the call returns.

    The lines survive a kill -9 of the writing process, not a loss of power.
    """

    def __init__(self, path: Path, collection: str, base_count: int, base_digest: int) -> None:
        """Starts a new journal at `path` (which must not exist).

        `base_count` and `base_digest` describe all ids of the collection before the first write.
        """
        self._lock = threading.Lock()
        self._next_op = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._file: TextIO = os.fdopen(descriptor, "w", encoding="utf-8")
        self._write(
            {
                "k": "begin",
                "version": VERSION,
                "collection": collection,
                "boot": boot_id(),
                "points": base_count,
                "ids": f"{base_digest:064x}",
            }
        )

    def base(self, point_id: PointId, state: State) -> None:
        """Records the state of a point before the first operation on it (None: not there)."""
        self._write({"k": "base", "id": point_id, "state": state})

    def send(self, action: str, writer: int, points: list[dict[str, Any]], **arguments: Any) -> int:
        """Records an operation that is about to be sent and returns its number.

        `points` is a list of {"id": …} and, for an upsert, {"id": …, "row": …, "payload": …}.
        `arguments` are "payload" for set_payload and overwrite_payload, "keys" for delete_payload.
        """
        if action not in ACTIONS:
            raise JournalError(f"unknown action {action!r}")
        sent = now_ns()
        with self._lock:
            operation = self._next_op
            self._next_op += 1
            self._write_locked(
                {
                    "k": "send",
                    "op": operation,
                    "w": writer,
                    "at": sent,
                    "do": action,
                    "points": points,
                    **arguments,
                }
            )
        return operation

    def acknowledge(self, operation: int, tries: int) -> None:
        """Records that the answer of an operation was read. `tries` counts the requests it took."""
        self._write({"k": "ack", "op": operation, "at": now_ns(), "tries": tries})

    def give_up(self, operation: int, reason: str) -> None:
        """Records that an operation ended without acknowledgement: its outcome is unknown."""
        self._write({"k": "gave-up", "op": operation, "at": now_ns(), "reason": reason})

    def close(self) -> None:
        """Writes the last line and closes the file."""
        with self._lock:
            if not self._file.closed:
                self._write_locked({"k": "end", "ops": self._next_op})
                self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._write_locked(line)

    def _write_locked(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()


# --- Reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """One operation of a journal. `acked` is None when its outcome is unknown."""

    number: int
    action: str
    sent: int
    acked: int | None
    points: tuple[dict[str, Any], ...]
    arguments: dict[str, Any]
    tries: int = 1

    def apply(self, point: dict[str, Any], state: State) -> State:
        """The state of `point` (one of `points`) after this operation."""
        if self.action == "upsert":
            return {"row": point["row"], "payload": point["payload"]}
        if self.action == "delete" or state is None:
            return None
        payload = state["payload"]
        if self.action == "set_payload":
            payload = {**payload, **self.arguments["payload"]}
        elif self.action == "overwrite_payload":
            payload = self.arguments["payload"]
        else:
            payload = {
                key: value for key, value in payload.items() if key not in self.arguments["keys"]
            }
        return {"row": state["row"], "payload": payload}

    def describe(self) -> str:
        """One line for messages: what it was, when it was sent and acknowledged."""
        acked = "never" if self.acked is None else str(self.acked)
        return f"operation {self.number} ({self.action}, sent {self.sent}, acknowledged {acked})"


@dataclass
class History:
    """What a journal says about one point: its first state and the operations on it, in order."""

    base: State
    steps: list[tuple[Operation, dict[str, Any]]] = field(default_factory=list)

    def states(self) -> list[State]:
        """The state after 0, 1, … all operations."""
        result = [self.base]
        for operation, point in self.steps:
            result.append(operation.apply(point, result[-1]))
        return result


@dataclass
class Journal:
    """A journal as read from its file."""

    collection: str
    boot: str
    base_count: int
    base_digest: int
    operations: list[Operation]
    histories: dict[PointId, History]
    complete: bool  # The last line is there: the writers ended by themselves.

    def touched_base(self) -> list[PointId]:
        """Ids that existed before the first operation and were touched by one."""
        return [
            point_id for point_id, history in self.histories.items() if history.base is not None
        ]


def read_journal(path: Path) -> Journal:
    """Reads a journal. Raises JournalError, naming the line, for what no writer writes.

    A last line that ends in the middle (the writer was killed) is left out: a request is sent only
    after its line was written whole.
    """
    begin: dict[str, Any] | None = None
    sends: dict[int, dict[str, Any]] = {}
    acks: dict[int, dict[str, Any]] = {}
    gave_up: set[int] = set()
    bases: dict[PointId, State] = {}
    complete = False
    for number, line in _lines(path):
        kind = line.get("k")
        try:
            if begin is None and kind != "begin":
                raise JournalError("the first line is not a 'begin' line")
            if complete:
                raise JournalError("a line follows the 'end' line")
            if kind == "begin":
                if begin is not None:
                    raise JournalError("a second 'begin' line")
                if line["version"] != VERSION:
                    raise JournalError(
                        f"version {line['version']} is not supported, only {VERSION}"
                    )
                begin = line
            elif kind == "base":
                if line["id"] in bases:
                    raise JournalError(f"a second base for point {line['id']!r}")
                bases[line["id"]] = line["state"]
            elif kind == "send":
                if line["do"] not in ACTIONS or line["op"] in sends:
                    raise JournalError(f"operation {line['op']} is unknown or sent twice")
                sends[line["op"]] = line
            elif kind == "ack":
                if line["op"] not in sends or line["op"] in acks:
                    raise JournalError(
                        f"operation {line['op']} is acknowledged but not sent, or twice"
                    )
                if line["at"] < sends[line["op"]]["at"]:
                    raise JournalError(f"operation {line['op']} is acknowledged before it was sent")
                acks[line["op"]] = line
            elif kind == "gave-up":
                gave_up.add(line["op"])
            elif kind == "end":
                complete = True
            else:
                raise JournalError(f"unknown kind of line {kind!r}")
        except (KeyError, TypeError) as error:
            raise JournalError(f"{path}:{number}: malformed line: {error!r}") from error
        except JournalError as error:
            raise JournalError(f"{path}:{number}: {error}") from None
    if begin is None:
        raise JournalError(f"{path}: empty journal")
    operations = [_operation(line, acks.get(op)) for op, line in sorted(sends.items())]
    if complete:
        open_ends = [op for op in sends if op not in acks and op not in gave_up]
        if open_ends:
            raise JournalError(
                f"{path}: the journal was closed but operation {open_ends[0]} has no outcome"
            )
    return Journal(
        begin["collection"],
        begin["boot"],
        begin["points"],
        int(begin["ids"], 16),
        operations,
        _histories(operations, bases),
        complete,
    )


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                return
            try:
                line = json.loads(text)
            except ValueError as error:
                raise JournalError(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(line, dict):
                raise JournalError(f"{path}:{number}: not an object")
            yield number, line


def _operation(send: dict[str, Any], ack: dict[str, Any] | None) -> Operation:
    arguments = {key: send[key] for key in ("payload", "keys") if key in send}
    return Operation(
        send["op"],
        send["do"],
        send["at"],
        ack["at"] if ack else None,
        tuple(send["points"]),
        arguments,
        ack["tries"] if ack else 0,
    )


def _histories(operations: list[Operation], bases: dict[PointId, State]) -> dict[PointId, History]:
    histories = {point_id: History(state) for point_id, state in bases.items()}
    for operation in sorted(operations, key=lambda item: (item.sent, item.number)):
        for point in operation.points:
            history = histories.get(point["id"])
            if history is None:
                raise JournalError(
                    f"{operation.describe()} touches point {point['id']!r} that has no base line"
                )
            if history.steps:
                previous = history.steps[-1][0]
                if previous.acked is None or previous.acked > operation.sent:
                    raise JournalError(
                        f"{operation.describe()} and {previous.describe()} overlap on point "
                        f"{point['id']!r}: the order of their effects is unknown"
                    )
            history.steps.append((operation, point))
    return histories


# --- Checking ------------------------------------------------------------------------------------

# Kinds of violation.
LOST = "lost"  # An operation acknowledged before T1 is missing.
RETURNED = "returned"  # A point answers whose deletion was acknowledged before T1.
LATE = "late"  # An operation sent after T2 is in.
UNEXPLAINED = "unexplained"  # The point is in no state that its operations lead to.
WRONG_VECTOR = "wrong-vector"  # Payload and vectors of a point belong to different operations.
UNTOUCHED = (
    "untouched"  # Points that no operation touched are missing, or unknown points are there.
)
MISPLACED = "misplaced"  # Points lie in a shard that the hash ring does not name for them.
DUPLICATE = "duplicate"  # The exact count differs from the number of ids that a scroll finds.
REPLICAS = "replicas"  # Replicas of one shard differ.


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    kind: str
    point: PointId | None
    message: str

    def __str__(self) -> str:
        where = "" if self.point is None else f" point {self.point!r}:"
        return f"{self.kind}:{where} {self.message}"


@dataclass
class Report:
    """The result of a check; `ok` when nothing was violated and the check had something to say."""

    violations: list[Violation] = field(default_factory=list)
    points_checked: int = 0
    points_total: int = 0
    before: int = 0  # Operations acknowledged before T1.
    between: int = 0  # Operations that may be in or not.
    after: int = 0  # Operations sent after T2.
    deleted_before: int = 0  # Points that must not answer.
    decided_in: int = 0  # Points whose last operation of the interval turned out to be in.
    decided_out: int = 0  # Points of which an operation of the interval turned out not to be in.

    @property
    def ok(self) -> bool:
        """True when no promise is broken."""
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        """All figures, and at most 50 of the violations."""
        figures = {key: value for key, value in self.__dict__.items() if key != "violations"}
        return {
            **figures,
            "ok": self.ok,
            "violation_count": len(self.violations),
            "violations": [str(violation) for violation in self.violations[:50]],
        }


# A point as read back: its payload and whatever the server returned for its vectors.
Found = tuple[dict[str, Any], Any]


class Checker:
    """Checks points that were read back against a journal and an interval.

    Feed every point of the restored collection to `seen`, then call `finish`. Memory grows with the
    points that the journal touches, not with the collection.
    """

    def __init__(
        self,
        journal: Journal,
        t1: int,
        t2: int,
        same_vectors: Callable[[int, Any], bool],
        changed: Callable[[PointId, dict[str, Any], Any], str | None] | None = None,
    ) -> None:
        """`same_vectors(row, vectors)` tells whether `vectors` are those of corpus row `row`.

        `changed(id, payload, vectors)`, where given, looks at a point that no operation touched and
        says in words what is wrong with it, or None. Raises JournalError when T1 lies after T2.
        """
        if t1 > t2:
            raise JournalError(
                f"the interval ends before it begins: first request {t1}, last first byte {t2}"
            )
        self._journal = journal
        self._t1 = t1
        self._t2 = t2
        self._same_vectors = same_vectors
        self._changed = changed
        self._report = Report()
        self._pending = dict.fromkeys(journal.histories)
        self._untouched_digest = journal.base_digest ^ id_digest(journal.touched_base())
        self._untouched_count = journal.base_count - len(journal.touched_base())
        self._other_digest = 0
        self._other_count = 0
        for operation in journal.operations:
            if operation.acked is not None and operation.acked < t1:
                self._report.before += 1
            elif operation.sent > t2:
                self._report.after += 1
            else:
                self._report.between += 1

    def seen(self, point_id: PointId, payload: dict[str, Any], vectors: Any) -> None:
        """Takes one point that the restored collection holds."""
        self._report.points_total += 1
        if point_id not in self._journal.histories:
            self._other_digest ^= id_digest([point_id])
            self._other_count += 1
            wrong = self._changed(point_id, payload, vectors) if self._changed else None
            if wrong:
                self._violate(UNTOUCHED, point_id, f"no operation touched it, but {wrong}")
            return
        if point_id not in self._pending:
            self._violate(DUPLICATE, point_id, "the scroll returned the point twice")
            return
        del self._pending[point_id]
        self._check(point_id, (payload, vectors))

    def finish(self) -> Report:
        """Checks what was not seen and returns the report."""
        for point_id in self._pending:
            self._check(point_id, None)
        self._pending = {}
        if (
            self._other_count != self._untouched_count
            or self._other_digest != self._untouched_digest
        ):
            self._violate(
                UNTOUCHED,
                None,
                f"{self._untouched_count} points were touched by no operation and must be there, "
                f"but {self._other_count} other points are there"
                + (" and their ids differ" if self._other_count == self._untouched_count else ""),
            )
        return self._report

    def must_not_answer(self) -> list[PointId]:
        """Ids that are absent in every allowed state."""
        return [
            point_id
            for point_id, history in self._journal.histories.items()
            if all(state is None for state in self._allowed(history)[1])
        ]

    def must_answer(self) -> list[PointId]:
        """Touched ids that are there in every allowed state."""
        return [
            point_id
            for point_id, history in self._journal.histories.items()
            if all(state is not None for state in self._allowed(history)[1])
        ]

    def _bounds(self, history: History) -> tuple[int, int]:
        low = high = 0
        for index, (operation, _) in enumerate(history.steps, 1):
            if operation.acked is not None and operation.acked < self._t1:
                low = index
            if operation.sent <= self._t2:
                high = index
        return low, high

    def _allowed(self, history: History) -> tuple[int, list[State]]:
        low, high = self._bounds(history)
        return low, history.states()[low : high + 1]

    def _check(self, point_id: PointId, found: Found | None) -> None:
        history = self._journal.histories[point_id]
        states = history.states()
        low, high = self._bounds(history)
        self._report.points_checked += 1
        if states[low] is None and low == high:
            self._report.deleted_before += 1
        payload_equal = [index for index, state in enumerate(states) if _same_payload(state, found)]
        equal = [
            index
            for index in payload_equal
            if found is None or self._vectors_equal(states[index], found)
        ]
        inside = [index for index in equal if low <= index <= high]
        if inside:
            if low < high:
                # The same content may come back later in a history; then nothing was decided.
                if high in inside and low not in inside:
                    self._report.decided_in += 1
                elif high not in inside:
                    self._report.decided_out += 1
            return
        last_certain = (
            history.steps[low - 1][0].describe() if low else "the state before the first operation"
        )
        if payload_equal and not equal:
            self._violate(
                WRONG_VECTOR,
                point_id,
                f"its payload is the one after {payload_equal[-1]} operations, but its "
                "vectors are not",
            )
        elif any(index < low for index in equal):
            if found is not None and states[low] is None:
                self._violate(
                    RETURNED,
                    point_id,
                    f"it answers, but it was deleted by {last_certain} before {self._t1}",
                )
                return
            older = (
                "absent"
                if found is None
                else f"in its state after {max(i for i in equal if i < low)} operations"
            )
            self._violate(
                LOST,
                point_id,
                f"it is {older}, so {last_certain} is missing, although it was acknowledged "
                f"before {self._t1}",
            )
        elif equal:
            late = history.steps[min(equal) - 1][0]
            self._violate(
                LATE, point_id, f"{late.describe()} is in, but it was sent after {self._t2}"
            )
        else:
            # Absent although it never was, or content that no operation wrote.
            kind = LOST if found is None else UNEXPLAINED
            content = "it is absent" if found is None else f"its payload is {_short(found[0])}"
            self._violate(
                kind,
                point_id,
                f"{content}; allowed are the states after {low} to {high} of "
                f"{len(history.steps)} operations (last certain: {last_certain})",
            )

    def _vectors_equal(self, state: State, found: Found) -> bool:
        return state is not None and self._same_vectors(state["row"], found[1])

    def _violate(self, kind: str, point_id: PointId | None, message: str) -> None:
        self._report.violations.append(Violation(kind, point_id, message))


def _same_payload(state: State, found: Found | None) -> bool:
    if state is None or found is None:
        return state is None and found is None
    return state["payload"] == found[0]


def _short(payload: dict[str, Any]) -> str:
    text = json.dumps(payload, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."
