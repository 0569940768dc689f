"""Compares an answer with the recorded one: literally, but for what a rule lets be free.

A rule is a path and what may differ there. Paths are written like `result.peers.*.uri` or
`result.points[].id`; `*` stands for any key, and `**` at the beginning or the end for any number
of steps.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# What a rule says about the value at its path.
FREE = "free"  # Any value of the same JSON type (integer and float are one type).
ANY = "any"  # Any value of any type, also null.
MAP = "map"  # A map with free keys; each value is compared with the first recorded one.
LIKE_FIRST = "like-first"  # A list of free length; each item is compared with the first recorded.
TEXT = "text"  # A text that is equal once names of the moment are taken out (see `normal_text`).
UNORDERED = "unordered"  # A list whose order means nothing.
OPTIONAL = "optional"  # A key that may be missing here, or be here without having been recorded.


@dataclass(frozen=True)
class Rule:
    """`why` is for the reader: what makes the value free."""

    path: str
    kind: str
    why: str

    def matches(self, steps: Sequence[str]) -> bool:
        """Whether this rule is about the value at `steps`."""
        return _match(_steps(self.path), tuple(steps))


@functools.lru_cache(maxsize=1 << 16)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(step for step in path.replace("[]", ".[]").split(".") if step)


@functools.lru_cache(maxsize=1 << 16)
def _match(pattern: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_match(pattern[1:], steps[i:]) for i in range(len(steps) + 1))
    if not steps:
        return False
    return pattern[0] in ("*", steps[0]) and _match(pattern[1:], steps[1:])


# Names of the moment inside messages, and what stands for them.
_MOMENT: list[tuple[str, str]] = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"[0-9a-f]{64}", "<sha256>"),
    (r"\d{4}-\d{2}-\d{2}[T-]\d{2}[:-]\d{2}[:-]\d{2}(\.\d+)?Z?", "<time>"),
    (r"`[^`]*/storage/tmp/[^`]*`", "<path>"),
    (r"\(\d+\.\d+s\)", "(<seconds>)"),
    (r"\(\d+/\d+\)", "(<part>)"),
    (r"ETA: [0-9.]+s", "ETA: <seconds>"),
]


def normal_text(text: str) -> str:
    """A message without ids, hashes, times and paths of the moment."""
    for pattern, stands in _MOMENT:
        text = re.sub(pattern, stands, text)
    return text


def compare(recorded: Any, actual: Any, rules: Sequence[Rule]) -> list[str]:
    """The differences, one line each; none when the answer is as recorded."""
    differences: list[str] = []
    _compare(recorded, actual, (), rules, differences)
    return differences


def _kind(steps: tuple[str, ...], rules: Sequence[Rule]) -> set[str]:
    return {rule.kind for rule in rules if rule.matches(steps)}


def _compare(
    recorded: Any,
    actual: Any,
    steps: tuple[str, ...],
    rules: Sequence[Rule],
    differences: list[str],
) -> None:
    def differ(text: str) -> None:
        differences.append(f"{'.'.join(steps).replace('.[]', '[]') or 'the answer'}: {text}")

    kinds = _kind(steps, rules)
    if ANY in kinds:
        return
    if _type(recorded) != _type(actual):
        differ(f"recorded {_short(recorded)}, here {_short(actual)}")
    elif isinstance(recorded, dict):
        _compare_maps(recorded, actual, steps, rules, differences)
    elif isinstance(recorded, list):
        if FREE in kinds:
            return
        if LIKE_FIRST in kinds:
            if recorded and not actual:
                differ("recorded items, here none")
            for item in actual if recorded else ():
                _compare(recorded[0], item, (*steps, "[]"), rules, differences)
            return
        if len(recorded) != len(actual):
            differ(f"recorded {len(recorded)} items, here {len(actual)}: {_short(actual)}")
            return
        if UNORDERED in kinds:
            recorded, actual = sorted(recorded, key=_order), sorted(actual, key=_order)
        for one, other in zip(recorded, actual):
            _compare(one, other, (*steps, "[]"), rules, differences)
    elif FREE in kinds:
        return
    elif TEXT in kinds:
        if normal_text(recorded) != normal_text(actual):
            differ(f"recorded {recorded!r}, here {actual!r}")
    elif recorded != actual:
        differ(f"recorded {_short(recorded)}, here {_short(actual)}")


def _compare_maps(
    recorded: dict[str, Any],
    actual: dict[str, Any],
    steps: tuple[str, ...],
    rules: Sequence[Rule],
    differences: list[str],
) -> None:
    kinds = _kind(steps, rules)
    where = ".".join(steps) or "the answer"
    if MAP in kinds:
        if recorded and not actual:
            differences.append(f"{where}: recorded entries, here none")
        if recorded:
            first = next(iter(recorded.values()))
            for key, value in actual.items():
                _compare(recorded.get(key, first), value, (*steps, key), rules, differences)
        return
    for key, value in recorded.items():
        if key in actual:
            _compare(value, actual[key], (*steps, key), rules, differences)
        elif not {OPTIONAL, ANY} & _kind((*steps, key), rules):
            differences.append(f"{where}: the key {key!r} is missing (recorded {_short(value)})")
    for key, value in actual.items():
        if key not in recorded and not {OPTIONAL, ANY} & _kind((*steps, key), rules):
            differences.append(f"{where}: the key {key!r} was not recorded (here {_short(value)})")


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return type(value).__name__


def _order(value: Any) -> str:
    if isinstance(value, dict):
        first = {key: value[key] for key in ("shard_id", "peer_id", "key", "id") if key in value}
        return str(sorted((key, str(item)) for key, item in first.items()))
    return str(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."


_COMPARED_HEADERS: dict[str, Callable[[str], str]] = {
    "content-type": str,
    "transfer-encoding": str,
    "accept-ranges": str,
    "content-disposition": normal_text,
    "content-length": lambda _: "<present>",
    "etag": lambda _: "<present>",
    "last-modified": lambda _: "<present>",
    "retry-after": lambda _: "<present>",
}


def compare_headers(recorded: dict[str, str], actual: dict[str, str]) -> list[str]:
    """Differences in the headers that mean something to a client."""
    differences = []
    for name, normal in _COMPARED_HEADERS.items():
        one = normal(recorded[name]) if name in recorded else None
        other = normal(actual[name]) if name in actual else None
        if one != other:
            differences.append(f"header {name}: recorded {one!r}, here {other!r}")
    return differences
