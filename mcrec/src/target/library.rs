//! Functions of the C library that the target has loaded.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use object::{Object, ObjectSegment, ObjectSymbol};
use procfs::process::{MMPermissions, MMapPath, MemoryMap};

/// How the files begin that system calls are made from: those of glibc, with threads apart
/// before 2.34, and of musl.
const LIBRARIES: [&str; 4] = ["libc.", "libc-", "libpthread", "ld-musl-"];

/// A function that the target may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// The file that has it, by a path that works from here.
    pub(crate) library: PathBuf,
    /// Where it is in that file, bytes.
    pub(crate) offset: usize,
    /// What it is called.
    pub(crate) name: &'static str,
}

/// Those of the functions called `names` that process `pid` has among its `mappings`. Nothing
/// of a file that was replaced since it was mapped.
pub(crate) fn functions(pid: i32, mappings: &[MemoryMap], names: &[&'static str]) -> Vec<Function> {
    let files: BTreeSet<PathBuf> = mappings
        .iter()
        .filter(|mapping| mapping.perms.contains(MMPermissions::EXECUTE))
        .filter_map(|mapping| file(pid, mapping))
        .collect();
    files.iter().flat_map(|library| defined(library, names)).collect()
}

/// The mapped file, if it is a library of those, as it can be opened from here.
fn file(pid: i32, mapping: &MemoryMap) -> Option<PathBuf> {
    let MMapPath::Path(path) = &mapping.pathname else { return None };
    let name = path.file_name()?.to_str()?;
    if !LIBRARIES.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    // As the process would call it, or, where its root is below ours, as we would.
    [root.join(path.strip_prefix("/").ok()?), path.clone()]
        .into_iter()
        .find(|file| fs::metadata(file).is_ok_and(|metadata| metadata.ino() == mapping.inode))
}

fn defined(library: &Path, names: &[&'static str]) -> Vec<Function> {
    let Ok(bytes) = fs::read(library) else { return Vec::new() };
    let Ok(file) = object::File::parse(&*bytes) else { return Vec::new() };
    let found = file.dynamic_symbols().filter(ObjectSymbol::is_definition).filter_map(|symbol| {
        let symbol_name = symbol.name().ok()?;
        let name = names.iter().find(|name| **name == symbol_name)?;
        let offset = file_offset(&file, symbol.address())?;
        Some(Function { library: library.to_owned(), offset, name })
    });
    let mut found: Vec<Function> = found.collect();
    // A function may have several versions of its name.
    found.sort_by_key(|function| function.offset);
    found.dedup_by_key(|function| function.offset);
    found
}

fn file_offset(file: &object::File<'_>, address: u64) -> Option<usize> {
    file.segments().find_map(|segment| {
        let within = address.checked_sub(segment.address())?;
        let (offset, size) = segment.file_range();
        if within >= size {
            return None;
        }
        usize::try_from(offset + within).ok()
    })
}
