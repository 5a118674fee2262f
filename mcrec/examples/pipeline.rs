//! What decode, batch and the Parquet encoder do by themselves: on one core, without a
//! kernel in the way.
//!
//! ```text
//! cargo run --release --example pipeline -- PID [SECONDS [SOURCE [FILE]]]
//! cargo run --release --example pipeline -- FILE [STAGE]
//! ```
//!
//! attaches to the memcached of that number, which should be under load, through SOURCE (as
//! mcrec's --source), keeps what comes from the ring in memory for so long, and then puts all
//! of it through each stage with those before it, three times each. Prints the source, and
//! operations a second of CPU time of the one thread that does it, the best of the three, and
//! so what each stage adds. The records may be kept in a file too, to go through the stages of
//! another build, or through one stage (1 to 3) once, which is the thing to profile.

#![allow(dead_code, reason = "of the recorder only the pipeline is used")]

#[path = "../src/account.rs"]
mod account;
#[path = "../src/batch/mod.rs"]
mod batch;
#[path = "../src/cli.rs"]
mod cli;
#[path = "../src/counters.rs"]
mod counters;
#[path = "../src/decode/mod.rs"]
mod decode;
#[path = "../src/drain/mod.rs"]
mod drain;
#[path = "../src/guard.rs"]
mod guard;
#[path = "../src/host/mod.rs"]
mod host;
#[path = "../src/kernel.rs"]
mod kernel;
#[path = "../src/loss.rs"]
mod loss;
#[path = "../src/plan.rs"]
mod plan;
#[path = "../src/privilege.rs"]
mod privilege;
#[path = "../src/probe/mod.rs"]
mod probe;
#[path = "../src/raw.rs"]
mod raw;
#[path = "../src/recording.rs"]
mod recording;
#[path = "../src/report.rs"]
mod report;
#[path = "../src/sample.rs"]
mod sample;
#[path = "../src/sink/mod.rs"]
mod sink;
#[path = "../src/stop.rs"]
mod stop;
#[path = "../src/target/mod.rs"]
mod target;
#[path = "../src/writer.rs"]
mod writer;

use std::{
    cell::RefCell,
    io::{Write, stdout},
    mem::MaybeUninit,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};
use arrow_array::RecordBatch;
use clap::ValueEnum;
use mcrec_capture::{Encoder, ROW_GROUP_ROWS};
use mcrec_protocol::Dialect;
use mcrec_schema::columns;
use rustix::time::{ClockId, clock_gettime};

use batch::Batch;
use cli::SourceChoice;
use decode::{Decoder, Operation, SyscallsDecoder, UsdtDecoder};
use drain::Control;
use kernel::Kernel;
use plan::{Kind, Plan};
use probe::Probes;
use raw::RawBatch;
use target::Target;
use writer::AHEAD;

const USAGE: &str = "usage: pipeline PID [SECONDS [SOURCE [FILE]]] | FILE [STAGE]";
const RING_BYTES: u32 = 256 << 20;
const BATCH_ROWS: usize = 8192;
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let Some(first) = words.next() else {
        return Ok(writeln!(stdout(), "{USAGE}")?);
    };
    let second = words.next();
    let Ok(pid) = first.parse() else {
        let kept = kept::read(&first)?;
        return match second {
            Some(stage) => once(&kept, stage.parse()?),
            None => measure(&kept),
        };
    };
    let seconds = second.map_or(Ok(5), |text| text.parse())?;
    let source = words.next().map_or(Ok(SourceChoice::Auto), |word| {
        SourceChoice::from_str(&word, false).map_err(Error::msg)
    })?;
    let target = Target::of(pid)?;
    let kernel = probe::find_features(&host::Host::here());
    let plan = Plan::new(source, &target, &kernel)?;
    let batches = gather((&target, &kernel), &plan, Duration::from_secs(seconds))?;
    let kept = Kept { kind: plan.kind, dialect: plan.dialect, batches };
    if let Some(path) = words.next() {
        kept::write(&path, &kept)?;
    }
    measure(&kept)
}

/// What came from the ring, and what is to be known to decode it.
struct Kept {
    kind: Kind,
    dialect: Dialect,
    batches: Vec<RawBatch>,
}

/// What a source is called.
fn source_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Usdt => "usdt",
        Kind::Syscalls => "syscalls",
    }
}

const STAGES: [(&str, Stage); 3] = [
    ("decode", |kept| decoded(kept, |_| (), || Ok(()))),
    ("decode, batch", |kept| batched(kept, |_| Ok(()))),
    ("decode, batch, encode", encoded),
];

fn once(kept: &Kept, stage: usize) -> Result<()> {
    let (name, stage) = STAGES.get(stage.wrapping_sub(1)).context("there are stages 1 to 3")?;
    Ok(writeln!(stdout(), "{name}: {} operations", stage(kept)?)?)
}

fn measure(kept: &Kept) -> Result<()> {
    let source = source_name(kept.kind);
    writeln!(stdout(), "{source:24}{:>12}{:>12}{:>10}", "operations", "a second", "ns each")?;
    for (name, stage) in STAGES {
        let mut best = f64::MAX;
        let mut operations = 0;
        for _ in 0..ROUNDS {
            let before = thread_cpu();
            operations = stage(kept)?;
            best = best.min(thread_cpu() - before);
        }
        ensure!(operations > 0, "nothing came from the ring: is there a load?");
        #[expect(clippy::cast_precision_loss, reason = "of a count")]
        let each = best / operations as f64;
        writeln!(stdout(), "{name:24}{operations:>12}{:>12.0}{:>10.0}", 1.0 / each, each * 1e9)?;
    }
    Ok(())
}

/// Puts all records through some of the pipeline, and returns how many rows there were.
type Stage = fn(&Kept) -> Result<u64>;

/// What comes from the ring in so much time.
fn gather(
    (target, kernel): (&Target, &Kernel),
    plan: &Plan,
    time: Duration,
) -> Result<Vec<RawBatch>> {
    let mut storage = MaybeUninit::uninit();
    let mut probes = Probes::attach(&mut storage, plan, target, kernel, RING_BYTES)?;
    let ring = probes.ring()?;
    let control = Arc::new(Control::default());
    let (filled, batches) = raw::way();
    let drain = thread::spawn({
        let control = Arc::clone(&control);
        move || drain::run(&ring, &filled, &control)
    });
    probes.start();
    let end = Instant::now() + time;
    let mut kept = Vec::new();
    while Instant::now() < end {
        let Ok(batch) = batches.next(Duration::from_millis(100)) else { continue };
        let mut copy = RawBatch::new();
        batch.records().for_each(|record| copy.push(record));
        kept.push(copy);
        batches.done(batch);
    }
    probes.pause();
    control.end_now.store(true, std::sync::atomic::Ordering::Release);
    drop(batches);
    drain.join().ok().context("the drain panicked")??;
    probes.detach();
    Ok(kept)
}

/// Decodes all records; `row` sees each operation, and `after` comes after each record.
fn decoded(
    kept: &Kept,
    mut row: impl FnMut(&Operation<'_>),
    mut after: impl FnMut() -> Result<()>,
) -> Result<u64> {
    let mut decoder = match kept.kind {
        Kind::Usdt => Decoder::Usdt(UsdtDecoder::default()),
        Kind::Syscalls => Decoder::Syscalls(Box::new(SyscallsDecoder::new(kept.dialect))),
    };
    let mut rows = 0;
    for (record, later) in kept.batches.iter().flat_map(|batch| batch.records_and_later(AHEAD)) {
        if let Some(later) = later {
            decoder.expect(later);
        }
        // What a recording would count as a loss is none here.
        let _ = decoder.decode(record, &mut |operation| {
            rows += 1;
            row(operation);
        });
        after()?;
    }
    Ok(rows)
}

/// Makes batches of them, which `full` gets.
fn batched(kept: &Kept, mut full: impl FnMut(RecordBatch) -> Result<()>) -> Result<u64> {
    let batch = RefCell::new(Batch::new(0, None));
    let push = |operation: &Operation<'_>| batch.borrow_mut().push(operation);
    let rows = decoded(kept, push, || {
        let mut batch = batch.borrow_mut();
        if batch.rows() >= BATCH_ROWS { full(batch.take()?) } else { Ok(()) }
    })?;
    full(batch.borrow_mut().take()?)?;
    Ok(rows)
}

fn encoded(kept: &Kept) -> Result<u64> {
    let mut encoder = Encoder::new(columns::schema().into());
    let rows = batched(kept, |rows| {
        encoder.write(&rows)?;
        if encoder.rows() >= ROW_GROUP_ROWS {
            encoder.finish()?;
        }
        Ok(())
    })?;
    encoder.finish()?;
    Ok(rows)
}

/// Records in a file: a line that says how to decode them, and each after its length.
mod kept {
    use std::{
        fs::File,
        io::{BufRead, BufReader, BufWriter, Read, Write},
    };

    use anyhow::{Context, Result, bail};
    use mcrec_protocol::Dialect;

    use super::{Kept, Kind, RawBatch, source_name};

    pub(super) fn write(path: &str, kept: &Kept) -> Result<()> {
        let mut file = BufWriter::new(File::create(path).context(path.to_owned())?);
        let [major, minor, patch] = kept.dialect.release.unwrap_or_default();
        writeln!(file, "{} {major}.{minor}.{patch}", source_name(kept.kind))?;
        for record in kept.batches.iter().flat_map(RawBatch::records) {
            file.write_all(&u32::try_from(record.len())?.to_le_bytes())?;
            file.write_all(record)?;
        }
        Ok(file.flush()?)
    }

    pub(super) fn read(path: &str) -> Result<Kept> {
        let mut file = BufReader::new(File::open(path).context(path.to_owned())?);
        let mut line = String::new();
        file.read_line(&mut line)?;
        let (kind, release) = match line.trim_end().split_once(' ') {
            Some(("usdt", release)) => (Kind::Usdt, release),
            Some(("syscalls", release)) => (Kind::Syscalls, release),
            _ => bail!("{path} was not written by this program"),
        };
        let numbers: Vec<u32> = release.split('.').map(str::parse).collect::<Result<_, _>>()?;
        let release = numbers.try_into().ok().filter(|release| *release != [0; 3]);
        let mut batches = vec![RawBatch::new()];
        let mut length = [0; 4];
        let mut record = Vec::new();
        while !file.fill_buf()?.is_empty() {
            file.read_exact(&mut length)?;
            record.resize(u32::from_le_bytes(length).try_into()?, 0);
            file.read_exact(&mut record)?;
            if batches.last().is_none_or(RawBatch::is_full) {
                batches.push(RawBatch::new());
            }
            if let Some(batch) = batches.last_mut() {
                batch.push(&record);
            }
        }
        let dialect = Dialect { release, ..Dialect::default() };
        Ok(Kept { kind, dialect, batches })
    }
}

/// Seconds that this thread has run.
fn thread_cpu() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "of some seconds")]
    let (seconds, nanoseconds) = (spent.tv_sec as f64, spent.tv_nsec as f64);
    seconds + nanoseconds / 1e9
}
