"""A kernel in a virtual machine, and what comes out of it.

The guest's console is one file, and what it sends over a port of its own another: tar
archives, one for each scene that is over.
"""

import os
import re
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path

# Lines of a kernel log after which nothing is right, and where it happened.
TROUBLE = re.compile(
    r"BUG:|Oops|WARNING:|Kernel panic|general protection|blocked for more than|RIP: 0010"
    r"|Internal error|Unable to handle kernel|[Dd]etected hard LOCKUP"
)
# After these the kernel reboots by itself, or never does anything again.
FATAL = re.compile(r"Oops|BUG: unable to handle|Kernel panic|Unable to handle kernel")
STAMP = re.compile(r"^\[ *\d+\.\d+\](\[ *\w+\])? *")
# A scene, apart from its load, and the boot: on an emulated machine whose host is busy.
SCENE_SECONDS = 300
# Scenes of many recordings, one after the other.
AGAIN = re.compile(r"again")
AGAIN_SECONDS = 3000
BOOT_SECONDS = 120
DYING_SECONDS = 20


@dataclass
class Machine:
    """What qemu emulates for an architecture, as Debian calls that."""

    command: list
    # In the guest: its console, and where it sends archives to, the first that is there.
    console: str
    ports: str
    # Arguments that lead what is sent to a file: of what the guest sees as a port, or a disk.
    port_to: list
    disk_to: list


MACHINES = {
    "amd64": Machine(
        ["qemu-system-x86_64", "-cpu", "max"], "ttyS0", "/dev/ttyS1", ["-serial", "file:{}"], []
    ),
    # Without instructions to sign pointers as the processor does, which takes long to
    # emulate. It has one serial port, and one that is added takes minutes. Of the two others
    # Debian's kernels for clouds have the disk's driver built in, and the rest the port's.
    "arm64": Machine(
        ["qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on"],
        "ttyAMA0",
        "/dev/nvme0n1,/dev/vport0p1",
        ["-chardev", "file,id=port,path={}", "-device", "virtio-serial-pci",
         "-device", "virtserialport,chardev=port"],
        ["-drive", "if=none,id=disk,format=raw,file={}", "-device", "nvme,drive=disk,serial=disk"],
    ),
}  # fmt: skip
# Of which only what is written takes room.
DISK_BYTES = 1 << 30


def read(path):
    """What is in a file that may not be there, or not be text."""
    return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class Scene:
    """What a guest sent of a scene: its files, by name."""

    folder: Path
    facts: dict = field(default_factory=dict)

    def text(self, name):
        return read(self.folder / name)


@dataclass
class Boot:
    """How a boot went."""

    scenes: dict
    begun: list
    # What ended it too early, or nothing.
    failure: str
    trouble: list


def trouble(log):
    """The lines of a kernel log that tell of something wrong, without their times."""
    return [STAMP.sub("", line) for line in log.splitlines() if TROUBLE.search(line)]


def trim(path):
    """Ends a file where nothing was written any more."""
    with path.open("r+b") as file:
        file.truncate(os.lseek(file.fileno(), 0, os.SEEK_HOLE))


def is_emulators_fault(trouble):
    """Whether a kernel went down by what qemu did. The kernel patches its code under a
    breakpoint, and qemu 7.2 may run into one that was taken away already; the kernel, which
    knows of none there, gives up. Seen in one boot of some fifty."""
    return any("int3: 0000" in line for line in trouble)


def unpack(archives, folder):
    """Writes the files of all archives, up to where they break off, and returns the scenes."""
    scenes = {}
    if not archives.exists() or archives.stat().st_size == 0:
        return scenes
    try:
        with tarfile.open(archives, ignore_zeros=True) as tar:
            for member in tar:
                parts = Path(member.name).parts
                if not member.isfile() or len(parts) != 2 or ".." in parts:
                    continue
                path = folder / parts[0] / parts[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())
                scenes.setdefault(parts[0], Scene(path.parent))
    except (tarfile.ReadError, EOFError):
        # The guest died while it sent: what is missing will be missed.
        pass
    for scene in scenes.values():
        for line in scene.text("facts").splitlines():
            name, _, value = line.partition(" ")
            scene.facts[name] = value
    return scenes


def run(machine, paths, preempt, scenes, seconds, folder):
    """Boots the kernel and the initramfs at `paths` for `scenes`, and returns when that is
    over, one way or the other."""
    folder.mkdir(parents=True, exist_ok=True)
    console, archives, disk = folder / "console", folder / "archives", folder / "disk"
    words = [f"console={machine.console}", "loglevel=5", "panic=-1", "oops=panic"]
    words += ["mitigations=off", f"ports={machine.ports}", f"scenes={','.join(scenes)}"]
    words += [f"{name}={value}" for name, value in seconds.items()]
    if preempt != "fixed":
        words.append(f"preempt={preempt}")
    for path in (console, archives, disk):
        path.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    # The machine ends with this program, however that ends.
    command = ["nice", "-n", "10", "setpriv", "--pdeathsig", "KILL"]
    # KVM is not used where it is there: a guest is to be the same everywhere.
    command += [*machine.command, "-serial", f"file:{console}"]
    command += [argument.format(archives) for argument in machine.port_to]
    command += [argument.format(disk) for argument in machine.disk_to]
    command += ["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1536"]
    command += ["-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-kernel", paths[0], "-initrd", paths[1], "-append", " ".join(words)]
    limit = BOOT_SECONDS + sum(SCENE_SECONDS + 2 * sum(seconds.values()) for _ in scenes)
    limit += sum(AGAIN_SECONDS for scene in scenes if AGAIN.match(scene))
    failure = watch(command, console, time.monotonic() + limit)
    trim(disk)
    log = read(console)
    begun = re.findall(r"^scene (\S+)\s*$", log, re.MULTILINE)
    if not failure and "no more scenes" not in log:
        failure = "the machine went down" if begun else "the kernel did not boot"
    came = unpack(archives, folder) | unpack(disk, folder)
    return Boot(came, begun, failure, trouble(log))


def watch(command, console, end):
    """Runs `command` until it ends, its guest is dead, or the time is over."""
    dies = None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as machine:
        try:
            while True:
                try:
                    status = machine.wait(timeout=0.5)
                    return f"qemu ended with status {status}" if status else ""
                except subprocess.TimeoutExpired:
                    pass
                now = time.monotonic()
                if dies is None and FATAL.search(read(console)):
                    dies = now + DYING_SECONDS
                if dies is not None and now > dies:
                    return "the kernel crashed"
                if now > end:
                    return "it took too long"
        finally:
            machine.kill()
