//! Opens captures: paths in, rows and footers out.

use std::{borrow::Cow, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use mcrec_schema::{columns, footer::Footer};
use polars::prelude::{
    DataType, LazyFrame, NULL, ScanArgsParquet, ScanSources, TimeUnit, UnionArgs, col, concat, lit,
};
use polars_buffer::Buffer;

use crate::{
    files::merge::{Moved, numbering},
    filter::Filter,
    panics::decoding,
    sampling::{Sampling, Weights},
};

/// One capture, of one file or several.
#[derive(Clone)]
pub(crate) struct Capture {
    /// Its files, in the order in which they are read.
    pub(crate) files: Arc<Vec<mcrec_capture::Capture>>,
    /// What each file says of itself, in the order in which they are read.
    pub(crate) footers: Vec<Footer>,
    /// Files that hold a recording that another file holds too: left out.
    pub(crate) repeated: Vec<PathBuf>,
    /// If it does not have all operations.
    pub(crate) sampling: Option<Sampling>,
    /// What the numbers of each file's connections and requests are moved by, so that those
    /// of several recordings are not taken for each other's.
    pub(crate) moved: Vec<Moved>,
    /// How many operations a row of each file stands for.
    pub(crate) weights: Vec<Weights>,
    /// Which of its operations are asked for.
    pub(crate) filter: Filter,
    /// Whether to show how far reading it is.
    pub(crate) shows_progress: bool,
}

impl Capture {
    /// Opens what `paths` name: files, directories of `*.parquet`, or globs.
    ///
    /// # Errors
    ///
    /// When there is nothing there, or something that is not a capture.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut opened = Vec::new();
        for path in mcrec_capture::files(paths)? {
            opened.push((decoding(&path, || mcrec_capture::Capture::open(&path))?, path));
        }
        // Stable: of files that begin together, in the order in which they were named.
        opened.sort_by_key(|(file, _)| file.footer().capture.start_us);
        let mut footers: Vec<Footer> = Vec::with_capacity(opened.len());
        let mut files = Vec::with_capacity(opened.len());
        let mut repeated = Vec::new();
        for (file, path) in opened {
            let footer = file.footer().clone();
            let same = |other: &Footer| {
                (&other.capture.id, other.capture.start_us)
                    == (&footer.capture.id, footer.capture.start_us)
            };
            if footers.iter().any(same) {
                repeated.push(path);
                continue;
            }
            files.push(file);
            footers.push(footer);
        }
        let sampling = Sampling::of(&footers);
        let weights = footers.iter().map(Weights::of).collect();
        let filter = Filter::default();
        let of_one = footers.iter().all(|footer| footer.capture.id == footers[0].capture.id);
        let moved = match of_one {
            true => vec![Moved::default(); files.len()],
            false => numbering(&files.iter().collect::<Vec<_>>())?,
        };
        let (files, shows_progress) = (Arc::new(files), true);
        Ok(Self { files, footers, repeated, sampling, moved, weights, filter, shows_progress })
    }

    /// The same capture with the operations on the keys of a sample of one in `one_in`
    /// alone, and those without a key, as if there were no others: nothing stands for more
    /// than itself.
    pub(crate) fn of_sample(&self, one_in: u32) -> Self {
        let mut filter = self.filter.clone();
        // It has no others: nothing to look for.
        let has_others = self.sampling.as_ref().is_none_or(|sampling| sampling.densest < one_in);
        filter.one_in = has_others.then_some(one_in);
        Self {
            files: Arc::clone(&self.files),
            footers: self.footers.clone(),
            repeated: Vec::new(),
            sampling: None,
            moved: self.moved.clone(),
            weights: Vec::new(),
            filter,
            shows_progress: self.shows_progress,
        }
    }

    /// Whether figures stand for more than what was recorded: those of a sample do, but not
    /// of one key, of which all was recorded, or nothing.
    pub(crate) fn is_scaled(&self) -> bool {
        self.sampling.is_some() && self.filter.key_is.is_none()
    }

    /// The operations on keys that were recorded all the time, as a capture of its own,
    /// and one in how many of all keys they are of.
    pub(crate) fn of_whole_keys(&self) -> (Cow<'_, Self>, u32) {
        let sampling = self.sampling.as_ref().filter(|_| self.is_scaled());
        match sampling.and_then(Sampling::of_whole_keys) {
            None => (Cow::Borrowed(self), 1),
            Some(one_in) => (Cow::Owned(self.of_sample(one_in)), one_in),
        }
    }

    /// All rows, for questions to polars.
    ///
    /// # Errors
    ///
    /// When polars cannot open the files.
    pub(crate) fn rows(&self) -> Result<LazyFrame> {
        let form = |file: &mcrec_capture::Capture| (file.footer().parts().is_empty(), has(file));
        let alike = self.files.iter().all(|file| form(file) == form(&self.files[0]));
        if alike && !self.moved.iter().any(Moved::moves) {
            return rows_of(&self.files);
        }
        // Files with a column more, or with other numbers, cannot be read in one go.
        let frames = self.files.iter().zip(&self.moved).map(|(file, moved)| {
            let moved_by = |name, by: i64| (col(name) + lit(by)).alias(name);
            Ok(rows_of(std::slice::from_ref(file))?.with_columns([
                moved_by(columns::CONN_ID, moved.conn_ids_moved_by),
                moved_by(columns::REQUEST_ID, moved.request_ids_moved_by),
            ]))
        });
        concat(frames.collect::<Result<Vec<_>>>()?, UnionArgs::default())
            .context("cannot read the captures as one")
    }

    /// The stretches of time that were recorded, and are asked for: µs since the epoch.
    pub(crate) fn spans(&self) -> Vec<(i64, i64)> {
        let (from, to) = (self.filter.from.unwrap_or(i64::MIN), self.filter.to.unwrap_or(i64::MAX));
        let spans = self.footers.iter().flat_map(Footer::spans);
        let spans = spans.map(|(start, end)| (start.max(from), end.min(to)));
        spans.filter(|(start, end)| start <= end).collect()
    }

    /// From when to when was recorded, of what is asked for: µs since the epoch; `None` if
    /// nothing was.
    pub(crate) fn extent(&self) -> Option<(i64, i64)> {
        extent(&self.spans())
    }

    /// For how long was recorded, in seconds: the time that is covered by any of
    /// the files, so that files of one server and files of several add up alike.
    pub(crate) fn seconds(&self) -> f64 {
        seconds(self.spans())
    }
}

/// From when to when `spans` go, with what is between them.
pub(crate) fn extent(spans: &[(i64, i64)]) -> Option<(i64, i64)> {
    let start = spans.iter().map(|(start, _)| *start).min()?;
    let end = spans.iter().map(|(_, end)| *end).max()?;
    Some((start, end))
}

/// The seconds that any of `spans` covers, which are in µs.
pub(crate) fn seconds(spans: Vec<(i64, i64)>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 285 years")]
    let micros = covered(spans) as f64;
    micros / 1e6
}

/// Whether a file has the columns that older ones lack.
fn has(file: &mcrec_capture::Capture) -> bool {
    columns::SINCE_MINOR_1.iter().any(|name| file.has_column(name))
}

/// The columns of the format, and none that a file may have beside them.
fn rows_of(files: &[mcrec_capture::Capture]) -> Result<LazyFrame> {
    let cannot_open =
        |file: &mcrec_capture::Capture| format!("cannot open {}", file.path().display());
    // Never by name: of a capture that is being recorded, there would be more rows than when
    // it was opened, or half of a commit.
    let views = files.iter().map(|file| Ok(Buffer::from_owner(file.view()?)));
    let sources = ScanSources::Buffers(views.collect::<Result<Vec<_>>>()?.into());
    // Statistics may lie, and then what they say is not there is left out.
    let mut arguments =
        ScanArgsParquet { glob: false, use_statistics: false, ..Default::default() };
    // Nor are names of folders columns.
    arguments.hive_options.enabled = Some(false);
    let rows = LazyFrame::scan_parquet_sources(sources, arguments)
        .with_context(|| files.first().map_or_else(String::new, cannot_open))?;
    // What older files lack is null.
    let has = files.first().is_none_or(has);
    let null = |name: &str| {
        let integer = matches!(name, columns::CAS_SENT | columns::CAS_SET);
        let kind = if integer { DataType::Int64 } else { DataType::String };
        lit(NULL).cast(kind).alias(name)
    };
    let column = |name: &str| match has || !columns::SINCE_MINOR_1.contains(&name) {
        true => col(name),
        false => null(name),
    };
    let columns: Vec<_> = columns::schema().fields().iter().map(|f| column(f.name())).collect();
    // Times in SQL are written without a zone.
    let ts = col(columns::TS).cast(DataType::Datetime(TimeUnit::Microseconds, None));
    Ok(rows.select(columns).with_columns([ts]))
}

/// The length of the union of `spans`.
fn covered(mut spans: Vec<(i64, i64)>) -> i64 {
    spans.sort_unstable();
    let mut sum = 0_i64;
    let mut end = i64::MIN;
    for (from, to) in spans {
        sum = sum.saturating_add(to.saturating_sub(from.max(end)).max(0));
        end = end.max(to);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::covered;

    #[test]
    fn time_that_two_files_cover_counts_once() {
        assert_eq!(covered(vec![]), 0);
        assert_eq!(covered(vec![(10, 20), (20, 30)]), 20);
        assert_eq!(covered(vec![(100, 110), (0, 10)]), 20);
        assert_eq!(covered(vec![(0, 10), (5, 8), (9, 12)]), 12);
    }
}
