//! A trace as a capture.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use mcrec_schema::{
    FORMAT_MINOR_VERSION,
    codes::Op,
    footer::{
        ANONYMISED_IN_TRACE, Blind, Capture, Cost, Footer, Loss, Privacy, Sampling, Source, Target,
    },
};

use super::{
    batch,
    cache_trace::{self, Line, NAME, OPS},
};
use crate::files::{Destination, Made, output::Output};

/// A line has no more bytes: keys have up to 250, four times that when all are escaped.
const LINE_MAX: u64 = 1 << 14;
/// After so many lines none of which is one of a trace, the rest will be none either.
const HOPELESS: u64 = 1000;
/// Lines that are named when they were skipped.
const NAMED: usize = 5;
/// What compressed traces begin with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    pub(crate) made: Made,
    pub(crate) skipped: Skipped,
}

/// Lines that are none of a trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skipped {
    pub(crate) lines: u64,
    /// The first of them: their numbers, and what is wrong with them.
    pub(crate) first: Vec<(u64, String)>,
}

/// Writes the cache-trace at `path`, or on stdin for `-`, as a capture.
///
/// # Errors
///
/// When it is none, cannot be read, or the capture not be written.
pub(crate) fn import(path: &Path, destination: &Destination) -> Result<Imported> {
    let mut trace = Trace { input: open(path)?, line: Vec::new(), number: 0 };
    let mut footer = described()?;
    let mut output = Output::create(destination, &footer)?;
    let (mut skipped, mut order) = (Skipped::default(), Order::default());
    let mut lines = Vec::with_capacity(batch::ROWS);
    let mut write = |lines: &mut Vec<Line>| -> Result<()> {
        let first = i64::try_from(output.rows())? + 1;
        output.write(&batch::rows(lines, first)?)?;
        lines.clear();
        Ok(())
    };
    let cannot_read = || format!("cannot read {}", shown(path));
    while let Some(line) = trace.next().with_context(cannot_read)? {
        match line.and_then(|line| order.in_order(line)) {
            Ok(line) => lines.push(line),
            Err(wrong) => skipped.add(trace.number, wrong),
        }
        if order.times.is_none() && skipped.lines == HOPELESS {
            break;
        }
        if lines.len() == batch::ROWS {
            write(&mut lines)?;
        }
    }
    let Some((first, last)) = order.times else {
        match skipped.first.first() {
            None => bail!("{} is no {NAME}: there is nothing in it", shown(path)),
            Some((number, wrong)) => bail!("{} is no {NAME}: line {number}: {wrong}", shown(path)),
        }
    };
    write(&mut lines)?;
    // The last second is one, too.
    within(&mut footer.capture, first, last + 1);
    footer.source.cannot_see.extend(skipped.describe());
    let written = output.rows();
    let bytes = output.finish(footer)?;
    let read = written + skipped.lines;
    Ok(Imported { made: Made { read, written, bytes, late: 0, incomplete: false }, skipped })
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}

/// Opens a trace, compressed or not.
fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
    };
    let mut head = Vec::with_capacity(ZSTD.len());
    let mut input = input.take(ZSTD.len() as u64);
    input.read_to_end(&mut head).with_context(|| format!("cannot read {}", shown(path)))?;
    let (is_zstd, is_gzip) = (head == ZSTD, head.starts_with(&GZIP));
    let whole = io::Cursor::new(head).chain(input.into_inner());
    let plain: Box<dyn Read> = if is_zstd {
        Box::new(zstd::Decoder::new(whole).context("cannot decompress")?)
    } else if is_gzip {
        // Of several members, as parallel compressors write them.
        Box::new(MultiGzDecoder::new(whole))
    } else {
        Box::new(whole)
    };
    Ok(Box::new(BufReader::with_capacity(1 << 17, plain)))
}

/// The lines of a trace.
struct Trace {
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    /// Of the last line, from 1.
    number: u64,
}

impl Trace {
    /// The next line that is not empty, or what is wrong with it; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Result<Line, String>>> {
        loop {
            self.line.clear();
            if (&mut self.input).take(LINE_MAX).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.len() as u64 == LINE_MAX && !self.line.ends_with(b"\n") {
                self.input.skip_until(b'\n')?;
                return Ok(Some(Err("it is too long".to_owned())));
            }
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Ok(Some(cache_trace::parse(line)));
            }
        }
    }
}

/// The order of time, which captures keep within a connection.
#[derive(Default)]
struct Order {
    /// The last second of each client.
    last: HashMap<i64, i64>,
    /// The first and the last second of all.
    times: Option<(i64, i64)>,
}

impl Order {
    fn in_order(&mut self, line: Line) -> Result<Line, String> {
        let last = self.last.entry(line.client).or_insert(line.seconds);
        if line.seconds < *last {
            return Err("it is of an earlier second than its client's line before it".to_owned());
        }
        *last = line.seconds;
        let (from, to) = self.times.unwrap_or((line.seconds, line.seconds));
        self.times = Some((from.min(line.seconds), to.max(line.seconds)));
        Ok(line)
    }
}

impl Skipped {
    fn add(&mut self, number: u64, wrong: String) {
        self.lines += 1;
        if self.first.len() < NAMED {
            self.first.push((number, wrong));
        }
    }

    /// What a capture cannot show for it.
    fn describe(&self) -> Option<Blind> {
        (self.lines > 0).then(|| Blind {
            what: format!("{} lines of the trace", self.lines),
            why: format!("they are none of a {NAME}"),
        })
    }
}

/// What a capture says that was made of a trace, but for when that was.
fn described() -> Result<Footer> {
    let command_line = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let blind = |what: &str, why: &str| Blind { what: what.to_owned(), why: why.to_owned() };
    Ok(Footer {
        minor: FORMAT_MINOR_VERSION,
        capture: Capture {
            id: mcrec_capture::uuid()?,
            mcrec_version: env!("CARGO_PKG_VERSION").to_owned(),
            command_line: command_line.collect(),
            host: "unknown".to_owned(),
            kernel: "unknown".to_owned(),
            start_us: 0,
            end_us: 0,
            start_monotonic_ns: 0,
            end_monotonic_ns: 0,
            clock_offset_ns: 0,
            ended: Some("the trace ends".to_owned()),
            commit_interval_s: 0.0,
            recovered: None,
        },
        target: Target {
            pid: 0,
            executable: "unknown".to_owned(),
            build_id: None,
            version: None,
            command_line: Vec::new(),
            listening: Vec::new(),
            worker_threads: 0,
        },
        source: Source {
            name: NAME.to_owned(),
            attached: Vec::new(),
            latency: "not in the trace".to_owned(),
            sees: OPS.map(|op| Op::as_str(op).to_owned()).to_vec(),
            cannot_see: vec![
                blind("hits and misses, and whether stores stored", "the trace does not say"),
                blind("other commands", "the trace does not have them"),
                blind("times within a second", "the trace has whole seconds"),
            ],
            columns_unknown: batch::UNKNOWN.map(str::to_owned).to_vec(),
            requests_without_operation: 0,
            connections_encrypted: 0,
        },
        loss: Loss::default(),
        sampling: Sampling::default(),
        cost: Cost::default(),
        privacy: Privacy { keys_hashed: Some(ANONYMISED_IN_TRACE.to_owned()) },
        server: None,
        derived: Vec::new(),
    })
}

/// From one second to before another.
fn within(capture: &mut Capture, from: i64, to: i64) {
    (capture.start_us, capture.end_us) = (from * 1_000_000, to * 1_000_000);
    let ns = |us: i64| us.unsigned_abs().saturating_mul(1000);
    capture.start_monotonic_ns = ns(capture.start_us);
    capture.end_monotonic_ns = ns(capture.end_us);
}
