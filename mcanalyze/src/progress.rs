//! How far a long scan is, for whoever looks at a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Row groups that are read before anybody could wonder: some seconds.
const SHORT: usize = 8;

/// A bar of so many steps. It is drawn on stderr if that is a terminal, and not for
/// what is over soon.
pub(crate) fn bar(steps: usize, wanted: bool) -> ProgressBar {
    let drawn = wanted && steps > SHORT;
    let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:20} {percent} % {msg}, {elapsed}");
    let bar = ProgressBar::with_draw_target(Some(steps as u64), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message("read");
    if drawn {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}
