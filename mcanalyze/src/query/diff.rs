//! What changed between two captures, and what of it is no more than chance?

use anyhow::Result;
use mcrec_schema::columns;

use super::{heading::heading, latency, per_second, ratio};
use crate::{
    by::By,
    capture::Capture,
    cli::Dimension,
    item::{Effects, Sent, Stores},
    keys::{
        KeyFigures,
        changes::{Changes, key_of},
    },
    percentile::{Distribution, percentiles},
    query::top::{name_of, named},
    sampling::Sampling,
    scan::scan,
    table::{Column, Section, Table, Unit, Value},
};

/// A change is taken for chance unless one as large, in any of all that is compared, had
/// a probability below this without a cause.
const CHANCE: f64 = 0.001;

/// A capture, and how to group it.
pub(crate) type Side<'a> = (&'a Capture, &'a By);

/// What is compared: the two rates of something.
#[derive(Clone, Copy, Debug)]
struct Rates {
    before: i64,
    after: i64,
}

/// Over which times, and how much may be missing.
#[derive(Clone, Copy, Debug)]
struct Base {
    seconds: [f64; 2],
    lost: [i64; 2],
    /// How many standard deviations are beyond chance.
    deviations: f64,
}

impl Base {
    fn of(before: &Capture, after: &Capture, compared: usize) -> Self {
        // Where nobody knows how much was lost, anything may have been.
        let lost = |capture: &Capture| {
            let most = heading(capture).lost_at_most();
            most.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX)
        };
        #[expect(clippy::cast_precision_loss, reason = "of a logarithm")]
        let deviations = (2.0 * (compared.max(1) as f64 / CHANCE).ln()).sqrt();
        Self {
            seconds: [before.seconds(), after.seconds()],
            lost: [lost(before), lost(after)],
            deviations,
        }
    }

    /// Whether a rate changed by more than chance, whatever was lost: operations come one by
    /// one, so that how many there are varies by their square root.
    #[expect(clippy::cast_precision_loss, reason = "of counts")]
    fn is_change(&self, Rates { before, after }: Rates) -> bool {
        let [time_before, time_after] = self.seconds.map(|seconds| seconds.max(1e-6));
        let rates = [before as f64 / time_before, after as f64 / time_after];
        // The loss may have been all of this, on the side that would make it the same.
        let (before, after) = if rates[0] < rates[1] {
            (before.saturating_add(self.lost[0]) as f64, after as f64)
        } else {
            (before as f64, after.saturating_add(self.lost[1]) as f64)
        };
        let difference = after / time_after - before / time_before;
        let same_direction = (difference > 0.0) == (rates[0] < rates[1]);
        // Under the same rate, as many in all.
        let rate = (before + after) / (time_before + time_after);
        let deviation = (rate / time_before + rate / time_after).sqrt();
        same_direction && difference.abs() > self.deviations * deviation
    }
}

/// Keys, or whatever is compared, that are new, gone, hotter and colder, `top` of each; and
/// how latencies and sizes changed.
///
/// # Errors
///
/// When a capture cannot be read.
pub(crate) fn diff(
    dimension: Dimension,
    before: Side<'_>,
    after: Side<'_>,
    top: usize,
) -> Result<Vec<Section>> {
    let one_in = in_both(before.0, after.0);
    let alike = one_in.map(|one_in| [before, after].map(|(c, _)| c.of_sample(one_in)));
    let (before, after) = match &alike {
        Some([of_before, of_after]) => ((of_before, before.1), (of_after, after.1)),
        None => (before, after),
    };
    let changes = Changes::between(before, after)?;
    let base = Base::of(before.0, after.0, changes.len());
    let is = |kind: Kind| {
        move |calls: [i64; 2]| {
            let rates = Rates { before: calls[0], after: calls[1] };
            kind.is(&base, rates) && base.is_change(rates)
        }
    };
    let largest = changes.largest::<{ Kind::ALL.len() }>(top, base.seconds, |calls| {
        Kind::ALL.into_iter().position(|kind| is(kind)(calls))
    })?;
    let found = changes.figures(base.seconds, &largest.largest.concat())?;
    let mut sections: Vec<Section> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let is = is(kind);
            let of_kind = found.iter().filter(|sides| is(sides.each_ref().map(|side| side.calls)));
            section(kind, dimension, &base, of_kind.take(top))
        })
        .collect();
    if let Some(section) = sections.last_mut() {
        let (told, all) = (largest.count.to_string(), changes.len().to_string());
        section.notes.push(format!(
            "{told} of {all} changed by more than chance and loss explain; for the others nothing \
             is said. Operations that come in bursts vary by more than is taken for chance here."
        ));
    }
    if let Some(section) = sections.last_mut() {
        section.notes.extend(of_samples(one_in, before.0, after.0));
    }
    sections.push(latencies(before.0, after.0)?);
    sections.push(sizes(before.0, after.0)?);
    Ok(sections)
}

/// If one of the captures is a sample: one in how many keys are in both, with all that
/// happened to them. `None` if neither is, or that cannot be said.
fn in_both(before: &Capture, after: &Capture) -> Option<u32> {
    let one_in =
        |capture: &Capture| capture.sampling.as_ref().map_or(Some(1), Sampling::of_whole_keys);
    let (one, other) = (one_in(before)?, one_in(after)?);
    // What a pseudonym stands for may be in one sample and not in the other.
    let hashed = |capture: &Capture| {
        capture.footers.iter().any(|footer| footer.privacy.keys_hashed.is_some())
    };
    let comparable = one == other || !hashed(before) && !hashed(after);
    Some(one.max(other)).filter(|sparsest| *sparsest > 1 && comparable)
}

/// What must be known where one of the captures is a sample.
fn of_samples(one_in: Option<u32>, before: &Capture, after: &Capture) -> Option<String> {
    if let Some(one_in) = one_in {
        let same = "Both sides are what happened to the same keys, one in";
        return Some(format!("{same} {one_in}: nothing is scaled."));
    }
    let is_sample = before.sampling.is_some() || after.sampling.is_some();
    is_sample.then(|| {
        "The captures are of different samples, and which keys are in both is not known, as they          are hashed: keys that are new or gone may be so for that."
            .to_owned()
    })
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    New,
    Gone,
    Hotter,
    Colder,
}

impl Kind {
    const ALL: [Self; 4] = [Self::New, Self::Gone, Self::Hotter, Self::Colder];

    #[expect(clippy::cast_precision_loss, reason = "of counts")]
    fn is(self, base: &Base, Rates { before, after }: Rates) -> bool {
        let rises = after as f64 * base.seconds[0] > before as f64 * base.seconds[1];
        match self {
            Self::New => before == 0,
            Self::Gone => after == 0,
            Self::Hotter => before > 0 && after > 0 && rises,
            Self::Colder => before > 0 && after > 0 && !rises,
        }
    }

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::New => ("diff.new", "new"),
            Self::Gone => ("diff.gone", "gone"),
            Self::Hotter => ("diff.hotter", "hotter"),
            Self::Colder => ("diff.colder", "colder"),
        }
    }
}

fn section<'a>(
    kind: Kind,
    dimension: Dimension,
    base: &Base,
    found: impl Iterator<Item = &'a [KeyFigures; 2]>,
) -> Section {
    let rows = found.map(|sides| {
        let [before, after] = sides;
        let rates = [(before, 0), (after, 1)]
            .map(|(figures, side)| per_second(figures.calls, base.seconds[side]));
        let times = match rates {
            [Some(before), Some(after)] if before > 0.0 => Some(after / before),
            _ => None,
        };
        let hit_ratio = |of: &KeyFigures| Value::from(ratio(of.hits, of.hits + of.misses));
        vec![
            named(dimension, key_of(sides)),
            Value::Int(before.calls),
            Value::Int(after.calls),
            rates[0].into(),
            rates[1].into(),
            times.into(),
            hit_ratio(before),
            hit_ratio(after),
            before.latency_p99.into(),
            after.latency_p99.into(),
        ]
    });
    let columns = [name_of(dimension)].into_iter().chain(COLUMNS).collect();
    let (name, title) = kind.name();
    Section::lines(name, title, Table { columns, rows: rows.collect() }).or_else("none")
}

const COLUMNS: [Column; 9] = [
    Column::new("calls_before", "calls before", Unit::Count),
    Column::new("calls_after", "after", Unit::Count),
    Column::new("rate_before", "req/s before", Unit::Rate).if_room(),
    Column::new("rate_after", "after", Unit::Rate).if_room(),
    Column::new("times", "×", Unit::Number),
    Column::new("hit_ratio_before", "hit ratio before", Unit::Ratio).if_room(),
    Column::new("hit_ratio_after", "after", Unit::Ratio).if_room(),
    Column::new("latency_p99_before_ns", "p99 before", Unit::Nanoseconds),
    Column::new("latency_p99_after_ns", "after", Unit::Nanoseconds),
];

/// What became of something.
fn verdict(before: Option<[i64; 2]>, after: Option<[i64; 2]>) -> &'static str {
    match (before, after) {
        (Some([low, high]), Some([low_after, high_after])) => {
            if low_after > high {
                "more"
            } else if high_after < low {
                "less"
            } else {
                "the same, but for chance"
            }
        }
        _ => "not comparable",
    }
}

/// Median and p99 of each command, with the values that chance may give them.
fn latencies(before: &Capture, after: &Capture) -> Result<Section> {
    let (before, after) = (quantiles(before)?, quantiles(after)?);
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(op, _)| op).collect();
    names.sort();
    names.dedup();
    let of = |side: &[(String, [Option<[i64; 3]>; 2])], op: &str, at: usize| {
        side.iter().find(|(other, _)| other == op).and_then(|(_, quantiles)| quantiles[at])
    };
    let mut rows = Vec::new();
    for op in names {
        for (at, quantile) in ["p50", "p99"].into_iter().enumerate() {
            let (was, is) = (of(&before, op, at), of(&after, op, at));
            let ends = |found: Option<[i64; 3]>| found.map(|[low, _, high]| [low, high]);
            let middle = |found: Option<[i64; 3]>| Value::from(found.map(|[_, middle, _]| middle));
            rows.push(vec![
                op.clone().into(),
                quantile.into(),
                middle(was),
                middle(is),
                verdict(ends(was), ends(is)).into(),
            ]);
        }
    }
    let columns = vec![
        Column::new("op", "command", Unit::Word),
        Column::new("quantile", "latency", Unit::Word),
        Column::new("before_ns", "before", Unit::Nanoseconds),
        Column::new("after_ns", "after", Unit::Nanoseconds),
        Column::new("verdict", "", Unit::Word),
    ];
    Ok(Section::lines("diff.latency", "latency", Table { columns, rows }).or_else("not known"))
}

/// For each command median and p99, each with the ends of what chance may make of it.
#[expect(clippy::type_complexity, reason = "a list of it")]
fn quantiles(capture: &Capture) -> Result<Vec<(String, [Option<[i64; 3]>; 2])>> {
    let mut found = Vec::new();
    for (op, latencies) in latency::by_op(capture)? {
        let ops = [String::new(), op];
        let both = [(5_000, 0.5), (9_900, 0.99)].map(|(part, p)| {
            #[expect(clippy::cast_precision_loss, reason = "of a count")]
            let count = latencies.count() as f64;
            // Beyond four standard deviations of a rank.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part")]
            let off = (4e4 * (p * (1.0 - p) / count).sqrt()).ceil() as u64;
            [part - off.min(part - 1), part, (part + off).min(10_000)]
        });
        let mut of_op: [Distribution; 1] = [latencies];
        let [[a, b, c], [d, e, f]] = both;
        let values = percentiles(&mut of_op, [a, b, c, d, e, f], |windows| {
            let all = vec![Vec::new(), windows[0].clone()];
            Ok(latency::look_again(capture, &ops, &all)?.into_iter().skip(1).collect())
        })?;
        let [a, b, c, d, e, f] = values.first().copied().unwrap_or_default();
        let three =
            |low: Option<i64>, middle: Option<i64>, high: Option<i64>| Some([low?, middle?, high?]);
        let [_, op] = ops;
        found.push((op, [three(a, b, c), three(d, e, f)]));
    }
    Ok(found)
}

/// Sums of sizes.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    count: f64,
    sum: f64,
    squares: f64,
}

/// The mean size of values that were stored and returned, with what chance may make of it.
fn sizes(before: &Capture, after: &Capture) -> Result<Section> {
    let (before, after) = (mean(before)?, mean(after)?);
    let ends = |found: Option<[i64; 3]>| found.map(|[low, _, high]| [low, high]);
    let middle = |found: Option<[i64; 3]>| Value::from(found.map(|[_, middle, _]| middle));
    let verdict = verdict(ends(before), ends(after));
    let rows = match (before, after) {
        (None, None) => Vec::new(),
        _ => vec![vec!["values".into(), middle(before), middle(after), verdict.into()]],
    };
    let columns = vec![
        Column::new("of", "size", Unit::Word),
        Column::new("mean_before", "mean before", Unit::Bytes),
        Column::new("mean_after", "after", Unit::Bytes),
        Column::new("verdict", "", Unit::Word),
    ];
    Ok(Section::lines("diff.sizes", "sizes of values", Table { columns, rows })
        .or_else("not known"))
}

#[expect(clippy::cast_precision_loss, reason = "of sizes")]
fn mean(capture: &Capture) -> Result<Option<[i64; 3]>> {
    let threads = scan(capture, &Effects::COLUMNS, Sizes::default, |sizes, rows| {
        let (values, stores) = (rows.ints(columns::VALUE_SIZE)?, Stores::of(rows)?);
        for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
            let is_value = matches!(stores.of_row(row), Sent::Nothing | Sent::Value);
            if let Some(size) = values.get(row).filter(|_| is_value) {
                let size = size as f64;
                sizes.count += 1.0;
                sizes.sum += size;
                sizes.squares += size * size;
            }
        }
        Ok(())
    })?;
    let sum = |sum: Sizes, of: Sizes| Sizes {
        count: sum.count + of.count,
        sum: sum.sum + of.sum,
        squares: sum.squares + of.squares,
    };
    let Sizes { count, sum, squares } = threads.into_iter().fold(Sizes::default(), sum);
    if count == 0.0 {
        return Ok(None);
    }
    let mean = sum / count;
    let off = 4.0 * ((squares / count - mean * mean).max(0.0) / count).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "of sizes")]
    let whole = |bytes: f64| bytes.round() as i64;
    Ok(Some([whole(mean - off), whole(mean), whole(mean + off)]))
}

#[cfg(test)]
mod tests {
    use super::{Base, Rates};

    #[test]
    fn a_change_is_told_from_chance_and_from_loss() {
        let base = Base { seconds: [10.0, 20.0], lost: [0, 0], deviations: 5.0 };
        let is_change = |base: Base, before, after| base.is_change(Rates { before, after });
        assert!(!is_change(base, 1_000, 2_000));
        assert!(!is_change(base, 1_000, 2_100));
        assert!(is_change(base, 1_000, 3_000) && is_change(base, 1_000, 1_200));
        assert!(is_change(base, 0, 100) && !is_change(base, 0, 3));
        let lossy = Base { lost: [600, 0], ..base };
        assert!(!is_change(lossy, 1_000, 3_000));
        assert!(is_change(lossy, 1_000, 9_000));
    }
}
