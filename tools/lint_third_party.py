#!/usr/bin/env python3
"""Compares THIRD_PARTY.md with what the tree really depends on."""

import re

from lint_common import lint_main

TABLE_ROW = re.compile(r"^\| *`([^`]+)` *\|(.*)\|\s*$")
PIP_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)")


def read_table(text):
    """{name: (line, cells)} of every table row that starts with a `name`."""
    rows = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = TABLE_ROW.match(line)
        if match:
            rows[match.group(1)] = (number, [cell.strip() for cell in match.group(2).split("|")])
    return rows


def debian_packages(root):
    """Names in tools/packages.txt."""
    lines = (root / "tools/packages.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def python_pins(root):
    """{name: version} of every pinned Python package."""
    pins = {}
    for path in sorted((root / "tools").glob("requirements*.txt")):
        for line in path.read_text().splitlines():
            match = PIP_PIN.match(line)
            if match:
                pins[match.group(1)] = match.group(2)
    return pins


def go_tools(root):
    """{module: version} of the tools in tools/*/go.mod."""
    tools = {}
    for path in sorted((root / "tools").glob("*/go.mod")):
        text = path.read_text()
        packages = re.findall(r"^tool\s+(\S+)", text, re.MULTILINE)
        for module, version in re.findall(r"^\s*(?:require\s+)?(\S+)\s+(v\S+)", text, re.MULTILINE):
            if any(tool == module or tool.startswith(module + "/") for tool in packages):
                tools[module] = version
    return tools


def check(root, findings):
    """Compares THIRD_PARTY.md with the pinned packages."""
    name = "THIRD_PARTY.md"
    rows = read_table((root / name).read_text())
    versions = {**dict.fromkeys(debian_packages(root)), **python_pins(root), **go_tools(root)}
    for package, version in versions.items():
        if package not in rows:
            findings.add(name, 0, f"no row for {package}: name its licence and its use")
            continue
        line, cells = rows[package]
        if version is not None:
            if cells[0] != version:
                findings.add(name, line, f"{package}: says {cells[0]}, pinned is {version}")
            cells = cells[1:]
        if len(cells) < 2 or not all(cells[:2]):
            findings.add(name, line, f"{package}: licence and use must both be there")
    for package, (line, _) in rows.items():
        if package not in versions:
            findings.add(name, line, f"{package} is no dependency any more: delete its row")
    return len(versions)


if __name__ == "__main__":
    lint_main("lint_third_party", check)
