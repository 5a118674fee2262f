//! The command line of what is looked at live.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::filter::FilterArgs;

/// What stays on the screen.
#[derive(Debug, Subcommand)]
pub(crate) enum Live {
    /// Top keys on the whole screen, while the capture is written, or played back
    #[command(after_help = "Example: mcanalyze top cap.parquet --prefix session:\n\
        c s r b n l sort by calls, size, rate, bandwidth, misses, latency, and t turns the \
        order; / filters, Enter opens a key, Tab goes on to prefixes, clients, commands and \
        figures over time, p plays the capture back, ? says what else there is. Of a capture \
        that is being recorded, what is committed is shown within a second.\n\
        Percentiles are marked ~: they are off by an eighth at most.")]
    Top(TopArgs),
}

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Captures: files, directories or quoted globs
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Play back from the start, so many times as fast as it was
    #[arg(long, value_name = "N", value_parser = speed)]
    pub(crate) speed: Option<f64>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.trim_end_matches('x').parse().map_err(|_| "write it as 1, 10 or 0.5")?;
    if speed.is_finite() && speed > 0.0 { Ok(speed) } else { Err("it is more than 0".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::speed;

    #[test]
    fn speeds_are_above_zero() {
        assert_eq!((speed("10"), speed("0.5x")), (Ok(10.0), Ok(0.5)));
        assert!(speed("0").is_err() && speed("-1").is_err() && speed("inf").is_err());
        assert!(speed("fast").is_err());
    }
}
