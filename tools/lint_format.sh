#!/usr/bin/env bash
# Checks the C++ files that git tracks against .clang-format. Mend with ./dev fmt [PATH...].
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
if ! command -v clang-format-19 >/dev/null; then
  echo "clang-format-19 is missing; ./dev setup lint installs it"
  exit 77
fi
mapfile -t files < <(git ls-files -- '*.cc' '*.h' | while read -r file; do
  [[ -f "$file" ]] && printf '%s\n' "$file"
done)
[[ ${#files[@]} -eq 0 ]] && exit 0
if ! bad="$(clang-format-19 --dry-run -Werror "${files[@]}" 2>&1)"; then
  # One line a file; ./dev fmt shows the rest by mending it.
  sed -n 's/^\([^: ]*\):[0-9]*:[0-9]*: error:.*/\1/p' <<<"$bad" | sort -u |
    sed 's/.*/&: not formatted; run .\/dev fmt &/'
  exit 1
fi
