//! What is said at the end.

mod json;
mod text;

use mcrec_schema::footer::{Footer, Losses};

use crate::{
    limits::Limits,
    run::{Loaded, Plan, Played},
    schedule::Pace,
    trace::Trace,
};

pub(crate) use json::write as json;
pub(crate) use text::write as text;

/// All that a report is about.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) plan: &'a Plan,
    pub(crate) limits: Limits,
    pub(crate) loaded: Option<Loaded>,
    pub(crate) played: Played,
    /// It was ended by the user.
    pub(crate) interrupted: bool,
    /// It was ended because the target was gone, and why that is known.
    pub(crate) gone: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that the captures have was done.
    Done,
    /// It was, but something must be known.
    Remarks,
    /// It was not.
    Failed,
}

impl Report<'_> {
    pub(crate) fn verdict(&self) -> Verdict {
        let tally = &self.played.tally;
        let answered: u64 = tally.by_op().map(|(_, of)| of.latency.len()).sum();
        let unanswered = tally.by_unanswered().map(|(_, count)| count).sum::<u64>();
        let unsent = tally.by_unsent().filter(|(why, _)| why.is_of_target());
        let unsent: u64 = unsent.map(|(_, count)| count).sum();
        let silent = answered == 0 && unanswered + unsent > 0;
        if self.gone.is_some() || self.played.failed.is_some() || (silent && !self.interrupted) {
            return Verdict::Failed;
        }
        if self.remarks().is_empty() && !self.interrupted {
            Verdict::Done
        } else {
            Verdict::Remarks
        }
    }

    /// What must be known beside the figures: each a sentence.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = of_captures(self.trace);
        let tally = &self.played.tally;
        if tally.operations() == 0 && !self.interrupted && self.gone.is_none() {
            remarks.push(
                "nothing was replayed: the captures have no operation that was asked for and can \
                 be sent"
                    .to_owned(),
            );
        }
        for (why, count) in tally.by_unsent() {
            remarks.push(format!("{count} operations were not sent: those {}", why.words()));
        }
        for (why, count) in tally.by_unanswered() {
            remarks.push(format!("{count} operations were sent and not answered, {}", why.words()));
        }
        let connections = tally.connections;
        for (count, what) in [
            (connections.refused, "were refused"),
            (connections.closed, "were closed by the target, unasked"),
            (connections.given_up, "were given up, as the target did not answer in time"),
        ] {
            if count > 0 {
                let last = self.played.last_error.as_ref();
                let last = last.map_or(String::new(), |last| format!(" (the last error: {last})"));
                remarks.push(format!("{count} connections {what}{last}"));
            }
        }
        if tally.cas_unknown > 0 {
            remarks.push(format!(
                "{} requests had matched a CAS unique, but the target returned none for their keys \
                 before (the read that did is not in the captures, or not answered yet): they were sent \
                 with the recorded one, which cannot match",
                tally.cas_unknown
            ));
        }
        if tally.stray > 0 {
            remarks.push(format!("{} replies answered nothing that was asked", tally.stray));
        }
        if let Some(loaded) = &self.loaded {
            remarks.extend(of_loading(loaded));
        }
        remarks
    }

    /// How it was played, in words.
    fn pace(&self) -> String {
        match self.plan.pace {
            Pace::Recorded(1.0) => "as recorded".to_owned(),
            Pace::Recorded(speed) => format!("{speed} times as fast as recorded"),
            Pace::Rate(rate) => format!("{rate:.0} operations a second"),
            Pace::Max(depth) => {
                format!("as fast as possible, {depth} requests open on a connection at most")
            }
        }
    }
}

/// What of the captures themselves must be known.
fn of_captures(trace: &Trace) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut losses = Losses::default();
    let mut gaps: Vec<[i64; 3]> = Vec::new();
    for footer in trace.footers() {
        losses = losses + footer.loss.losses;
        gaps.extend(footer.loss.series.iter().filter(|entry| entry[2] > 0));
        if footer.sampling.is_sampled() {
            remarks.push(of_sample(footer));
        }
        for blind in &footer.source.cannot_see {
            remarks.push(format!("the recording did not see {}: {}", blind.what, blind.why));
        }
    }
    if losses.total() > 0 {
        remarks.push(of_losses(trace, losses, &gaps));
    }
    let possible: u64 = trace.footers().map(|footer| footer.loss.possible.total()).sum();
    if possible > 0 {
        remarks.push(format!(
            "up to {possible} reads or replies may be missing, as the kernel skipped programs of \
             the recorder: the replay does not have them either"
        ));
    }
    if trace.is_cut_off() {
        remarks.push(
            "a capture was cut off or is still being recorded: what is there was replayed"
                .to_owned(),
        );
    }
    remarks.dedup();
    remarks
}

fn of_sample(footer: &Footer) -> String {
    let rates = footer.sampling.series.iter().map(|stretch| stretch[2]);
    let (min, max) = (rates.clone().min().unwrap_or(1), rates.max().unwrap_or(1));
    let rate = if min == max { format!("{min}") } else { format!("{min} to {max}") };
    let left_out = footer.sampling.sampled_out;
    let left_out = left_out.map_or("an unknown number of".to_owned(), |count| count.to_string());
    format!(
        "the capture is a sample of one key in {rate} ({left_out} operations were left out): the \
         replay is that part of the load, on keys that are whole"
    )
}

fn of_losses(trace: &Trace, losses: Losses, gaps: &[[i64; 3]]) -> String {
    let start = trace.start_us();
    let at = |time: i64| {
        #[expect(clippy::cast_precision_loss, reason = "it is seconds of a recording")]
        let seconds = time.saturating_sub(start) as f64 / 1e6;
        seconds
    };
    let named = losses.by_reason().filter(|(_, count)| *count > 0);
    let named: Vec<String> = named.map(|(reason, count)| format!("{count} {reason}")).collect();
    let shown = gaps.iter().take(5);
    let mut when: Vec<String> = shown
        .map(|[from, to, lost]| format!("+{:.1} s to +{:.1} s ({lost})", at(*from), at(*to)))
        .collect();
    if gaps.len() > when.len() {
        when.push(format!("and {} more", gaps.len() - when.len()));
    }
    let when = if when.is_empty() { String::new() } else { format!(", at {}", when.join(", ")) };
    format!(
        "the captures lost {} of what happened ({}){when}: the replay does not have it either, and \
         keys whose stores were lost are missed",
        losses.total(),
        named.join(", ")
    )
}

fn of_loading(loaded: &Loaded) -> Vec<String> {
    let mut remarks = Vec::new();
    let tally = &loaded.played.tally;
    let stored: u64 = tally
        .by_op()
        .flat_map(|(_, of)| of.outcomes())
        .map(|it| if it.1 == mcrec_schema::codes::Status::Stored { it.2 } else { 0 })
        .sum();
    if stored < loaded.keys {
        remarks.push(format!("of {} keys to load before, {stored} were stored", loaded.keys));
    }
    if loaded.of_unknown_size > 0 {
        remarks.push(format!(
            "{} keys were loaded with values of one byte: they were there, but what the capture \
             first says of them has no size",
            loaded.of_unknown_size
        ));
    }
    remarks
}
