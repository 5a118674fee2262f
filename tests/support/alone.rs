//! Requests of every protocol, each by itself in a read of the server's.

use super::{random::Random, server::Server, wire::Wire};

/// Requests one at a time, each by itself in a read.
pub fn singles(wire: &mut Wire, binary: bool, random: &mut Random, keys: &[Vec<u8>], count: usize) {
    for _ in 0..count {
        let key = keys[random.below(keys.len())].as_slice();
        let value = vec![b'v'; random.below(300)];
        match (binary, random.below(11)) {
            (true, 0..=3) => wire.packet("get", 0x00, &[], key, b"", 0, None),
            (true, 4..=5) => wire.packet("set", 0x01, &[0; 8], key, &value, 0, None),
            (true, 6) => wire.packet("append", 0x0e, &[], key, b"more", 0, None),
            (true, 7) => wire.packet("touch", 0x1c, &[0; 4], key, b"", 0, None),
            (true, 8) => wire.packet("delete", 0x04, &[], key, b"", 0, None),
            (true, _) => wire.packet("gat", 0x1d, &[0; 4], key, b"", 0, None),
            (false, 0..=1) => wire.get("get", None, &[key]),
            (false, 2) => wire.get("gats", Some(9), &[key]),
            (false, 3) => wire.store("set", key, 0, &value, None, true),
            (false, 4) => wire.store("set", key, -1, &value, None, false),
            (false, 5) => wire.store("cas", key, 9, &value, Some(7), false),
            (false, 6) => wire.on_key("delete", key, None, random.chance(50)),
            (false, 7) => wire.on_key("incr", key, Some(3), random.chance(50)),
            (false, 8) => wire.on_key("touch", key, Some(100), false),
            (false, 9) => wire.line_command("version", "version"),
            (false, _) => wire.store("prepend", key, 0, b"", None, random.chance(50)),
        }
        wire.run_whole();
    }
}

/// Keys that the text protocol allows, for `singles`.
pub fn plain_keys() -> Vec<Vec<u8>> {
    let mut random = Random(77);
    let in_text = |byte: u8| byte > b' ' && byte != 0x7f;
    (0..60).map(|_| random.key(in_text)).collect()
}

/// Requests of every form on one key, each by itself.
pub fn forms(server: &Server, wire: &mut Wire, binary: bool, key: &[u8], random: &mut Random) {
    let each = |wire: &mut Wire, add: &dyn Fn(&mut Wire)| {
        add(wire);
        wire.run_whole();
        // Without a reply, too, the next one comes after it was read.
        server.reads(&wire.log.client);
    };
    let long = vec![b'v'; 14_000];
    if binary {
        for opcode in [0x01, 0x02, 0x03] {
            each(wire, &|wire| wire.packet("set", opcode, &[0; 8], key, &long, 0, None));
        }
        each(wire, &|wire| wire.packet("append", 0x0e, &[], key, b"a", 0, None));
        each(wire, &|wire| wire.packet("prepend", 0x0f, &[], key, b"b", 0, None));
        each(wire, &|wire| wire.packet("get", 0x00, &[], key, b"", 0, None));
        each(wire, &|wire| wire.packet("get", 0x0c, &[], key, b"", 0, None));
        each(wire, &|wire| wire.packet("get", 0x0d, &[], key, b"", 0, None));
        each(wire, &|wire| wire.packet("touch", 0x1c, &[0; 4], key, b"", 0, None));
        each(wire, &|wire| wire.packet("gat", 0x1d, &[0; 4], key, b"", 0, None));
        each(wire, &|wire| wire.packet("gat", 0x23, &[0; 4], key, b"", 0, None));
        each(wire, &|wire| wire.packet("incr", 0x05, &[0; 20], key, b"", 0, None));
        each(wire, &|wire| wire.packet("decr", 0x06, &[0; 20], key, b"", 0, None));
        each(wire, &|wire| wire.packet("delete", 0x04, &[], key, b"", 0, None));
        return;
    }
    for noreply in [false, true] {
        for op in ["set", "add", "replace", "append", "prepend"] {
            each(wire, &|wire| wire.store(op, key, 0, b"", None, noreply));
            each(wire, &|wire| wire.store(op, key, -1, b"\r\nEND\r\n", None, noreply));
        }
        each(wire, &|wire| wire.store("set", key, 100, &long, None, noreply));
        each(wire, &|wire| wire.store("cas", key, 0, b"value", Some(u64::MAX / 2), noreply));
        each(wire, &|wire| wire.on_key("incr", key, Some(1), noreply));
        each(wire, &|wire| wire.on_key("decr", key, Some(1), noreply));
        each(wire, &|wire| wire.on_key("touch", key, Some(-1), noreply));
        each(wire, &|wire| wire.on_key("delete", key, None, noreply));
    }
    for op in ["get", "gets"] {
        each(wire, &|wire| wire.get(op, None, &[key]));
    }
    for op in ["gat", "gats"] {
        each(wire, &|wire| wire.get(op, Some(100), &[key]));
    }
    for _ in 0..20 {
        wire.meta_alone(random, key);
        wire.run_whole();
    }
}
