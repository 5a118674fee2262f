//! `docs/format.md` says what the code says.

use std::{collections::BTreeSet, fs};

use arrow_schema::DataType;
use mcrec_schema::{
    FORMAT_MINOR_VERSION, FORMAT_VERSION,
    codes::{Op, Protocol, Status},
    columns,
    footer::{self, Incomplete, Losses, Possible},
};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
    fs::read_to_string(path).unwrap()
}

/// From the heading of this text to the next one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("# {heading}\n")).unwrap();
    rest.split("\n#").next().unwrap()
}

/// The cells of all lines of tables that begin with a backtick, without backticks.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| line.split('|').skip(1).map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

/// Everything between backticks.
fn words(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn versions_are_those_of_the_title() {
    let title = format!("# Capture format, version {FORMAT_VERSION}.{FORMAT_MINOR_VERSION}\n");
    assert!(document().starts_with(&title));
}

#[test]
fn columns_are_those_of_files_in_their_order() {
    let document = document();
    let told: Vec<Vec<String>> =
        rows(section(&document, "Columns")).iter().map(|cells| cells[..3].to_vec()).collect();
    let schema = columns::schema();
    let are: Vec<Vec<String>> = schema
        .fields()
        .iter()
        .map(|field| {
            let kind = match field.data_type() {
                DataType::Utf8 | DataType::Dictionary(..) => "string",
                DataType::Int64 => "int64",
                DataType::Int32 => "int32",
                DataType::Boolean => "boolean",
                DataType::Timestamp(..) => "timestamp, µs, UTC",
                other => panic!("{other}"),
            };
            let null = if field.is_nullable() { "yes" } else { "no" };
            vec![field.name().clone(), kind.to_owned(), null.to_owned()]
        })
        .collect();
    assert_eq!(told, are);
    let since = section(&document, "Versions");
    assert!(columns::SINCE_MINOR_1.iter().all(|name| words(since).contains(name)));
}

#[test]
fn words_are_all_there() {
    let document = document();
    let list = |heading| section(&document, heading).split("\n\n").next().unwrap();
    let ops: BTreeSet<&str> = Op::ALL.iter().map(|op| op.as_str()).collect();
    assert_eq!(words(list("Words of `op`")), ops);
    let statuses: BTreeSet<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(words(list("Words of `status`")), statuses);
    let columns = section(&document, "Columns");
    assert!(Protocol::ALL.iter().all(|protocol| words(columns).contains(protocol.as_str())));
}

#[test]
fn entries_and_reasons_are_all_there() {
    let document = document();
    let first = |text| rows(text).iter().map(|cells| cells[0].clone()).collect::<Vec<_>>();
    let entries = [
        footer::FORMAT,
        footer::CAPTURE,
        footer::TARGET,
        footer::SOURCE,
        footer::LOSS,
        footer::SAMPLING,
        footer::COST,
        footer::PRIVACY,
        footer::SERVER,
        footer::DERIVED,
    ];
    assert_eq!(first(section(&document, "Metadata")), entries);
    let losses = section(&document, "Losses");
    let (lost, incomplete) = (Losses::default(), Incomplete::default());
    let reasons = lost.by_reason().chain(incomplete.by_reason()).map(|(reason, _)| reason);
    assert_eq!(first(losses), reasons.collect::<Vec<_>>());
    for (reason, _) in Possible::default().by_reason() {
        assert!(losses.contains(&format!("`possible.{reason}`")));
    }
}
