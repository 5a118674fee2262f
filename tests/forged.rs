//! Captures that are damaged or forged have an answer or an error of one line, in
//! bounded time and memory, and never a panic.
//!
//! `MCREC_FORGED_ROUNDS=20000 cargo test -p mcanalyze --test forged` goes on for
//! longer than every run of the tests does.

#[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
#[path = "support/random.rs"]
mod random;
#[path = "support/samples.rs"]
mod samples;

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
};

use random::Random;
use samples::sample;

/// What may be allocated, bytes: some times what the samples take.
const MEMORY: &str = "--data=536870912";
/// CPU time, seconds.
const TIME: &str = "--cpu=20";
const ROUNDS: usize = 250;
const SAMPLES: [&str; 4] = ["hostile.parquet", "lossy.parquet", "killed.parquet", "empty.parquet"];
const QUESTIONS: [&[&str]; 4] = [
    &["--latency", "--format", "json"],
    &["--sort", "latency"],
    &["--sort", "size", "--reverse"],
    &["--sort", "last", "--format", "csv"],
];

fn ask(file: &Path, question: &[&str]) -> Output {
    Command::new("prlimit")
        .args([MEMORY, TIME, "--"])
        .arg(env!("CARGO_BIN_EXE_mcanalyze"))
        .arg(file)
        .args(question)
        .output()
        .unwrap()
}

/// Asserts that the output is an answer or an error, and returns whether it is an answer.
fn answered(output: &Output, what: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None, "{what}: {said}");
    let code = output.status.code();
    assert!(matches!(code, Some(0..=2)), "{what}: {code:?} {said}");
    assert!(said.lines().count() <= 1, "{what}: {said}");
    assert!(!said.contains("panicked") && !said.contains("a bug in"), "{what}: {said}");
    let refused = code == Some(2);
    assert_eq!(refused, output.stdout.is_empty(), "{what}: {said}");
    assert!(!refused || said.starts_with("mcanalyze: "), "{what}: {said}");
    !refused
}

/// Where `needle` is found in `data`.
fn found(data: &[u8], needle: impl Fn(&[u8]) -> bool, length: usize) -> Vec<usize> {
    let windows = data.windows(length).enumerate();
    windows.filter(|(_, window)| needle(window)).map(|(at, _)| at).collect()
}

/// Damages a capture in one of the ways that hurt.
fn forge(data: &mut Vec<u8>, random: &mut Random) -> &'static str {
    let end = data.len();
    let footer_length = u32::from_le_bytes(data[end - 8..end - 4].try_into().unwrap()) as usize;
    let footer = end.saturating_sub(footer_length + 8);
    let extreme = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    match random.below(8) {
        0 => {
            for _ in 0..=random.below(3) {
                let at = random.below(data.len());
                data[at] ^= 1 << random.below(8);
            }
            "bits anywhere"
        }
        1 => {
            for _ in 0..=random.below(3) {
                let at = footer + random.below(footer_length.clamp(1, end - footer));
                data[at] = extreme[random.below(extreme.len())];
            }
            "bytes of the footer"
        }
        2 => {
            data.truncate(random.below(end));
            "cut off"
        }
        3 => {
            // The header of a page: its kind, then its sizes.
            let headers = found(&data[..footer], |w| matches!(w, [0x15, 0 | 4, 0x15]), 3);
            if let Some(at) = headers.get(random.below(headers.len().max(1))) {
                let at = at + 1 + random.below(16);
                if let Some(byte) = data.get_mut(at) {
                    *byte = extreme[random.below(extreme.len())];
                }
            }
            "sizes of a page"
        }
        4 => {
            let length = 1 + random.below(200);
            let (one, other) = (random.below(end - length), random.below(end - length));
            let copy = data[one..one + length].to_vec();
            data[other..other + length].copy_from_slice(&copy);
            "pieces moved"
        }
        5 => {
            // Numbers in the entries, as large as there is room for.
            let numbers = found(&data[footer..], |w| w[0] == b':' && w[1].is_ascii_digit(), 2);
            if let Some(at) = numbers.get(random.below(numbers.len().max(1))) {
                let digits = data[footer + at + 1..].iter_mut();
                digits.take_while(|byte| byte.is_ascii_digit()).for_each(|byte| *byte = b'9');
            }
            "numbers of the entries"
        }
        6 => {
            let entries = found(&data[footer..], |w| w == b"{\"", 2);
            if let Some(at) = entries.get(random.below(entries.len().max(1))) {
                let with = [b'[', b'"', b'{', b'9', b'-'][random.below(5)];
                let length = 1 + random.below(400);
                data[footer + at..end - 8].iter_mut().take(length).for_each(|byte| *byte = with);
            }
            "JSON of the entries"
        }
        _ => {
            let length = u32::try_from(random.next() >> (32 + random.below(32))).unwrap();
            data[end - 8..end - 4].copy_from_slice(&length.to_le_bytes());
            "length of the footer"
        }
    }
}

#[test]
fn forged_captures_have_an_answer_or_an_error() {
    let rounds = std::env::var("MCREC_FORGED_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let samples = SAMPLES.map(|name| fs::read(sample(name)).unwrap());
    let mut random = Random(20);
    let (mut answers, mut refusals) = (0, 0);
    for round in 0..rounds {
        let mut data = samples[round % samples.len()].clone();
        let what = forge(&mut data, &mut random);
        let file = folder.path().join("forged.parquet");
        fs::write(&file, &data).unwrap();
        let question = QUESTIONS[random.below(QUESTIONS.len())];
        let output = ask(&file, question);
        let kept = format!("round {round}, {what}, {question:?}");
        if answered(&output, &kept) {
            answers += 1;
        } else {
            refusals += 1;
        }
    }
    assert!(answers > rounds / 20, "{answers} of {rounds}");
    assert!(refusals > rounds / 5, "{refusals} of {rounds}");
}
