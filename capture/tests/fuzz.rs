//! A while of fuzzing on every run: small captures and mutations of them, always the
//! same. `make fuzz` goes on where this ends.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// How long it is tried at most.
const TIME: Duration = Duration::from_secs(5);
const ROUNDS: usize = 20_000;
/// Those of sample-data that are larger say nothing more.
const SMALL: usize = 16 << 10;

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
}

fn samples() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    paths.sort();
    let mut samples: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    samples.retain(|data| data.len() <= SMALL);
    assert!(samples.len() >= 5, "{}", samples.len());
    samples
}

#[test]
fn open() {
    let samples = samples();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.parquet");
    samples.iter().for_each(|data| targets::open(data, &file));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let began = Instant::now();
    for round in 0..ROUNDS {
        if began.elapsed() > TIME {
            break;
        }
        let mut data = samples[random.below(samples.len())].clone();
        for _ in 0..=random.below(4) {
            // Half of them in the footer, where it tells most.
            let from = [0, data.len() / 2][random.below(2)];
            let at = from + random.below(data.len() - from);
            match random.below(4) {
                0 => data[at] ^= 1 << random.below(8),
                1 => data[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random.below(6)],
                2 => {
                    let end = (at + random.below(64)).min(data.len());
                    let part = data[at..end].to_vec();
                    let to = random.below(data.len() - part.len());
                    data[to..to + part.len()].copy_from_slice(&part);
                }
                _ => data.truncate(at.max(1)),
            }
        }
        // Round and seed make it again.
        let opened = std::panic::catch_unwind(|| targets::open(&data, &file));
        assert!(opened.is_ok(), "round {round}");
    }
}
