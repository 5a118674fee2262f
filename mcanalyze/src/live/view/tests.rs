//! What is on the screen.

use ratatui::{Terminal, backend::TestBackend};

use super::{cut, draw, page, width_of, wrapped};
use crate::live::{
    about::About,
    data::tests::gets,
    feed::{News, Progress},
    keys::{Action, Move},
    model::{Model, Sort, tests::model},
};

/// The lines of a screen.
fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let (page, beyond) = page(width, height, model);
    model.fit(page, beyond);
    terminal.draw(|frame| draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| -> String { (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect() };
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn keys_are_lines_with_figures() {
    let mut model = model();
    model.about.name = "cap.parquet".to_owned();
    let lines = screen(&mut model, 80, 24);
    assert_eq!(lines[0], "cap.parquet  9 operations  0.9/s  hit ratio 44.4 %  3 keys  10.0 s");
    assert!(lines[1].starts_with("[keys] prefixes  clients  commands  over time"), "{}", lines[1]);
    assert!(lines[1].ends_with("1 of 3"));
    let header: Vec<&str> = lines[2].split_whitespace().collect();
    let columns =
        ["key", "calls↓", "hit", "ratio", "size", "req/s", "kbps", "~p50", "~p99", "last"];
    assert_eq!(header[..10], columns);
    let hot: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(hot[..7], ["hot", "5", "60.0", "%", "3", "B", "0.5"], "{}", lines[3]);
    assert!(lines[4].starts_with("warm ") && lines[5].starts_with("cold "));
    assert!(lines[23].starts_with("up to date") && lines[23].ends_with("q: quit"));
}

#[test]
fn what_is_sorted_by_is_there_in_little_room() {
    let mut model = model();
    model.take(0, News::Batch(gets(&["a:key:of:so:many:characters:that:it:is:cut"; 3])));
    model.refresh();
    for (sort, title) in
        [(Sort::Misses, "misses↓"), (Sort::Bytes, "kbps↓"), (Sort::Latency, "~p99↓")]
    {
        model.act(Action::Sort(sort));
        let lines = screen(&mut model, 50, 15);
        assert!(lines[2].contains(title) && lines[2].contains("calls"), "{}", lines[2]);
        assert!(lines.iter().any(|line| line.starts_with("a:key:of:so:many:char")), "{lines:?}");
    }
}

#[test]
fn warnings_stand_above_the_last_line() {
    let mut model = model();
    let warnings = ["LOST 1,000 of 30,000", "STILL BEING RECORDED"].map(str::to_owned).to_vec();
    let about = About { warnings, seconds: 10.0, ..About::default() };
    model.take(0, News::About(Box::new(about)));
    model.take(0, News::Trouble("cannot read x\u{1b}[2J".to_owned()));
    let lines = screen(&mut model, 80, 24);
    assert_eq!(lines[22], r"cannot read x\u{1b}[2J; LOST 1,000 of 30,000; STILL BEING RECORDED");
    let lines = screen(&mut model, 44, 15);
    assert_eq!(
        lines[12..14],
        [r"cannot read x\u{1b}[2J; LOST 1,000 of 30,000", "STILL BEING RECORDED"]
    );
}

#[test]
fn a_key_that_is_opened_shows_all_that_is_known() {
    let mut model = model();
    model.act(Action::Open);
    let lines = screen(&mut model, 80, 24);
    let all = lines.join("\n");
    for text in [
        "key hot",
        "calls     5 (0.5/s), 3 hits, 2 misses, hit ratio 60.0 %",
        "size      now 3 B, least 3 B, most 3 B",
        "seen      first 00:00:00.000 last 00:00:02.000",
        "commands  get 5",
        "clients   10.0.0.1 5",
        "latency   ~p50",
        "over time at most",
        "█",
        "Esc: back",
    ] {
        let text = text.replace("000 last", "000, last");
        assert!(all.contains(&text), "{text} is not in\n{all}");
    }
    // What does not fit is moved to, and no further.
    screen(&mut model, 60, 12);
    model.act(Action::Move(Move::Bottom));
    let lines = screen(&mut model, 60, 12);
    assert!(lines[10].contains("µs"), "{lines:?}");
    model.act(Action::Move(Move::Lines(-1)));
    assert_eq!(screen(&mut model, 60, 12)[3..11], lines[2..10]);
    model.act(Action::Back);
    assert!(screen(&mut model, 80, 24)[3].starts_with("hot "));
}

#[test]
fn hostile_keys_stand_where_they_belong() {
    let hostile = [
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "\u{202e}evil",
        "日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語",
        "e\u{301}e\u{301}e\u{301}",
        "🦀🦀🦀",
        "\u{9b}31m",
    ];
    let mut model = model();
    model.take(0, News::Batch(gets(&hostile)));
    model.refresh();
    for (width, height) in [(80, 24), (60, 15), (33, 10), (8, 4), (1, 1)] {
        for line in 0..model.len() {
            let lines = screen(&mut model, width, height);
            let harmful = |c: char| crate::render::text::harmful(c);
            assert!(!lines.concat().contains(harmful), "{lines:?}");
            model.act(Action::Open);
            let lines = screen(&mut model, width, height);
            assert!(!lines.concat().contains(harmful), "{lines:?}");
            model.act(Action::Back);
            model.act(Action::Move(Move::Lines(1)));
            assert!(model.cursor >= line);
        }
        model.act(Action::Move(Move::Top));
    }
    assert!(screen(&mut model, 80, 24).iter().any(|line| line.contains(r"\u{202e}evil")));
}

#[test]
fn every_view_is_drawn_at_every_size() {
    let mut model = model();
    for (width, height) in [(0, 0), (1, 1), (10, 3), (60, 15), (80, 24), (120, 40), (300, 100)] {
        for _ in 0..5 {
            model.act(Action::View { next: true });
            screen(&mut model, width, height);
            model.act(Action::Help);
            screen(&mut model, width, height);
            model.act(Action::Back);
        }
    }
    model.act(Action::View { next: false });
    let lines = screen(&mut model, 80, 24);
    assert!(lines[2].starts_with("req/s  last "), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("hit ratio  last ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("00:00:00.000")), "{lines:?}");
}

#[test]
fn the_clock_of_what_is_played_is_seen() {
    let mut model = model();
    let playing = Progress::Playing { at: 4_000_000, speed: 0.5, paused: false, ended: false };
    model.take(0, News::Progress(playing));
    let lines = screen(&mut model, 80, 24);
    assert!(lines[23].starts_with("PLAYING  4.0 s of 10.0 s  0.5 x"), "{}", lines[23]);
}

#[test]
fn a_filter_is_seen_while_it_is_typed() {
    let mut model = model();
    model.act(Action::Filter);
    "w.r".chars().for_each(|c| {
        model.act(Action::Type(c));
    });
    let lines = screen(&mut model, 80, 24);
    assert!(lines[23].starts_with("/w.r "), "{}", lines[23]);
    assert!(lines[1].ends_with("/w.r  1 of 1") && lines[3].starts_with("warm "));
}

#[test]
fn text_is_cut_by_the_columns_that_it_takes() {
    assert_eq!(cut("日本語", 6), "日本語");
    assert_eq!(cut("日本語", 5), "日本…");
    assert_eq!(cut("日本語", 4), "日…");
    assert_eq!((cut("ab", 1), cut("ab", 0)), ("…".to_owned(), String::new()));
    assert_eq!(wrapped("日本語", 5), ["日本", "語"]);
    assert!(wrapped(&"x".repeat(250), 80).iter().all(|line| width_of(line) <= 80));
}
