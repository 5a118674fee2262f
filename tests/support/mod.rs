//! What the end-to-end tests share: a real memcached, a client that logs what
//! it did and was told, the recorder under test, and a reader of captures.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod alone;
pub mod capture;
pub mod client;
pub mod commands;
pub mod container;
pub mod odd;
pub mod odd_packets;
pub mod probes;
pub mod process;
pub mod random;
pub mod recorder;
pub mod rows;
pub mod sequence;
pub mod server;
pub mod wire;

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Polls until `condition` gives something.
///
/// # Panics
///
/// When it does not within a generous while: tests run on busy machines.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "gave up waiting: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Wall clock, µs since the epoch, as captures have it.
pub fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}
