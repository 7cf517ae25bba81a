#!/usr/bin/env bash
# scripts/demo on a built tree: quick, no network, the golden's text last, and nothing left running.
set -uo pipefail

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

said=$(mktemp)
trap 'rm -f "$said"' EXIT

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
echo 'demo: all as said'
