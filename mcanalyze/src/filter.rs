//! Which operations a question is about. All that is asked for must be so.

use std::sync::Arc;

use anyhow::Result;
use mcrec_schema::{codes::Op, columns, key, sample};
use regex::Regex;

use crate::{
    bits::Bits,
    by::UNKNOWN,
    scan::{OfDictionary, Rows, Strings},
};

/// What is asked of an operation; by default nothing.
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
    pub(crate) to: Option<i64>,
    /// A key in the sample of one in so many, or none.
    pub(crate) one_in: Option<u32>,
    /// For each row of the capture, in order, whether it is wanted: what an SQL
    /// expression says.
    pub(crate) rows: Option<Arc<Bits>>,
    /// All of this as people asked for it.
    pub(crate) words: Vec<String>,
}

impl Filter {
    /// Whether some operations may be left out.
    pub(crate) fn is_narrow(&self) -> bool {
        !self.columns().is_empty() || !self.ops.is_empty() || self.rows.is_some()
    }

    /// Whether of what happens to a key a part may be left out.
    pub(crate) fn hides_operations_of_keys(&self) -> bool {
        let by_number = [self.min_size, self.max_size, self.min_latency];
        !self.ops.is_empty()
            || !self.statuses.is_empty()
            || by_number.iter().any(Option::is_some)
            || self.rows.is_some()
    }

    /// Whether a part of the time is asked for.
    pub(crate) fn is_window(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// Whether a time, µs since the epoch, is asked for.
    pub(crate) fn is_within(&self, time: i64) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }

    /// What is asked for, in words; `None` if everything is.
    pub(crate) fn describe(&self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.join(", "))
    }

    /// The columns that it takes to tell, beside the command.
    pub(crate) fn columns(&self) -> Vec<&'static str> {
        let by_key = self.asks_for_keys() || self.one_in.is_some();
        let by_size = self.min_size.is_some() || self.max_size.is_some();
        [
            (by_key, columns::KEY),
            (!self.clients.is_empty(), columns::CLIENT),
            (!self.conn_ids.is_empty(), columns::CONN_ID),
            (!self.statuses.is_empty(), columns::STATUS),
            (by_size, columns::VALUE_SIZE),
            (self.min_latency.is_some(), columns::LATENCY_NS),
            (self.is_window(), columns::TS),
        ]
        .into_iter()
        .filter_map(|(asked, column)| asked.then_some(column))
        .collect()
    }

    fn asks_for_keys(&self) -> bool {
        self.key.is_some() || self.key_is.is_some() || self.prefix.is_some()
    }

    fn wants_op(&self, op: &str) -> bool {
        !Op::is_in(&Op::CONNECTIONS, op)
            && (self.ops.is_empty() || self.ops.iter().any(|asked| asked == op))
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
pub(crate) fn address(client: &str) -> &str {
    let host = client.rsplit_once(':').map_or(client, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A filter at work in one thread: it remembers what it found of a dictionary.
#[derive(Default)]
pub(crate) struct Sieve {
    keys: OfDictionary<bool>,
    sampled: OfDictionary<bool>,
    clients: OfDictionary<bool>,
}

impl Sieve {
    /// Which of the rows are wanted; `None` if all are.
    ///
    /// # Errors
    ///
    /// When a column is not what it should be.
    pub(crate) fn wanted(&mut self, filter: &Filter, rows: &Rows) -> Result<Option<Vec<bool>>> {
        let ops = rows.strings(columns::OP)?;
        let by_op: Vec<bool> =
            ops.values.iter().map(|op| op.is_some_and(|op| filter.wants_op(op))).collect();
        if !filter.is_narrow() && !by_op.contains(&false) {
            return Ok(None);
        }
        let mut wanted: Vec<bool> = ops.ids().map(|op| op.is_some_and(|op| by_op[op])).collect();
        let columns = filter.columns();
        if let Some(one_in) = filter.one_in {
            let in_sample =
                |key: &str| key::unescape(key).is_none_or(|key| sample::contains(one_in, &key));
            strings(&mut wanted, &mut self.sampled, &rows.strings(columns::KEY)?, |key| {
                key.is_none_or(in_sample)
            });
        }
        if filter.asks_for_keys() {
            strings(&mut wanted, &mut self.keys, &rows.strings(columns::KEY)?, |key| {
                key.is_some_and(|key| filter.wants_key(key))
            });
        }
        if columns.contains(&columns::CLIENT) {
            strings(&mut wanted, &mut self.clients, &rows.strings(columns::CLIENT)?, |client| {
                filter.wants_client(client.unwrap_or(UNKNOWN))
            });
        }
        if columns.contains(&columns::STATUS) {
            let mut found = OfDictionary::default();
            strings(&mut wanted, &mut found, &rows.strings(columns::STATUS)?, |status| {
                filter.statuses.iter().any(|asked| Some(asked.as_str()) == status)
            });
        }
        numbers(&mut wanted, filter, rows)?;
        if let Some(rows_wanted) = &filter.rows {
            let first = usize::try_from(rows.first)?;
            for (row, wanted) in wanted.iter_mut().enumerate() {
                *wanted &= rows_wanted.get(first + row);
            }
        }
        Ok(Some(wanted))
    }
}

/// Leaves out the rows whose string, or that there is none, is not what is asked for.
fn strings(
    wanted: &mut [bool],
    found: &mut OfDictionary<bool>,
    column: &Strings<'_>,
    asked: impl Fn(Option<&str>) -> bool,
) {
    if !found.is_of(column) {
        found.begin(column, column.values.iter().map(&asked));
    }
    let without = asked(None);
    for (wanted, value) in wanted.iter_mut().zip(column.ids()) {
        *wanted &= value.map_or(without, |value| found.made[value]);
    }
}

fn numbers(wanted: &mut [bool], filter: &Filter, rows: &Rows) -> Result<()> {
    let columns = filter.columns();
    let mut ints = |column: &str, asked: &dyn Fn(i64) -> bool| -> Result<()> {
        let values = rows.ints(column)?;
        for (row, wanted) in wanted.iter_mut().enumerate() {
            *wanted &= values.get(row).is_some_and(asked);
        }
        Ok(())
    };
    if columns.contains(&columns::CONN_ID) {
        ints(columns::CONN_ID, &|conn| filter.conn_ids.contains(&conn))?;
    }
    if columns.contains(&columns::VALUE_SIZE) {
        let (min, max) = (filter.min_size.unwrap_or(0), filter.max_size.unwrap_or(i64::MAX));
        ints(columns::VALUE_SIZE, &|size| (min..=max).contains(&size))?;
    }
    if let Some(min) = filter.min_latency {
        ints(columns::LATENCY_NS, &|latency| latency >= min)?;
    }
    if columns.contains(&columns::TS) {
        let (from, to) = (filter.from.unwrap_or(i64::MIN), filter.to.unwrap_or(i64::MAX));
        for (wanted, ts) in wanted.iter_mut().zip(rows.times()?) {
            *wanted &= from <= *ts && *ts < to;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn clients_have_addresses() {
        assert_eq!(address("203.0.113.7:40708"), "203.0.113.7");
        assert_eq!(address("[2001:db8::7]:40708"), "2001:db8::7");
        assert_eq!(address("unix"), "unix");
    }
}
