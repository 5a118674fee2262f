//! Does a fixed set of things to a memcached, and says how often it did which, so that a
//! recording can be compared with it.
//!
//! `drill ADDRESS PHASE...`
//!
//! | phase | |
//! |---|---|
//! | `open:N` | opens N connections, which the phases up to `load` then use in turn |
//! | `wait` | prints `waiting`, and goes on when a line comes on stdin; what was done before is not counted |
//! | `plain` | text commands that every way to record sees |
//! | `text` | the other text commands |
//! | `meta` | meta commands, with and without `q` |
//! | `noreply` | text commands that are not answered |
//! | `pipeline` | sixteen requests in one write |
//! | `large` | values of 20, 100 and 900 KB |
//! | `long` | gets of 150 keys, 36 KB |
//! | `short` | 40 connections one after the other, and 40 at once |
//! | `load:SECONDS` | 16 connections more, each with a thread of its own |
//! | `churn:SECONDS` | 16 threads that connect, get and close |
//!
//! At the end it closes all connections, waits until memcached did, and prints
//! `OP PROTOCOL STATUS COUNT` in the words of a capture, for each that was answered (or, of
//! quiet ones, was not), and `connects COUNT` and `closes COUNT`.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    io::{BufRead, BufReader, Read, Write, stdin, stdout},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Rounds of each phase that is a fixed set.
const ROUNDS: usize = 25;
/// Threads of `load` and `churn`.
const THREADS: usize = 16;
/// A memcached that does not answer for so long is dead, even on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("usage: drill ADDRESS PHASE...")?;
    let mut drill = Drill { address, connections: Vec::new(), tally: Tally::default() };
    for phase in arguments {
        drill.phase(&phase).map_err(|error| format!("{phase}: {error}"))?;
    }
    for connection in drill.connections.drain(..) {
        connection.close(&mut drill.tally)?;
    }
    let mut out = stdout().lock();
    for ((op, protocol, status), count) in &drill.tally.operations {
        writeln!(out, "{op} {protocol} {status} {count}")?;
    }
    writeln!(out, "connects {}\ncloses {}", drill.tally.connects, drill.tally.closes)?;
    Ok(())
}

/// What was done: operations by name, protocol and status.
#[derive(Default)]
struct Tally {
    operations: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    connects: u64,
    closes: u64,
}

impl Tally {
    fn count(&mut self, request: &Request, status: &'static str) {
        *self.operations.entry((request.op, request.protocol, status)).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (name, count) in &other.operations {
            *self.operations.entry(*name).or_default() += count;
        }
        self.connects += other.connects;
        self.closes += other.closes;
    }
}

struct Request {
    op: &'static str,
    protocol: &'static str,
    bytes: Vec<u8>,
    reply: Reply,
}

enum Reply {
    Line,
    /// `VALUE` for each of these keys that is there, then `END`.
    Values(Vec<String>),
    /// None, which means this.
    Silence(&'static str),
}

/// A text command that is one line, and is answered with one.
fn text(op: &'static str, line: &str) -> Request {
    let bytes = format!("{line}\r\n").into_bytes();
    Request { op, protocol: "text", bytes, reply: Reply::Line }
}

fn store(op: &'static str, key: &str, value: &str) -> Request {
    text(op, &format!("{op} {key} 0 300 {}\r\n{value}", value.len()))
}

/// `get` or `gets`; `gat` has a time to live before its keys.
fn get(op: &'static str, keys: &[String]) -> Request {
    let ttl = if op == "gat" { " 300" } else { "" };
    let request = text(op, &format!("{op}{ttl} {}", keys.join(" ")));
    Request { reply: Reply::Values(keys.to_vec()), ..request }
}

fn meta(op: &'static str, line: &str) -> Request {
    Request { protocol: "meta", ..text(op, line) }
}

fn silent(status: &'static str, request: Request) -> Request {
    Request { reply: Reply::Silence(status), ..request }
}

/// The words of a capture for how memcached's answers begin.
fn status(op: &str, answer: &str) -> Result<&'static str> {
    let first = answer.split(' ').next().unwrap_or_default();
    Ok(match first {
        "STORED" => "stored",
        "NOT_STORED" | "NS" => "not_stored",
        "EXISTS" | "EX" => "exists",
        "NOT_FOUND" | "NF" => "not_found",
        "DELETED" => "deleted",
        "TOUCHED" => "touched",
        "OK" | "VERSION" | "MN" => "ok",
        "EN" => "miss",
        "HD" | "VA" => match op {
            "get" | "gat" => "hit",
            "incr" | "decr" => "ok",
            "delete" => "deleted",
            _ => "stored",
        },
        "ERROR" => "error",
        "CLIENT_ERROR" => "client_error",
        number if number.parse::<u64>().is_ok() => "ok",
        _ => return Err(format!("memcached answered {op} with {answer:?}").into()),
    })
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str, tally: &mut Tally) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        tally.connects += 1;
        Ok(Self(BufReader::new(stream)))
    }

    /// Closes it, and waits until memcached has closed its end.
    fn close(mut self, tally: &mut Tally) -> Result<()> {
        self.0.get_mut().shutdown(Shutdown::Write)?;
        let left = self.0.read(&mut [0; 64])?;
        if left > 0 {
            return Err("memcached sent something that was not asked for".into());
        }
        tally.closes += 1;
        Ok(())
    }

    /// Sends requests in one write, reads their answers, and counts them.
    fn ask(&mut self, requests: &[Request], tally: &mut Tally) -> Result<()> {
        let all: Vec<u8> = requests.iter().flat_map(|request| &request.bytes).copied().collect();
        self.0.get_mut().write_all(&all)?;
        for request in requests {
            match &request.reply {
                Reply::Silence(status) => tally.count(request, status),
                Reply::Values(keys) => {
                    let found = self.values(keys)?;
                    for key in keys {
                        let hit = found.contains(key);
                        tally.count(request, if hit { "hit" } else { "miss" });
                    }
                }
                Reply::Line => {
                    let answer = self.line()?;
                    // A meta value comes after its line.
                    if let Some(size) = answer.strip_prefix("VA ") {
                        self.value(size.split(' ').next().unwrap_or_default())?;
                    }
                    tally.count(request, status(request.op, &answer)?);
                }
            }
        }
        Ok(())
    }

    /// The answer to a get: which of `keys` were there.
    fn values(&mut self, keys: &[String]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.nth(1)) {
                (Some("END"), ..) => return Ok(found),
                (Some("VALUE"), Some(key), Some(size)) if keys.iter().any(|one| one == key) => {
                    found.push(key.to_owned());
                    self.value(size)?;
                }
                _ => return Err(format!("memcached answered get with {line:?}").into()),
            }
        }
    }

    fn value(&mut self, size: &str) -> Result<()> {
        let mut value = vec![0; size.parse::<usize>()? + 2];
        Ok(self.0.read_exact(&mut value)?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err("memcached closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

struct Drill {
    address: String,
    connections: Vec<Connection>,
    tally: Tally,
}

impl Drill {
    fn phase(&mut self, phase: &str) -> Result<()> {
        let (name, number) = phase.split_once(':').unwrap_or((phase, "0"));
        let number: u64 = number.parse()?;
        match name {
            "open" => {
                for _ in 0..number {
                    self.connections.push(Connection::open(&self.address, &mut self.tally)?);
                    self.ask(&[text("version", "version")])?;
                }
                Ok(())
            }
            "wait" => {
                println_now("waiting")?;
                stdin().read_line(&mut String::new())?;
                self.tally = Tally::default();
                Ok(())
            }
            "short" => self.short(),
            "load" => self.threads(number, load),
            "churn" => self.threads(number, churn),
            "plain" => self.rounds(plain),
            "text" => self.rounds(rest_of_text),
            "meta" => self.rounds(meta_commands),
            "noreply" => self.rounds(noreply),
            "pipeline" => self.rounds(|round| vec![pipeline(round)]),
            "large" => self.rounds(large),
            "long" => self.rounds(long),
            _ => Err("there is no such phase".into()),
        }
    }

    /// Sends requests over the connection that did so the longest time ago.
    fn ask(&mut self, requests: &[Request]) -> Result<()> {
        let connection = self.connections.first_mut().ok_or("no connection is open")?;
        connection.ask(requests, &mut self.tally)?;
        self.connections.rotate_left(1);
        Ok(())
    }

    /// What `of` says for each round, one write after the other.
    fn rounds(&mut self, of: impl Fn(usize) -> Vec<Vec<Request>>) -> Result<()> {
        for requests in (0..ROUNDS).flat_map(of) {
            self.ask(&requests)?;
        }
        Ok(())
    }

    fn short(&mut self) -> Result<()> {
        let requests = |number: usize| {
            let key = format!("short:{number}");
            [store("set", &key, "value"), get("get", &[key])]
        };
        for number in 0..40 {
            let mut connection = Connection::open(&self.address, &mut self.tally)?;
            connection.ask(&requests(number), &mut self.tally)?;
            connection.close(&mut self.tally)?;
        }
        let mut open = Vec::new();
        for _ in 0..40 {
            open.push(Connection::open(&self.address, &mut self.tally)?);
        }
        for (number, connection) in open.iter_mut().enumerate() {
            connection.ask(&requests(number), &mut self.tally)?;
        }
        open.into_iter().try_for_each(|connection| connection.close(&mut self.tally))
    }

    /// Does `work` in threads that it tells their number and when to end.
    fn threads(
        &mut self,
        seconds: u64,
        work: fn(&str, usize, Instant) -> Result<Tally>,
    ) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let address = &self.address;
        let done: Vec<Result<Tally>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|number| scope.spawn(move || work(address, number, end)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panics")).collect()
        });
        for tally in done {
            self.tally.add(&tally?);
        }
        Ok(())
    }
}

/// Each request in a write of its own.
fn one_by_one(requests: impl IntoIterator<Item = Request>) -> Vec<Vec<Request>> {
    requests.into_iter().map(|request| vec![request]).collect()
}

/// Commands whose outcomes memcached's probes show too.
fn plain(round: usize) -> Vec<Vec<Request>> {
    let key = format!("plain:{round}");
    let counter = format!("counter:{round}");
    one_by_one([
        get("get", std::slice::from_ref(&key)),
        store("set", &key, "value"),
        get("get", std::slice::from_ref(&key)),
        store("add", &key, "value"),
        store("add", &format!("{key}:new"), "value"),
        store("replace", &key, "another value"),
        store("replace", &format!("{key}:none"), "value"),
        store("append", &key, "more"),
        store("prepend", &key, "less"),
        get("get", &[key.clone(), format!("{key}:none"), format!("{key}:new")]),
        store("set", &counter, "41"),
        text("incr", &format!("incr {counter} 1")),
        text("decr", &format!("decr {counter} 2")),
        text("delete", &format!("delete {key}")),
        get("get", &[key]),
    ])
}

fn rest_of_text(round: usize) -> Vec<Vec<Request>> {
    let key = format!("text:{round}");
    one_by_one([
        store("set", &key, "value"),
        get("gets", std::slice::from_ref(&key)),
        get("gat", std::slice::from_ref(&key)),
        text("cas", &format!("cas {key} 0 0 5 1\r\nvalue")),
        text("cas", &format!("cas {key}:none 0 0 5 1\r\nvalue")),
        text("touch", &format!("touch {key} 100")),
        text("touch", &format!("touch {key}:none 100")),
        text("incr", &format!("incr {key} 1")),
        text("incr", &format!("incr {key}:none 1")),
        text("delete", &format!("delete {key}:none")),
        text("version", "version"),
    ])
}

fn meta_commands(round: usize) -> Vec<Vec<Request>> {
    let key = format!("meta:{round}");
    let none = format!("{key}:none");
    let mut all = one_by_one([
        meta("get", &format!("mg {key} v")),
        meta("set", &format!("ms {key} 5\r\nvalue")),
        meta("get", &format!("mg {key} v k O12")),
        meta("get", &format!("mg {key}")),
        meta("gat", &format!("mg {key} v T300")),
        meta("add", &format!("ms {key} 5 ME\r\nvalue")),
        meta("cas", &format!("ms {key} 5 C1\r\nvalue")),
        meta("set", &format!("ms {key}:counter 2\r\n41")),
        meta("incr", &format!("ma {key}:counter v")),
        meta("decr", &format!("ma {key}:counter MD")),
        meta("incr", &format!("ma {none}")),
        meta("delete", &format!("md {none}")),
        meta("noop", "mn"),
    ]);
    // Silence is known to be the answer by what comes after it.
    all.push(vec![
        silent("stored", meta("set", &format!("ms {key}:quiet 5 q O1\r\nvalue"))),
        silent("miss", meta("get", &format!("mg {none} v q O2"))),
        meta("get", &format!("mg {key} v q O3")),
        silent("deleted", meta("delete", &format!("md {key} q O4"))),
        meta("noop", "mn"),
    ]);
    all
}

fn noreply(round: usize) -> Vec<Vec<Request>> {
    let key = format!("noreply:{round}");
    let quiet = |op, line: &str| silent("no_reply", text(op, line));
    vec![
        vec![
            quiet("set", &format!("set {key} 0 0 2 noreply\r\n41")),
            quiet("incr", &format!("incr {key} 1 noreply")),
        ],
        vec![quiet("touch", &format!("touch {key} 100 noreply"))],
        vec![get("get", std::slice::from_ref(&key))],
        vec![quiet("delete", &format!("delete {key} noreply")), get("get", &[key])],
    ]
}

fn pipeline(round: usize) -> Vec<Request> {
    let requests = (0..8).flat_map(|number| {
        // Half of the gets find what the set before them stored.
        let key = format!("pipeline:{round}:{number}");
        let asked = if number % 2 == 0 { key.clone() } else { format!("{key}:none") };
        [store("set", &key, "value"), get("get", &[asked])]
    });
    requests.collect()
}

fn large(round: usize) -> Vec<Vec<Request>> {
    let mut all = Vec::new();
    for size in [20_000, 100_000] {
        let key = format!("large:{size}:{}", round % 4);
        all.extend(one_by_one([store("set", &key, &"v".repeat(size)), get("get", &[key])]));
    }
    if round == 0 {
        let key = "large:most".to_owned();
        all.extend(one_by_one([store("set", &key, &"v".repeat(900_000)), get("get", &[key])]));
    }
    all
}

/// A line of more than memcached reads at once; one of its keys is there.
fn long(round: usize) -> Vec<Vec<Request>> {
    let keys: Vec<String> =
        (0..150).map(|number| format!("{:k<240}", format!("long:{round}:{number}:"))).collect();
    one_by_one([store("set", &keys[100], "value"), get("get", &keys)])
}

/// One request at a time, on keys that no other thread uses.
fn load(address: &str, thread: usize, end: Instant) -> Result<Tally> {
    const KEYS: u64 = 200;
    let mut tally = Tally::default();
    let mut connection = Connection::open(address, &mut tally)?;
    // Numbers that look random, and are the same each time (an LCG of Knuth's).
    let mut random = thread as u64;
    while Instant::now() < end {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (kind, number) = (random >> 60, (random >> 32) % KEYS);
        let key = format!("load:{thread}:{number}");
        let size = usize::try_from(20 + number * 7)?;
        let requests = match kind {
            0 => vec![
                store("set", &key, &"v".repeat(size)),
                text("delete", &format!("delete {key}")),
            ],
            1..4 => vec![store("set", &key, &"v".repeat(size))],
            _ => vec![get("get", &[key])],
        };
        for request in requests {
            connection.ask(&[request], &mut tally)?;
        }
    }
    connection.close(&mut tally)?;
    Ok(tally)
}

/// Connections that come and go.
fn churn(address: &str, thread: usize, end: Instant) -> Result<Tally> {
    let mut tally = Tally::default();
    let key = format!("churn:{thread}");
    while Instant::now() < end {
        let mut connection = Connection::open(address, &mut tally)?;
        connection.ask(&[get("get", std::slice::from_ref(&key))], &mut tally)?;
        connection.close(&mut tally)?;
    }
    Ok(tally)
}

/// For who reads along.
fn println_now(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
