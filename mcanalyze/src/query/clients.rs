//! Who sends what?

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use mcrec_schema::columns;

use super::top::top;
use crate::{
    by::By,
    capture::Capture,
    cli::{Dimension, SortBy},
    keys::{Question, keys},
    scan::scan_by,
    table::{Column, Section, Unit, Value},
};

/// The `count` clients with the most calls, of `operations` in all.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn clients(capture: &Capture, operations: i64, count: usize) -> Result<Section> {
    let by = &By::Client;
    let found = keys(capture, &Question { top: count, sort: SortBy::Calls, reverse: false, by })?;
    let connections = connections_of(capture, by)?;
    let mut section = top(capture, Dimension::Client, operations, found.top);
    section.name = "clients";
    section.table.columns.insert(1, Column::new("connections", "connections", Unit::Count));
    for row in &mut section.table.rows {
        let count = match &row[0] {
            Value::Text(client) => connections.get(client).map_or(0, HashSet::len),
            _ => 0,
        };
        row.insert(1, Value::Int(i64::try_from(count).unwrap_or(i64::MAX)));
    }
    Ok(section)
}

/// The connections of each client.
fn connections_of(capture: &Capture, by: &By) -> Result<HashMap<String, HashSet<i64>>> {
    let begin = HashMap::<String, HashSet<i64>>::new;
    let threads = scan_by(capture, Some(by), &[columns::CONN_ID], begin, |clients, rows| {
        let (groups, conn_ids) = (rows.groups()?, rows.ints(columns::CONN_ID)?);
        // By number first: names are looked up once for each connection of some rows.
        let mut seen = HashSet::new();
        for (row, client) in groups.ids().enumerate() {
            if let (Some(client), Some(conn_id)) = (client, conn_ids.get(row))
                && rows.is_wanted(row)
                && seen.insert((client, conn_id))
            {
                let name = groups.values.value(client);
                match clients.get_mut(name) {
                    Some(of_client) => drop(of_client.insert(conn_id)),
                    None => drop(clients.insert(name.to_owned(), HashSet::from([conn_id]))),
                }
            }
        }
        Ok(())
    })?;
    let mut all = begin();
    for (client, conn_ids) in threads.into_iter().flatten() {
        all.entry(client).or_default().extend(conn_ids);
    }
    Ok(all)
}
