"""Strict mode as far as a fence uses it (measured 20, transcript 3)."""

import math
import time

from . import errors


class RateLimits:
    """Token buckets of writes, one a shard of this node: `write_rate_limit` points a minute."""

    def __init__(self):
        self._buckets = {}

    def check(self, uuid, shard_id, limit, cost):
        """Takes `cost` tokens, or raises the server's 429."""
        now = time.monotonic()
        tokens, before = self._buckets.get((uuid, shard_id), (float(limit), now))
        tokens = min(limit, tokens + (now - before) * limit / 60)
        self._buckets[(uuid, shard_id)] = (tokens, now)
        if cost > limit:
            text = "request larger than rate limiter capacity, please try to split your request"
            raise errors.rate_limited(f"Write rate limit exceeded, {text}")
        if cost > tokens:
            wait = math.ceil((cost - tokens) * 60 / limit)
            text = f"Operation requires {cost} tokens but only {tokens:.1f} were available."
            text = f"Write rate limit exceeded: {text} Retry after {wait}s"
            raise errors.rate_limited(text, wait)
        self._buckets[(uuid, shard_id)] = (tokens - cost, now)


def enabled(collection):
    """The limits in force, or an empty dict."""
    config = collection.config.get("strict_mode_config") or {}
    return config if config.get("enabled") else {}


def check_limit(collection, option, value, what):
    limit = enabled(collection).get(option)
    if limit is not None and value > limit:
        text = f'Limit exceeded {value} > {limit} for "{what}". '
        text += f'Help: Reduce the "{what}" parameter to or below {limit}.'
        raise errors.ApiError(400, text)  # Free text (reference 0.1).


def check_upsert(collection, count):
    """`upsert_max_batchsize: 0` refuses every upsert; deletes still pass (measured 20)."""
    check_limit(collection, "upsert_max_batchsize", count, "upsert limit")


def check_read(collection, body):
    check_limit(collection, "max_query_limit", body.get("limit", 10), "limit")
