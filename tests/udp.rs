//! Clients that send datagrams: each is a connection of its own, whichever worker serves it.

mod support;
#[path = "support/replay.rs"]
mod tool;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use support::{
    capture::{self, Row},
    recorder::Recorder,
    rows::is_event,
    server::Server,
};
use tool::{replay, to};

/// What a client asked for, and what became of it.
type Logged = (&'static str, Vec<u8>, &'static str, Option<i64>);

struct Client {
    socket: UdpSocket,
    number: u16,
    log: Vec<Logged>,
}

impl Client {
    fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        // So that a test that goes wrong ends.
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, number: 0, log: Vec::new() }
    }

    fn send(&mut self, request: &[u8]) {
        self.number += 1;
        let frame = [&self.number.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0]].concat();
        self.socket.send(&[&frame, request].concat()).unwrap();
    }

    /// All datagrams of the next reply.
    fn reply(&self) -> Vec<u8> {
        let mut parts = BTreeMap::new();
        loop {
            let mut datagram = [0; 65_536];
            let length = self.socket.recv(&mut datagram).unwrap();
            let number = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
            let of = number(4);
            parts.insert(number(2), datagram[8..length].to_vec());
            if parts.len() == usize::from(of) {
                return parts.into_values().flatten().collect();
            }
        }
    }

    fn store(&mut self, key: &[u8], size: usize) {
        let value = vec![b'v'; size];
        self.send(&[b"set ", key, format!(" 0 0 {size}\r\n").as_bytes(), &value, b"\r\n"].concat());
        assert_eq!(self.reply(), b"STORED\r\n");
        self.log.push(("set", key.to_vec(), "stored", Some(i64::try_from(size).unwrap())));
    }

    fn get(&mut self, key: &[u8]) {
        self.send(&[b"get ", key, b"\r\n"].concat());
        let reply = self.reply();
        let size = reply.len().checked_sub(b"VALUE  0 \r\n\r\nEND\r\n".len() + key.len());
        let hit = size.map(|size| {
            let digits = (1..6).find(|&d| (size - d).to_string().len() == d).unwrap();
            i64::try_from(size - digits).unwrap()
        });
        self.log.push(("get", key.to_vec(), if hit.is_some() { "hit" } else { "miss" }, hit));
    }

    fn delete(&mut self, key: &[u8]) {
        self.send(&[b"delete ", key, b"\r\n"].concat());
        assert_eq!(self.reply(), b"DELETED\r\n");
        self.log.push(("delete", key.to_vec(), "deleted", None));
    }

    /// What is a hit, and what a miss, goes by the order of all of it.
    fn work(&mut self, name: &str) {
        for round in 0..15 {
            let key = format!("{name}:{}", round % 3).into_bytes();
            self.get(&key);
            // In several datagrams, at times.
            self.store(&key, [10, 4_000][round % 2]);
            self.get(&key);
            self.get(&key);
            self.delete(&key);
            self.get(&key);
        }
    }
}

fn udp_address(server: &Server) -> SocketAddr {
    let process = procfs::process::Process::new(server.pid().cast_signed()).unwrap();
    let sockets: Vec<u64> = process
        .fd()
        .unwrap()
        .filter_map(|fd| match fd.ok()?.target {
            procfs::process::FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let all = procfs::net::udp().unwrap();
    all.iter().find(|entry| sockets.contains(&entry.inode)).unwrap().local_address
}

fn operations(path: &Path) -> Vec<Row> {
    capture::all_rows(path)
}

fn assert_in_order(rows: &[&Row]) {
    let in_order = rows.is_sorted_by(|one, next| {
        one.ts <= next.ts && (one.request_id, one.key_index) < (next.request_id, next.key_index)
    });
    assert!(in_order, "{rows:?}");
}

fn hits(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.status == "hit").count()
}

#[test]
fn each_client_is_a_connection_and_replayed_as_it_was() {
    let server = Server::start("debian-1.6.18", &["-U", "-1", "-t", "4"]);
    let address = udp_address(&server);
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("c.parquet"), folder.path().join("again.parquet"));
    let mut recorder = Recorder::start(server.pid(), &path, &[]);
    let clients: Vec<Client> = thread::scope(|scope| {
        let work = ["first", "second"].map(|name| {
            scope.spawn(move || {
                let mut client = Client::of(address);
                client.work(name);
                client
            })
        });
        work.into_iter().map(|work| work.join().unwrap()).collect()
    });
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let rows = operations(&path);
    assert!(!rows.iter().any(is_event), "datagrams open and end nothing");
    for client in &clients {
        let name = client.socket.local_addr().unwrap().to_string();
        let own: Vec<&Row> =
            rows.iter().filter(|row| row.client.as_deref() == Some(&*name)).collect();
        assert!(own.iter().all(|row| row.conn_id == own[0].conn_id));
        assert_eq!(rows.iter().filter(|row| row.conn_id == own[0].conn_id).count(), own.len());
        assert_in_order(&own);
        let recorded: Vec<_> =
            own.iter().map(|row| (&*row.op, &row.key, &*row.status, row.value_size)).collect();
        let logged: Vec<_> =
            client.log.iter().map(|(op, key, status, size)| (*op, key, *status, *size)).collect();
        assert_eq!(recorded, logged);
    }
    let target = Server::start("debian-1.6.18", &[]);
    let mut recorder = Recorder::start(target.pid(), &again, &[]);
    let replayed = replay(&path, &to(&target.endpoint()), &["--speed", "max"]);
    target.settle(0);
    recorder.interrupt();
    assert_eq!(replayed.status, Some(0), "{}", replayed.said);
    assert_eq!(hits(&operations(&again)), hits(&rows));
    assert_eq!(hits(&rows), 60);
}

#[test]
fn a_client_that_does_not_wait_has_its_rows_in_the_order_of_its_datagrams() {
    const SENT: usize = 2_000;
    let server = Server::start("debian-1.6.18", &["-U", "-1", "-t", "4"]);
    let address = udp_address(&server);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &[]);
    let mut client = Client::of(address);
    client.store(b"key", 500);
    // No more at once than sockets hold.
    for _ in 0..SENT / 50 {
        (0..50).for_each(|_| client.send(b"get key none key\r\n"));
        // Each key has a message of its own, and the last one has the end too.
        let mut answered = 0;
        while answered < 50 {
            answered += usize::from(client.reply().ends_with(b"END\r\n"));
        }
    }
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let rows = operations(&path);
    assert_eq!(rows.len(), 1 + 3 * SENT);
    assert_eq!(hits(&rows), 2 * SENT);
    // That a client was served by several workers is what this is about.
    assert!(rows.iter().any(|row| row.thread_id != rows[0].thread_id));
    assert_in_order(&rows.iter().collect::<Vec<_>>());
}
