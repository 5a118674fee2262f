"""How a benchmark begins and ends: what it is asked, what it needs, and that nothing that it
started is left when it ends, however it ends."""

import argparse
import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# What runs; whether a signal has to wait, and which one did.
STARTED = []
SIGNALS = {"wait": False, "waited": None}
# What memcached and its clients open beside the connections of a load.
SPARE_FILES = 100


class CannotRun(Exception):
    """What whoever runs a benchmark can mend."""


def run(main):
    """The whole of a script."""
    sys.stdout.reconfigure(line_buffering=True)
    for number in ENDING:
        # What nohup or a shell without job control ignores stays so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupted)
    try:
        with no_process_left():
            main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # Nobody reads on; nor can what is still to be written be.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except CannotRun as reason:
        print(f"{pathlib.Path(sys.argv[0]).name}: {reason}", file=sys.stderr)
        sys.exit(2)


def interrupted(number, _frame):
    if SIGNALS["wait"]:
        SIGNALS["waited"] = number
        return
    # A second one does not break off the cleaning up.
    for each in ENDING:
        signal.signal(each, lambda *_: None)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextlib.contextmanager
def undisturbed():
    """Signals wait until this is left."""
    waits, SIGNALS["wait"] = SIGNALS["wait"], True
    try:
        yield
    finally:
        SIGNALS["wait"] = waits
        if not waits and SIGNALS["waited"]:
            number, SIGNALS["waited"] = SIGNALS["waited"], None
            interrupted(number, None)


def start(command, **how):
    """A process in a session of its own, so that Ctrl-C comes here only. No signal comes
    between its start and its being known."""
    with undisturbed():
        process = subprocess.Popen(command, start_new_session=True, **how)
        STARTED.append(process)
        return process


def output(command, **how):
    """What a program prints that ends by itself."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, start_new_session=True, **how)
    if done.returncode:
        raise CannotRun(f"{' '.join(map(str, command[:2]))} ended with {done.returncode}")
    return done.stdout


def end(process):
    """Kills a process, with those that it started, if it still runs, and forgets it."""
    with undisturbed():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        STARTED.remove(process)
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe and pipe.close()


@contextlib.contextmanager
def no_process_left():
    """Ends what was started within, the last first."""
    before = list(STARTED)
    try:
        yield
    finally:
        with undisturbed():
            for process in reversed([process for process in STARTED if process not in before]):
                end(process)


@contextlib.contextmanager
def temporary_folder():
    place = tempfile.TemporaryDirectory()
    try:
        yield pathlib.Path(place.name)
    finally:
        with undisturbed():
            place.cleanup()


def one_line(said):
    return "; ".join(line.strip() for line in said.splitlines() if line.strip())


def parser(documentation):
    """For the arguments of a script, of which the first is TARGET, with the usage and the help
    that its documentation has."""
    title, usage, rest = documentation.split("\n\n", 2)
    arguments = argparse.ArgumentParser(usage=usage.strip(), description=f"{title}\n\n{rest}",
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("target", metavar="TARGET", type=folder, help="cargo's target folder")
    return arguments


def folder(text):
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return pathlib.Path(text)


def whole(least=1):
    """A whole number, not below `least`."""
    def number(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} on")
        return int(text)
    return number


def seconds(text):
    try:
        if 0 < float(text) < float("inf"):
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above zero")


def with_source(arguments):
    arguments.add_argument("--source", choices=["syscalls", "usdt"], default="syscalls",
                           help="what mcrec records through: syscalls, if not given")


def need(target, programs, examples=(), servers=(), root=True):
    """That what was built is there, and that this may record."""
    if root and os.geteuid() != 0:
        raise CannotRun("this needs root")
    for server in servers:
        if not os.path.isfile(target / f"memcached/memcached-{server}"):
            raise CannotRun(f"there is no memcached/memcached-{server} in {target}: make memcached")
    wanted = [("bin", "release", name) for name in programs]
    wanted += [("example", "release/examples", name) for name in examples]
    missing = [(kind, name) for kind, place, name in wanted if not os.path.isfile(target / place / name)]
    if missing:
        raise CannotRun(f"{target} lacks {', '.join(name for _, name in missing)}: cargo build --release "
                        + " ".join(f"--{kind} {name}" for kind, name in missing))


def need_modules(python, *modules):
    """That an interpreter of Python has what is asked of it."""
    for module in modules:
        try:
            found = subprocess.run([python, "-c", f"import {module}"], capture_output=True,
                                   start_new_session=True).returncode == 0
        except OSError as error:
            raise CannotRun(f"{python} cannot be run: {error.strerror}") from None
        if not found:
            raise CannotRun(f"{python} has no module {module}: make python")


def need_files(connections):
    """Lets this process and those that it starts have as many open files as they may, which
    have to be enough for so many connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < connections + SPARE_FILES:
        raise CannotRun(f"{connections} connections need {connections + SPARE_FILES} open files, "
                        f"and the limit is {most} (ulimit -Hn)")
