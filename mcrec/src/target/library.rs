//! Functions of the libraries that the target has loaded.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::PathBuf};

use object::{Object, ObjectSymbol};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};

/// No C library is larger; a larger file is not looked into.
const LIBRARY_MAX: u64 = 64 << 20;

/// A function of a library, or of the executable, that the target may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// The file that has it, by a path that works from here.
    pub(crate) library: PathBuf,
    /// What it is called.
    pub(crate) name: &'static str,
}

/// Those of the functions called `names` that are in code which `process` has loaded. Nothing
/// where that cannot be told, and nothing of a file that was replaced since it was loaded.
pub(crate) fn functions(process: &Process, names: &[&'static str]) -> Vec<Function> {
    let Ok(mappings) = process.maps() else { return Vec::new() };
    let files: BTreeSet<PathBuf> = mappings
        .into_iter()
        .filter(|mapping| mapping.perms.contains(MMPermissions::EXECUTE))
        .filter_map(|mapping| file(process, &mapping))
        .collect();
    let functions = files.into_iter().flat_map(|library| {
        let defined = defined(&library, names);
        defined.into_iter().map(move |name| Function { library: library.clone(), name })
    });
    functions.collect()
}

/// The mapped file, as it can be opened from here.
fn file(process: &Process, mapping: &MemoryMap) -> Option<PathBuf> {
    let MMapPath::Path(path) = &mapping.pathname else { return None };
    let root = PathBuf::from(format!("/proc/{}/root", process.pid()));
    let file = root.join(path.strip_prefix("/").ok()?);
    let metadata = fs::metadata(&file).ok()?;
    (metadata.ino() == mapping.inode && metadata.len() <= LIBRARY_MAX).then_some(file)
}

fn defined(library: &PathBuf, names: &[&'static str]) -> Vec<&'static str> {
    let Ok(bytes) = fs::read(library) else { return Vec::new() };
    let Ok(file) = object::File::parse(&*bytes) else { return Vec::new() };
    let has = |name: &str| {
        file.dynamic_symbols()
            .any(|symbol| symbol.is_definition() && symbol.name_bytes() == Ok(name.as_bytes()))
    };
    names.iter().copied().filter(|name| has(name)).collect()
}
