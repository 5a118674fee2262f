//! What the keys of the keyboard do.

use ratatui::text::Line;

use super::BOLD;

const HELP: [(&str, &str); 16] = [
    ("c s r", "sort by calls, size when last seen, requests a second"),
    ("b n l", "sort by bandwidth, number of misses, latency (p99)"),
    ("t", "turn the order round"),
    ("j k, arrows", "one line down, up"),
    ("d u, PgDn PgUp", "half a page, a page down, up"),
    ("g G", "to the top, to the bottom"),
    ("/", "filter: text or a regular expression; Esc clears it"),
    ("Enter", "open a line; Esc or q leads back"),
    ("Tab", "keys, prefixes, clients, commands, over time"),
    ("p", "play the capture back from its start; again: all of it"),
    ("space", "stop the clock, let it go on"),
    ("+ -, > <", "play twice as fast, half as fast"),
    ("q", "quit"),
    ("", ""),
    ("~p50 ~p99", "off by an eighth at most; mcanalyze latency is exact"),
    ("req/s, kbps", "over all the time that is looked at"),
];

/// Line by line.
pub(super) fn lines() -> Vec<Line<'static>> {
    let line = |(keys, text): (&str, &str)| Line::raw(format!("  {keys:<15} {text}"));
    let title = Line::styled("keys of the keyboard", BOLD);
    [title].into_iter().chain(HELP.into_iter().map(line)).collect()
}
