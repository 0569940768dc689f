# Sourced by ./dev: runs the tests and adds up what they say.

run_tests() {
  cmd_build
  local results="$BUILD/test-results"
  rm -rf "$results"
  mkdir -p "$results"
  ctest --test-dir "$BUILD" -j "$JOBS" --output-on-failure
}
