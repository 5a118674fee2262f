//! What mcanalyze answers about the captures of sample-data.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    collections::HashSet,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use samples::{python, sample, text};

fn mcanalyze(file: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcanalyze")).arg(file).args(arguments).output().unwrap()
}

fn json(file: &Path, arguments: &[&str]) -> Value {
    let output = mcanalyze(file, &[&["--format", "json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

const SORTS: [(&str, &str); 8] = [
    ("calls", "calls"),
    ("bytes", "bytes"),
    ("rate", "calls"),
    ("size", "value_size"),
    ("misses", "misses"),
    ("writes", "writes"),
    ("latency", "latency_p99_ns"),
    ("last", "last"),
];

#[test]
fn three_other_engines_agree_on_every_figure() {
    let cases = SORTS.map(|(sort, figure)| ("hostile.parquet", sort, figure));
    for (file, sort, figure) in cases.into_iter().chain([("zipf.parquet", "calls", "calls")]) {
        let answer = mcanalyze(&sample(file), &["--format", "json", "--sort", sort]);
        assert!(answer.status.success(), "{}", text(&answer.stderr));
        let mut engines = python("engines.py")
            .args([&sample(file), Path::new(figure)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        engines.stdin.take().unwrap().write_all(&answer.stdout).unwrap();
        let compared = engines.wait_with_output().unwrap();
        let said = text(&compared.stdout);
        assert!(compared.status.success(), "{file} by {sort}: {said}");
        assert!(said.contains("20 keys compared with three engines, 0 differences"), "{said}");
    }
}

#[test]
fn a_reader_that_takes_few_forms_of_parquet_reads_what_pyarrow_reads() {
    let folder = tempfile::tempdir().unwrap();
    let generated = samples::generate(folder.path(), "50000", "1000");
    let names = ["hostile", "killed", "lossy", "resampled", "sampled", "skipped", "zipf"];
    let of_samples = names.map(|name| sample(&format!("{name}.parquet")));
    let files = of_samples.iter().chain([&generated]);
    let compared = python("plain_reader.py").args(files).output().unwrap();
    let said = format!("{}{}", text(&compared.stdout), text(&compared.stderr));
    assert!(compared.status.success(), "{said}");
    assert_eq!(said.matches("rows are the same").count(), names.len() + 1, "{said}");
}

#[test]
fn reverse_begins_at_the_other_end() {
    let keys = |arguments: &[&str]| -> Vec<String> {
        let answer = json(&sample("hostile.parquet"), arguments);
        let rows = answer["top"].as_array().unwrap().clone();
        rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    let all = keys(&["--top", "1000", "--sort", "last"]);
    let mut reversed = keys(&["--top", "1000", "--sort", "last", "--reverse"]);
    reversed.reverse();
    assert_eq!(all.len(), 26);
    assert_eq!(all, reversed);
    assert_eq!(keys(&["--top", "3", "--sort", "last"]), all[..3]);
}

#[test]
fn latency_histograms_and_percentiles_count_every_operation() {
    let file = sample("zipf.parquet");
    let answer = json(&file, &["--latency", "--top", "1"]);
    let percentiles = answer["latency"]["percentiles"].as_array().unwrap();
    let histogram = answer["latency"]["histogram"].as_array().unwrap();
    let ops: HashSet<&str> = percentiles.iter().map(|row| row["op"].as_str().unwrap()).collect();
    assert_eq!(ops, HashSet::from(["all", "get", "set", "delete"]));
    assert_eq!(percentiles[0]["count"], answer["capture"]["operations"]);
    for row in percentiles {
        let buckets: Vec<_> = histogram.iter().filter(|bucket| bucket["op"] == row["op"]).collect();
        let sum: i64 = buckets.iter().map(|bucket| bucket["count"].as_i64().unwrap()).sum();
        assert_eq!(sum, row["count"].as_i64().unwrap());
        // The maximum lies in the last bucket, which is not empty.
        let (last, max) = (buckets.last().unwrap(), row["max_ns"].as_i64().unwrap());
        assert!(
            (last["from_ns"].as_i64().unwrap()..last["to_ns"].as_i64().unwrap()).contains(&max)
        );
        let figures = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns"];
        assert!(figures.map(|name| row[name].as_i64().unwrap()).is_sorted());
    }

    let key = answer["top"][0]["key"].as_str().unwrap();
    let of_key = json(&file, &["--latency", "--key-is", key]);
    assert_eq!(of_key["top"].as_array().unwrap().len(), 1);
    let mut alone = answer["top"][0].clone();
    // Its share of what was asked for, which is itself.
    alone["share"] = 1.0.into();
    assert_eq!(of_key["top"][0], alone);
    let of_key = &of_key["latency"]["percentiles"][0];
    assert_eq!(of_key["count"], answer["top"][0]["calls"]);
    assert_eq!(of_key["p99_ns"], answer["top"][0]["latency_p99_ns"]);

    let shown = text(&mcanalyze(&file, &["--latency", "--key-is", key]).stdout);
    assert!(shown.contains("p99.99") && shown.contains("all commands") && shown.contains('█'));
}

#[test]
fn several_files_are_one_capture() {
    let one = json(&sample("hostile.parquet"), &[]);
    let folder = tempfile::tempdir().unwrap();
    for (name, copy) in [("hostile.parquet", "a.parquet"), ("killed.parquet", "b.parquet")] {
        std::fs::copy(sample(name), folder.path().join(copy)).unwrap();
    }
    let directory = json(folder.path(), &[]);
    let glob = json(&folder.path().join("?.parquet"), &[]);
    let files = json(
        &folder.path().join("a.parquet"),
        &[folder.path().join("b.parquet").to_str().unwrap()],
    );
    assert_eq!(directory, glob);
    assert_eq!(directory, files);
    // One recording given twice counts once.
    let twice = mcanalyze(folder.path(), &[sample("hostile.parquet").to_str().unwrap()]);
    assert!(text(&twice.stderr).contains("left out"));
    let operations = one["capture"]["operations"].as_i64().unwrap();
    assert_eq!(directory["capture"]["operations"].as_i64().unwrap(), operations + 900);
    assert_eq!(directory["capture"]["files"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_missing_stands_above_the_answer() {
    let lossy = mcanalyze(&sample("lossy.parquet"), &[]);
    assert_eq!(lossy.status.code(), Some(1));
    let shown = text(&lossy.stdout);
    let (loss, table) = (shown.find("LOST").unwrap(), shown.find("before:0").unwrap());
    assert!(loss < table && shown.contains("ring full"), "{shown}");
    let capture = &json(&sample("lossy.parquet"), &[])["capture"];
    let count = |name: &str| capture[name].as_i64().unwrap();
    assert_eq!(count("seen"), 2_900, "what the client sent");
    assert_eq!(count("operations") + count("lost"), count("seen"));
    // Bounds, where it was operations that were lost.
    assert_eq!(count("lost_at_most"), 1_519);
    let (hits, gets) = (count("hits") as f64, (count("hits") + count("misses") + 1_519) as f64);
    assert_eq!(capture["hit_ratio_at_least"].as_f64(), Some(hits / gets));
    assert_eq!(capture["hit_ratio_at_most"].as_f64(), Some((hits + 1_519.0) / gets));
    assert!(shown.contains("with what was lost"), "{shown}");
    assert_eq!(capture["complete"], false);

    let killed = mcanalyze(&sample("killed.parquet"), &[]);
    assert_eq!(killed.status.code(), Some(1));
    assert!(text(&killed.stdout).contains("UNFINISHED"));
    let csv = mcanalyze(&sample("killed.parquet"), &["--format", "csv"]);
    assert_eq!(csv.status.code(), Some(1));
    assert!(text(&csv.stderr).contains("incomplete"));
    let shown = text(&mcanalyze(&sample("zipf.parquet"), &[]).stdout);
    assert!(shown.contains("not seen   hits of meta get"), "{shown}");
}

#[test]
fn what_may_be_missing_stands_above_the_answer_and_where_it_may_be() {
    // Of 87 reads and replies whose programs the kernel skipped, so many showed.
    let skipped = sample("skipped.parquet");
    let output = mcanalyze(&skipped, &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("MISREAD    34 times"), "{shown}");
    assert!(shown.contains("MAY LACK   up to 87 reads or replies may"), "{shown}");
    let capture = &json(&skipped, &[])["capture"];
    assert_eq!(capture["possible"]["skipped_runs"], 87);
    assert_eq!((&capture["complete"], &capture["lost_at_most"]), (&false.into(), &Value::Null));
    // In doubt is the time in which it happened, and no other.
    let [start, end] = ["start", "end"].map(|name| capture[name].as_str().unwrap());
    for lossy in capture["lossy"].as_array().unwrap() {
        assert!(lossy["from"].as_str() >= Some(start) && lossy["to"].as_str() <= Some(end));
    }
    assert!(capture["lossy"].as_array().unwrap().iter().any(|lossy| lossy["lost"] == 0));
    let window = json(&skipped, &["--from", "+1s", "--to", "+2s"]);
    assert_eq!(window["capture"]["possible"]["skipped_runs"], 87);
    let others = json(&sample("zipf.parquet"), &[]);
    assert_eq!(others["capture"]["possible"]["skipped_runs"], 0);
}

#[test]
fn hostile_keys_are_inert_in_every_output() {
    let file = sample("hostile.parquet");
    for arguments in [
        &["--top", "100", "--latency"][..],
        &["--top", "100", "--format", "csv"],
        &["--top", "100", "--format", "json"],
        &["--key-is", "\u{1b}[2J\u{202e}"],
    ] {
        let shown = text(&mcanalyze(&file, arguments).stdout);
        let controls: Vec<char> = shown.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert_eq!(controls, [], "{arguments:?}");
        assert!(!shown.contains(['\u{202e}', '\u{200b}']), "{arguments:?}");
    }
    let csv = text(&mcanalyze(&file, &["--top", "100", "--format", "csv"]).stdout);
    assert!(csv.lines().any(|line| line.starts_with("'=cmd")), "{csv}");
    assert!(csv.contains("\"quote\"\"and,comma\""));
    // Programs get keys as the capture has them.
    let answer = json(&file, &["--top", "100"]);
    let keys: Vec<&str> =
        answer["top"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    for key in ["\\x1b[31mred\\x1b[0m", "back\\x5cslash\\x5cx41", "\\xff\\xfe\\x80not-utf8"] {
        assert!(keys.contains(&key), "{key} is not in {keys:?}");
    }
    assert!(keys.contains(&"user\u{202e}1:resu"), "in JSON, which has an escape for it");
    // And such a key is found again by what was printed.
    assert_eq!(json(&file, &["--key-is", "user\\u{202e}1:resu"])["top"][0]["hits"], 4);
    assert_eq!(json(&file, &["--key-is", "back\\x5cslash\\x5cx41"])["top"][0]["hits"], 9);
}

#[test]
fn an_empty_capture_and_an_absent_key_have_sensible_answers() {
    let empty = mcanalyze(&sample("empty.parquet"), &["--latency"]);
    assert!(empty.status.success());
    assert!(text(&empty.stdout).contains("no operations on keys"));
    let answer = json(&sample("empty.parquet"), &["--latency"]);
    assert_eq!(answer["capture"]["operations"], 0);
    assert_eq!(answer["capture"]["hit_ratio"], Value::Null);
    assert_eq!(answer["top"], Value::Array(vec![]));
    let absent = mcanalyze(&sample("zipf.parquet"), &["--key-is", "never"]);
    assert!(text(&absent.stdout).contains("no operation on key never"));
}

#[test]
fn what_is_not_a_capture_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = [
        (sample("missing.parquet"), "no such file"),
        (sample("foreign.parquet"), "not a capture"),
        (sample("newer.parquet"), "version 2"),
        (sample("truncated.parquet"), "not a whole one"),
        (sample("README.md"), "not a Parquet file"),
        (folder.path().to_owned(), "no *.parquet"),
        (PathBuf::from("/dev/null"), "not a file"),
    ];
    for (file, reason) in refused {
        let output = mcanalyze(&file, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{reason:?} is not in: {said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_damaged_capture_has_an_answer_or_an_error_and_no_panic() {
    let whole = std::fs::read(sample("hostile.parquet")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.parquet");
    // Every bit of the last part, where the metadata is, would take too long;
    // these are enough to meet what a reader does not expect.
    let mut refused = 0;
    for at in (4..whole.len()).step_by(whole.len() / 150) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&file, &damaged).unwrap();
        let output = mcanalyze(&file, &["--latency", "--format", "json"]);
        let said = text(&output.stderr);
        let code = output.status.code();
        assert!(matches!(code, Some(0..=2)), "byte {at}: {code:?} {said}");
        assert!(said.lines().count() <= 1, "byte {at}: {said}");
        assert!(!said.contains("a bug in"), "byte {at}: {said}");
        refused += usize::from(code == Some(2));
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_mcanalyze"))
        .arg(sample("zipf.parquet"))
        .args(["--top", "7000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn a_capture_that_was_cut_off_in_a_commit_is_read_as_it_was_before() {
    let folder = tempfile::tempdir().unwrap();
    // A folder's name is no column.
    let within = folder.path().join("op=get");
    std::fs::create_dir(&within).unwrap();
    let cut = within.join("cut.parquet");
    let whole = std::fs::read(sample("zipf.parquet")).unwrap();
    let (_, end) = whole.split_last_chunk::<8>().unwrap();
    let footer = u32::from_le_bytes(*end.first_chunk().unwrap()) as usize + 8;
    let (data, footer) = whole.split_at(whole.len() - footer);
    let journal = [b"mcrecj01", &(data.len() as u64).to_le_bytes()[..], footer, b"10jcercm"];
    std::fs::write(within.join("cut.parquet.journal"), journal.concat()).unwrap();
    // Less than the old footer was written over, and more.
    for written in [100, footer.len() + 5_000] {
        let mut torn = whole.clone();
        torn.resize(whole.len().max(data.len() + written), 0);
        torn[data.len()..data.len() + written].fill(7);
        std::fs::write(&cut, &torn).unwrap();
        let arguments = ["--format", "json", "--latency"];
        let (before, after) =
            (mcanalyze(&sample("zipf.parquet"), &arguments), mcanalyze(&cut, &arguments));
        let said = text(&after.stderr);
        assert_eq!((before.status.code(), after.status.code()), (Some(0), Some(1)), "{said}");
        let json = |output: &Output| {
            let mut json: Value = serde_json::from_slice(&output.stdout).unwrap();
            json["capture"]["complete"].take();
            json
        };
        assert_eq!(json(&before), json(&after));
        let shown = text(&mcanalyze(&cut, &[]).stdout);
        assert!(shown.contains("UNFINISHED"), "{shown}");
    }
}
