//! Captures as seven readers of Parquet read them: every value of every column.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::path::{Path, PathBuf};

use samples::{generate, python, ran, sample, text};

/// Where make puts Node.js and what it runs.
fn node() -> PathBuf {
    let beside = || {
        let program = Path::new(env!("CARGO_BIN_EXE_mcanalyze"));
        program.ancestors().nth(2).unwrap().join("node")
    };
    let node = std::env::var_os("MCREC_NODE").map_or_else(beside, PathBuf::from);
    assert!(node.exists(), "{} is not there: run `make node`", node.display());
    node
}

/// Whether all read what pyarrow reads, and who does.
fn read(captures: &[PathBuf]) -> (bool, Vec<String>) {
    let output = python("readers.py").args(captures).env("MCREC_NODE", node()).output().unwrap();
    let said = text(&output.stdout);
    assert!(!said.is_empty(), "{}", text(&output.stderr));
    (output.status.success(), said.lines().map(str::to_owned).collect())
}

#[test]
fn all_readers_see_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    // All samples but `truncated`, which is no Parquet file; and one that was written now.
    let names = [
        ("empty", 0),
        ("foreign", 0),
        ("hostile", 117),
        ("killed", 900),
        ("lossy", 1381),
        ("newer", 0),
        ("resampled", 14_920),
        ("sampled", 7630),
        ("skipped", 1111),
        ("zipf", 30_000),
    ];
    let mut captures: Vec<PathBuf> =
        names.iter().map(|(name, _)| sample(&format!("{name}.parquet"))).collect();
    captures.push(generate(folder.path(), "20000", "500"));
    let readers = "pandas fastparquet polars duckdb datafusion hyparquet";
    let expected = names.into_iter().chain([("generated", 20_000)]);
    let expected: Vec<String> =
        expected.map(|(name, rows)| format!("{name}.parquet: {rows} rows: {readers}")).collect();
    assert_eq!(read(&captures), (true, expected));
}

/// Not so if there is a gap of five minutes in them: fastparquet 2026.9.0 drops bits of wide
/// deltas (`findings/fastparquet-wide-deltas.sh`). When this fails because all agree, it or
/// the writer has changed, and the capture belongs to those above.
#[test]
fn only_fastparquet_misreads_times_that_are_far_apart() {
    let folder = tempfile::tempdir().unwrap();
    let merged = folder.path().join("merged.parquet");
    // Of different days. One of them may lack operations, which the status tells.
    ran(1, &[&"merge", &sample("hostile.parquet"), &sample("skipped.parquet"), &"-o", &merged]);
    let (all_agree, said) = read(&[merged]);
    assert!(!all_agree, "{said:#?}");
    assert!(said[0].starts_with("merged.parquet: fastparquet: ts, row 117: "), "{said:#?}");
    let agree = "merged.parquet: 1228 rows: pandas polars duckdb datafusion hyparquet";
    assert_eq!(said[1..], [agree]);
}
