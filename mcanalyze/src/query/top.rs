//! Which keys stand out?

use super::{kbps, per_second, ratio};
use crate::{
    capture::Capture,
    cli::Dimension,
    keys::KeyFigures,
    sampling::Sampling,
    table::{Column, Section, Table, Unit, Value},
};

const COLUMNS: [Column; 13] = [
    Column::new("calls", "calls", Unit::Count),
    Column::new("share", "share", Unit::Ratio).if_room(),
    Column::new("hits", "hits", Unit::Count).for_programs(),
    Column::new("misses", "misses", Unit::Count).for_programs(),
    Column::new("hit_ratio", "hit ratio", Unit::Ratio),
    Column::new("writes", "writes", Unit::Count).for_programs(),
    Column::new("value_size", "size", Unit::Bytes).if_room(),
    Column::new("rate", "req/s", Unit::Rate),
    Column::new("bandwidth_kbps", "kbps", Unit::Kbps).if_room(),
    Column::new("bytes", "bytes", Unit::Bytes),
    Column::new("latency_p50_ns", "p50", Unit::Nanoseconds),
    Column::new("latency_p99_ns", "p99", Unit::Nanoseconds),
    Column::new("last", "last", Unit::Time).if_room(),
];

/// Sums over operations: in a sample, of more than one key they are scaled.
const TOTALS: [&str; 7] = ["calls", "hits", "misses", "writes", "rate", "bandwidth_kbps", "bytes"];

/// Only where the sample changed.
const RECORDED: Column = Column::new("recorded", "recorded", Unit::Word);

/// Whether a key of a sample was recorded all the time.
fn recorded(sampling: &Sampling, key: &str) -> Value {
    match sampling.has_all_of(key) {
        Some(true) => Value::Text("always".to_owned()),
        Some(false) => Value::Text("partly".to_owned()),
        None => Value::Null,
    }
}

/// What the first column is of.
pub(super) fn name_of(dimension: Dimension) -> Column {
    match dimension {
        Dimension::Key => Column::new("key", "key", Unit::Key),
        Dimension::Prefix => Column::new("prefix", "prefix", Unit::Key),
        Dimension::Op => Column::new("op", "command", Unit::Word),
        Dimension::Protocol => Column::new("protocol", "protocol", Unit::Word),
        Dimension::Conn => Column::new("conn_id", "connection", Unit::Word),
        Dimension::Client => Column::new("client", "client", Unit::Key),
        Dimension::Thread => Column::new("thread_id", "thread", Unit::Word),
        Dimension::Size => Column::new("size", "size", Unit::Word),
        Dimension::Status => Column::new("status", "status", Unit::Word),
    }
}

/// A name in that column: of what has a number, that.
pub(super) fn named(dimension: Dimension, name: &str) -> Value {
    match (dimension, name.parse()) {
        (Dimension::Conn | Dimension::Thread, Ok(number)) => Value::Int(number),
        _ => name.into(),
    }
}

/// The top keys, or whatever they are grouped by, of `operations` in all.
pub(crate) fn top(
    capture: &Capture,
    dimension: Dimension,
    operations: i64,
    keys: Vec<KeyFigures>,
) -> Section {
    let seconds = capture.seconds();
    let changing = capture.sampling.as_ref().filter(|sampling| sampling.changes());
    let changing = changing.filter(|_| dimension == Dimension::Key);
    let rows = keys.into_iter().map(|key| {
        let recorded = changing.map(|sampling| recorded(sampling, &key.key));
        let mut row = vec![
            named(dimension, &key.key),
            Value::Int(key.calls),
            ratio(key.calls, operations).into(),
            Value::Int(key.hits),
            Value::Int(key.misses),
            ratio(key.hits, key.hits + key.misses).into(),
            Value::Int(key.writes),
            key.value_size.into(),
            per_second(key.calls, seconds).into(),
            kbps(key.bytes, seconds).into(),
            Value::Int(key.bytes),
            key.latency_p50.into(),
            key.latency_p99.into(),
            key.last.into(),
        ];
        row.extend(recorded);
        row
    });
    let columns = [name_of(dimension)].into_iter().chain(COLUMNS);
    let columns = columns.chain(changing.map(|_| RECORDED)).collect();
    let table = Table { columns, rows: rows.collect() };
    let scaled = capture.is_scaled() && dimension != Dimension::Key;
    let section = Section::lines("top", "", table).scaled(scaled, &TOTALS);
    section.or_else(match dimension {
        Dimension::Key | Dimension::Prefix => "no operations on keys",
        _ => "no operations",
    })
}
