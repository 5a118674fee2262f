//! `mcanalyze top` in a real terminal; `terminal.py` presses the keys and reads the screen.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
    types::{Int8Type, Int32Type},
};
use mcrec_capture::{Durability, Encoder, Folder, Writer};
use mcrec_schema::{
    columns,
    footer::{self, Footer},
};

use samples::{footer_of, sample};

fn start(scenario: &str, file: &Path) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/terminal.py");
    Command::new("python3")
        .arg(script)
        .args([env!("CARGO_BIN_EXE_mcanalyze"), scenario])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn play(scenario: &str, sample_name: &str) {
    let status = start(scenario, &sample(sample_name)).wait().unwrap();
    assert!(status.success(), "{scenario}");
}

#[test]
fn one_works_with_it() {
    play("work", "zipf.parquet");
}

#[test]
fn captures_are_played_back() {
    play("play", "zipf.parquet");
}

#[test]
fn hostile_keys_do_nothing() {
    play("hostile", "hostile.parquet");
}

#[test]
fn it_fits_into_every_terminal() {
    play("resize", "zipf.parquet");
}

#[test]
fn it_ends_and_leaves_the_terminal_as_it_was() {
    play("ends", "zipf.parquet");
}

#[test]
fn it_ends_with_its_terminal() {
    play("hangup", "zipf.parquet");
}

#[test]
fn what_is_no_terminal_is_refused() {
    let file = sample("zipf.parquet");
    let output =
        Command::new(env!("CARGO_BIN_EXE_mcanalyze")).arg("top").arg(file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("top needs a terminal") && output.stdout.is_empty(), "{said}");
}

#[test]
fn a_capture_that_grows_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("growing.parquet");
    let (at, name) = Folder::of(&file).unwrap();
    let begun = described(0, None);
    let mut writer = Writer::create(&Arc::new(at), &name, &begun, Durability::Process).unwrap();
    let mut child = start("grows", &file);
    let mut asked = BufReader::new(child.stdout.take().unwrap()).lines();
    let commits = [("first", 100, None), ("second", 200, None), ("second", 150, Some("signal"))];
    let mut written = 0;
    for (key, count, ended) in commits {
        assert_eq!(asked.next().map(Result::unwrap).as_deref(), Some("more"));
        let mut encoder = Encoder::new(Arc::new(columns::schema()));
        encoder.write(&gets(key, written, count)).unwrap();
        written += count;
        let group = encoder.finish().unwrap().unwrap();
        writer.commit(&[group], &described(written, ended)).unwrap();
        child.stdin.as_mut().unwrap().write_all(b"done\n").unwrap();
    }
    assert!(child.wait().unwrap().success());
    writer.close().unwrap();
}

/// Gets of one key, a millisecond apart.
fn gets(key: &str, first: i64, count: i64) -> RecordBatch {
    let rows = || first..first + count;
    let schema = Arc::new(columns::schema());
    let column = |name: &str| -> ArrayRef {
        let word = |word| -> ArrayRef {
            Arc::new(rows().map(|_| Some(word)).collect::<DictionaryArray<Int8Type>>())
        };
        match name {
            columns::TS => Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows().map(|row| row * 1000))
                    .with_timezone("UTC"),
            ),
            columns::OP => word("get"),
            columns::PROTOCOL => word("text"),
            columns::STATUS => word("hit"),
            columns::KEY => Arc::new(StringArray::from_iter_values(rows().map(|_| key))),
            columns::QUIET => Arc::new(rows().map(|_| Some(false)).collect::<BooleanArray>()),
            columns::CLIENT => {
                let client = rows().map(|_| Some("10.0.0.1:40000"));
                Arc::new(client.collect::<DictionaryArray<Int32Type>>())
            }
            columns::META_FLAGS | columns::META_RETURNED => {
                let none = rows().map(|_| None::<&str>);
                Arc::new(none.collect::<DictionaryArray<Int32Type>>())
            }
            columns::KEY_INDEX | columns::THREAD_ID => {
                Arc::new(Int32Array::from_iter_values(rows().map(|_| 1)))
            }
            _ => Arc::new(Int64Array::from_iter_values(rows().map(|row| row + 1))),
        }
    };
    let all = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(Arc::clone(&schema), all).unwrap()
}

/// The footer of so many rows, of a recording that goes on or has ended.
fn described(rows: i64, ended: Option<&str>) -> Footer {
    let ended = ended.map_or("null".to_owned(), |ended| format!("\"{ended}\""));
    footer_of(|name| {
        Some(match name {
            footer::FORMAT => r#"{"version": 1, "minor": 1}"#.to_owned(),
            footer::CAPTURE => format!(
                r#"{{"id": "growing", "mcrec_version": "0", "command_line": [], "host": "none",
                    "kernel": "none", "start_us": 0, "end_us": {}, "start_monotonic_ns": 0,
                    "end_monotonic_ns": 0, "clock_offset_ns": 0, "ended": {ended},
                    "commit_interval_s": 5.0}}"#,
                rows * 1000
            ),
            footer::TARGET => r#"{"pid": 1, "executable": "memcached", "build_id": null,
                "version": null, "command_line": [], "listening": [], "worker_threads": 4}"#
                .to_owned(),
            footer::SOURCE => r#"{"name": "syscalls", "attached": [], "latency": "made up",
                "sees": [], "cannot_see": [], "columns_unknown": [],
                "requests_without_operation": 0}"#
                .to_owned(),
            footer::LOSS => format!(
                r#"{{"seen": {rows}, "written": {rows}, "losses": {{}}, "incomplete": {{}},
                    "series": []}}"#
            ),
            footer::COST => r#"{"programs": [], "cpu_s": 0.0, "peak_memory": 0}"#.to_owned(),
            footer::PRIVACY => r#"{"keys_hashed": null}"#.to_owned(),
            _ => return None,
        })
    })
}
