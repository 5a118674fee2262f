//! Nothing grows with time, keys or connections. Slow: left out unless asked for, with
//!
//! ```text
//! MCREC_MINUTES=60 cargo test -p mcrec --test endurance -- --ignored --nocapture
//! ```

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use support::{capture, recorder::Recorder, sequence::Load, server::Server};

/// Connections that come, get something, and go, until `end`.
fn come_and_go(address: SocketAddr, end: Instant) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut count = 0;
        while Instant::now() < end {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(format!("get nothing:{count}\r\n").as_bytes()).unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            count += 1;
            thread::sleep(Duration::from_millis(5));
        }
        count
    })
}

/// The most resident memory that a process had since this was last asked, bytes: as the
/// kernel knows it, so that no peak is too short to be seen.
fn peak(pid: u32) -> u64 {
    let process = procfs::process::Process::new(i32::try_from(pid).unwrap()).unwrap();
    let peak = process.status().unwrap().vmhwm.unwrap();
    // From here on anew: proc_pid_clear_refs(5).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak * 1024
}

#[test]
#[ignore = "takes MCREC_MINUTES (60) under full load"]
fn memory_does_not_grow_with_time_keys_or_connections() {
    let minutes = std::env::var("MCREC_MINUTES").map_or(60, |text| text.parse().unwrap());
    let long = Duration::from_secs(minutes * 60);
    let server = Server::start("debian-1.6.18", &["-m", "1024"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &[]);
    let end = Instant::now() + long;
    let load = Load::start_for(server.address, 4, 16, long);
    let others = come_and_go(server.address, end);
    // The peak of each minute: a row group that is being built comes and goes.
    let mut by_minute = Vec::new();
    let mut sent = 0;
    peak(recorder.process.id());
    for minute in 1..=minutes {
        thread::sleep(Duration::from_secs(60));
        let highest = peak(recorder.process.id());
        by_minute.push(highest);
        eprintln!(
            "minute {minute}: {:.1} MiB, {} operations",
            highest as f64 / f64::from(1 << 20),
            load.sent() - sent
        );
        sent = load.sent();
    }
    let connections = others.join().unwrap();
    let sent = load.stop();
    let (_, said) = recorder.interrupt();
    let loss = capture::footer(&path).unwrap().loss;
    eprintln!("{sent} operations, {connections} connections\n{said}");
    assert_eq!(loss.losses.total(), 0, "{said}");
    // What comes and goes, two events and a get, and what stays.
    assert_eq!(loss.written, sent + 3 * connections + 2 * 4);
    let after_the_first = &by_minute[1..];
    let (least, most) = (after_the_first.iter().min(), after_the_first.iter().max());
    let growth = *most.unwrap() as f64 / *least.unwrap() as f64;
    assert!(growth <= 1.05, "{growth}");
}
