//! What memcached's probes show of an operation, by release: from memcached's
//! sources, and independent of what mcrec makes of them.

use super::{
    capture::Row,
    client::{Logged, Protocol},
};

/// What a capture through the probes says of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub op: &'static str,
    pub key: Vec<u8>,
    pub status: &'static str,
    pub value_size: Option<usize>,
}

/// What the probes of release 1.6.`release` show of `logged`; `None` if nothing.
pub fn shown(logged: &Logged, release: u32) -> Option<Shown> {
    let binary = logged.protocol == Protocol::Binary;
    let (op, status, value_size) = match (logged.op, logged.status) {
        ("get" | "gets", status) => ("get", status, logged.value_size),
        // Text gat fires the probe of get, binary gat that of touch.
        ("gat" | "gats", status) if !binary => ("get", status, logged.value_size),
        ("gat", "hit") => ("touch", "touched", None),
        ("gat", _) => ("touch", "not_found", None),
        ("touch", status) if binary => ("touch", status, None),
        ("touch", _) => return None,
        // Its probe does not tell what became of it.
        ("cas", _) => ("cas", "unknown", logged.value_size),
        ("incr" | "decr", "ok") if release < 19 => (logged.op, "ok", None),
        ("incr" | "decr", _) => return None,
        ("delete", "deleted") => ("delete", "deleted", None),
        ("delete", _) => return None,
        (store, "stored") => (store, "stored", logged.value_size),
        // -1, whatever the reason.
        (store, _) => (store, "not_stored", None),
    };
    Some(Shown { op, key: logged.key.clone(), status, value_size })
}

/// The same of a row.
pub fn of_row(row: &Row) -> Shown {
    let word = |word: &str| -> &'static str { Box::leak(word.to_owned().into_boxed_str()) };
    Shown {
        op: word(&row.op),
        key: row.key.clone(),
        status: word(&row.status),
        value_size: row.value_size.map(|size| usize::try_from(size).unwrap()),
    }
}
