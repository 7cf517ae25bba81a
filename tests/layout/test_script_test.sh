#!/usr/bin/env bash
# The closing summary of scripts/test: what CI and people go by.
set -uo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# shellcheck source=/dev/null
. scripts/test
logs=$work

# expect STATUS LAST-LINE
expect() {
  local said status
  said=$(summarize)
  status=$?
  [[ $status == "$1" && ${said##*$'\n'} == "$2" ]] || fail "status $status and: $said"
}

echo '100% tests passed, 0 tests failed out of 30' >"$work/unit.log"
echo '100% tests passed, 0 tests failed out of 12' >"$work/release.log"
ran=(unit release) failed=() left_out=()
expect 0 '100% tests passed, 0 tests failed out of 42'

echo '83% tests passed, 2 tests failed out of 12' >"$work/release.log"
failed=(release)
expect 1 '95% tests passed, 2 tests failed out of 42'

# A build that broke is a failure although every test that ran has passed.
ran=(unit) failed=('release: build')
expect 1 '96% tests passed, 1 tests failed out of 31'

# So is a ctest that died before its closing line, and one that found no tests.
echo 'Start 1: something' >"$work/release.log"
ran=(unit release) failed=(release)
expect 1 '96% tests passed, 1 tests failed out of 31'

ran=() failed=()
expect 1 'No tests were found!!!'

# What does not fit is left out aloud.
within_minutes=60 SECONDS=3000 left_out=()
in_time 'the tests labelled full' 15 && fail '50 + 15 minutes do not fit into 60'
in_time 'something short' 10 || fail '50 + 10 minutes fit into 60'
[[ ${left_out[*]} == 'the tests labelled full, about 15 min: 50 of 60 min had passed' ]] ||
  fail "left out: ${left_out[*]}"
echo 'test: all as said'
