//! Which files are meant.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use glob::Pattern;

/// The files that `paths` name: files, directories of `*.parquet`, or globs.
///
/// # Errors
///
/// When there is nothing there.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let none = || anyhow!("folder {} has no *.parquet", path.display());
            let folder = path.to_str().with_context(none)?;
            let pattern = Path::new(&Pattern::escape(folder)).join("*.parquet");
            files.extend(matches(&pattern).map_err(|_| none())?);
        } else if path.exists() {
            files.push(path.clone());
        } else {
            files.extend(matches(path)?);
        }
    }
    Ok(files)
}

fn matches(pattern: &Path) -> Result<Vec<PathBuf>> {
    let text = pattern.to_str().with_context(|| format!("{} does not exist", pattern.display()))?;
    let found: Vec<PathBuf> = glob::glob(text)
        .map_err(|error| anyhow!("{}: {error}", pattern.display()))?
        .collect::<Result<_, _>>()?;
    if found.is_empty() {
        bail!("{}: no such file", pattern.display());
    }
    Ok(found)
}
