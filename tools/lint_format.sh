#!/usr/bin/env bash
# Checks the C++ files that git tracks against .clang-format and the Python files against ruff.toml.
# Mend with ./dev fmt [PATH...].
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
ruff="${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast}/venv/bin/ruff"
for tool in clang-format-19 "$ruff"; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is missing; ./dev setup lint python installs it"
    exit 77
  fi
done

# Tracked files that are there, one a line.
tracked() {
  git ls-files -- "$@" | while read -r file; do
    if [[ -f "$file" ]]; then printf '%s\n' "$file"; fi
  done
}

mapfile -t cpp < <(tracked '*.cc' '*.h')
mapfile -t python < <(tracked '*.py')
# (Each tool says by its status what its output says, too.)
set +o pipefail
bad="$(
  clang-format-19 --dry-run -Werror "${cpp[@]}" 2>&1 |
    sed -n 's/^\([^: ]*\):[0-9]*:[0-9]*: error:.*/\1/p' | sort -u
  "$ruff" format --no-cache --check "${python[@]}" 2>&1 |
    sed -n -e 's/^Would reformat: //p' -e '/^error/p'
)"
if [[ -n "$bad" ]]; then
  sed 's/.*/&: not formatted; run .\/dev fmt &/' <<<"$bad"
  exit 1
fi
