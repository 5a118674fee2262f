//! memcached's own test suite as traffic: each server that it starts is recorded,
//! and the capture compared with what the server itself has counted.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use support::{
    capture::{self, Row},
    server, until,
};

/// What each release is put through. Left out of the suite, beside what is much
/// like one of these: what needs TLS, SASL or a proxy; `stats`, `stats-detail` and
/// `issue_22`, which reset what the server counts; `expirations`, which does not
/// pass unrecorded; `slabs-mover`, which does not end; `issue_67`, which uses a
/// fixed port; `daemonize`, whose server leaves its parent; `idle-timeout`,
/// `issue_14`, `issue_50` and `flush-all`, which mostly wait; `extstore`, which does
/// not pass unrecorded with 1.6.45; and `64bit`, `dash-M`, `restart` and
/// `issue_260`, which are skipped or need more memory than a test has.
const ALL: &[&str] = &[
    "ascii-auth",
    "binary-get",
    "bogus-commands",
    "cas",
    "chunked-items",
    "conn-limits",
    "getandtouch",
    "getset",
    "incrdecr",
    "issue_152",
    "issue_3",
    "issue_61",
    "issue_68",
    "malicious-commands",
    "maxconns",
    "multiversioning",
    "noreply",
    "quit",
    "stats-conns",
    "touch",
    "udp",
    "unixsocket",
    "watcher_connid",
];

/// Where releases differ in what they write when much is asked for.
const DUMP: &[&str] = &["lru-crawler"];

/// What takes longer, and what adds less: for one release.
const MORE: &[&str] = &[
    "binary",
    "chunked-extstore",
    "evictions",
    "flags",
    "issue_108",
    "issue_163",
    "issue_41",
    "issue_42",
    "issue_70",
    "item_size_max",
    "metaget",
    "strtol-testing",
    "watcher",
];

#[test]
fn debian_1_6_18() {
    check("debian-1.6.18", &[ALL, DUMP]);
}

#[test]
fn plain_1_6_38() {
    check("plain-1.6.38", &[ALL]);
}

#[test]
fn plain_1_6_45() {
    check("plain-1.6.45", &[ALL, DUMP, MORE]);
}

/// The suite picks free ports, and waits for no more than its own servers.
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn check(name: &str, lists: &[&[&str]]) {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let suite = Suite::new(name);
    let mut wrong = Vec::new();
    for file in lists.iter().copied().flatten() {
        suite.run(file, &mut wrong);
    }
    drop(alone);
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

struct Suite {
    folder: tempfile::TempDir,
    server: PathBuf,
}

impl Suite {
    fn new(name: &str) -> Self {
        let server = server::program(name);
        let release = name.rsplit('-').next().unwrap();
        let source = server.with_file_name(format!("suite-{release}"));
        // Its unix sockets' names must be short.
        let folder = tempfile::Builder::new().prefix("mcrec").tempdir_in("/tmp").unwrap();
        let copied = Command::new("cp").arg("-r").arg(source.join(".")).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        let wrapper = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suite/memcached-debug");
        let place = folder.path().join("memcached-debug");
        fs::remove_file(&place).unwrap();
        fs::copy(wrapper, place).unwrap();
        Self { folder, server }
    }

    fn run(&self, file: &str, wrong: &mut Vec<String>) {
        let captures = self.folder.path().join(format!("c/{file}"));
        fs::create_dir_all(&captures).unwrap();
        // Some depend on how fast the server's own threads get on, recorded or not;
        // what is recorded is checked of both attempts.
        let failed = self.prove(file, &captures).and_then(|_| self.prove(file, &captures));
        if let Some(said) = failed {
            wrong.push(format!("{file} fails twice: {said}"));
        }
        let named = |kind: &str| -> Vec<PathBuf> {
            let all = fs::read_dir(&captures).unwrap().map(|entry| entry.unwrap().path());
            all.filter(|path| path.extension().is_some_and(|found| found == kind)).collect()
        };
        // The suite does not wait for its servers.
        until("the servers to end", || (named("args").len() == named("done").len()).then_some(()));
        let servers = named("done");
        if servers.is_empty() {
            wrong.push(format!("{file} started no server"));
        }
        for server in servers {
            if let Err(what) = check_capture(&server) {
                wrong.push(format!("{file}: {what}"));
            }
        }
    }

    /// Runs a file of the suite; what it said, if it failed.
    fn prove(&self, file: &str, captures: &Path) -> Option<String> {
        let output = Command::new("prove")
            .arg(format!("t/{file}.t"))
            .current_dir(self.folder.path())
            .env("MCREC_SUITE_SERVER", &self.server)
            .env("MCREC_SUITE_RECORDER", env!("CARGO_BIN_EXE_mcrec"))
            .env("MCREC_SUITE_CAPTURES", captures)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
    }
}

fn check_capture(server: &Path) -> Result<(), String> {
    let said = fs::read_to_string(server.with_extension("mcrec")).unwrap();
    let codes = fs::read_to_string(server).unwrap();
    if !codes.starts_with("0 ") {
        return Err(format!("mcrec and memcached ended with {codes}: {said}"));
    }
    let path = server.with_extension("parquet");
    let footer = capture::footer(&path).ok_or("the capture is not whole")?;
    if footer.loss.losses.total() + footer.loss.incomplete.total() > 0 {
        return Err(format!("lost: {:?} {:?}", footer.loss.losses, footer.loss.incomplete));
    }
    let Ok(stats) = fs::read_to_string(server.with_extension("stats")) else { return Ok(()) };
    let mut counted: BTreeMap<&str, u64> = stats
        .lines()
        .filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '))
        .filter_map(|(name, value)| Some((name, value.trim().parse().ok()?)))
        .collect();
    counted.insert("deletes", counted["delete_hits"] + counted["delete_misses"]);
    let (least, most) = count(&capture::rows(&path));
    let gone = counted.get("miss_from_extstore").copied().unwrap_or_default();
    let wrong: Vec<String> = COUNTERS
        .iter()
        .filter_map(|&name| {
            let of = |counts: &Counts| counts.get(name).copied().unwrap_or_default();
            let mut range: RangeInclusive<u64> = of(&least)..=of(&most);
            // What is gone from external storage was counted as a hit before.
            match name {
                "get_hits" => range = *range.start()..=range.end() + gone,
                "get_misses" => range = range.start().saturating_sub(gone)..=*range.end(),
                _ => {}
            }
            let right = counted[name];
            (!range.contains(&right)).then(|| format!("{name} is {right}, rows say {range:?}"))
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}

const COUNTERS: [&str; 17] = [
    "cmd_get",
    "get_hits",
    "get_misses",
    "cmd_touch",
    "touch_hits",
    "touch_misses",
    "cmd_set",
    "cas_hits",
    "cas_misses",
    "cas_badval",
    "deletes",
    "delete_hits",
    "delete_misses",
    "incr_hits",
    "incr_misses",
    "decr_hits",
    "decr_misses",
];

type Counts = BTreeMap<&'static str, u64>;

/// What the server must have counted at least and at most for `rows`. The two
/// differ only by what the wire does not tell, or a row does not.
fn count(rows: &[Row]) -> (Counts, Counts) {
    let (mut least, mut most) = (Counts::new(), Counts::new());
    for request in rows.chunk_by(|one, next| one.request_id == next.request_id) {
        // Keys before the one that a get was refused for, or that there was no
        // memory for, were looked up and counted, and not answered.
        let too_long = request.iter().position(|row| row.key_len > 250);
        for (index, row) in request.iter().enumerate() {
            let counted = match (row.status.ends_with("_error"), too_long) {
                (true, Some(at)) if fetches(row) => lookup(row, index < at, index < at),
                (true, None) if fetches(row) && request.len() > 1 => lookup(row, true, false),
                _ => counters(row),
            };
            for (name, sure) in counted {
                *most.entry(name).or_default() += 1;
                *least.entry(name).or_default() += u64::from(sure);
            }
        }
    }
    (least, most)
}

fn fetches(row: &Row) -> bool {
    matches!(row.op.as_str(), "get" | "gets" | "gat" | "gats")
}

/// The counters that go up for `row`, each with whether it surely does.
fn counters(row: &Row) -> Vec<(&'static str, bool)> {
    let text = row.protocol.as_deref() == Some("text");
    let meta = row.protocol.as_deref() == Some("meta");
    // A counter is made for `N`, and in binary where there is no "never" for an
    // exptime; that counts as nothing, and is answered as if it had been there.
    let may_make = !text && row.ttl.is_some_and(|ttl| ttl != i64::from(u32::MAX));
    match (row.op.as_str(), row.status.as_str()) {
        // `T` makes a touch only of what is there (meta get sets ttl_set
        // where the item's flags are looked at): a miss is one of `get`.
        ("gat" | "gats", "miss") if meta => vec![("cmd_get", true), ("get_misses", true)],
        ("gat" | "gats", "hit") => vec![("cmd_touch", true), ("touch_hits", true)],
        ("gat" | "gats", "miss") => vec![("cmd_touch", true), ("touch_misses", true)],
        ("get" | "gets", "hit") => vec![("cmd_get", true), ("get_hits", true)],
        ("get" | "gets", "miss") => vec![("cmd_get", true), ("get_misses", true)],
        (_, "unknown") if fetches(row) => lookup(row, true, false),
        ("touch", "touched") => vec![("cmd_touch", true), ("touch_hits", true)],
        ("touch", "not_found") => vec![("cmd_touch", true), ("touch_misses", true)],
        ("touch", "no_reply") => {
            vec![("cmd_touch", true), ("touch_hits", false), ("touch_misses", false)]
        }
        ("delete", "not_found") => vec![("deletes", true), ("delete_misses", true)],
        // `I` marks as stale, which counts as nothing.
        ("delete", "deleted") => vec![("deletes", !meta), ("delete_hits", !meta)],
        ("delete", "exists") if meta => vec![("deletes", true), ("delete_misses", true)],
        ("delete", status @ ("no_reply" | "unknown")) => {
            // A number that is not 0 before `noreply` is refused, in silence too;
            // so many bytes are those of the line without one.
            const PLAIN: i64 = 17; // "delete  noreply\r\n"
            let told = status == "no_reply" && row.request_bytes == Some(PLAIN + row.key_len);
            vec![("deletes", told), ("delete_hits", false), ("delete_misses", false)]
        }
        ("incr", "ok") => vec![("incr_hits", !may_make)],
        ("decr", "ok") => vec![("decr_hits", !may_make)],
        ("incr", "not_found") => vec![("incr_misses", true)],
        ("decr", "not_found") => vec![("decr_misses", true)],
        ("incr", "no_reply" | "unknown") => vec![("incr_hits", false), ("incr_misses", false)],
        ("decr", "no_reply" | "unknown") => vec![("decr_hits", false), ("decr_misses", false)],
        ("set" | "add" | "replace" | "append" | "prepend" | "cas", _) => store(row, text),
        _ => Vec::new(),
    }
}

/// A key that may have been looked up, and if so was a hit or a miss.
fn lookup(row: &Row, may: bool, sure: bool) -> Vec<(&'static str, bool)> {
    match row.op.as_str() {
        _ if !may => Vec::new(),
        "get" | "gets" => vec![("cmd_get", sure), ("get_hits", false), ("get_misses", false)],
        _ => vec![
            ("cmd_touch", sure),
            ("touch_hits", false),
            ("touch_misses", false),
            // A miss of meta's `T`.
            ("cmd_get", false),
            ("get_misses", false),
        ],
    }
}

/// Every store whose value was taken in counts, also one that is not stored then
/// (complete_nread_ascii, complete_update_bin).
fn store(row: &Row, text: bool) -> Vec<(&'static str, bool)> {
    // What `cas` meets. Meta and binary have it with append and the like too, for
    // which the server does not count it (do_store_item, NREAD_CAS), and a row does
    // not tell them apart.
    let met = match row.status.as_str() {
        "stored" => vec![("cas_hits", text)],
        "exists" => vec![("cas_badval", text)],
        "not_found" => vec![("cas_misses", text)],
        "no_reply" | "unknown" => {
            vec![("cas_hits", false), ("cas_badval", false), ("cas_misses", false)]
        }
        _ => Vec::new(),
    };
    let met = if row.op == "cas" { met } else { Vec::new() };
    let taken_in = match row.status.as_str() {
        "stored" | "not_stored" | "exists" | "not_found" => vec![("cmd_set", true)],
        // Well-formed, as its value was not read as requests.
        "no_reply" => vec![("cmd_set", true)],
        // The value had no end: counted. Or its line was wrong: not.
        "client_error" if row.value_size.is_some() => vec![("cmd_set", false)],
        "unknown" => vec![("cmd_set", false)],
        _ => Vec::new(),
    };
    [taken_in, met].concat()
}
