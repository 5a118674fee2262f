//! What is looked at and how: views, order, filter, cursor. Pure.

use std::sync::Arc;

use regex::Regex;

use super::{
    about::About,
    data::{Data, Groups, LIMITS},
    feed::{News, Order, Progress},
    figures::Figures,
    keys::{Action, Mode, Move},
};

/// What lines are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Calls,
    Size,
    Rate,
    Bytes,
    Misses,
    Latency,
}

impl Sort {
    /// What a letter sorts by.
    pub(super) fn by_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'c' => Self::Calls,
            's' => Self::Size,
            'r' => Self::Rate,
            'b' => Self::Bytes,
            'n' => Self::Misses,
            'l' => Self::Latency,
            _ => return None,
        })
    }

    fn figure(self, figures: &Figures) -> Option<i64> {
        match self {
            // Of all lines the same time is looked at.
            Self::Calls | Self::Rate => Some(figures.calls),
            Self::Size => figures.size.size(),
            Self::Bytes => Some(figures.bytes),
            Self::Misses => Some(figures.misses),
            Self::Latency => figures.latencies.percentile(99),
        }
    }
}

/// What is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Prefixes,
    Clients,
    Commands,
    OverTime,
}

impl View {
    /// Each, in the order in which Tab goes through them.
    pub(super) const ALL: [Self; 5] =
        [Self::Keys, Self::Prefixes, Self::Clients, Self::Commands, Self::OverTime];

    /// What it is called.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Prefixes => "prefixes",
            Self::Clients => "clients",
            Self::Commands => "commands",
            Self::OverTime => "over time",
        }
    }

    /// What one of its lines is.
    pub(super) fn one(self) -> &'static str {
        match self {
            Self::Keys | Self::OverTime => "key",
            Self::Prefixes => "prefix",
            Self::Clients => "client",
            Self::Commands => "command",
        }
    }

    fn after(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }
}

/// Which lines are seen: those in which the text is found, as it is or as a regular
/// expression.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) text: String,
    regex: Option<Regex>,
}

impl Filter {
    fn set(&mut self, text: String) {
        self.regex = Regex::new(&text).ok();
        self.text = text;
    }

    fn matches(&self, name: &str) -> bool {
        self.text.is_empty()
            || name.contains(&self.text)
            || self.regex.as_ref().is_some_and(|regex| regex.is_match(name))
    }
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effect {
    Nothing,
    Quit,
    /// The feed is to be told.
    Tell(Order),
}

/// All that the screen shows.
pub(super) struct Model {
    pub(super) about: About,
    pub(super) data: Data,
    pub(super) progress: Progress,
    /// What is wrong.
    pub(super) trouble: Option<String>,
    pub(super) view: View,
    pub(super) sort: Sort,
    pub(super) ascending: bool,
    pub(super) filter: Filter,
    pub(super) typing: bool,
    pub(super) help: bool,
    /// The name of the line that was opened.
    pub(super) opened: Option<Arc<str>>,
    /// How far text that is longer than the screen was moved.
    pub(super) scrolled: usize,
    /// Of the lines: where the cursor is, and the first that is seen.
    pub(super) cursor: usize,
    pub(super) first: usize,
    /// Lines that fit on the screen.
    page: usize,
    /// What the cursor stays on, unless it is at the top.
    selected: Option<Arc<str>>,
    /// Numbers of the groups that are seen, the first `sorted` of them in order.
    listing: Vec<u32>,
    sorted: usize,
    prefixes: Groups,
    /// Of the beginning that the feed was told last.
    number: u32,
    playing: bool,
}

impl Model {
    /// Of a feed that was just started.
    pub(super) fn new(playing: bool) -> Self {
        Self {
            about: About::default(),
            data: Data::from(0, LIMITS),
            progress: Progress::Reading,
            trouble: None,
            view: View::Keys,
            sort: Sort::Calls,
            ascending: false,
            filter: Filter::default(),
            typing: false,
            help: false,
            opened: None,
            scrolled: 0,
            cursor: 0,
            first: 0,
            page: 1,
            selected: None,
            listing: Vec::new(),
            sorted: 0,
            prefixes: Groups::default(),
            number: 0,
            playing,
        }
    }

    /// Takes in what the feed says.
    pub(super) fn take(&mut self, number: u32, news: News) {
        if number != self.number {
            return;
        }
        match news {
            News::About(about) => {
                if self.data.rows == 0 {
                    self.data = Data::from(about.start, LIMITS);
                }
                self.trouble = None;
                self.about = *about;
            }
            News::Batch(batch) => {
                let dropped = self.data.dropped;
                self.data.apply(&batch);
                // Keys have other numbers now.
                if self.data.dropped > dropped {
                    self.refresh();
                }
            }
            News::Progress(progress) => self.progress = progress,
            News::Trouble(trouble) => self.trouble = Some(trouble),
        }
    }

    /// What key presses mean now.
    pub(super) fn mode(&self) -> Mode {
        match self {
            Self { help: true, .. } => Mode::Help,
            Self { typing: true, .. } => Mode::Typing,
            Self { opened: Some(_), .. } => Mode::Opened,
            _ => Mode::Lines,
        }
    }

    /// For how long was looked at what is shown, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        match self.progress {
            Progress::Playing { at, .. } => {
                #[expect(clippy::cast_precision_loss, reason = "for display")]
                let played = at.saturating_sub(self.about.start).max(0) as f64 / 1e6;
                played.min(self.about.seconds)
            }
            _ => self.about.seconds,
        }
    }

    /// Does it.
    pub(super) fn act(&mut self, action: Action) -> Effect {
        match action {
            Action::Quit => return Effect::Quit,
            Action::Play => return self.begin(!self.playing),
            Action::Pause => return self.tell(Order::Pause),
            Action::Faster(faster) => return self.tell(Order::Faster(faster)),
            Action::Move(to) => self.go(to),
            Action::Help => (self.help, self.scrolled) = (true, 0),
            Action::Back => self.back(),
            Action::Open => {
                self.opened = self.line(self.cursor).map(|(name, _)| Arc::clone(name));
                self.scrolled = 0;
            }
            Action::Sort(sort) => {
                (self.sort, self.ascending) = (sort, false);
                self.look_anew();
            }
            Action::TurnOrder => {
                self.ascending = !self.ascending;
                self.look_anew();
            }
            Action::View { next } => {
                self.view = self.view.after(if next { 1 } else { View::ALL.len() - 1 });
                self.look_anew();
            }
            Action::Filter => self.typing = true,
            Action::Done => self.typing = false,
            Action::Type(c) => self.retype(|text| text.push(c)),
            Action::Rub => self.retype(|text| {
                text.pop();
            }),
            Action::RubAll => self.retype(String::clear),
        }
        Effect::Nothing
    }

    fn tell(&self, order: Order) -> Effect {
        if self.playing { Effect::Tell(order) } else { Effect::Nothing }
    }

    fn begin(&mut self, playing: bool) -> Effect {
        self.playing = playing;
        self.number += 1;
        self.data = Data::from(self.about.start, LIMITS);
        self.progress = Progress::Reading;
        self.look_anew();
        Effect::Tell(Order::Begin { playing, number: self.number })
    }

    fn back(&mut self) {
        if self.help {
            self.help = false;
        } else if self.opened.is_some() && !self.typing {
            self.opened = None;
        } else {
            self.typing = false;
            self.retype(String::clear);
        }
        self.scrolled = 0;
    }

    fn retype(&mut self, change: impl FnOnce(&mut String)) {
        let mut text = std::mem::take(&mut self.filter.text);
        change(&mut text);
        self.filter.set(text);
        self.look_anew();
    }

    fn go(&mut self, to: Move) {
        let half = isize::try_from(self.page.div_ceil(2)).unwrap_or(1);
        let lines = match to {
            Move::Lines(lines) => lines,
            Move::HalfPages(pages) => pages * half,
            Move::Top => isize::MIN,
            Move::Bottom => isize::MAX,
        };
        if self.help || self.opened.is_some() {
            self.scrolled = self.scrolled.saturating_add_signed(lines);
            return;
        }
        let last = self.listing.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(lines).min(last);
        if self.cursor + self.page > self.sorted && self.sorted < self.listing.len() {
            self.selected = None;
            self.refresh();
        }
        self.select();
        self.scroll();
    }

    /// At the top, whatever comes to stand there is looked at.
    fn select(&mut self) {
        let line = self.line(self.cursor).filter(|_| self.cursor > 0);
        self.selected = line.map(|(name, _)| Arc::clone(name));
    }

    /// From the top.
    fn look_anew(&mut self) {
        (self.cursor, self.first, self.selected) = (0, 0, None);
        self.refresh();
    }

    /// So that the cursor is seen.
    fn scroll(&mut self) {
        self.first = self.first.min(self.cursor).max((self.cursor + 1).saturating_sub(self.page));
    }

    /// So many lines of a table fit on the screen, and so many of longer text do not.
    pub(super) fn fit(&mut self, page: usize, beyond: usize) {
        self.scrolled = self.scrolled.min(beyond);
        if self.page != page.max(1) {
            self.page = page.max(1);
            if self.sorted < self.listing.len() {
                self.refresh();
            }
        }
        self.scroll();
    }

    fn groups(&self) -> Option<&Groups> {
        match self.view {
            View::Keys => Some(&self.data.keys),
            View::Prefixes => Some(&self.prefixes),
            View::Clients => Some(&self.data.clients),
            View::Commands => Some(&self.data.commands),
            View::OverTime => None,
        }
    }

    /// Brings the lines into order: as many of them as can be seen, with some more.
    pub(super) fn refresh(&mut self) {
        if self.view == View::Prefixes {
            self.prefixes = self.data.prefixes();
        }
        let Some(groups) = self.groups() else {
            (self.listing, self.sorted) = (Vec::new(), 0);
            return;
        };
        let place = |number: u32| {
            let figure = self.sort.figure(&groups.at(number).1);
            let figure = figure.map(|figure| if self.ascending { figure } else { !figure });
            (figure.is_none(), figure.unwrap_or(0))
        };
        let mut lines: Vec<((bool, i64), u32)> = groups
            .iter()
            .zip(0..)
            .filter(|((name, _), _)| self.filter.matches(name))
            .map(|(_, number)| (place(number), number))
            .collect();
        let name = |number: u32| &*groups.at(number).0;
        let compare = |one: &((bool, i64), u32), other: &((bool, i64), u32)| {
            one.0.cmp(&other.0).then_with(|| name(one.1).cmp(name(other.1)))
        };
        let mut cursor = self.cursor.min(lines.len().saturating_sub(1));
        let selected = self.selected.as_ref().and_then(|name| groups.number(name));
        if let Some(number) = selected.filter(|number| self.filter.matches(name(*number))) {
            let selected = (place(number), number);
            cursor = lines.iter().filter(|line| compare(line, &selected).is_lt()).count();
        }
        let sorted = (cursor + 2 * self.page + 100).min(lines.len());
        if sorted < lines.len() {
            lines.select_nth_unstable_by(sorted, compare);
        }
        lines[..sorted].sort_unstable_by(compare);
        self.listing = lines.into_iter().map(|(_, number)| number).collect();
        (self.cursor, self.sorted) = (cursor, sorted);
        self.scroll();
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.listing.len()
    }

    /// How many there are without the filter.
    pub(super) fn of(&self) -> usize {
        self.groups().map_or(0, Groups::len)
    }

    /// A line, from 0.
    pub(super) fn line(&self, at: usize) -> Option<&(Arc<str>, Figures)> {
        let number = *self.listing.get(at)?;
        self.groups().map(|groups| groups.at(number))
    }

    /// What was opened, if it is there.
    pub(super) fn figures(&self) -> Option<(&str, Option<&Figures>)> {
        let name = self.opened.as_ref()?;
        Some((name, self.groups().and_then(|groups| groups.find(name))))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Effect, Model, Sort, View};
    use crate::live::{
        about::About,
        data::tests::gets,
        feed::{News, Order, Progress},
        keys::{Action, Move},
    };

    /// Three keys: `hot` five times with one miss, `warm` three times with one, `cold`
    /// once with a miss.
    pub(crate) fn model() -> Model {
        let mut model = Model::new(false);
        let about = About { seconds: 10.0, end: 10_000_000, rows: 9, ..About::default() };
        model.take(0, News::About(Box::new(about)));
        model.take(0, News::Batch(gets(&["hot", "hot", "hot", "warm", "warm"])));
        model.take(0, News::Batch(gets(&["cold", "hot", "hot", "warm"])));
        model.take(0, News::Progress(Progress::UpToDate));
        model.fit(10, 0);
        model.refresh();
        model
    }

    fn names(model: &Model) -> Vec<&str> {
        (0..model.len()).map(|at| &*model.line(at).unwrap().0).collect()
    }

    #[test]
    fn lines_are_in_the_order_that_was_asked_for() {
        let mut model = model();
        assert_eq!(names(&model), ["hot", "warm", "cold"]);
        model.act(Action::TurnOrder);
        assert_eq!(names(&model), ["cold", "warm", "hot"]);
        model.act(Action::Sort(Sort::Misses));
        // Equal ones in the order of their bytes, and the largest first again.
        assert_eq!(names(&model), ["hot", "warm", "cold"]);
        model.act(Action::Sort(Sort::Size));
        // What has no size, as what missed, comes last.
        assert_eq!(names(&model), ["hot", "cold", "warm"]);
        model.take(0, News::Batch(gets(&["warm", "warm"])));
        model.refresh();
        assert_eq!(names(&model), ["warm", "hot", "cold"]);
        model.act(Action::TurnOrder);
        assert_eq!(names(&model), ["hot", "warm", "cold"]);
    }

    #[test]
    fn a_filter_is_text_or_an_expression() {
        let mut model = model();
        model.act(Action::Filter);
        "^(h|c)".chars().for_each(|c| {
            model.act(Action::Type(c));
        });
        assert_eq!(names(&model), ["hot", "cold"]);
        model.act(Action::RubAll);
        "o".chars().for_each(|c| {
            model.act(Action::Type(c));
        });
        model.act(Action::Done);
        assert_eq!((names(&model), model.of()), (vec!["hot", "cold"], 3));
        model.act(Action::Back);
        assert_eq!(names(&model), ["hot", "warm", "cold"]);
        // What is no expression is text.
        model.act(Action::Type('('));
        assert!(names(&model).is_empty());
        model.act(Action::Open);
        assert!(model.opened.is_none());
    }

    #[test]
    fn the_cursor_stays_on_its_line_but_at_the_top() {
        let mut model = model();
        model.act(Action::Move(Move::Lines(1)));
        model.take(0, News::Batch(gets(&["warm"; 10])));
        model.refresh();
        assert_eq!((model.cursor, names(&model)), (0, vec!["warm", "hot", "cold"]));
        model.act(Action::Move(Move::Lines(-1)));
        model.take(0, News::Batch(gets(&["hot"; 20])));
        model.refresh();
        assert_eq!((model.cursor, names(&model)), (0, vec!["hot", "warm", "cold"]));
        model.act(Action::Move(Move::Bottom));
        assert_eq!(model.cursor, 2);
        model.act(Action::Move(Move::HalfPages(-2)));
        assert_eq!(model.cursor, 0);
    }

    #[test]
    fn there_may_be_more_lines_than_are_brought_into_order() {
        let mut model = Model::new(false);
        model.take(0, News::About(Box::default()));
        let keys: Vec<String> = (0..2_000).map(|n| format!("key{n:04}")).collect();
        let mut calls: Vec<&str> = keys.iter().map(String::as_str).collect();
        calls.extend_from_slice(&calls.clone()[1_000..]);
        model.take(0, News::Batch(gets(&calls)));
        model.fit(10, 0);
        model.refresh();
        assert_eq!((&*model.line(0).unwrap().0, model.len()), ("key1000", 2_000));
        model.act(Action::Move(Move::Lines(1_500)));
        assert_eq!(&*model.line(model.cursor).unwrap().0, "key0500");
        assert_eq!((model.cursor, model.first), (1_500, 1_491));
        model.act(Action::Move(Move::Bottom));
        assert_eq!(&*model.line(model.cursor).unwrap().0, "key0999");
    }

    #[test]
    fn tab_goes_round() {
        let mut model = model();
        for view in [View::Prefixes, View::Clients, View::Commands, View::OverTime, View::Keys] {
            model.act(Action::View { next: true });
            assert_eq!(model.view, view);
        }
        model.act(Action::View { next: false });
        assert_eq!((model.view, model.len()), (View::OverTime, 0));
    }

    #[test]
    fn what_belongs_to_what_was_before_is_left_out() {
        let mut model = model();
        assert_eq!(model.act(Action::Pause), Effect::Nothing);
        let begun = model.act(Action::Play);
        assert_eq!(begun, Effect::Tell(Order::Begin { playing: true, number: 1 }));
        assert_eq!(model.len(), 0);
        model.take(0, News::Batch(gets(&["old"])));
        model.take(1, News::Batch(gets(&["new"])));
        model.refresh();
        assert_eq!(names(&model), ["new"]);
        assert_eq!(model.act(Action::Pause), Effect::Tell(Order::Pause));
        let ended = model.act(Action::Play);
        assert_eq!(ended, Effect::Tell(Order::Begin { playing: false, number: 2 }));
    }
}
