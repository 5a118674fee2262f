//! What the tests of mcanalyze share: captures that are there, or are made, and the
//! engines that they are compared with.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

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

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
