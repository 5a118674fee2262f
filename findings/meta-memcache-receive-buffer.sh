#!/bin/sh
# meta-memcache 4.3.0 with its default settings takes seconds to get a value of 100 kB over
# the loopback interface, and half a minute for 1 MB; a set of it takes milliseconds. It sets
# the socket's receive buffer (SO_RCVBUF) to the size of its own read buffer, 4096 bytes.
# That is less than a segment of loopback, 64 KiB, so the window closes and the server's
# kernel tries again only by its timer, every 200 ms. With read_buffer_size=65536 it takes a
# millisecond. Whoever tests a service on one machine finds a cache that is slower than what
# it caches; interfaces with segments of 1460 bytes were not tried.
# Seen with Python 3.11, meta-memcache-socket 0.3.1, Linux 6.18, memcached 1.6.18 and 1.6.45:
#   read_buffer_size=4096: 100000 bytes: set 0.0032 s, get 2.5045 s
#   read_buffer_size=65536: 100000 bytes: set 0.0116 s, get 0.0003 s
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
pip meta-memcache==4.3.0 meta-memcache-socket==0.3.1
"$python" - "$port" <<'END'
import os, sys, time
from meta_memcache import CacheClient, ServerAddress
from meta_memcache.configuration import connection_pool_factory_builder

def seconds_to_get(**settings):
    server = ServerAddress("127.0.0.1", int(sys.argv[1]))
    pool = connection_pool_factory_builder(**settings)
    client = CacheClient.cache_client_from_servers([server], pool)
    value = os.urandom(100_000)
    start = time.monotonic()
    assert client.set("key", value, ttl=0)
    stored = time.monotonic()
    assert client.get("key") == value
    read = time.monotonic() - stored
    size = settings.get("read_buffer_size", 4096)
    print(f"read_buffer_size={size}: 100000 bytes: set {stored - start:.4f} s, get {read:.4f} s")
    return read

slow = seconds_to_get()
fast = seconds_to_get(read_buffer_size=65536)
sys.exit(slow < 1 or fast > slow / 10)
END
