//! What stands above every answer, for people: which capture it is, its totals, and what
//! must be known before any figure is believed.

use std::io::{self, Write};

use mcrec_schema::footer::{ANONYMISED_IN_TRACE, Capture, Footer, Source, Target};

use super::text::{bytes, duration, grouped, inert, percent, rate_text, second};
use crate::{
    query::{course::Course, heading::Heading, summary::Summary},
    sampling::Sampling,
};

/// Writes what must be known before any answer, with the totals if there are some.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn heading(
    heading: &Heading,
    summary: Option<&Summary>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut targets: Vec<String> = heading.footers.iter().flat_map(targets).collect();
    targets.dedup();
    for target in targets {
        line(out, "memcached", &target)?;
    }
    let until = format!("{} to {}", second(heading.start), second(heading.end));
    let files = match heading.footers.len() {
        1 => String::new(),
        files => format!(", in {files} files"),
    };
    let length = duration(heading.seconds);
    line(out, "recorded", &format!("{until} UTC ({length}{files})"))?;
    if let Some(asked) = &heading.asked {
        let outside = if heading.is_outside { ": nothing was recorded then" } else { "" };
        line(out, "asked for", &format!("{asked}{outside}"))?;
    }
    if let Some(sampling) = &heading.sampling {
        line(out, "SAMPLED", &sampled(sampling))?;
    }
    if let Some(summary) = summary {
        totals(summary, out)?;
    }
    caveats(heading, out)?;
    writeln!(out)
}

fn totals(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let heading = &summary.heading;
    // What was scaled is an estimate.
    let about = if heading.is_scaled { "~" } else { "" };
    let counted = heading.asked.is_none()
        && heading.sampling.as_ref().is_some_and(|sampling| sampling.sampled_out.is_some());
    let of_all = if counted { "" } else { about };
    let rate = summary.rate.map(|rate| format!(" ({}/s)", rate_text(rate))).unwrap_or_default();
    let of = match heading.asked {
        Some(_) => format!(" of {} recorded", grouped(summary.of_operations)),
        None => String::new(),
    };
    let (operations, keys) = (grouped(summary.operations), grouped(summary.distinct_keys));
    line(out, "operations", &format!("{of_all}{operations}{of}{rate}, {about}{keys} keys"))?;
    let (hits, misses) = (grouped(summary.hits), grouped(summary.misses));
    let ratio = summary.hit_ratio.map_or("-".to_owned(), percent);
    let within = summary.hit_ratio_within.map_or_else(String::new, |[least, most]| {
        let (least, most) = (percent(least), percent(most));
        format!(", {least} to {most} with what was lost")
    });
    let biased =
        if summary.hit_ratio_biased { ", biased, as connections fell out of step" } else { "" };
    let ratio =
        format!("{about}{ratio}{within}{biased} ({about}{hits} hits, {about}{misses} misses)");
    line(out, "hit ratio", &ratio)?;
    let kbps = summary.bandwidth_kbps.map(|kbps| format!(" ({about}{} kbps)", rate_text(kbps)));
    let returned = bytes(summary.bytes_returned);
    let stored = bytes(summary.bytes_stored);
    let values =
        format!("{about}{returned} returned, {about}{stored} stored{}", kbps.unwrap_or_default());
    line(out, "values", &values)?;
    summary.course.as_ref().map_or(Ok(()), |course| over_time(course, about, out))
}

/// Operations over time as a line, with a `!` under parts in which some were lost.
fn over_time(course: &Course, about: &str, out: &mut impl Write) -> io::Result<()> {
    let most = course.rates.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return Ok(());
    }
    let least = course.rates.iter().copied().fold(most, f64::min);
    let (low, high) = (rate_text(least), rate_text(most));
    let text = format!("{}  {about}{low}/s to {about}{high}/s", sparkline(&course.rates, most));
    line(out, "over time", &text)?;
    if course.lossy.contains(&true) {
        let marks: String = course.lossy.iter().map(|lost| if *lost { '!' } else { ' ' }).collect();
        line(out, "", marks.trim_end())?;
    }
    Ok(())
}

/// A character for each value, as high as it is against `most`; a space for none.
fn sparkline(values: &[f64], most: f64) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
        let height = (value / most * 8.0).ceil() as usize;
        height.checked_sub(1).map_or(' ', |height| HEIGHTS[height.min(7)])
    };
    values.iter().map(|value| height(*value)).collect()
}

/// What a sample says, and what it does not.
pub(crate) fn sampled(sampling: &Sampling) -> String {
    let Sampling { sampled_out, densest, sparsest, .. } = sampling;
    let left_out = match sampled_out {
        Some(count) => format!("{} operations left out on purpose", grouped(count)),
        None => "it is not known how many operations were left out".to_owned(),
    };
    let means = "~ is scaled to all keys, and so an estimate; figures of a key are its own";
    if !sampling.changes() {
        return format!("1/{densest} of the keys, {left_out}; {means}");
    }
    format!(
        "1/{densest} to 1/{sparsest} of the keys, as it changed, {left_out}; {means}, but those of keys recorded partly are too low"
    )
}

fn caveats(heading: &Heading, out: &mut impl Write) -> io::Result<()> {
    caveat_lines(heading).iter().try_for_each(|(name, text)| line(out, name, text))
}

/// What decode errors are, and what to do.
fn misread(heading: &Heading) -> String {
    let times = heading.losses.decode_error;
    let what_to_do = match heading.possible.total() {
        0 => "report it with memcached's release and options",
        _ => "it is most likely what the kernel skipped",
    };
    let times = if times == 1 { "once".to_owned() } else { format!("{} times", grouped(times)) };
    format!(
        "{times} a connection could not be followed, as it carried what its requests and replies \
         do not account for (decode error): until it was followed again operations are missing, \
         and some that are here may be wrong or none, so that counts may be too low or too high \
         and the hit ratio is of what was left; compare with memcached's stats; {what_to_do}"
    )
}

/// What must be known before any number is believed: a name, and what it is.
pub(crate) fn caveat_lines(heading: &Heading) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let counted = |reasons: &mut dyn Iterator<Item = (&'static str, u64)>| {
        let reasons = reasons.filter(|(_, count)| *count > 0);
        let named = reasons.map(|(name, n)| format!("{} {}", name.replace('_', " "), grouped(n)));
        named.collect::<Vec<_>>().join(", ")
    };
    let of_operations = heading.losses.of_operations();
    let lost = of_operations.total();
    if lost > 0 {
        let reasons = counted(&mut of_operations.by_reason());
        let missing = if lost == 1 { "operation is missing" } else { "operations are missing" };
        let lost = grouped(lost);
        let (least, most) = match heading.lost_at_most() {
            Some(_) => ("", "and at most so many more"),
            None => (
                "at least ",
                "and how many more is not known, as it is reads that were lost, each with one \
                 operation or more",
            ),
        };
        let bounds = format!("a count of operations is at least what stands here, {most}");
        let (least, bounds) = match heading.losses.are_at_least() {
            true => (least, &*bounds),
            false => ("about ", "no count of operations here is a bound, as rows may be wrong"),
        };
        let text = format!(
            "{least}{lost} {missing} ({reasons}): {bounds}; what seems to have happened once or \
             never may have happened more often"
        );
        lines.push(("LOST", text));
    }
    if heading.losses.decode_error > 0 {
        lines.push(("MISREAD", misread(heading)));
    }
    if heading.possible.total() > 0 {
        let text = format!(
            "up to {} reads or replies {}may be missing, each of one operation or more: the kernel \
             skipped so many runs of the recorder's programs, of other processes too",
            grouped(heading.possible.total()),
            if lost > 0 { "more " } else { "" }
        );
        lines.push(("MAY LACK", text));
    }
    if heading.recovered > 0 {
        let text = "the footer was lost, and made up from the row groups that were found: how \
                    many operations are missing is not known";
        lines.push(("RECOVERED", text.to_owned()));
    }
    if heading.incomplete.total() > 0 {
        let text = counted(&mut heading.incomplete.by_reason());
        let unknown = "some outcomes, latencies or keys, and which keys of a multi-get belong \
                       together";
        lines.push(("INCOMPLETE", format!("{text}; unknown: {unknown}")));
    }
    if heading.unended > 0 {
        let text = "its recorder was cut off, or is still at work: operations after the last \
                    commit are missing";
        lines.push(("UNFINISHED", text.to_owned()));
    }
    let hashed = |footer: &Footer| footer.privacy.keys_hashed.clone();
    match heading.footers.iter().find_map(hashed) {
        None => {}
        Some(how) if how == ANONYMISED_IN_TRACE => lines.push(("keys", how)),
        Some(_) => {
            let text = "hashed: each segment between : / . has a pseudonym";
            lines.push(("keys", text.to_owned()));
        }
    }
    let mut blind: Vec<&str> = Vec::new();
    for footer in &heading.footers {
        for what in footer.source.cannot_see.iter().map(|blind| blind.what.as_str()) {
            if !blind.contains(&what) {
                blind.push(what);
            }
        }
    }
    if !blind.is_empty() {
        lines.push(("not seen", blind.join("; ")));
    }
    if heading.requests_without_operation > 0 {
        let count = grouped(heading.requests_without_operation);
        lines.push(("", format!("{count} requests were of those")));
    }
    lines
}

/// The servers of a capture: of a merged one there are several.
fn targets(footer: &Footer) -> Vec<String> {
    match footer.parts() {
        [] => vec![target(&footer.capture, &footer.target, &footer.source)],
        parts => parts.iter().map(|p| target(&p.capture, &p.target, &p.source)).collect(),
    }
}

fn target(capture: &Capture, target: &Target, source: &Source) -> String {
    let version = target.version.as_deref().unwrap_or("of unknown version");
    if target.pid == 0 {
        return format!("{version}, from a trace: {}", source.name);
    }
    let mut text = format!("{version}, pid {} on {}", target.pid, capture.host);
    if !target.listening.is_empty() {
        text = format!("{text}, {}", target.listening.join(" "));
    }
    format!("{text}, seen through {}", source.name)
}

/// A line of the summary. Host names and command lines are not ours: made safe.
pub(super) fn line(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{name:<11}{}", inert(text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{caveat_lines, heading, totals};
    use crate::{capture::Capture, query};

    fn text(of: &[(&str, String)]) -> String {
        of.iter().map(|(name, text)| format!("{name}: {text}\n")).collect()
    }

    #[test]
    fn where_a_connection_fell_out_of_step_no_figure_is_a_bound() {
        let lossy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/lossy.parquet");
        let capture = Capture::open(&[lossy]).unwrap();
        let mut summary = query::summary::summary(&capture, 0).unwrap();
        let mut shown = Vec::new();
        totals(&summary, &mut shown).unwrap();
        assert!(!String::from_utf8(shown).unwrap().contains("biased"));
        let told = text(&caveat_lines(&summary.heading));
        assert!(told.contains("is at least what stands here") && !told.contains("MISREAD"));

        summary.heading.losses.decode_error = 2;
        summary.hit_ratio_biased = summary.heading.losses.are_of_a_loss_of_step();
        assert_eq!(summary.heading.lost_at_most(), None);
        let mut shown = Vec::new();
        heading(&summary.heading, Some(&summary), &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("biased, as connections fell out of step"), "{shown}");
        assert!(shown.contains("LOST       about ") && !shown.contains("at least"), "{shown}");
        assert!(shown.contains("MISREAD    2 times a connection could not be followed"), "{shown}");
    }
}
