# shellcheck shell=bash
# Sourced by ./dev: chooses, builds and runs tests, and adds up what they say.
# Each part leaves its report in build/<preset>/test-results; tools/test_summary.py closes the run.

RESULTS="$BUILD/test-results"
FUZZ_BUILD="$ROOT/build/fuzz"
PYTHON_SUITES=(tests)

# What C++ and Python tests may rely on. HOLDFAST_* that the caller set stays as it is.
test_environment() {
  export HOLDFAST_SOURCE_DIR="$ROOT"
  export HOLDFAST_BIN="${HOLDFAST_BIN:-$BUILD/bin/holdfast}"
  export HOLDFAST_PYTHON="${HOLDFAST_PYTHON:-$CACHE/venv/bin/python}"
  export HOLDFAST_VERSITYGW="${HOLDFAST_VERSITYGW:-$CACHE/bin/versitygw}"
  export PYTHONDONTWRITEBYTECODE=1
  export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1}"
  export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
  export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}"
}

note_broken() { BROKEN+=(--broken "$1"); }

# Entries of this build, with globs looked at again: a new test file is found without a full build.
refresh_build() {
  configure
  quiet_ninja build.ninja
}

has_target() { ninja -C "$BUILD" -t query "$1" >/dev/null 2>&1; }

# --- the parts ---------------------------------------------------------------------------------

run_ctest() { # REGEX
  ctest --test-dir "$BUILD" -j "$JOBS" --output-on-failure --no-tests=ignore --no-label-summary -R "$1" \
    --output-junit "$RESULTS/ctest.xml" 2>&1 | grep -v -E '^Internal ctest|^Test project' ||
    note_broken ctest
}

run_pytest() { # PATH...
  local status=0
  if [[ ! -x "$HOLDFAST_PYTHON" ]]; then
    say "The Python environment is missing; run ./dev setup python" >&2
    note_broken "the Python tests (no environment)"
    return
  fi
  (cd "$ROOT" && "$HOLDFAST_PYTHON" -m pytest -q -p no:cacheprovider --rootdir "$ROOT" \
    --import-mode=importlib --timeout=600 --junitxml "$RESULTS/pytest.xml" "$@") || status=$?
  # 5: there are no tests below these paths.
  [[ $status -eq 0 || $status -eq 5 ]] || note_broken "pytest (status $status)"
}

# Builds the fuzz targets with clang and runs each on its seeds and for a bounded number of inputs.
run_fuzz() { # REGEX
  [[ -n "$(find "$ROOT/tests/fuzz" -name '*_fuzz.cc' -print -quit 2>/dev/null)" ]] || return 0
  if ! command -v clang++-19 >/dev/null; then
    say "fuzz: clang++-19 is missing; ./dev setup lint installs it" >&2
    [[ "${CI:-}" == true ]] && note_broken "the fuzz targets (no clang++-19)"
    return 0
  fi
  (PRESET=fuzz BUILD="$FUZZ_BUILD" cmd_build fuzzers) || {
    note_broken "the build of the fuzz targets"
    return 0
  }
  ctest --test-dir "$FUZZ_BUILD" -j "$JOBS" --output-on-failure --no-tests=ignore --no-label-summary \
    -L fuzz -R "$1" --output-junit "$RESULTS/fuzz.xml" 2>&1 | grep -v -E '^Internal ctest|^Test project' ||
    note_broken fuzz
}

# --- choosing ----------------------------------------------------------------------------------

# Sorts the names of the command line into TARGETS, REGEXES, PYTESTS and FUZZ.
choose() {
  local name target
  for name in "$@"; do
    case "$name" in
      unit | link) REGEXES+=("^$name\\.") ALL_TARGETS=1 ;;
      lint | lint.*) REGEXES+=("^$name") ;;
      fuzz | fuzz.*) FUZZ="^$name" ;;
      python | tests/*)
        if [[ "$name" == python ]]; then PYTESTS+=("${PYTHON_SUITES[@]}"); else PYTESTS+=("$name"); fi
        if has_target holdfast; then TARGETS+=(holdfast); fi
        ;;
      unit.* | link.*)
        target="${name#*.}_test"
        [[ "$name" == link.* ]] && target="${name#*.}_linktest"
        has_target "$target" || die "there is no $name; see ./dev help"
        TARGETS+=("$target") REGEXES+=("^$name\$")
        ;;
      *)
        has_target "${name}_test" || has_target "${name}_linktest" ||
          die "no module, group, ctest entry or tests/ path is called $name; see ./dev help"
        for target in "${name}_test" "${name}_linktest"; do
          if has_target "$target"; then TARGETS+=("$target"); fi
        done
        REGEXES+=("^(unit|link)\\.$name\$")
        ;;
    esac
  done
}

run_tests() {
  local started=$SECONDS strict=() regex
  TARGETS=() REGEXES=() PYTESTS=() BROKEN=() FUZZ='' ALL_TARGETS=0
  [[ "${CI:-}" == true ]] && strict=(--strict)
  test_environment
  if [[ $# -eq 0 ]]; then
    # A machine may lack what a part needs; that part then says so.
    cmd_setup || true
    with_lock build refresh_build || note_broken "the configuration"
    REGEXES=('.') PYTESTS=("${PYTHON_SUITES[@]}") FUZZ='.' ALL_TARGETS=1
  else
    with_lock build refresh_build
    choose "$@"
  fi
  rm -rf "$RESULTS"
  mkdir -p "$RESULTS"

  [[ $ALL_TARGETS -eq 1 ]] && TARGETS=()
  if [[ $ALL_TARGETS -eq 1 || ${#TARGETS[@]} -gt 0 ]] && ! cmd_build "${TARGETS[@]}"; then
    note_broken "the build"
    run_ctest '^lint\.'
  else
    regex="$(IFS='|' && printf '%s' "${REGEXES[*]}")"
    if [[ -n "$regex" ]]; then run_ctest "$regex"; fi
    if [[ -n "$FUZZ" ]]; then run_fuzz "$FUZZ"; fi
    if [[ ${#PYTESTS[@]} -gt 0 ]]; then run_pytest "${PYTESTS[@]}"; fi
  fi
  say "test: $((SECONDS - started)) s"
  python3 "$ROOT/tools/test_summary.py" "$RESULTS" "${strict[@]}" "${BROKEN[@]}"
}
