//! What the keyboard does.

use ratatui::text::Line;

use super::BOLD;

const HELP: [(&str, &str); 15] = [
    ("c s r", "sort by calls, size, requests a second"),
    ("b n l", "sort by bandwidth, misses, latency (p99)"),
    ("t", "turn the order round"),
    ("j k, arrows", "a line down, up"),
    ("d u, PgDn PgUp", "half a page, a page down, up"),
    ("g G", "to the top, to the bottom"),
    ("/", "filter: text, or a regular expression"),
    ("Enter", "open a line"),
    ("Tab", "prefixes, clients, commands, over time, keys"),
    ("Esc", "back; clears the filter"),
    ("p", "play back from the start; again: all of it"),
    ("space, + -", "stop the clock; twice, half as fast"),
    ("q", "quit"),
    ("~p50, ~p99", "off by an eighth at most"),
    ("req/s, kbps", "over all the time that is looked at"),
];

/// Line by line.
pub(super) fn lines() -> Vec<Line<'static>> {
    let line = |(keys, text): (&str, &str)| Line::raw(format!("{keys:<14}  {text}"));
    let title = Line::styled("keyboard", BOLD);
    [title].into_iter().chain(HELP.into_iter().map(line)).collect()
}
