//! A run: one thread reads ahead, others send.
//!
//! ```text
//! trace ▶ schedule ▶ bounded channels, one for each worker ▶ workers ▶ tallies
//! ```

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::write,
};

use crate::{
    connection::Desk,
    request::Group,
    schedule::{Clock, Pace, Schedule},
    tally::{Live, Tally, Unsent},
    target::Target,
    trace::{Assembly, Trace, filter::Filter},
    uniques::Uniques,
    value::Values,
    warm::Warm,
    worker::{Ending, Inbox, Worker},
};

/// Operations that go through a channel together.
const BATCH: usize = 256;
/// Batches that wait in a channel.
const BATCHES: usize = 32;

/// How to play.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) filter: Filter,
    pub(crate) shape: crate::trace::Shape,
    pub(crate) pace: Pace,
    /// How often to play it; `None` for without end.
    pub(crate) passes: Option<u64>,
    /// Each operation is done on so many keys.
    pub(crate) copies: u32,
    pub(crate) compressibility: f64,
    /// How long the target may be silent.
    pub(crate) patience: Duration,
    pub(crate) threads: usize,
}

/// What a run did.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) tally: Tally,
    /// From the first request to the last reply, s.
    pub(crate) seconds: f64,
    /// The last that went wrong with a connection.
    pub(crate) last_error: Option<String>,
    /// The trace could not be read to its end.
    pub(crate) failed: Option<anyhow::Error>,
}

/// What was loaded before.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) played: Played,
    pub(crate) keys: u64,
    pub(crate) of_unknown_size: u64,
}

/// Plays `trace` as `plan` says. `watch` is called again and again while it does.
///
/// # Errors
///
/// When a thread cannot be started.
pub(crate) fn play(
    trace: &Trace,
    plan: &Plan,
    live: &Arc<Live>,
    ending: &Ending,
    watch: impl FnMut(),
) -> Result<Played> {
    let feed = |out: &mut Dispatch, clock: Clock, tally: &mut Tally| {
        let mut schedule = Schedule::new(plan.pace, clock);
        let mut assembly = Assembly::new(plan.shape);
        let mut pass = 0_u64;
        while plan.passes.is_none_or(|passes| pass < passes) {
            pass += 1;
            let mut any = false;
            trace.read(&plan.filter, &mut assembly, tally, &mut |mut group| {
                any = true;
                schedule.set(&mut group);
                Ok(out.send(group, plan.copies))
            })?;
            if !any || ending.is_near() {
                break;
            }
            schedule.next_pass();
        }
        Ok(schedule.began())
    };
    run(plan, plan.pace, live, ending, feed, watch)
}

/// Loads what the first operations on keys show to have been there.
///
/// # Errors
///
/// When a thread cannot be started.
pub(crate) fn warm(
    trace: &Trace,
    plan: &Plan,
    live: &Arc<Live>,
    ending: &Ending,
    watch: impl FnMut(),
) -> Result<Loaded> {
    /// Stores that are open on a connection.
    const DEPTH: u32 = 64;
    let mut warm = Warm::default();
    let feed = |out: &mut Dispatch, clock: Clock, _: &mut Tally| {
        let mut assembly = Assembly::new(plan.shape);
        // What cannot be sent is counted when it is played.
        let mut ignored = Tally::default();
        let began = clock.now();
        trace.read(&plan.filter, &mut assembly, &mut ignored, &mut |group| {
            Ok(warm.stores(&group).into_iter().all(|store| out.send(store, plan.copies))
                && !ending.is_near())
        })?;
        Ok(Some(began))
    };
    let played = run(plan, Pace::Max(DEPTH), live, ending, feed, watch)?;
    let copies = u64::from(plan.copies);
    let (keys, of_unknown_size) = (warm.keys * copies, warm.of_unknown_size * copies);
    Ok(Loaded { played, keys, of_unknown_size })
}

fn run(
    plan: &Plan,
    pace: Pace,
    live: &Arc<Live>,
    ending: &Ending,
    feed: impl FnOnce(&mut Dispatch, Clock, &mut Tally) -> Result<Option<u64>> + Send,
    mut watch: impl FnMut(),
) -> Result<Played> {
    let clock = Clock::start();
    let values = Arc::new(Values::new(plan.compressibility));
    let uniques = Arc::new(Uniques::default());
    let desk = || Desk {
        target: plan.target.clone(),
        tally: Tally::default(),
        live: Arc::clone(live),
        values: Arc::clone(&values),
        uniques: Arc::clone(&uniques),
        depth: pace.depth(),
        began_us: wall_us(),
        last_error: None,
    };
    let (mut dispatch, inboxes) = Dispatch::new(plan.threads)?;
    let workers =
        inboxes.into_iter().map(|inbox| Worker::new(clock, inbox, desk(), plan.patience, ending));
    let workers: Vec<Worker<'_>> = workers.collect::<Result<_>>()?;
    thread::scope(|scope| {
        let workers: Vec<_> =
            workers.into_iter().map(|worker| scope.spawn(move || worker.run())).collect();
        let reader = scope.spawn(move || {
            let mut tally = Tally::default();
            let began = feed(&mut dispatch, clock, &mut tally);
            tally.unsent(Unsent::Ended, dispatch.finish());
            (began, tally)
        });
        while !(reader.is_finished() && workers.iter().all(thread::ScopedJoinHandle::is_finished)) {
            watch();
            thread::sleep(Duration::from_millis(20));
        }
        let ended = clock.now();
        let panicked = |_| anyhow!("a thread has panicked");
        let (began, mut tally) = reader.join().map_err(panicked)?;
        let mut last_error = None;
        for worker in workers {
            let (done, error) = worker.join().map_err(panicked)??;
            tally.add(&done);
            last_error = error.or(last_error);
        }
        let (began, failed) = match began {
            Ok(began) => (began, None),
            Err(error) => (None, Some(error)),
        };
        let took = ended.saturating_sub(began.unwrap_or(ended));
        let seconds = Duration::from_nanos(took).as_secs_f64();
        Ok(Played { tally, seconds, last_error, failed })
    })
}

/// Wall clock, µs since the epoch.
fn wall_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok().and_then(|now| i64::try_from(now.as_micros()).ok()).unwrap_or(0)
}

/// Hands groups to the workers, each connection always to the same.
pub(crate) struct Dispatch {
    workers: Vec<Way>,
}

/// The way to one worker.
struct Way {
    sender: Option<SyncSender<Vec<Group>>>,
    ready: Arc<OwnedFd>,
    batch: Vec<Group>,
    operations: usize,
}

impl Dispatch {
    fn new(workers: usize) -> Result<(Self, Vec<Inbox>)> {
        let mut inboxes = Vec::new();
        let mut ways = Vec::new();
        for _ in 0..workers {
            let (sender, groups): (_, Receiver<Vec<Group>>) = sync_channel(BATCHES);
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            let ready = Arc::new(eventfd(0, flags).context("cannot create an eventfd")?);
            inboxes.push(Inbox { groups, ready: Arc::clone(&ready) });
            ways.push(Way { sender: Some(sender), ready, batch: Vec::new(), operations: 0 });
        }
        Ok((Self { workers: ways }, inboxes))
    }

    /// Sends `group`, and as many others like it on other keys as make `copies`. Returns
    /// whether anybody still takes them.
    fn send(&mut self, group: Group, copies: u32) -> bool {
        let conn = group.conn.saturating_mul(u64::from(copies));
        let others = (1..copies).map(|copy| {
            let conn = conn.saturating_add(u64::from(copy));
            group.copy_with_other_keys(conn, copy)
        });
        let others: Vec<Group> = others.collect();
        let taken = self.send_one(Group { conn, ..group });
        others.into_iter().all(|other| self.send_one(other)) && taken
    }

    fn send_one(&mut self, group: Group) -> bool {
        let workers = self.workers.len() as u64;
        let to = usize::try_from(group.conn % workers).unwrap_or(0);
        if !self.workers[to].add(group) || self.workers[to].try_flush() {
            return true;
        }
        // Before it waits, others get what is theirs, which may be due earlier.
        for other in &mut self.workers {
            other.try_flush();
        }
        self.workers[to].flush()
    }

    /// Sends what is left. Returns the number of operations that nobody took.
    fn finish(mut self) -> u64 {
        let mut left = 0;
        for way in &mut self.workers {
            if !way.flush() {
                left += way.batch.iter().map(Group::operations).sum::<u64>();
            }
            way.sender = None;
            way.wake();
        }
        left
    }
}

impl Way {
    /// Adds a group. Returns whether there are enough to be sent.
    fn add(&mut self, group: Group) -> bool {
        self.operations += group.keys.len().max(1);
        self.batch.push(group);
        self.operations >= BATCH
    }

    /// Sends what there is, if that need not wait. Returns whether it is sent.
    fn try_flush(&mut self) -> bool {
        let Some(sender) = self.sender.as_ref().filter(|_| !self.batch.is_empty()) else {
            return self.batch.is_empty();
        };
        match sender.try_send(std::mem::take(&mut self.batch)) {
            Ok(()) => self.sent(),
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                self.batch = batch;
                false
            }
        }
    }

    /// Sends what there is. Returns whether anybody took it.
    fn flush(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let Some(sender) = &self.sender else { return false };
        match sender.send(std::mem::take(&mut self.batch)) {
            Ok(()) => self.sent(),
            Err(refused) => {
                self.batch = refused.0;
                false
            }
        }
    }

    fn sent(&mut self) -> bool {
        self.operations = 0;
        self.wake();
        true
    }

    fn wake(&self) {
        // When its count is full, it is awake.
        let _ = write(&*self.ready, &1_u64.to_ne_bytes());
    }
}
