//! Which keys stand out?

use super::{kbps, per_second, ratio};
use crate::{
    capture::Capture,
    keys::KeyFigures,
    sampling::Sampling,
    table::{Column, Need, Table, Unit, Value},
};

const COLUMNS: [Column; 13] = [
    Column { name: "key", title: "key", unit: Unit::Key, need: Need::Always },
    Column { name: "calls", title: "calls", unit: Unit::Count, need: Need::Always },
    Column { name: "share", title: "share", unit: Unit::Ratio, need: Need::Room },
    Column { name: "hits", title: "hits", unit: Unit::Count, need: Need::Program },
    Column { name: "misses", title: "misses", unit: Unit::Count, need: Need::Program },
    Column { name: "hit_ratio", title: "hit ratio", unit: Unit::Ratio, need: Need::Always },
    Column { name: "value_size", title: "size", unit: Unit::Bytes, need: Need::Room },
    Column { name: "rate", title: "req/s", unit: Unit::Rate, need: Need::Always },
    Column { name: "bandwidth_kbps", title: "kbps", unit: Unit::Kbps, need: Need::Room },
    Column { name: "bytes", title: "bytes", unit: Unit::Bytes, need: Need::Always },
    Column { name: "latency_p50_ns", title: "p50", unit: Unit::Nanoseconds, need: Need::Always },
    Column { name: "latency_p99_ns", title: "p99", unit: Unit::Nanoseconds, need: Need::Always },
    Column { name: "last", title: "last", unit: Unit::Time, need: Need::Room },
];

/// Only where the sample changed.
const RECORDED: Column =
    Column { name: "recorded", title: "recorded", unit: Unit::Word, need: Need::Always };

/// Whether a key of a sample was recorded all the time.
fn recorded(sampling: &Sampling, key: &str) -> Value {
    match sampling.has_all_of(key) {
        Some(true) => Value::Text("always".to_owned()),
        Some(false) => Value::Text("partly".to_owned()),
        None => Value::Null,
    }
}

/// The top keys, of `operations` in all.
pub(crate) fn top(capture: &Capture, operations: i64, keys: Vec<KeyFigures>) -> Table {
    let seconds = capture.seconds();
    let changing = capture.sampling.as_ref().filter(|sampling| sampling.changes());
    let rows = keys.into_iter().map(|key| {
        let recorded = changing.map(|sampling| recorded(sampling, &key.key));
        let mut row = vec![
            Value::Text(key.key),
            Value::Int(key.calls),
            ratio(key.calls, operations).into(),
            Value::Int(key.hits),
            Value::Int(key.misses),
            ratio(key.hits, key.hits + key.misses).into(),
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
    let columns = COLUMNS.into_iter().chain(changing.map(|_| RECORDED));
    Table { columns: columns.collect(), rows: rows.collect() }
}
