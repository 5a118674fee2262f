"""Runs what a systemd service runs, under what its unit restricts it to.

    unit.py UNIT PROGRAM STATE NAME [ARGUMENT...]

reads the [Service] section of UNIT and applies each of its directives as systemd.exec(5)
describes them, in namespaces of its own, then executes ExecStart with ARGUMENTs added,
and with NAME for the word `memcached` in it.
PROGRAM stands where ExecStart expects it, and the folder STATE, which gets the service's
user for an owner, where it keeps its state. Needs root, and /usr/bin/python3 with
python3-seccomp.

A directive that this does not know is an error, and so is one that only systemd itself
could apply. Those in TIMING say when a service begins and ends, and not what it may do.
"""

import errno
import json
import os
import resource
import shlex
import stat
import subprocess
import sys

TIMING = {"Type", "Restart", "RestartSec", "SuccessExitStatus", "KillMode"}
# systemd takes one of these that is free.
DYNAMIC_USER = 61234
READ_ONLY = "remount,bind,ro"


def read(path):
    """The [Service] section: each directive's values, in order."""
    section, directives = None, {}
    with open(path) as lines:
        for line in map(str.strip, lines):
            if line.startswith("["):
                section = line
            elif line and line[0] not in "#;" and section == "[Service]":
                name, _, value = line.partition("=")
                directives.setdefault(name.strip(), []).append(value.strip())
    return directives


class Restrictions:
    """What the directives come to. Each method is a directive, called in this order."""

    def __init__(self, program, state):
        self.program, self.state = program, state
        # Rules for seccomp: a list of system calls (and conditions) each, as one filter.
        self.allowed, self.denied = set(), []
        self.unshare, self.mounts, self.hidden, self.shown = {"--mount"}, [], [], []
        self.credentials, self.proc, self.limits = [], [], {}
        self.unit, self.command, self.folder, self.mask = None, None, "/", 0o022

    def deny(self, calls, *condition, code=errno.EPERM):
        self.denied.append([expand(calls), condition, code])

    def yes(self, value):
        assert value == "yes", f"only 'yes' is known, not {value!r}"

    def ExecStart(self, value):
        self.command = shlex.split(value)

    def WorkingDirectory(self, value):
        self.folder = value

    def DynamicUser(self, value):
        self.yes(value)
        self.credentials += [f"--reuid={DYNAMIC_USER}", f"--regid={DYNAMIC_USER}"]
        self.credentials += ["--clear-groups"]

    def User(self, value):
        # Its name is of no consequence, as it is made for the service.
        assert self.credentials, "without DynamicUser, a user would have to be there"

    def StateDirectory(self, value):
        self.unit = value

    def StateDirectoryMode(self, value):
        os.chmod(self.state, int(value, 8))

    def UMask(self, value):
        self.mask = int(value, 8)

    def CapabilityBoundingSet(self, value):
        self.credentials += [f"--bounding-set={capabilities(value)}"]

    def AmbientCapabilities(self, value):
        names = capabilities(value)
        self.credentials += [f"--inh-caps={names}", f"--ambient-caps={names}"]

    def NoNewPrivileges(self, value):
        self.yes(value)
        self.credentials += ["--no-new-privs"]

    def LimitMEMLOCK(self, value):
        assert value == "infinity"
        self.limits["RLIMIT_MEMLOCK"] = resource.RLIM_INFINITY

    def ProtectSystem(self, value):
        assert value == "strict", value
        self.mounts.append("system")

    def ProtectHome(self, value):
        self.yes(value)
        self.hidden += ["/home", "/root", "/run/user"]

    def PrivateTmp(self, value):
        self.yes(value)
        self.mounts.append("tmp")

    def PrivateDevices(self, value):
        self.yes(value)
        self.mounts.append("dev")
        self.deny(["@raw-io"])

    def ProtectProc(self, value):
        self.proc += [f"hidepid={value}"]

    def ProcSubset(self, value):
        self.proc += [f"subset={value}"]

    def ProtectKernelTunables(self, value):
        self.yes(value)
        self.shown += ["/proc/sys", "/proc/sysrq-trigger", "/proc/latency_stats", "/proc/acpi"]
        self.shown += ["/proc/timer_stats", "/proc/fs", "/proc/irq", "/sys"]
        self.hidden += ["/proc/kallsyms", "/proc/kcore"]

    def ProtectKernelModules(self, value):
        self.yes(value)
        self.deny(["@module"])
        self.hidden += ["/usr/lib/modules"]

    def ProtectKernelLogs(self, value):
        self.yes(value)
        self.deny(["syslog"])
        self.hidden += ["/proc/kmsg", "/dev/kmsg"]

    def ProtectControlGroups(self, value):
        self.yes(value)
        self.shown += ["/sys/fs/cgroup"]

    def ProtectHostname(self, value):
        self.yes(value)
        self.unshare.add("--uts")
        self.deny(["sethostname", "setdomainname"])

    def ProtectClock(self, value):
        self.yes(value)
        self.deny(["@clock"])

    def PrivateNetwork(self, value):
        self.yes(value)
        self.unshare.add("--net")

    def PrivateIPC(self, value):
        self.yes(value)
        self.unshare.add("--ipc")

    def RestrictAddressFamilies(self, value):
        assert value == "none", value
        self.deny(["socket"], code=errno.EAFNOSUPPORT)

    def RestrictNamespaces(self, value):
        self.yes(value)
        self.deny(["unshare", "setns"])
        # What it is asked for is in memory; the C library then uses the older one.
        self.deny(["clone3"], code=errno.ENOSYS)
        for name in ["NEWNS", "NEWCGROUP", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET"]:
            flag = getattr(os, f"CLONE_{name}", None) or CLONE[name]
            self.deny(["clone"], 0, flag, flag)

    def RestrictRealtime(self, value):
        self.yes(value)
        for policy in [os.SCHED_FIFO, os.SCHED_RR, 6]:
            self.deny(["sched_setscheduler"], 1, 0xFFFFFFFF, policy)

    def RestrictSUIDSGID(self, value):
        self.yes(value)
        modes = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1}
        modes |= {"mknodat": 2, "open": 2, "openat": 3, "creat": 1}
        for call, argument in modes.items():
            for bit in [stat.S_ISUID, stat.S_ISGID]:
                self.deny([call], argument, bit, bit)
        self.deny(["openat2"], code=errno.ENOSYS)

    def LockPersonality(self, value):
        self.yes(value)
        self.deny(["personality"])

    def MemoryDenyWriteExecute(self, value):
        self.yes(value)
        self.deny(["mmap"], 2, 6, 6)
        self.deny(["mprotect", "pkey_mprotect"], 2, 4, 4)
        self.deny(["shmat"], 2, 0o100000, 0o100000)

    def SystemCallArchitectures(self, value):
        # The filters of seccomp do not let others pass, whatever is in them.
        assert value == "native", value

    def SystemCallErrorNumber(self, value):
        assert value == "EPERM", value

    def SystemCallFilter(self, value):
        assert not value.startswith("~"), "only what is allowed is known"
        self.allowed |= set(expand(value.split()))


CLONE = {"NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000}
CLONE |= {"NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000}


def capabilities(names):
    return ",".join(["-all"] + ["+" + name.removeprefix("CAP_").lower() for name in names.split()])


def expand(calls):
    """Names of system calls, without those of groups."""
    names = []
    for call in calls:
        if not call.startswith("@"):
            names.append(call)
            continue
        listed = ["systemd-analyze", "syscall-filter", call]
        listed = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
        lines = [line.strip() for line in listed.splitlines()[1:]]
        names += expand([line for line in lines if line and not line.startswith("#")])
    return names


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def tmpfs(path, mode):
    mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", path)


def mounted():
    with open("/proc/self/mountinfo") as lines:
        return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def lay_out(restrictions):
    """Makes the file system that the service sees."""
    os.chown(restrictions.state, DYNAMIC_USER, DYNAMIC_USER)
    # In the place of the program alone, the state alone: nothing is left on this machine.
    tmpfs(os.path.dirname(restrictions.command[0]), 755)
    subprocess.run(["cp", restrictions.program, restrictions.command[0]], check=True)
    tmpfs("/var/lib", 755)
    private = f"/var/lib/private/{restrictions.unit}"
    os.mkdir("/var/lib/private", 0o700)
    os.mkdir(private)
    os.symlink(f"private/{restrictions.unit}", f"/var/lib/{restrictions.unit}")
    mount("--bind", restrictions.state, private)
    if "tmp" in restrictions.mounts:
        tmpfs("/tmp", 1777)
        tmpfs("/var/tmp", 1777)
    if "dev" in restrictions.mounts:
        devices()
    if restrictions.proc:
        mount("-t", "proc", "-o", ",".join(restrictions.proc), "proc", "/proc")
    if "system" in restrictions.mounts:
        for path in mounted():
            if not path.startswith((private, "/dev", "/proc", "/sys", "/tmp", "/var/tmp")):
                mount("-o", READ_ONLY, path)
    for path in filter(os.path.exists, restrictions.shown):
        if path not in mounted():
            mount("--bind", path, path)
        mount("-o", READ_ONLY, path)
    for path in filter(os.path.exists, restrictions.hidden):
        if os.path.isdir(path):
            tmpfs(path, "000")
        else:
            mount("--bind", "/dev/null", path)


def devices():
    names = ["null", "zero", "full", "random", "urandom", "tty"]
    numbers = {name: os.stat(f"/dev/{name}").st_rdev for name in names}
    tmpfs("/dev", 755)
    for name, number in numbers.items():
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, number)
        os.chmod(f"/dev/{name}", 0o666)


def filters(allowed, denied, command):
    """The last step, as the service's user: nothing but the command is run any more."""
    import seccomp

    def rules(program, action, calls, *condition):
        for call in calls:
            # The library, or this architecture, may not know it.
            if seccomp.resolve_syscall(seccomp.Arch(), call) >= 0:
                program.add_rule(action, call, *condition)

    for calls, condition, code in denied:
        program = seccomp.SyscallFilter(seccomp.ALLOW)
        where = ()
        if condition:
            argument, mask, value = condition
            where = (seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value),)
        rules(program, seccomp.ERRNO(code), calls, *where)
        program.load()
    if allowed:
        program = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
        # Filters on top of it are for what is not wanted of the allowed.
        rules(program, seccomp.ALLOW, allowed)
        program.load()
    os.execv(command[0], command)


def main():
    if sys.argv[1] == "--filters":
        return filters(*map(json.loads, sys.argv[2:]))
    inside = sys.argv[1] == "--inside"
    unit, program, state, name, *arguments = sys.argv[2 if inside else 1 :]
    restrictions = Restrictions(program, state)
    for directive, values in read(unit).items():
        if directive in TIMING:
            continue
        known = getattr(restrictions, directive, None) if directive[0].isupper() else None
        if known is None:
            sys.exit(f"unit.py: {directive} is not known, or not to be had without systemd")
        for value in values:
            known(value)
    if not inside:
        again = ["/usr/bin/python3", __file__, "--inside", *sys.argv[1:]]
        os.execvp("unshare", ["unshare", *sorted(restrictions.unshare), *again])
    with open(__file__) as source:
        source = source.read()
    lay_out(restrictions)
    for which, limit in restrictions.limits.items():
        try:
            resource.setrlimit(getattr(resource, which), (limit, limit))
        except ValueError:
            # Raising one is not ours to do everywhere; as it is, it is narrower.
            continue
    os.umask(restrictions.mask)
    command = [name if word == "memcached" else word for word in restrictions.command]
    last = [sorted(restrictions.allowed), restrictions.denied, command + arguments]
    last = ["/usr/bin/python3", "-c", source, "--filters", *map(json.dumps, last)]
    # Before the file system's owner is left behind: the state is the service's alone.
    os.chdir(restrictions.folder)
    os.execvp("setpriv", ["setpriv", *restrictions.credentials, *last])


if __name__ == "__main__":
    main()
