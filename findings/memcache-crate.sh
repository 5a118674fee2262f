#!/bin/sh
# The crate memcache 0.21.0, over the text protocol (memcache://...?protocol=ascii):
# 1. add(), replace(), append() and prepend() return Ok(()) where the server stored nothing.
#    Over the binary protocol, its default, the first three return an error for the same, and
#    prepend() returns Ok(()) there, too. So an add() that is meant as a lock is always won.
# 2. stats() returns an empty map: it stops at the first line that is not the last one.
# Seen with Rust 1.95 and memcached 1.6.18 and 1.6.45:
#   text: add of a key that is there: true, append to one that is not: true, prepend: true
#   binary: add of a key that is there: false, append to one that is not: false, prepend: true
#   text: stats has 0 entries
#   binary: stats has 93 entries
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
mkdir -p "$folder/crate/src"
cd "$folder/crate"
cat >Cargo.toml <<'END'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
memcache = { version = "=0.21.0", default-features = false }
END
cat >src/main.rs <<'END'
use memcache::Client;

/// Whether what cannot be stored is reported as stored: by add, append and prepend.
fn claims(url: &str) -> [bool; 3] {
    let client = Client::with_pool_size(url, 1).unwrap();
    client.set("there", "value", 0).unwrap();
    let claims = [
        client.add("there", "other", 0).is_ok(),
        client.append("absent", "more").is_ok(),
        client.prepend("absent", "more").is_ok(),
    ];
    assert_eq!(client.get::<String>("there").unwrap().as_deref(), Some("value"));
    assert_eq!(client.get::<String>("absent").unwrap(), None);
    claims
}

fn main() {
    let binary = format!("memcache://127.0.0.1:{}", std::env::args().nth(1).unwrap());
    let text = format!("{binary}?protocol=ascii");
    let said = [claims(&text), claims(&binary)];
    for (name, [add, append, prepend]) in ["text", "binary"].iter().zip(said) {
        println!("{name}: add of a key that is there: {add}, append to one that is not: {append}, prepend: {prepend}");
    }
    let entries = [("text", text), ("binary", binary)].map(|(name, url)| {
        let entries = Client::with_pool_size(url, 1).unwrap().stats().unwrap()[0].1.len();
        println!("{name}: stats has {entries} entries");
        entries
    });
    let same = said == [[true; 3], [false, false, true]] && entries[0] == 0 && entries[1] > 0;
    std::process::exit(i32::from(!same));
}
END
CARGO_TARGET_DIR=$folder/target cargo run --quiet -- "$port"
