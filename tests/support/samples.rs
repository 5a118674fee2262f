//! What the tests of mcanalyze share: captures that are there, or are made, and the
//! engines that they are compared with.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use mcrec_schema::footer::{self, Footer};

/// A capture of `sample-data`.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(name)
}

/// A capture of so many rows, made by `capture/examples/generate.rs`.
pub fn generate(folder: &Path, rows: &str, keys: &str) -> PathBuf {
    let file = folder.join("generated.parquet");
    let program = Path::new(env!("CARGO_BIN_EXE_mcanalyze")).with_file_name("examples");
    let program = program.join("generate");
    assert!(program.exists(), "{} is built by cargo test --workspace", program.display());
    let made = Command::new(program).arg(&file).args([rows, keys]).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    file
}

/// A script of this folder, to be run by the interpreter that has the other engines.
pub fn python(script: &str) -> Command {
    let python = std::env::var_os("MCREC_PYTHON").map_or_else(
        || {
            let program = Path::new(env!("CARGO_BIN_EXE_mcanalyze"));
            program.ancestors().nth(2).unwrap().join("python/bin/python")
        },
        PathBuf::from,
    );
    assert!(python.exists(), "{} is not there: run `make python`", python.display());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(script));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Has the other engines compare, or break, captures: `script` says how.
#[track_caller]
pub fn compare(script: &str, words: &[&dyn AsRef<OsStr>]) {
    let output = with(python(script), words).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// mcanalyze with these words and paths.
pub fn mcanalyze(words: &[&dyn AsRef<OsStr>]) -> Command {
    with(Command::new(env!("CARGO_BIN_EXE_mcanalyze")), words)
}

fn with(mut command: Command, words: &[&dyn AsRef<OsStr>]) -> Command {
    words.iter().for_each(|word| {
        command.arg(word.as_ref());
    });
    command
}

/// Runs it, and expects that status.
#[track_caller]
pub fn ran(status: i32, words: &[&dyn AsRef<OsStr>]) -> Output {
    let output = mcanalyze(words).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}{}", text(&output.stdout));
    assert!(!said.contains("panicked"), "{said}");
    output
}

/// The footer that has these entries.
pub fn footer_of(entry: impl Fn(&str) -> Option<String>) -> Footer {
    let names = [
        footer::FORMAT,
        footer::CAPTURE,
        footer::TARGET,
        footer::SOURCE,
        footer::LOSS,
        footer::COST,
        footer::PRIVACY,
    ];
    let entries: Vec<(&str, String)> =
        names.into_iter().filter_map(|name| Some((name, entry(name)?))).collect();
    let find = |name: &str| {
        entries.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    };
    Footer::from_entries(find).unwrap()
}

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
