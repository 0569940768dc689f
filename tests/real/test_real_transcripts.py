"""Every recorded exchange, played against a real server: proves the player, not the server."""

import pytest
import script
from player import Player
from transcripts import load

EXCHANGES = load()


@pytest.fixture(scope="module")
def outcomes(own_cluster):
    return Player(own_cluster, script.STEPS).play(EXCHANGES)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_exchange(outcomes, exchange):
    outcome = outcomes[exchange.key]
    if outcome.skipped:
        pytest.skip(f"not replayable on HOLDFAST_TEST_QDRANT: {outcome.skipped}")
    assert not outcome.differences, "\n".join([exchange.note, *outcome.differences])


def test_every_exchange_is_compared_or_listed(outcomes):
    played = {key for key, outcome in outcomes.items() if not outcome.skipped}
    listed = {key for key, why in script.NOT_REPLAYABLE.items() if "real" in why}
    assert played | listed == {exchange.key for exchange in EXCHANGES}
