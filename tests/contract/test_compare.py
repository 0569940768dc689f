"""The comparison notices what differs, and lets go only what a rule names."""

import copy

import pytest
import script
from compare import Rule, compare, compare_headers, normal_text
from player import GENERAL, roles_fit
from transcripts import load

EXCHANGES = [one for one in load() if isinstance(one.response, dict)]


def rules_of(exchange):
    step = script.STEPS.get(exchange.key)
    return [*(step.rules if step else ()), *GENERAL]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_a_recorded_answer_equals_itself(exchange):
    assert compare(exchange.response, copy.deepcopy(exchange.response), rules_of(exchange)) == []


def places(value, steps=()):
    """All places of a JSON value that hold something."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*steps, key)
            yield from places(item, (*steps, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*steps, index))


def without(value, steps):
    changed = copy.deepcopy(value)
    inner = changed
    for step in steps[:-1]:
        inner = inner[step]
    del inner[steps[-1]]
    return changed


def is_free(exchange, steps):
    told = tuple("[]" if isinstance(step, int) else step for step in steps)
    free = ("any", "optional", "map", "like-first")
    return any(
        rule.kind in free and any(rule.matches(told[:n]) for n in range(len(told) + 1))
        for rule in rules_of(exchange)
    )


def test_a_missing_key_is_noticed_wherever_no_rule_lets_it_go():
    looked = 0
    # One exchange of each kind: the same call has the same shape and rules.
    for exchange in {(e.method, e.path.split("?")[0], e.status): e for e in EXCHANGES}.values():
        seen = set()
        for steps in places(exchange.response):
            kind = tuple("[]" if isinstance(step, int) else step for step in steps)
            if isinstance(steps[-1], str) and kind not in seen and not is_free(exchange, steps):
                seen.add(kind)
                looked += 1
                short = without(exchange.response, steps)
                assert compare(exchange.response, short, rules_of(exchange)), (exchange.name, steps)
                assert compare(short, exchange.response, rules_of(exchange)), (exchange.name, steps)
    assert looked > 400


@pytest.mark.parametrize(
    "recorded, actual",
    [
        ({"state": "Active"}, {"state": "Dead"}),
        ({"n": 1}, {"n": 2}),
        ({"n": 1}, {"n": "1"}),
        ({"n": 1}, {"n": True}),
        ({"n": None}, {"n": 0}),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ({"a": {}}, {"a": []}),
    ],
)
def test_different_values_are_noticed(recorded, actual):
    assert compare(recorded, actual, [])


def test_a_free_value_keeps_its_type():
    rule = Rule("a.[].b", "free", "")
    assert compare({"a": [{"b": 1}]}, {"a": [{"b": 2.5}]}, [rule]) == []
    assert compare({"a": [{"b": 1}]}, {"a": [{"b": "x"}]}, [rule])
    assert compare({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, [rule])


def test_texts_differ_in_words_but_not_in_names_of_the_moment():
    one = "in `node2/storage/tmp/x-1/a.dat`: expected dim: 64, got 32"
    assert normal_text(one) == normal_text(one.replace("x-1", "y-2"))
    assert normal_text(one) != normal_text(one.replace("64", "65"))


def test_roles_must_fit():
    view = {"peer_id": 1, "raft_info": {"leader": 1, "role": "Leader"}}
    assert roles_fit({"result": view}) == []
    assert roles_fit({"result": {**view, "peer_id": 2}})
    assert roles_fit([{"role": "King"}])


def test_headers_are_compared():
    recorded = {"content-type": "application/json", "content-length": "5"}
    assert (
        compare_headers(recorded, {"content-type": "application/json", "content-length": "9"}) == []
    )
    assert compare_headers(recorded, {"content-type": "text/plain", "content-length": "5"})
    assert compare_headers(recorded, {**recorded, "retry-after": "1"})
