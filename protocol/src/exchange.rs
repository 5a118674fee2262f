//! What the two directions of a connection share.

use crate::{
    dialect::Dialect,
    operation::{Command, Observer, Outcome},
    pending::Queue,
    quiet::{Held, Settled},
    release::Rules,
    reply::Kinds,
};

/// Everything that the two directions of a connection share.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) dialect: Dialect,
    /// How its release reads requests.
    pub(crate) rules: &'static Rules,
    pub(crate) queue: Queue,
    pub(crate) held: Held,
    /// The server has accepted the connection's credentials, or asks for none; it
    /// is taken to accept them until its reply is seen.
    pub(crate) authenticated: bool,
    /// A `watch` was granted, or TLS began: from here on nothing is a request or a
    /// reply.
    pub(crate) over: bool,
}

impl Exchange {
    /// Of a new connection with a server of this `dialect`.
    pub(crate) fn new(dialect: Dialect, authenticated: bool) -> Self {
        Self {
            dialect,
            rules: Rules::of(dialect.release),
            queue: Queue::default(),
            held: Held::default(),
            authenticated,
            over: false,
        }
    }

    /// Completes every open request: at this point no more replies can come. An
    /// open request that must be answered was not seen to be. Returns whether
    /// all is as it should be.
    pub(crate) fn settle(&mut self, observer: &mut impl Observer) -> Settled {
        let open = self.queue.open().len();
        self.held.settle(open, &mut self.queue, observer)
    }

    /// Completes every open request, though replies may have been missed.
    pub(crate) fn abandon(&mut self, contradicted: bool, observer: &mut impl Observer) {
        self.held.abandon(contradicted, &mut self.queue, observer);
    }

    /// Completes those first requests that surely have no reply.
    pub(crate) fn advance(&mut self, observer: &mut impl Observer) {
        while self.held.is_empty()
            && let Some(request) = self.queue.front()
            && request.whole
            && request.accepts == Kinds::NONE
        {
            let outcome = request.silence.unwrap_or(Outcome::Unknown);
            self.queue.finish(outcome, None, observer);
        }
    }

    /// What a reply to the first open request changes for the connection.
    pub(crate) fn note(&mut self, outcome: Outcome) {
        let command = self.queue.front().map(|request| request.command);
        match (command, outcome) {
            (Some(Command::Auth), outcome) => self.authenticated = outcome == Outcome::Ok,
            (Some(Command::Watch), Outcome::Ok) => self.over = true,
            _ => {}
        }
    }
}
