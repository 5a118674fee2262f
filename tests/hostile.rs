//! Keys that would harm a terminal, a spreadsheet or a page, and everything else in
//! a capture that others chose, are inert in every output.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
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
    key,
};
use serde_json::Value;

use samples::{footer_of, text};

/// A page of keys: each with how people see it. In CSV that is the same, but for the
/// ones below.
const PAGE: [(&[u8], &str); 52] = [
    // Terminals: colour, title, clipboard, links, cursor, 8-bit and UTF-8 C1, DEL.
    (b"\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
    (b"\x1b]52;c;cm0gLXJm\x07", r"\x1b]52;c;cm0gLXJm\x07"),
    (
        b"\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
        r"\x1b]8;;http://evil\x1b\x5ctext\x1b]8;;\x1b\x5c",
    ),
    (b"\x1b[2J\x1b[H\x1bc", r"\x1b[2J\x1b[H\x1bc"),
    (b"\x1bP+q544e\x1b\\", r"\x1bP+q544e\x1b\x5c"),
    (b"\x9b31mC1", r"\x9b31mC1"),
    ("\u{9b}31mC1".as_bytes(), r"\u{9b}31mC1"),
    ("\u{85}next\u{90}".as_bytes(), r"\u{85}next\u{90}"),
    (b"back\x08space\x7f", r"back\x08space\x7f"),
    (b"nul\0nul", r"nul\x00nul"),
    (b"bell\x07", r"bell\x07"),
    // Lines.
    (b"line\nfeed", r"line\x0afeed"),
    (b"carriage\rreturn", r"carriage\x0dreturn"),
    (b"\r\nSet-Cookie: a=b", r"\x0d\x0aSet-Cookie: a=b"),
    (b"vertical\x0btab\x0cform", r"vertical\x0btab\x0cform"),
    ("line\u{2028}paragraph\u{2029}".as_bytes(), r"line\u{2028}paragraph\u{2029}"),
    // Direction and what is not seen.
    ("user\u{202e}1:resu".as_bytes(), r"user\u{202e}1:resu"),
    ("a\u{202a}b\u{202d}c\u{202c}".as_bytes(), r"a\u{202a}b\u{202d}c\u{202c}"),
    ("a\u{2066}b\u{2067}c\u{2068}d\u{2069}".as_bytes(), r"a\u{2066}b\u{2067}c\u{2068}d\u{2069}"),
    ("mark\u{200e}\u{200f}\u{61c}".as_bytes(), r"mark\u{200e}\u{200f}\u{61c}"),
    ("zero\u{200b}width\u{200d}\u{200c}".as_bytes(), r"zero\u{200b}width\u{200d}\u{200c}"),
    ("\u{feff}bom".as_bytes(), r"\u{feff}bom"),
    ("word\u{2060}joiner\u{ad}".as_bytes(), r"word\u{2060}joiner\u{ad}"),
    ("tag\u{e0041}\u{e007f}".as_bytes(), r"tag\u{e0041}\u{e007f}"),
    ("filler\u{3164}\u{115f}\u{2800}".as_bytes(), r"filler\u{3164}\u{115f}\u{2800}"),
    ("variant\u{fe0f}\u{e0100}".as_bytes(), r"variant\u{fe0f}\u{e0100}"),
    // Formulas.
    (b"=cmd|'/c calc'!A1", "=cmd|'/c calc'!A1"),
    (b"\t=cmd()", r"\x09=cmd()"),
    (b"+1+1", "+1+1"),
    (b"-1+1", "-1+1"),
    (b"@SUM(1,2)", "@SUM(1,2)"),
    (b"|calc", "|calc"),
    (b"%0a", "%0a"),
    ("＝cmd()".as_bytes(), "＝cmd()"),
    ("＋1".as_bytes(), "＋1"),
    ("－1".as_bytes(), "－1"),
    ("＠x".as_bytes(), "＠x"),
    (b" =1", " =1"),
    (b"a;=cmd()", "a;=cmd()"),
    (b"=HYPERLINK(\"http://evil\",\"x\")", "=HYPERLINK(\"http://evil\",\"x\")"),
    // Markup and quotes.
    (b"</script><img src=x onerror=alert(1)>", "</script><img src=x onerror=alert(1)>"),
    (b"<!--", "<!--"),
    (b"&lt;b&gt;", "&lt;b&gt;"),
    (b"quote\"and,comma", "quote\"and,comma"),
    (b"'; DROP TABLE t; --", "'; DROP TABLE t; --"),
    (b"$(reboot)`id`", "$(reboot)`id`"),
    (br"back\slash\x41\u{41}", r"back\x5cslash\x5cx41\x5cu{41}"),
    // Not text, and text.
    (b"\xff\xfe\x80not-utf8\xc3", r"\xff\xfe\x80not-utf8\xc3"),
    (b"\xed\xa0\x80surrogate", r"\xed\xa0\x80surrogate"),
    ("zażółć-日本-🦀".as_bytes(), "zażółć-日本-🦀"),
    (b"plain:key", "plain:key"),
];

/// How those keys stand in CSV that would be something else as they are.
const CSV: [(&str, &str); 18] = [
    ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
    ("+1+1", "'+1+1"),
    ("-1+1", "'-1+1"),
    ("@SUM(1,2)", "\"'@SUM(1,2)\""),
    ("|calc", "'|calc"),
    ("%0a", "'%0a"),
    ("＝cmd()", "'＝cmd()"),
    ("＋1", "'＋1"),
    ("－1", "'－1"),
    ("＠x", "'＠x"),
    (" =1", "' =1"),
    ("a;=cmd()", "\"a;=cmd()\""),
    ("=HYPERLINK(\"http://evil\",\"x\")", "\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\""),
    ("quote\"and,comma", "\"quote\"\"and,comma\""),
    ("'; DROP TABLE t; --", "\"'; DROP TABLE t; --\""),
    ("&lt;b&gt;", "\"&lt;b&gt;\""),
    (r"\x1b]0;title\x07", "\"\\x1b]0;title\\x07\""),
    (r"\x1b]52;c;cm0gLXJm\x07", "\"\\x1b]52;c;cm0gLXJm\\x07\""),
];

/// In everything else that a capture says of its server.
const EVIL: &str = "evil\u{1b}]0;x\u{7}\u{202e}\n\r\u{9b}2J";

/// A capture in which key n of the page was asked for n + 1 times.
fn capture(path: &Path) {
    let rows = || (0..PAGE.len()).flat_map(|key| std::iter::repeat_n(key, key + 1));
    let count = i64::try_from(rows().count()).unwrap();
    let numbers = || Arc::new(Int64Array::from_iter_values(1..=count));
    let schema = Arc::new(columns::schema());
    let column = |name: &str| -> ArrayRef {
        let keys = rows().map(|at| key::escape(PAGE[at].0));
        let lengths = rows().map(|at| i64::try_from(PAGE[at].0.len()).unwrap());
        let word = |word| -> ArrayRef {
            Arc::new(rows().map(|_| Some(word)).collect::<DictionaryArray<Int8Type>>())
        };
        match name {
            columns::TS => Arc::new(
                TimestampMicrosecondArray::from_iter_values(1..=count).with_timezone("UTC"),
            ),
            columns::OP => word("get"),
            columns::PROTOCOL => word("binary"),
            columns::STATUS => word("hit"),
            columns::KEY => Arc::new(StringArray::from_iter_values(keys)),
            columns::KEY_LEN => Arc::new(Int64Array::from_iter_values(lengths)),
            columns::QUIET => Arc::new(rows().map(|_| Some(false)).collect::<BooleanArray>()),
            columns::CLIENT | columns::META_FLAGS | columns::META_RETURNED => {
                Arc::new(rows().map(|_| Some(EVIL)).collect::<DictionaryArray<Int32Type>>())
            }
            columns::KEY_INDEX | columns::THREAD_ID => {
                Arc::new(rows().map(|_| Some(0)).collect::<Int32Array>())
            }
            columns::CONN_ID => Arc::new(rows().map(|_| Some(1)).collect::<Int64Array>()),
            _ => numbers(),
        }
    };
    let all = schema.fields().iter().map(|field| column(field.name())).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), all).unwrap();
    let footer = footer(count);
    let (folder, name) = Folder::of(path).unwrap();
    let mut writer =
        Writer::create(&Arc::new(folder), &name, &footer, Durability::Process).unwrap();
    let mut encoder = Encoder::new(schema);
    encoder.write(&batch).unwrap();
    writer.commit(&[encoder.finish().unwrap().unwrap()], &footer).unwrap();
    writer.close().unwrap();
}

fn footer(rows: i64) -> Footer {
    let evil = serde_json::to_string(EVIL).unwrap();
    footer_of(|name| {
        Some(match name {
            footer::FORMAT => r#"{"version": 1, "minor": 1}"#.to_owned(),
            footer::CAPTURE => format!(
                r#"{{"id": {evil}, "mcrec_version": {evil}, "command_line": [{evil}],
                    "host": {evil}, "kernel": {evil}, "start_us": 0, "end_us": 10000000,
                    "start_monotonic_ns": 0, "end_monotonic_ns": 10000000000,
                    "clock_offset_ns": 0, "ended": {evil}, "commit_interval_s": 5.0}}"#
            ),
            footer::TARGET => format!(
                r#"{{"pid": 1, "executable": {evil}, "build_id": {evil}, "version": {evil},
                    "command_line": [{evil}], "listening": [{evil}], "worker_threads": 4}}"#
            ),
            footer::SOURCE => format!(
                r#"{{"name": {evil}, "attached": [{{"probe": {evil}, "sites": 2}}],
                    "latency": {evil}, "sees": [{evil}],
                    "cannot_see": [{{"what": {evil}, "why": {evil}}}],
                    "columns_unknown": [{evil}], "requests_without_operation": 0}}"#
            ),
            footer::LOSS => format!(
                r#"{{"seen": {rows}, "written": {rows}, "losses": {{}}, "incomplete": {{}},
                    "series": [[0, 10000000, 0]]}}"#
            ),
            footer::COST => format!(
                r#"{{"programs": [{{"name": {evil}, "run_count": 1, "run_time_ns": 1}}],
                    "cpu_s": 0.0, "peak_memory": 0}}"#
            ),
            footer::PRIVACY => r#"{"keys_hashed": null}"#.to_owned(),
            _ => return None,
        })
    })
}

fn mcanalyze(arguments: &[&OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcanalyze")).args(arguments).output().unwrap()
}

/// Nothing in `shown` does anything but stand there.
#[track_caller]
fn assert_inert(shown: &str, what: &str) {
    let harmful = shown.chars().filter(|&c| {
        (c.is_control() && c != '\n')
            || matches!(u32::from(c),
                0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f
                | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164
                | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0xe0000..=0xe0fff)
    });
    assert_eq!(harmful.collect::<Vec<char>>(), [], "{what}: {shown}");
    assert!(!shown.contains("panicked"), "{what}: {shown}");
}

struct Page {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

fn page() -> Page {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.parquet");
    capture(&file);
    Page { _folder: folder, file }
}

#[test]
fn people_see_what_each_key_is() {
    let page = page();
    let output = mcanalyze(&[page.file.as_ref(), "--top=100".as_ref(), "--latency".as_ref()]);
    let shown = text(&output.stdout);
    assert_inert(&shown, "text");
    let lines: Vec<&str> = shown.lines().collect();
    let header = lines.iter().position(|line| line.starts_with("key  ")).unwrap();
    for (at, (_, seen)) in PAGE.iter().enumerate() {
        // Those asked for most come first.
        let line = lines[header + PAGE.len() - at];
        let rest = line.strip_prefix(seen).unwrap_or_else(|| panic!("{seen} is not in: {line}"));
        let calls = rest.split_whitespace().next().unwrap();
        assert_eq!(calls, (at + 1).to_string(), "{line}");
    }
    assert!(shown.starts_with("memcached  evil\\u{1b}]0;x\\u{7}\\u{202e}\\u{a}\\u{d}\\u{9b}2J"));
}

#[test]
fn a_spreadsheet_sees_text_and_every_key_in_one_field() {
    let page = page();
    let output = mcanalyze(&[page.file.as_ref(), "--top=100".as_ref(), "--format=csv".as_ref()]);
    let shown = text(&output.stdout);
    assert_inert(&shown, "csv");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), PAGE.len() + 1);
    for (at, (_, seen)) in PAGE.iter().enumerate() {
        let special = CSV.iter().find(|(key, _)| key == seen).map(|(_, field)| *field);
        let quoted = format!("\"{seen}\"");
        let field = special.unwrap_or(if seen.contains(';') { &quoted } else { seen });
        let line = lines[PAGE.len() - at];
        let rest = line.strip_prefix(field).unwrap_or_else(|| panic!("{field} is not in: {line}"));
        assert!(rest.starts_with(&format!(",{},", at + 1)), "{line}");
        let begins = field.trim_start_matches('"').trim_start();
        assert!(!begins.starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']));
    }
}

#[test]
fn programs_get_keys_as_the_capture_has_them() {
    let page = page();
    let output = mcanalyze(&[page.file.as_ref(), "--top=100".as_ref(), "--format=json".as_ref()]);
    let shown = text(&output.stdout);
    assert_inert(&shown, "json");
    let answer: Value = serde_json::from_str(&shown).unwrap();
    let top = answer["top"].as_array().unwrap();
    assert_eq!(top.len(), PAGE.len());
    for (at, (bytes, _)) in PAGE.iter().enumerate() {
        let row = &top[PAGE.len() - 1 - at];
        let key = row["key"].as_str().unwrap();
        assert_eq!(key::unescape(key).as_deref(), Some(*bytes));
        assert_eq!(row["calls"], at + 1);
    }
    assert_eq!(answer["capture"]["files"][0]["capture"]["host"], EVIL);
}

#[test]
fn each_key_is_found_by_what_was_printed_and_a_slice_of_it_is_it() {
    let page = page();
    let slice = page.file.with_file_name("slice.parquet");
    for (at, (bytes, seen)) in PAGE.iter().enumerate() {
        let one =
            [page.file.as_ref(), "--format=json".as_ref(), "--key-is".as_ref(), seen.as_ref()];
        let one = if seen.starts_with('-') {
            let joined = format!("--key-is={seen}");
            text(
                &mcanalyze(&[page.file.as_ref(), "--format=json".as_ref(), joined.as_ref()]).stdout,
            )
        } else {
            text(&mcanalyze(&one).stdout)
        };
        let answer: Value = serde_json::from_str(&one).unwrap_or_else(|_| panic!("{seen}: {one}"));
        assert_eq!(answer["top"][0]["calls"], at + 1, "{seen}");
        if at % 5 > 0 {
            continue;
        }
        let key = format!("--key-is={seen}");
        let output = ["slice".as_ref(), page.file.as_ref(), key.as_ref(), "--force".as_ref()];
        let output = mcanalyze(&[&output[..], &["-o".as_ref(), slice.as_ref()]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        for tool in ["info", "check"] {
            let of_tool = mcanalyze(&[tool.as_ref(), slice.as_ref()]);
            assert!(of_tool.status.success(), "{seen}");
            assert_inert(&text(&of_tool.stdout), tool);
            let json = mcanalyze(&[tool.as_ref(), slice.as_ref(), "--format=json".as_ref()]);
            let shown = text(&json.stdout);
            assert_inert(&shown, tool);
            let answer: Value = serde_json::from_str(&shown).unwrap();
            if tool == "info" {
                assert_eq!(answer["rows"], at + 1);
                let step = &answer["footer"]["derived"][0]["slice"];
                assert_eq!(step["key"], key::escape(bytes));
                assert_eq!(answer["footer"]["target"]["version"], EVIL);
            }
        }
    }
}

#[test]
fn errors_that_quote_a_key_or_a_path_are_inert() {
    let page = page();
    let file = page.file.as_os_str();
    let evil = OsStr::new("\u{1b}[2J\u{9b}\u{202e}\u{7}\n\u{2028}x");
    let joined = |option: &str| {
        let mut joined = std::ffi::OsString::from(option);
        joined.push(evil);
        joined
    };
    let broken = joined(page.file.with_file_name("").to_str().unwrap());
    fs::write(&broken, "no capture").unwrap();
    let cases: Vec<(i32, Vec<&OsStr>)> = vec![
        (2, vec![evil]),
        (2, vec![&broken]),
        (2, vec!["info".as_ref(), &broken]),
        (2, vec!["check".as_ref(), &broken]),
        (2, vec!["check".as_ref(), evil]),
        (2, vec!["merge".as_ref(), file, &broken, "-o".as_ref(), "x/y".as_ref()]),
        (2, vec!["slice".as_ref(), file, "-o".as_ref(), &broken]),
        (2, vec!["slice".as_ref(), file, "--op".as_ref(), evil, "-o".as_ref(), "x/y".as_ref()]),
        (2, vec!["slice".as_ref(), file, "--from".as_ref(), evil, "-o".as_ref(), "x/y".as_ref()]),
        (
            2,
            vec![
                "anonymise".as_ref(),
                file,
                "--hash-keys".as_ref(),
                &broken,
                "-o".as_ref(),
                "x/y".as_ref(),
            ],
        ),
        (
            2,
            vec![
                "anonymise".as_ref(),
                file,
                "--hash-keys".as_ref(),
                evil,
                "-o".as_ref(),
                "x/y".as_ref(),
            ],
        ),
        (0, vec![file, "--key-is".as_ref(), evil]),
        (2, vec![file, "--key-is".as_ref(), OsStr::new("\u{1b}[2J\\n")]),
        (2, vec![file, "--sort".as_ref(), evil]),
        (2, vec![file, "--top".as_ref(), evil]),
        (2, vec![file, "--format".as_ref(), evil]),
    ];
    for (status, arguments) in cases {
        let output = mcanalyze(&arguments);
        let (said, shown) = (text(&output.stderr), text(&output.stdout));
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert_inert(&said, &format!("{arguments:?}"));
        assert_inert(&shown, &format!("{arguments:?}"));
        if status == 0 {
            assert!(shown.contains("no operation on key \\u{1b}[2J"), "{shown}");
        } else {
            assert!(!said.is_empty() && shown.is_empty(), "{arguments:?}: {shown}");
        }
    }
    let option = joined("--");
    let output = mcanalyze(&[file, &option]);
    assert_eq!(output.status.code(), Some(2));
    assert_inert(&text(&output.stderr), "an option");
}

#[test]
fn a_key_as_long_as_keys_may_be_is_wrapped_and_complete() {
    // What is hostile in it does not get through by being cut.
    let folder = tempfile::tempdir().unwrap();
    let long: Vec<u8> = b"\x1b[31m\xff".iter().copied().cycle().take(250).collect();
    let escaped = key::escape(&long);
    let shown = text(
        &mcanalyze(&[
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/hostile.parquet").as_ref(),
            "--key-is".as_ref(),
            escaped.as_ref(),
        ])
        .stdout,
    );
    assert_inert(&shown, "long");
    assert!(shown.contains(&escaped), "{shown}");
    drop(folder);
}
