#!/usr/bin/env bash
# scripts/setup with stand-ins for dpkg-query, apt-get, sudo and id, first in PATH.
set -uo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
PATH=$work/bin:$PATH

stand_in() {
  printf '#!/bin/bash\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# shellcheck source=/dev/null
. scripts/setup

# One package is removed with its configuration left, one unknown, all others installed.
stand_in dpkg-query 'case "${@: -1}" in
  cmake) echo -n config-files ;;
  g++) exit 1 ;;
  *) echo -n installed ;;
esac'
stand_in apt-get "echo \"\$*\" >>$work/apt.log; [[ \$1 == -o && \$DEBIAN_FRONTEND == noninteractive ]]"

[[ $(missing_packages ninja-build cmake g++ | tr '\n' ' ') == 'cmake g++ ' ]] ||
  fail 'missing_packages names what is not installed, and nothing else'

printf 'ID=debian\nVERSION_ID="12"\n' >"$work/bookworm"
printf 'ID=debian\nVERSION_ID="13"\n' >"$work/trixie"
printf 'ID=ubuntu\nVERSION_ID="12"\n' >"$work/ubuntu"
is_debian_12 "$work/bookworm" || fail 'Debian 12 is Debian 12'
is_debian_12 "$work/trixie" && fail 'Debian 13 is not'
is_debian_12 "$work/ubuntu" && fail 'another ID is not'
is_debian_12 "$work/absent" && fail 'no os-release is not'
print_container_route 2>&1 | grep -q 'docker build' || fail 'the container route is a command'

# As root: the lists first, then what is missing and nothing else.
stand_in id 'echo 0'
install_packages cmake g++ >/dev/null || fail 'root installs'
diff - "$work/apt.log" <<'TEXT' || fail 'what apt-get was asked'
-o DPkg::Lock::Timeout=600 update -q
-o DPkg::Lock::Timeout=600 install -q -y --no-install-recommends cmake g++
TEXT

# Neither root nor a sudo that works: the exact line, exit 2, and nothing was run.
stand_in id 'echo 1000'
stand_in sudo 'exit 1'
: >"$work/apt.log"
said=$(install_packages cmake g++ 2>&1 </dev/null)
status=$?
((status == 2)) || fail "without root the status is 2, not $status"
grep -qF 'apt-get install -y --no-install-recommends cmake g++' <<<"$said" || fail "no line in: $said"
[[ -s $work/apt.log ]] && fail 'apt-get ran without root'

# A sudo that asks nothing is used.
stand_in sudo '[[ $1 == -n ]] && exit 0; exec "$@"'
install_packages cmake >/dev/null </dev/null || fail 'sudo -n installs'
grep -q 'install .* cmake$' "$work/apt.log" || fail 'sudo ran apt-get'

# Nothing missing: neither sudo nor apt-get is touched (and so no network).
stand_in dpkg-query 'echo -n installed'
stand_in apt-get "echo touched >>$work/touched"
stand_in sudo "echo touched >>$work/touched"
if is_debian_12 /etc/os-release; then
  setup_main build >/dev/null || fail 'nothing missing is success'
  [[ -e $work/touched ]] && fail 'nothing missing, and yet something ran'
fi
setup_main nonsense 2>/dev/null
(($? == 2)) || fail 'an unknown set is a usage error'
said=$(setup_main --with=nonsense 2>&1)
grep -q 'no tests/nonsense/requirements.txt' <<<"$said" ||
  fail 'an unknown --with is named'
setup_main 2>/dev/null
(($? == 2)) || fail 'nothing asked is a usage error'
echo 'setup: all as said'
