//! A realistic load on a memcached, to have something to record: an application
//! that caches, with keys of a Zipf distribution.
//!
//! `load ADDRESS [SECONDS] [CONNECTIONS]`
//!
//! Each connection does what an application does: mostly gets, some of several
//! keys, a set of what was missed, now and then a delete.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

const KEYS: usize = 50_000;
/// Between the 0.7 and 1.2 of published cache traces.
const ZIPF_EXPONENT: f64 = 0.99;

#[path = "support/zipf.rs"]
mod zipf;

use zipf::{Random, Zipf};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("usage: load ADDRESS [SECONDS] [CONNECTIONS]")?;
    let seconds: f64 = arguments.next().map_or(Ok(10.0), |text| text.parse())?;
    let connections: u64 = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let zipf = &Zipf::new(KEYS, ZIPF_EXPONENT);
    let done: Vec<Result<u64>> = thread::scope(|scope| {
        let address = &address;
        let threads: Vec<_> = (0..connections)
            .map(|seed| scope.spawn(move || Client::connect(address, seed, zipf)?.work_until(end)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panics")).collect()
    });
    let requests: u64 = done.into_iter().sum::<Result<u64>>()?;
    eprintln!("load: {requests} requests on {connections} connections in {seconds} s");
    Ok(())
}

struct Client<'a> {
    stream: BufReader<TcpStream>,
    random: Random,
    zipf: &'a Zipf,
}

impl<'a> Client<'a> {
    fn connect(address: &str, seed: u64, zipf: &'a Zipf) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), random: Random::new(seed), zipf })
    }

    fn work_until(mut self, end: Instant) -> Result<u64> {
        let mut requests = 0;
        while Instant::now() < end {
            requests += match self.random.below(100) {
                0..=79 => self.read(1)?,
                80..=89 => {
                    let keys = 2 + self.random.below(15);
                    self.read(keys)?
                }
                90..=97 => {
                    let rank = self.zipf.sample(&mut self.random);
                    self.set(rank)?
                }
                _ => {
                    let key = key(self.zipf.sample(&mut self.random));
                    self.send(format!("delete {key}\r\n").as_bytes())?;
                    self.line()?;
                    1
                }
            };
        }
        Ok(requests)
    }

    /// Gets `count` keys, and stores what was missed, as an application would.
    fn read(&mut self, count: u64) -> Result<u64> {
        let mut wanted: Vec<usize> =
            (0..count).map(|_| self.zipf.sample(&mut self.random)).collect();
        let keys: Vec<String> = wanted.iter().map(|rank| key(*rank)).collect();
        self.send(format!("get {}\r\n", keys.join(" ")).as_bytes())?;
        let mut found = Vec::new();
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.nth(1)) {
                (Some("VALUE"), Some(key), Some(bytes)) => {
                    found.push(key.to_owned());
                    let mut value = vec![0; bytes.parse::<usize>()? + 2];
                    std::io::Read::read_exact(&mut self.stream, &mut value)?;
                }
                (Some("END"), ..) => break,
                _ => return Err(format!("unexpected reply to get: {line}").into()),
            }
        }
        wanted.retain(|rank| !found.contains(&key(*rank)));
        let mut requests = 1;
        for rank in wanted {
            requests += self.set(rank)?;
        }
        Ok(requests)
    }

    fn set(&mut self, rank: usize) -> Result<u64> {
        let value = "x".repeat(value_size(rank));
        let ttl = 60 * (1 + rank % 60);
        let command = format!("set {} 0 {ttl} {}\r\n{value}\r\n", key(rank), value.len());
        self.send(command.as_bytes())?;
        self.line()?;
        Ok(1)
    }

    fn send(&mut self, command: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(command)?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("memcached closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Several kinds of things are cached, and the hot ones are of all kinds.
fn key(rank: usize) -> String {
    match rank % 5 {
        0 | 1 => format!("user:{}:profile", 10_000 + rank),
        2 => format!("session:{:016x}", Random::new(rank as u64).bits()),
        3 => format!("product/{}/price", rank / 5),
        _ => format!("feed.v2.{}", 700_000 + rank),
    }
}

/// Mostly small, some large, and always the same for a key.
fn value_size(rank: usize) -> usize {
    let bits = Random::new(rank as u64).below(1 << 16);
    let size = match bits % 100 {
        0..=69 => 20 + bits % 400,
        70..=97 => 400 + bits % 4_000,
        _ => 10_000 + bits % 50_000,
    };
    usize::try_from(size).unwrap_or(0)
}
