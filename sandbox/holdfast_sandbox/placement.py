"""Where new shards go."""


def least_loaded(peers, shard_count, replicas, chance):
    """Shard id -> peers, so that all peers hold the same number of shards of this collection.

    The server counts the shards of this collection only, with one random bias a peer for ties
    (lib/storage/src/content_manager/shard_distribution.rs; transcript 5 shows one shard a peer).
    """
    load = {p: 0 for p in peers}
    bias = {p: chance.random() for p in peers}
    placed = []
    for shard_id in range(shard_count):
        chosen = sorted(load, key=lambda p: (load[p], bias[p]))[: min(replicas, len(load))]
        for peer in chosen:
            load[peer] += 1
        placed.append({"id": shard_id, "peers": chosen})
    return placed


def dealt(peers, first_id, shard_count, replicas, chance):
    """Shards of a new key: the pool is shuffled and dealt in turn (reference 2.8)."""
    pool = list(peers)
    chance.shuffle(pool)
    each = min(replicas, len(pool))
    placed, at = [], 0
    for i in range(shard_count):
        chosen = [pool[(at + k) % len(pool)] for k in range(each)]
        at += each
        placed.append({"id": first_id + i, "peers": chosen})
    return placed
