//! Which operations are replayed: those for which all that is asked for is so.

use anyhow::Result;
use arrow_array::{Array, Int64Array, StringArray};
use mcrec_schema::codes::Op;
use regex::Regex;

use super::rows::{Batch, Strings};

/// What is asked of an operation; by default nothing. It means what it means in
/// mcanalyze.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// One of these commands.
    pub(crate) ops: Vec<String>,
    /// A key in which this is found, as captures have it.
    pub(crate) key: Option<Regex>,
    /// This key, as captures have it.
    pub(crate) key_is: Option<String>,
    /// A key that begins so, as captures have it.
    pub(crate) prefix: Option<String>,
    /// One of these clients: an address with its port, or all ports of an address.
    pub(crate) clients: Vec<String>,
    /// One of these connections.
    pub(crate) conn_ids: Vec<i64>,
    /// One of these outcomes.
    pub(crate) statuses: Vec<String>,
    /// A value of at least so many bytes,
    pub(crate) min_size: Option<i64>,
    /// and at most so many.
    pub(crate) max_size: Option<i64>,
    /// A latency of at least so many ns.
    pub(crate) min_latency: Option<i64>,
    /// Not before, µs since the epoch, UTC,
    pub(crate) from: Option<i64>,
    /// and before.
    pub(crate) until: Option<i64>,
}

impl Filter {
    /// Whether clients are asked for.
    pub(super) fn asks_for_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    fn asks_for_keys(&self) -> bool {
        self.key.is_some() || self.key_is.is_some() || self.prefix.is_some()
    }

    fn is_narrow(&self) -> bool {
        self.is_about_operations()
            || self.asks_for_clients()
            || !self.conn_ids.is_empty()
            || self.from.is_some()
            || self.until.is_some()
    }

    /// Whether it tells operations of one connection and time apart.
    fn is_about_operations(&self) -> bool {
        let numbers = [self.min_size, self.max_size, self.min_latency];
        self.asks_for_keys()
            || !self.ops.is_empty()
            || !self.statuses.is_empty()
            || numbers.iter().any(Option::is_some)
    }

    fn wants_key(&self, key: &str) -> bool {
        self.key_is.as_deref().is_none_or(|asked| key == asked)
            && self.prefix.as_deref().is_none_or(|asked| key.starts_with(asked))
            && self.key.as_ref().is_none_or(|asked| asked.is_match(key))
    }

    fn wants_client(&self, client: &str) -> bool {
        self.clients.iter().any(|asked| client == asked || address(client) == asked)
    }
}

/// A client without its port, and without the brackets of an IPv6 address.
fn address(client: &str) -> &str {
    let host = client.rsplit_once(':').map_or(client, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A filter at work: it remembers what it found of the keys of a row group.
#[derive(Default)]
pub(super) struct Sieve {
    keys: Option<(StringArray, Vec<bool>)>,
}

impl Sieve {
    /// Which of the rows are wanted; `None` if all are. A connection's beginning and end
    /// are, whatever is asked of operations.
    ///
    /// # Errors
    ///
    /// When a column is not what it should be.
    pub(super) fn wanted(&mut self, filter: &Filter, batch: &Batch) -> Result<Option<Vec<bool>>> {
        if !filter.is_narrow() {
            return Ok(None);
        }
        let mut wanted: Vec<bool> =
            (0..batch.rows()).map(|row| filter.wants_at(batch, row)).collect();
        if filter.is_about_operations() {
            let keys = if filter.asks_for_keys() { self.keys(filter, &batch.key) } else { &[] };
            for (row, wanted) in wanted.iter_mut().enumerate() {
                let op = batch.op(row);
                if *wanted && !Op::CONNECTIONS.contains(&op) {
                    *wanted = filter.wants_operation(batch, row, op)
                        && (keys.is_empty() || batch.key.id(row).is_some_and(|id| keys[id]));
                }
            }
        }
        Ok(Some(wanted))
    }

    fn keys(&mut self, filter: &Filter, column: &Strings) -> &[bool] {
        if !self.keys.as_ref().is_some_and(|(values, _)| column.has_values_of(values)) {
            let wanted = column.values.iter();
            let wanted = wanted.map(|key| key.is_some_and(|key| filter.wants_key(key)));
            // One more, so that it is never empty.
            let wanted = wanted.chain([false]).collect();
            self.keys = Some((column.values.clone(), wanted));
        }
        self.keys.as_ref().map_or(&[], |(_, wanted)| wanted)
    }
}

impl Filter {
    /// Whether time, client and connection are as asked for.
    fn wants_at(&self, batch: &Batch, row: usize) -> bool {
        let ts = batch.ts[row];
        let client = batch.client.as_ref();
        self.from.is_none_or(|from| ts >= from)
            && self.until.is_none_or(|until| ts < until)
            && (self.conn_ids.is_empty() || self.conn_ids.contains(&batch.conn_id.value(row)))
            && client.is_none_or(|client| {
                let client = client.id(row).map(|id| client.values.value(id));
                self.wants_client(client.unwrap_or("unknown"))
            })
    }

    fn wants_operation(&self, batch: &Batch, row: usize, op: Op) -> bool {
        let int = |column: &Int64Array| column.is_valid(row).then(|| column.value(row));
        let sized = self.min_size.is_some() || self.max_size.is_some();
        let sizes = self.min_size.unwrap_or(0)..=self.max_size.unwrap_or(i64::MAX);
        let status = batch.status.id(row).map(|id| batch.status.values.value(id));
        (self.ops.is_empty() || self.ops.iter().any(|asked| asked == op.as_str()))
            && (self.statuses.is_empty()
                || self.statuses.iter().any(|asked| Some(asked.as_str()) == status))
            && (!sized || int(&batch.value_size).is_some_and(|size| sizes.contains(&size)))
            && self
                .min_latency
                .is_none_or(|min| int(&batch.latency_ns).is_some_and(|latency| latency >= min))
    }
}
