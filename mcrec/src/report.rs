//! What mcrec says: the progress line, and the summary at the end.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write as _, stderr},
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytesize::ByteSize;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use mcrec_capture::{Repair, State};
use mcrec_schema::{
    footer::{Footer, Loss, Sampling, Source},
    sample::ONE_IN_MAX,
};

use crate::{
    host::Host,
    kernel::Kernel,
    plan::Plan,
    sample::OneIn,
    sink::{Dumped, GoesOn, Written},
    target::Target,
    writer::{Live, Outcome},
};

/// Says something on stderr, in lines. A recording goes on where nobody listens
/// any more.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stderr(), "{}", inert(text).trim_end());
}

/// What a process or a file is called does nothing to a terminal.
fn inert(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// What is about to be recorded, on one line.
pub(crate) fn beginning(target: &Target, plan: &Plan, output: &str) -> String {
    format!(
        "mcrec: recording {} to {}; Ctrl-C ends\nmcrec: through {} ({}): {}",
        describe(target),
        output,
        plan.source.name,
        attached(&plan.source),
        plan.reason,
    )
}

/// What `--check` finds; without `target` or `plan`, there is none. `loads` is whether the kernel
/// took its programs, if that was tried.
pub(crate) fn check(
    (host, kernel): (&Host, &Kernel),
    target: Option<&Target>,
    plan: Option<&Plan>,
    loads: Option<bool>,
) -> String {
    let needs: Vec<String> = host.needs.iter().map(ToString::to_string).collect();
    let mut lines = Vec::new();
    if let Some(target) = target {
        let workers = target.worker_threads;
        lines.push(("target", describe(target)));
        lines.push(("", format!("{} ({workers} workers)", target.path.display())));
    }
    lines.push(("machine", format!("kernel {}: {}", host.kernel, needs.join(", "))));
    let confinement = host.confinement.to_string();
    if !confinement.is_empty() {
        lines.push(("within", confinement));
    }
    lines.push(("drops", dropped(host)));
    lines.extend(named("kernel", kernel.describe().into_iter()));
    if let Some(plan) = plan {
        let chosen = &plan.source;
        lines
            .push(("source", format!("{}, by {}: {}", chosen.name, attached(chosen), plan.reason)));
        lines.extend(coverage(chosen));
        if let Some(loads) = loads {
            let text = if loads {
                "yes, and no program that runs in a thread of memcached has a private stack"
            } else {
                "NO"
            };
            lines.push(("loads", text.to_owned()));
        }
        if let Some(skips) = plan.skips(kernel) {
            lines.push(("MAY LACK", skips.to_owned()));
        }
        if let Some(other) = &plan.other {
            let with = format!("--source {}, by {}", other.name, attached(other));
            lines.push(("or", with));
            lines.extend(coverage(other));
        }
    }
    lines.iter().map(|(name, text)| format!("{name:<9}{}\n", inert(text))).collect()
}

fn dropped(host: &Host) -> String {
    let kept = if host.maps_need_capability() { " but CAP_BPF" } else { "" };
    format!(
        "once attached, every capability{kept}; root becomes the owner of the captures' folder; \
         Landlock, if there is one, shuts off the rest"
    )
}

/// What a source sees of the target, and what not.
fn coverage(source: &Source) -> Vec<(&'static str, String)> {
    let blind = source.cannot_see.iter().map(|blind| format!("{}: {}", blind.what, blind.why));
    let mut lines: Vec<_> = named("sees", source.sees.iter().cloned()).collect();
    if source.cannot_see.is_empty() {
        lines.push(("blind to", "nothing".to_owned()));
    }
    lines.extend(named("blind to", blind));
    if !source.columns_unknown.is_empty() {
        lines.push(("unknown", format!("columns {}", source.columns_unknown.join(", "))));
    }
    lines
}

/// The name stands before the first of several lines.
fn named(
    name: &'static str,
    lines: impl Iterator<Item = String>,
) -> impl Iterator<Item = (&'static str, String)> {
    lines.enumerate().map(move |(at, line)| (if at == 0 { name } else { "" }, line))
}

fn describe(target: &Target) -> String {
    let mut text = format!("memcached {}, pid {}", target.version(), target.pid);
    if !target.listening.is_empty() {
        text.push_str(", on ");
        text.push_str(&target.listening.join(" "));
    }
    text
}

fn attached(source: &Source) -> String {
    /// More than these have names that say less than their number.
    const NAMED: usize = 4;
    if source.attached.len() <= NAMED {
        let names: Vec<&str> = source.attached.iter().map(|probe| &*probe.probe).collect();
        return names.join(", ");
    }
    let sites: usize = source.attached.iter().map(|attached| attached.sites).sum();
    format!("{} probes at {sites} sites", source.attached.len())
}

/// The guard changed the sample, because of what recording cost.
pub(crate) fn sampling_changed(from: OneIn, to: OneIn, cost: f64, budget: f64) -> String {
    let now = match to {
        1 => "records every key again".to_owned(),
        _ => format!("records one key in {} from now on", HumanCount(to.into())),
    };
    let why = if to > from { "more than the" } else { "well below the" };
    format!(
        "mcrec: {now}: recording took {} of one CPU, {why} {} of --max-overhead",
        of_one_cpu(cost),
        of_one_cpu(budget)
    )
}

/// The guard can do no more.
pub(crate) fn helpless(cost: f64, budget: f64) -> String {
    format!(
        "mcrec: even with one key in {} recording takes {} of one CPU, more than the {} of \
         --max-overhead: what is left is looking at what need not be recorded",
        HumanCount(ONE_IN_MAX.into()),
        of_one_cpu(cost),
        of_one_cpu(budget)
    )
}

/// Two digits that count: budgets may be small.
fn of_one_cpu(part: f64) -> String {
    let percent = part * 100.0;
    if percent < 1.0 { format!("{percent:.2} %") } else { format!("{percent:.1} %") }
}

/// How often a line is printed where there is no terminal to redraw one on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of a recording, on stderr.
pub(crate) struct Progress {
    how: How,
    start: Instant,
    /// Time and operations when the rate was last taken.
    before: (Instant, u64),
    rate: f64,
}

enum How {
    Quiet,
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    /// Begins. With `quiet`, nothing is ever shown.
    pub(crate) fn start(quiet: bool) -> Self {
        let now = Instant::now();
        let how = if quiet {
            How::Quiet
        } else if stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            // One line, cut off where the terminal ends.
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            How::Bar(bar)
        } else {
            How::Lines { last: now }
        };
        Self { how, start: now, before: (now, 0), rate: 0.0 }
    }

    /// Shows how it stands. `ring` is the part of the ring that is full, 0 to 1.
    pub(crate) fn show(&mut self, live: &Live, ring: f64, lost: (u64, u64), one_in: OneIn) {
        let operations = live.operations.load(Ordering::Relaxed);
        let now = Instant::now();
        let passed = now - self.before.0;
        if passed >= Duration::from_secs(1) {
            self.rate = per_second(operations - self.before.1, passed);
            self.before = (now, operations);
        }
        let line = || {
            let hits = live.hits.load(Ordering::Relaxed);
            let gets = hits + live.misses.load(Ordering::Relaxed);
            format!(
                "{} {} operations{}, {}/s, hit ratio {}, {} written, ring {:.0} % full, {} lost{}",
                clock(self.start.elapsed()),
                HumanCount(operations),
                if one_in > 1 { format!(" (of 1/{one_in} of the keys)") } else { String::new() },
                count(self.rate),
                percent(hits, gets),
                ByteSize(live.bytes.load(Ordering::Relaxed)),
                ring * 100.0,
                HumanCount(lost.0),
                match lost.1 {
                    0 => String::new(),
                    possible => format!(", {} skipped", HumanCount(possible)),
                },
            )
        };
        match &mut self.how {
            How::Quiet => {}
            How::Bar(bar) => {
                bar.set_message(line());
                bar.tick();
            }
            How::Lines { last } if now - *last >= LINE_EVERY => {
                say(&line());
                *last = now;
            }
            How::Lines { .. } => {}
        }
    }

    /// Says something that stays.
    pub(crate) fn remark(&self, text: &str) {
        match &self.how {
            How::Bar(bar) => bar.suspend(|| say(text)),
            How::Quiet | How::Lines { .. } => say(text),
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        if let How::Bar(bar) = self.how {
            bar.finish_and_clear();
        }
    }
}

/// How writing out what was held in memory went.
pub(crate) fn dumped(dumped: &Result<Dumped>) -> String {
    match dumped {
        Ok(Dumped { path, bytes, rows, length }) => format!(
            "mcrec: the last {} are in {}: {} rows, {}",
            clock(*length),
            path.display(),
            HumanCount(*rows),
            ByteSize(*bytes)
        ),
        Err(error) => format!("mcrec: what is held in memory was not written: {error:#}"),
    }
}

/// That a file has all that it can hold.
pub(crate) fn goes_on(files: &GoesOn) -> String {
    let GoesOn { from, to } = files;
    format!(
        "mcrec: {} has as many row groups as a capture can have; the recording goes on in {}",
        from.display(),
        to.display()
    )
}

/// What `mcrec repair` did.
pub(crate) fn repaired(path: &Path, repair: &Repair) -> String {
    let Repair { state, rows, dropped, journal_removed } = *repair;
    let (path, rows) = (path.display(), HumanCount(rows));
    match state {
        State::Whole if journal_removed => {
            format!(
                "{path} is whole: {rows} rows; its journal, which it does not need, was removed"
            )
        }
        State::Whole => format!("{path} is whole: {rows} rows; nothing to repair"),
        State::CutOff => format!(
            "{path} is whole again: {rows} rows, all that was committed; {} of a commit that was \
             cut off were removed",
            ByteSize(dropped)
        ),
        State::Salvaged => format!(
            "{path} is whole again: {rows} rows, of the row groups that were complete; {} after \
             them were removed. Its footer was lost: what was lost while recording is not known",
            ByteSize(dropped)
        ),
    }
}

/// The closing summary.
pub(crate) fn summary(outcome: &Outcome) -> String {
    let Outcome { footer, written, events, .. } = outcome;
    let capture = &footer.capture;
    let loss = &footer.loss;
    let duration = Duration::from_nanos(capture.end_monotonic_ns - capture.start_monotonic_ns);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<11}{value}").expect("writing to a String cannot fail");
    };
    line(
        "recorded",
        format!(
            "{} operations in {}, {}/s; ended: {}",
            HumanCount(loss.written - events),
            clock(duration),
            count(per_second(loss.written - events, duration)),
            capture.ended.as_deref().unwrap_or("unknown"),
        ),
    );
    line(if written.files > 1 { "files" } else { "file" }, files(written));
    if footer.sampling.is_sampled() {
        line("left out", left_out(&footer.sampling));
    }
    line("lost", losses(footer));
    if footer.source.requests_without_operation > 0 {
        line(
            "not seen",
            format!(
                "{} requests fired no command probe (see mcrec --check)",
                HumanCount(footer.source.requests_without_operation)
            ),
        );
    }
    if footer.source.connections_encrypted > 0 {
        let encrypted = HumanCount(footer.source.connections_encrypted);
        line("not seen", format!("what {encrypted} connections under TLS carried"));
    }
    if let Some(server) = &footer.server {
        line("memcached", server.describe());
    }
    line("cost", cost(footer, duration));
    text
}

fn files(written: &Written) -> String {
    let Written { first, last, files, kept, bytes, rows, .. } = written;
    let mut text = match files {
        0 => return "none".to_owned(),
        1 => first.display().to_string(),
        _ if kept < files => {
            format!("{}, the last {kept} of them kept, to {}", HumanCount(*files), last.display())
        }
        _ => format!("{}, from {} to {}", HumanCount(*files), first.display(), last.display()),
    };
    write!(text, ", {}", ByteSize(*bytes)).expect("writing to a String cannot fail");
    if *rows > 0 {
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let each = *bytes as f64 / *rows as f64;
        write!(text, ", {each:.1} bytes an operation").expect("writing to a String cannot fail");
    }
    text
}

/// What was left out on purpose.
fn left_out(sampling: &Sampling) -> String {
    let rates = || sampling.series.iter().map(|stretch| stretch[2]);
    let (densest, sparsest) = (rates().min().unwrap_or(1), rates().max().unwrap_or(1));
    let recorded = match densest {
        _ if densest == sparsest => format!("1/{densest} of the keys were recorded"),
        1 => format!("all keys to 1/{sparsest} of them were recorded, as the capture tells"),
        _ => format!("1/{densest} to 1/{sparsest} of the keys were recorded, as the capture tells"),
    };
    let count = HumanCount(sampling.sampled_out.unwrap_or(0));
    format!("{count} operations, on purpose: {recorded}")
}

/// What was lost, and what is incomplete.
pub(crate) fn losses(footer: &Footer) -> String {
    lost(&footer.loss, &footer.source.name)
}

fn lost(loss: &Loss, source: &str) -> String {
    let named = |reasons: &mut dyn Iterator<Item = (&'static str, u64)>| {
        let named: Vec<String> = reasons
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{} {}", reason.replace('_', " "), HumanCount(count)))
            .collect();
        named.join(", ")
    };
    let (of_operations, out_of_step) = (loss.losses.of_operations(), loss.losses.decode_error);
    let mut text = match of_operations.total() {
        0 if out_of_step > 0 => "an unknown number of operations".to_owned(),
        0 if loss.possible.total() > 0 => "nothing that is known of".to_owned(),
        0 => "nothing".to_owned(),
        total => {
            let part = percent(total, loss.seen);
            let reasons = named(&mut of_operations.by_reason());
            let operations = if total == 1 { "operation" } else { "operations" };
            let total = HumanCount(total);
            if loss.losses.are_operations(source) {
                format!("{total} {operations} ({part}): {reasons}")
            } else if !loss.losses.are_at_least() {
                format!("about {total} {operations}, for it is reads that were lost: {reasons}")
            } else {
                format!(
                    "at least {total} {operations} ({part} or more), for it is reads that were \
                     lost, of one or more: {reasons}"
                )
            }
        }
    };
    if out_of_step > 0 {
        write!(text, "; {}", fell_out_of_step(out_of_step, loss.possible.total() > 0))
            .expect("writing to a String cannot fail");
    }
    if loss.possible.total() > 0 {
        write!(
            text,
            "; and up to {} reads or replies more, for the kernel skipped so many runs of the \
             programs, of other processes too: {}",
            HumanCount(loss.possible.total()),
            named(&mut loss.possible.by_reason())
        )
        .expect("writing to a String cannot fail");
    }
    if loss.incomplete.total() > 0 {
        write!(
            text,
            "; {}: what is recorded of some operations is incomplete",
            named(&mut loss.incomplete.by_reason())
        )
        .expect("writing to a String cannot fail");
    }
    text
}

/// What a decode error is, and what to do.
fn fell_out_of_step(times: u64, skipped: bool) -> String {
    let what_to_do = match skipped {
        true => "Most likely the kernel skipped programs",
        false => "Please report it, with memcached's release and options",
    };
    let times = match times {
        1 => "once".to_owned(),
        times => format!("{} times", HumanCount(times)),
    };
    format!(
        "decode error: {times} a connection could not be followed, as it carried what its \
         requests and replies do not account for, or too much at once. From there to its next \
         read that begins with a request operations are missing, and of the last ones before it \
         some may be wrong or none: no count is a bound, and a hit ratio is of what was left. \
         Compare with memcached's `stats`; where memcached has probes, --source usdt does not \
         depend on this. {what_to_do}"
    )
}

fn cost(footer: &Footer, duration: Duration) -> String {
    let cost = &footer.cost;
    let run_time = Duration::from_nanos(cost.run_time_ns());
    let mut text = String::new();
    if cost.programs.is_empty() {
        text.push_str("in memcached unknown; ");
    } else {
        write!(
            text,
            "in memcached {:.2} s of CPU in {} BPF runs ({} ns each, {} of one CPU); ",
            run_time.as_secs_f64(),
            HumanCount(cost.run_count()),
            cost.run_time_ns().checked_div(cost.run_count()).unwrap_or(0),
            share(run_time, duration),
        )
        .expect("writing to a String cannot fail");
    }
    write!(
        text,
        "mcrec {:.2} s of CPU, {} of memory at peak; at most {} waited on the ring",
        cost.cpu_s,
        ByteSize(cost.peak_memory),
        ByteSize(cost.ring_peak)
    )
    .expect("writing to a String cannot fail");
    text
}

fn per_second(operations: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let operations = operations as f64;
    if time.is_zero() { 0.0 } else { operations / time.as_secs_f64() }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let percent = part as f64 * 100.0 / whole as f64;
    // A loss, however small, is not shown as none.
    if part > 0 && percent < 0.01 { "under 0.01 %".to_owned() } else { format!("{percent:.2} %") }
}

fn share(part: Duration, whole: Duration) -> String {
    if whole.is_zero() {
        return "-".to_owned();
    }
    format!("{:.1} %", part.as_secs_f64() * 100.0 / whole.as_secs_f64())
}

fn count(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for display")]
    let number = number.round().max(0.0) as u64;
    HumanCount(number).to_string()
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use mcrec_schema::footer::{Loss, Losses};

    use super::{lost, percent};

    fn said(losses: Losses) -> String {
        let written = 100 - losses.total();
        lost(&Loss { seen: 100, written, losses, ..Loss::default() }, "syscalls")
    }

    #[test]
    fn where_a_connection_fell_out_of_step_nothing_is_said_to_be_a_bound() {
        let lost = Losses { connection_unsynced: 3, ..Losses::default() };
        assert!(said(lost).starts_with("at least 3 operations (3.00 % or more)"));
        let lost = Losses { decode_error: 2, ..lost };
        let text = said(lost);
        assert!(text.starts_with("about 3 operations, ") && !text.contains("at least"), "{text}");
        assert!(
            text.contains("decode error: 2 times a connection could not be followed"),
            "{text}"
        );
        let text = said(Losses { decode_error: 1, ..Losses::default() });
        assert!(text.starts_with("an unknown number of operations; decode error: once"), "{text}");
    }

    #[test]
    fn a_small_loss_is_not_shown_as_none() {
        assert_eq!(percent(1, 1_000_000), "under 0.01 %");
        assert_eq!(percent(0, 1_000_000), "0.00 %");
        assert_eq!(percent(1, 3), "33.33 %");
        assert_eq!(percent(0, 0), "-");
    }
}
