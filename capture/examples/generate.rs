//! Writes a capture of any size, for tests and benchmarks: gets and sets on keys of
//! a Zipf distribution, 20 to 40 bytes long, the same each time.
//!
//! ```text
//! cargo run --release -p mcrec-capture --example generate -- FILE ROWS [KEYS]
//! ```

use std::{fmt::Write as _, path::Path, sync::Arc};

use anyhow::{Context, Result};
use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use mcrec_capture::{Durability, Encoder, Folder, ROW_GROUP_ROWS, Writer};
use mcrec_schema::{columns, footer::Footer};

#[path = "support/described.rs"]
mod described;

use described::described;

/// Rows that are encoded at once.
const BATCH: usize = 1 << 14;
/// About this many are seen in a hundred million rows, of keys that there are.
const KEYS: f64 = 12e6;
const START_US: i64 = 1_790_000_000_000_000;
const CONNECTIONS: u64 = 200;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: generate FILE ROWS [KEYS]")?;
    let rows: usize = arguments.next().context("how many rows?")?.parse()?;
    let keys = arguments.next().map_or(Ok(KEYS), |keys| keys.parse())?;
    let (folder, name) = Folder::of(Path::new(&path))?;
    let mut workload = Workload { random: 1, keys, now: START_US, request: 0 };
    let folder = Arc::new(folder);
    let mut writer = Writer::create(&folder, &name, &footer(0, START_US)?, Durability::Process)?;
    let schema = schema();
    let mut encoder = Encoder::new(SchemaRef::clone(&schema));
    let mut done = 0;
    while done < rows {
        let count = BATCH.min(rows - done);
        encoder.write(&workload.batch(&schema, count)?)?;
        done += count;
        if encoder.rows() >= ROW_GROUP_ROWS || done == rows {
            let group = encoder.finish()?.context("there are rows")?;
            writer.commit(&[group], &footer(done, workload.now)?)?;
        }
    }
    writer.close()
}

/// The columns of captures, words as strings.
fn schema() -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(..) => field.as_ref().clone().with_data_type(DataType::Utf8),
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(columns::schema().fields().iter().map(plain).collect::<Vec<_>>()))
}

/// A footer that says so many rows were written until `now`.
fn footer(rows: usize, now: i64) -> Result<Footer> {
    Ok(described(&rows.to_string(), i64::try_from(rows)?, (START_US, now))?)
}

struct Workload {
    random: u64,
    keys: f64,
    now: i64,
    request: i64,
}

/// An operation.
struct Row {
    ts: i64,
    key: String,
    is_store: bool,
    status: &'static str,
    size: Option<i64>,
    latency: Option<i64>,
    request: i64,
    connection: u64,
}

impl Workload {
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 up to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn row(&mut self) -> Row {
        // Zipf's law with exponent 1, by the inverse of its continuous form.
        let rank = whole(self.keys.powf(self.unit()));
        let (is_store, is_hit) = (self.below(10) == 0, self.below(100) < 93);
        let value = 20 + mix(rank ^ 7) % 1000 * if rank.is_multiple_of(50) { 100 } else { 1 };
        let slow = if self.below(500) == 0 { 3e5 * self.unit() } else { 0.0 };
        let latency = whole(4_000.0 - 2_000.0 * (1.0 - self.unit()).ln() + slow);
        self.now += self.below(8).cast_signed();
        self.request += 1;
        Row {
            ts: self.now,
            key: key(rank),
            is_store,
            status: if is_store {
                "stored"
            } else if is_hit {
                "hit"
            } else {
                "miss"
            },
            size: (is_store || is_hit).then_some(value.cast_signed()),
            latency: (self.below(1000) > 0).then_some(latency.cast_signed()),
            request: self.request,
            connection: self.below(CONNECTIONS),
        }
    }

    fn batch(&mut self, schema: &SchemaRef, count: usize) -> Result<RecordBatch> {
        let rows: Vec<Row> = (0..count).map(|_| self.row()).collect();
        let fields = schema.fields().iter();
        let columns = fields.map(|field| column(field.name(), &rows));
        Ok(RecordBatch::try_new(SchemaRef::clone(schema), columns.collect())?)
    }
}

fn column(name: &str, rows: &[Row]) -> ArrayRef {
    let strings = |value: fn(&Row) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
    };
    let ints = |value: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Int64Array>())
    };
    let length = |row: &Row| i64::try_from(row.key.len()).unwrap_or(0);
    match name {
        columns::TS => {
            let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ts));
            Arc::new(times.with_timezone("UTC"))
        }
        columns::OP => strings(|row| if row.is_store { "set" } else { "get" }.to_owned()),
        columns::PROTOCOL => strings(|_| "text".to_owned()),
        columns::KEY => strings(|row| row.key.clone()),
        columns::STATUS => strings(|row| row.status.to_owned()),
        columns::CLIENT => strings(|row| format!("10.0.0.1:{}", 40_000 + row.connection)),
        columns::QUIET => Arc::new(BooleanArray::from(vec![false; rows.len()])),
        columns::KEY_INDEX => Arc::new(Int32Array::from(vec![0; rows.len()])),
        columns::THREAD_ID => {
            let thread = |row: &Row| 4_000 + i32::try_from(row.connection % 4).unwrap_or(0);
            Arc::new(Int32Array::from_iter_values(rows.iter().map(thread)))
        }
        columns::VALUE_SIZE => ints(|row| row.size),
        columns::LATENCY_NS => ints(|row| row.latency),
        columns::TTL => ints(|row| row.is_store.then_some(3_600)),
        columns::CLIENT_FLAGS => ints(|row| row.size.map(|_| 0)),
        columns::REQUEST_ID => ints(|row| Some(row.request)),
        columns::CONN_ID => ints(|row| Some(row.connection.cast_signed() + 1)),
        columns::KEY_LEN => Arc::new(Int64Array::from_iter_values(rows.iter().map(length))),
        columns::REQUEST_BYTES => {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| 6 + length(row))))
        }
        columns::RESPONSE_BYTES => ints(|row| Some(row.size.unwrap_or(0) + 8)),
        columns::META_FLAGS | columns::META_RETURNED => Arc::new(StringArray::new_null(rows.len())),
        // The CAS unique, which nobody asked for nor compared with.
        _ => ints(|_| None),
    }
}

/// The key of a rank, of one of the kinds that applications use.
fn key(rank: u64) -> String {
    let mut key = String::with_capacity(40);
    let id = mix(rank);
    match id % 5 {
        0 => write!(key, "user:{}:profile", 10_000_000 + rank),
        1 => write!(key, "session:{id:016x}"),
        2 => write!(key, "product/{rank:08}/price/eur"),
        3 => write!(key, "feed.v2.{rank:010}.page.{}", id % 7),
        _ => write!(key, "cache:html:/articles/{rank:09}.html"),
    }
    .expect("writing to a String cannot fail");
    key
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood, 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, not below 0")]
fn whole(number: f64) -> u64 {
    number as u64
}
