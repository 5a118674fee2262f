"""Whether a recording has what its client did, and if not, whether it says so."""

import collections
import csv
import io
import json
import subprocess
from dataclasses import dataclass, field

import guest

ROWS = "SELECT op, protocol, status, count(*) AS n FROM capture GROUP BY op, protocol, status"

# Lines of a refusal that are shown.
REMARKS = 12


@dataclass
class Verdict:
    """What is shown of a run."""

    right: bool = False
    reason: str = ""
    way: str = ""
    operations: str = ""
    connections: str = ""
    lost: str = ""
    log: str = ""
    seconds: str = ""
    details: list = field(default_factory=list)


def client_counts(text):
    """The operations, and the connects and closes, of what the client printed."""
    operations, connections = collections.Counter(), {}
    for words in map(str.split, text.splitlines()):
        if len(words) == 4:
            operations[tuple(words[:3])] = int(words[3])
        elif len(words) == 2:
            connections[words[0]] = int(words[1])
    return operations, connections


def recorded_counts(mcanalyze, capture):
    """The same of a capture's rows."""
    answer = subprocess.run(
        [mcanalyze, "sql", "--format", "csv", capture, ROWS],
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 says that operations were lost, which is in the footer too.
    if answer.returncode not in (0, 1):
        raise ValueError(f"mcanalyze cannot read the capture: {answer.stderr.strip()}")
    operations, connections = collections.Counter(), {"connect": 0, "disconnect": 0}
    for row in csv.DictReader(io.StringIO(answer.stdout)):
        if row["op"] in connections:
            connections[row["op"]] += int(row["n"])
        else:
            operations[row["op"], row["protocol"], row["status"]] += int(row["n"])
    return operations, connections


def footer_of(mcanalyze, capture):
    answer = subprocess.run(
        [mcanalyze, "info", "--format", "json", capture],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode not in (0, 1):
        raise ValueError(f"mcanalyze cannot read the capture: {answer.stderr.strip()}")
    return json.loads(answer.stdout)["footer"]


def said(loss):
    """How many operations mcrec says are not in the capture, may not be, and are in it
    without all that there was to know."""
    lost = sum(loss["losses"].values())
    possible = loss.get("possible", {})
    possible = sum(possible.values()) if isinstance(possible, dict) else possible
    return lost, possible, sum(loss["incomplete"].values())


class Differences:
    """Of two counts of operations: what is right, missing, unknown and too much."""

    def __init__(self, done, recorded):
        self.right, self.missing, self.unknown = 0, 0, 0
        self.invented, self.lines = 0, []
        for op, protocol in sorted({name[:2] for name in [*done, *recorded]}):
            self.compare(
                f"{op} {protocol}",
                {name[2]: n for name, n in done.items() if name[:2] == (op, protocol)},
                {name[2]: n for name, n in recorded.items() if name[:2] == (op, protocol)},
            )

    def compare(self, name, done, recorded):
        """An operation's counts by status: a row that says `unknown` is one of those that
        are missing otherwise."""
        unknown = recorded.pop("unknown", 0) - done.pop("unknown", 0)
        missing = 0
        for status in sorted({*done, *recorded}):
            wanted, seen = done.get(status, 0), recorded.get(status, 0)
            self.right += min(wanted, seen)
            missing += max(0, wanted - seen)
            self.invented += max(0, seen - wanted)
            if wanted != seen:
                self.lines.append(f"{name} {status}: {wanted} done, {seen} recorded")
        if unknown:
            self.lines.append(f"{name}: {unknown} recorded as unknown")
        self.invented += max(0, unknown - missing)
        self.unknown += min(unknown, missing)
        self.missing += missing - min(unknown, missing)


def judge(scene, asked_preempt, mcanalyze):
    """Looks at all that a guest sent of a scene."""
    verdict, facts = Verdict(), scene.facts
    begin, end = (milliseconds(facts.get(name)) for name in ("begin_ms", "end_ms"))
    verdict.seconds = f"{begin} / {end}"
    logged = guest.trouble(scene.text("kernel"))
    verdict.log = logged[0] if logged else "clean"
    remarks = [line for line in scene.text("mcrec").splitlines() if line.strip()]
    problems = []
    if asked_preempt != "fixed" and facts.get("preempt") != asked_preempt:
        problems.append(f"the kernel runs preempt={facts.get('preempt', 'as built')}")
    if logged:
        problems.append("the kernel's log is not clean")
    if "failed" in facts:
        problems.append(facts["failed"])
    elif "refused" in facts:
        problems.append(f"refused: {remarks[0] if remarks else 'without a word'}")
        # Of a verifier's log, the end says why.
        verdict.details = [line.strip() for line in remarks[1:][-REMARKS:]]
    elif "recordings" in facts:
        problems += survival(facts)
        verdict.operations = f"{facts['recordings']} recordings"
        verdict.reason = f"BPF programs, links and maps left: {facts['objects']}"
    else:
        problems += endings(scene)
        try:
            problems += contents(scene, mcanalyze, verdict)
        except (ValueError, KeyError) as error:
            problems.append(str(error))
    verdict.right = not problems
    verdict.reason = "; ".join(problems) or verdict.reason
    return verdict


def endings(scene):
    """What did not end as it should."""
    problems, facts = [], scene.facts
    if facts.get("client_status") != "0":
        problems.append("the client failed: " + " ".join(scene.text("client.error").split()))
    if facts.get("mcrec_status") not in ("0", "1"):
        problems.append(f"mcrec ended with status {facts.get('mcrec_status')}")
    return [*problems, *survival(facts)]


def survival(facts):
    """What a memcached that should not mind being recorded did mind."""
    problems = []
    if facts.get("answers") != "yes":
        problems.append("memcached does not answer any more")
    if facts.get("memcached_status") != "0":
        problems.append(f"memcached ended with status {facts.get('memcached_status')}")
    return problems


def contents(scene, mcanalyze, verdict):
    """What is not right in the capture, beside what it says of itself."""
    capture = scene.folder / "capture.parquet"
    if not capture.exists():
        return ["there is no capture"]
    problems = []
    check = subprocess.run(
        [mcanalyze, "check", capture], capture_output=True, text=True, check=False
    )
    if check.returncode != 0:
        problems.append("mcanalyze check: " + " ".join((check.stdout + check.stderr).split()))
    footer = footer_of(mcanalyze, capture)
    problems += weigh(
        verdict,
        client_counts(scene.text("client")),
        recorded_counts(mcanalyze, capture),
        footer,
    )
    lost, possible, incomplete = said(footer["loss"])
    misses = int(scene.facts.get("recursion_misses", 0))
    if misses:
        verdict.details.append(f"programs skipped by the kernel: {misses}")
    return problems + skips(misses, footer, scene.facts["kernel"])


def skips(misses, footer, release):
    """What is not right in how mcrec counts programs that the kernel skipped, `misses` of
    them by the kernel's count, before mcrec ended."""
    problems, counted = [], sum(said(footer["loss"]))
    if misses > counted:
        problems.append(f"{misses} programs were skipped, of which mcrec says {counted}")
    # At raw tracepoints of sockets these preempt, in each way that they still have; of
    # arm64's, which are built otherwise, only the real-time one.
    preempts = int(release.split(".")[0]) >= 7 and ("arm64" not in release or "-rt-" in release)
    raw = footer["source"]["attached"][0]["probe"].startswith("raw_tp:sock")
    if raw and not misses and preempts:
        problems.append("no program was skipped, so it is not shown that they are counted")
    return problems


def weigh(verdict, client, capture, footer):
    """What is missing, or too much, in the counts of a capture beside those of the client,
    and is not what mcrec says of itself."""
    problems, (done, connections), (recorded, seen) = [], client, capture
    source = footer["source"]
    verdict.way = way(source)
    if source["name"] == "usdt":
        # The probes do not show protocols; the client uses only text there.
        recorded = collections.Counter(
            {(op, protocol or "text", status): n for (op, protocol, status), n in recorded.items()}
        )
    found = Differences(done, recorded)
    verdict.details = found.lines
    verdict.operations = f"{found.right}/{sum(done.values())}"

    missing, too_many = found.missing, found.invented
    if source["name"] == "usdt":
        # Nor do they show connections.
        verdict.connections = "-"
    else:
        pairs = [
            (connections.get("connects", 0), seen["connect"]),
            (connections.get("closes", 0), seen["disconnect"]),
        ]
        verdict.connections = ", ".join(f"{there}/{wanted}" for wanted, there in pairs)
        missing += sum(max(0, wanted - there) for wanted, there in pairs)
        too_many += sum(max(0, there - wanted) for wanted, there in pairs)

    lost, possible, incomplete = said(footer["loss"])
    words = [f"{lost}"]
    if possible:
        words.append(f"possibly {possible}")
    if incomplete:
        words.append(f"{incomplete} incomplete")
    verdict.lost = ", ".join(words)
    if not done:
        problems.append("the client did nothing")
    if missing or found.unknown:
        verdict.reason = "the rest is said to be lost"
    if too_many:
        problems.append(f"{too_many} rows that are not true")
    if missing > lost + possible:
        problems.append(f"{missing} missing, of which mcrec says {lost + possible}")
    if found.unknown > lost + possible + incomplete:
        problems.append(f"{found.unknown} unknown, of which mcrec says nothing")
    return problems


def way(source):
    """How mcrec saw it: the first of what it attached to tells."""
    if source["name"] == "usdt":
        return "usdt"
    return ", ".join([source["name"], *[one["probe"] for one in source["attached"][:1]]])


def milliseconds(text):
    return f"{int(text) / 1000:.1f}" if text else "-"
