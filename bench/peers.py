"""The ways to look at a memcached. Each has `begin` and `end`; between them `spent` says
how many seconds of CPU it has used so far, in its own processes. `end` returns the bytes
it left on disk, the MiB of memory it took, and what it lost by its own account. A way whose
program is not here is left out, by name.
"""

import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time

from machine import Recorder, cpu

# What mcrec attaches to in a 1.6.18 with probes (`mcrec --check`).
PROBES = ["process__command__start", "process__command__end", "command__get", "command__set",
          "command__add", "command__replace", "command__append", "command__prepend",
          "command__cas", "command__touch", "command__incr", "command__decr", "command__delete",
          "conn__allocate", "conn__release"]
NO_LIMITS = """
struct rlimit;
int setrlimit(int what, const struct rlimit *to) { return 0; }
int setrlimit64(int what, const struct rlimit *to) { return 0; }
"""


class Unavailable(Exception):
    """A way that cannot be gone here, and why."""


class Nothing:
    name = "nothing"
    program = None

    def begin(self, memcached):
        pass

    def spent(self):
        return 0.0

    def end(self):
        return None, None, ""


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
            command += [str(memcached.pid), memcached.program, *PROBES]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "attached\n":
            raise Unavailable("its programs could not be attached")

    def spent(self):
        return 0.0

    def end(self):
        self.process.communicate()
        return None, None, ""


class Mcrec:
    program = None

    def __init__(self, source):
        self.source, self.name = source, f"mcrec, {source}"

    def begin(self, memcached):
        self.recorder = Recorder(memcached, "--source", self.source)

    def spent(self):
        return self.recorder.spent()

    def end(self):
        recorder = self.recorder.stop()
        size = os.stat(recorder.path).st_size
        recorder.path.unlink()
        lost = recorder.line("lost").removeprefix("nothing")
        return size, recorder.memory, lost or f"(at most {recorder.waited()} waited on the ring)"


class Tcpdump:
    program = "tcpdump"

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments

    def begin(self, memcached):
        self.path = memcached.path("capture.pcap")
        command = ["tcpdump", "-i", "lo", *self.arguments, "-B", "65536", "-w", self.path, "-Z", "root",
                   "tcp", "port", str(memcached.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while "listening on" not in self.process.stderr.readline():
            pass

    def spent(self):
        return cpu(self.process.pid)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        said = self.process.stderr.read()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        size = os.stat(self.path).st_size
        self.path.unlink()
        dropped = int(re.search(r"(\d+) packets? dropped by kernel", said)[1])
        total = dropped + int(re.search(r"(\d+) packets? captured", said)[1])
        return size, usage.ru_maxrss / 1024, f"{dropped} of {total} packets" if dropped else ""


class Watch:
    """memcached's own log of its fetchers and mutations."""

    name = "watch"
    program = None

    def begin(self, memcached):
        self.memcached, self.lines, self.skipped, self.bytes = memcached, 0, 0, 0
        self.dropped = memcached.stats()["log_worker_dropped"]
        self.watcher = socket.create_connection(("127.0.0.1", memcached.port))
        self.watcher.sendall(b"watch fetchers mutations\r\n")
        assert self.watcher.recv(4) == b"OK\r\n"
        self.reader = threading.Thread(target=self.drain)
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
        lost = self.skipped + self.memcached.stats()["log_worker_dropped"] - self.dropped
        return self.bytes, None, f"{lost} of {self.lines + lost} entries" if lost else ""


class Bpftrace:
    program = "bpftrace"

    def __init__(self, name, script):
        self.name, self.script = name, script

    def begin(self, memcached):
        script = self.script(memcached.program) + ' interval:ms:200 { printf("attached\\n") }'
        command = ["bpftrace", "-p", str(memcached.pid), "-e", script]
        environment = os.environ | {"BPFTRACE_MAP_KEYS_MAX": "1000000"}
        if not may_lock_memory():
            environment["LD_PRELOAD"] = str(no_limits(memcached))
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        said = ""
        while "attached" not in said:
            line = self.process.stdout.readline()
            if not line:
                raise Unavailable(said.strip() or "it ended at once")
            said += line
        # What it prints must not stop it.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def spent(self):
        return cpu(self.process.pid)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        return None, None, ""


def may_lock_memory():
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return True
    except (ValueError, PermissionError):
        return False


def no_limits(memcached):
    """bpftrace gives up where it may not lock all memory, which newer kernels do not ask for."""
    library = memcached.path("nolimits.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=NO_LIMITS,
                   text=True, check=True)
    return library


BY_KEY = "{ @calls[str(arg1, arg2)] = count(); @bytes[str(arg1, arg2)] = sum(arg3); }"


def by_key(program):
    """At the probes of get and set only."""
    return " ".join(f"usdt:{program}:memcached:command__{name} {BY_KEY}" for name in ("get", "set"))


def by_key_and_latency(program):
    """At all the probes that mcrec attaches to."""
    actions = {
        "process__command__start": "{ @started[tid] = nsecs; }",
        "process__command__end": "{ @latency = hist(nsecs - @started[tid]); }",
        "conn__allocate": "{ @allocated = count(); }",
        "conn__release": "{ @released = count(); }",
    }
    without_size = "{ @calls[str(arg1, arg2)] = count(); }"
    actions |= {f"command__{name}": without_size for name in ("delete", "incr", "decr")}
    return " ".join(f"usdt:{program}:memcached:{probe} {actions.get(probe, BY_KEY)}" for probe in PROBES)


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


def here():
    """The ways that can be gone on this machine."""
    missing = {way.program for way in WAYS if way.program and not shutil.which(way.program)}
    for program in sorted(missing):
        print(f"{program} is not installed, and so left out")
    return [way for way in WAYS if way.program not in missing]
