//! A load whose every operation is known by its key: on each connection a set, and
//! a get of what it set, numbered through. So rows tell by themselves whether one is
//! missing, twice there, or wrong, however many there are.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::capture::Row;

/// A load that goes on until it is stopped.
pub struct Load {
    going: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins on as many `connections`, all of which have had an answer when this
    /// returns.
    pub fn start(address: SocketAddr, connections: usize) -> Self {
        Self::start_for(address, connections, 1, Duration::from_secs(300))
    }

    /// The same with so many operations in a `pipeline`, for so `long` at most: a test
    /// that failed has no one to stop it.
    pub fn start_for(
        address: SocketAddr,
        connections: usize,
        pipeline: u64,
        long: Duration,
    ) -> Self {
        let (going, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let mut streams: Vec<_> = (0..connections).map(|_| connect(address)).collect();
        for (connection, stream) in streams.iter_mut().enumerate() {
            round(stream, connection, 0..1);
        }
        sent.store(connections as u64, Ordering::Relaxed);
        let threads = streams.into_iter().enumerate().map(|(connection, mut stream)| {
            let (going, sent) = (Arc::clone(&going), Arc::clone(&sent));
            thread::spawn(move || {
                let end = Instant::now() + long;
                let mut number = 1;
                while going.load(Ordering::Relaxed) && Instant::now() < end {
                    round(&mut stream, connection, number..number + pipeline);
                    sent.fetch_add(pipeline, Ordering::Relaxed);
                    number += pipeline;
                }
            })
        });
        let threads = threads.collect();
        Self { going, sent, threads }
    }

    /// Operations that were answered so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends, and returns how many operations there were.
    pub fn stop(mut self) -> u64 {
        self.going.store(false, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.sent()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.going.store(false, Ordering::Relaxed);
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    BufReader::new(stream)
}

/// Operations of a connection, sent at once: an even one stores, an odd one gets that.
fn round(stream: &mut BufReader<TcpStream>, connection: usize, numbers: Range<u64>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for number in numbers {
        let (key, size) = (format!("c{connection}:{}", number / 2), size(number));
        let value = vec![b'v'; size];
        if number.is_multiple_of(2) {
            requests.extend(format!("set {key} 0 0 {size}\r\n").into_bytes());
            requests.extend([&value[..], b"\r\n"].concat());
            replies.extend(b"STORED\r\n");
        } else {
            requests.extend(format!("get {key}\r\n").into_bytes());
            replies.extend(format!("VALUE {key} 0 {size}\r\n").into_bytes());
            replies.extend([&value[..], b"\r\nEND\r\n"].concat());
        }
    }
    stream.get_mut().write_all(&requests).unwrap();
    let mut answer = vec![0; replies.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == replies, "memcached answers otherwise");
}

fn size(number: u64) -> usize {
    usize::try_from(number / 2 % 300).unwrap()
}

/// What rows of such a load show of its connections.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// First and last number of each connection.
    pub ranges: BTreeMap<String, (u64, u64)>,
    pub rows: u64,
    /// Numbers that are missing within those.
    pub missing: u64,
    /// Rows whose reply was lost.
    pub unknown: u64,
}

/// Checks each row, and that each connection's rows are in order.
///
/// # Panics
///
/// When a row is not what that operation was, or comes twice or out of order.
pub fn check<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Shown {
    let mut shown = Shown::default();
    for row in rows {
        let key = std::str::from_utf8(&row.key).unwrap();
        let (connection, pair) = key.split_once(':').unwrap();
        let is_get = row.op == "get";
        let number = pair.parse::<u64>().unwrap() * 2 + u64::from(is_get);
        let expected = if is_get { ("get", "hit") } else { ("set", "stored") };
        if row.status == "unknown" {
            shown.unknown += 1;
            assert_eq!((row.op.as_str(), row.latency), (expected.0, None), "{row:?}");
        } else {
            assert_eq!((row.op.as_str(), row.status.as_str()), expected, "{row:?}");
            assert_eq!(row.value_size, Some(i64::try_from(size(number)).unwrap()), "{row:?}");
        }
        assert_eq!(row.key_len, i64::try_from(key.len()).unwrap());
        shown.rows += 1;
        match shown.ranges.get_mut(connection) {
            None => {
                shown.ranges.insert(connection.to_owned(), (number, number));
            }
            Some((_, last)) => {
                assert!(number > *last, "{number} after {last} on {connection}");
                shown.missing += number - *last - 1;
                *last = number;
            }
        }
    }
    shown
}
