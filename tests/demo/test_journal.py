"""The journal checker finds each kind of broken promise and accepts every allowed state."""

import itertools
import json
import random

import pytest
from holdfast_sandbox import journal as j


class Story:
    """Writes a journal with chosen instants, without waiting for a clock."""

    def __init__(self, path, base=()):
        self.path = path
        self.lines = [
            {
                "k": "begin",
                "version": 1,
                "collection": "c",
                "boot": "b",
                "points": len(base),
                "ids": f"{j.id_digest(base):064x}",
            }
        ]
        self.count = 0

    def base(self, point_id, row=None, payload=None):
        state = None if row is None else {"row": row, "payload": payload or {"rev": 0}}
        self.lines.append({"k": "base", "id": point_id, "state": state})
        return self

    def op(self, action, ids, sent, acked, rev=None, **arguments):
        points = [
            {"id": i, "row": rev, "payload": {"rev": rev}} if action == "upsert" else {"id": i}
            for i in ids
        ]
        self.lines.append(
            {
                "k": "send",
                "op": self.count,
                "w": 0,
                "at": sent,
                "do": action,
                "points": points,
                **arguments,
            }
        )
        if acked is not None:
            self.lines.append({"k": "ack", "op": self.count, "at": acked, "tries": 1})
        self.count += 1
        return self

    def read(self):
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return j.read_journal(self.path)


@pytest.fixture
def story(tmp_path):
    return lambda base=(): Story(tmp_path / "journal", base)


def check(journal, t1, t2, found):
    """`found`: id -> (payload, row that the vectors belong to)."""
    checker = j.Checker(journal, t1, t2, lambda row, vectors: row == vectors)
    for point_id, (payload, row) in found.items():
        checker.seen(point_id, payload, row)
    return checker.finish()


def kinds(report):
    return [violation.kind for violation in report.violations]


def at(rev):
    return ({"rev": rev}, rev)


# --- What is allowed --------------------------------------------------------------------------


def test_accepts_every_prefix_of_the_operations_inside_the_interval(story):
    journal = (
        story()
        .base(1)
        .op("upsert", [1], 10, 20, rev=1)
        .op("upsert", [1], 30, 40, rev=2)
        .op("delete", [1], 50, 60)
        .op("upsert", [1], 70, 80, rev=3)
        .read()
    )
    t1, t2 = 25, 55  # The first upsert is certain, the last cannot be in.
    assert check(journal, t1, t2, {1: at(1)}).ok
    assert check(journal, t1, t2, {1: at(2)}).ok
    assert check(journal, t1, t2, {}).ok
    assert kinds(check(journal, t1, t2, {1: at(3)})) == [j.LATE]


def test_an_operation_that_was_never_acknowledged_may_be_in_or_not(story):
    journal = (
        story([7]).base(7, row=5, payload={"rev": 5}).op("upsert", [7], 10, None, rev=1).read()
    )
    assert check(journal, 100, 200, {7: at(1)}).ok
    assert check(journal, 100, 200, {7: at(5)}).ok


def test_an_acknowledgement_at_t1_is_not_before_it_and_a_request_at_t2_is_not_after_it(story):
    journal = story().base(1).op("upsert", [1], 10, 20, rev=1).read()
    assert check(journal, 20, 30, {}).ok
    assert check(journal, 5, 10, {1: at(1)}).ok
    assert kinds(check(journal, 21, 30, {})) == [j.LOST]
    assert kinds(check(journal, 5, 9, {1: at(1)})) == [j.LATE]


def test_payload_operations_are_followed(story):
    journal = (
        story([1])
        .base(1, row=9, payload={"a": 1, "b": 2})
        .op("set_payload", [1], 10, 20, payload={"b": 3, "c": 4})
        .op("delete_payload", [1], 30, 40, keys=["a"])
        .op("overwrite_payload", [1], 50, 60, payload={"z": 1})
        .read()
    )
    assert check(journal, 25, 26, {1: ({"a": 1, "b": 3, "c": 4}, 9)}).ok
    assert check(journal, 45, 46, {1: ({"b": 3, "c": 4}, 9)}).ok
    assert check(journal, 65, 66, {1: ({"z": 1}, 9)}).ok
    assert kinds(check(journal, 65, 66, {1: ({"b": 3, "c": 4}, 9)})) == [j.LOST]


def test_points_of_one_batch_are_decided_each_by_itself(story):
    journal = story().base(1).base(2).op("upsert", [1, 2], 10, 20, rev=1).read()
    assert check(journal, 15, 16, {1: at(1)}).ok
    assert check(journal, 15, 16, {2: at(1)}).ok


# --- What is not ------------------------------------------------------------------------------


def test_finds_a_lost_insert(story):
    journal = story().base(1).op("upsert", [1], 10, 20, rev=1).read()
    report = check(journal, 30, 40, {})
    assert kinds(report) == [j.LOST]
    assert "operation 0 (upsert, sent 10, acknowledged 20)" in str(report.violations[0])


def test_finds_a_lost_overwrite(story):
    journal = story([1]).base(1, row=0).op("upsert", [1], 10, 20, rev=1).read()
    assert kinds(check(journal, 30, 40, {1: at(0)})) == [j.LOST]


def test_finds_a_lost_payload_change(story):
    journal = (
        story([1])
        .base(1, row=4, payload={"a": 1})
        .op("set_payload", [1], 10, 20, payload={"a": 2})
        .read()
    )
    assert kinds(check(journal, 30, 40, {1: ({"a": 1}, 4)})) == [j.LOST]


def test_finds_a_deleted_point_that_answers(story):
    journal = story([1]).base(1, row=0).op("delete", [1], 10, 20).read()
    assert kinds(check(journal, 30, 40, {1: at(0)})) == [j.RETURNED]
    assert check(journal, 30, 40, {}).ok


def test_finds_a_deleted_point_that_answers_in_an_older_state(story):
    journal = (
        story([1])
        .base(1, row=0)
        .op("upsert", [1], 10, 20, rev=1)
        .op("delete", [1], 30, 40)
        .op("upsert", [1], 50, 60, rev=2)
        .read()
    )
    assert kinds(check(journal, 45, 55, {1: at(0)})) == [j.RETURNED]
    assert kinds(check(journal, 45, 55, {1: at(1)})) == [j.RETURNED]
    assert check(journal, 45, 55, {1: at(2)}).ok


def test_finds_an_operation_sent_after_the_interval(story):
    journal = story().base(1).op("upsert", [1], 50, 60, rev=1).read()
    assert kinds(check(journal, 30, 40, {1: at(1)})) == [j.LATE]
    assert check(journal, 30, 40, {}).ok


def test_finds_a_delete_sent_after_the_interval(story):
    journal = story([1]).base(1, row=0).op("delete", [1], 50, 60).read()
    assert kinds(check(journal, 30, 40, {})) == [j.LATE]


def test_finds_a_skipped_operation_inside_the_interval(story):
    """A later operation on a point is in, an earlier one is not: the payload shows it."""
    journal = (
        story([1])
        .base(1, row=0, payload={"a": 0})
        .op("set_payload", [1], 31, 32, payload={"a": 1})
        .op("set_payload", [1], 33, 34, payload={"b": 2})
        .read()
    )
    assert kinds(check(journal, 30, 40, {1: ({"a": 0, "b": 2}, 0)})) == [j.UNEXPLAINED]
    assert check(journal, 30, 40, {1: ({"a": 1, "b": 2}, 0)}).ok


def test_finds_content_that_nobody_wrote(story):
    journal = story([1]).base(1, row=0).op("upsert", [1], 10, 20, rev=1).read()
    assert kinds(check(journal, 30, 40, {1: at(77)})) == [j.UNEXPLAINED]


def test_finds_vectors_that_do_not_belong_to_the_payload(story):
    journal = story([1]).base(1, row=0).op("upsert", [1], 10, 20, rev=1).read()
    assert kinds(check(journal, 30, 40, {1: ({"rev": 1}, 0)})) == [j.WRONG_VECTOR]


def test_finds_a_missing_point_that_nobody_touched(story):
    journal = story([1, 2, 3]).base(1, row=0).op("delete", [1], 10, 20).read()
    assert check(journal, 30, 40, {2: at(0), 3: at(0)}).ok
    assert kinds(check(journal, 30, 40, {2: at(0)})) == [j.UNTOUCHED]


def test_finds_an_unknown_point_even_if_the_number_is_right(story):
    journal = story([1, 2]).base(1, row=0).op("delete", [1], 10, 20).read()
    report = check(journal, 30, 40, {99: at(0)})
    assert kinds(report) == [j.UNTOUCHED]
    assert "their ids differ" in str(report.violations[0])


def test_finds_a_changed_point_that_nobody_touched(story):
    journal = story([1, 2]).base(1, row=0).op("delete", [1], 10, 20).read()
    checker = j.Checker(
        journal, 30, 40, lambda row, vectors: True, lambda *_: "its text is another"
    )
    checker.seen(2, {"rev": 0}, 0)
    assert kinds(checker.finish()) == [j.UNTOUCHED]


def test_finds_a_point_that_is_returned_twice(story):
    journal = story().base(1).op("upsert", [1], 10, 20, rev=1).read()
    checker = j.Checker(journal, 30, 40, lambda row, vectors: row == vectors)
    checker.seen(1, *at(1))
    checker.seen(1, *at(1))
    assert kinds(checker.finish()) == [j.DUPLICATE]


def test_names_the_ids_that_must_and_must_not_answer(story):
    journal = (
        story([1, 2])
        .base(1, row=0)
        .base(2, row=0)
        .base(3)
        .op("delete", [1], 10, 20)
        .op("delete", [2], 35, 36)
        .op("upsert", [3], 11, 12, rev=1)
        .read()
    )
    checker = j.Checker(journal, 30, 40, lambda row, vectors: True)
    assert checker.must_not_answer() == [1]
    assert checker.must_answer() == [3]


def test_counts_what_was_before_between_and_after(story):
    journal = (
        story()
        .base(1)
        .base(2)
        .base(3)
        .op("upsert", [1], 10, 20, rev=1)
        .op("upsert", [2], 30, 40, rev=1)
        .op("upsert", [3], 50, 60, rev=1)
        .read()
    )
    report = check(journal, 25, 45, {1: at(1), 2: at(1)})
    assert (report.before, report.between, report.after) == (1, 1, 1)
    assert (report.decided_in, report.decided_out) == (1, 0)
    assert check(journal, 25, 45, {1: at(1)}).decided_out == 1


def test_an_operation_in_flight_at_either_end_counts_as_between(story):
    journal = (
        story()
        .base(1)
        .base(2)
        .base(3)
        .op("upsert", [1], 10, 30, rev=1)
        .op("upsert", [2], 40, 60, rev=1)
        .op("upsert", [3], 50, None, rev=1)
        .read()
    )
    report = check(journal, 25, 50, {})
    assert (report.before, report.between, report.after) == (0, 3, 0)


def test_a_payload_change_makes_no_point(story):
    journal = story().base(1).op("set_payload", [1], 10, 20, payload={"a": 1}).read()
    assert check(journal, 30, 40, {}).ok
    assert kinds(check(journal, 30, 40, {1: ({"a": 1}, 0)})) == [j.UNEXPLAINED]


@pytest.mark.parametrize("seed", range(20))
def test_every_shifted_state_of_a_random_history_is_judged_right(story, seed):
    """Exhaustive over the number of applied operations: allowed inside the interval only."""
    rng = random.Random(seed)
    told = story([1]).base(1, row=0)
    clock = itertools.count(10, 10)
    for rev in range(1, 9):
        # Contents differ, so each state names the number of operations that made it.
        told.op("upsert", [1], next(clock), next(clock), rev=rev)
    journal = told.read()
    t1 = rng.randrange(0, 180)
    t2 = rng.randrange(t1, 200)
    low = sum(operation.acked < t1 for operation in journal.operations)
    high = sum(operation.sent <= t2 for operation in journal.operations)
    for applied in range(9):
        report = check(journal, t1, t2, {1: at(applied)})
        if applied < low:
            assert kinds(report) == [j.LOST]
        elif applied > high:
            assert kinds(report) == [j.LATE]
        else:
            assert report.ok


# --- Journals that cannot be used -------------------------------------------------------------


def test_refuses_overlapping_operations_on_one_point(story):
    told = story().base(1).op("upsert", [1], 10, 30, rev=1).op("upsert", [1], 20, 40, rev=2)
    with pytest.raises(j.JournalError, match="overlap on point 1"):
        told.read()


def test_refuses_an_operation_after_one_without_acknowledgement(story):
    told = story().base(1).op("upsert", [1], 10, None, rev=1).op("upsert", [1], 20, 40, rev=2)
    with pytest.raises(j.JournalError, match="overlap"):
        told.read()


def test_refuses_an_interval_that_ends_before_it_begins(story):
    journal = story().base(1).op("upsert", [1], 10, 20, rev=1).read()
    with pytest.raises(j.JournalError, match="ends before it begins"):
        check(journal, 40, 30, {})


def test_refuses_a_point_without_base(story):
    with pytest.raises(j.JournalError, match="no base line"):
        story().op("upsert", [1], 10, 20, rev=1).read()


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda lines: lines[1:], "first line is not a 'begin' line"),
        (
            lambda lines: lines + ['{"k":"ack","op":99,"at":5,"tries":1}'],
            "acknowledged but not sent",
        ),
        (lambda lines: lines + ["{}"], "unknown kind of line"),
        (lambda lines: [one.replace('"at": 20', '"at": 9') for one in lines], "before it was sent"),
        (lambda lines: lines[:2] + lines[1:], "a second base for point 1"),
        (lambda lines: lines + lines[:1], "a second 'begin' line"),
        (lambda lines: lines + ['{"k":"end","ops":1}', lines[1]], "follows the 'end' line"),
        (lambda lines: lines + ["nonsense"], "not JSON"),
        (lambda lines: lines + ['{"k":"send","op":5}'], "malformed line"),
        (
            lambda lines: [lines[0].replace('"version": 1', '"version": 2')] + lines[1:],
            "version 2 is not supported",
        ),
        (lambda lines: [], "empty journal"),
    ],
)
def test_refuses_a_damaged_journal_and_names_the_line(story, damage, message):
    told = story().base(1).op("upsert", [1], 10, 20, rev=1)
    told.read()
    lines = damage(told.path.read_text().splitlines())
    told.path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(j.JournalError, match=message):
        j.read_journal(told.path)


def test_leaves_out_a_last_line_that_was_cut(story):
    told = story().base(1).op("upsert", [1], 10, 20, rev=1)
    told.read()
    text = told.path.read_text()
    told.path.write_text(text[:-5])  # The acknowledgement is cut: its outcome is unknown now.
    journal = j.read_journal(told.path)
    assert journal.operations[0].acked is None
    assert not journal.complete


# --- Writing and reading again ----------------------------------------------------------------


def test_what_the_writer_writes_is_what_the_reader_reads(tmp_path):
    writer = j.JournalWriter(tmp_path / "journal", "docs", 3, j.id_digest([1, 2, "x"]))
    writer.base(1, {"row": 4, "payload": {"a": "ä"}})
    first = writer.send("set_payload", 0, [{"id": 1}], payload={"b": 2})
    writer.acknowledge(first, tries=2)
    second = writer.send("delete", 0, [{"id": 1}])
    writer.give_up(second, "stopped")
    writer.close()
    journal = j.read_journal(tmp_path / "journal")
    assert journal.complete and journal.collection == "docs" and journal.base_count == 3
    assert journal.base_digest == j.id_digest(["x", 2, 1])
    assert journal.operations[0].sent <= journal.operations[0].acked <= j.now_ns()
    assert journal.operations[0].tries == 2 and journal.operations[1].acked is None
    assert journal.histories[1].states() == [
        {"row": 4, "payload": {"a": "ä"}},
        {"row": 4, "payload": {"a": "ä", "b": 2}},
        None,
    ]


def test_each_line_is_there_before_the_call_returns(tmp_path):
    writer = j.JournalWriter(tmp_path / "journal", "docs", 0, 0)
    writer.base(1, None)
    writer.send("upsert", 0, [{"id": 1, "row": 1, "payload": {}}])
    lines = (tmp_path / "journal").read_text().splitlines()
    assert json.loads(lines[-1])["k"] == "send"


def test_a_closed_journal_with_an_operation_without_outcome_is_refused(tmp_path):
    writer = j.JournalWriter(tmp_path / "journal", "docs", 0, 0)
    writer.base(1, None)
    writer.send("upsert", 0, [{"id": 1, "row": 1, "payload": {}}])
    writer.close()
    with pytest.raises(j.JournalError, match="has no outcome"):
        j.read_journal(tmp_path / "journal")


def test_an_existing_journal_is_not_overwritten(tmp_path):
    (tmp_path / "journal").write_text("mine")
    with pytest.raises(FileExistsError):
        j.JournalWriter(tmp_path / "journal", "docs", 0, 0)
