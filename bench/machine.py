"""What the benchmarks share: a memcached, a load on it, mcrec, and what they took."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

from script import (SPARE_FILES, CannotRun, end, need_files, no_process_left, one_line, output, start,
                    temporary_folder, undisturbed)

CPUS = os.sched_getaffinity(0)


class Idle(CannotRun):
    """A time in which the load did nothing, so that nothing can be said of an operation."""


def apart(threads):
    """The CPUs for a server. One with one worker has one for itself, and all that is started
    from here has the others: where the scheduler puts a worker and its clients changes its
    cost by more than what is measured."""
    alone = threads == 1 and len(CPUS) > 1
    server = {min(CPUS)} if alone else CPUS
    os.sched_setaffinity(0, CPUS - server if alone else CPUS)
    return server


class Memcached:
    """A memcached of its own, of one of the builds of `make memcached`. What is started while
    it is entered ends with it."""

    def __init__(self, target, build="1.6.18", threads=1, connections=16, arguments=(), cpus=None):
        self.target = pathlib.Path(target)
        self.program = self.target / f"memcached/memcached-{build}"
        self.connections = connections
        self.arguments = ["-t", str(threads), "-c", str(connections + SPARE_FILES), *arguments]
        self.cpus = cpus or CPUS
        # Requests that came from here, and not from a load.
        self.asked = 0

    def __enter__(self):
        need_files(self.connections)
        with contextlib.ExitStack() as started:
            self.folder = started.enter_context(temporary_folder())
            started.enter_context(no_process_left())
            port_file = self.path("port")
            self.process = start(
                [self.program, "-u", "root", "-l", "127.0.0.1", "-p", "-1", *self.arguments],
                env=os.environ | {"MEMCACHED_PORT_FILENAME": str(port_file)},
                preexec_fn=lambda: os.sched_setaffinity(0, self.cpus),
            )
            self.pid = self.process.pid
            while not port_file.exists() or "\n" not in port_file.read_text():
                if self.process.poll() is not None:
                    raise CannotRun(f"{self.program} ended at once")
                time.sleep(0.01)
            self.port = int(re.search(r"TCP INET: (\d+)", port_file.read_text())[1])
            self.started = started.pop_all()
        return self

    def __exit__(self, *_):
        with undisturbed():
            self.started.close()

    def path(self, name):
        return self.folder / name

    def stats(self):
        self.asked += 1
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"stats\r\n")
            text = b""
            while not text.endswith(b"END\r\n"):
                more = connection.recv(65536)
                if not more:
                    raise CannotRun("memcached closed the connection")
                text += more
        return {name: int(value) for name, value in re.findall(r"STAT (\w+) (\d+)\r", text.decode())}

    def operations(self):
        stats = self.stats()
        return sum(stats[name] for name in ["cmd_get", "cmd_set", "delete_hits", "delete_misses"])

    def fill(self, **load):
        """Stores all keys of a load."""
        output(storm(self, **load, fill=1))


def storm(memcached, **load):
    """The command that puts a load on it (mcrec/examples/storm.rs)."""
    command = [memcached.target / "release/examples/storm", f"127.0.0.1:{memcached.port}"]
    return command + [f"{name}={number}" for name, number in load.items()]


class Storm:
    """A load on a memcached that goes on for as long as this is entered."""

    def __init__(self, memcached, **load):
        self.pid, self.command = memcached.pid, storm(memcached, **load)

    def __enter__(self):
        self.process = start(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.look()
        return self

    def __exit__(self, *_):
        end(self.process)

    def look(self):
        """Operations, seconds, p50 and p99 (µs, at the client) since the last look."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise CannotRun("the load has ended")
        operations, seconds, p50, p99 = map(float, line.split())
        return operations, seconds, p50 / 1000, p99 / 1000

    def watch(self, seconds, spent=lambda: 0.0):
        """For so long: what an operation took the server and `spent`, µs of CPU, and what
        the client saw; and all operations since the last look before."""
        missed = self.look()[0]
        before = cpu(self.pid), spent()
        time.sleep(seconds)
        after = cpu(self.pid), spent()
        operations, lasted, p50, p99 = self.look()
        if not operations or after[0] == before[0]:
            raise Idle(f"no operation, or no CPU for one, in {lasted:.2g} s")
        each = 1e6 / operations
        return {
            "server": (after[0] - before[0]) * each,
            "own": (after[1] - before[1]) * each,
            "rate": operations / lasted,
            "p50": p50,
            "p99": p99,
            "operations": operations + missed,
        }


def cpu(pid):
    """Seconds that the threads of a process have run, by the scheduler's own account."""
    spent = 0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        # Threads end.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def peak(pid):
    """The most memory that a process has had, MiB: what wait4 tells begins with what had
    started it."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    except FileNotFoundError:
        return None
    return int(found[1]) / 1024 if found else None


class Recorder:
    """mcrec at work on a memcached."""

    def __init__(self, memcached, *arguments, name="capture.parquet", program=None):
        self.path = memcached.path(name)
        command = [program or memcached.target / "release/mcrec", "-p", str(memcached.pid), "-o", self.path]
        self.process = start([*command, *arguments], stderr=subprocess.PIPE, text=True)
        self.said = ""
        for line in self.process.stderr:
            self.said += line
            if line.startswith("mcrec: recording "):
                break
        else:
            raise CannotRun(f"mcrec could not begin: {one_line(self.said)}")
        # What it says must not stop it.
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        for line in self.process.stderr:
            self.said += line

    def spent(self):
        return cpu(self.process.pid)

    def stop(self):
        """Ends the recording. `memory` is the most that it had until then, its ring included."""
        self.memory = peak(self.process.pid)
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.listener.join()
        # 1: something was lost.
        if self.process.returncode not in (0, 1) or not self.line("recorded"):
            raise CannotRun(f"mcrec ended: {one_line(self.said)}")
        end(self.process)
        return self

    def line(self, name):
        """What it said at its end under a name."""
        found = re.search(rf"^{name} +(.*)$", self.said, re.M)
        return found[1] if found else ""

    def waited(self):
        """The most bytes that were on the ring."""
        number, unit = re.search(r"at most ([\d.]+) (\w+) waited", self.line("cost")).groups()
        return float(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit)

    def operations(self):
        return count(self.line("recorded"))

    def lost(self):
        """How many were lost; through system calls, at least so many."""
        return count(self.line("lost").removeprefix("at least "))


def count(said):
    """The number that a line of mcrec begins with; none is 0."""
    found = re.match(r"[\d,]+", said)
    return int(found[0].replace(",", "")) if found else 0


def losses(recorders):
    """What several recordings lost, and the most that waited on the ring of any."""
    lost, waited = sum(each.lost() for each in recorders), max(each.waited() for each in recorders)
    return f"{lost or 'nothing'}; at most {waited / 2**20:.1f} MiB on the ring"


def median(numbers):
    numbers = [number for number in numbers if number is not None]
    return statistics.median(numbers) if numbers else None
