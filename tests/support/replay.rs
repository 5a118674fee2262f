//! mcreplay under test, and what it is compared by.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{capture::Row, server::Address};

/// What a replay said of itself, and its exit status.
pub struct Replayed {
    pub status: Option<i32>,
    pub report: Value,
    pub said: String,
}

impl Replayed {
    /// A number of the report.
    pub fn number(&self, pointer: &str) -> u64 {
        let number = self.report.pointer(pointer).and_then(Value::as_u64);
        number.unwrap_or_else(|| panic!("no {pointer} in {:#}", self.report))
    }
}

/// The program under test, to be told more.
pub fn mcreplay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcreplay"));
    command.stdin(Stdio::null());
    command
}

/// Where a server is, for `--to`.
pub fn to(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Replays `capture` to its end.
pub fn replay(capture: &Path, target: &str, arguments: &[&str]) -> Replayed {
    let output = mcreplay()
        .arg(capture)
        .args(["--to", target, "--format", "json", "-q"])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Replayed { status: output.status.code(), report, said }
}

/// What is the same of an operation and its replay. Beside it, what of a time to live
/// that is a point in time moves.
#[derive(Debug, PartialEq)]
pub struct Same<'a> {
    pub op: &'a str,
    pub protocol: &'a str,
    pub key: String,
    pub key_index: i32,
    pub status: &'a str,
    pub value_size: Option<i64>,
    pub ttl: Option<i64>,
    pub client_flags: Option<i64>,
    pub quiet: bool,
    pub compares: bool,
    pub tells_unique: bool,
    pub meta_flags: Option<&'a str>,
    pub meta_returned: Option<&'a str>,
}

/// Times to live above this are points in time.
pub const RELATIVE_MAX: i64 = 60 * 60 * 24 * 30;

pub fn same(row: &Row) -> Same<'_> {
    Same {
        op: &row.op,
        protocol: row.protocol.as_deref().unwrap_or_default(),
        key: row.key.escape_ascii().to_string(),
        key_index: row.key_index,
        status: &row.status,
        value_size: row.value_size,
        ttl: row.ttl.filter(|&ttl| ttl <= RELATIVE_MAX),
        client_flags: row.client_flags,
        quiet: row.quiet,
        compares: row.cas_sent.is_some(),
        tells_unique: row.cas.is_some(),
        meta_flags: row.meta_flags.as_deref(),
        meta_returned: row.meta_returned.as_deref(),
    }
}

/// Whether a replay has this: all but what was refused as malformed, or cannot be known.
pub fn is_replayed(row: &Row) -> bool {
    let counts = matches!(row.op.as_str(), "incr" | "decr");
    let malformed = row.status == "error" || (row.status == "client_error" && !counts);
    let without_key = row.key.is_empty() && row.key_len > 0;
    !malformed && !without_key && !matches!(row.op.as_str(), "other" | "auth" | "watch")
}
