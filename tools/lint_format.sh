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
bad=0
for file in "${files[@]}"; do
  if ! clang-format-19 "$file" | cmp -s - "$file"; then
    echo "$file: not formatted; run ./dev fmt $file"
    bad=1
  fi
done
exit "$bad"
