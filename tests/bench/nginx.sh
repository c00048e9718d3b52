#!/bin/sh
# Unpacks nginx and wrk from Debian's packages into the folder given, without installing them: no
# daemon, no root. Says why and exits 1 where that can't be done.
set -u
target=$1
mkdir -p "$target"
cd "$target" || exit 1
target=$(pwd)

fail() {
    echo "tools-nginx: $1" >&2
    exit 1
}

command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "the bench needs apt-get, for nginx and wrk"
known() { apt-cache show wrk >/dev/null 2>&1; }
if ! known && [ "$(id -u)" = 0 ]; then
    apt-get -q update >apt.log 2>&1
fi
known || fail "apt knows no package wrk (its lists may be empty: apt-get update)"
apt-get -q download nginx wrk libluajit-5.1-2 >>apt.log 2>&1 || fail "apt-get download failed, see $target/apt.log"
for package in *.deb; do
    dpkg -x "$package" . || fail "$package could not be unpacked"
done
rm -f ./*.deb

# wrk's library is found here by whoever sets LD_LIBRARY_PATH; the rest is the machine's.
mkdir -p lib
for library in usr/lib/*/libluajit-5.1.so.2; do
    ln -sf "../$library" lib/
done
missing=$(LD_LIBRARY_PATH=lib ldd usr/sbin/nginx usr/bin/wrk | awk '/not found/ { print $1 }' | sort -u)
[ -z "$missing" ] || fail "nginx and wrk need libraries that this machine lacks: $missing"
touch unpacked
