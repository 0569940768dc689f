"""Every recorded exchange, played against the sandbox."""

import pytest
import resharding_story
import script
from player import Player
from transcripts import load

EXCHANGES = load()


@pytest.fixture(scope="module")
def outcomes(sandbox):
    return Player(sandbox, script.STEPS).play(EXCHANGES)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_exchange(outcomes, exchange):
    outcome = outcomes[exchange.key]
    if outcome.skipped:
        assert script.NOT_REPLAYABLE[exchange.key]["sandbox"] == outcome.skipped
        pytest.skip(f"not replayable: {outcome.skipped}")
    assert not outcome.differences, "\n".join([exchange.note, *outcome.differences])


def test_every_exchange_is_compared_or_listed(outcomes):
    played = {key for key, outcome in outcomes.items() if not outcome.skipped}
    listed = {key for key, why in script.NOT_REPLAYABLE.items() if "sandbox" in why}
    assert played | listed == {exchange.key for exchange in EXCHANGES}
    assert not played & listed


def test_the_table_names_only_exchanges_that_exist():
    assert set(script.NOT_REPLAYABLE) <= {exchange.key for exchange in EXCHANGES}
    assert set(script.STEPS) <= {exchange.key for exchange in EXCHANGES}


def test_the_story_of_the_resharding_is_what_was_recorded():
    told = [(act.note, act.node, act.method, act.path, act.body) for act in resharding_story.acts()]
    recorded = [e for e in EXCHANGES if e.transcript == resharding_story.TRANSCRIPT]
    assert told == [(e.note, e.node, e.method, e.path, e.body) for e in recorded]
