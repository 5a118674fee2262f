//! Some of the rows of a capture, as a capture.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use mcrec_capture::Capture;
use mcrec_schema::{
    columns,
    derived::{SLICE, Slice},
    footer::{Footer, Loss, Possible},
};

use super::{Destination, Made, is_complete, output::Output, rows, step};

/// A point in time, as it can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// µs since the epoch, UTC.
    At(i64),
    /// µs since the start of the recording.
    After(i64),
}

impl When {
    /// µs since the epoch, UTC, of a recording that began at `start`.
    fn absolute(self, start: i64) -> i64 {
        match self {
            Self::At(time) => time,
            Self::After(time) => start.saturating_add(time),
        }
    }
}

/// A window of a recording that began at `start`: not before, and before, µs since the
/// epoch, UTC.
///
/// # Errors
///
/// When nothing can lie in it.
pub(crate) fn window(start: i64, from: Option<When>, to: Option<When>) -> Result<[Option<i64>; 2]> {
    let window = [from, to].map(|when| when.map(|when| when.absolute(start)));
    if let [Some(from), Some(to)] = window
        && from >= to
    {
        bail!("nothing lies between --from and --to: the first is not before the second");
    }
    Ok(window)
}

/// Which rows to take: those for which all of it is so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) from: Option<When>,
    pub(crate) to: Option<When>,
    /// As captures have it.
    pub(crate) key: Option<String>,
    /// As captures have it.
    pub(crate) prefix: Option<String>,
    /// Words of the column; none for all.
    pub(crate) ops: Vec<String>,
    /// None for all.
    pub(crate) conn_ids: Vec<i64>,
}

/// Writes the rows of `capture` that `filter` asks for.
///
/// # Errors
///
/// When the capture cannot be read or the slice not be written.
pub(crate) fn slice(capture: &Capture, filter: &Filter, destination: &Destination) -> Result<Made> {
    let start = capture.footer().capture.start_us;
    let [from_us, to_us] = window(start, filter.from, filter.to)?;
    let mut taken = Slice {
        from_us,
        to_us,
        key: filter.key.clone(),
        prefix: filter.prefix.clone(),
        ops: filter.ops.clone(),
        conn_ids: filter.conn_ids.clone(),
        left_out: 0,
    };
    let mut footer = windowed(capture.footer(), taken.from_us, taken.to_us);
    let mut output = Output::create(destination, &footer)?;
    let conn_ids: HashSet<i64> = taken.conn_ids.iter().copied().collect();
    let in_window = |ts: i64| {
        taken.from_us.is_none_or(|from| ts >= from) && taken.to_us.is_none_or(|to| ts < to)
    };
    let mut in_window_rows = 0;
    rows::each(
        capture,
        |group| {
            rows::range(group, columns::TS).is_none_or(|(first, last)| {
                taken.from_us.is_none_or(|from| last >= from)
                    && taken.to_us.is_none_or(|to| first < to)
            })
        },
        |_, batch| {
            let window: BooleanArray =
                rows::times(&batch)?.values().iter().map(|&ts| Some(in_window(ts))).collect();
            let batch = filter_record_batch(&batch, &window)?;
            in_window_rows += batch.num_rows() as u64;
            let wanted =
                wanted(&batch, &taken, &conn_ids).with_context(|| rows::damaged(capture))?;
            output.write(&filter_record_batch(&batch, &wanted)?)
        },
    )?;
    taken.left_out = in_window_rows - output.rows();
    let step = step(SLICE, [capture.footer()]);
    let written = output.rows();
    footer.derived.push(mcrec_schema::derived::Step { slice: Some(taken), ..step });
    let incomplete = !is_complete(&footer);
    let bytes = output.finish(footer)?;
    Ok(Made { read: capture.rows(), written, bytes, late: 0, incomplete })
}

/// Which rows of a batch the slice has, but for their time.
fn wanted(batch: &RecordBatch, slice: &Slice, conn_ids: &HashSet<i64>) -> Result<BooleanArray> {
    let (keys, ops) = (rows::texts(batch, columns::KEY)?, rows::texts(batch, columns::OP)?);
    let connections = rows::longs(batch, columns::CONN_ID)?;
    let wanted = (0..batch.num_rows()).map(|row| {
        let key = keys.is_valid(row).then(|| keys.value(row));
        let is = |asked: &Option<String>, so: fn(&str, &str) -> bool| {
            asked.as_deref().is_none_or(|asked| key.is_some_and(|key| so(key, asked)))
        };
        Some(
            is(&slice.key, |key, asked| key == asked)
                && is(&slice.prefix, |key, asked| key.starts_with(asked))
                && (slice.ops.is_empty() || slice.ops.iter().any(|op| op == ops.value(row)))
                && (conn_ids.is_empty() || conn_ids.contains(&connections.value(row))),
        )
    });
    Ok(wanted.collect())
}

/// What the footer says of a window alone; see [`Slice`] for what cannot be known.
fn windowed(whole: &Footer, from: Option<i64>, to: Option<i64>) -> Footer {
    let mut footer = whole.clone();
    // They are of all of the recording.
    footer.server = None;
    let capture = &mut footer.capture;
    let (start, end) = (capture.start_us, capture.end_us);
    capture.start_us = from.unwrap_or(start).clamp(start, end);
    capture.end_us = to.unwrap_or(end).clamp(capture.start_us, end);
    let moved = |ns: u64, by: i64| ns.saturating_add_signed(by.saturating_mul(1000));
    capture.start_monotonic_ns = moved(capture.start_monotonic_ns, capture.start_us - start);
    capture.end_monotonic_ns = moved(capture.end_monotonic_ns, capture.end_us - end);
    if to.is_some_and(|to| to <= end) {
        // The recording may not have its end; this has.
        capture.ended = Some(SLICE.to_owned());
    }
    let (start, end) = (capture.start_us, capture.end_us);
    let clip = |series: &[[i64; 3]]| -> Vec<[i64; 3]> {
        let clipped = series.iter().filter_map(|&[first, last, lost]| {
            let clipped = [first.max(start), last.min(end), lost];
            // Of two that meet at the edge, the one that is inside.
            let inside = clipped[0] < clipped[1] || (first == last && clipped[0] == clipped[1]);
            inside.then_some(clipped)
        });
        clipped.collect()
    };
    let count = |series: &[[i64; 3]]| series.iter().map(|it| it[2].max(0).unsigned_abs()).sum();
    let (series, possible_series) = (clip(&whole.loss.series), clip(&whole.loss.possible_series));
    if footer.sampling.is_sampled() {
        // When, and on which keys, is not known.
        footer.sampling.sampled_out = None;
    }
    footer.loss = Loss {
        losses: whole.loss.losses.some(count(&series)),
        series,
        possible: Possible { skipped_runs: count(&possible_series) },
        possible_series,
        ..whole.loss.clone()
    };
    footer
}
