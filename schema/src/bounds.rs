//! What the losses of a recording make of its figures.

use crate::footer::Losses;

impl Losses {
    /// Whether at least so many operations are missing. Not where a connection fell out of
    /// step: what was taken for requests then may be none.
    pub fn are_at_least(&self) -> bool {
        self.decode_error == 0
    }

    /// Those of operations, or of reads with one operation or more: without the times that a
    /// connection fell out of step.
    #[must_use]
    pub fn of_operations(&self) -> Self {
        Self { decode_error: 0, ..*self }
    }

    /// Whether requests are missing because their connection was out of step: then what was
    /// recorded beside them is no fair sample of all.
    pub fn are_of_a_loss_of_step(&self) -> bool {
        self.decode_error > 0 || self.connection_unsynced > 0
    }
}
