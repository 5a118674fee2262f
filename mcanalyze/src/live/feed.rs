//! Reads captures in a thread of its own, again when they have grown, and hands on
//! what is in them: as fast as it goes, or at their own pace.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use mcrec_schema::footer::Footer;

use super::{
    about::About,
    batch::Batch,
    lanes::{Done, Lanes},
    pace::Pace,
};
use crate::{ask, capture::Capture, cli::filter::FilterArgs, panics};

/// How often is looked whether a capture has grown.
const LOOK: Duration = Duration::from_millis(500);
/// How often is said where the clock stands.
const TICK: Duration = Duration::from_millis(50);
/// Batches that wait to be taken in.
const WAITING: usize = 8;

/// What to read.
#[derive(Clone, Debug)]
pub(super) struct What {
    pub(super) files: Vec<PathBuf>,
    pub(super) filter: FilterArgs,
    /// How fast to play it back, if at all.
    pub(super) speed: Option<f64>,
}

/// What the feed is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// Begin again: play it back, or read all of it as fast as it goes. What is said
    /// from now on has this number.
    Begin { playing: bool, number: u32 },
    /// Stop the clock, or let it go on.
    Pause,
    /// Twice as fast, or half.
    Faster(bool),
}

/// What the feed says.
#[derive(Debug)]
pub(super) enum News {
    /// What is there, as it is now.
    About(Box<About>),
    /// Some operations.
    Batch(Batch),
    /// How it goes.
    Progress(Progress),
    /// What is wrong; it goes on, if it can.
    Trouble(String),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Progress {
    /// It reads what is there.
    Reading,
    /// All that is there was read.
    UpToDate,
    /// It plays: where the clock stands, µs since the epoch, and how fast it goes.
    Playing { at: i64, speed: f64, paused: bool, ended: bool },
}

/// The ends of a feed that others hold.
pub(super) struct Feed {
    pub(super) orders: Sender<Order>,
    /// With the number of the beginning that each is of.
    pub(super) news: Receiver<(u32, News)>,
}

/// Opens captures and starts to read them. Ends when nobody listens any more.
///
/// # Errors
///
/// When they cannot be opened.
pub(super) fn start(what: What) -> Result<Feed> {
    // Before they are opened: what is written meanwhile is seen later.
    let stamp = stamp(&what.files);
    let capture = ask::open(&what.files, &what.filter)?;
    let (orders, taken) = channel();
    let (said, news) = sync_channel(WAITING);
    let pace = what.speed.map(|speed| Pace::new(start_of(&capture), speed, Instant::now()));
    let speed = what.speed.unwrap_or(1.0);
    let mut thread = Thread { what, orders: taken, said, number: 0, pace, speed };
    thread::Builder::new().name("feed".to_owned()).spawn(move || {
        if let Err(place) = panics::caught(|| thread.run(capture, stamp)) {
            let _ = thread.said.send((thread.number, News::Trouble(panics::bug(&place))));
        }
    })?;
    Ok(Feed { orders, news })
}

/// Why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It is to begin again.
    Again,
    /// Nobody listens.
    Over,
}

struct Thread {
    what: What,
    orders: Receiver<Order>,
    said: SyncSender<(u32, News)>,
    number: u32,
    /// The clock, while it plays.
    pace: Option<Pace>,
    /// How fast it played last.
    speed: f64,
}

impl Thread {
    fn run(&mut self, mut capture: Capture, mut stamp: Stamp) {
        let (mut done, mut gone) = (Done::default(), Vec::new());
        loop {
            let read = self.read(&capture, &gone, &mut done).and_then(|()| {
                let (newer, of) = self.wait(&capture, &stamp)?;
                gone.extend(done.gone(&capture, &newer));
                (capture, stamp) = (newer, of);
                Ok(())
            });
            match read {
                Ok(()) => {}
                Err(Stop::Over) => return,
                Err(Stop::Again) => {
                    done = Done::default();
                    gone.clear();
                    if let Some(pace) = &mut self.pace {
                        *pace = Pace::new(start_of(&capture), pace.speed, Instant::now());
                    }
                }
            }
        }
    }

    /// Reads all that is not done.
    fn read(&mut self, capture: &Capture, gone: &[Footer], done: &mut Done) -> Result<(), Stop> {
        let about = About::of(capture, gone);
        let end = about.end;
        self.say(News::About(Box::new(about)))?;
        if self.pace.is_none() {
            self.say(News::Progress(Progress::Reading))?;
        }
        let mut lanes = Lanes::of(capture, done);
        loop {
            match lanes.next(done) {
                Ok(None) => break,
                Ok(Some(batch)) if self.pace.is_some() => self.play(&batch, end)?,
                Ok(Some(batch)) => {
                    self.obey(Duration::ZERO)?;
                    self.say(News::Batch(batch))?;
                }
                Err(error) => self.say(News::Trouble(format!("{error:#}")))?,
            }
        }
        if self.pace.is_none() {
            self.say(News::Progress(Progress::UpToDate))?;
        }
        Ok(())
    }

    /// Hands on the operations of a batch, each when it is due.
    fn play(&mut self, batch: &Batch, end: i64) -> Result<(), Stop> {
        let mut first = 0;
        while let Some(next) = batch.operations.get(first) {
            let Some(pace) = &mut self.pace else { break };
            let now = pace.advance(Instant::now(), end.max(next.ts));
            let left = &batch.operations[first..];
            let due = left.iter().position(|operation| operation.ts > now).unwrap_or(left.len());
            if due > 0 {
                self.say(News::Batch(batch.part(first..first + due)))?;
                first += due;
            } else {
                let until = pace.until(next.ts).unwrap_or(TICK).min(TICK);
                self.tell(false)?;
                self.obey(until.max(Duration::from_millis(1)))?;
            }
        }
        Ok(())
    }

    /// Waits until the capture is another than it was, and opens it.
    fn wait(&mut self, capture: &Capture, of: &Stamp) -> Result<(Capture, Stamp), Stop> {
        let end = About::of(capture, &[]).end;
        let mut looked = Instant::now();
        loop {
            if let Some(pace) = &mut self.pace {
                let ended = pace.advance(Instant::now(), end) >= end;
                self.tell(ended)?;
                self.obey(if ended { LOOK } else { TICK })?;
            } else {
                self.obey(LOOK)?;
            }
            if looked.elapsed() < LOOK {
                continue;
            }
            looked = Instant::now();
            let stamp = stamp(&self.what.files);
            if stamp != *of {
                match ask::open(&self.what.files, &self.what.filter) {
                    Ok(newer) => return Ok((newer, stamp)),
                    Err(error) => self.say(News::Trouble(format!("{error:#}")))?,
                }
            }
        }
    }

    /// Does what it is told, within some time.
    fn obey(&mut self, within: Duration) -> Result<(), Stop> {
        match self.orders.recv_timeout(within) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Stop::Over),
            Ok(Order::Begin { playing, number }) => {
                self.number = number;
                self.pace = playing.then(|| Pace::new(0, self.speed, Instant::now()));
                Err(Stop::Again)
            }
            Ok(order) => {
                if let Some(pace) = &mut self.pace {
                    match order {
                        Order::Faster(faster) => pace.change(faster),
                        _ => pace.paused = !pace.paused,
                    }
                    self.speed = pace.speed;
                }
                self.tell(false)
            }
        }
    }

    /// Says where the clock stands.
    fn tell(&self, ended: bool) -> Result<(), Stop> {
        let Some(pace) = self.pace else { return Ok(()) };
        let Pace { speed, paused, .. } = pace;
        self.say(News::Progress(Progress::Playing { at: pace.at(), speed, paused, ended }))
    }

    fn say(&self, news: News) -> Result<(), Stop> {
        self.said.send((self.number, news)).map_err(|_| Stop::Over)
    }
}

/// By what it can be seen that files have changed.
type Stamp = Vec<(PathBuf, u64, i64, i64)>;

fn stamp(paths: &[PathBuf]) -> Stamp {
    let files = mcrec_capture::files(paths).unwrap_or_default().into_iter();
    let stamps = files.filter_map(|path| {
        let data = fs::metadata(&path).ok()?;
        Some((path, data.len(), data.mtime(), data.mtime_nsec()))
    });
    stamps.collect()
}

fn start_of(capture: &Capture) -> i64 {
    capture.extent().map_or(0, |(start, _)| start)
}
