//! The report, in a real browser.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use samples::sample;

fn report(capture: &Path, page: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcanalyze"))
        .args([Path::new("report"), capture, Path::new("-o"), page])
        .output()
        .unwrap()
}

/// What a browser makes of the report on a capture.
fn seen(capture: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let made = report(&sample(capture), &page);
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(matches!(made.status.code(), Some(0 | 1)), "{said}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/report.py");
    let looked = Command::new("python3").arg(script).arg(&page).output().unwrap();
    serde_json::from_slice(&looked.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&looked.stderr)))
}

/// Nothing went wrong in it, and it asked nobody for anything.
fn assert_sound(page: &Value) {
    assert_eq!(page["errors"], Value::Array(vec![]), "{page}");
    assert_eq!(page["requests"], Value::Array(vec![]), "{page}");
    assert_eq!(page["scripts"], 5);
    assert_eq!(page["overflow"], false);
    for (section, length) in page["sections"].as_object().unwrap() {
        assert!(length.as_u64().unwrap() > 10, "{section} is empty");
    }
}

#[test]
fn a_report_shows_what_was_recorded() {
    let page = seen("zipf.parquet");
    assert_sound(&page);
    assert_eq!(page["rows"]["keys"], 200);
    assert_eq!(page["texts"][0], "user:10000:profile");
    assert_eq!((&page["sorted"], &page["found"]), (&Value::Bool(true), &Value::Bool(true)));
}

#[test]
fn hostile_keys_are_text_and_nothing_else() {
    let page = seen("hostile.parquet");
    assert_sound(&page);
    assert_eq!(page["rows"]["keys"], 26);
}

#[test]
fn little_and_loss_and_samples_are_shown_too() {
    for name in ["empty.parquet", "lossy.parquet", "sampled.parquet", "resampled.parquet"] {
        assert_sound(&seen(name));
    }
}

#[test]
fn a_report_replaces_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    std::fs::write(&page, "precious").unwrap();
    let refused = report(&sample("zipf.parquet"), &page);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(std::fs::read(&page).unwrap(), b"precious");
    let link = folder.path().join("link.html");
    std::os::unix::fs::symlink(&page, &link).unwrap();
    assert_eq!(report(&sample("zipf.parquet"), &link).status.code(), Some(2));
    assert_eq!(std::fs::read(&page).unwrap(), b"precious");
}
