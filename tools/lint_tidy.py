#!/usr/bin/env python3
"""Checks house rules that compilers do not know: banned calls, file sizes, left-overs, white space.

A line that must break a rule says so: `// tidy: allow(<rule>) <reason>` at its end or on the line
before. A file that must be longer has a row in tools/size_exceptions.txt with its reason.
"""

import re

from lint_common import lint_main, project_files, strip_cpp

CPP_FOLDERS = ("src", "apps", "testing", "tests", "bench", "cmake")


class Rule:
    """A banned pattern of C++ code, what to use instead, and where it is at home."""

    def __init__(self, name, pattern, instead, home=(), tests=True):
        self.name, self.instead, self.home, self.tests = name, instead, home, tests
        self.pattern = re.compile(pattern)

    def applies(self, path):
        if not self.tests and is_test(path):
            return False
        return not any(str(path).startswith(prefix) for prefix in self.home)


RULES = [
    Rule(
        "clock",
        r"\b(system_clock|steady_clock|high_resolution_clock)::now\b|"
        r"\b(gettimeofday|clock_gettime)\s*\(|\btime\s*\(\s*(nullptr|NULL|0)\s*\)",
        "take a Clock (base/clock.h), so that tests run on their own time",
        home=("src/base/clock.cc",),
    ),
    Rule(
        "sleep",
        r"\bsleep_(for|until)\s*\(|\b(sleep|usleep|nanosleep)\s*\(",
        "wait through Clock (base/clock.h) with the stop token of the CallContext",
        home=("src/base/clock.cc",),
        tests=False,  # Those that run servers and threads poll for them; none asserts a time.
    ),
    Rule(
        "rand",
        r"\bs?rand\s*\(|\bdrand48\s*\(|\bmt19937",
        "take a Random (base/random.h); secrets and ids take SecureRandom",
        home=("src/base/random",),
        tests=False,
    ),
    Rule(
        "random-device",
        r"\brandom_device\b",
        "take SecureRandom (stream/crypto.h)",
        home=("src/stream/",),
        tests=False,
    ),
    Rule(
        "detach",
        r"\bdetach\s*\(\s*\)",
        "own the std::jthread, stop it in Stop() and join it in the destructor",
    ),
    Rule("thread", r"\bstd::thread\b(?!::)", "use std::jthread, which joins"),
    Rule(
        "async", r"\bstd::async\b", "use exec/cpu_pool.h or exec/thread_group.h, which are bounded"
    ),
    Rule(
        "using-namespace", r"\busing\s+namespace\s+std\s*;", "name what is used: using std::string"
    ),
    Rule(
        "assert", r"(?<![\w:])assert\s*\(", "use HF_ASSERT (base/assert.h), kept in release builds"
    ),
    Rule(
        "terminal",
        r"\bstd::(cout|cerr|clog)\b|(?<![\w])(std::)?f?printf\s*\(|\bputs\s*\(",
        "return it, or log it; only apps/ write to the terminal",
        home=("src/base/assert.cc", "apps/", "bench/"),
        tests=False,
    ),
    Rule(
        "getenv",
        r"\b(secure_)?getenv\s*\(",
        "take it as an option; service/ and apps/ read the environment",
        home=("src/service/", "apps/", "testing/"),
        tests=False,
    ),
    Rule(
        "unsafe",
        r"(?<![\w])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|mktemp|"
        r"tmpnam|alloca)\s*\(",
        "use the bounded or checked counterpart (std::from_chars, mkstemp)",
    ),
    Rule(
        "shell",
        r"(?<![\w.>:])(system|popen)\s*\(",
        "start programs by argument vector, never through a shell",
    ),
]

LEFT_OVERS = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")
LEFT_OVER = re.compile(rf"\b({'|'.join(LEFT_OVERS)})\b")
ALLOW = re.compile(r"tidy: allow\(([a-z-]+)\)\s+\S")

# Suffix -> most lines a file may have (style: an aim lies well below).
LIMITS = {
    "_test.cc": 1000,
    "contract.h": 1000,
    ".cc": 500,
    ".h": 250,
    "test.py": 1000,
    ".py": 500,
    ".sh": 400,
}
FOLDER_FILES_MAX = 40
COLUMNS = 100
TEXT_SUFFIXES = {".cc", ".h", ".def", ".inc", ".py", ".sh", ".cmake", ".txt", ".in"}


def is_test(path):
    return path.name.endswith("_test.cc") or path.parts[0] in ("testing", "tests")


def read_exceptions(root, findings):
    """{path: (lines, reason)} of tools/size_exceptions.txt."""
    table, result = root / "tools/size_exceptions.txt", {}
    if table.is_file():
        for number, line in enumerate(table.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = line.split(maxsplit=2)
            if len(parts) < 3 or not parts[1].isdigit():
                findings.add("tools/size_exceptions.txt", number, "want: path, lines, reason")
            else:
                result[parts[0]] = int(parts[1])
    return result


def size_limit(path):
    """The limit for one file, or None."""
    if path.suffix == ".py" and (path.parts[0] == "tests" or path.name.endswith("_test.py")):
        return LIMITS["test.py"]
    for suffix, limit in LIMITS.items():
        if path.name.endswith(suffix):
            return limit
    return None


def check_size(path, lines, exceptions, findings):
    limit = size_limit(path)
    if limit is None:
        return
    allowed = exceptions.pop(str(path), None)
    if allowed is not None and lines <= limit:
        findings.add("tools/size_exceptions.txt", 0, f"{path} needs no exception any more")
    elif lines > (allowed or limit):
        findings.add(
            path,
            0,
            f"{lines} lines, the limit is {allowed or limit}: split it by "
            "concept (or, with a reason, a row in tools/size_exceptions.txt)",
        )


def check_text(path, lines, findings):
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            findings.add(path, number, "tab: use spaces")
        if line != line.rstrip():
            findings.add(path, number, "white space at the end of the line")
        if path.suffix in (".cc", ".h", ".py") and len(line) > COLUMNS and "://" not in line:
            findings.add(path, number, f"{len(line)} columns, the limit is {COLUMNS}")
        left_over = LEFT_OVER.search(line)
        if left_over:
            findings.add(path, number, f"{left_over.group(1)}: do it, or file an issue")


def check_code(path, text, findings):
    raw, code = text.splitlines(), strip_cpp(text).splitlines()
    for number, line in enumerate(code, 1):
        for rule in RULES:
            match = rule.pattern.search(line)
            if not match or not rule.applies(path):
                continue
            around = raw[number - 1] + (raw[number - 2] if number > 1 else "")
            if rule.name not in ALLOW.findall(around):
                found = match.group(0).strip().rstrip("( ")
                findings.add(path, number, f"{found}: {rule.instead} [{rule.name}]")
    if path.suffix == ".h" and "#pragma once" not in text:
        findings.add(path, 0, "a header starts with #pragma once")


def check(root, findings):
    """Checks banned calls, file sizes, left-overs and white space."""
    exceptions, folders, count = read_exceptions(root, findings), {}, 0
    for path in project_files(root):
        if path.parts[:2] == ("tests", "data"):
            continue
        is_script = path.suffix == "" and path.name in ("dev", "run", "pin_requirements")
        if path.suffix not in TEXT_SUFFIXES and not is_script:
            continue
        if path.name.startswith("requirements") and path.suffix == ".txt":
            continue
        count += 1
        text = (root / path).read_text(errors="replace")
        check_text(path, text.splitlines(), findings)
        check_size(path, len(text.splitlines()), exceptions, findings)
        if path.suffix in (".cc", ".h") and path.parts[0] in CPP_FOLDERS:
            check_code(path, text, findings)
        if path.parts[0] == "src" and path.suffix in (".cc", ".h") and not is_test(path):
            folders.setdefault(path.parent, []).append(path)
    for folder, files in folders.items():
        if len(files) > FOLDER_FILES_MAX:
            findings.add(
                folder,
                0,
                f"{len(files)} files, the limit is "
                f"{FOLDER_FILES_MAX}: a concept or a driver wants its own folder",
            )
    for path in exceptions:
        findings.add("tools/size_exceptions.txt", 0, f"{path} does not exist")
    return count


if __name__ == "__main__":
    lint_main("lint_tidy", check)
