//! Captures that are larger than the memory at hand.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    path::Path,
    process::{Command, Output},
};

use samples::generate;

/// Asks with no more than `bytes` of memory of its own.
fn ask_within(bytes: &str, file: &Path, question: &[&str]) -> Output {
    Command::new("prlimit")
        .args([&format!("--data={bytes}"), "--"])
        .arg(env!("CARGO_BIN_EXE_mcanalyze"))
        .arg(file)
        .args(question)
        .output()
        .unwrap()
}

const QUESTIONS: [&[&str]; 9] = [
    &["--latency"],
    &["--sort", "calls", "--reverse"],
    &["--sort", "bytes"],
    &["--sort", "size"],
    &["--sort", "size", "--reverse"],
    &["--sort", "misses"],
    &["--sort", "latency"],
    &["--sort", "last"],
    &["--key-is", "session:e4d971771b652c20"],
];

fn every_question_is_answered_within(bytes: &str, rows: &str, keys: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(folder.path(), rows, keys);
    for question in QUESTIONS {
        let output = ask_within(bytes, &file, question);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{question:?}: {:?} {said}", output.status);
        assert!(!output.stdout.is_empty(), "{question:?}");
    }
}

#[test]
fn memory_does_not_grow_with_the_capture() {
    // Two million keys in four million rows: these alone would fill it.
    every_question_is_answered_within("402653184", "4000000", "100000000");
}

/// Takes some minutes, and 1.5 GB of disk, in the release profile:
/// `cargo test --release --workspace --test scale -- --ignored`, after `cargo build
/// --release --workspace --examples`
#[test]
#[ignore = "takes minutes and 1.5 GB of disk"]
fn a_hundred_million_rows_in_two_gibibytes() {
    every_question_is_answered_within("2147483648", "100000000", "12000000");
}
