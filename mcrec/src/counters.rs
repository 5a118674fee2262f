//! What memcached counts itself, beside what is recorded: `--verify-with-stats`.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use mcrec_protocol::{Binding, Dialect};
use mcrec_schema::{
    codes::{Op, Protocol, Status},
    server::{Compared, ServerCounters},
};

use crate::target::Target;

/// What is compared: a name, and the counters of memcached whose sum it is. They mean the same
/// in all releases, 1.6.0 to 1.6.45: `gat` counts as a touch and not as a get, but for a miss of
/// the meta protocol, as the server looks at its T only on a hit.
const COUNTERS: [(&str, &[&str]); COUNT] = [
    ("cmd_get", &["cmd_get"]),
    ("get_hits", &["get_hits"]),
    ("get_misses", &["get_misses"]),
    ("cmd_touch", &["cmd_touch"]),
    ("cmd_set", &["cmd_set"]),
    ("delete_hits", &["delete_hits"]),
    ("delete_misses", &["delete_misses"]),
    ("incr", &["incr_hits", "incr_misses"]),
    ("decr", &["decr_hits", "decr_misses"]),
];
const COUNT: usize = 9;
const CMD_GET: usize = 0;
const GET_HITS: usize = 1;
const GET_MISSES: usize = 2;
const CMD_TOUCH: usize = 3;
const CMD_SET: usize = 4;
const DELETE_HITS: usize = 5;
const DELETE_MISSES: usize = 6;
const INCR: usize = 7;
const DECR: usize = 8;

/// How long memcached may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer longer than this is not one to `stats`.
const ANSWER_MAX: u64 = 1 << 20;

type Counts = [u64; COUNT];

/// A connection to the memcached that is recorded.
pub(crate) struct Server {
    stream: BufReader<File>,
    address: String,
    client: Option<String>,
    /// Before the recording began, and after.
    began: [Counts; 2],
}

/// What a server counted while it was recorded.
#[derive(Debug)]
pub(crate) struct Counted {
    address: String,
    client: Option<String>,
    /// At least and at most, of each counter.
    grown: Result<[(u64, u64); COUNT], String>,
}

impl Server {
    /// Connects to `target`, by the first of its addresses where it answers.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub(crate) fn connect(target: &Target, dialect: Dialect) -> Result<Self> {
        let away = "leave --verify-with-stats away";
        ensure!(
            !dialect.authenticates && dialect.binding != Binding::Binary,
            "memcached (pid {}) answers stats only after a login, or in the binary protocol: {away}",
            target.pid
        );
        let mut refused = Vec::new();
        for address in &target.listening {
            match Self::at(address, target) {
                Ok(server) => return Ok(server),
                Err(error) => refused.push(format!("{address}: {error:#}")),
            }
        }
        bail!(
            "memcached (pid {}) cannot be asked for its counters; {away}, or let mcrec reach it\n  {}",
            target.pid,
            refused.join("\n  ")
        )
    }

    fn at(address: &str, target: &Target) -> Result<Self> {
        let (socket, client): (OwnedFd, _) = if let Some(path) = address.strip_prefix("unix:") {
            // As the process sees it, which may be in a container.
            let root = PathBuf::from(format!("/proc/{}/root", target.pid));
            let stream = UnixStream::connect(root.join(path.trim_start_matches('/')))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            (stream.into(), None)
        } else {
            let at = address.parse().context("no address")?;
            let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let client = stream.local_addr()?.to_string();
            (stream.into(), Some(client))
        };
        let mut server = Self {
            stream: BufReader::new(socket.into()),
            address: address.to_owned(),
            client,
            began: [[0; COUNT]; 2],
        };
        let (pid, _) = server.stats()?;
        // Another network namespace may have another memcached at the same address.
        let is_it = pid == pid_in_its_namespace(target.pid);
        ensure!(is_it, "another memcached answers there");
        Ok(server)
    }

    /// Looks at the counters before and after `begin`, with which the recording begins.
    ///
    /// # Errors
    ///
    /// When memcached does not answer, or `begin` fails.
    pub(crate) fn begin<T>(&mut self, begin: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut ask = || self.stats().context("memcached does not answer stats");
        let (_, before) = ask()?;
        let done = begin()?;
        let (_, after) = ask()?;
        self.began = [before, after];
        Ok(done)
    }

    /// Looks at the counters before and after `end`, with which the recording ends.
    pub(crate) fn end(mut self, end: impl FnOnce()) -> Counted {
        let mut ask = || self.stats().map(|(_, counts)| counts).map_err(|error| error.to_string());
        let before = ask();
        end();
        let after = ask();
        let [first, began] = self.began;
        let grown = before.and_then(|before| Ok((before, after?))).map(|(before, after)| {
            std::array::from_fn(|at| {
                let least = before[at].saturating_sub(began[at]);
                (least, after[at].saturating_sub(first[at]))
            })
        });
        Counted { address: self.address, client: self.client, grown }
    }

    /// The server's pid, as it has it, and its counters.
    fn stats(&mut self) -> Result<(u64, Counts)> {
        self.stream.get_mut().write_all(b"stats\r\n").map_err(in_words)?;
        let mut lines = (&mut self.stream).take(ANSWER_MAX).lines();
        let (mut pid, mut counts) = (0, [0; COUNT]);
        loop {
            let line = lines.next().context("the connection was closed")?.map_err(in_words)?;
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("END"), None, _) => return Ok((pid, counts)),
                (Some("STAT"), Some(name), value) => {
                    let value = value.and_then(|value| value.parse().ok()).unwrap_or(0);
                    if name == "pid" {
                        pid = value;
                    }
                    for (at, (_, parts)) in COUNTERS.iter().enumerate() {
                        counts[at] += if parts.contains(&name) { value } else { 0 };
                    }
                }
                _ => bail!("it answers stats with {:?}", line.chars().take(40).collect::<String>()),
            }
        }
    }
}

fn in_words(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow!("no answer within {} s", PATIENCE.as_secs())
        }
        _ => error.into(),
    }
}

/// The last of a process's numbers, in the innermost of its pid namespaces.
fn pid_in_its_namespace(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = numbers.and_then(|numbers| numbers.split_ascii_whitespace().next_back());
    last.and_then(|last| last.parse().ok()).unwrap_or_else(|| u64::from(pid.unsigned_abs()))
}

/// What was recorded of what memcached counts.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    sure: Counts,
    open: Counts,
}

impl Recorded {
    /// Takes an operation.
    pub(crate) fn count(&mut self, op: Op, status: Status, protocol: Option<Protocol>) {
        let (sure, open): (&[usize], &[usize]) = counted(op, status, protocol);
        sure.iter().for_each(|&at| self.sure[at] += 1);
        open.iter().for_each(|&at| self.open[at] += 1);
    }

    /// Compares it with what the server counted.
    pub(crate) fn compare(&self, counted: &Counted) -> ServerCounters {
        let compared = |grown: &[(u64, u64); COUNT]| {
            let each = COUNTERS.iter().enumerate().map(|(at, (name, _))| Compared {
                counter: (*name).to_owned(),
                recorded: self.sure[at],
                open: self.open[at],
                least: grown[at].0,
                most: grown[at].1,
            });
            each.collect()
        };
        ServerCounters {
            asked: counted.address.clone(),
            client: counted.client.clone(),
            failed: counted.grown.as_ref().err().cloned(),
            compared: counted.grown.as_ref().map(compared).unwrap_or_default(),
        }
    }
}

/// The counters that an operation moves: surely, and perhaps.
fn counted(
    op: Op,
    status: Status,
    protocol: Option<Protocol>,
) -> (&'static [usize], &'static [usize]) {
    use Status::{
        ClientError, Deleted, Exists, Hit, Miss, NoReply, NotFound, NotStored, Ok, Stored, Touched,
        Unknown,
    };
    match (op, status) {
        (Op::Get | Op::Gets, Hit) => (&[CMD_GET, GET_HITS], &[]),
        (Op::Get | Op::Gets, Miss) => (&[CMD_GET, GET_MISSES], &[]),
        (Op::Get | Op::Gets, Unknown) => (&[], &[CMD_GET, GET_HITS, GET_MISSES]),
        (Op::Gat | Op::Gats, Miss) if protocol == Some(Protocol::Meta) => {
            (&[CMD_GET, GET_MISSES], &[])
        }
        (Op::Gat | Op::Gats | Op::Touch, Hit | Miss | Touched | NotFound) => (&[CMD_TOUCH], &[]),
        (Op::Gat | Op::Gats | Op::Touch, Unknown | NoReply) => (&[], &[CMD_TOUCH]),
        (op, Stored | NotStored | Exists | NotFound) if Op::STORES.contains(&op) => {
            (&[CMD_SET], &[])
        }
        // One whose value does not end where it should is counted, and refused.
        (op, Unknown | NoReply | ClientError) if Op::STORES.contains(&op) => (&[], &[CMD_SET]),
        (Op::Delete, Deleted) => (&[DELETE_HITS], &[]),
        (Op::Delete, NotFound) => (&[DELETE_MISSES], &[]),
        (Op::Delete, Unknown | NoReply | Exists) => (&[], &[DELETE_HITS, DELETE_MISSES]),
        // In the other protocols it may also make the item, which is not counted.
        (Op::Incr, Ok) if protocol == Some(Protocol::Text) => (&[INCR], &[]),
        (Op::Incr, NotFound) => (&[INCR], &[]),
        (Op::Incr, Ok | Unknown | NoReply | NotStored | Exists) => (&[], &[INCR]),
        (Op::Decr, Ok) if protocol == Some(Protocol::Text) => (&[DECR], &[]),
        (Op::Decr, NotFound) => (&[DECR], &[]),
        (Op::Decr, Ok | Unknown | NoReply | NotStored | Exists) => (&[], &[DECR]),
        _ => (&[], &[]),
    }
}
