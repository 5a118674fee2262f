//! What the rows promise.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
};

use anyhow::{Context, Result};
use arrow_array::{Array, Int32Array, Int64Array, RecordBatch, StringArray};
use mcrec_capture::Capture;
use mcrec_schema::{
    codes::{Op, Protocol, Status},
    columns,
    footer::ANONYMISED_IN_TRACE,
    key,
};

use super::{
    super::rows::{self, Place},
    Findings, Rule,
};

/// Columns of numbers that count something.
const COUNTS: [&str; 5] = [
    columns::KEY_LEN,
    columns::VALUE_SIZE,
    columns::LATENCY_NS,
    columns::REQUEST_BYTES,
    columns::RESPONSE_BYTES,
];

pub(super) fn check(capture: &Capture, findings: &mut Findings) {
    let mut state = State {
        keys: match capture.footer().privacy.keys_hashed.as_deref() {
            None => Keys::Plain,
            Some(ANONYMISED_IN_TRACE) => Keys::OfTrace,
            Some(_) => Keys::Hashed,
        },
        ops: Op::ALL.iter().map(|op| (op.as_str(), *op)).collect(),
        statuses: Status::ALL.iter().map(|status| (status.as_str(), *status)).collect(),
        protocols: Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect(),
        connections: HashMap::new(),
    };
    // One that cannot be read does not keep the others from being read.
    let mut first = 0;
    for (group, metadata) in capture.row_groups().iter().enumerate() {
        let place = Place { group, row: first };
        if let Err(error) = state.group(capture, place, findings) {
            findings.broken(Rule::Rows, || format!("row group {group}: {error:#}"));
        }
        first += u64::try_from(metadata.num_rows()).unwrap_or(0);
    }
}

/// What stands in the place of keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// They themselves.
    Plain,
    /// Pseudonyms of our own.
    Hashed,
    /// Anything.
    OfTrace,
}

struct State {
    keys: Keys,
    ops: HashMap<&'static str, Op>,
    statuses: HashMap<&'static str, Status>,
    protocols: HashSet<&'static str>,
    connections: HashMap<i64, Last>,
}

/// The last row of a connection.
struct Last {
    ts: i64,
    request_id: i64,
    key_index: i32,
}

/// The columns of a batch.
struct Rows<'a> {
    place: Place,
    ts: &'a [i64],
    op: &'a StringArray,
    protocol: &'a StringArray,
    status: &'a StringArray,
    key: &'a StringArray,
    key_len: &'a Int64Array,
    request_id: &'a Int64Array,
    key_index: &'a Int32Array,
    conn_id: &'a Int64Array,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch, place: Place) -> Result<Self> {
        Ok(Self {
            place,
            ts: rows::times(batch)?.values(),
            op: rows::texts(batch, columns::OP)?,
            protocol: rows::texts(batch, columns::PROTOCOL)?,
            status: rows::texts(batch, columns::STATUS)?,
            key: rows::texts(batch, columns::KEY)?,
            key_len: rows::longs(batch, columns::KEY_LEN)?,
            request_id: rows::longs(batch, columns::REQUEST_ID)?,
            key_index: rows::ints(batch, columns::KEY_INDEX)?,
            conn_id: rows::longs(batch, columns::CONN_ID)?,
        })
    }

    /// Where row `row` of the batch is, and what is wrong with it.
    fn at(&self, row: usize, wrong: impl Display) -> String {
        let number = self.place.row + row as u64;
        format!("row {number} (row group {}): {wrong}", self.place.group)
    }
}

impl State {
    fn group(&mut self, capture: &Capture, first: Place, findings: &mut Findings) -> Result<()> {
        let group = first.group;
        let mut place = first;
        let mut times: Option<(i64, i64)> = None;
        for batch in rows::batches(capture, group, None)? {
            let batch = batch.and_then(|batch| rows::plain(&batch))?;
            let rows =
                Rows::of(&batch, place).context("its columns are not those of the format")?;
            for (row, &ts) in rows.ts.iter().enumerate() {
                let (low, high) = times.unwrap_or((ts, ts));
                times = Some((low.min(ts), high.max(ts)));
                self.words(&rows, row, findings);
                self.key(&rows, row, findings);
                self.order(&rows, row, findings);
            }
            counts(&batch, &rows, findings)?;
            place.row += batch.num_rows() as u64;
        }
        let metadata = &capture.row_groups()[group];
        let said = rows::range(metadata, columns::TS);
        if said.is_some() && said != times {
            findings.broken(Rule::Statistics, || {
                format!("row group {group} says {said:?}, and has {times:?}")
            });
        }
        let (there, said) = (place.row - first.row, metadata.num_rows());
        if i64::try_from(there) != Ok(said) {
            findings.broken(Rule::Rows, || {
                format!("row group {group} has {there} rows, and says {said}")
            });
        }
        Ok(())
    }

    fn words(&self, rows: &Rows<'_>, row: usize, findings: &mut Findings) {
        let (op, status) = (rows.op.value(row), rows.status.value(row));
        let known = (self.ops.get(op), self.statuses.get(status));
        let protocol = rows.protocol.is_valid(row).then(|| rows.protocol.value(row));
        if known.0.is_none() || known.1.is_none() {
            findings.broken(Rule::Words, || rows.at(row, format!("op {op:?}, status {status:?}")));
        } else if let Some(protocol) = protocol.filter(|word| !self.protocols.contains(word)) {
            findings.broken(Rule::Words, || rows.at(row, format!("protocol {protocol:?}")));
        }
        if let (Some(&of), Some(&is)) = known
            && !can_have(of, is)
        {
            findings.broken(Rule::Statuses, || rows.at(row, format!("{op} has status {status}")));
        }
    }

    fn key(&self, rows: &Rows<'_>, row: usize, findings: &mut Findings) {
        let length = rows.key_len.is_valid(row).then(|| rows.key_len.value(row));
        if rows.key.is_null(row) {
            return;
        }
        let text = rows.key.value(row);
        if self.keys != Keys::Plain && length.is_none() {
            findings.broken(Rule::KeyLengths, || rows.at(row, "the length is not known"));
        }
        if self.keys == Keys::Hashed {
            if !is_pseudonym(text) {
                findings.broken(Rule::Keys, || rows.at(row, format!("{text:?} is no pseudonym")));
            }
            return;
        }
        let bytes = key::unescape(text).filter(|bytes| key::escape(bytes) == text);
        let Some(bytes) = bytes else {
            findings.broken(Rule::Keys, || {
                rows.at(row, format!("{text:?} is not how a key is written"))
            });
            return;
        };
        if self.keys == Keys::Plain && length != i64::try_from(bytes.len()).ok() {
            findings.broken(Rule::KeyLengths, || {
                rows.at(row, format!("{text:?} has {} bytes, not {length:?}", bytes.len()))
            });
        }
    }

    fn order(&mut self, rows: &Rows<'_>, row: usize, findings: &mut Findings) {
        let (conn_id, request_id) = (rows.conn_id.value(row), rows.request_id.value(row));
        let (ts, key_index) = (rows.ts[row], rows.key_index.value(row));
        if conn_id < 1 {
            findings.broken(Rule::Connections, || rows.at(row, format!("conn_id {conn_id}")));
        }
        if request_id < 1 || key_index < 0 {
            findings.broken(Rule::Requests, || {
                rows.at(row, format!("request_id {request_id}, key_index {key_index}"))
            });
        }
        if let Some(last) = self.connections.get(&conn_id) {
            if ts < last.ts {
                findings.broken(Rule::Time, || {
                    rows.at(row, format!("{} µs before the row before it", last.ts.abs_diff(ts)))
                });
            }
            let goes_on = (last.request_id, last.key_index) < (request_id, key_index);
            if !goes_on {
                findings.broken(Rule::Requests, || {
                    rows.at(
                        row,
                        format!(
                            "request {request_id}, key {key_index} of connection {conn_id} comes \
                             after request {}, key {}",
                            last.request_id, last.key_index
                        ),
                    )
                });
            }
        }
        self.connections.insert(conn_id, Last { ts, request_id, key_index });
    }
}

fn counts(batch: &RecordBatch, at: &Rows<'_>, findings: &mut Findings) -> Result<()> {
    for name in COUNTS {
        for (row, number) in rows::longs(batch, name)?.iter().enumerate() {
            if let Some(number) = number.filter(|number| *number < 0) {
                findings.broken(Rule::Numbers, || at.at(row, format!("{name} is {number}")));
            }
        }
    }
    Ok(())
}

/// Whether an operation can have that status, by the format's rules for mapping.
fn can_have(op: Op, status: Status) -> bool {
    use Status as S;
    match status {
        S::Error | S::ClientError | S::ServerError | S::NoReply | S::Unknown => {
            !matches!(op, Op::Connect | Op::Disconnect)
        }
        _ => match op {
            Op::Get | Op::Gets | Op::Gat | Op::Gats => matches!(status, S::Hit | S::Miss),
            Op::Set | Op::Add | Op::Replace | Op::Append | Op::Prepend | Op::Cas => {
                matches!(status, S::Stored | S::NotStored | S::Exists | S::NotFound)
            }
            // Meta arithmetic compares a CAS, and creates what is missing.
            Op::Incr | Op::Decr => {
                matches!(status, S::Ok | S::NotFound | S::NotStored | S::Exists)
            }
            Op::Delete => matches!(status, S::Deleted | S::NotFound | S::Exists),
            Op::Touch => matches!(status, S::Touched | S::NotFound),
            Op::Connect | Op::Disconnect => status == S::Ok,
            _ => matches!(status, S::Ok | S::NotFound),
        },
    }
}

/// Segments of 16 hexadecimal digits, between delimiters.
fn is_pseudonym(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_hash = |part: &str| part.is_empty() || (part.len() == 16 && part.bytes().all(is_digit));
    text.split([':', '/', '.']).all(is_hash)
}
