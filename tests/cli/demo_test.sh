#!/usr/bin/env bash
# scripts/demo on a built tree: quick, no network, the golden's text last, and nothing left running. What --keep
# tells a person to type next works, with answers worth reading.
set -uo pipefail

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

said=$(mktemp)
kept_pid=''
trap '[[ -n $kept_pid ]] && kill "$kept_pid"; rm -f "$said"' EXIT

# A proxy that nobody serves: whoever asks the network gets an error.
export http_proxy=http://127.0.0.1:1 https_proxy=http://127.0.0.1:1
scripts/demo >"$said" 2>&1 || fail "exit $?: $(cat "$said")"
cat "$said"
took=$SECONDS
((took <= 15)) || fail "a second run takes 15 s, not $took"

expected=$(/usr/bin/python3 -c '
import json
print(json.load(open("models/demo/golden.json"))["cases"][0]["beams"][0]["summary"])')
[[ $(tail -n 1 "$said") == "$expected" ]] || fail "the last line is not: $expected"

port=$(sed -n 's/^grpc=//p' build/demo/ports)
[[ -n $port ]] || fail 'no port in build/demo/ports'
(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && fail 'the server still listens'

# The commands are the indented lines. Git may not be a package here, and curl may be missing.
scripts/demo --keep >"$said" 2>&1 || fail "--keep: exit $?: $(cat "$said")"
cat "$said"
kept_pid=$(sed -n 's/^  kill \([0-9]*\)$/\1/p' "$said")
[[ -n $kept_pid ]] || fail 'it does not say how to end the server'
commands=$(sed -n 's/^  //p' "$said" | grep -v -e '^dpkg-query ' -e '^curl ' -e '^kill ')
answers=$(bash -c "$commands" 2>&1) || fail "$commands: $answers"
[[ $(head -n 1 <<<"$answers") == 'tool to convert spreadsheets to plain text tables' ]] ||
  fail "the first answer is: $answers"
grep -q "\"text\":\"$expected\"" <<<"$answers" || fail "no JSON of the sample in: $answers"
kill "$kept_pid" || fail 'the server that --keep left was not there'
kept_pid=''
echo 'demo: all as said'
