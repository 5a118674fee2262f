#!/bin/sh
# memcached counts the hits of `mg KEY T60` as touches, and their misses as gets.
#
# Seen with memcached 1.6.18 (memcached_1.6.18-1_amd64.deb of Debian 12):
# of three `mg KEY T60` on an item that is there, and two on a key that is not,
#
#   cmd_touch 3, touch_hits 3, touch_misses 0
#   cmd_get 2, get_hits 0, get_misses 2
#
# The text protocol's `gat 60 KEY` counts both as touches. So an application that reads by
# meta get and renews the time to live, with a hit ratio of 60 %, shows as one of 0 % in
# get_hits / (get_hits + get_misses), and as 100 % in touch_hits / cmd_touch. The server
# looks at T only where it found an item (process_mget_command); so do 1.6.38 and 1.6.45.
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
"$python" - "$port" <<'PYTHON'
import socket
import sys

server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
lines = server.makefile("rwb")


def ask(request, ends):
    lines.write(request + b"\r\n")
    lines.flush()
    answer = []
    while not answer or not answer[-1].startswith(ends):
        answer.append(lines.readline())
        assert answer[-1], answer
    return answer


def counters():
    words = [line.split() for line in ask(b"stats", b"END")[:-1]]
    wanted = ["cmd_touch", "touch_hits", "touch_misses", "cmd_get", "get_hits", "get_misses"]
    found = {name.decode(): int(value) for _, name, value in words if name.decode() in wanted}
    return [found[name] for name in wanted]


ask(b"set there 0 0 1\r\nx", b"STORED")
for _ in range(3):
    ask(b"mg there T60", b"HD")
for _ in range(2):
    ask(b"mg missing T60", b"EN")
meta = counters()
for _ in range(3):
    ask(b"gat 60 there", b"END")
for _ in range(2):
    ask(b"gat 60 missing", b"END")
text = [after - before for before, after in zip(meta, counters())]
print("cmd_touch, touch_hits, touch_misses, cmd_get, get_hits, get_misses")
print("of mg T:", meta)
print("of gat: ", text)
assert meta == [3, 3, 0, 2, 0, 2], "it counts otherwise now"
assert text == [5, 3, 2, 0, 0, 0], "it counts otherwise now"
PYTHON
