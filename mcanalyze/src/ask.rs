//! Asks a question of captures.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    capture::Capture,
    cli::{
        Cli, Dimension, Format, SortBy,
        filter::FilterArgs,
        questions::{Asked, DiffArgs, Question, ReportArgs},
    },
    files::{Destination, slice::window},
    filter::Filter,
    grouping,
    keys::{self, keys},
    query::{
        bursts::bursts,
        clients::clients,
        course::course,
        diff::diff,
        heading::{Heading, heading},
        latency::{latency, latency_by},
        memory::memory,
        misses::misses,
        popularity::popularity,
        prefixes::prefixes,
        series,
        sizes::sizes,
        slow::slow,
        sql,
        summary::{Summary, operations, summary},
        top::top,
    },
    table::Section,
};

/// Lines that people read of a series, unless they say how long its intervals are.
const SERIES_LINES: i64 = 40;

/// What was asked, answered.
pub(crate) struct Answer {
    /// Files that were left out: their recording was read already.
    pub(crate) repeated: Vec<PathBuf>,
    /// What must be known of each capture before.
    pub(crate) headings: Vec<Heading>,
    pub(crate) summary: Option<Summary>,
    pub(crate) sections: Vec<Section>,
    pub(crate) format: Format,
}

impl Answer {
    /// Whether there is nothing that a reader of it must know.
    pub(crate) fn is_complete(&self) -> bool {
        self.headings.iter().all(Heading::is_complete)
    }

    /// What is to be known of its parts.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().flat_map(|section| section.notes.iter().map(String::as_str))
    }

    fn of(capture: Capture, sections: Vec<Section>, format: Format) -> Self {
        let headings = vec![heading(&capture)];
        Self { repeated: capture.repeated, headings, summary: None, sections, format }
    }
}

/// Opens the captures, looking at what is asked for.
///
/// # Errors
///
/// When they cannot be read, or what is asked for is not to be had.
pub(crate) fn open(paths: &[PathBuf], asked: &FilterArgs) -> Result<Capture> {
    let mut capture = Capture::open(paths)?;
    capture.filter = filter(&capture, asked)?;
    Ok(capture)
}

fn filter(capture: &Capture, asked: &FilterArgs) -> Result<Filter> {
    let start = capture.footers.iter().map(|footer| footer.capture.start_us).min().unwrap_or(0);
    let [from, to] = window(start, asked.from, asked.to)?;
    let rows = asked.sql.as_deref().map(|sql| sql::which_rows(capture, sql)).transpose()?;
    Ok(Filter {
        ops: asked.op.clone(),
        key: asked.key.clone(),
        key_is: asked.key_is.clone(),
        prefix: asked.prefix.clone(),
        clients: asked.client.clone(),
        conn_ids: asked.conn.clone(),
        statuses: asked.status.clone(),
        min_size: asked.min_size,
        max_size: asked.max_size,
        min_latency: asked.min_latency,
        from,
        to,
        one_in: None,
        rows: rows.map(std::sync::Arc::new),
        words: asked.words(),
    })
}

/// The summary of captures, and their top keys.
///
/// # Errors
///
/// When they cannot be read.
pub(crate) fn overview(cli: &Cli) -> Result<Answer> {
    let capture = open(&cli.files, &cli.filter)?;
    let by = grouping::by(&capture, cli.by)?;
    let question =
        keys::Question { top: usize_of(cli.top), sort: cli.sort, reverse: cli.reverse, by: &by };
    let groups = keys(&capture, &question)?;
    let distinct = match cli.by {
        Dimension::Key => groups.distinct,
        _ => distinct_keys(&capture)?,
    };
    let mut summary = summary(&capture, distinct)?;
    if matches!(cli.format, Format::Text | Format::Markdown) {
        summary.course = Some(course(&capture)?);
    }
    let operations = summary.operations;
    let mut section = top(&capture, cli.by, operations, groups.top);
    if let (true, Some(key)) = (section.table.rows.is_empty(), &cli.filter.key_is) {
        let sampling = summary.heading.sampling.as_ref();
        section.notes.push(match sampling.is_some_and(|sampling| sampling.lacks(key)) {
            true => format!("{key} is not in the sample, so that it was not recorded"),
            false => format!("no operation on key {key}"),
        });
    }
    let mut sections = vec![section];
    if cli.latency {
        sections.extend(latency(&capture)?);
    }
    let mut answer = Answer::of(capture, sections, cli.format);
    answer.summary = Some(summary);
    Ok(answer)
}

fn distinct_keys(capture: &Capture) -> Result<i64> {
    let by = &crate::by::By::KEY;
    let none = keys::Question { top: 0, sort: SortBy::Calls, reverse: false, by };
    Ok(keys(capture, &none)?.distinct)
}

/// Writes a report, and says what must be known of the capture.
///
/// # Errors
///
/// When the captures cannot be read, or the page not be written.
pub(crate) fn report(args: &ReportArgs) -> Result<Heading> {
    let mut capture = open(&args.files, &args.filter)?;
    // It has a bar of its own, over all questions.
    capture.shows_progress = false;
    let (html, heading) = crate::report::report(&capture)?;
    let destination = Destination { path: args.output.clone(), force: args.force };
    crate::report::write(&html, &destination)?;
    Ok(heading)
}

fn compare(args: &DiffArgs) -> Result<Answer> {
    let before = open(std::slice::from_ref(&args.before), &args.filter)?;
    let after = open(std::slice::from_ref(&args.after), &args.filter)?;
    let [by_before, by_after] = grouping::by_alike([&before, &after], args.by)?;
    let sides = ((&before, &by_before), (&after, &by_after));
    let sections = diff(args.by, sides.0, sides.1, usize_of(args.top))?;
    let headings = vec![heading(&before), heading(&after)];
    let repeated = [before.repeated, after.repeated].concat();
    Ok(Answer { repeated, headings, summary: None, sections, format: args.format })
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Answers a question.
///
/// # Errors
///
/// When captures cannot be read.
pub(crate) fn answer(question: &Question) -> Result<Answer> {
    let one = |asked: &Asked, answer: &dyn Fn(&Capture) -> Result<Vec<Section>>| {
        let capture = open(&asked.files, &asked.filter)?;
        let sections = answer(&capture)?;
        Ok(Answer::of(capture, sections, asked.format))
    };
    match question {
        Question::Sql(args) => {
            let (query, files) =
                args.words.split_last().map_or(("", &[][..]), |(q, f)| (q.as_str(), f));
            let files: Vec<PathBuf> = files.iter().map(|file| Path::new(file).to_owned()).collect();
            let capture = open(&files, &FilterArgs::default())?;
            let section = sql::sql(&capture, query)?;
            Ok(Answer::of(capture, vec![section], args.format))
        }
        Question::Latency(args) => one(&args.asked, &|capture| match args.by {
            Dimension::Op => Ok(latency(capture)?.into()),
            dimension => {
                let by = grouping::by(capture, dimension)?;
                Ok(latency_by(capture, dimension, &by, usize_of(args.top))?.into())
            }
        }),
        Question::Series(args) => one(&args.asked, &|capture| {
            let step = series::step(capture, args.every, SERIES_LINES);
            Ok(vec![series::series(capture, step, args.keys)?])
        }),
        Question::Bursts(asked) => one(asked, &|capture| Ok(vec![bursts(capture)?])),
        Question::Popularity(asked) => one(asked, &|capture| Ok(popularity(capture)?.into())),
        Question::Memory(asked) => one(asked, &|capture| Ok(memory(capture)?.into())),
        Question::Misses(args) => {
            one(&args.asked, &|capture| Ok(misses(capture, usize_of(args.top))?.into()))
        }
        Question::Prefixes(args) => one(&args.top.asked, &|capture| {
            Ok(vec![prefixes(capture, usize_of(args.top.top), args.depth.into())?])
        }),
        Question::Sizes(asked) => one(asked, &|capture| Ok(sizes(capture)?.into())),
        Question::Slow(args) => {
            let (top, around) = (usize_of(args.top.top), usize_of(args.around));
            one(&args.top.asked, &|capture| slow(capture, top, around))
        }
        Question::Clients(args) => one(&args.asked, &|capture| {
            Ok(vec![clients(capture, operations(capture)?, usize_of(args.top))?])
        }),
        Question::Diff(args) => compare(args),
    }
}
