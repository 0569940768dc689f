"""What the lints share: which files there are, text without comments, and how findings are told."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".pytest_cache"}


class Findings:
    """Collects what a lint has to say; every entry names a place and what to do instead."""

    def __init__(self):
        self.entries = []

    def add(self, path, line, text):
        self.entries.append(f"{path}:{line}: {text}" if line else f"{path}: {text}")

    def close(self, name, count):
        """Prints everything and returns the exit status."""
        for entry in self.entries:
            print(entry)
        state = f"FAILED with {len(self.entries)} findings" if self.entries else "ok"
        print(f"{name}: {state} ({count} files)")
        return 1 if self.entries else 0


def project_files(root):
    """Paths below root, relative: what git tracks, or every file where there is no repository."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True
        ).stdout.decode()
        paths = [Path(name) for name in listed.split("\0") if name]
    else:
        paths = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    return sorted(
        path for path in paths if not SKIPPED_FOLDERS & set(path.parts) and (root / path).is_file()
    )


_CODE_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'""",
    re.DOTALL,
)


def strip_cpp(text):
    """C++ text with comments and literals blanked out; line numbers stay as they are."""

    def blank(match):
        token = match.group(0)
        kept = re.sub(r"[^\n]", " ", token)
        return kept if token.startswith("/") else '"' + kept[1:-1] + '"'

    return _CODE_TOKEN.sub(blank, text)


def lint_main(name, check):
    """Runs check(root, findings) -> number of files looked at, as a program."""
    parser = argparse.ArgumentParser(description=check.__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root.resolve()
    findings = Findings()
    count = check(root, findings)
    sys.exit(findings.close(name, count))
