//! A while of fuzzing on every run: the corpus and mutations of it, always the same.
//! `make fuzz` goes on where this ends.

mod common;

#[path = "../fuzz/targets.rs"]
mod targets;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{Event, Splits, Step, buffers::Copying, script, serve};

/// How long each target is tried at most.
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 60_000;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "the corpus of {target} is there");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn mutate(data: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(6) {
        let at = random.below(data.len() + 1);
        let end = (at + random.below(12)).min(data.len());
        match random.below(7) {
            0 if at < data.len() => data[at] = random.byte(),
            1 if at < data.len() => data[at] ^= 1 << random.below(8),
            2 => drop(data.drain(at..end)),
            3 => data.insert(at, random.byte()),
            4 => {
                let part = data[at..end].to_vec();
                data.splice(at..at, part);
            }
            5 => data.truncate(at.max(1)),
            // Two halves of conversations.
            _ => {
                let other = &corpus[random.below(corpus.len())];
                data.truncate(at);
                data.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|data| body(data));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let began = Instant::now();
    let mut data = Vec::new();
    for _ in 0..ROUNDS {
        if began.elapsed() > TIME {
            break;
        }
        data.clone_from(&corpus[random.below(corpus.len())]);
        mutate(&mut data, &corpus, &mut random);
        // It is in the message of a panic by this.
        if std::panic::catch_unwind(|| body(&data)).is_err() {
            panic!("{target}: {data:?}");
        }
    }
}

#[test]
fn text() {
    run("text", targets::text);
}

#[test]
fn binary() {
    run("binary", targets::binary);
}

#[test]
fn segments() {
    run("segments", targets::segments);
}

/// Writes the corpus anew, from the conversations that the other tests use:
/// `cargo test -p mcrec-protocol --test fuzz -- --ignored`.
#[test]
#[ignore = "writes files"]
fn write_the_corpus() {
    let texts = [script::text(), script::meta(), script::ambiguous()].concat();
    for (target, groups) in [("text", texts.clone()), ("binary", script::binary())] {
        write(target, &groups, 3, records);
    }
    write("segments", &[texts, script::binary()].concat(), 6, any_segments);
}

fn write(target: &str, groups: &[Vec<Step>], apart: usize, encode: fn(&[Event], u8) -> Vec<u8>) {
    let folder = folder(target);
    fs::create_dir_all(&folder).unwrap();
    // The multi-get of hundreds of keys is no small file.
    let small = |group: &&Vec<Step>| group.iter().all(|step| step.request.len() < 300);
    let groups: Vec<_> = groups.iter().filter(small).collect();
    for number in 0u8..14 {
        let first = usize::from(number) * apart;
        let steps: Vec<Step> =
            (0..4).flat_map(|at| groups[(first + at * 5) % groups.len()].clone()).collect();
        let reads =
            [vec![1 << 30], vec![17, 1 << 20, 3], vec![1000]][usize::from(number % 3)].clone();
        let copying = Copying::Ends(8, 2);
        let sends = vec![1 << 30, 9];
        let splits = Splits { reads, sends, copied: 8, copying, ..Splits::none() };
        let events = serve(&steps, &splits);
        fs::write(folder.join(format!("conversation-{number:02}")), encode(&events, number))
            .unwrap();
    }
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number & 0xffff).unwrap().to_be_bytes()
}

fn records(events: &[Event], number: u8) -> Vec<u8> {
    let mut written = vec![number & 1];
    for event in events {
        match event {
            Event::Read { asked, length, data } => {
                let kind = match asked {
                    16384 => 0,
                    _ if *asked > 8192 => 1,
                    _ => 2,
                };
                let mut data = data.clone();
                data.resize((*length).min(600), b'v');
                written.push(kind);
                written.extend(short(data.len()));
                written.extend(data);
            }
            Event::Send { segments, accepted } => {
                let mut sent = Vec::new();
                for (length, head, tail) in segments {
                    let hole = length - head.len() - tail.len();
                    sent.extend([&head[..], &vec![b'v'; hole], tail].concat());
                }
                sent.truncate(*accepted);
                written.push(3);
                written.extend(short(sent.len()));
                written.extend(sent);
            }
        }
    }
    written
}

fn any_segments(events: &[Event], number: u8) -> Vec<u8> {
    let mut written = vec![number & 1 | (number % 4) << 4];
    for event in events {
        match event {
            Event::Read { asked, length, data } => {
                let data = &data[..data.len().min(1023)];
                written.push(1 | 4);
                written.extend(short(data.len()));
                written.extend(short(length - data.len()));
                written.extend(short(*asked));
                written.extend(data);
            }
            Event::Send { segments, .. } => {
                // Four by four; what is left is of the length 0.
                for four in segments.chunks(4) {
                    written.push(128 + 4 + u8::try_from(four.len() - 1).unwrap());
                    for (length, head, tail) in four {
                        let head = &head[..head.len().min(511)];
                        written.extend(short(head.len()));
                        written.push(u8::try_from(tail.len()).unwrap());
                        written.extend(short(length - head.len() - tail.len()));
                        written.extend(head);
                        written.extend(tail);
                    }
                }
            }
        }
    }
    written
}
