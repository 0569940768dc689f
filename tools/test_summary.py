#!/usr/bin/env python3
"""Adds up the reports of ctest, GoogleTest and pytest and closes with one plain line.

Reads the XML files of one folder: ctest.xml and fuzz.xml (ctest), unit.<name>.xml (GoogleTest, in
place of the ctest entry of that name) and pytest*.xml. A skipped test is named with its reason.
With --strict (CI) a skip counts as a failure unless its reason names one of ALLOWED_SKIPS.
"""

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# What a machine need not have: tests that want one of these may be skipped anywhere.
ALLOWED_SKIPS = ("HOLDFAST_TEST_QDRANT", "HOLDFAST_TEST_MYSQL_URL")


class Tally:
    """What ran and how it ended."""

    def __init__(self):
        self.passed, self.failed, self.skipped = [], [], []

    def add(self, name, case):
        """Counts one <testcase>, told apart by what it contains."""
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            self.failed.append(name)
        elif skipped is not None or case.get("status") in ("notrun", "disabled"):
            self.skipped.append((name, skip_reason(case, skipped)))
        else:
            self.passed.append(name)


def skip_reason(case, skipped):
    """Why a test was skipped: in its report, or the last line it printed."""
    message = (skipped.get("message") or skipped.text or "") if skipped is not None else ""
    output = case.findtext("system-out") or ""
    if message in ("", "SKIP_RETURN_CODE=77"):
        message = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    # GoogleTest puts file:line first, the words of the test after it.
    if len(lines) > 1 and lines[0].rpartition(":")[2].isdigit():
        lines = lines[1:]
    return " ".join(lines) or "no reason given"


def read(path):
    """The root element of a report, or None if the program died while it wrote it."""
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None


def add_ctest(tally, path):
    root = read(path)
    if root is None:
        tally.failed.append(f"{path.stem} (no report was written)")
        return
    for case in root.iter("testcase"):
        name = case.get("name")
        inner = read(path.parent / f"{name}.xml") if name.startswith("unit.") else None
        if inner is None:
            tally.add(name, case)
            continue
        failed_before = len(tally.failed)
        for test in inner.iter("testcase"):
            if test.get("status") == "run":
                tally.add(f"{name}:{test.get('classname')}.{test.get('name')}", test)
        # All tests passed and yet the program failed: a sanitizer, or a crash on the way out.
        if case.find("failure") is not None and len(tally.failed) == failed_before:
            tally.failed.append(f"{name} (the program itself failed)")


def add_pytest(tally, path):
    root = read(path)
    if root is None:
        tally.failed.append(f"{path.stem} (no report was written)")
        return
    for case in root.iter("testcase"):
        tally.add(f"{case.get('classname')}.{case.get('name')}", case)


def summarize(folder, strict, broken):
    tally = Tally()
    for name in ("ctest", "fuzz"):
        if (folder / f"{name}.xml").exists():
            add_ctest(tally, folder / f"{name}.xml")
    for path in sorted(folder.glob("pytest*.xml")):
        add_pytest(tally, path)
    # Parts that failed without a failing test to show for it (the build, a runner that died).
    if broken and not tally.failed:
        tally.failed += broken

    refused = 0
    for name, reason in tally.skipped:
        allowed = not strict or any(word in reason for word in ALLOWED_SKIPS)
        refused += not allowed
        print(f"skipped: {name}: {reason}" + ("" if allowed else "  [must not be skipped here]"))
    for name in tally.failed:
        print(f"FAILED: {name}")
    ran = tally.passed or tally.failed or tally.skipped
    if not ran:
        print("No test ran.")
    failed = len(tally.failed) + refused
    print(f"{len(tally.passed)} passed, {failed} failed, {len(tally.skipped) - refused} skipped")
    return 0 if ran and not failed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--broken", action="append", default=[])
    options = parser.parse_args()
    sys.exit(summarize(options.folder, options.strict, options.broken))


if __name__ == "__main__":
    main()
