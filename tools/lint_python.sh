#!/usr/bin/env bash
# Runs the rules of ruff.toml on the Python files that git tracks.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
ruff="${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast}/venv/bin/ruff"
if [[ ! -x "$ruff" ]]; then
  echo "ruff is missing; ./dev setup python installs it"
  exit 77
fi
git ls-files -z -- '*.py' | while IFS= read -r -d '' file; do
  if [[ -f "$file" ]]; then printf '%s\0' "$file"; fi
done | xargs -0 "$ruff" check --no-cache --quiet
