//! What will be recorded, and how: pure decisions from what is known of the target.

use anyhow::{Result, bail};
use mcrec_schema::footer::{Attached, Blind, Source};

use crate::{
    cli::SourceChoice,
    target::{Executable, Target},
};

/// memcached's command probes, and what each shows.
const COMMANDS: [&str; 11] = [
    "command__get",
    "command__set",
    "command__add",
    "command__replace",
    "command__append",
    "command__prepend",
    "command__cas",
    "command__touch",
    "command__incr",
    "command__decr",
    "command__delete",
];

/// Probes that give the commands their latency and their connection.
const CONTEXT: [&str; 4] =
    ["process__command__start", "process__command__end", "conn__allocate", "conn__release"];

const LATENCY: &str = "From process__command__start to the start of the next request of the same \
     connection or to process__command__end, whichever comes first: the server's work on the \
     request, including the wait for a value that had not arrived, without the read of the \
     request, the send of the reply, and (with extstore) the read of the value from disk. All keys \
     of a request have the same.";

/// A decision on how to record.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The source, as the capture will describe it.
    pub(crate) source: Source,
}

impl Plan {
    /// Decides how to record `target`.
    ///
    /// # Errors
    ///
    /// When no source, or not the one asked for, can see this memcached.
    pub(crate) fn new(choice: SourceChoice, target: &Target) -> Result<Self> {
        let plan = Self { source: usdt(&target.executable) };
        if !plan.source.attached.iter().any(|attached| attached.probe.starts_with("command__")) {
            bail!(
                "memcached {} (pid {}, {}) was built without probes, so source usdt sees nothing of \
                 it.\nRun a memcached built with `./configure --enable-dtrace` (it needs \
                 systemtap-sdt-dev), release 1.6.39 or older",
                target.version(),
                target.pid,
                target.path.display()
            );
        }
        if choice == SourceChoice::Auto && text_probes_removed(&target.executable) {
            bail!(
                "memcached {} (pid {}) has probes, but since 1.6.40 they show neither gets nor \
                 deletes of the text and meta protocols, and no source that sees them is \
                 available.\nTo record what they do show (stores, and the binary protocol), say \
                 --source usdt",
                target.version(),
                target.pid
            );
        }
        Ok(plan)
    }

    /// One line for the start of a recording: what will be missing.
    pub(crate) fn blind_line(&self) -> String {
        let blind: Vec<&str> =
            self.source.cannot_see.iter().map(|blind| blind.what.as_str()).collect();
        format!("not seen by this memcached's probes: {}", blind.join("; "))
    }
}

/// 1.6.40 dropped most probes of the text and meta protocols. Where the version
/// is unknown, the number of call sites tells: only the binary one was left.
fn text_probes_removed(executable: &Executable) -> bool {
    match &executable.version {
        Some(version) => version.numbers >= [1, 6, 40],
        None => executable.sites("process__command__start") < 2,
    }
}

fn usdt(executable: &Executable) -> Source {
    let attached = COMMANDS
        .iter()
        .chain(&CONTEXT)
        .map(|probe| Attached { probe: (*probe).to_owned(), sites: executable.sites(probe) })
        .filter(|attached| attached.sites > 0)
        .collect();
    let (sees, cannot_see) = coverage(executable);
    let columns_unknown =
        ["protocol", "ttl", "client_flags", "request_bytes", "response_bytes", "client", "quiet"];
    Source {
        name: "usdt".to_owned(),
        attached,
        latency: LATENCY.to_owned(),
        sees,
        cannot_see,
        columns_unknown: columns_unknown.map(str::to_owned).to_vec(),
        requests_without_operation: 0,
    }
}

/// What fires and what does not, by release: memcached's own sources, 1.6.18 to 1.6.45.
fn coverage(executable: &Executable) -> (Vec<String>, Vec<Blind>) {
    let has = |probe: &str| executable.sites(probe) > 0;
    let text = !text_probes_removed(executable);
    let counters = has("command__incr") && has("command__decr");
    let blind = |what: &str, why: &str| Blind { what: what.to_owned(), why: why.to_owned() };

    let mut sees = Vec::new();
    if has("command__get") && text {
        sees.push("text get, gets, gat, gats (all as get); misses of meta get");
    }
    if has("command__get") {
        sees.push("binary get; binary touch and gat (both as touch)");
    }
    if has("command__set") {
        sees.push("set, add, replace, append, prepend (text, meta, binary); cas (text, meta)");
    }
    if counters {
        sees.push("incr and decr that succeed");
    }
    if has("command__delete") {
        sees.push(if text { "deletes that succeed" } else { "binary deletes that succeed" });
    }

    let mut cannot_see = Vec::new();
    if text {
        cannot_see.push(blind("hits of meta get", "mg fires no probe on a hit"));
    } else {
        cannot_see.push(blind(
            "text and meta gets and deletes",
            "their probes were removed in memcached 1.6.40, with process__command__start: \
             latency is unknown too",
        ));
    }
    if counters {
        cannot_see.push(blind("misses of delete, incr, decr", "their probes fire on success only"));
    } else {
        cannot_see.push(blind("incr, decr", "their probes were disabled in memcached 1.6.19"));
        cannot_see.push(blind("misses of delete", "its probe fires on success only"));
    }
    cannot_see.push(blind("text touch", "it fires no probe"));
    cannot_see.push(blind("binary stores with a CAS", "they fire no probe"));
    cannot_see.push(blind(
        "stores that fail early",
        "too large, out of memory or malformed: no probe fires",
    ));
    cannot_see.push(blind(
        "commands without a key",
        "version, stats, flush_all and the like fire no command probe",
    ));
    (sees.into_iter().map(str::to_owned).collect(), cannot_see)
}

#[cfg(test)]
mod tests {
    use super::{coverage, text_probes_removed};
    use crate::target::{Executable, Version};

    fn memcached(numbers: [u32; 3], probes: &[(&str, usize)]) -> Executable {
        let text = numbers.map(|number| number.to_string()).join(".");
        Executable {
            version: Some(Version { numbers, text }),
            build_id: None,
            probes: probes.iter().map(|(name, sites)| ((*name).to_owned(), *sites)).collect(),
        }
    }

    fn blind(executable: &Executable) -> String {
        coverage(executable).1.iter().map(|b| b.what.as_str()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn coverage_follows_the_release() {
        let all = [("command__get", 5), ("command__set", 2), ("command__delete", 3)];
        let counters = [("command__incr", 1), ("command__decr", 1)];
        let old = memcached([1, 6, 18], &[&all[..], &counters[..]].concat());
        assert!(blind(&old).contains("misses of delete, incr, decr"));
        assert!(!blind(&old).contains("text and meta gets"));

        let middle = memcached([1, 6, 38], &all);
        assert!(blind(&middle).contains("incr, decr; misses of delete"));
        assert!(!text_probes_removed(&middle));

        let new = memcached([1, 6, 45], &all);
        assert!(blind(&new).contains("text and meta gets and deletes"));
    }

    #[test]
    fn an_unknown_release_is_judged_by_its_call_sites() {
        let mut unknown = memcached([0, 0, 0], &[("process__command__start", 2)]);
        unknown.version = None;
        assert!(!text_probes_removed(&unknown));
        unknown.probes[0].1 = 1;
        assert!(text_probes_removed(&unknown));
    }
}
