"""Where new shards go."""


def least_loaded(state, peers, shard_count, replicas, chance):
    """Shard id -> peers, on the peers with the fewest shards, ties by chance (reference 2.3)."""
    load = {p: 0 for p in peers}
    for collection in state.collections.values():
        for shard in collection.shards.values():
            for peer in shard.replicas:
                if peer in load:
                    load[peer] += 1
    placed = []
    for shard_id in range(shard_count):
        order = sorted(load, key=lambda p: (load[p], chance.random()))
        chosen = order[: min(replicas, len(order))]
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
