//! Bars made of block characters.

/// From nothing to full, in eighths.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Columns that show `values` over time, as wide and as high as told, the lines from top
/// to bottom; the highest is `most`. What is not known has no column.
pub(super) fn columns(
    values: &[Option<f64>],
    most: f64,
    width: usize,
    height: usize,
) -> Vec<String> {
    let eighths: Vec<usize> = values_in(values, width)
        .into_iter()
        .map(|value| {
            let part = value.filter(|_| most > 0.0).map_or(0.0, |value| value / most);
            let eighths = whole(part * (8 * height) as f64).min(8 * height);
            // What is there is seen, however little.
            if part > 0.0 { eighths.max(1) } else { 0 }
        })
        .collect();
    let line = |below: usize| {
        let block = |eighths: &usize| EIGHTHS[eighths.saturating_sub(8 * below).min(8)];
        let line: String = eighths.iter().map(block).collect();
        line.trim_end().to_owned()
    };
    (0..height).rev().map(line).collect()
}

/// The values in so many columns: the mean where several share one.
fn values_in(values: &[Option<f64>], width: usize) -> Vec<Option<f64>> {
    let count = values.len();
    if count == 0 {
        return Vec::new();
    }
    (0..width)
        .map(|column| {
            let from = column * count / width;
            let to = ((column + 1) * count / width).clamp(from + 1, count.max(from + 1));
            let known: Vec<f64> = values[from..to].iter().filter_map(|value| *value).collect();
            #[expect(clippy::cast_precision_loss, reason = "for display")]
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            (!known.is_empty()).then_some(mean)
        })
        .collect()
}

/// A bar of up to `width` for a part of the most.
pub(super) fn bar(count: i64, most: i64, width: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let part = count as f64 / most.max(1) as f64;
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let length = whole(part * width as f64).min(width);
    "█".repeat(length.max(usize::from(count > 0)))
}

fn whole(number: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for display")]
    let whole = number.max(0.0).round() as usize;
    whole
}

#[cfg(test)]
mod tests {
    use super::{bar, columns};

    #[test]
    fn values_are_as_high_as_they_are_large() {
        let values = [Some(8.0), None, Some(4.0), Some(0.1), Some(0.0), Some(8.0)];
        assert_eq!(columns(&values, 8.0, 6, 1), ["█ ▄▁ █"]);
        assert_eq!(columns(&values, 8.0, 6, 2), ["█    █", "█ █▁ █"]);
        assert_eq!(columns(&values[..1], 8.0, 3, 1), ["███"]);
        assert_eq!(columns(&[Some(8.0), Some(0.0)], 8.0, 1, 1), ["▄"]);
        assert_eq!(columns(&[], 8.0, 3, 1), [""]);
        assert_eq!(columns(&values, 0.0, 3, 1), [""]);
    }

    #[test]
    fn bars_are_seen_however_short() {
        assert_eq!((bar(1, 1000, 10), bar(0, 1000, 10)), ("█".into(), String::new()));
        assert_eq!(bar(1000, 1000, 10), "█".repeat(10));
    }
}
