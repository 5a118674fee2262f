//! A load for benchmarks: as simple and as fast as a client can be, always the same, on
//! any number of connections.
//!
//! `storm ADDRESS [NAME=NUMBER...]`, with the names of [`Load`]. Ten gets to a set, of
//! keys with a Zipf distribution. For each line on its standard input it prints one, of what
//! was done since the last: operations, seconds, and the median and 99th percentile of the
//! time from sending a batch to having all of its replies, ns. It ends with its input.
//!
//! Each thread sends a batch on each of its connections, and then reads all replies: so
//! every connection has one batch under way, whatever the number of threads.

use std::{
    convert::Infallible,
    env,
    error::Error,
    io::{Read, Write, stdin, stdout},
    net::TcpStream,
    process,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

#[path = "support/zipf.rs"]
mod zipf;

use zipf::{Random, Zipf};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What is asked for.
#[derive(Clone, Debug)]
struct Load {
    connections: usize,
    threads: usize,
    /// Requests to a batch.
    pipeline: usize,
    keys: usize,
    /// Bytes of each value.
    value: usize,
    /// Nanoseconds between one batch and the next of a thread, at least.
    pause: u64,
    /// 1: store all keys, and do nothing else.
    fill: u64,
}

/// Between the 0.7 and 1.2 of published cache traces.
const ZIPF_EXPONENT: f64 = 0.99;
/// Of so many requests one is a set.
const ONE_SET_IN: u64 = 11;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("usage: storm ADDRESS [NAME=NUMBER...]")?;
    let load = Arc::new(Load::of(arguments)?);
    if load.fill > 0 {
        return fill(&address, &load);
    }
    let ranks = Arc::new(Zipf::new(load.keys, ZIPF_EXPONENT));
    let done: Vec<_> = (0..load.threads).map(|_| Arc::new(Mutex::new(Done::default()))).collect();
    for (number, done) in done.iter().enumerate() {
        let mut worker = Worker::connect(&address, number, &load)?;
        let (load, ranks, done) = (Arc::clone(&load), Arc::clone(&ranks), Arc::clone(done));
        thread::spawn(move || {
            let Err(failure) = worker.work(&load, &ranks, &done);
            eprintln!("storm: {failure}");
            process::exit(1);
        });
    }
    let mut since = Instant::now();
    for line in stdin().lines() {
        line?;
        // Before the operations are counted: sorting takes a while.
        let now = Instant::now();
        let seconds = (now - since).as_secs_f64();
        since = now;
        let (mut operations, mut times) = (0, Vec::new());
        for done in &done {
            let done = std::mem::take(&mut *done.lock().map_err(|_| "a thread panicked")?);
            operations += done.operations;
            times.extend(done.times);
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0);
        writeln!(stdout(), "{operations} {seconds} {} {}", at(50), at(99))?;
    }
    Ok(())
}

/// What a thread did since it was last asked.
#[derive(Debug, Default)]
struct Done {
    operations: u64,
    /// How long batches took, ns.
    times: Vec<u64>,
}

impl Load {
    fn of(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut load = Self {
            connections: 16,
            threads: 1,
            pipeline: 1,
            keys: 100_000,
            value: 100,
            pause: 0,
            fill: 0,
        };
        for argument in arguments {
            let (name, number) = argument.split_once('=').ok_or("NAME=NUMBER")?;
            let number: u64 = number.parse()?;
            let size = usize::try_from(number)?;
            match name {
                "connections" => load.connections = size,
                "threads" => load.threads = size,
                "pipeline" => load.pipeline = size,
                "keys" => load.keys = size,
                "value" => load.value = size,
                "pause" => load.pause = number,
                "fill" => load.fill = number,
                _ => return Err(format!("there is no {name}").into()),
            }
        }
        load.threads = load.threads.min(load.connections).max(1);
        Ok(load)
    }
}

/// Stores every key once.
fn fill(address: &str, load: &Load) -> Result<()> {
    const AT_ONCE: usize = 1_000;
    let mut stream = TcpStream::connect(address)?;
    let value = "x".repeat(load.value);
    for first in (0..load.keys).step_by(AT_ONCE) {
        let mut batch = Vec::new();
        for rank in first..load.keys.min(first + AT_ONCE) {
            write!(batch, "set {} 0 0 {} noreply\r\n{value}\r\n", key(rank), load.value)?;
        }
        batch.extend_from_slice(b"mn\r\n");
        stream.write_all(&batch)?;
        stream.read_exact(&mut [0; 4])?;
    }
    Ok(())
}

/// As long for each, and telling nothing by its place.
fn key(rank: usize) -> String {
    format!("user:{:012}:profile", rank as u64 * 7_919 % 999_999_999_989)
}

/// A thread and its connections.
struct Worker {
    streams: Vec<TcpStream>,
    random: Random,
    value: String,
}

/// A batch that was sent.
struct Sent {
    at: Instant,
    /// Of each request, whether it was a set.
    sets: Vec<bool>,
}

impl Worker {
    fn connect(address: &str, number: usize, load: &Load) -> Result<Self> {
        let streams = (number..load.connections).step_by(load.threads).map(|_| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let streams = streams.collect::<Result<_>>()?;
        Ok(Self { streams, random: Random::new(number as u64), value: "x".repeat(load.value) })
    }

    /// Goes on until something fails.
    fn work(&mut self, load: &Load, ranks: &Zipf, done: &Mutex<Done>) -> Result<Infallible> {
        let mut replies = vec![0; 1 << 18];
        loop {
            let mut under_way = Vec::with_capacity(self.streams.len());
            for at in 0..self.streams.len() {
                let (batch, sets) = self.batch(load, ranks);
                let sent = Sent { at: Instant::now(), sets };
                self.streams[at].write_all(&batch)?;
                under_way.push(sent);
            }
            for (stream, sent) in self.streams.iter_mut().zip(under_way) {
                read_replies(stream, &sent.sets, &mut replies)?;
                let took = u64::try_from(sent.at.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let mut done = done.lock().map_err(|_| "nobody asks any more")?;
                done.operations += sent.sets.len() as u64;
                done.times.push(took);
            }
            if load.pause > 0 {
                thread::sleep(Duration::from_nanos(load.pause));
            }
        }
    }

    fn batch(&mut self, load: &Load, ranks: &Zipf) -> (Vec<u8>, Vec<bool>) {
        let (mut batch, mut sets) = (Vec::new(), Vec::with_capacity(load.pipeline));
        for _ in 0..load.pipeline {
            let key = key(ranks.sample(&mut self.random));
            let set = self.random.below(ONE_SET_IN) == 0;
            let request = if set {
                write!(batch, "set {key} 0 0 {}\r\n{}\r\n", load.value, self.value)
            } else {
                write!(batch, "get {key}\r\n")
            };
            request.expect("a Vec takes all");
            sets.push(set);
        }
        (batch, sets)
    }
}

/// Reads one reply for each request: `STORED`, or what ends in `END`.
fn read_replies(stream: &mut TcpStream, sets: &[bool], buffer: &mut Vec<u8>) -> Result<()> {
    let (mut from, mut filled) = (0, 0);
    for &set in sets {
        loop {
            let found = reply_end(&buffer[from..filled], set)?;
            if let Some(length) = found {
                from += length;
                break;
            }
            if filled == buffer.len() {
                buffer.copy_within(from..filled, 0);
                (from, filled) = (0, filled - from);
                if filled == buffer.len() {
                    buffer.resize(2 * filled, 0);
                }
            }
            match stream.read(&mut buffer[filled..])? {
                0 => return Err("memcached closed the connection".into()),
                count => filled += count,
            }
        }
    }
    Ok(())
}

/// The length of the reply that `bytes` begin with, if it is all there.
fn reply_end(bytes: &[u8], set: bool) -> Result<Option<usize>> {
    let Some(line) = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1) else {
        return Ok(None);
    };
    let head = &bytes[..line];
    if set || head == b"END\r\n" {
        return match head {
            b"STORED\r\n" | b"END\r\n" => Ok(Some(line)),
            _ => Err(format!("memcached said {}", String::from_utf8_lossy(head)).into()),
        };
    }
    let text = String::from_utf8_lossy(head);
    let size = text.trim_end().rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
    let Some(size) = size.filter(|_| text.starts_with("VALUE ")) else {
        return Err(format!("memcached said {text}").into());
    };
    let all = line + size + b"\r\nEND\r\n".len();
    Ok((bytes.len() >= all).then_some(all))
}
