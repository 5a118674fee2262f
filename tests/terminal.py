"""Works with `mcanalyze top` in a real terminal, which is tmux.

    terminal.py PROGRAM SCENARIO FILE

Nothing is waited for longer than it takes: a condition is looked for on the screen until
it is there. Where FILE is to grow, `more` is printed, and a line awaited.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time

SECONDS = 60


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, program, file, *options, width=80, height=24):
        self.folder = tempfile.TemporaryDirectory()
        self.command = shlex.join([program, "top", file, *options])
        size = ["-x", str(width), "-y", str(height)]
        self.tmux("new-session", "-d", *size, "env", "PS1=$ ", "sh")
        self.wait("a shell", lambda lines: lines[0].startswith("$"))

    def tmux(self, *words):
        # One server for each, without anybody's configuration.
        socket = os.path.join(self.folder.name, "socket")
        command = ["tmux", "-u", "-S", socket, "-f", "/dev/null", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")
        self.folder.cleanup()

    def screen(self):
        return [line.rstrip() for line in self.tmux("capture-pane", "-p").split("\n")[:-1]]

    def is_(self, format):
        return self.tmux("display-message", "-p", "#{" + format + "}").strip()

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def wait(self, what, condition):
        """Until `condition` of the screen is so."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            lines = self.screen()
            if condition(lines):
                return lines
            time.sleep(0.02)
        raise AssertionError(what + " is not on the screen:\n" + "\n".join(self.screen()))

    def shell(self, command):
        self.type(command)
        self.press("Enter")

    def start(self):
        """Starts it, and remembers how the terminal was."""
        self.shell("stty -g > %s/before; echo before" % self.folder.name)
        self.wait("the shell", lambda lines: "before" in lines)
        self.shell(self.command + "; echo status $?")
        return self.wait("a table", lambda lines: lines[1].startswith("[keys]"))

    def assert_restored(self, status):
        """It has ended, and the terminal is as it was."""
        ended = "status %d" % status
        lines = self.wait(ended, lambda lines: ended in lines)
        # What was there before is there again.
        assert "before" in lines, lines
        assert self.is_("alternate_on") == "0" and self.is_("cursor_flag") == "1"
        self.shell("stty -g | cmp - %s/before && echo same" % self.folder.name)
        self.wait("the same terminal", lambda lines: "same" in lines)


def answer(program, file, *options):
    command = [program, file, "--format", "json", "--top", "5", *options]
    return json.loads(subprocess.run(command, capture_output=True).stdout)["top"]


def table(lines):
    """The words of the lines of the table."""
    return [line.split() for line in lines[3:] if line]


def begins(word):
    return lambda lines: lines[-1].startswith(word)


def work(program, file):
    """All that one does with it."""
    hottest, missed = answer(program, file), answer(program, file, "--sort", "misses")
    with Terminal(program, file) as terminal:
        terminal.start()
        lines = terminal.wait("the end of it", begins("up to date"))
        for line, top in zip(table(lines), hottest, strict=False):
            assert line[:2] == [top["key"], f"{top['calls']:,}"], (line, top)
        assert "30,000 operations" in lines[0], lines[0]

        terminal.press("n")
        # With its lines: the screen may be seen while it is drawn.
        keys = [top["key"] for top in missed]
        by_misses = lambda lines: [line[0] for line in table(lines)[:5]] == keys
        terminal.wait("misses", lambda lines: "misses↓" in lines[2] and by_misses(lines))
        terminal.press("c", "t")
        coldest = lambda lines: table(lines)[:1] and table(lines)[0][1] == "1"
        terminal.wait("the coldest", lambda lines: "calls↑" in lines[2] and coldest(lines))
        terminal.press("t", "G")
        terminal.wait("the bottom", lambda lines: " 7,425 of 7,425" in lines[1])
        terminal.press("g", "j", "Down", "k")
        terminal.wait("the second line", lambda lines: lines[1].endswith(" 2 of 7,425"))

        terminal.press("/")
        terminal.type("^user:1.*0:")
        like = lambda lines: all(line[0].startswith("user:1") for line in table(lines[:-1]))
        terminal.wait("a filter", lambda lines: lines[-1].startswith("/^user:1.*0:") and like(lines))
        terminal.press("Enter")
        terminal.wait("the filtered table", begins("up to date"))
        terminal.press("Escape")
        terminal.wait("all lines", lambda lines: lines[1].endswith(" 1 of 7,425"))

        terminal.press("Enter")
        top = hottest[0]
        parts = [f"{top['calls']:,} (", f"{top['hits']:,} hits", "latency ", "over time ", "█"]
        opened = lambda lines: all(part in "\n".join(lines) for part in parts)
        terminal.wait("the key", lambda lines: lines[2] == "key " + top["key"] and opened(lines))
        terminal.press("q")
        for view in ["prefixes", "clients", "commands", "over time", "keys"]:
            terminal.press("Tab")
            terminal.wait(view, lambda lines: f"[{view}]" in lines[1])
        terminal.press("?")
        terminal.wait("help", lambda lines: any("regular expression" in line for line in lines))
        terminal.press("Escape")
        terminal.wait("keys", lambda lines: lines[2].startswith("key "))

        terminal.press("p")
        terminal.wait("it played", begins("PLAYED to the end"))
        terminal.wait("all of it", lambda lines: "30,000 operations" in lines[0])
        terminal.press("p")
        lines = terminal.wait("the end of it", begins("up to date"))
        terminal.wait("all of it", lambda lines: "30,000 operations" in lines[0])
        terminal.press("q")
        terminal.assert_restored(0)


def play(program, file):
    """At its own pace, and others."""

    def operations(lines):
        words = lines[0].split()
        return int(words[words.index("operations") - 1].replace(",", ""))

    with Terminal(program, file, "--speed", "0.001") as terminal:
        terminal.start()
        lines = terminal.wait("a clock", begins("PLAYING"))
        lines = terminal.wait("some operations", lambda lines: operations(lines) > 0)
        assert operations(lines) < 30_000 and "0.015625 x" in lines[-1], lines
        terminal.wait("more", lambda now: operations(now) > operations(lines))
        terminal.press("Space")
        lines = terminal.wait("a pause", begins("PAUSED"))
        terminal.press("+", ">", "-")
        lines = terminal.wait("another speed", lambda lines: "0.03125 x" in lines[-1])
        assert lines[-1].startswith("PAUSED"), lines
        paused = operations(lines)
        terminal.press("Space")
        terminal.wait("more", lambda lines: operations(lines) > paused)
        terminal.press("p")
        terminal.wait("all of it", lambda lines: operations(lines) == 30_000)
        terminal.press("q")
        terminal.assert_restored(0)


def hostile(program, file):
    """Keys do nothing but stand there."""
    with Terminal(program, file) as terminal:
        title = terminal.is_("pane_title")
        terminal.start()
        lines = terminal.wait("the end of it", begins("up to date"))
        for seen in [r"\x1b]0;title\x07", r"user\u{202e}1:resu", "zażółć-日本-🦀", r"\u{9b}31mC1"]:
            assert any(line.startswith(seen + " ") for line in lines), (seen, lines)
        for _ in range(26):
            terminal.press("Enter")
            lines = terminal.wait("a key", begins_second("key "))
            assert all(c.isprintable() for c in "".join(lines)), lines
            terminal.press("Escape")
            terminal.wait("keys", lambda lines: "~p99" in lines[2])
            terminal.press("j")
        lines = terminal.wait("the bottom", lambda lines: lines[1].endswith(" 26 of 26"))
        assert all(c.isprintable() for c in "".join(lines)), lines
        assert terminal.is_("pane_title") == title
        terminal.press("q")
        terminal.assert_restored(0)


def begins_second(word):
    return lambda lines: lines[2].startswith(word) and "~p99" not in lines[2]


def resize(program, file):
    """The screen fills whatever terminal there is."""
    with Terminal(program, file) as terminal:
        terminal.start()
        for width, height in [(120, 40), (60, 15), (20, 5), (80, 24)]:
            terminal.tmux("resize-window", "-x", str(width), "-y", str(height))

            def fills(lines):
                above = lines[2].startswith("key ") and len(lines[2]) <= width
                table = width < 60 or len(lines[2]) == width
                return len(lines) == height and above and table and lines[-1].startswith("up to")

            terminal.wait(f"a table {width} x {height}", fills)
        terminal.press("q")
        terminal.assert_restored(0)


def ends(program, file):
    """Signals end it, and the terminal is as it was."""
    for number in [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]:
        with Terminal(program, file) as terminal:
            terminal.start()
            shell = terminal.is_("pane_pid")
            child = open(f"/proc/{shell}/task/{shell}/children").read().split()
            assert len(child) == 1, child
            os.kill(int(child[0]), number)
            terminal.assert_restored(128 + number)
    with Terminal(program, file) as terminal:
        terminal.start()
        terminal.press("C-c")
        terminal.assert_restored(0)


def hangup(program, file):
    """Without its terminal it ends too, though nobody tells it."""
    terminal = Terminal(program, file)
    # A hangup is told to the shell, and by it: not to what ignores that.
    terminal.shell("trap '' HUP")
    terminal.start()
    shell = terminal.is_("pane_pid")
    (child,) = open(f"/proc/{shell}/task/{shell}/children").read().split()
    terminal.tmux("kill-server")
    deadline = time.monotonic() + SECONDS
    while os.path.exists(f"/proc/{child}") and state(child) != "Z":
        assert time.monotonic() < deadline, f"{child} is still there, {state(child)}"
        time.sleep(0.02)
    terminal.folder.cleanup()


def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def grows(program, file):
    """What is committed is seen."""

    def more():
        print("more", flush=True)
        assert sys.stdin.readline()

    with Terminal(program, file) as terminal:
        terminal.start()
        terminal.wait("no keys", lambda lines: lines[3] == "no keys yet")
        terminal.wait("recording", lambda lines: lines[-2] == "STILL BEING RECORDED")
        more()
        terminal.wait("one commit", lambda lines: table(lines)[0][:2] == ["first", "100"])
        more()
        terminal.wait("another", lambda lines: table(lines)[0][:2] == ["second", "200"])
        lines = terminal.wait("both", lambda lines: "300 operations" in lines[0])
        assert table(lines)[1][:2] == ["first", "100"], lines
        # The end of it.
        more()
        terminal.wait("the end", lambda lines: "450 operations" in lines[0] and not lines[-2])
        lines = terminal.screen()
        assert table(lines)[0][:2] == ["second", "350"], lines
        terminal.press("q")
        terminal.assert_restored(0)


if __name__ == "__main__":
    program, scenario, file = sys.argv[1:]
    globals()[scenario](program, file)
