//! Replies that show that the server read a request otherwise than it was decoded.
//!
//! A store is a line and a value, but whether the server reads the value depends on why it
//! refuses the line, and on its release. Whoever is wrong about that takes a value for
//! requests, or requests for a value. The reply tells, mostly.

use crate::{
    operation::Protocol,
    pending::{Queue, Request},
    release::Rules,
    reply::{Kinds, Reply},
};

/// What a reply contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contradiction {
    /// That no value followed: the server took one. What came after the line is that value, and
    /// no requests.
    ValueTaken,
    /// That a value followed: the server refused the line and left it, so that it read the value
    /// as requests, and answers those.
    ValueLeft,
}

/// Errors that refuse a line, so that nothing after it is read as its value. The first are those
/// of a proxy, of a connection that did not authenticate, and of what is no command.
const LINE_REFUSED: [&[u8]; 3] =
    [b"CLIENT_ERROR parsing request", b"CLIENT_ERROR unauth", b"ERROR"];
/// The same until 1.6.39; since then it may come after the value.
const LINE_REFUSED_BEFORE: &[u8] = b"CLIENT_ERROR bad command line format";

/// What `reply`, which begins with `bytes`, contradicts of the first open request.
pub(crate) fn of_front(
    queue: &Queue,
    reply: &Reply,
    bytes: &[u8],
    rules: &Rules,
) -> Option<Contradiction> {
    let request = queue.front()?;
    if !request.whole {
        return Some(Contradiction::ValueLeft);
    }
    if !request.stores() {
        return None;
    }
    let has_value = queue.entries(0).iter().any(|entry| entry.value_size.is_some());
    let refused = match reply.kind {
        Kinds::PACKET => reply.status != 0,
        kind => Kinds::ERRORS.meet(kind),
    };
    match (has_value, refused) {
        (false, false) => Some(Contradiction::ValueTaken),
        (true, true) if refuses_the_line(request, bytes, rules) => Some(Contradiction::ValueLeft),
        _ => None,
    }
}

fn refuses_the_line(request: &Request, line: &[u8], rules: &Rules) -> bool {
    let before = !rules.swallows && request.protocol == Protocol::Text;
    match request.protocol {
        Protocol::Binary => false,
        _ => {
            LINE_REFUSED.iter().any(|error| line.starts_with(error))
                || (before && line == LINE_REFUSED_BEFORE)
        }
    }
}
