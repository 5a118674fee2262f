#!/bin/sh
# Run in the Debian that system.sh makes: leaves in /build a memcached of arm64 from
# Debian's package, and one that is built with USDT probes: of an older release, whose probes
# show more (incr and decr).
set -eu
cd /build
rm -rf package source

# Of the package with <sys/sdt.h> only one architecture's can be installed.
apt-get -q download memcached:arm64 systemtap-sdt-dev:arm64
for package in *_arm64.deb; do dpkg-deb -x "$package" package; done
aarch64-linux-gnu-strip -o memcached-debian package/usr/bin/memcached

apt-get -q -o APT::Sandbox::User=root source --download-only memcached/bookworm
dpkg-source --no-check -x memcached_*.dsc source
cd source
# dtrace compiles too, and looks at these.
export CC=aarch64-linux-gnu-gcc C_INCLUDE_PATH=/build/package/usr/include/aarch64-linux-gnu
./configure --host=aarch64-linux-gnu --enable-dtrace
# Everything includes this header, and the Makefile does not say so.
make memcached_dtrace.h
make -j"$(nproc)" memcached
aarch64-linux-gnu-strip -o ../memcached-probes memcached
