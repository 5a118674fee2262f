//! Exact percentiles of any number of values, in bounded memory: where there are
//! too many values to keep, a histogram says between which two bounds a percentile
//! lies, and another look at the values in between says what it is.

use anyhow::Result;

/// Values are kept as they are up to this number, 128 KiB.
const FEW: usize = 1 << 14;
/// Each power of two is cut into `2^PRECISION` cells.
const PRECISION: u32 = 10;
const CELLS: usize = 1 << PRECISION;
/// Pages of cells: one of the values below `CELLS`, one for each power of two above.
const PAGES: usize = 64 - PRECISION as usize;
/// Another look cuts what it looks at into `2^SECOND` cells.
const SECOND: u32 = 12;

/// Values none of which is below zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distribution {
    few: Vec<i64>,
    many: Option<Box<Histogram>>,
}

#[derive(Clone, Debug)]
struct Histogram {
    count: u64,
    max: i64,
    pages: [Option<Box<[u64; CELLS]>>; PAGES],
}

/// Where a percentile is to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The least value it can have.
    low: i64,
    /// There are `2^width` values it can have.
    width: u32,
    /// How many values there are within the window.
    count: u64,
    /// Which of them it is, in order, from 1.
    rank: u64,
}

/// A look at the values within a window.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    window: Window,
    seen: Within,
}

#[derive(Clone, Debug)]
enum Within {
    Values(Vec<i64>),
    Cells(Vec<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Value(i64),
    Within(Window),
}

/// Percentiles of each of the `distributions`, by nearest rank: the least value that
/// at least this part, in ten-thousandths, does not exceed. `again` takes another
/// look at the same values: at those of each distribution through its windows.
///
/// # Errors
///
/// Those of `again`.
pub(crate) fn percentiles<const N: usize>(
    distributions: &mut [Distribution],
    parts: [u64; N],
    mut again: impl FnMut(&[Vec<Window>]) -> Result<Vec<Vec<Look>>>,
) -> Result<Vec<[Option<i64>; N]>> {
    let mut found: Vec<[Found; N]> = distributions
        .iter_mut()
        .map(|distribution| {
            let count = distribution.count();
            parts.map(|part| distribution.find((count * part).div_ceil(10_000).max(1)))
        })
        .collect();
    loop {
        let windows = found.iter().map(|found| found.iter().filter_map(Found::window).collect());
        let windows: Vec<Vec<Window>> = windows.collect();
        if windows.iter().all(Vec::is_empty) {
            break;
        }
        let looks = again(&windows)?;
        for (found, looks) in found.iter_mut().zip(looks) {
            let open = found.iter_mut().filter(|found| found.window().is_some());
            open.zip(looks).for_each(|(found, look)| *found = look.find());
        }
    }
    Ok(found.into_iter().map(|found| found.map(Found::value)).collect())
}

/// The windows as looks that have seen nothing yet.
pub(crate) fn looks(windows: &[Vec<Window>]) -> Vec<Vec<Look>> {
    windows.iter().map(|windows| windows.iter().copied().map(Look::new).collect()).collect()
}

/// What several threads saw through the same windows.
pub(crate) fn merged(threads: Vec<Vec<Vec<Look>>>) -> Vec<Vec<Look>> {
    let mut threads = threads.into_iter();
    let mut all = threads.next().unwrap_or_default();
    for other in threads {
        for (look, other) in all.iter_mut().flatten().zip(other.into_iter().flatten()) {
            look.merge(other);
        }
    }
    all
}

impl Distribution {
    pub(crate) fn add(&mut self, value: i64) {
        match &mut self.many {
            Some(histogram) => histogram.add(value),
            None if self.few.len() < FEW => self.few.push(value),
            None => self.histogram().add(value),
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        match other.many {
            Some(many) => self.histogram().merge(&many),
            None => other.few.into_iter().for_each(|value| self.add(value)),
        }
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.many.as_ref().map_or(self.few.len() as u64, |many| many.count)
    }

    /// How many values there are from each power of two to the next; those below 1
    /// are with those from 1 to 2.
    pub(crate) fn by_power_of_two(&self) -> [u64; 63] {
        let mut counts = [0; 63];
        let mut add = |value: i64, count| {
            counts[value.max(1).ilog2() as usize] += count;
        };
        self.few.iter().for_each(|value| add(*value, 1));
        for (low, _, count) in self.many.iter().flat_map(|many| many.cells()) {
            add(low, count);
        }
        counts
    }

    fn histogram(&mut self) -> &mut Histogram {
        let few = std::mem::take(&mut self.few);
        let many = self.many.get_or_insert_with(|| {
            Box::new(Histogram { count: 0, max: 0, pages: [const { None }; PAGES] })
        });
        few.into_iter().for_each(|value| many.add(value));
        many
    }

    /// The value of a rank from 1.
    fn find(&mut self, rank: u64) -> Found {
        match &self.many {
            Some(many) if rank == many.count => Found::Value(many.max),
            Some(many) => within(many.cells(), rank),
            None => nth(&mut self.few, rank),
        }
    }
}

impl Histogram {
    fn add(&mut self, value: i64) {
        let (page, cell) = place(value);
        self.page(page)[cell] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.max = self.max.max(other.max);
        for (page, theirs) in other.pages.iter().enumerate() {
            let Some(theirs) = theirs else { continue };
            self.page(page).iter_mut().zip(theirs.iter()).for_each(|(sum, count)| *sum += count);
        }
    }

    fn page(&mut self, page: usize) -> &mut [u64; CELLS] {
        self.pages[page].get_or_insert_with(|| Box::new([0; CELLS]))
    }

    /// Least value, width as a power of two, and count of each cell that has any.
    fn cells(&self) -> impl Iterator<Item = (i64, u32, u64)> {
        (0..).zip(&self.pages).filter_map(|(page, cells)| Some((page, cells.as_ref()?))).flat_map(
            |(page, cells): (u32, _)| {
                let counts = (0_i64..).zip(cells.iter()).filter(|(_, count)| **count > 0);
                counts.map(move |(cell, &count)| match page.checked_sub(1) {
                    None => (cell, 0, count),
                    Some(width) => ((cell + (1 << PRECISION)) << width, width, count),
                })
            },
        )
    }
}

impl Look {
    fn new(window: Window) -> Self {
        let seen = if window.count <= FEW as u64 {
            Within::Values(Vec::new())
        } else {
            Within::Cells(vec![0; 1 << window.width.min(SECOND)])
        };
        Self { window, seen }
    }

    /// Takes note of a value, if it is within.
    pub(crate) fn add(&mut self, value: i64) {
        let Window { low, width, .. } = self.window;
        if value < low || (value - low) >> width > 0 {
            return;
        }
        match &mut self.seen {
            Within::Values(values) => values.push(value),
            Within::Cells(cells) => {
                let cell = (value - low) >> width.saturating_sub(SECOND);
                if let Some(count) = usize::try_from(cell).ok().and_then(|cell| cells.get_mut(cell))
                {
                    *count += 1;
                }
            }
        }
    }

    fn merge(&mut self, other: Self) {
        match (&mut self.seen, other.seen) {
            (Within::Values(all), Within::Values(others)) => all.extend(others),
            (Within::Cells(all), Within::Cells(others)) => {
                all.iter_mut().zip(others).for_each(|(sum, count)| *sum += count);
            }
            _ => unreachable!("both are looks through the same window"),
        }
    }

    fn find(self) -> Found {
        let Window { low, width, rank, .. } = self.window;
        match self.seen {
            Within::Values(mut values) => nth(&mut values, rank),
            Within::Cells(cells) => {
                let width = width.saturating_sub(SECOND);
                let cells = (0_i64..).zip(cells).filter(|(_, count)| *count > 0);
                within(cells.map(|(cell, count)| (low + (cell << width), width, count)), rank)
            }
        }
    }
}

impl Found {
    fn window(&self) -> Option<Window> {
        match self {
            Self::Within(window) => Some(*window),
            _ => None,
        }
    }

    fn value(self) -> Option<i64> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

fn nth(values: &mut [i64], rank: u64) -> Found {
    match usize::try_from(rank - 1) {
        Ok(at) if at < values.len() => Found::Value(*values.select_nth_unstable(at).1),
        _ => Found::Nothing,
    }
}

/// The cell that the value of a rank is in.
fn within(cells: impl Iterator<Item = (i64, u32, u64)>, rank: u64) -> Found {
    let mut below = 0;
    for (low, width, count) in cells {
        if below + count >= rank {
            return match width {
                0 => Found::Value(low),
                _ => Found::Within(Window { low, width, count, rank: rank - below }),
            };
        }
        below += count;
    }
    Found::Nothing
}

/// Page and cell of a value.
fn place(value: i64) -> (usize, usize) {
    let bits = value.unsigned_abs();
    let width = (u64::BITS - bits.leading_zeros()).saturating_sub(PRECISION + 1);
    let cell = usize::try_from(bits >> width).unwrap_or(usize::MAX);
    match cell.checked_sub(CELLS) {
        None => (0, cell),
        Some(cell) => (width as usize + 1, cell),
    }
}

#[cfg(test)]
mod tests {
    use super::{Distribution, FEW, looks, merged, percentiles};

    /// Values of all sizes, some of them many times.
    fn values(count: u64) -> Vec<i64> {
        (0..count)
            .map(|n| {
                let bits = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                match n % 4 {
                    0 => 777_777_777_777,
                    1 => 5_000_000_000 + (bits >> 40).cast_signed(),
                    _ => (bits >> 1 >> (n % 62)).cast_signed(),
                }
            })
            .collect()
    }

    #[test]
    fn percentiles_are_exact_however_many_values_there_are() {
        const PARTS: [u64; 7] = [1, 2_500, 5_000, 9_000, 9_900, 9_999, 10_000];
        for count in [1, 2, 99, 100, 101, FEW as u64, FEW as u64 + 1, 700_000] {
            let all = values(count);
            let halves: Vec<&[i64]> = all.chunks(all.len().div_ceil(2)).collect();
            let mut distribution = Distribution::default();
            for half in &halves {
                let mut part = Distribution::default();
                half.iter().for_each(|value| part.add(*value));
                distribution.merge(part);
            }
            assert_eq!(distribution.count(), count);
            assert_eq!(distribution.by_power_of_two().iter().sum::<u64>(), count);
            let mut times = 0;
            let found = percentiles(&mut [distribution], PARTS, |windows| {
                times += 1;
                let seen = halves.iter().map(|half| {
                    let mut looks = looks(windows);
                    looks[0].iter_mut().for_each(|look| half.iter().for_each(|v| look.add(*v)));
                    looks
                });
                Ok(merged(seen.collect()))
            })
            .unwrap();
            let mut sorted = all.clone();
            sorted.sort_unstable();
            let expected = PARTS.map(|part| {
                let rank = (count * part).div_ceil(10_000).max(1);
                Some(sorted[usize::try_from(rank).unwrap() - 1])
            });
            assert_eq!(found, [expected], "{count}");
            assert!(times <= 5, "{times}");
        }
        let nothing = percentiles(&mut [Distribution::default()], [5_000], |_| unreachable!());
        assert_eq!(nothing.unwrap(), [[None]]);
    }
}
