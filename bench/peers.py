"""The ways to look at a memcached. Each has `begin` and `end`; between them `spent` says
how many seconds of CPU it has used so far, in its own processes. `end` returns what it left
behind (`Left`). A way whose program is not here, or does not work, is left out, by name.
"""

import collections
import dataclasses
import functools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time

from machine import Memcached, Recorder, cpu, peak
from script import CannotRun, one_line, output, start

NO_LIMITS = """
struct rlimit;
int setrlimit(int what, const struct rlimit *to) { return 0; }
int setrlimit64(int what, const struct rlimit *to) { return 0; }
"""


class Unavailable(CannotRun):
    """A way that cannot be gone here, and why."""


@dataclasses.dataclass
class Left:
    """Bytes that it wrote, and of how many operations, where it counts them itself; the MiB
    of memory that it took at most; what it lost by its own account, of how many, and of
    what; the most bytes that waited on its ring."""

    bytes: int | None = None
    operations: int | None = None
    memory: float | None = None
    lost: int = 0
    of: int = 0
    unit: str = ""
    waited: float | None = None


class Nothing:
    name = "nothing"
    program = None

    def begin(self, memcached):
        pass

    def spent(self):
        return 0.0

    def end(self):
        return Left()


class Empty:
    """Programs that do nothing, or only read a probe's arguments: the floor of what recording
    can cost."""

    program = None

    def __init__(self, name, place=None):
        self.name, self.place = name, place

    def begin(self, memcached):
        command = [memcached.target / "release/examples/empty"]
        if self.place:
            command.append(self.place)
        if self.place in ("probes", "arguments"):
            command += [str(memcached.pid), memcached.program, *probes(memcached.target)]
        self.process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
        if self.process.stdout.readline() != "attached\n":
            raise Unavailable(one_line(self.process.stderr.read()) or "it ended at once")

    def spent(self):
        return 0.0

    def end(self):
        still_running(self.process, self.process.stderr.read)
        self.process.communicate()
        return Left()


class Mcrec:
    program = None

    def __init__(self, source, without=(), build=None):
        """Without some features of the kernel, as on one that lacks them; of another build
        than the one at hand."""
        self.arguments = ["--source", source, *[word for one in without for word in ("--without", one)]]
        self.build = build
        self.name = ", ".join(["before" if build else "mcrec", source, *without])

    def begin(self, memcached):
        try:
            self.recorder = Recorder(memcached, *self.arguments, program=self.build)
        except CannotRun as reason:
            raise Unavailable(reason) from None

    def spent(self):
        return self.recorder.spent()

    def end(self):
        still_running(self.recorder.process, lambda: self.recorder.said)
        recorder = self.recorder.stop()
        size, operations, lost = os.stat(recorder.path).st_size, recorder.operations(), recorder.lost()
        recorder.path.unlink()
        return Left(size, operations, recorder.memory, lost, operations + lost, "operations", recorder.waited())


class Tcpdump:
    program = "tcpdump"

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments

    def begin(self, memcached):
        self.path = memcached.path("capture.pcap")
        command = ["tcpdump", "-i", "lo", *self.arguments, "-B", "65536", "-w", self.path, "-Z", "root",
                   "tcp", "port", str(memcached.port)]
        self.process = start(command, stderr=subprocess.PIPE, text=True)
        said = ""
        for line in self.process.stderr:
            if line.startswith("tcpdump: listening on "):
                return
            said += line
        raise Unavailable(one_line(said) or "it ended at once")

    def spent(self):
        return cpu(self.process.pid)

    def end(self):
        still_running(self.process, self.process.stderr.read)
        memory = peak(self.process.pid)
        self.process.send_signal(signal.SIGINT)
        said = self.process.stderr.read()
        self.process.wait()
        counts = [re.search(rf"(\d+) packets? {what}", said) for what in ("captured", "dropped by kernel")]
        if not all(counts):
            raise Unavailable(one_line(said) or "it said nothing at its end")
        captured, dropped = (int(count[1]) for count in counts)
        size = os.stat(self.path).st_size
        self.path.unlink()
        return Left(size, None, memory, dropped, captured + dropped, "packets")


class Watch:
    """memcached's own log of its fetchers and mutations."""

    name = "watch"
    program = None

    def begin(self, memcached):
        self.memcached, self.lines, self.skipped, self.bytes = memcached, 0, 0, 0
        self.dropped = memcached.stats()["log_worker_dropped"]
        self.watcher = socket.create_connection(("127.0.0.1", memcached.port))
        self.watcher.sendall(b"watch fetchers mutations\r\n")
        said = self.watcher.recv(4)
        if said != b"OK\r\n":
            raise Unavailable(f"memcached said {said.decode(errors='replace').strip()}")
        self.reader = threading.Thread(target=self.drain, daemon=True)
        self.reader.start()

    def drain(self):
        while data := self.receive():
            self.bytes += len(data)
            self.lines += data.count(b"\n")
            self.skipped += sum(int(number) for number in re.findall(rb"skipped=(\d+)", data))

    def receive(self):
        try:
            return self.watcher.recv(1 << 20)
        except ConnectionResetError:
            return b""  # memcached was about to send when the watcher ended

    def spent(self):
        return time.process_time()

    def end(self):
        self.watcher.shutdown(socket.SHUT_RDWR)
        self.reader.join()
        self.watcher.close()
        lost = self.skipped + self.memcached.stats()["log_worker_dropped"] - self.dropped
        return Left(self.bytes, None, None, lost, self.lines + lost, "entries")


class Bpftrace:
    program = "bpftrace"

    def __init__(self, name, script):
        self.name, self.script = name, script

    def begin(self, memcached):
        if re.search(r"[\s:]", str(memcached.program)):
            raise Unavailable(f"bpftrace takes no blank and no colon in {memcached.program}")
        script = self.script(memcached) + ' interval:ms:200 { printf("attached\\n") }'
        command = ["bpftrace", "-p", str(memcached.pid), "-e", script]
        environment = os.environ | {"BPFTRACE_MAP_KEYS_MAX": "1000000"}
        if not may_lock_memory():
            environment["LD_PRELOAD"] = str(no_limits(memcached))
        self.process = start(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = collections.deque(maxlen=20)
        for line in self.process.stdout:
            # What it says of a script that it does not take has all of the script in it.
            if line.strip() == "attached":
                break
            self.said.append(line)
        else:
            raise Unavailable(one_line(self.last_said()) or "it ended at once")
        # What it prints must not stop it.
        self.reader = threading.Thread(target=self.said.extend, args=[self.process.stdout], daemon=True)
        self.reader.start()

    def spent(self):
        return cpu(self.process.pid)

    def end(self):
        still_running(self.process, self.last_said)
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.reader.join()
        return Left()

    def last_said(self):
        return "".join(line for line in self.said if line.strip() != "attached")


def still_running(process, said):
    """A way that ended by itself was not there for all of what was measured."""
    if process.poll() is not None:
        raise Unavailable(f"it ended by itself: {one_line(said())}")


@functools.cache
def probes(target):
    """What mcrec attaches to in a 1.6.18 with probes, by the footer of a capture."""
    try:
        with Memcached(target) as memcached:
            capture = Recorder(memcached, "--source", "usdt").stop().path.read_bytes()
    except CannotRun as reason:
        raise Unavailable(reason) from None
    # Its metadata are JSON as it is, in a footer that is not.
    footer = capture[capture.rindex(b'"attached":') + len(b'"attached":'):].decode(errors="replace")
    return [attached["probe"] for attached in json.JSONDecoder().raw_decode(footer)[0]]


def may_lock_memory():
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return True
    except (ValueError, PermissionError):
        return False


def no_limits(memcached):
    """bpftrace gives up where it may not lock all memory, which newer kernels do not ask for."""
    library = memcached.path("nolimits.so")
    try:
        output(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=NO_LIMITS)
    except (OSError, CannotRun) as error:
        raise Unavailable(f"its limits cannot be lifted: {error}") from None
    return library


BY_KEY = "{ @calls[str(arg1, arg2)] = count(); @bytes[str(arg1, arg2)] = sum(arg3); }"


def by_key(memcached):
    """At the probes of get and set only."""
    return " ".join(f"usdt:{memcached.program}:memcached:command__{name} {BY_KEY}" for name in ("get", "set"))


def by_key_and_latency(memcached):
    """At all the probes that mcrec attaches to."""
    actions = {
        "process__command__start": "{ @started[tid] = nsecs; }",
        "process__command__end": "{ @latency = hist(nsecs - @started[tid]); }",
        "conn__allocate": "{ @allocated = count(); }",
        "conn__release": "{ @released = count(); }",
    }
    without_size = "{ @calls[str(arg1, arg2)] = count(); }"
    actions |= {f"command__{name}": without_size for name in ("delete", "incr", "decr")}
    return " ".join(f"usdt:{memcached.program}:memcached:{probe} {actions.get(probe, BY_KEY)}"
                    for probe in probes(memcached.target))


WAYS = [
    Empty("empty, sockets", "sockets"),
    Empty("empty, sys_exit"),
    Mcrec("syscalls"),
    Tcpdump("tcpdump -w"),
    # As much of each packet as holds a request or the head of a reply.
    Tcpdump("tcpdump -s 256", "-s", "256"),
    Watch(),
    Empty("empty, probes", "probes"),
    Empty("arguments, probes", "arguments"),
    Mcrec("usdt"),
    Bpftrace("bpftrace by key", by_key_and_latency),
    Bpftrace("bpftrace, 2 probes", by_key),
]


def builds(before):
    """mcrec, another build of it, and what mcrec does on kernels that lack something."""
    return [
        Mcrec("syscalls"),
        Mcrec("syscalls", build=before),
        Mcrec("usdt"),
        Mcrec("usdt", build=before),
        Mcrec("syscalls", ["raw-tracepoints"]),
        Mcrec("syscalls", ["atomics"]),
        Mcrec("syscalls", ["sockets"]),
        Mcrec("usdt", ["atomics"]),
    ]


def here():
    """The ways that can be gone on this machine."""
    missing = {way.program for way in WAYS if way.program and not shutil.which(way.program)}
    for program in sorted(missing):
        print(f"{program} is not installed, and so left out")
    return [way for way in WAYS if way.program not in missing]
