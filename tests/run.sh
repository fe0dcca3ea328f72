#!/usr/bin/env bash
# Sets up the machine, builds everything and runs all tests. The last line is "N passed, N failed", counting CTest tests.
#   ATHANOR_BUILD_DIR   build folder (build)
#   ATHANOR_UNITY       OFF: compile every source by itself, for work on a few of them (ON: several at once, in half the time)
#   JOBS                compile jobs, and half the tests at once, which mostly wait (all cores; an MPI test counts as two)
#   ATHANOR_TEST_ARGS   more arguments for ctest, e.g. "-R io_options"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${ATHANOR_BUILD_DIR:-build}
jobs=${JOBS:-$(nproc)}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

jobs/setup.sh
cmake -S . -B "$build" -G Ninja -DCMAKE_UNITY_BUILD="${ATHANOR_UNITY:-ON}" -DATHANOR_TESTS=ON -DATHANOR_CUDA="${ATHANOR_CUDA:-auto}" > /dev/null
cmake --build "$build" -j "$jobs"

results=$(mktemp)
trap 'rm -f "$results"' EXIT
status=0
# shellcheck disable=SC2086
ctest --test-dir "$build" -j "$((2 * jobs))" --output-on-failure --no-tests=error --output-junit "$results" \
  ${ATHANOR_TEST_ARGS:-} < /dev/null || status=$?
count() { grep -c "<testcase .*status=\"$1\"" "$results" || true; }
passed=$(count run) failed=$(count fail) skipped=$(($(count notrun) + $(count disabled)))
# A test program that is missing or that ctest could not start is "notrun" as well, and is no skip.
not_found=$(grep -c '<skipped message="Unable to find' "$results" || true)
skipped=$((skipped - not_found)) failed=$((failed + not_found))
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
[ "$failed" -gt 0 ] || [ "$status" -eq 0 ] || failed=1 # ctest itself failed
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
