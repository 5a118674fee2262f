//! What several captures are together, as far as one can say that of all of them.
//! Each is described by itself in `mcrec.derived`.

use std::cmp::Reverse;

use mcrec_schema::{
    derived::{Part, SLICE},
    footer::{
        Attached, Blind, Capture, Cost, Footer, Incomplete, Loss, Losses, Possible, ProgramCost,
        Sampling, Source, Target,
    },
};

/// The footer of all `parts` together. `first` is that of one of them.
pub(super) fn combined(parts: &[Part], first: &Footer) -> Footer {
    let one = parts.iter().all(|part| part.capture.id == first.capture.id);
    let counted = counted(parts);
    let (cost, source) = (cost(&counted), source(parts, &counted));
    Footer {
        capture: capture(parts, one, &first.capture),
        target: if one { first.target.clone() } else { target(parts) },
        source,
        loss: Loss { incomplete: incomplete(&counted), ..loss(parts) },
        cost,
        server: None,
        derived: Vec::new(),
        ..first.clone()
    }
}

/// What was left out of all together, at one rate.
pub(super) fn sampling(samples: &[&Sampling]) -> Sampling {
    let mut sampling = samples.first().map_or_else(Sampling::default, |first| (*first).clone());
    sampling.sampled_out = samples.iter().map(|sampling| sampling.sampled_out).sum();
    let stretches = || samples.iter().flat_map(|sampling| &sampling.series);
    let from = stretches().map(|stretch| stretch[0]).min();
    let to = stretches().map(|stretch| stretch[1]).max();
    let one_in = stretches().map(|stretch| stretch[2]).max();
    sampling.series = match (from, to, one_in) {
        (Some(from), Some(to), Some(one_in)) => vec![[from, to, one_in]],
        _ => Vec::new(),
    };
    sampling
}

fn capture(parts: &[Part], one: bool, first: &Capture) -> Capture {
    let captures = || parts.iter().map(|part| &part.capture);
    // Ends in the order of time, so that of files of one recording the last counts.
    let mut by_end: Vec<&Capture> = captures().collect();
    by_end.sort_by_key(|capture| Reverse(capture.end_us));
    let last = by_end.first().map_or(first, |capture| capture);
    let ended = if one {
        last.ended.clone()
    } else {
        let ended: Option<Vec<&str>> = captures().map(|capture| capture.ended.as_deref()).collect();
        ended.map(|ended| listed(ended.into_iter()))
    };
    let length_us = last.end_us - first.start_us;
    let length_ns = u64::try_from(length_us).unwrap_or(0).saturating_mul(1000);
    let command_line =
        || std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    Capture {
        id: if one { first.id.clone() } else { new_id(parts) },
        command_line: if one { first.command_line.clone() } else { command_line() },
        mcrec_version: listed(captures().map(|capture| capture.mcrec_version.as_str())),
        host: listed(captures().map(|capture| capture.host.as_str())),
        kernel: listed(captures().map(|capture| capture.kernel.as_str())),
        end_us: last.end_us,
        // Of several clocks, that of the first recording.
        end_monotonic_ns: if one {
            last.end_monotonic_ns
        } else {
            first.start_monotonic_ns.saturating_add(length_ns)
        },
        ended,
        commit_interval_s: captures().map(|c| c.commit_interval_s).fold(0.0, f64::max),
        recovered: captures().find_map(|capture| capture.recovered.clone()),
        ..first.clone()
    }
}

/// A new id, in the form of a UUID (version 8), which is the same whenever the same
/// captures are merged.
fn new_id(parts: &[Part]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        for part in parts {
            (&part.capture.id, part.capture.start_us).hash(&mut hasher);
        }
        hasher.finish()
    };
    let (high, low) = (half(0), half(1));
    let high = high & !0xf000 | 0x8000;
    let low = low & !(3 << 62) | 2 << 62;
    let digits = format!("{high:016x}{low:016x}");
    let groups = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    groups.join("-")
}

/// What several servers have in common. Process ids and builds cannot be listed.
fn target(parts: &[Part]) -> Target {
    let targets = || parts.iter().map(|part| &part.target);
    let mut listening: Vec<String> = Vec::new();
    for address in targets().flat_map(|target| &target.listening) {
        if !listening.contains(address) {
            listening.push(address.clone());
        }
    }
    let pid = same(targets().map(|target| target.pid));
    let versions: Option<Vec<&str>> = targets().map(|target| target.version.as_deref()).collect();
    Target {
        pid: pid.unwrap_or(0),
        executable: listed(targets().map(|target| target.executable.as_str())),
        build_id: same(targets().map(|target| target.build_id.clone())).flatten(),
        version: versions.map(|versions| listed(versions.into_iter())),
        command_line: same(targets().map(|target| target.command_line.clone())).unwrap_or_default(),
        listening,
        worker_threads: targets().map(|target| target.worker_threads).sum(),
    }
}

/// The parts whose counts of the whole recording add up: each file of a recording
/// has those of its own time, but each slice of a file has those of all of it.
fn counted(parts: &[Part]) -> Vec<&Part> {
    let mut counted: Vec<&Part> = Vec::new();
    for part in parts {
        let same = |other: &&Part| {
            let is_slice = part.derived.iter().any(|step| step.how == SLICE);
            is_slice && other.capture.id == part.capture.id && other.cost == part.cost
        };
        if !counted.iter().any(same) {
            counted.push(part);
        }
    }
    counted
}

fn source(parts: &[Part], counted: &[&Part]) -> Source {
    let sources = || parts.iter().map(|part| &part.source);
    let mut attached: Vec<Attached> = Vec::new();
    let mut cannot_see: Vec<Blind> = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    for source in sources() {
        add_new(&mut attached, &source.attached);
        add_new(&mut cannot_see, &source.cannot_see);
        add_new(&mut unknown, &source.columns_unknown);
    }
    // Seen of all of them.
    let mut sees = parts[0].source.sees.clone();
    sees.retain(|what| sources().all(|source| source.sees.contains(what)));
    let total = |count: fn(&Source) -> u64| counted.iter().map(|part| count(&part.source)).sum();
    Source {
        name: listed(sources().map(|source| source.name.as_str())),
        attached,
        latency: listed(sources().map(|source| source.latency.as_str())),
        sees,
        cannot_see,
        columns_unknown: unknown,
        requests_without_operation: total(|source| source.requests_without_operation),
        connections_encrypted: total(|source| source.connections_encrypted),
    }
}

fn loss(parts: &[Part]) -> Loss {
    let losses = || parts.iter().map(|part| &part.loss);
    let joined = |series: fn(&Loss) -> &Vec<[i64; 3]>| {
        let mut joined: Vec<[i64; 3]> = losses().flat_map(|loss| series(loss).clone()).collect();
        joined.sort_unstable();
        joined
    };
    Loss {
        seen: losses().map(|loss| loss.seen).sum(),
        written: losses().map(|loss| loss.written).sum(),
        losses: losses().fold(Losses::default(), |sum, loss| sum + loss.losses),
        incomplete: Incomplete::default(),
        series: joined(|loss| &loss.series),
        possible: losses().fold(Possible::default(), |sum, loss| sum + loss.possible),
        possible_series: joined(|loss| &loss.possible_series),
    }
}

fn incomplete(counted: &[&Part]) -> Incomplete {
    counted.iter().fold(Incomplete::default(), |sum, part| sum + part.loss.incomplete)
}

fn cost(counted: &[&Part]) -> Cost {
    let costs = || counted.iter().map(|part| &part.cost);
    let mut programs: Vec<ProgramCost> = Vec::new();
    for program in costs().flat_map(|cost| &cost.programs) {
        match programs.iter_mut().find(|other| other.name == program.name) {
            Some(other) => {
                other.run_count += program.run_count;
                other.run_time_ns += program.run_time_ns;
            }
            None => programs.push(program.clone()),
        }
    }
    Cost {
        programs,
        cpu_s: costs().map(|cost| cost.cpu_s).sum(),
        peak_memory: costs().map(|cost| cost.peak_memory).max().unwrap_or(0),
        ring_peak: costs().map(|cost| cost.ring_peak).max().unwrap_or(0),
    }
}

/// The one value that all have.
fn same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Each once, in order, with commas between.
fn listed<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut listed: Vec<&str> = Vec::new();
    for text in texts {
        if !listed.contains(&text) {
            listed.push(text);
        }
    }
    listed.join(", ")
}

fn add_new<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}
