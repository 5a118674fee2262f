"""Records a memcached in many kernels, and compares with what its client did.

run.py --help tells how; `make kernels` and `make kernels-gate` call it. Each kernel of
list.txt is booted once for each way to preempt, and does the scenes of scenes.txt, one
after the other. Prints a line for each, and ends with 1 where one was not right.
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import compare
import guest

HERE = Path(__file__).resolve().parent
HEADINGS = [
    "kernel", "preempt", "scene", "way", "operations", "connects, closes",
    "mcrec says lost", "kernel log", "begin / end, s", "",
]  # fmt: skip
# The two memcached, by architecture: Debian's, and one with probes.
SERVERS = {"amd64": ["debian-1.6.18", "1.6.18"], "arm64": ["debian", "probes"]}
WIDTHS = [13, 9, 10, 34, 13, 22, 24, 10, 14, 0]


@dataclass
class Kernel:
    name: str
    architecture: str
    preempt: list
    gate: str
    extra: bool

    @classmethod
    def of_line(cls, line):
        name, _, _, _, package, *_, preempt, runs = line.split()
        # Debian's packages end so.
        architecture = package.removesuffix(".deb").rpartition("_")[2]
        ways = preempt.split(",")
        gate = runs.partition("=")[2] or ways[0] if runs.startswith("gate") else ""
        return cls(name, architecture, ways, gate, runs == "extra")


def lines(path):
    text = path.read_text().splitlines()
    return [line for line in text if line.strip() and not line.startswith("#")]


def cache():
    named = os.environ.get("MCREC_KERNELS")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(named) if named else Path(base) / "mcrec/kernels"
    path.mkdir(parents=True, exist_ok=True)
    return path


def alone():
    """Waits until no other run is under way: each wants all of the machine."""
    lock = (cache() / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("kernels: another run is under way; waiting for its end", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--mcrec", required=True, help="the program to test")
    add("--drill", required=True, help="the client: cargo's example drill")
    add("--mcanalyze", required=True, help="reads the captures, on this side")
    add("--memcached", required=True, help="folder with the memcached to record", type=Path)
    add("--architecture", default="amd64", choices=guest.MACHINES, help="of kernels and programs")
    add("--system", help="folder with a Debian that has the libraries of that architecture")
    add("--gate", action="store_true", help="only the kernels and scenes of the gate")
    add("--only", default="", help="only the kernels of these names")
    add("--preempt", default="", help="only these ways to preempt (and kernels without a choice)")
    add("--scenes", default="", help="only these scenes")
    add("--minutes", type=float, default=0, help="how long the load takes [default: seconds]")
    add("--report", type=Path, help="write a Markdown table to this file")
    add("--keep", type=Path, help="keep captures, logs and counts in this folder")
    return parser.parse_args()


def words(text):
    return text.replace(",", " ").split()


def chosen_kernels(options):
    kernels = [Kernel.of_line(line) for line in lines(HERE / "list.txt")]
    kernels = [kernel for kernel in kernels if kernel.architecture == options.architecture]
    only = words(options.only)
    unknown = set(only) - {kernel.name for kernel in kernels}
    if unknown:
        sys.exit(f"kernels: list.txt has no kernel called {' or '.join(sorted(unknown))} "
                 f"for {options.architecture}")  # fmt: skip
    if only:
        kernels = [kernel for kernel in kernels if kernel.name in only]
    elif options.gate:
        kernels = [kernel for kernel in kernels if kernel.gate]
    preempt = words(options.preempt)
    for kernel in kernels:
        if options.gate and kernel.gate and not preempt:
            kernel.preempt = [kernel.gate]
        if preempt:
            kernel.preempt = [way for way in kernel.preempt if way in [*preempt, "fixed"]]
        # One that was asked for by name is not left out without a fault.
        kernel.extra = kernel.extra and kernel.name not in only
        if kernel.name in only and not kernel.preempt:
            print(f"kernels: {kernel.name} has no way to preempt of these", file=sys.stderr)
    return [kernel for kernel in kernels if kernel.preempt]


def scenes_of(kernel, scenes, options):
    """The names of those that this kernel is to do."""
    gate = ("gate", f"gate={kernel.name}")
    asked = not options.gate or words(options.scenes)
    return [scene[0] for scene in scenes if asked or scene[-1] in gate]


def chosen_scenes(options):
    table = [[part.strip() for part in line.split("|")] for line in lines(HERE / "scenes.txt")]
    wanted = words(options.scenes)
    unknown = set(wanted) - {scene[0] for scene in table}
    if unknown:
        sys.exit(f"kernels: scenes.txt has no scene called {' or '.join(sorted(unknown))}")
    if options.architecture != "amd64":
        # Elsewhere there is no other form than the older one, which this asks for.
        table = [scene for scene in table if "--without atomics" not in scene[3]]
    if wanted:
        return [scene for scene in table if scene[0] in wanted]
    return [scene for scene in table if scene[-1] != "asked"]


class Table:
    """What is shown, as it comes and, at the end, as Markdown."""

    def __init__(self):
        self.rows, self.wrong, self.left_out, self.details = [], 0, 0, []
        self.print(HEADINGS)

    def print(self, row):
        cells = [cell.ljust(width) for cell, width in zip(row, WIDTHS, strict=True)]
        print("  ".join(cells).rstrip(), flush=True)

    def add(self, kernel, preempt, scene, verdict):
        self.wrong += not verdict.right
        log = verdict.log if verdict.log in ("clean", "") else "NOT CLEAN"
        row = [kernel, preempt, scene, verdict.way, verdict.operations, verdict.connections]
        row += [verdict.lost, log, verdict.seconds]
        row += [": ".join(filter(None, ["right" if verdict.right else "WRONG", verdict.reason]))]
        self.rows.append(row)
        self.print(row)
        details = [*verdict.details]
        if log == "NOT CLEAN":
            details.insert(0, verdict.log)
        for line in details:
            print(f"{'':12}{line}", flush=True)
        self.details += [f"{kernel} {preempt} {scene}: {line}" for line in details]

    def leave_out(self, kernel, reason):
        self.left_out += 1
        row = [kernel, *[""] * 8, f"not run: {reason}"]
        self.rows.append(row)
        self.print(row)

    def markdown(self):
        text = [HEADINGS, ["---"] * len(HEADINGS), *self.rows]
        table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in text]
        return "\n".join([*table, "", *[f"- {line}" for line in self.details], ""])


def failed(reason, log=""):
    return compare.Verdict(reason=reason, log=log)


def in_kernel(paths, kernel, preempt, scenes, options, folder, table):
    """Boots a kernel, which is at `paths` with its initramfs, until all scenes were tried:
    one that brings it down costs a boot."""
    left = list(scenes)
    load = options.minutes * 60 or (3 if options.gate else 6)
    seconds = {"load": int(load), "churn": 2 if options.gate else 3}
    again = set()
    for attempt in range(2 * len(scenes)):
        if not left:
            return
        where = folder / f"boot-{attempt}"
        machine = guest.MACHINES[kernel.architecture]
        boot = guest.run(machine, paths, preempt, left, seconds, where)
        came = [name for name in left if name in boot.scenes]
        for name in came:
            left.remove(name)
            verdict = compare.judge(boot.scenes[name], preempt, options.mcanalyze)
            table.add(kernel.name, preempt, name, verdict)
        died = [name for name in left if name in boot.begun]
        if not came and not died:
            died = list(left)
        for name in died:
            # Once: a kernel that brings itself down so does it every time.
            if guest.is_emulators_fault(boot.trouble) and name not in again:
                again.add(name)
                print(f"{'':12}{name} is tried again, for the emulator's fault: {boot.trouble[0]}")
                continue
            left.remove(name)
            first = next(iter(boot.trouble), "")
            told = "; ".join([boot.failure or "nothing came out", *boot.trouble[:3]])
            table.add(kernel.name, preempt, name, failed(told, first))


def main():
    # So that what was begun is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    kernels, scenes = chosen_kernels(options), chosen_scenes(options)
    if not kernels:
        sys.exit("kernels: no kernel can be booted so")
    begin = time.monotonic()
    with alone(), tempfile.TemporaryDirectory() as temporary:
        keep = options.keep or Path(temporary)
        image = Path(temporary) / "image.cpio"
        programs = [options.mcrec, options.drill]
        programs += [
            options.memcached / f"memcached-{name}" for name in SERVERS[options.architecture]
        ]
        programs += [options.system] if options.system else []
        subprocess.run(["sh", HERE / "image.sh", image, *programs], check=True)
        table = Table()
        for kernel in kernels:
            fetched = subprocess.run(
                ["sh", HERE / "fetch.sh", kernel.name],
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if fetched.returncode != 0:
                if kernel.extra:
                    table.leave_out(kernel.name, "its package cannot be had, see above")
                else:
                    table.add(kernel.name, "", "", failed("its package cannot be had, see above"))
                continue
            paths = (fetched.stdout.strip(), str(image))
            for preempt in kernel.preempt:
                folder = keep / f"{kernel.name}-{preempt}"
                shutil.rmtree(folder, ignore_errors=True)
                names = scenes_of(kernel, scenes, options)
                in_kernel(paths, kernel, preempt, names, options, folder, table)
    if options.report:
        options.report.write_text(table.markdown())
    tried = len(table.rows) - table.left_out
    print(f"kernels: {tried} runs, {table.wrong} of them not right; "
          f"{table.left_out} kernels not run; {time.monotonic() - begin:.0f} s")  # fmt: skip
    return 1 if table.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
