//! Compiles the BPF programs and generates their skeletons into `OUT_DIR`.

use std::{env, path::PathBuf};

use libbpf_cargo::SkeletonBuilder;

/// C flags that do not depend on the target. `make lint` compiles with these too.
/// Compare and swap needs instruction set v3.
const CLANG_FLAGS: [&str; 4] = ["-Wall", "-Werror", "-mcpu=v3", "-I../bpf"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../bpf");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    // Debian keeps <asm/errno.h>, which libbpf's usdt.bpf.h includes, in a
    // folder of the architecture that clang does not search when it targets bpf.
    let multiarch = format!("-idirafter/usr/include/{architecture}-linux-gnu");
    let flags = CLANG_FLAGS.iter().map(ToString::to_string).chain([multiarch]);
    let flags: Vec<String> = flags.collect();
    for source in ["usdt", "syscalls", "empty"] {
        SkeletonBuilder::new()
            .source(format!("../bpf/{source}.bpf.c"))
            .clang_args(&flags)
            .build_and_generate(out.join(format!("{source}.skel.rs")))?;
    }
    Ok(())
}
