//! What mcanalyze answers about captures that are samples of the keys, beside what it says
//! of the capture that they were made of.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use samples::{sample, text};

fn mcanalyze(file: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcanalyze")).arg(file).args(arguments).output().unwrap()
}

fn json(file: &Path, arguments: &[&str]) -> Value {
    let output = mcanalyze(file, &[&["--format", "json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// Asks a question that has a name.
fn ask(question: &str, files: &[&str], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcanalyze"));
    command.arg(question).args(files.iter().map(|file| sample(file))).args(arguments);
    command.output().unwrap()
}

/// The answer as programs get it.
fn answer(question: &str, files: &[&str], arguments: &[&str]) -> Value {
    let output = ask(question, files, &[arguments, &["--format", "json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// Calls, hits, misses and bytes of every key.
fn by_key(answer: &Value) -> HashMap<&str, [f64; 4]> {
    let rows = answer["top"].as_array().unwrap().iter();
    let figures = ["calls", "hits", "misses", "bytes"];
    rows.map(|row| (row["key"].as_str().unwrap(), figures.map(|name| row[name].as_f64().unwrap())))
        .collect()
}

/// How far an estimate may be off: four standard deviations of the sum over keys of
/// `figures`, of which one in `one_in` is sampled.
fn tolerance(figures: impl Iterator<Item = f64>, one_in: f64) -> f64 {
    4.0 * (figures.map(|figure| figure * figure).sum::<f64>() * (one_in - 1.0)).sqrt()
}

#[test]
fn a_sample_is_scaled_and_the_figures_of_a_key_are_not() {
    let every_key = ["--top", "100000"];
    let whole = json(&sample("zipf.parquet"), &every_key);
    let truth = by_key(&whole);
    for (file, sparsest) in [("sampled.parquet", 4.0), ("resampled.parquet", 8.0)] {
        let answer = json(&sample(file), &every_key);
        let (answered, all) = (&answer["capture"], &whole["capture"]);
        for exact in ["operations", "rate", "duration_s"] {
            assert_eq!(answered[exact], all[exact], "{exact} of {file}");
        }
        assert_eq!(answered["complete"], true);
        assert_eq!(answered["sampling"]["sparsest_one_in"].as_f64(), Some(sparsest));
        let near = |name: &str, tolerance: f64| {
            let (is, was) = (answered[name].as_f64().unwrap(), all[name].as_f64().unwrap());
            assert!((is - was).abs() <= tolerance, "{name} of {file}: {is} for {was}, {tolerance}");
            // And not by accident what is there, or what it would be unscaled.
            assert!(is > was * 0.6, "{name} of {file}: {is} for {was}");
        };
        near("hits", tolerance(truth.values().map(|key| key[1]), sparsest));
        near("misses", tolerance(truth.values().map(|key| key[2]), sparsest));
        near("distinct_keys", tolerance(truth.values().map(|_| 1.0), sparsest));
        near("bytes_returned", tolerance(truth.values().map(|key| key[3]), sparsest));
        // A key that is there is there as a whole, or marked.
        let shares = answer["top"].as_array().unwrap().iter();
        let shares = shares.map(|row| (row["key"].as_str().unwrap(), row));
        let figures = by_key(&answer);
        let (mut always, mut partly) = (0, 0);
        for (key, row) in shares {
            if row["recorded"] == "partly" {
                partly += 1;
                assert!(figures[key][0] <= truth[key][0]);
                continue;
            }
            always += 1;
            assert_eq!(figures[key], truth[key], "{key} in {file}");
            let share = truth[key][0] / all["operations"].as_f64().unwrap();
            assert!((row["share"].as_f64().unwrap() - share).abs() < 1e-12);
        }
        assert_eq!(partly > 0, file == "resampled.parquet");
        let expected = tolerance(truth.values().map(|_| 1.0), sparsest) / sparsest;
        let keys = f64::from(always) - f64::from(u32::try_from(truth.len()).unwrap()) / sparsest;
        assert!(keys.abs() < expected, "{always} keys of {file}");

        let shown = text(&mcanalyze(&sample(file), &[]).stdout);
        let (said, table) = (shown.find("SAMPLED").unwrap(), shown.find("p99").unwrap());
        assert!(said < table && shown.contains("(~"), "{shown}");
        let csv = mcanalyze(&sample(file), &["--format", "csv"]);
        assert!(csv.status.success() && text(&csv.stderr).contains("sample of the keys"));
    }
    assert_eq!(whole["capture"]["sampling"], Value::Null);
    assert!(!text(&mcanalyze(&sample("zipf.parquet"), &[]).stdout).contains('~'));
    // Of a key that was left out it is known that nothing is known.
    let sampled = json(&sample("sampled.parquet"), &every_key);
    let there = by_key(&sampled);
    let absent = truth.keys().find(|key| !there.contains_key(*key)).unwrap();
    let shown = text(&mcanalyze(&sample("sampled.parquet"), &["--key-is", absent]).stdout);
    assert!(shown.contains("not in the sample"), "{shown}");
}

#[test]
fn a_sample_and_another_capture_each_have_their_own_scale() {
    let one = json(&sample("sampled.parquet"), &[]);
    let other = json(&sample("hostile.parquet"), &[]);
    let hostile = sample("hostile.parquet");
    let both = json(&sample("sampled.parquet"), &[hostile.to_str().unwrap()]);
    for name in ["operations", "hits", "misses", "distinct_keys", "bytes_returned"] {
        let of = |answer: &Value| answer["capture"][name].as_i64().unwrap();
        assert_eq!(of(&both), of(&one) + of(&other), "{name}");
    }
}

/// The sum of a column over rows.
fn sum(rows: &Value, column: &str) -> f64 {
    rows.as_array().unwrap().iter().filter_map(|row| row[column].as_f64()).sum()
}

#[test]
fn groups_of_a_sample_are_scaled_as_sql_would() {
    for (by, column) in [("op", "op"), ("status", "status"), ("thread", "thread_id")] {
        let answered = json(&sample("sampled.parquet"), &["--by", by, "--top", "100"]);
        // One key in four is there, and everything without a key.
        let query = format!(
            "SELECT {column} AS name, SUM(CASE WHEN key IS NULL THEN 1 ELSE 4 END) AS calls, \
             SUM(CASE WHEN key IS NULL THEN 1 ELSE 4 END * COALESCE(value_size, 0)) AS bytes \
             FROM capture WHERE op NOT IN ('connect', 'disconnect') GROUP BY 1"
        );
        let found = answer("sql", &["sampled.parquet"], &[&query]);
        let figures = |rows: &Value, name: &str| -> HashMap<String, (i64, i64)> {
            let rows = rows.as_array().unwrap().iter();
            let of = |row: &Value, column: &str| row[column].as_i64().unwrap();
            rows.map(|row| (row[name].to_string(), (of(row, "calls"), of(row, "bytes")))).collect()
        };
        let name = if by == "thread" { "thread_id" } else { by };
        let (top, rows) = (figures(&answered["top"], name), figures(&found["rows"], "name"));
        assert!(!top.is_empty());
        assert_eq!(top, rows, "{by}");
        let shown = text(&mcanalyze(&sample("sampled.parquet"), &["--by", by]).stdout);
        assert!(shown.contains("~calls"), "{shown}");
    }
}

#[test]
fn every_table_of_a_sample_is_about_that_of_all_keys() {
    let all = json(&sample("zipf.parquet"), &["--top", "100000"]);
    let truth = by_key(&all);
    let of_figure = |at: usize| truth.values().map(move |figures| figures[at]);
    for (file, one_in) in [("sampled.parquet", 4.0), ("resampled.parquet", 8.0)] {
        let near = |what: &str, is: f64, was: f64, tolerance: f64| {
            assert!((is - was).abs() <= tolerance, "{what} of {file}: {is} for {was}, {tolerance}");
            // And not by accident what is there, or what it would be unscaled.
            assert!(is > was * 0.5, "{what} of {file}: {is} for {was}");
        };
        let both = |question: &str, arguments: &[&str]| {
            [file, "zipf.parquet"].map(|file| answer(question, &[file], arguments))
        };
        let calls = tolerance(of_figure(0), one_in);
        let bytes = tolerance(of_figure(3), one_in);
        let keys = tolerance(of_figure(0).map(|_| 1.0), one_in);

        let outermost = |answer: &Value| -> Value {
            let rows = answer["prefixes"].as_array().unwrap().iter();
            rows.filter(|row| row["depth"] == 0).cloned().collect()
        };
        let [is, was] = both("prefixes", &["--top", "1000"]).map(|answer| outermost(&answer));
        for (column, tolerance) in [("calls", calls), ("bytes", bytes), ("keys", keys)] {
            near(column, sum(&is, column), sum(&was, column), tolerance);
        }
        let [is, was] = both("sizes", &[]);
        near("values", sum(&is["sizes"], "values"), sum(&was["sizes"], "values"), calls);
        near("sizes", sum(&is["sizes"], "bytes"), sum(&was["sizes"], "bytes"), bytes);
        near("stores", sum(&is["ttls"], "stores"), sum(&was["ttls"], "stores"), calls);
        let [is, was] = both("clients", &[]);
        near("clients", sum(&is["clients"], "calls"), sum(&was["clients"], "calls"), calls);
        let [is, was] = both("series", &["--keys", "--every", "1h"]);
        near("keys", sum(&is["series"], "new_keys"), sum(&was["series"], "new_keys"), keys);

        let figure = |answer: &Value, question: &str, name: &str| {
            let rows = answer[question]["figures"].as_array().unwrap().iter();
            let row = rows.clone().find(|row| row["figure"] == name);
            row.unwrap_or_else(|| panic!("{name}"))["value"].as_f64().unwrap()
        };
        for (question, name, tolerance) in [
            ("popularity", "keys", keys),
            ("popularity", "keys that were called once", keys),
            ("misses", "keys", keys),
            ("misses", "misses", tolerance(of_figure(2), one_in)),
            ("memory", "keys in use at a time, at most", keys),
        ] {
            let [is, was] = both(question, &[]).map(|answer| figure(&answer, question, name));
            near(name, is, was, tolerance);
        }
        let [is, was] = both("memory", &[]);
        let name = "memory that they take";
        let (is_bytes, was_bytes) = (figure(&is, "memory", name), figure(&was, "memory", name));
        assert!((0.5..2.0).contains(&(is_bytes / was_bytes)), "{is_bytes} for {was_bytes}");
        let errors = |answer: &Value| sum(&answer["memory"]["curve"], "error");
        assert!(errors(&is) > 0.0, "what a sample says is not exact");
        assert!(errors(&was) == 0.0);
    }
}

#[test]
fn a_sample_differs_in_nothing_from_the_capture_that_it_is_of() {
    for (file, one_in) in [("sampled.parquet", 4), ("resampled.parquet", 8)] {
        for files in [[file, "zipf.parquet"], ["zipf.parquet", file]] {
            for by in ["key", "op", "prefix"] {
                let found = answer("diff", &files, &["--by", by]);
                for kind in ["new", "gone", "hotter", "colder"] {
                    assert_eq!(found["diff"][kind], Value::Array(vec![]), "{kind} {by} {files:?}");
                }
            }
        }
        let shown = ask("diff", &[file, "zipf.parquet"], &[]);
        let expected = format!("the same keys, one in {one_in}");
        assert!(text(&shown.stdout).contains(&expected), "{}", text(&shown.stdout));
    }
}
