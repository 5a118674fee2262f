//! `--verify-with-stats`: memcached's own counters, beside what was recorded.

mod support;

use support::{
    capture,
    client::{Client, Protocol},
    commands::Keys,
    random::Random,
    recorder::{Recorder, assert_refused, mcrec},
    server::Server,
    wire::Wire,
};

/// Pipelines of all commands, over both kinds of connections.
fn work(server: &Server) {
    let (mut random, address) = (Random(11), server.endpoint());
    let keys = Keys::new(&mut random);
    for connection in 0..8 {
        let mut wire = Wire::connect(&address);
        let binary = connection % 2 == 1;
        wire.begin(&format!("client-{connection}"), binary);
        for _ in 0..20 {
            if binary {
                wire.binary_batch(&mut random, &keys, 30);
            } else {
                wire.text_batch(&mut random, &keys, 30);
            }
        }
        wire.close();
    }
}

#[test]
fn every_counter_agrees_with_a_whole_recording() {
    for server in [
        Server::start("debian-1.6.18", &[]),
        Server::start("plain-1.6.38", &[]),
        Server::start("plain-1.6.45", &[]),
        Server::start_unix("plain-1.6.45", &[]),
    ] {
        // What was counted before is not of the recording.
        work(&server);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let arguments = ["--source", "syscalls", "--verify-with-stats"];
        let mut recorder = Recorder::start(server.pid(), &path, &arguments);
        work(&server);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert!(said.contains("its own counters agree: cmd_get "), "{said}");
        let counters = capture::footer(&path).unwrap().server.unwrap();
        assert_eq!(counters.failed, None);
        for compared in &counters.compared {
            assert!(compared.recorded > 0, "{compared:?}");
            // Nobody else asks it anything, so the range is a number.
            assert_eq!(compared.least, compared.most, "{compared:?}");
        }
        let own = capture::all_rows(&path).into_iter().filter(|row| row.client == counters.client);
        assert!(own.filter(|row| row.op != "disconnect").all(|row| row.op == "stats"));
    }
}

#[test]
fn what_a_source_cannot_see_is_told_by_the_counters() {
    // Hits of meta gets fire no probe.
    let server = Server::start("1.6.38", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let arguments = ["--source", "usdt", "--verify-with-stats"];
    let mut recorder = Recorder::start(server.pid(), &path, &arguments);
    let mut client = Client::connect(server.address, Protocol::Text);
    client.store("set", b"key", b"value", "");
    for _ in 0..5 {
        client.other("mg key s");
    }
    client.get("get", &[b"key".to_vec()]);
    let (status, said) = recorder.interrupt();
    assert_eq!(status.code(), Some(1), "{said}");
    let differs = "get_hits 1 recorded, 6 to 6 counted: 5 fewer than it counted";
    assert!(said.contains("ITS OWN COUNTERS DIFFER") && said.contains(differs), "{said}");
}

#[test]
fn a_server_that_cannot_be_asked_at_the_end_is_said_to_be() {
    let mut server = Server::start("plain-1.6.45", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--verify-with-stats"]);
    Client::connect(server.address, Protocol::Text).store("set", b"key", b"value", "");
    server.process.kill().unwrap();
    let (status, said) = recorder.wait();
    assert!(status.success(), "{said}");
    assert!(said.contains("cannot be compared with its own counters"), "{said}");
    assert!(capture::footer(&path).unwrap().server.unwrap().compared.is_empty());
}

#[test]
fn a_server_that_wants_a_login_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "user:secret\n").unwrap();
    let server = Server::start("plain-1.6.45", &["-Y", users.to_str().unwrap()]);
    let output = mcrec()
        .args(["-p", &server.pid().to_string(), "--verify-with-stats", "-o"])
        .arg(folder.path().join("capture.parquet"))
        .output()
        .unwrap();
    assert_refused(&output, &["login", "--verify-with-stats"]);
}
