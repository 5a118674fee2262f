//! The CSV of Twitter's cache-trace (<https://github.com/twitter/cache-trace>): a request
//! a line, without a header.
//!
//! ```text
//! seconds,key,key size,value size,client,operation,TTL
//! ```
//!
//! It has no quotes. A comma in a key is `\x2c`, as captures write bytes that are no
//! text, so that a line always has seven fields.

use std::fmt::Write as _;

use anyhow::Result;
use mcrec_schema::{codes::Op, key};

use super::{
    requests::{self, Passed, Request, Visitor},
    sink::Sink,
};
use crate::{capture::Capture, render::text::harmful};

/// How captures call it.
pub(super) const NAME: &str = "cache-trace";

/// The operations that it has.
pub(super) const OPS: [Op; 11] = [
    Op::Get,
    Op::Gets,
    Op::Set,
    Op::Add,
    Op::Replace,
    Op::Cas,
    Op::Append,
    Op::Prepend,
    Op::Delete,
    Op::Incr,
    Op::Decr,
];

/// The last second that a time of day can be told of: the end of the year 9999.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Writes the operations that are asked for, in order.
///
/// # Errors
///
/// When they cannot be read or written.
pub(super) fn write(capture: &Capture, sink: &mut Sink) -> Result<Passed> {
    let of_key = |text: &str| {
        let length = key::unescape(text).map_or(text.len(), |bytes| bytes.len());
        (field(text), i64::try_from(length).unwrap_or(i64::MAX))
    };
    // What was a trace before is the same again: its own seconds, and its clients, which
    // count from 0, where connections count from 1.
    let was_trace = capture.footers.iter().all(|footer| footer.source.name == NAME);
    let origin = if was_trace { 0 } else { requests::start(capture) };
    let mut lines = Lines { line: String::new(), first_client: i64::from(was_trace), sink };
    requests::each(capture, &OPS, origin, of_key, &mut lines)
}

/// Writes requests as lines.
struct Lines<'a> {
    line: String,
    /// The connection that is client 0 of the trace; 0 where clients are called as those.
    first_client: i64,
    sink: &'a mut Sink,
}

impl Visitor<(String, i64)> for Lines<'_> {
    fn request(&mut self, request: &Request, (key, length): &(String, i64)) -> Result<()> {
        self.line.clear();
        writeln!(
            self.line,
            "{},{key},{},{},{},{},{}",
            request.seconds,
            request.key_len.unwrap_or(*length),
            request.value_size.unwrap_or(0),
            request.conn_id - self.first_client,
            request.op.as_str(),
            request.ttl.unwrap_or(0),
        )?;
        self.sink.write(self.line.as_bytes())
    }
}

/// A key as captures have it, with the bytes of commas, and of what could do something
/// to a terminal, as `\xNN`: they mean the same.
fn field(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for character in key.chars() {
        if character != ',' && !harmful(character) {
            text.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail");
        }
    }
    text
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) seconds: i64,
    /// Escaped as captures have it.
    pub(super) key: String,
    pub(super) key_len: i64,
    pub(super) value_size: i64,
    pub(super) client: i64,
    pub(super) op: Op,
    pub(super) ttl: i64,
}

/// Reads a line, without its end.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<Line, String> {
    let mut fields = line.split(|&byte| byte == b',');
    let all: [&[u8]; 7] = std::array::from_fn(|_| fields.next().unwrap_or_default());
    let count = line.split(|&byte| byte == b',').count();
    if count != all.len() {
        return Err(format!("it has {count} fields, and not seven"));
    }
    let [seconds, key, key_len, value_size, client, op, ttl] = all;
    if key.is_empty() {
        return Err("it has no key".to_owned());
    }
    Ok(Line {
        seconds: number(seconds, "timestamp", 0..=SECONDS_MAX)?,
        key: captured(key),
        key_len: number(key_len, "key size", 0..=i64::MAX)?,
        value_size: number(value_size, "value size", 0..=i64::MAX)?,
        // One less than there may be connections, which are numbered from 1.
        client: number(client, "client", 0..=i64::MAX - 1)?,
        op: OPS
            .into_iter()
            .find(|known| known.as_str().as_bytes() == op.trim_ascii())
            .ok_or_else(|| format!("its operation is none of {}", OPS.map(Op::as_str).join(" ")))?,
        ttl: number(ttl, "TTL", i64::MIN..=i64::MAX)?,
    })
}

/// A key as captures have it. What could be one of theirs is.
fn captured(key: &[u8]) -> String {
    let unescaped = std::str::from_utf8(key).ok().and_then(key::unescape);
    key::escape(unescaped.as_deref().unwrap_or(key))
}

fn number(field: &[u8], name: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, String> {
    std::str::from_utf8(field.trim_ascii())
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("its {name} is not a number that it can be"))
}

#[cfg(test)]
mod tests {
    use super::{captured, field, parse};

    #[test]
    fn keys_survive() {
        for (key, written) in [
            ("user:1", "user:1"),
            ("a,b", r"a\x2cb"),
            (r"back\x5cslash", r"back\x5cslash"),
            ("\u{202e}evil", r"\xe2\x80\xaeevil"),
            (r"\xffżółć", r"\xffżółć"),
        ] {
            assert_eq!(field(key), written);
            assert_eq!(captured(written.as_bytes()), key);
        }
        // What no capture has written is taken as it is.
        assert_eq!(captured(br"c:\temp"), r"c:\x5ctemp");
        assert_eq!(captured(b"\xff\x1b"), r"\xff\x1b");
    }

    #[test]
    fn lines_are_checked() {
        assert!(parse(b"0,nz:u:eeW511W3dcH3de3d15ec,22,304,0,get,0").is_ok());
        assert_eq!(parse(b"7, k,1,0,3, set ,-1").map(|line| line.key), Ok(" k".to_owned()));
        for line in [
            "",
            "0,k,1,0,1,get",
            "0,k,1,0,1,get,0,",
            "0,,1,0,1,get,0",
            "-1,k,1,0,1,get,0",
            "0.5,k,1,0,1,get,0",
            "253402300800,k,1,0,1,get,0",
            "0,k,1,-2,1,get,0",
            "0,k,1,0,9223372036854775807,get,0",
            "0,k,1,0,1,GET,0",
            "0,k,1,0,1,touch,0",
            "0,k,1,0,1,get,",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
