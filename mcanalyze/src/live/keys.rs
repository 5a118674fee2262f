//! What key presses mean. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Sort;

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Lines to choose from, or figures over time.
    Lines,
    /// One key, or whatever was chosen.
    Opened,
    /// A filter is typed.
    Typing,
    Help,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Sort(Sort),
    TurnOrder,
    Move(Move),
    Open,
    Back,
    /// The next view, or the one before.
    View {
        next: bool,
    },
    /// Begin to type a filter.
    Filter,
    Type(char),
    Rub,
    /// Rub out all of it.
    RubAll,
    /// The filter is right.
    Done,
    /// Play back, or cease to.
    Play,
    Pause,
    Faster(bool),
    Help,
    Quit,
}

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Lines down, or up.
    Lines(isize),
    /// Half pages.
    HalfPages(isize),
    Top,
    Bottom,
}

/// What a key press means.
pub(super) fn action(key: KeyEvent, mode: Mode) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(key.code, KeyCode::Char('c' | 'C')) {
        return Some(Action::Quit);
    }
    if mode == Mode::Typing {
        return typed(key.code, control);
    }
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return None;
    }
    Some(match key.code {
        KeyCode::Esc => Action::Back,
        KeyCode::Char('q') if mode != Mode::Lines => Action::Back,
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) if mode == Mode::Help => Action::Back,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Action::Help,
        KeyCode::Down | KeyCode::Char('j') => Action::Move(Move::Lines(1)),
        KeyCode::Up | KeyCode::Char('k') => Action::Move(Move::Lines(-1)),
        KeyCode::Char('d') => Action::Move(Move::HalfPages(1)),
        KeyCode::Char('u') => Action::Move(Move::HalfPages(-1)),
        KeyCode::PageDown => Action::Move(Move::HalfPages(2)),
        KeyCode::PageUp => Action::Move(Move::HalfPages(-2)),
        KeyCode::Char('g') | KeyCode::Home => Action::Move(Move::Top),
        KeyCode::Char('G') | KeyCode::End => Action::Move(Move::Bottom),
        KeyCode::Char('p') => Action::Play,
        KeyCode::Char(' ') => Action::Pause,
        KeyCode::Char('+' | '>' | '=') => Action::Faster(true),
        KeyCode::Char('-' | '<') => Action::Faster(false),
        KeyCode::Tab if mode == Mode::Lines => Action::View { next: true },
        KeyCode::BackTab if mode == Mode::Lines => Action::View { next: false },
        KeyCode::Enter if mode == Mode::Lines => Action::Open,
        KeyCode::Char('/') if mode == Mode::Lines => Action::Filter,
        KeyCode::Char('t') if mode == Mode::Lines => Action::TurnOrder,
        KeyCode::Char(letter) if mode == Mode::Lines => Action::Sort(Sort::by_letter(letter)?),
        _ => return None,
    })
}

fn typed(code: KeyCode, control: bool) -> Option<Action> {
    Some(match code {
        KeyCode::Esc => Action::Back,
        KeyCode::Enter => Action::Done,
        KeyCode::Backspace => Action::Rub,
        KeyCode::Char('h') if control => Action::Rub,
        KeyCode::Char('u') if control => Action::RubAll,
        KeyCode::Char(c) if !control => Action::Type(c),
        KeyCode::Down => Action::Move(Move::Lines(1)),
        KeyCode::Up => Action::Move(Move::Lines(-1)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::{Action, Mode, Move, action};
    use crate::live::model::Sort;

    fn press(code: KeyCode, mode: Mode) -> Option<Action> {
        action(KeyEvent::new(code, KeyModifiers::NONE), mode)
    }

    #[test]
    fn letters_sort_as_in_mctop() {
        for (letter, sort) in [
            ('c', Sort::Calls),
            ('s', Sort::Size),
            ('r', Sort::Rate),
            ('b', Sort::Bytes),
            ('n', Sort::Misses),
            ('l', Sort::Latency),
        ] {
            let pressed = press(KeyCode::Char(letter), Mode::Lines);
            assert_eq!(pressed, Some(Action::Sort(sort)));
            assert_eq!(press(KeyCode::Char(letter), Mode::Typing), Some(Action::Type(letter)));
            assert_eq!(press(KeyCode::Char(letter), Mode::Opened), None);
        }
        assert_eq!(press(KeyCode::Char('t'), Mode::Lines), Some(Action::TurnOrder));
        assert_eq!(press(KeyCode::Char('x'), Mode::Lines), None);
    }

    #[test]
    fn what_leads_back_leads_out_only_from_lines() {
        assert_eq!(press(KeyCode::Char('q'), Mode::Lines), Some(Action::Quit));
        for mode in [Mode::Opened, Mode::Help] {
            assert_eq!(press(KeyCode::Char('q'), mode), Some(Action::Back));
        }
        assert_eq!(press(KeyCode::Esc, Mode::Lines), Some(Action::Back));
        for mode in [Mode::Lines, Mode::Opened, Mode::Typing, Mode::Help] {
            let pressed = action(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), mode);
            assert_eq!(pressed, Some(Action::Quit));
        }
    }

    #[test]
    fn a_filter_may_have_any_letter() {
        for letter in ['q', '/', '?', ' ', '+', 'ż', '\u{202e}'] {
            let pressed = press(KeyCode::Char(letter), Mode::Typing);
            assert_eq!(pressed, Some(Action::Type(letter)));
        }
        let all = action(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL), Mode::Typing);
        assert_eq!(all, Some(Action::RubAll));
        assert_eq!(press(KeyCode::PageDown, Mode::Lines), Some(Action::Move(Move::HalfPages(2))));
    }
}
