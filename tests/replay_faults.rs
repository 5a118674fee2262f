//! What mcreplay does when it cannot do what it should: it says so, and ends.

mod support;
#[path = "support/replay.rs"]
mod tool;

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use support::{recorder::Recorder, server::Server, until, wire::Wire};
use tool::{mcreplay, replay, to};

const RELEASE: &str = "debian-1.6.18";

/// A capture of `count` gets and sets over `connections`, and who was recorded.
fn recorded(path: &Path, connections: usize, count: usize) -> Server {
    let server = Server::start(RELEASE, &[]);
    let mut recorder = Recorder::start(server.pid(), path, &["--source", "syscalls"]);
    let mut wires: Vec<Wire> =
        (0..connections).map(|_| Wire::connect(&server.endpoint())).collect();
    for at in 0..count {
        let wire = &mut wires[at % connections];
        wire.store("set", format!("key:{at}").as_bytes(), 0, b"value", None, false);
        wire.get("get", None, &[format!("key:{}", at / 2).as_bytes()]);
        wire.run_whole();
    }
    drop(wires);
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    server
}

#[test]
fn what_must_not_be_driven_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    let server = recorded(&path, 1, 10);
    let own = replay(&path, &to(&server.endpoint()), &["--yes-really"]);
    assert_eq!(own.status, Some(2));
    assert!(own.said.contains("is the memcached that was recorded"), "{}", own.said);
    let far = replay(&path, "192.0.2.1:11211", &[]);
    assert_eq!(far.status, Some(2));
    assert!(far.said.contains("--yes-really"), "{}", far.said);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = replay(&path, &nobody.to_string(), &[]);
    assert_eq!(refused.status, Some(2));
    assert!(refused.said.contains("cannot connect to"), "{}", refused.said);
    let nowhere = replay(&path, "nowhere", &[]);
    assert!(nowhere.status == Some(2) && nowhere.said.contains("HOST:PORT"), "{}", nowhere.said);
}

#[test]
fn a_target_that_hangs_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    drop(recorded(&path, 3, 300));
    for speed in ["1", "max"] {
        // Accepts and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = silent.local_addr().unwrap().to_string();
        let hung = replay(&path, &target, &["--timeout", "300ms", "--speed", speed]);
        assert_eq!(hung.status, Some(2), "{:#}", hung.report);
        assert_eq!(hung.number("/connections/given_up"), 3);
        let (sent, lost) = (hung.number("/operations"), hung.number("/not_answered/timed_out"));
        assert!(sent > 0 && sent == lost, "{sent} {lost}");
    }
}

#[test]
fn a_target_that_is_killed_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    drop(recorded(&path, 4, 2000));
    let mut server = Server::start(RELEASE, &[]);
    let target = to(&server.endpoint());
    let mut process = mcreplay()
        .arg(&path)
        .args(["--to", &target, "--format", "json", "--loop"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("the replay to have sent something", || stat(&target, "cmd_set").filter(|&it| it > 100));
    server.process.kill().unwrap();
    let status = process.wait().unwrap();
    let mut said = String::new();
    process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status.code(), Some(2), "{report:#}");
    assert!(report["gone"].is_string(), "{report:#}");
    assert!(report["operations"].as_u64().is_some_and(|count| count > 100));
}

/// A number of the server's statistics.
fn stat(target: &str, name: &str) -> Option<u64> {
    use std::io::{BufRead, BufReader};
    let mut stream = std::net::TcpStream::connect(target).ok()?;
    stream.write_all(b"stats\r\n").ok()?;
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut lines = lines.take_while(|line| line != "END");
    lines.find_map(|line| line.strip_prefix(&format!("STAT {name} "))?.parse().ok())
}

#[test]
fn an_interrupted_run_reports_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    drop(recorded(&path, 2, 500));
    let server = Server::start(RELEASE, &[]);
    let target = to(&server.endpoint());
    let process = mcreplay()
        .arg(&path)
        .args(["--to", &target, "--loop"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("the replay to have sent something", || stat(&target, "cmd_get").filter(|&it| it > 100));
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted") && said.contains("hit ratio"), "{said}");
}

#[test]
fn a_target_of_another_protocol_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    drop(recorded(&path, 2, 50));
    let server = Server::start(RELEASE, &["-B", "binary"]);
    let wrong = replay(&path, &to(&server.endpoint()), &["--speed", "max"]);
    assert_eq!(wrong.status, Some(2), "{:#}", wrong.report);
    assert!(wrong.number("/connections/closed_by_target") > 0, "{:#}", wrong.report);
}

/// What it sends cannot be counted in 64 bits with its end.
#[test]
fn a_target_that_says_what_cannot_be_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    drop(recorded(&path, 1, 1));
    let liar = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = liar.local_addr().unwrap().to_string();
    let lies = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = liar.accept().unwrap();
            let mut request = [0; 4];
            // The first is the question whether anybody is there.
            if stream.read(&mut request).unwrap() > 0 {
                let said = b"STORED\r\nVALUE key:0 0 18446744073709551615\r\n";
                stream.write_all(said).unwrap();
                while stream.read(&mut request).is_ok_and(|read| read > 0) {}
            }
        }
    });
    let told = replay(&path, &target, &["--speed", "max"]);
    lies.join().unwrap();
    assert_eq!(told.number("/not_answered/nonsense"), 1, "{} {:#}", told.said, told.report);
    assert!(!told.said.contains("panicked"), "{}", told.said);
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(name)
}

#[test]
fn captures_that_have_little_or_lack_something() {
    let server = Server::start(RELEASE, &[]);
    let target = to(&server.endpoint());
    let empty = replay(&sample("empty.parquet"), &target, &[]);
    assert_eq!((empty.status, empty.number("/operations")), (Some(1), 0), "{}", empty.said);
    assert!(empty.report["remarks"].to_string().contains("nothing was replayed"));
    let foreign = replay(&sample("foreign.parquet"), &target, &[]);
    assert_eq!(foreign.status, Some(2));
    assert!(foreign.said.contains("not a capture"), "{}", foreign.said);
    for (name, word) in [("lossy.parquet", "lost"), ("sampled.parquet", "sample of one key in")] {
        let replayed = replay(&sample(name), &target, &["--speed", "max"]);
        assert_eq!(replayed.status, Some(1), "{name} {} {:#}", replayed.said, replayed.report);
        let remarks = replayed.report["remarks"].as_array().unwrap();
        let says = remarks.iter().any(|it| it.as_str().is_some_and(|it| it.contains(word)));
        assert!(says, "{name} {remarks:?}");
    }
    let hostile = replay(&sample("hostile.parquet"), &target, &["--speed", "max"]);
    assert!(hostile.status.is_some_and(|status| status < 2), "{:#}", hostile.report);
}
