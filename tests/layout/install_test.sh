#!/usr/bin/env bash
# install_test.sh CMAKE BUILD_DIR VERSION: installs into an empty prefix and runs from there.
set -uo pipefail

prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$1" --install "$2" --prefix "$prefix" >"$prefix/install.log" || fail 'cmake --install'
for binary in precis precis-server; do
  said=$("$prefix/bin/$binary" --version) || fail "$binary --version: $said"
  [[ $said == *"$3"* ]] || fail "$binary --version says '$said', not $3"
done
for file in LICENSE README.md CHANGELOG.md docs/cli.md models/sample.txt; do
  [[ -s $prefix/share/doc/precis/$file ]] || fail "no $file"
done
"$prefix/bin/precis-server" --check --pool-bytes 64M \
  --model "$prefix/share/precis/models/demo" ||
  fail 'the installed model does not load'
"$prefix/bin/precis" inspect "$prefix/share/precis/models/demo" | grep -qi wgqa ||
  fail 'precis inspect of the installed model'
echo 'installed and ran'
