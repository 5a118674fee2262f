#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let name = format!("mcrec-fuzz-{}.parquet", std::process::id());
    targets::open(data, &std::env::temp_dir().join(name));
});
