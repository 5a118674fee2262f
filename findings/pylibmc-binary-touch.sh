#!/bin/sh
# pylibmc 1.6.3 as its wheel brings it: over the binary protocol each touch() of a key that is
# there takes five seconds, and then returns True. A touch of a key that is not there returns
# at once, and so does every touch over the text protocol. The server answers at once, with
# 28 bytes: a packet that has the item's flags with it. The libmemcached that is in the wheel
# goes on waiting, until its poll timeout of 5000 ms is over. Debian's memctouch -b, of
# libmemcached 1.1.4, does not. Who raises the timeout waits longer.
# Seen with Python 3.11 and memcached 1.6.18 and 1.6.45:
#   text: there True 0.000 s, absent False 0.000 s
#   binary: there True 5.002 s, absent False 0.000 s
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
pip pylibmc==1.6.3
"$python" - "$port" <<'END'
import sys, time
import pylibmc

took = {}
for binary in False, True:
    client = pylibmc.Client([f"127.0.0.1:{sys.argv[1]}"], binary=binary)
    client.set("there", "value")
    said = []
    for key in "there", "absent":
        start = time.monotonic()
        answer = client.touch(key, 100)
        took[binary, key] = time.monotonic() - start
        assert answer is (key == "there")
        said.append(f"{key} {answer} {took[binary, key]:.3f} s")
    print("binary:" if binary else "text:", ", ".join(said))
slow = took.pop((True, "there"))
sys.exit(slow < 4.9 or max(took.values()) > 1)
END
