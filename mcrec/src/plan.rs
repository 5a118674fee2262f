//! What will be recorded, and how: pure decisions from what is known of the target.

use anyhow::{Result, bail};
use mcrec_protocol::{Binding, Dialect, Release};
use mcrec_schema::footer::{Attached, Blind, Source};

use crate::{
    cli::SourceChoice,
    kernel::{At, Kernel, Tracepoints, UprobeLinks},
    target::{self, Executable, Target},
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

const LATENCY_USDT: &str = "From process__command__start to the start of the next request of the same \
     connection or to process__command__end, whichever comes first: the server's work on the \
     request, including the wait for a value that had not arrived, without the read of the \
     request, the send of the reply, and (with extstore) the read of the value from disk. All keys \
     of a request have the same.";

const LATENCY_SYSCALLS: &str = "From the end of the read that brought the last byte of the \
     request to the end of the send that took the last byte of its reply. Requests of a pipeline \
     that came with one read begin together, and replies that leave with one send end together, so \
     a later one includes the wait for those before it. Null where there was no reply, or it was \
     not seen. The time that a request waited in the socket before it was read is not in it.";

/// The tracepoint at the exit of all system calls.
const CALLS: &str = "sys_exit";

/// The way in which operations are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// memcached's own probes.
    Usdt,
    /// What the server reads and sends.
    Syscalls,
}

/// A decision on how to record.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Which source.
    pub(crate) kind: Kind,
    /// The source, as the capture will describe it.
    pub(crate) source: Source,
    /// Why this one.
    pub(crate) reason: String,
    /// The other one, if it would see anything of this memcached.
    pub(crate) other: Option<Source>,
    /// How the server reads requests.
    pub(crate) dialect: Dialect,
}

impl Plan {
    /// Decides how to record `target`: by what a source sees, and then by what it
    /// costs the server. `syscalls` sees all that is not encrypted and is cheaper, and
    /// cheapest where the `kernel` can show what happens on sockets alone.
    ///
    /// # Errors
    ///
    /// When no source, or not the one asked for, can see this memcached.
    pub(crate) fn new(choice: SourceChoice, target: &Target, kernel: &Kernel) -> Result<Self> {
        let encryption = encryption(&target.command_line);
        let encrypted = encryption == Encryption::All;
        let probes = has_probes(&target.executable);
        let (kind, reason) = match choice {
            SourceChoice::Usdt if !probes => bail!(
                "memcached {} (pid {}, {}) was built without probes, so source usdt sees nothing of \
                 it.\nLeave --source away: syscalls sees all of it",
                target.version(),
                target.pid,
                target.path.display()
            ),
            SourceChoice::Usdt => (Kind::Usdt, "asked for"),
            SourceChoice::Syscalls | SourceChoice::Auto if encrypted && !probes => bail!(
                "memcached {} (pid {}) encrypts all of its connections (TLS): what it reads and sends \
                 is ciphertext to source syscalls, and it was built without probes.\nRecord a \
                 memcached that also listens without TLS (-l notls:ADDRESS), or one built with \
                 --enable-dtrace, release 1.6.39 or older",
                target.version(),
                target.pid
            ),
            SourceChoice::Syscalls if encrypted => bail!(
                "memcached {} (pid {}) encrypts all of its connections (TLS): what it reads and sends \
                 is ciphertext to source syscalls.\nLeave --source away: its probes see the requests",
                target.version(),
                target.pid
            ),
            SourceChoice::Syscalls => (Kind::Syscalls, "asked for"),
            SourceChoice::Auto if encrypted => {
                (Kind::Usdt, "its connections are encrypted, and the probes see behind that")
            }
            SourceChoice::Auto if probes => (
                Kind::Syscalls,
                "it sees every command, and costs less than this memcached's probes",
            ),
            SourceChoice::Auto => {
                (Kind::Syscalls, "it sees every command; this memcached has no probes")
            }
        };
        let usdt = probes.then(|| usdt(&target.executable));
        let sockets = sockets(target, kernel);
        let why_not = sockets.as_ref().err().filter(|_| kind == Kind::Syscalls).copied();
        let syscalls = syscalls(encryption, sockets.unwrap_or_else(|_| all_calls(kernel)));
        let (source, other) = match (kind, usdt) {
            (Kind::Usdt, Some(usdt)) => (usdt, Some(syscalls)),
            (_, usdt) => (syscalls, usdt),
        };
        let dialect = dialect(target);
        let reason = why_not.map_or_else(|| reason.to_owned(), |why| because(reason, why));
        Ok(Self { kind, source, reason, other, dialect })
    }

    /// What to do where this plan turns out to be impossible, and `why`: the same from the
    /// end of all system calls. `None` if that was the plan.
    pub(crate) fn fallback(&self, why: &str, kernel: &Kernel) -> Option<Self> {
        let attached = all_calls(kernel);
        let other = self.kind == Kind::Syscalls && self.source.attached != attached;
        other.then(|| Self {
            source: Source { attached, ..self.source.clone() },
            reason: because(&self.reason, why),
            ..self.clone()
        })
    }

    /// What the kernel may skip of it, if anything, and what to do about that.
    pub(crate) fn skips(&self, kernel: &Kernel) -> Option<&'static str> {
        let at = |attached: &Attached| match attached.probe.ends_with(CALLS) {
            true => At::Calls,
            false => At::Sockets,
        };
        let first = self.source.attached.first().filter(|_| self.kind == Kind::Syscalls);
        first.and_then(|first| kernel.skips(at(first)))
    }

    /// Whether perf's events are what its programs are attached by.
    pub(crate) fn attaches_by_perf_events(&self, kernel: &Kernel) -> bool {
        match self.kind {
            Kind::Usdt => kernel.uprobe_links == UprobeLinks::None,
            Kind::Syscalls => self.source.attached.iter().any(|it| it.probe.starts_with("tp:")),
        }
    }

    /// One line for the start of a recording: what will be missing, if anything.
    pub(crate) fn blind_line(&self) -> Option<String> {
        if self.source.cannot_see.is_empty() {
            return None;
        }
        let blind: Vec<&str> =
            self.source.cannot_see.iter().map(|blind| blind.what.as_str()).collect();
        Some(format!("not seen by {}: {}", self.source.name, blind.join("; ")))
    }
}

fn has_probes(executable: &Executable) -> bool {
    COMMANDS.iter().any(|probe| executable.sites(probe) > 0)
}

/// Which of the server's connections are under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    None,
    /// Those of some addresses.
    Some,
    All,
}

/// `-Z` encrypts, but for addresses that are given as `notls:`.
fn encryption(command_line: &[String]) -> Encryption {
    let with = |start: &str| command_line.iter().any(|argument| argument.starts_with(start));
    if !with("-Z") && !with("--enable-ssl") {
        Encryption::None
    } else if command_line.iter().any(|argument| argument.contains("notls:")) {
        Encryption::Some
    } else {
        Encryption::All
    }
}

/// Options that change how the server reads requests, and its release, which does.
fn dialect(target: &Target) -> Dialect {
    let options = &target.command_line;
    let with = |short: &str, long: &str| {
        options.iter().any(|option| option.starts_with(short) || option.starts_with(long))
    };
    let protocol = options.iter().enumerate().find_map(|(at, option)| {
        match option.strip_prefix("-B").or_else(|| option.strip_prefix("--protocol="))? {
            "" => options.get(at + 1).map(String::as_str),
            attached => Some(attached),
        }
    });
    let binding = match protocol {
        Some("ascii") => Binding::Text,
        Some("binary") => Binding::Binary,
        // SASL exists in the binary protocol only.
        _ if options.iter().any(|option| option == "-S" || option == "--enable-sasl") => {
            Binding::Binary
        }
        _ => Binding::Auto,
    };
    Dialect {
        release: release(&target.executable),
        authenticates: with("-Y", "--auth-file"),
        binding,
        proxies: options.iter().any(|option| option.contains("proxy_config")),
    }
}

/// Its release; where that is not known, the last of those that had probes which it has.
fn release(executable: &Executable) -> Option<Release> {
    let known = executable.version.as_ref().map(|version| version.numbers);
    known.or((!text_probes_removed(executable)).then_some([1, 6, 39]))
}

/// The reason for a source, and why it sees all system calls and not those on sockets alone.
fn because(reason: &str, why: &str) -> String {
    format!("{reason}; at all system calls, because {why}")
}

/// What shows the calls on sockets alone: tracepoints for what is received and sent, and
/// functions of the C library for what is accepted and closed. Else why not.
fn sockets(target: &Target, kernel: &Kernel) -> Result<Vec<Attached>, &'static str> {
    let sites = |names: &[&str]| {
        target.functions.iter().filter(|function| names.contains(&function.name)).count()
    };
    let (accepts, closes) = (sites(&[target::ACCEPT, target::ACCEPT4]), sites(&[target::CLOSE]));
    if let Some(why) = kernel.blind_to_sockets(target.confined) {
        return Err(why);
    }
    if target.has_udp {
        return Err("it has UDP sockets, whose datagrams show their senders only there");
    }
    if accepts == 0 || closes == 0 {
        return Err("its C library's accept and close were not found");
    }
    Ok(vec![
        tracepoint(kernel, At::Sockets, "sock_recv_length"),
        tracepoint(kernel, At::Sockets, "sock_send_length"),
        Attached { probe: "uretprobe:accept".to_owned(), sites: accepts },
        Attached { probe: "uprobe:close".to_owned(), sites: closes },
    ])
}

/// What shows all calls, on every kernel.
fn all_calls(kernel: &Kernel) -> Vec<Attached> {
    vec![tracepoint(kernel, At::Calls, CALLS)]
}

fn tracepoint(kernel: &Kernel, at: At, name: &str) -> Attached {
    let way = match kernel.tracepoints(at) {
        Tracepoints::Raw => "raw_tp",
        Tracepoints::Perf => "tp",
    };
    Attached { probe: format!("{way}:{name}"), sites: 1 }
}

fn syscalls(encryption: Encryption, attached: Vec<Attached>) -> Source {
    let under_tls = Blind {
        what: "requests of connections under TLS".to_owned(),
        why: "they are read and sent as ciphertext".to_owned(),
    };
    let cannot_see = if encryption == Encryption::None { Vec::new() } else { vec![under_tls] };
    Source {
        name: "syscalls".to_owned(),
        attached,
        latency: LATENCY_SYSCALLS.to_owned(),
        sees: vec![
            "every command of the text, meta and binary protocols, over TCP, UDP and unix sockets"
                .to_owned(),
            "hit or miss, sizes, latency, time to live, flags and CAS as they are on the wire"
                .to_owned(),
            "connections as they come and go, with the client's address".to_owned(),
        ],
        cannot_see,
        columns_unknown: Vec::new(),
        requests_without_operation: 0,
        connections_encrypted: 0,
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
    let columns_unknown = [
        "protocol",
        "ttl",
        "client_flags",
        "request_bytes",
        "response_bytes",
        "client",
        "quiet",
        "cas_sent",
        "cas_set",
        "meta_flags",
        "meta_returned",
    ];
    Source {
        name: "usdt".to_owned(),
        attached,
        latency: LATENCY_USDT.to_owned(),
        sees,
        cannot_see,
        columns_unknown: columns_unknown.map(str::to_owned).to_vec(),
        requests_without_operation: 0,
        connections_encrypted: 0,
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
    use super::{coverage, release, text_probes_removed};
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
        assert_eq!(release(&unknown), Some([1, 6, 39]));
        unknown.probes[0].1 = 1;
        assert!(text_probes_removed(&unknown));
        assert_eq!(release(&unknown), None);
        assert_eq!(release(&memcached([1, 6, 18], &[])), Some([1, 6, 18]));
    }
}
