//! What mcanalyze answers to each question, beside what others find in the same file.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use samples::{generate, python, sample, text};

fn mcanalyze(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcanalyze")).args(arguments).output().unwrap()
}

/// The answer as programs get it.
fn json(arguments: &[&str]) -> Value {
    let output = mcanalyze(&[arguments, &["--format", "json"]].concat());
    let said = text(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {said}"))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// All figures of these questions, or of all, are what the engines find.
fn others_agree(file: &Path, questions: &[&str]) {
    let compared = python("questions.py")
        .args([Path::new(env!("CARGO_BIN_EXE_mcanalyze")), file])
        .args(questions)
        .output()
        .unwrap();
    let (said, errors) = (text(&compared.stdout), text(&compared.stderr));
    assert!(compared.status.success(), "{}:\n{said}{errors}", file.display());
    let last = said.lines().last().unwrap_or_default();
    let count: u64 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 500 && last.ends_with("figures compared, 0 differences"), "{said}");
}

#[test]
fn another_engine_finds_the_same_in_a_recording() {
    others_agree(&sample("zipf.parquet"), &[]);
}

#[test]
fn another_engine_finds_the_same_where_keys_are_hostile() {
    // But for the prefixes: in these keys `*` may be one itself.
    const QUESTIONS: [&str; 8] =
        ["groups", "filters", "series", "latency", "slow", "sizes", "misses", "memory"];
    others_agree(&sample("hostile.parquet"), &QUESTIONS);
}

#[test]
fn another_engine_finds_the_same_in_a_capture_of_which_the_answers_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(folder.path(), "60000", "8000");
    others_agree(&file, &[]);
    // It is made of a law with exponent 1, a little flatter at the first ranks, and nine reads in ten; 93 in 100 hit.
    let figure = |answer: &Value, line: usize| answer["figures"][line]["value"].as_f64().unwrap();
    let popularity = json(&["popularity", path(&file)]);
    assert!((figure(&popularity["popularity"], 3) - 1.0).abs() < 0.1);
    let hit_ratio = json(&[path(&file)])["capture"]["hit_ratio"].as_f64().unwrap();
    assert!((hit_ratio - 0.93).abs() < 0.01, "{hit_ratio}");
}

/// What is not the same if only the files are others.
fn without_files(mut answer: Value) -> Value {
    // A slice repeats how many requests the whole recording did not see.
    for name in ["files", "lossy", "requests_without_operation"] {
        answer["capture"].as_object_mut().unwrap().remove(name);
    }
    answer
}

const QUESTIONS: [&[&str]; 19] = [
    &[],
    &["--by", "conn", "--sort", "bytes"],
    &["--by", "prefix", "--op", "get"],
    &["--by", "client", "--where", "value_size > 100"],
    &["--sort", "size", "--top", "50"],
    &["--sort", "last", "--reverse"],
    &["latency", "--by", "size"],
    &["series", "--keys", "--every", "20ms"],
    &["prefixes"],
    &["slow"],
    &["slow", "--top", "3", "--around", "2"],
    &["bursts"],
    // Connections of different recordings have different numbers.
    &["--conn", "1,5"],
    &["--by", "op", "--where", "conn_id > 2 AND ts > '2020-01-01'"],
    &[
        "sql",
        "SELECT conn_id, count(*) AS n, max(request_id) AS last FROM capture GROUP BY conn_id ORDER BY conn_id",
    ],
    &["misses"],
    &["sizes"],
    &["popularity"],
    &["memory"],
];

#[test]
fn many_files_have_the_answers_of_their_merge() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    let zipf = sample("zipf.parquet");
    // A rotated recording in three files, and one of another host at another time.
    for (name, window) in [
        ("a", &["--to", "+60ms"][..]),
        ("b", &["--from", "+60ms", "--to", "+120ms"]),
        ("c", &["--from", "+120ms"]),
    ] {
        let out = parts.join(format!("{name}.parquet"));
        let sliced = mcanalyze(&[&["slice", path(&zipf), "-o", path(&out)], window].concat());
        assert!(sliced.status.success(), "{}", text(&sliced.stderr));
    }
    std::fs::copy(sample("hostile.parquet"), parts.join("d.parquet")).unwrap();
    let files: Vec<PathBuf> =
        ["a", "b", "c", "d"].map(|name| parts.join(format!("{name}.parquet"))).into();
    let merged = folder.path().join("merged.parquet");
    let mut words = vec!["merge", "-o", path(&merged)];
    words.extend(files.iter().map(|file| path(file)));
    assert!(mcanalyze(&words).status.success());
    for question in QUESTIONS {
        let asked = |file: &str| match question {
            [name, rest @ ..] if !name.starts_with('-') => {
                without_files(json(&[&[*name, file], rest].concat()))
            }
            words => without_files(json(&[&[file], words].concat())),
        };
        assert_eq!(asked(path(&parts)), asked(path(&merged)), "{question:?}");
    }
}

#[test]
fn what_was_lost_stands_above_every_answer() {
    let lossy = sample("lossy.parquet");
    for question in
        ["latency", "series", "prefixes", "slow", "misses", "sizes", "popularity", "memory"]
    {
        let output = mcanalyze(&[question, path(&lossy)]);
        assert_eq!(output.status.code(), Some(1), "{question}");
        let shown = text(&output.stdout);
        let lost = shown.lines().position(|line| line.starts_with("LOST")).unwrap();
        assert!(lost < 6 && shown.contains("at most so many more"), "{question}: {shown}");
    }
    let bursts = json(&["bursts", path(&lossy)]);
    assert!(bursts["notes"][1].as_str().unwrap().starts_with("Operations were lost in"));
    let series = json(&["series", path(&lossy), "--every", "10ms"]);
    let lost = series["series"].as_array().unwrap().iter().map(|row| row["lost"].as_i64().unwrap());
    assert!(lost.sum::<i64>() > 0);
}

#[test]
fn every_face_of_an_answer_is_there() {
    let zipf = sample("zipf.parquet");
    for format in ["text", "json", "csv", "markdown"] {
        for question in QUESTIONS {
            let words = match question {
                [name, rest @ ..] if !name.starts_with('-') => {
                    [&[*name, path(&zipf)], rest].concat()
                }
                words => [&[path(&zipf)], words].concat(),
            };
            let output = mcanalyze(&[&words[..], &["--format", format]].concat());
            assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
            assert!(text(&output.stdout).lines().count() > 1, "{words:?} {format}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_way_out() {
    let zipf = sample("zipf.parquet");
    let file = path(&zipf);
    for (words, said) in [
        (&[file, "--key", "("][..], "unclosed group"),
        (&[file, "--where", "nonsense > 1"], "nonsense"),
        (&[file, "--where", "value_size"], "not true or false"),
        (&[file, "--where", "count(*) > 1"], "not about each row"),
        (&[file, "--min-size", "1kb"], "4KiB"),
        (&[file, "--status", "gone"], "there are hit miss"),
        (&["sql", file, "SELECT"], "cannot run the query"),
        (&["sql", file, "SELECT nothing FROM capture"], "nothing"),
        (&["sql", file, "SELECT op FROM read_parquet('/etc/passwd')"], "the table is capture"),
        (&["sql", file, "SELECT op FROM \"Read_CSV\" ('x')"], "the table is capture"),
        (&["sql", file, "DROP TABLE capture"], "only read"),
        (&["sql", file, "SELECT 1; SELECT 2"], "one query at a time"),
        (&["sql", file, "SELECT count(*) FROM capture WHERE key = 5"], "does not go together"),
        (&[file, "--from", "+2s", "--to", "+1s"], "nothing lies between"),
        (&[file, "--client", "localhost"], "no address"),
        (&[file, "--top", "-1"], "-1 is not in"),
        (&["series", file, "--every", "1us"], "at least 1ms"),
        (&["diff", file, "/nowhere.parquet"], "no such file"),
    ] {
        let output = mcanalyze(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let errors = text(&output.stderr);
        assert!(errors.contains(said) && !errors.contains("panicked"), "{words:?}: {errors}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn every_command_has_an_example_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    assert!(mcanalyze(&["manual", path(folder.path())]).status.success());
    let names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() > 15 && names.contains(&"mcanalyze.1".to_owned()), "{names:?}");
    for name in names {
        let words = name.strip_suffix(".1").unwrap().strip_prefix("mcanalyze").unwrap();
        let command = words.strip_prefix('-').map_or(vec![], |command| vec![command]);
        let help = text(&mcanalyze(&[&command[..], &["--help"]].concat()).stdout);
        assert!(help.contains("Example: "), "{name}: {help}");
        let page = std::fs::read_to_string(folder.path().join(&name)).unwrap();
        assert!(page.contains(".TH") && page.contains("Example"), "{name}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&mcanalyze(&["completions", shell]).stdout);
        assert!(script.contains("min-latency") && script.contains("prefixes"), "{shell}");
    }
}

#[test]
fn what_is_asked_for_in_vain_or_hidden_is_said() {
    let zipf = sample("zipf.parquet");
    let outside = json(&[path(&zipf), "--to", "2020-01-01T00:00:00Z"]);
    let whole = json(&[path(&zipf)]);
    assert_eq!(outside["capture"]["start"], whole["capture"]["start"], "when it was recorded");
    assert_eq!(outside["capture"]["operations"], 0);
    let shown = text(&mcanalyze(&[path(&zipf), "--to", "2020-01-01T00:00:00Z"]).stdout);
    assert!(shown.contains("nothing was recorded then"), "{shown}");
    let misses = text(&mcanalyze(&["misses", path(&zipf), "--op", "get"]).stdout);
    assert!(misses.contains("taken for not there"), "{misses}");
    // A loss outside of what is asked for is none of it.
    let lossy = sample("lossy.parquet");
    let later = mcanalyze(&[path(&lossy), "--from", "2030-01-01T00:00:00Z"]);
    assert!(!text(&later.stdout).contains("LOST"), "{}", text(&later.stdout));
    // The loss of an interval is told once.
    let series = json(&["series", path(&lossy), "--every", "2ms"]);
    let rows = series["series"].as_array().unwrap();
    let lost: i64 = rows.iter().map(|row| row["lost"].as_i64().unwrap()).sum();
    let marked = rows.iter().filter(|row| row["lossy"] == "!").count();
    assert!(lost == 1_519 && marked > 1, "{lost} in {marked}");
}

#[test]
fn kinds_of_change_are_one_table_for_spreadsheets() {
    let (zipf, hostile) = (sample("zipf.parquet"), sample("hostile.parquet"));
    let csv = mcanalyze(&["diff", path(&zipf), path(&hostile), "--format", "csv"]);
    let shown = text(&csv.stdout);
    let mut lines = shown.lines();
    assert!(lines.next().unwrap().starts_with("kind,key,calls_before"), "{shown}");
    let kinds: Vec<&str> = lines.filter_map(|line| line.split(',').next()).collect();
    assert!(kinds.contains(&"new") && kinds.contains(&"gone"), "{shown}");
}
