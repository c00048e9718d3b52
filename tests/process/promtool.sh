#!/bin/sh
# Unpacks promtool from Debian's prometheus package into the folder given, without installing it.
# Says why and exits 0 where that can't be done: the tests that need promtool decide what it means.
set -u
target=$1
mkdir -p "$target"
target=$(cd "$target" && pwd)
cd "$target" || exit 1

no_promtool() {
    echo "tools-promtool: $1; tests that need promtool will be skipped (in CI: fail)" >&2
    exit 0
}

command -v apt-get >/dev/null && command -v dpkg >/dev/null || no_promtool "no apt-get on this machine"
known() { apt-cache show prometheus >/dev/null 2>&1; }
if ! known && [ "$(id -u)" = 0 ]; then
    apt-get -q update >apt.log 2>&1
fi
known || no_promtool "apt knows no package prometheus (its lists may be empty: apt-get update)"
apt-get -q download prometheus >>apt.log 2>&1 || no_promtool "apt-get download failed, see $target/apt.log"
dpkg -x prometheus_*.deb . || no_promtool "the package could not be unpacked"
rm -f prometheus_*.deb
