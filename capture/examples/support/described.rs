//! What a capture that nobody recorded says of itself.

use mcrec_schema::footer::{self, Footer, FooterError};

/// A footer that says so many rows were written from `start_us` to `end_us`, µs since the
/// epoch, and nothing lost; `id` tells it from others.
///
/// # Errors
///
/// When `id` ends a string of JSON.
pub(crate) fn described(
    id: &str,
    rows: i64,
    (start_us, end_us): (i64, i64),
) -> Result<Footer, FooterError> {
    let capture = format!(
        r#"{{"id": "{id}", "mcrec_version": "0", "command_line": ["made up"], "host": "none",
            "kernel": "none", "start_us": {start_us}, "end_us": {end_us}, "start_monotonic_ns": 0,
            "end_monotonic_ns": {}, "clock_offset_ns": 0, "ended": "max-events",
            "commit_interval_s": 5.0}}"#,
        (end_us - start_us) * 1000
    );
    let loss = format!(
        r#"{{"seen": {rows}, "written": {rows}, "losses": {{}}, "incomplete": {{}}, "series": []}}"#
    );
    Footer::from_entries(|entry| {
        Some(match entry {
            footer::FORMAT => r#"{"version": 1, "minor": 1}"#,
            footer::CAPTURE => &capture,
            footer::TARGET => {
                r#"{"pid": 1, "executable": "memcached", "build_id": null, "version": null,
                    "command_line": [], "listening": [], "worker_threads": 4}"#
            }
            footer::SOURCE => {
                r#"{"name": "syscalls", "attached": [], "latency": "made up", "sees": [],
                    "cannot_see": [], "columns_unknown": [], "requests_without_operation": 0}"#
            }
            footer::LOSS => &loss,
            footer::COST => r#"{"programs": [], "cpu_s": 0.0, "peak_memory": 0}"#,
            footer::PRIVACY => r#"{"keys_hashed": null}"#,
            _ => return None,
        })
    })
}
