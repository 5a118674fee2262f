//! Odd requests to real servers under recording: each row against what the server answered
//! and how many bytes it took, which the client finds out by itself.
//!
//! A run is the same for the same seed. `MCREC_FUZZ_SEED` repeats one that failed, and with
//! `MCREC_FUZZ_MINUTES` it goes on for so long with one seed after the other.

mod support;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use support::{
    capture::{self, Row},
    odd::{Batch, Odd, Reply, end_key},
    odd_packets::Packet,
    random::Random,
    recorder::Recorder,
    rows::{by_connection, is_event},
    server::Server,
};

/// One of each parser, and of the kinds of numbers.
const RELEASES: [&str; 3] = ["debian-1.6.18", "plain-1.6.38", "plain-1.6.45"];
/// Every third is of packets.
const CONNECTIONS: u64 = 6;
/// Of each connection.
const BATCHES: u64 = 600;

#[test]
fn odd_requests_are_taken_for_what_the_server_takes_them_for() {
    let seed = variable("MCREC_FUZZ_SEED");
    let minutes = variable("MCREC_FUZZ_MINUTES").unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut compared = 0;
    for seed in seed.unwrap_or(1).. {
        for release in RELEASES {
            compared += compare(release, seed);
            eprintln!("memcached {release}, seed {seed}: {compared} requests compared");
        }
        if Instant::now() >= end {
            break;
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    Some(env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Records one run, and compares it. Returns how many requests there were.
fn compare(release: &str, seed: u64) -> usize {
    let unix = seed.is_multiple_of(2);
    let server = if unix { Server::start_unix(release, &[]) } else { Server::start(release, &[]) };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--source", "syscalls"]);
    let address = server.endpoint();
    let connections: Vec<Vec<Batch>> = thread::scope(|scope| {
        let address = &address;
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|at| scope.spawn(move || client(address, seed, at))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    server.settle(0);
    let (_, said) = recorder.interrupt();
    let rows = capture::all_rows(&path);
    let recorded = by_connection(&rows);
    let mut compared = 0;
    for batches in &connections {
        let first = end_key(batches[0].number);
        let own = |rows: &&Vec<&Row>| rows.iter().any(|row| row.key == first);
        let rows = recorded.values().find(own).unwrap_or_else(|| panic!("seed {seed}: {said}"));
        let rows: Vec<&Row> = rows.iter().copied().filter(|row| !is_event(row)).collect();
        compared +=
            connection(&rows, batches, &format!("memcached {release}, seed {seed}, {said}"));
    }
    let losses = capture::footer(&path).unwrap().loss.losses;
    assert_eq!(losses.total(), 0, "memcached {release}, seed {seed}: {said}");
    compared
}

/// Asks, on one connection after the other where the server hangs up.
fn client(address: &support::server::Address, seed: u64, at: u64) -> Vec<Vec<Batch>> {
    let mut random = Random(seed * CONNECTIONS + at);
    // Numbers of batches are each one's own.
    let mut number = at * BATCHES * 2;
    let mut done = Vec::new();
    let connect = |number| Odd::connect(address, number, at % 3 == 2);
    let mut odd = connect(number);
    for _ in 0..BATCHES {
        number += 1;
        if !odd.batch(number, &mut random) {
            done.push(odd.batches);
            number += 1;
            odd = connect(number);
        }
    }
    done.push(odd.batches);
    done
}

/// Compares the rows of a connection. Returns how many requests there were.
fn connection(rows: &[&Row], batches: &[Batch], what: &str) -> usize {
    let mut rest = rows;
    for batch in batches {
        let key = end_key(batch.number);
        let end = rest.iter().position(|row| row.key == key);
        let Some(end) = end.or(batch.closed.then_some(rest.len())) else {
            let next: Vec<String> = rest.iter().take(40).map(|row| shown(row)).collect();
            panic!("{what}: the end of a batch is not there\n{}\n{next:#?}", told(batch));
        };
        let requests: Vec<&[&Row]> =
            rest[..end].chunk_by(|one, other| one.request_id == other.request_id).collect();
        if let Err(wrong) = same(&requests, batch) {
            let rows: Vec<String> = rest[..end].iter().map(|row| shown(row)).collect();
            panic!("{what}: {wrong}\n{}\n{rows:#?}", told(batch));
        }
        if !batch.closed {
            let row = rest[end];
            let ends =
                matches!((&*row.op, &*row.status), ("delete", "not_found") | ("get", "miss"));
            assert!(ends, "{what}: {}", shown(row));
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    assert!(rest.is_empty(), "{what}: {} rows too many", rest.len());
    rows.chunk_by(|one, other| one.request_id == other.request_id).count()
}

fn told(batch: &Batch) -> String {
    let lines = batch.heads.iter().map(|head| &head.line);
    let packets = batch.packets.iter().map(|packet| &packet.bytes);
    let heads: Vec<String> =
        lines.chain(packets).map(|bytes| bytes.escape_ascii().to_string()).collect();
    format!("{heads:#?}\nsent {}\nreplies {:?}", batch.bytes.escape_ascii(), batch.replies)
}

fn shown(row: &Row) -> String {
    format!(
        "{} {} {} bytes {:?}/{:?} value {:?} ttl {:?} quiet {}",
        row.op,
        row.key.escape_ascii(),
        row.status,
        row.request_bytes,
        row.response_bytes,
        row.value_size,
        row.ttl,
        row.quiet
    )
}

fn sum(rows: &[&Row], bytes: fn(&Row) -> Option<i64>) -> usize {
    rows.iter().map(|row| usize::try_from(bytes(row).unwrap()).unwrap()).sum()
}

fn same(requests: &[&[&Row]], batch: &Batch) -> Result<(), String> {
    let received = |request: &&[&Row]| sum(request, |row| row.response_bytes);
    let answered: Vec<&[&Row]> =
        requests.iter().copied().filter(|request| received(request) > 0).collect();
    if answered.len() != batch.replies.len() {
        return Err(format!("{} replies, {} rows", batch.replies.len(), answered.len()));
    }
    for (request, reply) in answered.iter().zip(&batch.replies) {
        if received(request) != reply.bytes || !fits(request, reply) {
            return Err(format!("{} is not for {reply:?}", shown(request[0])));
        }
    }
    let silent = requests.len() - answered.len();
    let heads = batch.heads.iter().map(|head| head.quiet);
    let packets = batch.packets.iter().map(|packet| packet.quiet);
    let may_be_silent = heads.chain(packets).filter(|quiet| *quiet).count();
    let unsure = |request: &[&Row]| request.iter().any(|row| unsure(request, row));
    let unknown = requests.iter().any(|request| request[0].status == "unknown" && !unsure(request));
    // Who hangs up forgets what was not sent.
    if !batch.closed && (unknown || silent > may_be_silent) {
        return Err("what became of one is not known".to_owned());
    }
    if !batch.closed {
        let bytes: usize = requests.iter().map(|rows| sum(rows, |row| row.request_bytes)).sum();
        if bytes != batch.bytes.len() {
            return Err(format!("{} bytes sent, {bytes} told", batch.bytes.len()));
        }
    }
    for (request, packet) in requests.iter().zip(&batch.packets) {
        of_packet(request[0], packet, batch)?;
    }
    match (&*batch.heads, requests.first()) {
        ([head], Some(request)) => of_head(request, &head.line),
        _ => Ok(()),
    }
}

/// What a row says of its packet, which all of those before it that the server took come to.
fn of_packet(row: &Row, packet: &Packet, batch: &Batch) -> Result<(), String> {
    let reply = batch.replies.iter().find(|reply| reply.opaque == packet.opaque);
    let received = reply.map_or(0, |reply| reply.bytes);
    let is_last = batch.closed;
    let same = row.key == packet.key
        && row.protocol.as_deref() == Some("binary")
        && (is_last || sum(&[row], |row| row.request_bytes) == packet.bytes.len())
        && sum(&[row], |row| row.response_bytes) == received
        && row.quiet <= packet.quiet;
    if same { Ok(()) } else { Err(format!("{} is not of {packet:?} and {reply:?}", shown(row))) }
}

/// A key that was asked for twice, and was once a hit.
fn unsure(request: &[&Row], row: &Row) -> bool {
    let same = request.iter().filter(|other| other.key == row.key).count();
    row.status == "unknown" && same > 1
}

/// Whether a request can have been answered so.
fn fits(request: &[&Row], reply: &Reply) -> bool {
    let surely = request.iter().filter(|row| row.status == "hit").count();
    let perhaps = request.iter().filter(|row| unsure(request, row)).count();
    let hits = surely..=surely + perhaps;
    request.iter().all(|row| match reply.status {
        "values" => matches!(&*row.status, "hit" | "miss") || unsure(request, row),
        "done" => matches!(&*row.status, "hit" | "stored" | "deleted" | "touched" | "ok"),
        "absent" => matches!(&*row.status, "miss" | "not_found"),
        status => row.status == status,
    }) && (reply.status != "values" || hits.contains(&reply.hits))
}

/// What the first row says of the request that the client wrote, where it is alone.
fn of_head(request: &[&Row], line: &[u8]) -> Result<(), String> {
    let row = request[0];
    let taken = usize::try_from(row.value_size.unwrap_or(0)).unwrap();
    let stores = ["set", "add", "replace", "append", "prepend", "cas"].contains(&&*row.op);
    let body = if stores && row.value_size.is_some() { taken + 2 } else { 0 };
    if sum(request, |row| row.request_bytes) != line.len() + body {
        return Err(format!("{} is not of its line and value", shown(row)));
    }
    let words: Vec<&[u8]> =
        line.trim_ascii_end().split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
    let verb = *words.first().unwrap_or(&&b""[..]);
    if verb.starts_with(b"m") && words[1..].contains(&&b"b"[..]) && verb != b"me" {
        return of_encoded(row, words[1]);
    }
    let at = match verb {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => 3,
        b"touch" => 2,
        b"gat" | b"gats" => 1,
        _ => return Ok(()),
    };
    let is_odd = line[0] == b' ' || line.contains(&0);
    let Some(word) = words.get(at).and_then(|word| std::str::from_utf8(word).ok()) else {
        return Ok(());
    };
    // Space at its ends is the server's to judge.
    let written: Option<i64> = word.parse().ok();
    if !is_odd
        && word == word.trim()
        && word != "-"
        && !word.contains('\u{b}')
        && row.ttl != written
    {
        return Err(format!("{} has not the time to live {word:?}", shown(row)));
    }
    let key = 1 + usize::from(at == 1);
    let key = words.get(key).filter(|key| key.len() <= 250 && !is_odd);
    if key.is_some_and(|key| row.key != **key) {
        return Err(format!("{} has another key", shown(row)));
    }
    Ok(())
}

/// Whether the row has what memcached makes of a key in base64, which is not too particular.
fn of_encoded(row: &Row, written: &[u8]) -> Result<(), String> {
    let key: &[u8] = match written {
        b"Zm9v" | b"Zm!9v" => b"foo",
        b"Zm9vYg==" | b"Zm9vYh==" => b"foob",
        _ => return Ok(()),
    };
    let refused = row.status == "client_error" || matches!(&*row.op, "other" | "noop");
    if refused || row.key == key { Ok(()) } else { Err(format!("{} has another key", shown(row))) }
}
