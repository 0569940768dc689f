#!/usr/bin/env python3
"""Checks on the built archives that a module needs names of its declared dependencies only.

The link tests prove that the dependencies are enough; they cannot see a module that reaches past
its row into the dependency of a dependency. Here every undefined name of libholdfast_<m>.a that
one of our archives defines must be defined by a module in DEPS of <m>.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from lint_common import Findings
from lint_layers import read_rows

UNDEFINED, WEAK_UNDEFINED = "U", "wv"


def symbols(archive):
    """(defined, undefined) names of one archive."""
    listing = subprocess.run(
        ["nm", "--format=posix", "--extern-only", str(archive)],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    defined, undefined = set(), set()
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) < 2 or len(fields[1]) != 1:
            continue
        if fields[1] == UNDEFINED:
            undefined.add(fields[0])
        elif fields[1] not in WEAK_UNDEFINED:
            defined.add(fields[0])
    return defined, undefined - defined


def undeclared(modules, tables):
    """(module, name, definers) of every name taken from a module that is not declared."""
    definers = {}
    for module, (defined, _) in tables.items():
        for name in defined:
            definers.setdefault(name, set()).add(module)
    for module, (_, undefined) in tables.items():
        for name in sorted(undefined):
            owners = definers.get(name, set())
            if owners and not owners & set(modules[module].deps):
                yield module, name, owners


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--archives", type=Path, required=True)
    options = parser.parse_args()
    modules, _ = read_rows(options.root)
    tables, findings = {}, Findings()
    for module in modules:
        archive = options.archives / f"libholdfast_{module}.a"
        if archive.exists():
            tables[module] = symbols(archive)
    for module, name, owners in undeclared(modules, tables):
        findings.add(
            f"libholdfast_{module}.a",
            0,
            f"uses {name} of {'/'.join(sorted(owners))}, not among its DEPS",
        )
    sys.exit(findings.close("lint_symbols", len(tables)))


if __name__ == "__main__":
    main()
