//! What mcanalyze says of items, where what was sent is not what is there; and of captures
//! that grow while it reads them.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/made.rs"]
mod made;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "support/random.rs"]
mod random;
#[path = "support/samples.rs"]
mod samples;

use std::{
    collections::HashMap,
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::Value;

use made::{Making, Row, make};
use random::Random;
use samples::{compare, mcanalyze, python, ran, text};

/// The answer of mcanalyze to `words` about a capture of these row groups.
fn json(folder: &Path, groups: &[&[Row<'_>]], words: &[&str]) -> Value {
    let file = folder.join("made.parquet");
    let _ = std::fs::remove_file(&file);
    make(&file, groups);
    let mut command = match words.split_first() {
        Some((question, rest)) if !question.starts_with('-') => {
            let mut command = mcanalyze(&[question, &file]);
            command.args(rest);
            command
        }
        _ => {
            let mut command = mcanalyze(&[&file]);
            command.args(words);
            command
        }
    };
    let output = command.args(["--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const KEY: Option<&str> = Some("key");

#[test]
fn sizes_are_of_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let set = ("set", KEY, "stored", Some(80));
    let cases: [(&[&[Row<'_>]], Option<i64>); 12] = [
        (&[&[set, ("append", KEY, "stored", Some(2))]], Some(82)),
        // In another row group, which another thread reads.
        (
            &[
                &[set],
                &[("append", KEY, "stored", Some(2))],
                &[("prepend", KEY, "stored", Some(3))],
            ],
            Some(85),
        ),
        (&[&[("append", KEY, "stored", Some(2))]], None),
        (&[&[set, ("add", KEY, "not_stored", Some(3))]], Some(80)),
        (&[&[set, ("set", KEY, "server_error", Some(2 << 20))]], None),
        (&[&[set, ("set", KEY, "no_reply", Some(5))]], Some(5)),
        (&[&[set, ("add", KEY, "no_reply", Some(5))]], None),
        (&[&[set, ("incr", KEY, "ok", None)]], None),
        (&[&[set, ("delete", KEY, "deleted", None)]], None),
        (
            &[&[set], &[("flush_all", None, "ok", None)], &[("get", Some("x"), "hit", Some(1))]],
            None,
        ),
        (&[&[set, ("flush_all", None, "ok", None), ("get", KEY, "hit", Some(9))]], Some(9)),
        (&[&[set, ("touch", KEY, "touched", None), ("get", KEY, "hit", None)]], Some(80)),
    ];
    for (groups, size) in cases {
        for sort in ["calls", "size"] {
            let answer = json(folder.path(), groups, &["--sort", sort]);
            let of_key = answer["top"].as_array().unwrap().iter().find(|row| row["key"] == "key");
            assert_eq!(of_key.unwrap()["value_size"], Value::from(size), "{groups:?}");
        }
    }
}

#[test]
fn what_was_refused_was_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let rows: &[Row<'_>] = &[
        ("set", KEY, "stored", Some(80)),
        ("append", KEY, "stored", Some(2)),
        ("set", KEY, "server_error", Some(2_000_000)),
        ("add", KEY, "not_stored", Some(3)),
        ("get", KEY, "hit", Some(82)),
    ];
    let capture = &json(folder.path(), &[rows], &[])["capture"];
    assert_eq!((&capture["bytes_stored"], &capture["bytes_returned"]), (&82.into(), &82.into()));
    let answer = json(folder.path(), &[rows], &["sizes"]);
    let sizes = answer["sizes"].as_array().unwrap();
    assert_eq!(
        (sizes.len(), &sizes[0]["stored"], &sizes[0]["returned"]),
        (1, &1.into(), &1.into())
    );
    assert_eq!(answer["ttls"][0]["stores"], 1);
    let note = answer["notes"].to_string();
    assert!(note.contains("2 stores that were refused, and 1 store (append"), "{note}");
}

/// Operations on few keys, with all that may become of them: one a row. Hits return what
/// was stored, as far as that is known, or else anything.
struct Operations<'a> {
    keys: &'a [String],
    sizes: HashMap<&'a str, i64>,
    returns_anything: bool,
    random: Random,
}

impl<'a> Operations<'a> {
    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.random.below(words.len())]
    }

    fn row(&mut self) -> Row<'a> {
        const STORES: [&str; 6] =
            ["stored", "stored", "stored", "no_reply", "unknown", "server_error"];
        const DONE: [&str; 4] = ["ok", "not_found", "client_error", "no_reply"];
        let key = self.keys[self.random.below(self.keys.len())].as_str();
        let size = i64::try_from(self.random.below(3_000)).unwrap();
        let (op, status) = match self.random.below(400) {
            0 => ("flush_all", "ok"),
            1..200 => (self.one_of(&["get", "gets"]), self.one_of(&["hit", "hit", "miss"])),
            200..260 => ("set", self.one_of(&STORES)),
            260..290 => ("add", self.one_of(&["stored", "not_stored", "no_reply"])),
            290..310 => ("cas", self.one_of(&["stored", "exists", "not_found", "unknown"])),
            310..350 => (
                self.one_of(&["append", "prepend"]),
                self.one_of(&["stored", "stored", "not_stored", "no_reply"]),
            ),
            350..365 => (self.one_of(&["incr", "decr"]), self.one_of(&DONE)),
            365..390 => ("delete", self.one_of(&["deleted", "not_found", "exists"])),
            _ => ("touch", self.one_of(&["touched", "not_found"])),
        };
        let stores = matches!(op, "set" | "add" | "cas" | "append" | "prepend");
        let size = match status {
            "hit" if self.returns_anything => Some(size),
            "hit" => self.sizes.get(key).copied(),
            _ => stores.then_some(size),
        };
        match (op, status) {
            ("flush_all", _) => self.sizes.clear(),
            ("set" | "add" | "cas", "stored") => drop(self.sizes.insert(key, size.unwrap())),
            ("append" | "prepend", "stored") => {
                self.sizes.entry(key).and_modify(|sum| *sum += size.unwrap());
            }
            (_, "hit" | "exists" | "touched" | "client_error") => {}
            ("add", "not_stored") => {}
            _ => drop(self.sizes.remove(key)),
        }
        (op, (op != "flush_all").then_some(key), status, size)
    }
}

fn random_capture(file: &Path, keys: &[String], returns_anything: bool) {
    let (sizes, random) = (HashMap::new(), Random(7));
    let mut operations = Operations { keys, sizes, returns_anything, random };
    let mut making = Making::begin(file);
    for _ in 0..12 {
        let rows: Vec<Row<'_>> = (0..400).map(|_| operations.row()).collect();
        making.commit(&rows);
    }
    making.end();
}

fn questions(file: &Path, questions: &[&str]) {
    let program = env!("CARGO_BIN_EXE_mcanalyze");
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&program, &file];
    words.extend(questions.iter().map(|question| question as &dyn AsRef<OsStr>));
    compare("questions.py", &words);
}

#[test]
fn a_cache_of_any_size_hits_what_it_would() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("random.parquet");
    let keys: Vec<String> = (0..300).map(|number| format!("user:{number}:item")).collect();
    random_capture(&file, &keys, false);
    questions(&file, &["memory", "misses"]);
}

#[test]
fn other_engines_find_the_same_items_whatever_became_of_operations() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("random.parquet");
    let keys: Vec<String> = (0..300).map(|number| format!("user:{number}:item")).collect();
    random_capture(&file, &keys, true);
    questions(&file, &["groups", "filters", "sizes", "compare"]);
    for (sort, figure) in [("size", "value_size"), ("calls", "calls")] {
        let answer = ran(0, &[&file, &"--sort", &sort, &"--format", &"json", &"--top", &"300"]);
        let mut engines = python("engines.py");
        engines.arg(&file).arg(figure).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut engines = engines.spawn().unwrap();
        std::io::Write::write_all(&mut engines.stdin.take().unwrap(), &answer.stdout).unwrap();
        let compared = engines.wait_with_output().unwrap();
        let said = text(&compared.stdout);
        assert!(said.contains("300 keys compared with three engines, 0 differences"), "{said}");
    }
    // And libCacheSim is told of the same sizes.
    let records = folder.path().join("records");
    for ops in ["", "get,gets,set,add,append", "get"] {
        let words: [&dyn AsRef<OsStr>; 5] =
            [&"export", &file, &"--as=oracle-general", &"-o", &records];
        let op = format!("--op={ops}");
        let more: &[&dyn AsRef<OsStr>] =
            if ops.is_empty() { &[&"--force"] } else { &[&"--force", &op] };
        let output = ran(0, &[&words[..], more].concat());
        assert!(text(&output.stderr).contains("its requests are reads"), "{output:?}");
        compare("exchange.py", &[&"oracle-general", &file, &records, &ops]);
    }
}

#[test]
fn with_all_the_memory_there_is_what_was_there_hits() {
    let folder = tempfile::tempdir().unwrap();
    let figures = |rows: &[Row<'_>]| -> Vec<Option<f64>> {
        let answer = json(folder.path(), &[rows], &["memory"]);
        let figures = answer["memory"]["figures"].as_array().unwrap().clone();
        figures.iter().map(|row| row["value"].as_f64()).collect()
    };
    let (a, b) = (Some("A"), Some("B"));
    let (set, get) = (|key| ("set", key, "stored", Some(10)), |key| ("get", key, "hit", Some(10)));
    let four = figures(&[set(a), set(b), get(a), get(b)]);
    // Recorded; with all of 134 bytes, half, a quarter, a tenth; not there before; from before.
    let some = |of: [f64; 7]| of.map(Some).to_vec();
    assert_eq!(four[2..9], some([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
    // A server that was warm: nobody knows what it takes, but it was there.
    assert_eq!(figures(&[get(a)])[2..9], some([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]));
    let miss = ("get", a, "miss", None);
    assert_eq!(figures(&[miss])[2..9], some([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]));
    let shown = text(&ran(0, &[&"memory", &folder.path().join("made.parquet")]).stdout);
    assert!(
        shown.contains("ideal LRU") && shown.contains("A memcached of that size may"),
        "{shown}"
    );
    assert!(!shown.contains("± 0.0"), "{shown}");
}

/// The output of a program, while which `meanwhile` is done until it ends, up to so often.
fn while_it_runs(mut command: Command, most: usize, mut meanwhile: impl FnMut()) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waits = thread::spawn(|| child.wait_with_output().unwrap());
    for _ in 0..most {
        if waits.is_finished() {
            break;
        }
        meanwhile();
    }
    waits.join().unwrap()
}

#[test]
fn a_capture_that_grows_is_the_same_to_all_that_read_it() {
    const ROWS: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("growing.parquet");
    let mut making = Making::begin(&file);
    let rows = [("set", KEY, "stored", Some(80)); ROWS];
    making.commit(&rows);
    let mut asked = |command: Command| {
        let output = while_it_runs(command, 40, || making.commit(&rows));
        let said = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    for _ in 0..5 {
        let count = "SELECT count(*) AS n, sum(value_size) AS bytes FROM capture";
        let answer = asked(mcanalyze(&[&"sql", &file, &count, &"--format", &"json"]));
        let row = &answer["rows"][0];
        let rows = row["n"].as_u64().unwrap();
        assert_eq!((rows % ROWS as u64, row["bytes"].as_u64()), (0, Some(rows * 80)));
        let capture = &asked(mcanalyze(&[
            &file,
            &"--where",
            &"value_size = 80",
            &"--format",
            &"json",
        ]))["capture"];
        assert_eq!(capture["operations"], capture["of_operations"]);
    }
}
