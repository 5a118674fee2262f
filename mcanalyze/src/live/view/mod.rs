//! Draws the model. Pure: the same model, the same screen.

mod chart;
mod help;
mod opened;
mod over_time;
mod status;
mod table;

use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    keys::Mode,
    model::{Model, View},
};

/// Lines above the body: the title, and the views.
const ABOVE: u16 = 2;

/// How many lines of a table fit on a screen of this size, and how many of longer text
/// do not.
pub(super) fn page(width: u16, height: u16, model: &Model) -> (usize, usize) {
    let height = usize::from(body(Rect::new(0, 0, width, height), model).height);
    let text = text(model, width.into()).map_or(0, |lines| lines.len());
    // One is the header of the table.
    (height.saturating_sub(1), text.saturating_sub(height))
}

/// What is longer than the screen, perhaps.
fn text(model: &Model, width: usize) -> Option<Vec<Line<'static>>> {
    match model.mode() {
        Mode::Help => Some(help::lines()),
        _ if model.opened.is_some() => Some(opened::lines(model, width)),
        _ => None,
    }
}

fn body(screen: Rect, model: &Model) -> Rect {
    let below = u16::try_from(status::lines(model, screen.width.into()).len()).unwrap_or(1);
    let height = screen.height.saturating_sub(ABOVE + below);
    Rect { y: screen.y + ABOVE.min(screen.height), height, ..screen }
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let screen = frame.area();
    let width = usize::from(screen.width);
    let body = body(screen, model);
    let row = |y: u16, height: u16| {
        let y = (screen.y + y).min(screen.bottom());
        Rect { y, height: height.min(screen.bottom() - y), ..screen }
    };
    let above = vec![status::title(model, width), status::views(model, width)];
    frame.render_widget(Paragraph::new(above), row(0, ABOVE));
    let text = match (text(model, width), model.view) {
        (Some(lines), _) => lines.into_iter().skip(model.scrolled).collect(),
        (None, View::OverTime) => over_time::lines(model, width, body.height.into()),
        (None, _) => table::lines(model, width),
    };
    frame.render_widget(Paragraph::new(text), body);
    let below = status::lines(model, width);
    let height = u16::try_from(below.len()).unwrap_or(1);
    frame.render_widget(Paragraph::new(below), row(screen.height.saturating_sub(height), height));
    if model.typing {
        let column = status::typed(model, width);
        frame.set_cursor_position((
            screen.x + u16::try_from(column).unwrap_or(0).min(screen.width.saturating_sub(1)),
            screen.bottom().saturating_sub(1),
        ));
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// How many columns text takes.
fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// Text cut to so many columns, and what is cut off marked.
fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let needed = width_of(c.encode_utf8(&mut [0; 4]));
        if needed > left {
            break;
        }
        left -= needed;
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Text in so many columns, at their left.
fn at_left(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let spaces = width - width_of(&text).min(width);
    text + &" ".repeat(spaces)
}

/// And at their right.
fn at_right(text: &str, width: usize) -> String {
    let text = cut(text, width);
    " ".repeat(width - width_of(&text).min(width)) + &text
}

/// Text in lines of so many columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut left = width;
    for c in text.chars() {
        let needed = width_of(c.encode_utf8(&mut [0; 4]));
        if needed > left {
            lines.push(String::new());
            left = width;
        }
        left = left.saturating_sub(needed);
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
