#!/usr/bin/env python3
"""Checks every #include of the tree against the module rows in cmake/Modules.cmake."""

import re
from pathlib import Path

from lint_common import lint_main, project_files

# Which header belongs to which library name of cmake/SystemLibraries.cmake.
SYSTEM_HEADERS = [
    (r"fmt/", "fmt"),
    (r"spdlog/", "spdlog"),
    (r"nlohmann/", "nlohmann_json"),
    (r"sqlite3\.h$", "sqlite3"),
    (r"(mysql|mariadb)/|mysql\.h$|errmsg\.h$|mysqld_error\.h$", "libmariadb"),
    (r"openssl/", "openssl"),
    (r"zstd(_errors)?\.h$", "zstd"),
    (r"sodium(/|\.h$)", "libsodium"),
    (r"curl/", "libcurl"),
    (r"pugi", "pugixml"),
    (r"toml\+\+/", "tomlplusplus"),
    (r"CLI/", "cli11"),
    (r"g(test|mock)/", "gtest"),
    (r"rapidcheck", "rapidcheck"),
    (r"archive(_entry)?\.h$", "libarchive"),
]
# The C library and the kernel: no third party, allowed everywhere.
POSIX_HEADERS = re.compile(
    r"(sys|arpa|net|netinet|linux|bits)/|"
    r"(aio|assert|ctype|dirent|dlfcn|errno|fcntl|glob|grp|ifaddrs|limits|locale|mntent|netdb|poll|"
    r"pthread|pwd|sched|semaphore|signal|spawn|stddef|stdint|stdio|stdlib|string|strings|syslog|"
    r"termios|time|unistd|xmmintrin|emmintrin|immintrin|cpuid)\.h$"
)
TEST_LIBRARIES = {"gtest", "rapidcheck"}
# A header that says so in its opening comment may include third-party headers, and may in turn be
# included by .cc files and by other such headers only.
INNER_MARK = re.compile(r"For \.cc files only\.")
# Light headers made for being included by headers.
HEADERS_ALLOWED_IN_HEADERS = {"nlohmann/json_fwd.hpp"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
ROW = re.compile(r"^holdfast_(module|app)\(([^)]*)\)", re.MULTILINE)
CPP = {".h", ".cc", ".def", ".inc"}


class Row:
    """One declaration: what this module or program may use."""

    def __init__(self, kind, words):
        self.kind, self.name = kind, words[0]
        self.lists = {"DEPS": [], "SYSTEM": [], "TEST_SYSTEM": []}
        current = None
        for word in words[1:]:
            if word in self.lists:
                current = word
            else:
                self.lists[current].append(word)
        self.deps, self.system = self.lists["DEPS"], set(self.lists["SYSTEM"])
        self.test_system = set(self.lists["TEST_SYSTEM"])


def read_rows(root):
    """The rows of cmake/Modules.cmake, modules and programs apart."""
    text = (root / "cmake/Modules.cmake").read_text()
    text = re.sub(r"#[^\n]*", "", text)
    rows = [Row(kind, words.split()) for kind, words in ROW.findall(text)]
    modules = {row.name: row for row in rows if row.kind == "module"}
    apps = {row.name: row for row in rows if row.kind == "app"}
    return modules, apps


def common_system(root):
    """The libraries that every .cc file may include."""
    text = (root / "cmake/SystemLibraries.cmake").read_text()
    match = re.search(r"set\(HOLDFAST_COMMON_SYSTEM([^)]*)\)", text)
    return set(match.group(1).split()) if match else set()


def library_of(header):
    """The library a <header> belongs to: "" for the language and the system, None if unknown."""
    for pattern, name in SYSTEM_HEADERS:
        if re.match(pattern, header):
            return name
    is_standard = re.fullmatch(r"[a-z_0-9]+", header)
    return "" if is_standard or POSIX_HEADERS.match(header) else None


def includes(root, path):
    """(line, is_angle, header) of every #include in one file."""
    text = (root / path).read_text(errors="replace")
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield line, match.group(1) == "<", match.group(2)


class Layers:
    """The rules of one tree."""

    def __init__(self, root, findings):
        self.root, self.findings = root, findings
        self.modules, self.apps = read_rows(root)
        self.common = common_system(root)
        self.testing_uses = {}

    def reach(self, name):
        """The module and all that it rests on."""
        seen, todo = set(), [name]
        while todo:
            current = todo.pop()
            if current not in seen and current in self.modules:
                seen.add(current)
                todo += self.modules[current].deps
        return seen

    def check_rows(self):
        known = set()
        for row in [*self.modules.values(), *self.apps.values()]:
            for dep in row.deps:
                if dep not in known:
                    self.findings.add(
                        "cmake/Modules.cmake",
                        0,
                        f"{row.name} depends on {dep}, which is not declared above it",
                    )
            if row.kind == "module":
                known.add(row.name)

    def modules_used_by_testing(self, path, trail=()):
        """The modules that a file below testing/ pulls in, through other testing headers too."""
        if path in self.testing_uses:
            return self.testing_uses[path]
        used = set()
        if path not in trail and (self.root / path).is_file():
            for _, angle, header in includes(self.root, path):
                first = header.split("/")[0]
                if not angle and first == "testing":
                    used |= self.modules_used_by_testing(Path(header), (*trail, path))
                elif not angle and first in self.modules:
                    used.add(first)
        self.testing_uses[path] = used
        return used

    def is_inner(self, path):
        """Whether the file is a .cc or a header that only .cc files may see."""
        if path.suffix == ".cc":
            return True
        full = self.root / path
        opening = full.read_text(errors="replace")[:600] if full.is_file() else ""
        return INNER_MARK.search(re.sub(r"\s*\n//\s*", " ", opening)) is not None

    def owner(self, path):
        """(row or None, is_test) of a file; None for testing/ files that belong to no module."""
        is_test = (
            path.name.endswith("_test.cc") or re.fullmatch(r"test_.*\.h", path.name) is not None
        )
        top, second = path.parts[0], path.parts[1]
        if top == "src":
            return self.modules.get(second), is_test
        if top == "apps":
            return self.apps.get(second), is_test
        for name, row in self.modules.items():
            if second == name or second.startswith(f"{name}_"):
                return row, True
        return None, True

    def check_file(self, path):
        row, is_test = self.owner(path)
        if row is None and path.parts[0] != "testing":
            self.findings.add(path, 0, f"{path.parts[1]} is not declared in cmake/Modules.cmake")
            return
        for line, angle, header in includes(self.root, path):
            if angle:
                self.check_system(path, line, header, row, is_test)
            else:
                self.check_ours(path, line, header, row, is_test)

    def check_ours(self, path, line, header, row, is_test):
        first = header.split("/")[0]
        ours = Path("src") / header
        if path.suffix == ".h" and not self.is_inner(path):
            if (self.root / ours).is_file() and self.is_inner(ours):
                self.findings.add(path, line, f'"{header}" is for .cc files only')
        if header.startswith(".") or "/" not in header:
            self.findings.add(
                path, line, f'"{header}": name the path from src/, e.g. "base/result.h"'
            )
        elif first in ("src", "tests"):
            self.findings.add(path, line, f'"{header}": {first}/ is no include root')
        elif first == "apps":
            if path.parts[:2] != tuple(header.split("/")[:2]):
                self.findings.add(path, line, f'"{header}": a program is used by nobody else')
        elif first == "testing":
            self.check_testing_use(path, line, header, row, is_test)
        elif first not in self.modules:
            self.findings.add(
                path, line, f'"{header}": {first} is no module of cmake/Modules.cmake'
            )
        elif row is not None and first != row.name and first not in row.deps:
            allowed = " ".join(row.deps) or "nothing"
            self.findings.add(
                path, line, f'"{header}": {row.name} may use {allowed}, but not {first}'
            )

    def check_testing_use(self, path, line, header, row, is_test):
        if not is_test:
            self.findings.add(path, line, f'"{header}": testing/ is for tests only')
        elif row is not None and row.kind == "module":
            too_high = self.modules_used_by_testing(Path(header)) - self.reach(row.name)
            if too_high:
                self.findings.add(
                    path,
                    line,
                    f'"{header}" brings in {" ".join(sorted(too_high))}, '
                    f"which {row.name} does not rest on",
                )

    def check_system(self, path, line, header, row, is_test):
        library = library_of(header)
        if library == "":
            return
        if library is None:
            self.findings.add(
                path,
                line,
                f"<{header}>: unknown header; if the library is wanted, add it to "
                "cmake/SystemLibraries.cmake, SYSTEM_HEADERS in tools/lint_layers.py, "
                "tools/packages.txt and THIRD_PARTY.md; our own headers take quotes",
            )
            return
        if library in TEST_LIBRARIES:
            if not is_test:
                self.findings.add(path, line, f"<{header}>: {library} is for tests only")
            return
        if header not in HEADERS_ALLOWED_IN_HEADERS and not self.is_inner(path):
            self.findings.add(
                path,
                line,
                f"<{header}>: third-party headers belong into .cc files; "
                "forward-declare, hide the type behind a pointer, or open the header with "
                "'For .cc files only.'",
            )
        allowed = self.common | (row.system if row else {"nlohmann_json"})
        if is_test and row:
            allowed = allowed | row.test_system | {"nlohmann_json"}
        if library not in allowed:
            who = row.name if row else "testing"
            self.findings.add(path, line, f"<{header}>: {who} does not declare SYSTEM {library}")


def check(root, findings):
    """Checks every #include of the tree against cmake/Modules.cmake."""
    layers = Layers(root, findings)
    layers.check_rows()
    files = [
        path
        for path in project_files(root)
        if path.parts[0] in ("src", "apps", "testing")
        and path.suffix in CPP
        and len(path.parts) > 1
    ]
    for path in files:
        if path.parts[0] == "testing" or len(path.parts) > 2:
            layers.check_file(path)
        else:
            findings.add(path, 0, "files belong into the folder of a module")
    return len(files)


if __name__ == "__main__":
    lint_main("lint_layers", check)
