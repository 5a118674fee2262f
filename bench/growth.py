#!/usr/bin/env python3
"""Whether recording costs more with more connections, more keys, or as it goes on.

    bench/growth.py TARGET [ROUNDS] [SECONDS] [MINUTES] [--only PART] [--minutes MINUTES] [--source SOURCE]

TARGET as for cost.py. Needs root. For each size it prints what an operation took the
server, what empty programs at the same places and what mcrec added to that, what mcrec
took itself (`own`), and its memory; `added` is what recording cost, server and mcrec
together, and `against` that against the first size. Each size has a memcached of its own,
some minutes after the one before: what the server takes tells how much the machine changed
meanwhile. The length of a capture is tried with one of MINUTES, between a minute without
mcrec before it and one after it. An hour of that alone: `--only length --minutes 60`.
"""

from machine import Idle, Memcached, Recorder, Storm, apart, losses, median
from peers import Empty
from script import CannotRun, need, need_files, parser, run, whole, with_source

# As few bytes to a value as let ten million be stored.
LOAD = {"value": 20, "keys": 1000, "connections": 16}
SIZES = {"connections": [16, 1, 1000, 10_000], "keys": [1000, 100_000, 10_000_000]}
MINUTE = 60


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("rounds", metavar="ROUNDS", nargs="?", type=whole(), default=3,
                           help="for each size: 3, if not given")
    arguments.add_argument("seconds", metavar="SECONDS", nargs="?", type=whole(), default=5,
                           help="that each is measured for: 5, if not given")
    arguments.add_argument("minutes", metavar="MINUTES", nargs="?", type=whole(2), default=5,
                           help="of one capture, 2 or more: 5, if not given")
    arguments.add_argument("--minutes", dest="instead", metavar="MINUTES", type=whole(2), help="the same")
    arguments.add_argument("--only", choices=[*SIZES, "length"], help="one part: all, if not given")
    with_source(arguments)
    asked = arguments.parse_args()
    asked.minutes = asked.instead or asked.minutes
    return asked


def server(asked, load):
    return Memcached(asked.target, connections=load["connections"], arguments=["-m", "4096"], cpus=apart(1))


def measure(asked, memcached, storm):
    """The server alone; what programs that do nothing, and mcrec, add to that, each beside
    just before and just after; what mcrec took; the recorder."""
    alone = [storm.watch(asked.seconds)["server"]]
    empty = Empty("empty", {"syscalls": "sockets", "usdt": "probes"}[asked.source])
    empty.begin(memcached)
    try:
        floor = storm.watch(asked.seconds)["server"]
    finally:
        empty.end()
    alone.append(storm.watch(asked.seconds)["server"])
    recorder = Recorder(memcached, "--source", asked.source)
    try:
        recorded = storm.watch(asked.seconds, recorder.spent)
    finally:
        recorder.stop().path.unlink()
    alone.append(storm.watch(asked.seconds)["server"])
    added = [with_it - (before + after) / 2
             for with_it, before, after in zip([floor, recorded["server"]], alone, alone[1:])]
    return median(alone), *added, recorded["own"], recorder


def rounds_of(asked, name, size):
    load = LOAD | {name: size}
    rounds = []
    with server(asked, load) as memcached:
        memcached.fill(**load)
        with Storm(memcached, **load) as storm:
            for number in range(1, asked.rounds + 1):
                try:
                    rounds.append(measure(asked, memcached, storm))
                except Idle as reason:
                    print(f"{size:12}  round {number} is left out: {reason}")
    return rounds


def compare(asked, name):
    print(f"\n{name:>12}{'server':>9}{'+ empty':>9}{'+ mcrec':>9}{'own':>7}{'memory':>10}{'added':>8}"
          f"{'against':>9}{'own against':>13}  lost, in all rounds")
    first = None
    for size in SIZES[name]:
        try:
            need_files(size if name == "connections" else 0)
        except CannotRun as reason:
            print(f"{size:12}  is left out: {reason}")
            continue
        rounds = rounds_of(asked, name, size)
        if not rounds:
            continue
        server, floor, recorded, own = (median(one[at] for one in rounds) for at in range(4))
        recorders = [one[4] for one in rounds]
        added = median(recorded + own for _, _, recorded, own, _ in rounds)
        first = first or (added, own)
        memory = max(recorder.memory for recorder in recorders)
        print(f"{size:12}{server:9.2f}{floor:+9.2f}{recorded:+9.2f}{own:7.2f}{memory:6.0f} MiB{added:8.2f}"
              f"{against(added, first[0]):>9}{against(own, first[1]):>13}  {losses(recorders)}")


def against(number, first):
    """Noise may have it that the first added nothing."""
    return f"{number / first:.2f}" if first > 0 else "-"


def over_time(asked):
    """Its cost in each minute, beside one before and one after, and whether anything is lost."""
    load = LOAD | {"keys": 1_000_000}
    print(f"\n{'minute':>12}{'server':>9}{'mcrec':>8}{'op/s':>10}")
    with server(asked, load) as memcached:
        memcached.fill(**load)
        with Storm(memcached, **load) as storm:
            before = minute("before", storm)
            recorder = Recorder(memcached, "--source", asked.source)
            minutes = [minute(number, storm, recorder.spent) for number in range(1, asked.minutes + 1)]
            recorder.stop()
            storm.look()
            after = minute("after", storm)
    first, last = (each["server"] + each["own"] for each in (minutes[0], minutes[-1]))
    print(f"last against first, server and mcrec: {last / first:.2f}; the server alone, after against before: "
          f"{after['server'] / before['server']:.2f}\n{recorder.line('file')}; lost {losses([recorder])}; "
          f"{recorder.memory:.0f} MiB")


def minute(name, storm, *spent):
    seen = storm.watch(MINUTE, *spent)
    own = f"{seen['own']:8.2f}" if spent else f"{'':8}"
    print(f"{name:>12}{seen['server']:9.2f}{own}{seen['rate']:10.0f}")
    return seen


def main():
    asking = asked()
    need(asking.target, ["mcrec"], ["storm", "empty"], ["1.6.18"])
    print(f"µs of CPU an operation, medians; recorded through {asking.source}")
    for name in SIZES:
        if asking.only in (None, name):
            compare(asking, name)
    if asking.only in (None, "length"):
        over_time(asking)


run(main)
