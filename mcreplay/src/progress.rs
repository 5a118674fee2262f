//! What is shown while it runs, on stderr.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::tally::{Live, Ratio};

/// Between two lines, where stderr is no terminal.
const LINES: Duration = Duration::from_secs(10);

/// Shows how far a run is.
pub(crate) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    began: Instant,
    shown: Instant,
    sent: u64,
    wanted: bool,
}

impl Progress {
    /// Of `what` is being done; if `wanted`.
    pub(crate) fn new(what: &'static str, wanted: bool) -> Self {
        let bar = (wanted && stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            let bar = ProgressBar::new_spinner();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        let now = Instant::now();
        Self { what, bar, began: now, shown: now, sent: 0, wanted }
    }

    /// Shows what `live` says, if it is time.
    pub(crate) fn show(&mut self, live: &Live) {
        let every = if self.bar.is_some() { Duration::from_millis(200) } else { LINES };
        if !self.wanted || self.shown.elapsed() < every {
            return;
        }
        let sent = live.sent.load(Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "it is a rate")]
        let rate = sent.saturating_sub(self.sent) as f64 / self.shown.elapsed().as_secs_f64();
        (self.shown, self.sent) = (Instant::now(), sent);
        let ratio = Ratio { hits: live.hits.load(Relaxed), misses: live.misses.load(Relaxed) };
        let ratio = ratio.ratio().map_or(String::new(), |it| format!(", {:.1} % hits", it * 100.0));
        let behind = Duration::from_nanos(live.behind.load(Relaxed)).as_secs_f64() * 1e3;
        let text = format!(
            "{} {:.0} s: {sent} operations, {rate:.0}/s{ratio}, {} connections, {behind:.1} ms behind",
            self.what,
            self.began.elapsed().as_secs_f64(),
            live.open.load(Relaxed)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => {
                let _ = writeln!(stderr(), "mcreplay: {text}");
            }
        }
    }

    /// It is over.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
