#!/usr/bin/env python3
"""Stands for holdfast-engine in unit tests: the protocol with numbered points and no engine.

Every image has the points 0, 1, ... with a vector and a payload made of the number.  What it does
is written to --log, a line an event.
"""

import argparse
import json
import os
import sys


def point(number):
    return {"id": number, "vector": [number, 0.5], "payload": {"n": number}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--log", default=os.devnull)
    # Dies on the page with this number, counted over all processes that share the log.
    parser.add_argument("--die-at-page", type=int, default=0)
    parser.add_argument("--scratch")
    parser.add_argument("--memory-bytes")
    parser.add_argument("--line-bytes")
    options = parser.parse_args()

    def log(text):
        with open(options.log, "a", encoding="utf-8") as out:
            out.write(text + "\n")

    def pages():
        with open(options.log, encoding="utf-8") as source:
            return sum(line.startswith("page") for line in source)

    log("start")
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"re": request["id"], "ok": True}
        if request["op"] == "hello":
            answer |= {"protocol": 1, "release": "fake", "segments": "0.6.0"}
        elif request["op"] == "open":
            size = os.path.getsize(request["tar"])
            log(f"open {size} {oct(os.stat(options.scratch).st_mode & 0o777)}")
            answer |= {"points": options.points, "segments": ["0.6.0"]}
        elif request["op"] == "page":
            log(f"page {request['after']}")
            if options.die_at_page and pages() == options.die_at_page:
                os.kill(os.getpid(), 9)
            first = 0 if request["after"] is None else request["after"] + 1
            last = min(options.points, first + request["limit"])
            for number in range(first, last):
                print(json.dumps(point(number)))
            answer |= {"count": max(0, last - first), "more": last < options.points}
        print(json.dumps(answer, separators=(",", ":")), flush=True)


main()
