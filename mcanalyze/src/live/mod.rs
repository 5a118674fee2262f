//! `mcanalyze top`: looks at a capture while it grows, or is played back.
//!
//! ```text
//! feed (a thread: lanes ▶ batch, pace) ▶ data ▶ model ▶ view ▶ terminal
//!                                          keys ▶ model
//! ```

mod about;
mod batch;
mod data;
mod feed;
mod figures;
mod keys;
mod lanes;
mod model;
mod pace;
mod series;
mod view;

use std::{
    io::{self, IsTerminal, Stdout, stdout},
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::live::TopArgs;
use feed::{Feed, What};
use model::{Effect, Model};

/// How long a key press waits at most, while nothing else happens.
const WAIT: Duration = Duration::from_millis(50);
/// How long operations are taken in before the screen is looked after.
const TAKE: Duration = Duration::from_millis(40);
/// How often the screen is drawn while there is something new.
const DRAW: Duration = Duration::from_millis(100);
/// Bringing lines into order takes no more than a part of the time.
const PART: u32 = 5;

/// Looks at captures until it is told to end: by a signal, if there is one.
///
/// # Errors
///
/// When there is no terminal, or captures cannot be opened.
pub(crate) fn top(args: &TopArgs) -> Result<Option<i32>> {
    if !stdout().is_terminal() {
        bail!("top needs a terminal; for a file or a pipe: mcanalyze FILE --top 20");
    }
    let what = What { files: args.files.clone(), filter: args.filter.clone(), speed: args.speed };
    let feed = feed::start(what)?;
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        let value = usize::try_from(number)?;
        signal_hook::flag::register_usize(number, Arc::clone(&signal), value)
            .context("cannot wait for signals")?;
    }
    let mut screen = Screen::enter().context("cannot use the terminal")?;
    end_with_the_terminal()?;
    let mut model = Model::new(args.speed.is_some());
    let ended = run(&mut screen.terminal, &feed, &mut model, &signal);
    drop(screen);
    ended.context("cannot use the terminal")?;
    let signal = i32::try_from(signal.load(Ordering::Relaxed))?;
    Ok((signal > 0).then_some(signal))
}

/// Ends all of it, as a hangup does, when the terminal is gone: whoever reads from it then
/// is told again and again that there is something, and never comes back.
fn end_with_the_terminal() -> io::Result<()> {
    let watch = || {
        let out = stdout();
        // What is asked for is told even so: that nobody is at the other end.
        let mut terminal = [PollFd::new(&out, PollFlags::empty())];
        while poll(&mut terminal, None).is_err() {}
        process::exit(128 + SIGHUP);
    };
    thread::Builder::new().name("hangup".to_owned()).spawn(watch).map(drop)
}

type Ratatui = Terminal<CrosstermBackend<Stdout>>;

/// Takes in what there is, does what is asked for and draws it, until the end.
fn run(
    terminal: &mut Ratatui,
    feed: &Feed,
    model: &mut Model,
    signal: &AtomicUsize,
) -> io::Result<()> {
    let (mut drawn, mut dirty) = (None::<Instant>, true);
    // When lines may be brought into order again.
    let mut refresh_at = Instant::now();
    let mut new = false;
    while signal.load(Ordering::Relaxed) == 0 {
        let begun = Instant::now();
        while begun.elapsed() < TAKE
            && let Ok((number, news)) = feed.news.try_recv()
        {
            model.take(number, news);
            new = true;
        }
        if new && Instant::now() >= refresh_at && drawn.is_none_or(|at| at.elapsed() >= DRAW) {
            let begun = Instant::now();
            model.refresh();
            refresh_at = Instant::now() + begun.elapsed() * PART;
            (dirty, new) = (true, false);
        }
        if dirty {
            let size = terminal.size()?;
            let (page, beyond) = view::page(size.width, size.height, model);
            model.fit(page, beyond);
            terminal.draw(|frame| view::draw(frame, model))?;
            (drawn, dirty) = (Some(Instant::now()), false);
        }
        let mut wait = if begun.elapsed() < TAKE { WAIT } else { Duration::ZERO };
        while event::poll(wait)? {
            (wait, dirty) = (Duration::ZERO, true);
            let Event::Key(key) = event::read()? else { continue };
            let Some(action) = keys::action(key, model.mode()) else { continue };
            match model.act(action) {
                Effect::Quit => return Ok(()),
                Effect::Tell(order) => {
                    let _ = feed.orders.send(order);
                }
                Effect::Nothing => {}
            }
        }
    }
    Ok(())
}

/// The terminal, as we use it; as it was, when this is dropped, in a panic too.
struct Screen {
    terminal: Ratatui,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        let entered = execute!(stdout(), EnterAlternateScreen);
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        let terminal = terminal.inspect_err(|_| restore())?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// If the terminal is gone, so is what was to be restored.
fn restore() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
