"""The hash ring (reference 2.8, sandbox notes g)."""

import random
import uuid

import pytest
from holdfast_sandbox.ring import HashRing, point_key, siphash24

# Published vectors of SipHash-2-4: key 00..0f, input of 0, 1, 2 and 15 bytes.
KEY0, KEY1 = 0x0706050403020100, 0x0F0E0D0C0B0A0908
VECTORS = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    2: 0x0D6C8009D9A94F5A,
    15: 0xA129CA6149BE45E5,
}


@pytest.mark.parametrize("length", VECTORS)
def test_siphash_gives_the_published_values(length):
    assert siphash24(bytes(range(length)), KEY0, KEY1) == VECTORS[length]


def test_keys_of_integers_and_uuids_have_their_kind_in_front():
    assert point_key(5) == bytes(8) + (5).to_bytes(8, "little")
    value = uuid.UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
    head = (1).to_bytes(8, "little") + (16).to_bytes(8, "little")
    assert point_key(str(value)) == head + bytes(range(16)) == point_key(value)


def _ids(count):
    chance = random.Random(3)
    integers = [chance.getrandbits(64) for _ in range(count // 2)] + [0, 1, 2**64 - 1]
    texts = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(count // 2)]
    mixed = integers + texts + ["00000000-0000-0000-0000-000000000000"]
    chance.shuffle(mixed)
    return mixed


@pytest.mark.parametrize("shards", [[0], [0, 1], [0, 1, 2], list(range(7)), [3, 4], [1, 5, 9]])
def test_many_ids_at_once_have_the_same_owners_as_one_by_one(shards):
    ring, ids = HashRing(shards), _ids(1000)
    assert ring.owners(ids) == [ring.owner(i) for i in ids]
    assert set(ring.owners(ids)) == set(shards)


def test_points_of_a_real_shard_belong_to_it():
    """The first ids that a real server scrolled from shard 0 of six (transcript 1, exchange 40)."""
    ring = HashRing(range(6))
    assert ring.owner(5) == ring.owner(13) == ring.owner(16) == 0
    assert all(ring.owner(i) != 0 for i in (1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 14, 15))
