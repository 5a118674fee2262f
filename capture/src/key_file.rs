//! The file with the secret that pseudonyms of keys are made with.

use std::{fs::File, io::Read, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Result, anyhow, bail};
use mcrec_schema::pseudonym::{Pseudonyms, SECRET_DIGITS};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// Reads the secret, 32 hexadecimal digits, from a file that nobody else may read.
///
/// # Errors
///
/// When the file cannot be opened, is a link or no regular file, is somebody else's
/// or open to others, or holds anything but a secret. No error tells what it holds.
pub fn pseudonyms(path: &Path) -> Result<Pseudonyms> {
    let name = path.display();
    // A pipe of that name must not make us wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file: File = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => descriptor.into(),
        Err(Errno::LOOP) => {
            bail!("key file {name} is a symbolic link; name the file that it leads to")
        }
        Err(Errno::NOENT) => bail!(
            "key file {name} does not exist; make one with: (umask 077; openssl rand -hex 16 > {name})"
        ),
        Err(error) => bail!("cannot open key file {name}: {}", std::io::Error::from(error)),
    };
    check(&file, path)?;
    let mut text = String::new();
    let read = file.by_ref().take(SECRET_DIGITS as u64 + 3).read_to_string(&mut text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    read.ok().and_then(|_| Pseudonyms::from_hex(text)).ok_or_else(|| {
        anyhow!(
            "key file {name} does not hold a key of {SECRET_DIGITS} hexadecimal digits; make one \
             with: (umask 077; openssl rand -hex 16 > NEWFILE)"
        )
    })
}

/// Checks that nobody but root and the caller can have read or written the file.
fn check(file: &File, path: &Path) -> Result<()> {
    let name = path.display();
    let metadata =
        file.metadata().map_err(|error| anyhow!("cannot read key file {name}: {error}"))?;
    if !metadata.is_file() {
        bail!("key file {name} is not a regular file");
    }
    if !is_trusted(metadata.uid()) {
        bail!(
            "key file {name} belongs to user id {}, who knows what is in it; use one of your own, \
             or one that belongs to root",
            metadata.uid()
        );
    }
    let open_to = metadata.mode() & 0o077;
    if open_to != 0 {
        bail!(
            "key file {name} is open to others (mode {:04o}); make it yours alone with: chmod 600 \
             {name}",
            metadata.mode() & 0o7777
        );
    }
    Ok(())
}

/// Root, the caller, and who became root through sudo.
fn is_trusted(owner: u32) -> bool {
    let caller = rustix::process::geteuid();
    let through_sudo = || std::env::var("SUDO_UID").ok()?.parse().ok();
    owner == 0 || owner == caller.as_raw() || (caller.is_root() && through_sudo() == Some(owner))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, chown, symlink},
        path::Path,
    };

    use super::pseudonyms;

    const SECRET: &str = "00112233445566778899aabbccddeeff";

    fn write(path: &Path, text: &[u8]) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    #[track_caller]
    fn refused(path: &Path, says: &[&str]) {
        let said = format!("{:#}", pseudonyms(path).unwrap_err());
        for text in says {
            assert!(said.contains(text), "{text:?} is not in: {said}");
        }
        assert!(said.contains(&path.display().to_string()) && !said.contains("0011"), "{said}");
    }

    #[test]
    fn a_secret_is_read_with_or_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mut seen = Vec::new();
        for end in ["", "\n", "\r\n"] {
            write(&path, format!("{SECRET}{end}").as_bytes());
            seen.push(pseudonyms(&path).unwrap().of(b"key"));
        }
        write(&path, SECRET.to_uppercase().as_bytes());
        seen.push(pseudonyms(&path).unwrap().of(b"key"));
        seen.dedup();
        assert_eq!(seen.len(), 1);
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(pseudonyms(&path).is_ok());
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let long = [SECRET, "0"].concat();
        let lines = [SECRET, "\n\n"].concat();
        for text in ["", "\n", &SECRET[1..], &long, &lines, "0011 not hexadecimal, of 32 chars"] {
            write(&path, text.as_bytes());
            refused(&path, &["32 hexadecimal digits", "openssl rand -hex 16"]);
        }
        write(&path, &[0xff; 32]);
        refused(&path, &["32 hexadecimal digits"]);
    }

    #[test]
    fn a_file_that_others_know_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        refused(&path, &["does not exist", "openssl rand -hex 16"]);
        write(&path, SECRET.as_bytes());
        for mode in [0o640, 0o604, 0o660, 0o601, 0o644] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            refused(&path, &["open to others", &format!("{mode:04o}"), "chmod 600"]);
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(65534), None).unwrap();
        refused(&path, &["belongs to user id 65534"]);
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        refused(&link, &["symbolic link"]);
        refused(folder.path(), &["not a regular file"]);
        let pipe = folder.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        refused(&pipe, &["not a regular file"]);
    }
}
