//! The notebook runs, over the sample data, and every cell of it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn every_cell_of_the_notebook_runs() {
    let python = std::env::var_os("MCREC_PYTHON").map_or_else(
        || {
            let program = Path::new(env!("CARGO_BIN_EXE_mcanalyze"));
            program.ancestors().nth(2).unwrap().join("python/bin/python")
        },
        PathBuf::from,
    );
    assert!(python.exists(), "{} is not there: run `make python`", python.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/notebook.py");
    let ran = Command::new(python).arg(script).output().unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}{errors}");
}
