"""What the benchmarks share: a memcached, a load on it, and what both took."""

import os
import pathlib
import re
import resource
import signal
import socket
import statistics
import subprocess
import tempfile
import time


CPUS = os.sched_getaffinity(0)


def apart(threads):
    """The CPUs for a server. One with one worker has one for itself, and all that is started
    from here has the others: where the scheduler puts a worker and its clients changes its
    cost by more than what is measured."""
    alone = threads == 1 and len(CPUS) > 1
    server = {min(CPUS)} if alone else CPUS
    os.sched_setaffinity(0, CPUS - server if alone else CPUS)
    return server


class Memcached:
    """A memcached of its own, of one of the builds of `make memcached`."""

    def __init__(self, target, build="1.6.18", threads=1, arguments=(), cpus=None):
        self.target, self.build = pathlib.Path(target), build
        self.arguments = ["-t", str(threads), *arguments]
        self.cpus = cpus or CPUS

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        port_file = self.path("port")
        self.program = self.target / f"memcached/memcached-{self.build}"
        self.process = subprocess.Popen(
            [self.program, "-u", "root", "-l", "127.0.0.1", "-p", "-1", *self.arguments],
            env=os.environ | {"MEMCACHED_PORT_FILENAME": str(port_file)},
            preexec_fn=lambda: os.sched_setaffinity(0, self.cpus),
        )
        self.pid = self.process.pid
        while not port_file.exists() or "\n" not in port_file.read_text():
            assert self.process.poll() is None, "memcached ended at once"
            time.sleep(0.01)
        self.port = int(re.search(r"TCP INET: (\d+)", port_file.read_text())[1])
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def path(self, name):
        return pathlib.Path(self.folder.name, name)

    def stats(self):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"stats\r\n")
            text = b""
            while not text.endswith(b"END\r\n"):
                text += connection.recv(65536)
        return {name: int(value) for name, value in re.findall(r"STAT (\w+) (\d+)\r", text.decode())}

    def operations(self):
        stats = self.stats()
        return sum(stats[name] for name in ["cmd_get", "cmd_set", "delete_hits", "delete_misses"])

    def fill(self, **load):
        """Stores all keys of a load."""
        subprocess.run(storm(self, **load, fill=1), check=True)


def storm(memcached, **load):
    """The command that puts a load on it (mcrec/examples/storm.rs)."""
    command = [memcached.target / "release/examples/storm", f"127.0.0.1:{memcached.port}"]
    return command + [f"{name}={number}" for name, number in load.items()]


class Storm:
    """A load on a memcached that goes on for as long as this is entered."""

    def __init__(self, memcached, **load):
        self.pid = memcached.pid
        self.process = subprocess.Popen(storm(memcached, **load), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self.look()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def look(self):
        """Operations, seconds, p50 and p99 (µs, at the client) since the last look."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        operations, seconds, p50, p99 = map(float, self.process.stdout.readline().split())
        return operations, seconds, p50 / 1000, p99 / 1000

    def watch(self, seconds, spent=lambda: 0.0):
        """For so long: what an operation took the server and `spent`, µs of CPU, and what
        the client saw."""
        missed = self.look()[0]
        before = cpu(self.pid), spent()
        time.sleep(seconds)
        after = cpu(self.pid), spent()
        operations, lasted, p50, p99 = self.look()
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
        try:
            spent += int((thread / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass  # it has ended
    return spent / 1e9


class Recorder:
    """mcrec at work on a memcached."""

    def __init__(self, memcached, *arguments, name="capture.parquet"):
        self.path = memcached.path(name)
        command = [memcached.target / "release/mcrec", "-p", str(memcached.pid), "-o", self.path]
        self.process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
        self.said = ""
        while "recording" not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line

    def spent(self):
        return cpu(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.said += self.process.stderr.read()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        self.memory = usage.ru_maxrss / 1024
        return self

    def line(self, name):
        """What it said at its end under a name."""
        found = re.search(rf"^{name} +(.*)$", self.said, re.M)
        return found[1] if found else ""

    def waited(self):
        """The most that was on the ring."""
        return re.search(r"at most (.*) waited", self.line("cost"))[1]

    def operations(self):
        return int(re.match(r"[\d,]+", self.line("recorded"))[0].replace(",", ""))


def median(numbers):
    numbers = [number for number in numbers if number is not None]
    return statistics.median(numbers) if numbers else None


def many_files():
    """Lets this process and those that it starts have as many open files as they may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
