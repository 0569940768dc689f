#!/usr/bin/env bash
# Runs shellcheck on every shell script that git tracks.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
if ! command -v shellcheck >/dev/null; then
  echo "shellcheck is missing; ./dev setup lint installs it"
  exit 77
fi
mapfile -t scripts < <(git ls-files | while read -r file; do
  [[ -f "$file" ]] || continue
  if [[ "$file" == *.sh ]] || head -n 1 "$file" 2>/dev/null | tr -d '\0' | grep -q '^#!.*sh$'; then
    printf '%s\n' "$file"
  fi
done)
shellcheck --shell=bash --external-sources --severity=style "${scripts[@]}"
