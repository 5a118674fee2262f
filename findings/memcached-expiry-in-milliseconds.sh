#!/bin/sh
# memcached keeps the low 32 bits of an expiry, so one in milliseconds means something else
# each time: mostly the item is gone at once, and for some days it stays for years.
#
# Seen with memcached 1.6.18 (memcached_1.6.18-1_amd64.deb of Debian 12), where each of these
# stores, for an hour from midnight on, is answered STORED:
#
#   2026-12-01, 1796086800000: gone at once
#   2026-12-15, 1797296400000: stays for six years
#   2026-12-25, 1798160400000: gone at once
#
# The low 32 bits are read as a signed number of seconds: a negative one is the past, one above
# thirty days a date between 1970 and 2038. So it starts again every 2^32 ms, which is 49.7
# days: for 24.9 days they are negative, for 20.8 days a date that has passed, and for 4 days
# one that has not. A test that is tried in those passes. 1.6.45 takes the same expiry of
# `set`, and refuses it of `touch` and `ms`.
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
"$python" - "$port" <<'PYTHON'
import socket
import sys
import time

server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
lines = server.makefile("rwb")


def ask(request):
    lines.write(request)
    lines.flush()
    return lines.readline().strip()


def left(expiry):
    """The seconds that an item has left, or None if it is gone."""
    assert ask(b"set key 0 %d 1\r\nx\r\n" % expiry) == b"STORED"
    answer = ask(b"mg key t\r\n")
    return None if answer == b"EN" else int(answer.removeprefix(b"HD t"))


def kept(expiry):
    low = expiry & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


thirty_days = 60 * 60 * 24 * 30
now, hour = int(time.time()), 3_600_000
# An hour of each of the next fifty days, as seen from now.
outcomes = []
for day in range(50):
    expiry = now * 1000 + day * 24 * hour + hour
    date = kept(expiry)
    outcomes.append(left(expiry))
    if date < 0 or thirty_days < date <= now:
        assert outcomes[-1] is None, (expiry, outcomes[-1])
    elif date > now:
        assert abs(outcomes[-1] - (date - now)) <= 5, (expiry, outcomes[-1])
gone = outcomes.count(None)
years = [seconds for seconds in outcomes if seconds is not None and seconds > 2 * thirty_days]
print(f"of fifty days: on {gone} an item is gone at once; it stays for {years} s on {len(years)}")
assert gone > 40 and 3 <= len(years) <= 5, "it takes them otherwise now"
assert left((1 << 32) + 1000) in (1000, 999), "it takes them otherwise now"
PYTHON
