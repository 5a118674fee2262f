//! What the tools for captures make of them, compared with other engines.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use samples::{compare, mcanalyze, ran, sample, text};

const SECRET: &str = "8f14e45fceea167a5a36dedd4bea2543";

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// What `check` finds broken in a capture.
fn broken(file: &Path) -> Vec<String> {
    let output = mcanalyze(&[&"check", &file, &"--format", &"json"]).output().unwrap();
    let answer = json(&output);
    let promises = answer["promises"].as_array().unwrap();
    let broken: Vec<String> = promises
        .iter()
        .filter(|promise| promise["kept"] == false)
        .map(|promise| promise["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(output.status.code(), Some(i32::from(!broken.is_empty())));
    assert_eq!(answer["sound"], broken.is_empty());
    broken
}

#[track_caller]
fn assert_sound(file: &Path) {
    assert_eq!(broken(file), [""; 0]);
    let mode = fs::metadata(file).unwrap().permissions().mode();
    assert!(mode & 0o7777 == 0o600 || file.starts_with(sample("")), "{mode:o}");
}

fn footer(file: &Path) -> Value {
    json(&mcanalyze(&[&"info", &file, &"--format", &"json"]).output().unwrap())["footer"].take()
}

#[test]
fn slices_have_the_rows_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (zipf, out) = (sample("zipf.parquet"), folder.path().join("slice.parquet"));
    let start = footer(&zipf)["capture"]["start_us"].as_i64().unwrap();
    let at = |after: i64| start + after;
    let top = json(&mcanalyze(&[&zipf, &"--format", &"json", &"--top", &"1"]).output().unwrap());
    let key = top["top"][0]["key"].as_str().unwrap();
    let rfc = |us: i64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(us.unsigned_abs());
        humantime::format_rfc3339_micros(time).to_string()
    };
    let cases: Vec<(Vec<String>, String)> = vec![
        (vec!["--from=+50ms".into()], format!("epoch_us(ts) >= {}", at(50_000))),
        (vec![format!("--to={}", rfc(start + 50_000))], format!("epoch_us(ts) < {}", at(50_000))),
        (
            vec!["--from=+20ms".into(), "--to=+70ms".into(), "--op=set,delete".into()],
            format!(
                "epoch_us(ts) >= {} AND epoch_us(ts) < {} AND op IN ('set', 'delete')",
                at(20_000),
                at(70_000)
            ),
        ),
        (vec![format!("--key={key}")], format!("key = '{key}'")),
        (vec!["--prefix=user:1".into()], "starts_with(key, 'user:1')".into()),
        (
            vec!["--conn=2,3".into(), "--prefix=session:".into()],
            "conn_id IN (2, 3) AND starts_with(key, 'session:')".into(),
        ),
    ];
    for (filter, condition) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcanalyze"));
        command.args(["slice", "--force", "-o"]).args([&out, &zipf]).args(&filter);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{filter:?}: {}", text(&output.stderr));
        compare("tools.py", &[&"slice", &zipf, &out, &condition]);
        assert_sound(&out);
        let (whole, slice) = (footer(&zipf), footer(&out));
        for kept in ["target", "source", "cost", "privacy"] {
            assert_eq!(whole[kept], slice[kept]);
        }
        assert_eq!(whole["capture"]["id"], slice["capture"]["id"]);
        assert_eq!(slice["derived"][0]["how"], "slice");
        assert_eq!(slice["derived"][0]["from"][0], whole["capture"]["id"]);
    }
    // A key is found by what was printed of it.
    let hostile = sample("hostile.parquet");
    ran(0, &[&"slice", &hostile, &"--force", &"-o", &out, &"--key", &"user\\u{202e}1:resu"]);
    compare("tools.py", &[&"slice", &hostile, &out, &"key = 'user\u{202e}1:resu'"]);
}

#[test]
fn slices_in_time_are_the_whole_once_merged() {
    let folder = tempfile::tempdir().unwrap();
    let zipf = sample("zipf.parquet");
    let at = |name: &str| folder.path().join(name);
    ran(0, &[&"slice", &zipf, &"--to", &"+40ms", &"-o", &at("1")]);
    ran(0, &[&"slice", &zipf, &"--from", &"+40ms", &"--to", &"+80ms", &"-o", &at("2")]);
    ran(0, &[&"slice", &zipf, &"--from", &"+80ms", &"-o", &at("3")]);
    ran(0, &[&"merge", &at("3"), &at("1"), &at("2"), &"-o", &at("all")]);
    compare("tools.py", &[&"same", &zipf, &at("all")]);
    assert_sound(&at("all"));
    let (whole, merged) = (footer(&zipf), footer(&at("all")));
    for part in ["target", "source", "cost", "privacy"] {
        assert_eq!(whole[part], merged[part], "{part}");
    }
    for part in ["id", "start_us", "end_us", "start_monotonic_ns", "end_monotonic_ns", "ended"] {
        assert_eq!(whole["capture"][part], merged["capture"][part], "{part}");
    }
    for part in ["seen", "written", "losses", "incomplete"] {
        assert_eq!(whole["loss"][part], merged["loss"][part], "{part}");
    }

    // By operation and by connection, whose times overlap, too.
    ran(0, &[&"slice", &zipf, &"--op", &"get", &"-o", &at("gets")]);
    ran(0, &[&"slice", &zipf, &"--op", &"set,delete", &"-o", &at("others")]);
    ran(0, &[&"merge", &at("gets"), &at("others"), &"-o", &at("both")]);
    compare("tools.py", &[&"same", &zipf, &at("both")]);
    let twice = ran(2, &[&"merge", &at("gets"), &zipf, &"-o", &at("twice")]);
    assert!(text(&twice.stderr).contains("count twice"), "{}", text(&twice.stderr));
    assert!(!at("twice").exists() && !at("twice.partial").exists());
}

#[test]
fn merged_captures_keep_recordings_apart_and_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged.parquet");
    let mut parts = ["lossy.parquet", "zipf.parquet", "hostile.parquet"].map(sample);
    compare("tools.py", &[&"break", &parts[2], &folder.path(), &"elsewhere"]);
    parts[2] = folder.path().join("elsewhere.parquet");
    ran(1, &[&"merge", &parts[0], &parts[1], &parts[2], &"-o", &out]);
    compare("tools.py", &[&"merge", &out, &parts[0], &parts[1], &parts[2]]);
    assert_sound(&out);
    let merged = footer(&out);
    let described = merged["derived"][0]["parts"].as_array().unwrap();
    assert_eq!(described.len(), 3);
    let mut next = 1;
    for part in described {
        assert_eq!(part["conn_ids"][0], next);
        next = part["conn_ids"][1].as_i64().unwrap() + 1;
        let own = parts.iter().map(|path| footer(path)).find(|f| f["capture"] == part["capture"]);
        assert_eq!(own.unwrap()["target"], part["target"]);
    }
    let sum = |name: &str| -> i64 {
        parts.iter().map(|path| footer(path)["loss"][name].as_i64().unwrap()).sum()
    };
    assert_eq!(merged["loss"]["seen"], sum("seen"));
    assert_eq!(merged["loss"]["written"], sum("written"));

    // What is made of it still says of which host its rows are.
    let slice = folder.path().join("slice.parquet");
    ran(1, &[&"slice", &out, &"--conn", &"1,2,18", &"-o", &slice]);
    compare("tools.py", &[&"slice", &out, &slice, &"conn_id IN (1, 2, 18)"]);
    assert_sound(&slice);

    // Answers about it are those about all of its parts.
    let answer = |files: &[&dyn AsRef<std::ffi::OsStr>]| {
        let arguments = [files, &[&"--format", &"json", &"--top", &"100"]].concat();
        let mut answer = json(&mcanalyze(&arguments).output().unwrap());
        answer["capture"]["files"].take();
        answer
    };
    assert_eq!(answer(&[&out]), answer(&[&parts[2], &parts[1], &parts[0]]));
    let shown = text(&mcanalyze(&[&out]).output().unwrap().stdout);
    assert_eq!(shown.lines().filter(|line| line.starts_with("memcached")).count(), 3, "{shown}");
}

#[test]
fn losses_of_a_slice_are_those_of_its_window() {
    let folder = tempfile::tempdir().unwrap();
    let (lossy, at) = (sample("lossy.parquet"), |name: &str| folder.path().join(name));
    let whole = footer(&lossy);
    let series = whole["loss"]["series"].as_array().unwrap();
    let [from, to] = [0, 1].map(|at| series.last().unwrap()[at].as_i64().unwrap());
    let lost = whole["loss"]["losses"]["ring_full"].as_i64().unwrap();
    assert!(lost > 0 && from < to);
    let start = whole["capture"]["start_us"].as_i64().unwrap();
    let middle = format!("+{}us", (from + to) / 2 - start);
    ran(1, &[&"slice", &lossy, &"--to", &middle, &"-o", &at("first")]);
    ran(1, &[&"slice", &lossy, &"--from", &middle, &"-o", &at("second")]);
    for half in ["first", "second"] {
        // It is not known in which half they were lost.
        let loss = &footer(&at(half))["loss"];
        assert_eq!(loss["losses"]["ring_full"], lost);
        let written = loss["written"].as_i64().unwrap();
        assert_eq!(loss["seen"], written + lost);
        assert_sound(&at(half));
    }
    let end = whole["capture"]["end_us"].as_i64().unwrap() - start;
    ran(0, &[&"slice", &lossy, &"--from", &format!("+{end}us"), &"-o", &at("none")]);
    assert_eq!(footer(&at("none"))["loss"]["seen"], 0);
    assert_sound(&at("none"));

    // The end of a recording that was cut off is not known; what lies before it is.
    let killed = sample("killed.parquet");
    ran(1, &[&"slice", &killed, &"--from", &"+1ms", &"-o", &at("open")]);
    assert_eq!(footer(&at("open"))["capture"]["ended"], Value::Null);
    ran(0, &[&"slice", &killed, &"--to", &"+1ms", &"-o", &at("closed")]);
    assert_eq!(footer(&at("closed"))["capture"]["ended"], "slice");
}

#[test]
fn what_may_be_missing_stays_with_what_is_made_of_a_capture() {
    let folder = tempfile::tempdir().unwrap();
    let (skipped, at) = (sample("skipped.parquet"), |name: &str| folder.path().join(name));
    let possible = |path: &Path| {
        let loss = &footer(path)["loss"];
        let series = loss["possible_series"].as_array().map_or(0, Vec::len);
        (loss["possible"]["skipped_runs"].as_i64().unwrap_or(0), series)
    };
    assert_eq!(possible(&skipped), (87, 1));
    ran(1, &[&"slice", &skipped, &"--from", &"+1s", &"-o", &at("slice")]);
    ran(1, &[&"merge", &skipped, &sample("zipf.parquet"), &"-o", &at("merged")]);
    for made in ["slice", "merged"] {
        assert_eq!(possible(&at(made)), (87, 1), "{made}");
        assert_sound(&at(made));
    }
    let checked = text(&ran(0, &[&"check", &skipped]).stdout);
    assert!(checked.contains("up to 87 reads or replies more"), "{checked}");
    let shown = text(&ran(1, &[&"info", &skipped]).stdout);
    assert!(shown.contains("MAY LACK up to 87"), "{shown}");
}

#[test]
fn anonymised_captures_have_pseudonyms_and_nothing_else_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("key"), format!("{SECRET}\n")).unwrap();
    fs::set_permissions(at("key"), fs::Permissions::from_mode(0o600)).unwrap();
    for (number, name) in ["hostile.parquet", "zipf.parquet"].into_iter().enumerate() {
        let out = at(&number.to_string());
        ran(0, &[&"anonymise", &sample(name), &"--hash-keys", &at("key"), &"-o", &out]);
        compare("tools.py", &[&"anonymise", &sample(name), &out, &SECRET]);
        assert_sound(&out);
        let (before, after) = (footer(&sample(name)), footer(&out));
        for part in ["capture", "target", "source", "loss", "cost"] {
            assert_eq!(before[part], after[part], "{part}");
        }
        assert!(after["privacy"]["keys_hashed"].as_str().unwrap().contains("SipHash-2-4"));
        let bytes = fs::read(&out).unwrap();
        for word in ["user", "session", "profile", "script", SECRET] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
        }
        let again = ran(2, &[&"anonymise", &out, &"--hash-keys", &at("key"), &"-o", &at("again")]);
        assert!(text(&again.stderr).contains("hashed already"));
        assert!(!at("again").exists());
    }
    // Neither does the history of a slice say of which key it is.
    ran(0, &[&"slice", &sample("zipf.parquet"), &"--prefix", &"user:", &"-o", &at("users")]);
    ran(0, &[&"anonymise", &at("users"), &"--hash-keys", &at("key"), &"-o", &at("hidden")]);
    let bytes = fs::read(at("hidden")).unwrap();
    assert!(!bytes.windows(5).any(|part| part == b"user:"));
    // What is hashed and what is not cannot be one capture.
    let mixed =
        [&"merge" as &dyn AsRef<_>, &at("hidden"), &sample("hostile.parquet"), &"-o", &at("mixed")];
    assert!(text(&ran(2, &mixed).stderr).contains("anonymise"));

    fs::set_permissions(at("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let open =
        [&"anonymise" as &dyn AsRef<_>, &at("users"), &"--hash-keys", &at("key"), &"-o", &at("no")];
    assert!(text(&ran(2, &open).stderr).contains("chmod 600"));
    assert!(!at("no").exists());
}

#[test]
fn check_finds_each_fault_and_none_where_there_is_none() {
    for name in ["zipf", "hostile", "empty", "lossy", "killed"] {
        assert_sound(&sample(&format!("{name}.parquet")));
    }
    let folder = tempfile::tempdir().unwrap();
    let faults = [
        ("nothing", &[][..]),
        ("written", &["written"]),
        ("seen", &["seen"]),
        ("series-sum", &["series"]),
        ("series-outside", &["series"]),
        ("span", &["span"]),
        ("op", &["words"]),
        ("protocol", &["words"]),
        ("status", &["statuses"]),
        ("key-control", &["keys"]),
        ("key-twice-escaped", &["keys"]),
        ("key-length", &["key_lengths"]),
        ("size", &["numbers"]),
        ("connection", &["connections"]),
        ("time", &["time"]),
        ("request", &["requests"]),
        ("key-index", &["requests"]),
        ("statistics", &["statistics"]),
        ("hashed", &["keys"]),
    ];
    let hostile = sample("hostile.parquet");
    let into = folder.path();
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"break", &hostile, &into];
    arguments.extend(faults.iter().map(|(fault, _)| fault as &dyn AsRef<std::ffi::OsStr>));
    // What is not even opened.
    let refused = [
        ("type", "column thread_id is Int64 and not Int32"),
        ("nulls", "column quiet may have nulls, and must not"),
    ];
    arguments.extend(refused.iter().map(|(fault, _)| fault as &dyn AsRef<std::ffi::OsStr>));
    compare("tools.py", &arguments);
    for (fault, reason) in refused {
        let output = ran(2, &[&"check", &into.join(format!("{fault}.parquet"))]);
        assert!(text(&output.stderr).contains(reason), "{fault}");
    }
    for (fault, rules) in faults {
        let file = folder.path().join(format!("{fault}.parquet"));
        assert_eq!(broken(&file), rules, "{fault}");
        let shown = text(&mcanalyze(&[&"check", &file]).output().unwrap().stdout);
        assert_eq!(shown.matches("\nFAIL").count(), rules.len(), "{fault}: {shown}");
    }
    // A page that cannot be read, and what a killed recorder leaves.
    let file = folder.path().join("broken.parquet");
    let mut whole = fs::read(sample("zipf.parquet")).unwrap();
    whole[5_000..5_200].fill(0);
    fs::write(&file, whole).unwrap();
    assert!(broken(&file).contains(&"rows".to_owned()));
    fs::copy(sample("zipf.parquet"), &file).unwrap();
    fs::write(folder.path().join("broken.parquet.journal"), "left").unwrap();
    assert_eq!(broken(&file), ["journal"]);
    for name in ["foreign.parquet", "newer.parquet", "missing.parquet"] {
        assert_eq!(
            mcanalyze(&[&"check", &sample(name)]).output().unwrap().status.code(),
            Some(2),
            "{name}"
        );
    }
}

#[test]
fn info_says_what_the_file_holds() {
    let zipf = sample("zipf.parquet");
    let info = json(&ran(0, &[&"info", &zipf, &"--format", &"json"]));
    assert_eq!(info["rows"], 30_000);
    assert_eq!(info["bytes"], fs::metadata(&zipf).unwrap().len());
    let sum = |table: &str, column: &str| -> i64 {
        info[table].as_array().unwrap().iter().map(|row| row[column].as_i64().unwrap()).sum()
    };
    assert_eq!(sum("row_groups", "rows"), 30_000);
    assert_eq!(sum("row_groups", "bytes"), sum("columns", "bytes"));
    assert_eq!(info["columns"].as_array().unwrap().len(), 19);
    let shown = text(&ran(0, &[&"info", &zipf]).stdout);
    for part in
        ["memcached  1.6.18", "not seen", "latency_ns", "row group", "30,000 of 30,000 seen"]
    {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    let lossy = text(&ran(1, &[&"info", &sample("lossy.parquet")]).stdout);
    assert!(lossy.contains("1,519 ring full"), "{lossy}");
}

#[test]
fn of_a_capture_that_lost_its_footer_nothing_says_that_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole.parquet", "cut.parquet"].map(|name| folder.path().join(name));
    ran(0, &[&"slice", &sample("zipf.parquet"), &"--op", &"get", &"-o", &whole]);
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 8]).unwrap();
    let shown = text(&ran(1, &[&cut]).stdout);
    assert!(shown.contains("RECOVERED") && shown.contains("is not known"), "{shown}");
    let answer = json(&ran(1, &[&cut, &"--format", &"json"]));
    assert_eq!(answer["capture"]["complete"], false);
    assert!(answer["capture"]["lost_at_most"].is_null());
    // Nor of a part of it that has an end.
    let slice = folder.path().join("slice.parquet");
    ran(1, &[&"slice", &cut, &"--to=+100ms", &"-o", &slice]);
    assert!(text(&ran(1, &[&slice]).stdout).contains("RECOVERED"));
    assert!(!text(&ran(1, &[&"info", &slice]).stdout).contains("nothing lost"));
    ran(0, &[&"check", &slice]);
}

#[test]
fn a_file_that_has_the_name_of_a_tool_and_outputs_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(sample("hostile.parquet"), folder.path().join("info")).unwrap();
    let of_file = Command::new(env!("CARGO_BIN_EXE_mcanalyze"))
        .current_dir(folder.path())
        .arg("./info")
        .output()
        .unwrap();
    assert!(text(&of_file.stdout).contains("hit ratio"));

    let (zipf, at) = (sample("zipf.parquet"), |name: &str| folder.path().join(name));
    // A folder's name is no pattern.
    let [folder_like, folder_so] = ["c[1]", "c1"].map(at);
    for (folder, name) in [(&folder_like, "zipf.parquet"), (&folder_so, "hostile.parquet")] {
        fs::create_dir(folder).unwrap();
        fs::copy(sample(name), folder.join("c.parquet")).unwrap();
    }
    assert!(text(&ran(0, &[&folder_like]).stdout).contains(" 30,000"));
    fs::remove_dir_all(&folder_like).unwrap();
    fs::remove_dir_all(&folder_so).unwrap();

    fs::write(at("precious"), "precious").unwrap();
    symlink(at("precious"), at("link")).unwrap();
    for there in ["precious", "link", "."] {
        let refused = ran(2, &[&"slice", &zipf, &"--op", &"get", &"-o", &at(there)]);
        assert!(refused.stdout.is_empty());
    }
    assert_eq!(fs::read_to_string(at("precious")).unwrap(), "precious");
    // A slice may even take the place of what it was made from.
    fs::copy(&zipf, at("own")).unwrap();
    ran(0, &[&"slice", &at("own"), &"--op", &"set", &"--force", &"-o", &at("own")]);
    assert_sound(&at("own"));
    let nothing = ran(2, &[&"slice", &zipf, &"--from=+2s", &"--to=+1s", &"-o", &at("nothing")]);
    assert!(text(&nothing.stderr).contains("not before"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing half-made is left");
}

/// The samples are of format 1.0, which has no `cas_sent` nor what comes after it.
#[test]
fn older_captures_have_nulls_where_later_ones_have_columns_more() {
    let folder = tempfile::tempdir().unwrap();
    let (older, later) = (sample("zipf.parquet"), folder.path().join("later.parquet"));
    ran(0, &[&"slice", &older, &"--op", &"get", &"-o", &later]);
    assert_sound(&later);
    let count = |query: &str, files: &[&dyn AsRef<std::ffi::OsStr>]| {
        let command = [&[&"sql" as &dyn AsRef<_>], files, &[&query, &"--format", &"csv"]].concat();
        text(&ran(0, &command).stdout).lines().nth(1).unwrap().to_owned()
    };
    let nulls = "SELECT count(*) AS n FROM capture WHERE cas_sent IS NULL AND cas_set IS NULL AND \
                 meta_flags IS NULL AND meta_returned IS NULL";
    let all = "SELECT count(*) AS n FROM capture";
    for files in [&[&older as &dyn AsRef<_>][..], &[&later], &[&older, &later]] {
        assert_eq!(count(nulls, files), count(all, files));
        assert_ne!(count(all, files), "0");
    }
    let lines =
        |file: &Path| text(&ran(0, &[&"export", &file, &"--as", &"jsonl", &"--op", &"get"]).stdout);
    assert!(lines(&older) == lines(&later));
    assert!(lines(&later).starts_with('{') && lines(&later).contains("\"meta_flags\":null"));
}
