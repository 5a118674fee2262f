//! What the ELF file of a memcached tells: its probes, version and build id.

use anyhow::{Context, Result, bail};
use object::{
    Endianness, Object, ObjectSection,
    elf::NoteType,
    read::elf::{ElfFile64, FileHeader, SectionHeader},
};

/// Provider name of memcached's probes.
const PROVIDER: &[u8] = b"memcached";
/// Type of a SystemTap probe note (`NT_STAPSDT` in systemtap's sdt.h).
const NT_STAPSDT: NoteType = NoteType(3);

/// What the executable says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Executable {
    /// As in `1.6.18`; `None` if it is not stated, and then it may not be a memcached.
    pub(crate) version: Option<Version>,
    /// ELF build id, hexadecimal.
    pub(crate) build_id: Option<String>,
    /// Name of each probe and the number of its call sites, in order of name.
    pub(crate) probes: Vec<(String, usize)>,
}

/// A release of memcached: the numbers that decide which probes fire, and the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// As in `[1, 6, 18]`.
    pub(crate) numbers: [u32; 3],
    /// As the executable writes it.
    pub(crate) text: String,
}

impl Executable {
    /// Reads the ELF file `bytes`.
    ///
    /// # Errors
    ///
    /// When it is not a 64-bit little-endian ELF file, or its probe notes are damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes).context("not a 64-bit ELF file")?;
        Ok(Self {
            version: file
                .section_by_name(".rodata")
                .and_then(|section| find_version(section.data().ok()?)),
            build_id: file.build_id().ok().flatten().map(hexadecimal),
            probes: probes(&file)?,
        })
    }

    /// Whether it is one of memcached: it states its version, or has its probes.
    pub(crate) fn is_memcached(&self) -> bool {
        self.version.is_some() || !self.probes.is_empty()
    }

    /// Number of call sites of a probe; 0 if the executable does not have it.
    pub(crate) fn sites(&self, probe: &str) -> usize {
        self.probes.iter().find(|(name, _)| name == probe).map_or(0, |(_, sites)| *sites)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn probes(file: &ElfFile64<'_, Endianness>) -> Result<Vec<(String, usize)>> {
    let endian = file.endian();
    if file.elf_header().is_big_endian() {
        bail!("a big-endian ELF file");
    }
    let mut probes: Vec<(String, usize)> = Vec::new();
    for section in file.elf_section_table().iter() {
        let Some(mut notes) = section.notes(endian, file.data()).context("damaged ELF notes")?
        else {
            continue;
        };
        while let Some(note) = notes.next().context("damaged ELF note")? {
            if note.name() != b"stapsdt" || note.n_type(endian) != NT_STAPSDT {
                continue;
            }
            let Some(name) = probe_name(note.desc()) else { continue };
            match probes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sites)) => *sites += 1,
                None => probes.push((name, 1)),
            }
        }
    }
    probes.sort();
    Ok(probes)
}

/// The probe's name, if the note describes one of memcached's: three addresses,
/// then provider, name and arguments, each ended by a NUL.
fn probe_name(description: &[u8]) -> Option<String> {
    let mut texts = description.get(3 * 8..)?.split(|&byte| byte == 0);
    (texts.next()? == PROVIDER).then_some(())?;
    String::from_utf8(texts.next()?.to_vec()).ok()
}

/// Every memcached contains the text it prints for `-V`: `memcached 1.6.18`.
fn find_version(data: &[u8]) -> Option<Version> {
    const NAME: &[u8] = b"memcached ";
    data.windows(NAME.len())
        .enumerate()
        .filter(|(_, window)| *window == NAME)
        .find_map(|(at, _)| Version::parse(&data[at + NAME.len()..]))
}

impl Version {
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().position(|byte| !(0x21..0x7f).contains(byte))?;
        let text = std::str::from_utf8(&text[..end]).ok()?;
        let mut parts = text.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        Some(Self { numbers, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Version, find_version, probe_name};

    #[test]
    fn the_version_is_found_among_other_text() {
        let data = b"the memcached protocol\0memcached \0x\0memcached 1.6.18\n\0memcached 9.9.9\0";
        let version = find_version(data).unwrap();
        assert_eq!((version.numbers, version.text.as_str()), ([1, 6, 18], "1.6.18"));
    }

    #[test]
    fn suffixes_of_a_version_are_kept_and_other_text_is_none() {
        let version = Version::parse(b"1.6.45-rc1_2\0").unwrap();
        assert_eq!((version.numbers, version.text.as_str()), ([1, 6, 45], "1.6.45-rc1_2"));
        for text in [&b"1.6\0"[..], b"one.2.3\0", b"1.6.18", b"\0", b""] {
            assert_eq!(Version::parse(text), None);
        }
    }

    #[test]
    fn only_probes_of_memcached_have_a_name() {
        let note =
            |provider: &str| [&[0; 24], provider.as_bytes(), b"\0command__get\08@%rax\0"].concat();
        assert_eq!(probe_name(&note("memcached")).as_deref(), Some("command__get"));
        assert_eq!(probe_name(&note("libc")), None);
        assert_eq!(probe_name(&[0; 7]), None);
    }
}
