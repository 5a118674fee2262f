//! A client that logs every operation it sent and what it was told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

/// One operation on one key, as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub protocol: Protocol,
    /// The verb, or in the binary protocol the text verb that does the same.
    pub op: &'static str,
    pub key: Vec<u8>,
    /// In the words of captures.
    pub status: &'static str,
    /// Bytes sent by a store or returned by a hit.
    pub value_size: Option<usize>,
    /// Number of the request on its connection.
    pub request: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Text,
    Binary,
}

/// A connection. Dropping it closes it.
pub struct Client {
    stream: BufReader<TcpStream>,
    protocol: Protocol,
    pub log: Vec<Logged>,
    requests: usize,
}

impl Client {
    pub fn connect(address: SocketAddr, protocol: Protocol) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), protocol, log: Vec::new(), requests: 0 }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// A line of the text protocol, without its end.
    pub fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\r\n"), "memcached closed the connection");
        line.truncate(line.len() - 2);
        line
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Logs an operation of the request at hand.
    fn log(&mut self, op: &'static str, key: &[u8], status: &'static str, size: Option<usize>) {
        self.log.push(Logged {
            protocol: self.protocol,
            op,
            key: key.to_vec(),
            status,
            value_size: size,
            request: self.requests,
        });
    }

    // The text protocol.

    /// `get`, `gets`, or with a time to live `gat`, `gats`, of one key or several.
    pub fn get(&mut self, verb: &'static str, keys: &[Vec<u8>]) {
        let ttl: &[u8] = if verb.starts_with("gat") { b" 100" } else { b"" };
        self.send(&[verb.as_bytes(), ttl, b" ", &keys.join(&b' '), b"\r\n"].concat());
        self.get_reply(verb, keys);
    }

    /// Reads the reply to a `get` of `keys`.
    pub fn get_reply(&mut self, verb: &'static str, keys: &[Vec<u8>]) {
        self.requests += 1;
        let mut keys = keys.iter();
        loop {
            let line = self.line();
            if line == b"END" {
                break;
            }
            let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
            assert_eq!(words[0], b"VALUE", "{}", line.escape_ascii());
            let size = std::str::from_utf8(words[3]).unwrap().parse().unwrap();
            self.exactly(size + 2);
            // Values come in the order of the keys; those left out are misses.
            loop {
                let key = keys.next().expect("a key that was asked for");
                if key == words[1] {
                    self.log(verb, key, "hit", Some(size));
                    break;
                }
                self.log(verb, key, "miss", None);
            }
        }
        for key in keys {
            self.log(verb, key, "miss", None);
        }
    }

    /// The line that a store begins with.
    pub fn store_line(verb: &str, key: &[u8], size: usize, rest: &str) -> Vec<u8> {
        [verb.as_bytes(), b" ", key, format!(" 0 0 {size}{rest}\r\n").as_bytes()].concat()
    }

    /// `set add replace append prepend cas`; `rest` is the CAS unique of the latter.
    pub fn store(&mut self, verb: &'static str, key: &[u8], value: &[u8], rest: &str) {
        let line = Self::store_line(verb, key, value.len(), rest);
        self.send(&[&line, value, b"\r\n"].concat());
        self.store_reply(verb, key, value.len());
    }

    /// Reads the reply to a store.
    pub fn store_reply(&mut self, verb: &'static str, key: &[u8], size: usize) {
        self.requests += 1;
        let status = match self.line().as_slice() {
            b"STORED" => "stored",
            b"NOT_STORED" => "not_stored",
            b"EXISTS" => "exists",
            b"NOT_FOUND" => "not_found",
            other => panic!("reply to {verb}: {}", other.escape_ascii()),
        };
        self.log(verb, key, status, Some(size));
    }

    /// `gets` of a key, logged; its CAS unique, if it is there.
    pub fn cas_unique(&mut self, key: &[u8]) -> Option<u64> {
        self.requests += 1;
        self.send(&[b"gets ", key, b"\r\n"].concat());
        let line = self.line();
        if line == b"END" {
            self.log("gets", key, "miss", None);
            return None;
        }
        let rest = std::str::from_utf8(&line[b"VALUE ".len() + key.len() + 1..]).unwrap();
        let words: Vec<&str> = rest.split(' ').collect();
        let size = words[1].parse().unwrap();
        self.exactly(size + 2);
        assert_eq!(self.line(), b"END");
        self.log("gets", key, "hit", Some(size));
        Some(words[2].parse().unwrap())
    }

    /// `delete`, `touch`, `incr`, `decr`; `argument` begins with a space or is empty.
    pub fn on_key(&mut self, verb: &'static str, key: &[u8], argument: &str) {
        self.requests += 1;
        self.send(&[verb.as_bytes(), b" ", key, argument.as_bytes(), b"\r\n"].concat());
        let status = match self.line().as_slice() {
            b"DELETED" => "deleted",
            b"TOUCHED" => "touched",
            b"NOT_FOUND" => "not_found",
            number if number.iter().all(u8::is_ascii_digit) => "ok",
            other if other.starts_with(b"CLIENT_ERROR") => "client_error",
            other => panic!("reply to {verb}: {}", other.escape_ascii()),
        };
        self.log(verb, key, status, None);
    }

    /// A command without a key, with a reply of one line.
    pub fn other(&mut self, command: &str) -> Vec<u8> {
        self.requests += 1;
        self.send(format!("{command}\r\n").as_bytes());
        self.line()
    }

    // The binary protocol.

    /// A packet: header, extras, key, value (doc/protocol-binary.txt of memcached).
    pub fn packet(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
        let key_length = u16::try_from(key.len()).unwrap().to_be_bytes();
        let extras_length = u8::try_from(extras.len()).unwrap();
        let body = u32::try_from(extras.len() + key.len() + value.len()).unwrap().to_be_bytes();
        let head = [&[0x80, opcode], &key_length[..], &[extras_length, 0, 0, 0], &body].concat();
        [&head[..], &[0; 12], extras, key, value].concat()
    }

    /// Status and value of the next reply.
    fn reply(&mut self) -> (u16, usize) {
        let header = self.exactly(24);
        assert_eq!(header[0], 0x81);
        let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let body = u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
        self.exactly(body);
        (short(6), body - usize::from(header[4]) - usize::from(short(2)))
    }

    /// One binary command: its opcode is that of `op`.
    pub fn binary(&mut self, op: &'static str, key: &[u8], value: &[u8]) {
        self.requests += 1;
        let ttl = 100_u32.to_be_bytes();
        let counter = [[0; 7].as_slice(), &[1], &[0; 8], &[0xff; 4]].concat();
        let (opcode, extras): (u8, &[u8]) = match op {
            "get" => (0x00, &[]),
            "set" => (0x01, &[0; 8]),
            "add" => (0x02, &[0; 8]),
            "replace" => (0x03, &[0; 8]),
            "delete" => (0x04, &[]),
            "incr" => (0x05, &counter),
            "decr" => (0x06, &counter),
            "append" => (0x0e, &[]),
            "prepend" => (0x0f, &[]),
            "touch" => (0x1c, &ttl),
            "gat" => (0x1d, &ttl),
            _ => panic!("no opcode for {op}"),
        };
        self.send(&Self::packet(opcode, extras, key, value));
        let (status, size) = self.reply();
        let fetch = matches!(op, "get" | "gat");
        let store = matches!(op, "set" | "add" | "replace" | "append" | "prepend");
        let status = match (status, op) {
            (0, "delete") => "deleted",
            (0, "touch") => "touched",
            (0, "incr" | "decr") => "ok",
            (0, _) if fetch => "hit",
            (0, _) => "stored",
            (1, _) if fetch => "miss",
            (1, _) => "not_found",
            (2, _) => "exists",
            (5, _) => "not_stored",
            (6, _) => "client_error",
            (other, _) => panic!("status {other} for {op}"),
        };
        let size = if store { Some(value.len()) } else { (status == "hit").then_some(size) };
        self.log(op, key, status, size);
    }

    /// Quiet gets ended by a noop: replies come for hits only, all in one read.
    pub fn binary_quiet_gets(&mut self, keys: &[Vec<u8>]) {
        let gets = keys.iter().map(|key| Self::packet(0x0d, &[], key, &[]));
        let packets: Vec<Vec<u8>> = gets.chain([Self::packet(0x0a, &[], &[], &[])]).collect();
        self.send(&packets.concat());
        let mut hits = Vec::new();
        loop {
            let header = self.exactly(24);
            let key_length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let body = u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
            let body = self.exactly(body);
            if header[1] == 0x0a {
                break;
            }
            let key = body[4..4 + key_length].to_vec();
            hits.push((key, body.len() - 4 - key_length));
        }
        let mut hits = hits.into_iter().peekable();
        for key in keys {
            self.requests += 1;
            match hits.next_if(|(hit, _)| hit == key) {
                Some((_, size)) => self.log("get", key, "hit", Some(size)),
                None => self.log("get", key, "miss", None),
            }
        }
        assert!(hits.next().is_none(), "a reply for a key that was not asked for");
        self.requests += 1; // the noop
    }
}
