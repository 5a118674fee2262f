//! Compiles the BPF programs and generates their skeletons into `OUT_DIR`.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use libbpf_cargo::SkeletonBuilder;

/// C flags that do not depend on the target. `make lint` compiles with these too.
/// Compare and swap needs instruction set v3.
const CLANG_FLAGS: [&str; 4] = ["-Wall", "-Werror", "-mcpu=v3", "-I../bpf"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../bpf");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    // Debian keeps <asm/errno.h>, which libbpf's usdt.bpf.h includes, in a
    // folder of the architecture that clang does not search when it targets bpf.
    let multiarch = format!("-idirafter/usr/include/{architecture}-linux-gnu");
    let flags = CLANG_FLAGS.iter().map(ToString::to_string).chain([multiarch]);
    let flags: Vec<String> = flags.collect();
    // Those that record, in both forms (bpf/kernel_ring.bpf.h says which is for what).
    let older = out.join("older");
    fs::create_dir_all(&older)?;
    for source in ["usdt", "syscalls"] {
        let without = flags.iter().cloned().chain(["-DWITHOUT_ATOMICS".to_owned()]);
        compile(source, &without.collect::<Vec<_>>(), &older)?;
    }
    for source in ["usdt", "syscalls", "features", "empty"] {
        compile(source, &flags, &out)?;
    }
    Ok(())
}

/// Compiles the programs of `source`, and generates their skeleton in the same folder.
fn compile(source: &str, flags: &[String], folder: &Path) -> Result<(), Box<dyn Error>> {
    SkeletonBuilder::new()
        .source(format!("../bpf/{source}.bpf.c"))
        .obj(folder.join(format!("{source}.bpf.o")))
        .clang_args(flags)
        .build_and_generate(folder.join(format!("{source}.skel.rs")))?;
    Ok(())
}
